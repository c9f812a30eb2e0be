// Token buckets against a manual clock.
#include "net/icmp_limiter.hh"

#include "net/test_support.hh"

namespace skua::net::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct icmp_limiter_test : testing::Test {
    int allowed(icmp_limiter& l, const ip_address& to, int tries) {
        int n = 0;
        for (int i = 0; i < tries; i++) n += l.allow(to, now, mibs);
        return n;
    }
    seeded_random random{1};
    time_point now{seconds(1000)};
    counter_set<mib> mibs;
};

TEST_F(icmp_limiter_test, one_destination_gets_a_burst_then_one_per_interval) {
    icmp_limiter l(random, {});
    EXPECT_EQ(allowed(l, ip("198.18.0.2"), 20), 6);
    EXPECT_EQ(allowed(l, ip("198.18.0.3"), 20), 6);
    now += milliseconds(999);
    EXPECT_EQ(allowed(l, ip("198.18.0.2"), 20), 0);
    now += milliseconds(1);
    EXPECT_EQ(allowed(l, ip("198.18.0.2"), 20), 1);
    now += seconds(100);
    EXPECT_EQ(allowed(l, ip("198.18.0.2"), 20), 6);
    EXPECT_EQ(mibs.get(mib::icmp_out_rate_limit_global), 0u);
    EXPECT_EQ(mibs.get(mib::icmp6_out_rate_limit_host), 0u);
    EXPECT_EQ(allowed(l, ip("2001:db8::2"), 10), 6);
    EXPECT_EQ(mibs.get(mib::icmp6_out_rate_limit_host), 4u);
}

TEST_F(icmp_limiter_test, the_host_has_a_limit_that_is_not_countable) {
    const auto burst = [this] {
        icmp_limiter l(random, {.destination_interval = nanoseconds(0)});
        return allowed(l, ip("198.18.0.2"), 100);
    };
    const int first = burst();
    bool differs = false;
    for (int i = 0; i < 20; i++) {
        const int n = burst();
        EXPECT_GT(n, 30);
        EXPECT_LT(n, 100);
        differs |= n != first;
    }
    EXPECT_TRUE(differs);
    EXPECT_GT(mibs.get(mib::icmp_out_rate_limit_global), 0u);
}

TEST_F(icmp_limiter_test, the_rate_holds_over_time) {
    icmp_limiter l(random, {.destination_interval = nanoseconds(0)});
    int n = 0;
    for (int ms = 0; ms < 2000; ms++, now += milliseconds(1)) n += allowed(l, ip("198.18.0.2"), 10);
    EXPECT_NEAR(n, 50 + 2000, 200);
}

TEST_F(icmp_limiter_test, zero_means_none) {
    icmp_limiter l(random, {.per_second = 0});
    EXPECT_EQ(allowed(l, ip("198.18.0.2"), 5), 0);
}

}  // namespace
}  // namespace skua::net::test
