// Tests of the slab and of the memory beneath it.
#include "base/slab.hh"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

namespace skua {
namespace {

struct alignas(cache_line) thing {
    explicit thing(std::uint64_t n) : value(n) {}
    std::uint64_t value;
};

std::uintptr_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

TEST(lines, are_aligned_and_wholly_usable) {
    // Below, at and above what gets large pages, with and without small ones before them.
    for (const std::size_t bytes : {std::size_t(64), std::size_t(4096), std::size_t(2) << 20, std::size_t(5) << 20})
        for (const std::size_t small : {std::size_t(0), std::size_t(2) << 20}) {
            const lines memory = allocate_lines(bytes, small);
            EXPECT_EQ(address(memory.get()) % cache_line, 0u);
            auto* const all = static_cast<unsigned char*>(memory.get());
            all[0] = 1;
            all[bytes - 1] = 2;
            EXPECT_EQ(all[0] + all[bytes - 1], 3);
        }
}

TEST(slab, gives_each_object_a_line_of_its_own) {
    slab<thing> all;
    std::vector<thing*> made;
    std::set<std::uintptr_t> lines_used;
    for (std::uint64_t i = 0; i < 100000; i++) {
        made.push_back(all.make(i));
        EXPECT_EQ(address(made.back()) % cache_line, 0u);
        EXPECT_TRUE(lines_used.insert(address(made.back())).second);
    }
    for (std::uint64_t i = 0; i < made.size(); i++) ASSERT_EQ(made[i]->value, i);
}

TEST(slab, gives_out_again_what_was_freed) {
    slab<thing> all;
    thing* const a = all.make(1u);
    thing* const b = all.make(2u);
    all.free(a);
    all.free(b);
    EXPECT_EQ(all.make(3u), b);
    EXPECT_EQ(all.make(4u), a);
    EXPECT_EQ(b->value, 3u);
    EXPECT_EQ(a->value, 4u);
    thing* const c = all.make(5u);
    EXPECT_TRUE(c != a && c != b);
}

}  // namespace
}  // namespace skua
