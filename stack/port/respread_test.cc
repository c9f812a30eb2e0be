// Shares of a redirection table.
#include "port/respread.hh"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.hh"

namespace skua::port {
namespace {

std::vector<std::uint16_t> even(std::size_t entries, std::uint16_t queues) {
    std::vector<std::uint16_t> t(entries);
    for (std::size_t i = 0; i < entries; i++) t[i] = static_cast<std::uint16_t>(i % queues);
    return t;
}

std::size_t entries_of(const std::vector<std::uint16_t>& t, std::uint16_t q) {
    return static_cast<std::size_t>(std::ranges::count(t, q));
}

std::size_t moved(const std::vector<std::uint16_t>& a, const std::vector<std::uint16_t>& b) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < a.size(); i++) n += a[i] != b[i];
    return n;
}

TEST(respread, a_queue_that_leaves_gives_its_entries_and_no_others_move) {
    const auto before = even(128, 4);
    const auto after = respread(before, std::vector<std::uint32_t>{1, 1, 1, 0});
    EXPECT_EQ(entries_of(after, 3), 0u);
    EXPECT_EQ(moved(before, after), 32u);
    for (std::uint16_t q = 0; q < 3; q++) EXPECT_NEAR(static_cast<double>(entries_of(after, q)), 128.0 / 3, 1);
    EXPECT_EQ(respread(after, std::vector<std::uint32_t>{1, 1, 1, 0}), after);
}

TEST(respread, a_queue_that_comes_gets_its_share) {
    const auto after = respread(even(128, 2), std::vector<std::uint32_t>{1, 1, 1, 1});
    for (std::uint16_t q = 0; q < 4; q++) EXPECT_EQ(entries_of(after, q), 32u);
    EXPECT_EQ(moved(even(128, 2), after), 64u);
}

TEST(respread, weights_count) {
    const auto after = respread(even(64, 2), std::vector<std::uint32_t>{3, 1});
    EXPECT_EQ(entries_of(after, 0), 48u);
    EXPECT_EQ(moved(even(64, 2), after), 16u);
}

TEST(respread, queues_only_lose_or_only_gain) {
    seeded_random random(5);
    auto table = even(128, 8);
    for (int round = 0; round < 200; round++) {
        std::vector<std::uint32_t> weights(8);
        for (auto& w : weights) w = static_cast<std::uint32_t>(random.below(4));
        weights[random.below(8)] = 1;
        const auto next = respread(table, weights);
        std::vector<bool> lost(8), gained(8);
        for (std::size_t i = 0; i < table.size(); i++) {
            if (table[i] == next[i]) continue;
            lost[table[i]] = true;
            gained[next[i]] = true;
        }
        for (std::size_t q = 0; q < 8; q++) {
            EXPECT_FALSE(lost[q] && gained[q]);
            EXPECT_TRUE(weights[q] != 0 || entries_of(next, static_cast<std::uint16_t>(q)) == 0);
        }
        table = next;
    }
}

}  // namespace
}  // namespace skua::port
