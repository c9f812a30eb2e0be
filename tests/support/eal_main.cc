// main() of the test programs: starts an EAL, unless told --no-eal, then GoogleTest.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "support/eal.hh"

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    const bool wants_eal = argc < 2 || std::string(argv[1]) != "--no-eal";
    if (wants_eal && !skua::test::start_eal()) return 2;
    const int failed = RUN_ALL_TESTS();
    if (wants_eal) {
        const std::string scratch = rte_eal_get_runtime_dir();
        rte_eal_cleanup();
        std::error_code left_alone;
        std::filesystem::remove_all(scratch, left_alone);
    }
    return failed;
}
