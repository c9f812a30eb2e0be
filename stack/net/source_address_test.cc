// Tests: which of our addresses a datagram gets as its source.
#include <gtest/gtest.h>

#include "net/test_support.hh"

namespace skua::net::test {
namespace {

class source_address_test : public net_test {
protected:
    static constexpr std::uint32_t p1 = 3;
    source_address_test() {
        change([](topology_builder& b) { ASSERT_TRUE(b.add_interface({.index = p1, .name = "p1", .port = 1})); });
    }
    void add(std::uint32_t ifindex, std::string_view p, address_state s = address_state::preferred) {
        change([&](topology_builder& b) { ASSERT_TRUE(b.add_address(ifindex, prefix(p), s)); });
    }
    void add_route(const route& r) {
        change([&](topology_builder& b) { ASSERT_TRUE(b.add_route(r)); });
    }
    std::string source(std::string_view to, std::uint32_t out_ifindex = 0) const {
        const auto way = map->route_to(ip(to), out_ifindex);
        if (!way) return "no way";
        const auto s = map->source_for(ip(to), *way);
        return s ? s->to_string() : s.error().code == EADDRNOTAVAIL ? "EADDRNOTAVAIL" : "?";
    }
};

TEST_F(source_address_test, ipv4) {
    add(p0, "198.18.0.9/24");
    add(p0, "192.0.2.1/24");
    add(p1, "198.51.100.1/24");
    add_route({prefix("0.0.0.0/0"), ip("192.0.2.254")});
    add_route({prefix("10.0.0.0/8"), {}, p1});
    EXPECT_EQ(source("198.18.0.77"), "198.18.0.1");  // on the subnet, first of two
    EXPECT_EQ(source("192.0.2.77"), "192.0.2.1");
    EXPECT_EQ(source("8.8.8.8"), "192.0.2.1");      // on the gateway's subnet
    EXPECT_EQ(source("10.1.1.1"), "198.51.100.1");  // first of the interface
    EXPECT_EQ(source("224.1.1.1", p1), "198.51.100.1");
    EXPECT_EQ(source("255.255.255.255", p1), "198.51.100.1");
    EXPECT_EQ(source("198.18.0.9"), "198.18.0.9");  // to ourselves
    EXPECT_EQ(source("127.1.2.3"), "127.0.0.1");
    map->find_address(ip("198.18.0.1"), p0)->state->store(address_state::duplicate);
    EXPECT_EQ(source("198.18.0.77"), "198.18.0.9");
}

TEST_F(source_address_test, ipv4_of_another_interface) {
    add_route({prefix("10.0.0.0/8"), {}, p1});
    EXPECT_EQ(source("10.1.1.1"), "198.18.0.1");
    map->find_address(ip("198.18.0.1"), p0)->state->store(address_state::tentative);
    EXPECT_EQ(source("10.1.1.1"), "EADDRNOTAVAIL");  // never 127.0.0.1
    add(loopback_ifindex, "192.0.2.53/32");
    EXPECT_EQ(source("10.1.1.1"), "192.0.2.53");
}

TEST_F(source_address_test, preferred_source_of_a_route) {
    add(loopback_ifindex, "192.0.2.53/32");
    add_route({prefix("0.0.0.0/0"), ip("198.18.0.254"), 0, ip("192.0.2.53")});
    EXPECT_EQ(source("8.8.8.8"), "192.0.2.53");
    map->find_address(ip("192.0.2.53"), loopback_ifindex)->state->store(address_state::duplicate);
    EXPECT_EQ(source("8.8.8.8"), "198.18.0.1");
}

TEST_F(source_address_test, ipv6_same_address) { EXPECT_EQ(source("2001:db8::1"), "2001:db8::1"); }

TEST_F(source_address_test, ipv6_appropriate_scope) {
    EXPECT_EQ(source("2001:db8::77"), "2001:db8::1");
    EXPECT_EQ(source("fe80::77", p0), "fe80::1");
    EXPECT_EQ(source("ff02::77", p0), "fe80::1");
    EXPECT_EQ(source("ff0e::77", p0), "2001:db8::1");
}

TEST_F(source_address_test, ipv6_link_local_needs_an_address_there) {
    EXPECT_EQ(source("fe80::77", p1), "EADDRNOTAVAIL");
    EXPECT_EQ(source("ff02::77", p1), "EADDRNOTAVAIL");
    add(p1, "2001:db8:9::1/64");
    EXPECT_EQ(source("fe80::77", p1), "2001:db8:9::1");
}

TEST_F(source_address_test, ipv6_way_out_before_longest_prefix) {
    add(p1, "2001:db8:1::1/64");
    add_route({prefix("2001:db8::/96"), {}, p1});
    EXPECT_EQ(source("2001:db8::77"), "2001:db8:1::1");
}

TEST_F(source_address_test, ipv6_longest_prefix) {
    add(p0, "2001:db8:8000::1/64");
    add(p0, "fd00::1/64");
    add_route({prefix("::/0"), ip("2001:db8::fe")});
    EXPECT_EQ(source("2001:db8:8001::5"), "2001:db8:8000::1");
    EXPECT_EQ(source("2001:db8:1::5"), "2001:db8::1");
    EXPECT_EQ(source("fd00:1::5"), "fd00::1");
    // The part beyond the source's own prefix does not count: equal, so the first stays.
    add(p0, "2001:db8::7777/64");
    EXPECT_EQ(source("2001:db8::7776"), "2001:db8::1");
}

TEST_F(source_address_test, ipv6_only_usable) {
    add(p0, "2001:db8::2:1/112", address_state::tentative);
    EXPECT_EQ(source("2001:db8::2:5"), "2001:db8::1");
    map->find_address(ip("2001:db8::1"), p0)->state->store(address_state::duplicate);
    EXPECT_EQ(source("2001:db8::2:5"), "fe80::1");
}

TEST_F(source_address_test, ipv6_service_address_on_the_loopback) {
    map->find_address(ip("2001:db8::1"), p0)->state->store(address_state::duplicate);
    add(loopback_ifindex, "2001:db8:53::53/128");
    add_route({prefix("::/0"), ip("fe80::fe"), p0});
    EXPECT_EQ(source("2001:db8:9::9"), "2001:db8:53::53");  // global beats link-local, ::1 is no candidate
}

}  // namespace
}  // namespace skua::net::test
