// Tests: changing the topology under readers.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "net/network.hh"
#include "net/test_support.hh"

namespace skua::net::test {
namespace {

result<void> add_p0(topology_builder& b) {
    if (auto made = b.add_interface({.index = 2, .name = "p0", .port = 0}); !made) return tl::unexpected(made.error());
    return b.add_address(2, prefix("198.18.0.1/24"));
}

class network_test : public testing::Test {
protected:
    rcu_domain rcu;
    seeded_random random{1};
    network net{rcu, random};
};

TEST_F(network_test, begins_with_the_loopback) {
    EXPECT_EQ(net.current().interfaces().size(), 1u);
    EXPECT_EQ(net.neighbours().size(), 0u);
}

TEST_F(network_test, change_is_seen) {
    ASSERT_TRUE(net.change(add_p0));
    EXPECT_TRUE(net.current().is_local(ip("198.18.0.1")));
}

TEST_F(network_test, failed_edit_changes_nothing) {
    ASSERT_TRUE(net.change(add_p0));
    const auto serial = net.current().serial();
    EXPECT_EQ(net.change(add_p0).error(), error{EEXIST});
    const auto half = net.change([](topology_builder& b) -> result<void> {
        (void)b.add_address(2, prefix("198.18.0.2/24"));
        return fail(EPERM);
    });
    EXPECT_EQ(half.error(), error{EPERM});
    const auto unbuildable = net.change([](topology_builder& b) -> result<void> {
        b.find(2)->mtu = 1;
        return {};
    });
    EXPECT_EQ(unbuildable.error(), error{EINVAL});
    EXPECT_EQ(net.current().serial(), serial);
}

TEST_F(network_test, readers_keep_what_they_look_at) {
    ASSERT_TRUE(net.change(add_p0));
    {
        const rcu_domain::read_guard guard(rcu);
        const topology& old = net.current();
        ASSERT_TRUE(net.change([](topology_builder& b) { return b.remove_interface(2); }));
        EXPECT_EQ(rcu.retired(), 1u);
        EXPECT_TRUE(old.is_local(ip("198.18.0.1")));
        EXPECT_FALSE(net.current().is_local(ip("198.18.0.1")));
    }
    EXPECT_EQ(rcu.reclaim(), 1u);
}

TEST_F(network_test, writers_from_several_threads) {
    ASSERT_TRUE(net.change(add_p0));
    std::atomic<bool> stop{false};
    std::thread reader([&] {
        while (!stop) {
            const rcu_domain::read_guard guard(rcu);
            const auto way = net.current().route_to(ip("198.18.0.77"));
            EXPECT_TRUE(way && way->out->name == "p0");
        }
    });
    std::vector<std::thread> writers;
    for (int w = 0; w < 2; w++)
        writers.emplace_back([&, w] {
            for (int i = 0; i < 40; i++)
                EXPECT_TRUE(net.change([&](topology_builder& b) {
                    return b.add_address(2, ip_prefix{ipv4_address(10, static_cast<std::uint8_t>(w), 0,
                                                                   static_cast<std::uint8_t>(i + 1)),
                                                      32});
                }));
        });
    for (auto& w : writers) w.join();
    stop = true;
    reader.join();
    EXPECT_EQ(net.current().by_index(2)->addresses.size(), 81u);
}

}  // namespace
}  // namespace skua::net::test
