// Tests: what the builder refuses, and what goes with what is removed.
#include <gtest/gtest.h>

#include "net/test_support.hh"

namespace skua::net::test {
namespace {

class topology_builder_test : public net_test {
protected:
    topology_builder b{*map};
    template <class T>
    static int code(const result<T>& r) {
        return r ? 0 : r.error().code;
    }
};

TEST_F(topology_builder_test, begins_with_the_loopback) {
    const auto built = topology_builder().build();
    ASSERT_TRUE(built);
    const interface* lo = (*built)->by_index(loopback_ifindex);
    ASSERT_NE(lo, nullptr);
    EXPECT_TRUE(lo->is_loopback());
    EXPECT_EQ(lo->name, "lo");
    EXPECT_EQ(lo->mtu, 65536u);
    EXPECT_TRUE((*built)->is_local(ip("::1")));
    EXPECT_TRUE((*built)->routes().empty());
}

TEST_F(topology_builder_test, interfaces) {
    EXPECT_EQ(b.add_interface({.name = "a"}).value(), 3u);
    EXPECT_EQ(b.add_interface({.index = 10, .name = "b", .port = 0, .vlan = 4094}).value(), 10u);
    EXPECT_EQ(b.add_interface({.name = "c"}).value(), 11u);  // none has a port: no conflict
    EXPECT_EQ(code(b.add_interface({.index = 10, .name = "d"})), EEXIST);
    EXPECT_EQ(code(b.add_interface({.name = "a"})), EEXIST);
    EXPECT_EQ(code(b.add_interface({.name = "d", .port = 0})), EEXIST);
    EXPECT_EQ(code(b.add_interface({.name = "d", .port = 0, .vlan = 4094})), EEXIST);
    EXPECT_EQ(code(b.add_interface({.name = "d", .mtu = 67})), EINVAL);
    EXPECT_EQ(code(b.add_interface({.name = "d", .mtu = 65536})), EINVAL);
    EXPECT_EQ(code(b.add_interface({.name = "d", .vlan = 4095})), EINVAL);
    EXPECT_EQ(code(b.add_interface({.name = ""})), EINVAL);
    EXPECT_EQ(code(b.add_interface({.name = "sixteen-bytes-xx"})), EINVAL);
    interface with_address {
        .name = "d"
    };
    with_address.addresses.emplace_back();
    EXPECT_EQ(code(b.add_interface(with_address)), EINVAL);
    EXPECT_EQ(code(b.add_interface({.name = "fifteen-bytes-x", .mtu = 68})), 0);
    EXPECT_EQ(code(b.add_interface({.name = "e", .mtu = 65535})), 0);
}

TEST_F(topology_builder_test, removing_an_interface_takes_its_routes) {
    ASSERT_TRUE(b.add_route({prefix("10.0.0.0/8"), ip("198.18.0.2")}));
    EXPECT_EQ(code(b.remove_interface(loopback_ifindex)), EINVAL);
    EXPECT_EQ(code(b.remove_interface(77)), ENODEV);
    ASSERT_TRUE(b.remove_interface(p0));
    EXPECT_EQ(b.find(p0), nullptr);
    const auto built = b.build();
    ASSERT_TRUE(built);
    EXPECT_TRUE((*built)->routes().empty());
    EXPECT_EQ((*built)->by_port(0, 0), nullptr);
}

TEST_F(topology_builder_test, changes_of_an_interface) {
    b.find(p0)->mtu = 9000;
    EXPECT_EQ((*b.build())->by_index(p0)->mtu, 9000u);
    EXPECT_EQ(map->by_index(p0)->mtu, 1500u);
    b.find(p0)->mtu = 60;
    EXPECT_EQ(code(b.build()), EINVAL);
}

TEST_F(topology_builder_test, addresses) {
    EXPECT_EQ(code(b.add_address(77, prefix("10.0.0.1/8"))), ENODEV);
    EXPECT_EQ(code(b.add_address(p0, prefix("198.18.0.1/16"))), EEXIST);
    for (const char* p : {"0.0.0.0/8", "::/64", "224.0.0.1/24", "ff02::1/64", "255.255.255.255/32"})
        EXPECT_EQ(code(b.add_address(p0, prefix(p))), EINVAL) << p;
    EXPECT_EQ(code(b.add_address(p0, {ip("10.0.0.1"), 33})), EINVAL);
    EXPECT_EQ(code(b.add_address(loopback_ifindex, prefix("198.18.0.1/32"))), 0);
    EXPECT_EQ(code(b.remove_address(p0, ip("10.0.0.1"))), EADDRNOTAVAIL);
    EXPECT_EQ(code(b.remove_address(77, ip("198.18.0.1"))), EADDRNOTAVAIL);
    EXPECT_EQ(code(b.remove_address(p0, ip("198.18.0.1"))), 0);
    const auto built = b.build();
    EXPECT_TRUE((*built)->is_local(ip("198.18.0.1")));  // the loopback's
    EXPECT_FALSE((*built)->route_to(ip("198.18.0.9")));
}

TEST_F(topology_builder_test, removing_an_address_takes_routes_that_prefer_it) {
    ASSERT_TRUE(b.add_address(p0, prefix("198.18.0.7/24")));
    ASSERT_TRUE(b.add_route({prefix("10.0.0.0/8"), ip("198.18.0.2"), 0, ip("198.18.0.7")}));
    ASSERT_TRUE(b.add_route({prefix("11.0.0.0/8"), ip("198.18.0.2")}));
    ASSERT_TRUE(b.remove_address(p0, ip("198.18.0.7")));
    const auto built = b.build();
    EXPECT_FALSE((*built)->route_to(ip("10.0.0.1")));
    EXPECT_TRUE((*built)->route_to(ip("11.0.0.1")));
}

TEST_F(topology_builder_test, routes) {
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), {}, 77})), ENODEV);
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), {}, 0})), ENODEV);
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), ip("198.18.0.2"), 77})), ENODEV);
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), ip("192.0.2.1")})), ENETUNREACH);
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), ip("2001:db8::2")})), EINVAL);
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), ip("198.18.0.2"), 0, ip("2001:db8::1")})), EINVAL);
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), ip("198.18.0.2"), 0, ip("192.0.2.1")})), EINVAL);
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), ip("198.18.0.1")})), EINVAL);  // that is ourselves
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), ip("0.0.0.0")})), EINVAL);
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), ip("224.0.0.1")})), EINVAL);
    EXPECT_EQ(code(b.add_route({{ip("10.0.0.0"), 33}, {}, p0})), EINVAL);
    EXPECT_EQ(code(b.add_route({prefix("10.1.2.3/8"), ip("198.18.0.2")})), 0);
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), ip("198.18.0.3")})), EEXIST);
    EXPECT_EQ(code(b.add_route({prefix("10.0.0.0/8"), ip("198.18.0.3"), 0, {}, 1})), 0);
    EXPECT_EQ(code(b.add_route({prefix("2001:db8:5::/48"), ip("fe80::2")})), 0);  // the subnet of p0's own
    EXPECT_EQ(code(b.add_route({prefix("2001:db8:6::/48"), ip("fe80::2"), p0})), 0);
}

