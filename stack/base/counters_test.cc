// Tests of counters.
#include "base/counters.hh"

#include <gtest/gtest.h>

#include <thread>

namespace skua {
namespace {

enum class fruit { apple, pear, plum, count_ };

TEST(counter, counts) {
    counter c;
    EXPECT_EQ(c.get(), 0u);
    c.add();
    c.add(41);
    EXPECT_EQ(c.get(), 42u);
    c.add(~0ull);
    EXPECT_EQ(c.get(), 41u);
}

TEST(counter_set, keeps_values_apart) {
    counter_set<fruit> set;
    static_assert(counter_set<fruit>::size == 3);
    set.add(fruit::pear);
    set.add(fruit::plum, 5);
    EXPECT_EQ(set.get(fruit::apple), 0u);
    EXPECT_EQ(set.get(fruit::pear), 1u);
    EXPECT_EQ(set.get(fruit::plum), 5u);
}

TEST(counter, a_reader_sees_it_only_rise) {
    counter c;
    constexpr std::uint64_t rounds = 200000;
    std::thread owner([&] {
        for (std::uint64_t i = 0; i < rounds; i++) c.add();
    });
    for (std::uint64_t last = 0; last < rounds;) {
        const auto now = c.get();
        ASSERT_GE(now, last);
        last = now;
    }
    owner.join();
    EXPECT_EQ(c.get(), rounds);
}

}  // namespace
}  // namespace skua
