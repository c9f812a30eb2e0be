// Tests of the random sources.
#include "base/random.hh"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace skua {
namespace {

/// Gives the extremes of the range by turns.
class extreme_random final : public random_source {
    std::uint64_t next() override { return (high_ = !high_) ? max() : min(); }
    bool high_ = false;
};

TEST(random, below_stays_below) {
    seeded_random random(1);
    extreme_random extreme;
    for (const std::uint64_t bound : {1ull, 2ull, 3ull, 28232ull, 1ull << 32, (1ull << 63) + 1, ~0ull})
        for (int i = 0; i < 100; i++) {
            EXPECT_LT(random.below(bound), bound);
            EXPECT_LT(extreme.below(bound), bound);
        }
}

TEST(random, below_reaches_every_value_equally) {
    seeded_random random(7);
    std::array<unsigned, 7> seen{};
    for (int i = 0; i < 70000; i++) seen[random.below(seen.size())]++;
    for (const unsigned n : seen) EXPECT_NEAR(n, 10000, 500);
}

TEST(random, seeded_repeats_itself) {
    seeded_random a(5), b(5), c(6);
    EXPECT_EQ(a.next(), b.next());
    EXPECT_EQ(a(), b());
    EXPECT_NE(a.next(), c.next());
}

TEST(random, system_goes_on_over_block_boundaries_without_repeating) {
    system_random random, other;
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 500; i++) {
        seen.insert(random.next());
        seen.insert(other.next());
    }
    EXPECT_EQ(seen.size(), 1000u);
}

TEST(random, system_sets_every_bit_half_of_the_time) {
    system_random random;
    std::array<int, 64> ones{};
    for (int i = 0; i < 4096; i++) {
        const auto v = random.next();
        for (unsigned bit = 0; bit < 64; bit++) ones[bit] += v >> bit & 1;
    }
    for (const int n : ones) EXPECT_NEAR(n, 2048, 256);  // 8 standard deviations
}

}  // namespace
}  // namespace skua
