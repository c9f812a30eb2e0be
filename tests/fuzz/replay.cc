// Runs each file of a corpus through its fuzz target as one test case: what was once found stays found, without clang.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::string> corpus() {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(SKUA_CORPUS)) files.push_back(entry.path().filename());
    std::sort(files.begin(), files.end());
    return files;
}

std::string case_name(const testing::TestParamInfo<std::string>& info) {
    std::string name = info.param;
    std::replace_if(
        name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
    return name;
}

}  // namespace

class replay : public testing::TestWithParam<std::string> {};

TEST_P(replay, ends_in_order) {
    std::ifstream file(std::filesystem::path(SKUA_CORPUS) / GetParam(), std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    // As libFuzzer does: exactly as large as the input, so that a sanitizer sees the first byte read beyond it.
    const auto input = std::make_unique<std::uint8_t[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), input.get());
    EXPECT_EQ(LLVMFuzzerTestOneInput(input.get(), bytes.size()), 0);
}

INSTANTIATE_TEST_SUITE_P(corpus, replay, testing::ValuesIn(corpus()), case_name);
