// What is learned, what is forgotten, and readers beside a writer.
#include "net/path_mtu.hh"

#include <atomic>
#include <thread>

#include "net/test_support.hh"

namespace skua::net::test {
namespace {

using std::chrono::seconds;

class path_mtu_test : public testing::Test {
protected:
    seeded_random random{1};
    time_point now{seconds(1000)};
    path_mtu_cache cache{random};
    const ip_address peer = ip("198.18.0.2");
    const ip_address peer6 = ip("2001:db8::2");
};

TEST_F(path_mtu_test, knows_what_it_was_told) {
    EXPECT_EQ(cache.lookup(peer, 1500, now), 1500u);
    EXPECT_EQ(cache.learn(peer, 1400, 1500, now), 1400u);
    EXPECT_EQ(cache.lookup(peer, 1500, now), 1400u);
    EXPECT_EQ(cache.lookup(peer, 1300, now), 1300u);
    EXPECT_EQ(cache.lookup(ip("198.18.0.3"), 1500, now), 1500u);
}

TEST_F(path_mtu_test, only_lowers) {
    EXPECT_EQ(cache.learn(peer, 1500, 1500, now), 0u);
    EXPECT_EQ(cache.learn(peer, 9000, 1500, now), 0u);
    EXPECT_EQ(cache.learn(peer, 1300, 1500, now), 1300u);
    EXPECT_EQ(cache.learn(peer, 1400, 1500, now), 0u);
    EXPECT_EQ(cache.learn(peer, 1300, 1500, now), 0u);
    EXPECT_EQ(cache.learn(peer, 1299, 1500, now), 1299u);
}

TEST_F(path_mtu_test, keeps_to_the_minimum) {
    EXPECT_EQ(cache.learn(peer, 0, 1500, now), 552u);
    EXPECT_EQ(cache.learn(peer6, 68, 1500, now), 1280u);
    EXPECT_EQ(cache.learn(ip("2001:db8::3"), 68, 1280, now), 0u);
}

TEST_F(path_mtu_test, forgets_in_time) {
    cache.learn(peer, 1400, 1500, now);
    EXPECT_EQ(cache.lookup(peer, 1500, now + seconds(599)), 1400u);
    EXPECT_EQ(cache.lookup(peer, 1500, now + seconds(600)), 1500u);
    // What was forgotten can be learned anew, and higher.
    EXPECT_EQ(cache.learn(peer, 1450, 1500, now + seconds(600)), 1450u);
    cache.flush();
    EXPECT_EQ(cache.lookup(peer, 1500, now + seconds(600)), 1500u);
}

TEST_F(path_mtu_test, the_oldest_gives_way) {
    path_mtu_cache small(random, {.entries = 4});
    for (int i = 0; i < 4; i++)
        small.learn(ipv4_address(10, 0, 0, static_cast<std::uint8_t>(i)), 1400, 1500, now + seconds(i));
    small.learn(ip("10.0.0.0"), 1300, 1500, now + seconds(4));  // renewed
    small.learn(ip("10.0.0.9"), 1400, 1500, now + seconds(5));
    EXPECT_EQ(small.lookup(ip("10.0.0.1"), 1500, now + seconds(5)), 1500u);
    EXPECT_EQ(small.lookup(ip("10.0.0.0"), 1500, now + seconds(5)), 1300u);
    EXPECT_EQ(small.lookup(ip("10.0.0.9"), 1500, now + seconds(5)), 1400u);
    std::size_t n = 0;
    small.for_all(now + seconds(5), [&](const ip_address&, std::uint32_t mtu, time_point expires) {
        n++;
        EXPECT_TRUE(mtu == 1400 || mtu == 1300);
        EXPECT_GT(expires, now + seconds(600));
    });
    EXPECT_EQ(n, 4u);
}

TEST_F(path_mtu_test, changes_are_bounded_in_rate) {
    path_mtu_cache slow(random, {.changes_per_second = 3});
    for (std::uint8_t i = 0; i < 5; i++)
        EXPECT_EQ(slow.learn(ipv4_address(10, 0, 0, i), 1400, 1500, now), i < 3 ? 1400u : 0u);
    EXPECT_EQ(slow.learn(ip("10.0.0.9"), 1400, 1500, now + seconds(1)), 1400u);
}

TEST_F(path_mtu_test, readers_see_whole_entries) {
    path_mtu_cache small(random, {.entries = 4, .changes_per_second = ~0u});
    std::atomic<bool> stop = false;
    std::thread writer([&] {
        for (int n = 0; n < 200000; n++) {
            // Each of eight destinations has an MTU of its own.
            const auto i = static_cast<std::uint8_t>(n % 8);
            small.learn(ipv4_address(10, 0, 0, i), 1000u + i, 1500, now + seconds(601 * (n / 8)));
        }
        stop = true;
    });
    while (!stop)
        for (std::uint8_t i = 0; i < 8; i++) {
            const std::uint32_t mtu = small.lookup(ipv4_address(10, 0, 0, i), 1500, now);
            ASSERT_TRUE(mtu == 1500 || mtu == 1000u + i) << mtu;
        }
    writer.join();
}

}  // namespace
}  // namespace skua::net::test