TEST_F(topology_builder_test, gateway_behind_an_on_link_route) {
    EXPECT_EQ(code(b.add_route({prefix("0.0.0.0/0"), ip("169.254.1.1"), p0})), ENETUNREACH);
    ASSERT_TRUE(b.add_route({prefix("169.254.1.1/32"), {}, p0}));
    EXPECT_EQ(code(b.add_route({prefix("0.0.0.0/0"), ip("169.254.1.1"), p0})), 0);
}

TEST_F(topology_builder_test, removing_routes) {
    ASSERT_TRUE(b.add_interface({.index = 3, .name = "p1"}));
    ASSERT_TRUE(b.add_route({prefix("10.0.0.0/8"), {}, p0}));
    ASSERT_TRUE(b.add_route({prefix("10.0.0.0/8"), {}, 3}));
    EXPECT_EQ(code(b.remove_route(prefix("10.0.0.0/8"), 5)), ESRCH);
    EXPECT_EQ(code(b.remove_route(prefix("10.0.0.0/9"), 0)), ESRCH);
    EXPECT_EQ(code(b.remove_route(prefix("10.0.0.0/8"), 0, 4)), ESRCH);
    EXPECT_EQ(code(b.remove_route(prefix("10.0.0.0/8"), 0, p0)), 0);
    EXPECT_EQ((*b.build())->route_to(ip("10.0.0.1"))->out->index, 3u);
    EXPECT_EQ(code(b.remove_route(prefix("10.9.9.9/8"), 0)), 0);
    EXPECT_FALSE((*b.build())->route_to(ip("10.0.0.1")));
}

}  // namespace
}  // namespace skua::net::test
