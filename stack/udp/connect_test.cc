// connect(), connect(AF_UNSPEC) and what becomes of address and port.
#include <gtest/gtest.h>

#include "udp/tables_fixture.hh"

namespace skua::udp {

namespace {
class connected : public tables_fixture {};
}  // namespace

TEST_F(connected, wildcard_takes_the_source_address_and_gives_it_back) {  // 17
    auto& s = bound("0.0.0.0");
    connect(s, "10.0.0.1");
    EXPECT_EQ(s.local.address, addr("10.0.0.1"));
    EXPECT_EQ(s.remote.port, 999);
    table.disconnect(s);
    EXPECT_EQ(s.local.address, addr("0.0.0.0"));
    EXPECT_EQ(s.local.port, test_port);
    EXPECT_EQ(s.remote.port, 0);
    EXPECT_EQ(to("10.0.0.2"), &s);
}

TEST_F(connected, named_address_survives) {  // 17
    auto& s = bound("10.0.0.1");
    connect(s, "10.0.0.2");
    EXPECT_EQ(s.local.address, addr("10.0.0.1"));
    table.disconnect(s);
    EXPECT_EQ(s.local.address, addr("10.0.0.1"));
    EXPECT_EQ(to("10.0.0.1"), &s);
}

TEST_F(connected, port_survives_only_if_bind_named_it) {  // 18
    auto& s = make(ip_family::v4, {});
    ASSERT_TRUE(table.bind(s, {addr("127.0.0.1"), 0, 0}));
    connect(s, "127.0.0.1");
    table.disconnect(s);
    EXPECT_EQ(s.local, (endpoint{addr("127.0.0.1"), 0, 0}));
    auto& automatic = make(ip_family::v4, {});
    connect(automatic, "127.0.0.1");
    EXPECT_NE(automatic.local.port, 0);
    EXPECT_EQ(automatic.local.address, addr("127.0.0.1"));
    table.disconnect(automatic);
    EXPECT_EQ(automatic.local, (endpoint{addr("0.0.0.0"), 0, 0}));
    EXPECT_EQ(bind_error(automatic, "10.0.0.1"), 0);
}

TEST_F(connected, autobind_keeps_an_address_that_was_named) {  // 18
    auto& s = make(ip_family::v4, {});
    ASSERT_TRUE(table.bind(s, {addr("127.0.0.1"), 0, 0}));
    connect(s, "127.0.0.1");
    table.disconnect(s);
    ASSERT_TRUE(table.autobind(s));
    EXPECT_EQ(s.local.address, addr("127.0.0.1"));
    EXPECT_EQ(to("127.0.0.1", s.local.port), &s);
}

TEST_F(connected, gets_only_its_peers_packets) {  // 21
    auto& s = bound("10.0.0.1");
    connect(s, "10.0.0.1");
    auto k = packet_to("10.0.0.1");
    EXPECT_EQ(table.lookup(k), &s);
    k.flow.remote_port = 998;
    EXPECT_EQ(table.lookup(k), nullptr);
    k = packet_to("10.0.0.1");
    k.flow.remote = addr("10.0.0.8");
    EXPECT_EQ(table.lookup(k), nullptr);
}

TEST_F(connected, anew_keeps_the_local_address) {
    auto& s = bound("0.0.0.0");
    connect(s, "10.0.0.1");
    ASSERT_TRUE(table.connect(s, addr("10.0.0.2"), {addr("10.0.0.7"), 7, 0}));
    EXPECT_EQ(s.local.address, addr("10.0.0.1"));
    EXPECT_EQ(to("10.0.0.1"), nullptr);
    auto k = packet_to("10.0.0.1");
    k.flow.remote = addr("10.0.0.7");
    k.flow.remote_port = 7;
    EXPECT_EQ(table.lookup(k), &s);
}

TEST_F(connected, to_port_zero_filters_by_address_only) {  // 19
    auto& s = bound("10.0.0.1");
    connect(s, "10.0.0.1", 0);
    EXPECT_EQ(to("10.0.0.1"), &s);
    auto k = packet_to("10.0.0.1");
    k.flow.remote = addr("10.0.0.8");
    EXPECT_EQ(table.lookup(k), nullptr);
    table.disconnect(s);
    EXPECT_EQ(table.lookup(k), &s);
}

TEST_F(connected, dual_stack_socket_by_mapped_addresses) {  // 62
    auto& s = bound("::");
    connect(s, "10.0.0.1");
    EXPECT_EQ(to("10.0.0.1"), &s);
    EXPECT_EQ(to("fd00::1"), nullptr);
    table.disconnect(s);
    EXPECT_EQ(to("fd00::1"), &s);
    EXPECT_EQ(to("10.0.0.2"), &s);
}

TEST_F(connected, ending_it_forgets_the_device_too) {  // __udp_disconnect
    auto& s = bound("10.0.0.1", {.device = 2});
    connect(s, "10.0.0.1");
    table.disconnect(s);
    EXPECT_EQ(s.device, 0u);
    auto k = packet_to("10.0.0.1");
    k.ifindex = 3;
    EXPECT_EQ(table.lookup(k), &s);
}

TEST_F(connected, ending_it_without_a_peer_frees_an_automatic_port) {
    auto& s = make(ip_family::v4, {});
    ASSERT_TRUE(table.autobind(s));
    table.disconnect(s);
    EXPECT_EQ(s.local.port, 0);
    table.disconnect(s);
    auto& named = bound("10.0.0.1");
    table.disconnect(named);
    EXPECT_EQ(to("10.0.0.1"), &named);
}

TEST_F(connected, address_bound_keeps_its_place_among_equals) {
    auto& first = bound("10.0.0.1", {.reuse_address = true});
    auto& second = bound("10.0.0.1", {.reuse_address = true});
    connect(first, "10.0.0.1");
    table.disconnect(first);
    EXPECT_EQ(to("10.0.0.1"), &second);
}

TEST_F(connected, wildcard_comes_back_as_the_one_placed_last) {  // rehash puts it at the head
    auto& first = bound("0.0.0.0", {.reuse_address = true});
    auto& second = bound("0.0.0.0", {.reuse_address = true});
    EXPECT_EQ(to("10.0.0.1"), &second);
    connect(first, "10.0.0.1");
    table.disconnect(first);
    EXPECT_EQ(to("10.0.0.1"), &first);
}

TEST_F(connected, nothing_stays_behind_when_all_are_gone) {
    auto& a = bound("0.0.0.0", {.reuse_port = true});
    auto& b = bound("0.0.0.0", {.reuse_port = true});
    connect(a, "10.0.0.1");
    table.disconnect(a);
    connect(b, "10.0.0.1", 0);
    table.unbind(b);
    table.unbind(a);
    rcu.reclaim(1000);
    EXPECT_EQ(rcu.retired(), 0u);
    std::size_t left = 0;
    table.for_all([&](const pcb&) { left++; });
    EXPECT_EQ(left, 0u);
    EXPECT_FALSE(table.wants_hash(test_port));
}

}  // namespace skua::udp
