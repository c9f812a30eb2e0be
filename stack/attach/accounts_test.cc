// Quotas of requests: what a user may ask, by a clock that the test turns.
#include "attach/accounts.hh"

#include <gtest/gtest.h>

namespace skua::attach {
namespace {

using namespace std::chrono_literals;

unsigned burst(account& a, clock::time_point now, unsigned per_second) {
    unsigned n = 0;
    while (n < 1'000'000 && a.ask(now, per_second)) n++;
    return n;
}

TEST(account, begins_full_and_fills_up_as_time_goes) {
    account a;
    const clock::time_point start(1h);
    EXPECT_TRUE(a.full(start, 50'000));
    EXPECT_EQ(burst(a, start, 50'000), 1000u);  // a fiftieth of a second's
    EXPECT_FALSE(a.full(start, 50'000));
    EXPECT_EQ(a.allowed(start, 50'000), 0u);
    EXPECT_EQ(a.allowed(start + 1ms, 50'000), 50u);
    EXPECT_EQ(burst(a, start + 1ms, 50'000), 50u);
    EXPECT_EQ(burst(a, start + 1h, 50'000), 1000u);
}

TEST(account, of_few_requests_still_allows_a_few_at_once) {
    account a;
    const clock::time_point start(1h);
    EXPECT_EQ(burst(a, start, 10), 10u);
    EXPECT_EQ(burst(a, start + 99ms, 10), 0u);
    EXPECT_EQ(burst(a, start + 100ms, 10), 1u);
    EXPECT_EQ(burst(a, start + 10s, 10), 10u);
}

TEST(account, refused_requests_cost_nothing) {
    account a;
    const clock::time_point start(1h);
    burst(a, start, 100);
    for (int i = 0; i < 1000; i++) EXPECT_FALSE(a.ask(start + 5ms, 100));
    EXPECT_TRUE(a.ask(start + 10ms, 100));
}

TEST(account, is_idle_without_sessions_and_sockets) {
    account a;
    EXPECT_TRUE(a.idle());
    a.sockets = 1;
    EXPECT_FALSE(a.idle());
    a = {};
    a.sessions = 1;
    EXPECT_FALSE(a.idle());
}

}  // namespace
}  // namespace skua::attach
