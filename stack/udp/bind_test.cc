// Bind rules by the facts measured on Linux (the numbers are those of the list of measured behaviours).
#include <gtest/gtest.h>

#include <map>

#include "udp/tables_fixture.hh"

namespace skua::udp {

namespace {
class bind : public tables_fixture {};
}  // namespace

TEST_F(bind, twice_on_one_socket_is_refused) {  // 1
    auto& s = bound("10.0.0.1");
    EXPECT_EQ(bind_error(s, "10.0.0.1", test_port + 1), EINVAL);
    EXPECT_EQ(s.local.port, test_port);
}

TEST_F(bind, same_address_and_port_is_in_use) {  // 1
    bound("127.0.0.1");
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "127.0.0.1"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "0.0.0.0"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "127.0.0.2"), 0);
}

TEST_F(bind, one_option_on_each_side_does_not_help) {  // 3
    bound("127.0.0.1", {.reuse_address = true});
    EXPECT_EQ(bind_error(make(ip_family::v4, {.reuse_port = true}), "127.0.0.1"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "127.0.0.1"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v4, {.reuse_address = true}), "127.0.0.1"), 0);
}

TEST_F(bind, the_socket_bound_last_decides_which_option_counts) {  // 4
    bound("127.0.0.1", {.reuse_address = true, .reuse_port = true});
    auto& second = bound("127.0.0.1", {.reuse_port = true});
    auto& third = make(ip_family::v4, {.reuse_address = true});
    EXPECT_EQ(bind_error(third, "127.0.0.1"), EADDRINUSE);
    table.unbind(second);
    EXPECT_EQ(bind_error(third, "127.0.0.1"), 0);
}

TEST_F(bind, reuse_port_needs_one_owner) {  // 5
    bound("127.0.0.1", {.reuse_port = true, .owner = 1});
    EXPECT_EQ(bind_error(make(ip_family::v4, {.reuse_port = true, .owner = 2}), "127.0.0.1"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v4, {.reuse_port = true, .owner = 1}), "127.0.0.1"), 0);
}

TEST_F(bind, after_connect_is_refused) {  // 6
    auto& s = make(ip_family::v4, {});
    connect(s, "10.0.0.1");
    EXPECT_EQ(bind_error(s, "10.0.0.1"), EINVAL);
}

TEST_F(bind, dual_stack_wildcard_blocks_both_families) {  // 61
    bound("::");
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "0.0.0.0"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "127.0.0.1"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v6, {}), "::1"), EADDRINUSE);
}

TEST_F(bind, v6_only_wildcard_leaves_ipv4_free) {  // 61
    bound("::", {.v6_only = true});
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "0.0.0.0"), 0);
}

TEST_F(bind, ipv6_address_makes_the_socket_v6_only) {
    auto& s = bound("::1");
    EXPECT_TRUE(s.v6_only);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "0.0.0.0"), 0);
    auto& failed = make(ip_family::v6, {});
    EXPECT_EQ(bind_error(failed, "::1"), EADDRINUSE);
    EXPECT_FALSE(failed.v6_only);
}

TEST_F(bind, mapped_address_on_a_v6_only_socket_is_refused) {
    EXPECT_EQ(bind_error(make(ip_family::v6, {.v6_only = true}), "127.0.0.1"), EINVAL);
}

TEST_F(bind, different_devices_do_not_conflict) {
    bound("0.0.0.0", {.device = 1});
    EXPECT_EQ(bind_error(make(ip_family::v4, {.device = 2}), "0.0.0.0"), 0);
    EXPECT_EQ(bind_error(make(ip_family::v4, {.device = 2}), "0.0.0.0"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "0.0.0.0"), EADDRINUSE);
}

TEST_F(bind, connected_sockets_still_hold_their_address) {
    auto& s = bound("0.0.0.0");
    connect(s, "10.0.0.1");
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "10.0.0.1"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "0.0.0.0"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "10.0.0.2"), 0);
}

TEST_F(bind, more_than_ten_on_a_port_a_wildcard_still_conflicts) {
    for (int i = 1; i < 20; i++) bound("10.0.0." + std::to_string(i));
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "0.0.0.0"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v6, {}), "::"), EADDRINUSE);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "10.0.0.7"), EADDRINUSE);
}

TEST_F(bind, notes_what_was_named) {
    auto& any = bound("0.0.0.0");
    EXPECT_FALSE(any.address_bound);
    EXPECT_TRUE(any.port_bound);
    auto& s = make(ip_family::v4, {});
    ASSERT_TRUE(table.bind(s, {addr("10.0.0.1"), 0, 0}));
    EXPECT_TRUE(s.address_bound);
    EXPECT_FALSE(s.port_bound);
    EXPECT_NE(s.local.port, 0);
    auto& mapped = bound_v6("0.0.0.0", {}, test_port + 1);
    EXPECT_TRUE(mapped.address_bound);
}

// ---- who is alone on a port ----

TEST_F(bind, the_watch_hears_who_is_alone_on_a_port) {
    std::map<ip_family, pcb*> alone;
    table.watch_ports([&](std::uint16_t port, ip_family f, pcb* one) {
        EXPECT_EQ(port, test_port);
        alone[f] = one;
    });
    const auto v4 = [&] { return alone.at(ip_family::v4); };
    const auto v6 = [&] { return alone.at(ip_family::v6); };
    auto& first = bound("10.0.0.1", {.reuse_port = true});
    EXPECT_EQ(v4(), &first);
    EXPECT_EQ(v6(), nullptr);
    auto& second = bound("10.0.0.1", {.reuse_port = true});
    EXPECT_EQ(v4(), nullptr);
    table.unbind(first);
    EXPECT_EQ(v4(), &second);
    connect(second, "10.0.0.1");
    EXPECT_EQ(v4(), nullptr) << "it has a peer";
    table.disconnect(second);
    EXPECT_EQ(v4(), &second);
    ASSERT_TRUE(table.connect(second, addr("10.0.0.1"), {addr("10.0.0.9"), 0, 0}));
    EXPECT_EQ(v4(), nullptr) << "half a peer";
    table.disconnect(second);
    // Of each family by itself; a dual-stack socket is of both, a mapped address IPv4's.
    auto& six = bound_v6("::", {.v6_only = true});
    EXPECT_EQ(v4(), &second);
    EXPECT_EQ(v6(), &six);
    table.unbind(six);
    table.unbind(second);
    EXPECT_EQ(v6(), nullptr);
    auto& both = bound_v6("::", {.reuse_address = true});
    EXPECT_EQ(v4(), &both);
    EXPECT_EQ(v6(), &both);
    auto& mapped = bound_v6("10.0.0.2", {.reuse_address = true});
    EXPECT_EQ(v4(), nullptr);
    EXPECT_EQ(v6(), &both);
    table.unbind(both);
    EXPECT_EQ(v4(), &mapped);
    EXPECT_EQ(v6(), nullptr);
    {
        const auto hold = table.lock();
        mapped.device = 5;
    }
    table.refresh(mapped);
    EXPECT_EQ(v4(), &mapped);
    table.unbind(mapped);
    EXPECT_EQ(v4(), nullptr);
    table.watch_ports({});
}

TEST_F(bind, unbind_frees_the_port) {
    auto& s = bound("0.0.0.0");
    table.unbind(s);
    table.unbind(s);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "0.0.0.0"), 0);
}

}  // namespace skua::udp
