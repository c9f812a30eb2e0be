// Tests: interfaces, addresses and routes as a picture.
#include <gtest/gtest.h>

#include "net/test_support.hh"

namespace skua::net::test {
namespace {

class topology_test : public net_test {
protected:
    static constexpr std::uint32_t p1 = 3, vlan10 = 4;
    topology_test() {
        change([](topology_builder& b) {
            ASSERT_TRUE(b.add_interface({.index = p1, .name = "p1", .port = 1}));
            ASSERT_TRUE(b.add_interface({.index = vlan10, .name = "p1.10", .port = 1, .vlan = 10}));
            ASSERT_TRUE(b.add_address(p1, prefix("198.51.100.1/25")));
            ASSERT_TRUE(b.add_address(p1, prefix("2001:db8:1::1/64")));
            // As p0 has it: same MAC address, same link-local one.
            ASSERT_TRUE(b.add_address(vlan10, prefix("fe80::1/64")));
        });
    }
    void add_route(const route& r) {
        change([&](topology_builder& b) { ASSERT_TRUE(b.add_route(r)); });
    }
    void set_state(std::uint32_t ifindex, std::string_view a, address_state s) {
        map->find_address(ip(a), ifindex)->state->store(s);
    }
    std::string way(std::string_view to, std::uint32_t out_ifindex = 0) const {
        const auto p = map->route_to(ip(to), out_ifindex);
        if (!p) return p.error().code == ENETUNREACH ? "ENETUNREACH" : p.error().code == ENODEV ? "ENODEV" : "?";
        static constexpr const char* kinds[] = {"unicast", "local", "broadcast", "multicast"};
        return p->out->name + " " + p->next_hop.to_string() + " " + kinds[static_cast<int>(p->kind)];
    }
};

TEST_F(topology_test, finds_interfaces) {
    EXPECT_EQ(map->by_index(p0)->name, "p0");
    EXPECT_EQ(map->by_index(1)->name, "lo");
    EXPECT_EQ(map->by_index(0), nullptr);
    EXPECT_EQ(map->by_index(99), nullptr);
    EXPECT_EQ(map->by_name("p1.10")->index, vlan10);
    EXPECT_EQ(map->by_name("p2"), nullptr);
    EXPECT_EQ(map->by_port(0, 0)->index, p0);
    EXPECT_EQ(map->by_port(1, 10)->index, vlan10);
    EXPECT_EQ(map->by_port(1, 9), nullptr);
    EXPECT_EQ(map->by_port(1, 11), nullptr);
    EXPECT_EQ(map->by_port(0, 10), nullptr);
    EXPECT_EQ(map->by_port(2, 0), nullptr);
    EXPECT_EQ(map->by_port(no_port, 0), nullptr);
}

TEST_F(topology_test, tells_how_far_addresses_are_alike) {
    add_route({.destination = prefix("0.0.0.0/0"), .gateway = ip("198.18.0.254")});
    add_route({.destination = prefix("203.0.113.0/24"), .gateway = ip("198.51.100.2")});
    // Beside 203.0.113.0/24, and before 224.0.0.0/4.
    EXPECT_EQ(map->alike(ip("203.0.112.9")), 24);
    EXPECT_EQ(map->alike(ip("203.0.113.9")), 24);
    EXPECT_EQ(map->alike(ip("8.8.8.8")), 5);        // 8.0.0.0/5, since 0.0.0.0/8 is apart
    EXPECT_EQ(map->alike(ip("198.18.0.1")), 32);    // our own
    EXPECT_EQ(map->alike(ip("198.18.0.0")), 32);    // between it and the beginning of the subnet
    EXPECT_EQ(map->alike(ip("198.18.0.255")), 32);  // broadcast
    EXPECT_EQ(map->alike(ip("198.18.0.130")), 26);
    EXPECT_EQ(map->alike(ip("224.0.0.1")), 32);
    EXPECT_EQ(map->alike(ip("ff02::1")), 128);
    EXPECT_EQ(map->alike(ip("2001:db8::8000:0:0:1")), 65);
    EXPECT_EQ(map->alike(ip("::1")), 128);
    // The promise: wherever in the prefix, the same way.
    for (const auto* text : {"203.0.112.9", "8.8.8.8", "198.18.0.130", "198.51.100.77", "203.0.113.9"}) {
        const ip_address a = ip(text);
        const auto block = ip_prefix{a, map->alike(a)};
        const auto said = map->route_to(a);
        ASSERT_TRUE(said);
        for (unsigned bit = block.length; bit < 32; bit++) {
            auto bytes = a.bytes();
            bytes[12 + bit / 8] ^= static_cast<std::uint8_t>(0x80 >> bit % 8);
            const auto other = map->route_to(ipv4_address(bytes[12], bytes[13], bytes[14], bytes[15]));
            ASSERT_TRUE(other) << text << " bit " << bit;
            EXPECT_EQ(other->out, said->out) << text << " bit " << bit;
            EXPECT_EQ(other->kind, said->kind) << text << " bit " << bit;
        }
    }
}

TEST_F(topology_test, finds_far_and_colliding_indices) {
    change([](topology_builder& b) {
        for (std::uint32_t n = 0; n < 40; n++)
            ASSERT_TRUE(b.add_interface({.index = 0x10000 * (n + 1) + 2, .name = "x" + std::to_string(n)}));
    });
    for (std::uint32_t n = 0; n < 40; n++)
        EXPECT_EQ(map->by_index(0x10000 * (n + 1) + 2)->name, "x" + std::to_string(n));
    EXPECT_EQ(map->by_index(0x10000 * 41 + 2), nullptr);
    EXPECT_EQ(map->by_index(p0)->name, "p0");
}

TEST_F(topology_test, local_addresses) {
    for (const char* a : {"198.18.0.1", "198.51.100.1", "2001:db8::1", "fe80::1", "127.0.0.1", "127.9.9.9", "::1"})
        EXPECT_TRUE(map->is_local(ip(a))) << a;
    for (const char* a : {"198.18.0.2", "0.0.0.0", "::", "::2", "2001:db8::2", "198.18.0.255", "128.0.0.1"})
        EXPECT_FALSE(map->is_local(ip(a))) << a;
    EXPECT_EQ(map->holder(ip("198.51.100.1"))->index, p1);
    EXPECT_EQ(map->holder(ip("fe80::1"))->index, p0);
    EXPECT_EQ(map->holder(ip("198.18.0.2")), nullptr);
    EXPECT_NE(map->find_address(ip("fe80::1"), vlan10), nullptr);
    EXPECT_EQ(map->find_address(ip("fe80::1"), p1), nullptr);
    EXPECT_EQ(map->find_address(ip("fe80::1"), 0), nullptr);
}

TEST_F(topology_test, only_usable_addresses_are_local) {
    for (const auto s : {address_state::tentative, address_state::duplicate}) {
        set_state(p0, "198.18.0.1", s);
        EXPECT_FALSE(map->is_local(ip("198.18.0.1")));
        EXPECT_EQ(map->holder(ip("198.18.0.1"))->index, p0);
    }
    set_state(p0, "198.18.0.1", address_state::preferred);
    EXPECT_TRUE(map->is_local(ip("198.18.0.1")));
    // One interface has lost it, the other still holds it.
    set_state(p0, "fe80::1", address_state::duplicate);
    EXPECT_TRUE(map->is_local(ip("fe80::1")));
}

TEST_F(topology_test, many_addresses) {
    change([](topology_builder& b) {
        for (int n = 0; n < 2000; n++)
            ASSERT_TRUE(b.add_address(
                loopback_ifindex, prefix("10.1." + std::to_string(n / 250) + "." + std::to_string(n % 250) + "/32")));
    });
    for (int n = 0; n < 2000; n++)
        EXPECT_TRUE(map->is_local(ip("10.1." + std::to_string(n / 250) + "." + std::to_string(n % 250))));
    for (int n = 0; n < 2000; n++)
        EXPECT_FALSE(map->is_local(ip("10.2." + std::to_string(n / 250) + "." + std::to_string(n % 250))));
}

TEST_F(topology_test, broadcasts) {
    EXPECT_TRUE(map->is_broadcast(ip("255.255.255.255")));
    EXPECT_TRUE(map->is_broadcast(ip("255.255.255.255"), p1));
    EXPECT_TRUE(map->is_broadcast(ip("198.18.0.255")));
    EXPECT_TRUE(map->is_broadcast(ip("198.18.0.255"), p0));
    EXPECT_FALSE(map->is_broadcast(ip("198.18.0.255"), p1));
    EXPECT_TRUE(map->is_broadcast(ip("198.51.100.127"), p1));
    EXPECT_FALSE(map->is_broadcast(ip("198.51.100.255")));
    EXPECT_FALSE(map->is_broadcast(ip("198.18.0.1")));
}

TEST_F(topology_test, groups_received_unasked) {
    EXPECT_TRUE(map->is_joined(ip("224.0.0.1"), p0));
    EXPECT_FALSE(map->is_joined(ip("224.0.0.2"), p0));
    EXPECT_TRUE(map->is_joined(ip("ff02::1"), p0));
    EXPECT_TRUE(map->is_joined(ip("ff01::1"), p0));
    EXPECT_FALSE(map->is_joined(ip("ff05::1"), p0));
    EXPECT_FALSE(map->is_joined(ip("ff02::2"), p0));
    EXPECT_FALSE(map->is_joined(ip("ff02::1:0:1"), p0));
    EXPECT_TRUE(map->is_joined(ip("ff02::1:ff00:1"), p0));
    EXPECT_FALSE(map->is_joined(ip("ff02::1:ff00:1"), 0));
    EXPECT_FALSE(map->is_joined(ip("ff02::1:ff00:2"), p0));
    change([](topology_builder& b) {
        ASSERT_TRUE(b.add_address(p0, prefix("2001:db8::ab:cdef/64"), address_state::tentative));
    });
    EXPECT_TRUE(map->is_joined(ip("ff02::1:ffab:cdef"), p0));
    EXPECT_FALSE(map->is_joined(ip("ff02::1:ffab:cdef"), p1));
}

TEST_F(topology_test, connected_routes) {
    EXPECT_EQ(way("198.18.0.77"), "p0 198.18.0.77 unicast");
    EXPECT_EQ(way("198.51.100.126"), "p1 198.51.100.126 unicast");
    EXPECT_EQ(way("198.51.100.129"), "ENETUNREACH");
    EXPECT_EQ(way("2001:db8::77"), "p0 2001:db8::77 unicast");
    EXPECT_EQ(way("2001:db8:2::1"), "ENETUNREACH");
    EXPECT_EQ(way("198.18.0.77", 99), "ENODEV");
}

TEST_F(topology_test, longest_prefix_then_metric) {
    add_route({prefix("0.0.0.0/0"), ip("198.18.0.254"), 0, {}, 100});
    add_route({prefix("10.0.0.0/8"), ip("198.18.0.253")});
    add_route({prefix("10.1.0.0/16"), ip("198.51.100.2"), 0, {}, 50});
    add_route({prefix("10.1.0.0/16"), ip("198.18.0.252"), 0, {}, 20});
    add_route({prefix("10.1.2.3/32"), ip("198.51.100.3")});
    EXPECT_EQ(way("192.0.2.1"), "p0 198.18.0.254 unicast");
    EXPECT_EQ(way("10.9.9.9"), "p0 198.18.0.253 unicast");
    EXPECT_EQ(way("10.1.9.9"), "p0 198.18.0.252 unicast");
    EXPECT_EQ(way("10.1.2.3"), "p1 198.51.100.3 unicast");
    EXPECT_EQ(way("10.1.9.9", p1), "p1 198.51.100.2 unicast");
    EXPECT_EQ(way("10.1.2.3", p0), "p0 198.18.0.252 unicast");
    EXPECT_EQ(way("10.9.9.9", p1), "p1 10.9.9.9 unicast");  // IPv4 without a route there: on link
    EXPECT_EQ(way("10.9.9.9", loopback_ifindex), "ENETUNREACH");
    const auto all = map->routes();
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), [](const auto& a, const auto& b) {
        return a.destination.address < b.destination.address;
    }));
}

TEST_F(topology_test, default_route_of_one_family_is_not_for_the_other) {
    add_route({prefix("::/0"), ip("2001:db8::fe"), 0, {}, 1024});
    EXPECT_EQ(way("192.0.2.1"), "ENETUNREACH");
    EXPECT_EQ(way("2001:db8:2::1"), "p0 2001:db8::fe unicast");
    EXPECT_EQ(way("::5"), "p0 2001:db8::fe unicast");
    add_route({prefix("0.0.0.0/0"), ip("198.51.100.2")});
    EXPECT_EQ(way("192.0.2.1"), "p1 198.51.100.2 unicast");
    EXPECT_EQ(way("2001:db8:2::1", p1), "ENETUNREACH");
}

TEST_F(topology_test, many_routes_as_a_plain_search_finds_them) {
    std::vector<route> added;
    change([&](topology_builder& b) {
        for (int n = 0; n < 1000; n++) {
            const auto length = static_cast<std::uint8_t>(random.below(33));
            const ip_prefix p{ipv4_address(be32(static_cast<std::uint32_t>(random.below(1 << 20) << 12))), length};
            const route r{
                {p.network(), length}, {}, random.below(2) ? p0 : p1, {}, static_cast<std::uint32_t>(random.below(4))};
            if (r.destination.network().is_any() && length > 0) continue;
            if (b.add_route(r)) added.push_back(r);
        }
    });
    for (int n = 0; n < 5000; n++) {
        const ip_address to =
            ipv4_address(be32(static_cast<std::uint32_t>(random.below(1 << 20) << 12 | random.below(4096))));
        if (to.is_multicast() || map->is_local(to) || map->is_broadcast(to) || to.is_any()) continue;
        const std::uint32_t only = random.below(3) == 0 ? p1 : 0;
        const route* best = nullptr;
        for (const auto& r : map->routes())
            if (r.destination.contains(to) && (only == 0 || r.ifindex == only) &&
                (!best || r.destination.length > best->destination.length ||
                 (r.destination.length == best->destination.length && r.metric < best->metric)))
                best = &r;
        const auto found = map->route_to(to, only);
        if (!best) {
            EXPECT_EQ(found.has_value(), only != 0);
            continue;
        }
        ASSERT_TRUE(found);
        EXPECT_EQ(found->out->index, best->ifindex) << to.to_string();
    }
}

TEST_F(topology_test, local_destinations) {
    EXPECT_EQ(way("198.51.100.1"), "lo 198.51.100.1 local");
    EXPECT_EQ(map->route_to(ip("198.51.100.1"))->source, ip("198.51.100.1"));
    EXPECT_EQ(way("127.9.9.9"), "lo 127.9.9.9 local");
    EXPECT_EQ(map->route_to(ip("127.9.9.9"))->source, ip("127.0.0.1"));
    EXPECT_EQ(way("::1"), "lo ::1 local");
    EXPECT_EQ(way("0.0.0.0"), "lo 127.0.0.1 local");
    EXPECT_EQ(way("::"), "lo ::1 local");
    set_state(p1, "198.51.100.1", address_state::tentative);
    EXPECT_EQ(way("198.51.100.1"), "p1 198.51.100.1 unicast");
}

TEST_F(topology_test, link_local_destinations_have_a_scope) {
    EXPECT_EQ(way("fe80::9", vlan10), "p1.10 fe80::9 unicast");
    EXPECT_EQ(way("fe80::9", p1), "p1 fe80::9 unicast");  // without any link-local address there
    EXPECT_EQ(way("fe80::1", vlan10), "lo fe80::1 local");
    EXPECT_EQ(way("fe80::1", p1), "p1 fe80::1 unicast");  // ours elsewhere, a neighbour's here
    EXPECT_EQ(way("fe80::1"), "lo fe80::1 local");
}

TEST_F(topology_test, multicast_destinations) {
    EXPECT_EQ(way("224.1.1.1"), "ENETUNREACH");
    EXPECT_EQ(way("224.1.1.1", p1), "p1 224.1.1.1 multicast");
    EXPECT_EQ(way("ff02::9"), "p0 ff02::9 multicast");
    EXPECT_EQ(way("ff02::9", vlan10), "p1.10 ff02::9 multicast");
    add_route({prefix("0.0.0.0/0"), ip("198.18.0.254")});
    add_route({prefix("::/0"), ip("2001:db8:1::fe")});
    EXPECT_EQ(way("224.1.1.1"), "p0 224.1.1.1 multicast");
    EXPECT_EQ(way("ff02::9"), "p0 ff02::9 multicast");
    add_route({prefix("224.0.0.0/4"), {}, p1});
    add_route({prefix("ff00::/8"), {}, p1});
    EXPECT_EQ(way("224.1.1.1"), "p1 224.1.1.1 multicast");
    EXPECT_EQ(way("ff02::9"), "p1 ff02::9 multicast");
}

TEST_F(topology_test, multicast_without_ipv6_interface) {
    auto built = topology_builder().build();
    EXPECT_EQ((*built)->route_to(ip("ff02::9")).error(), error{ENETUNREACH});
}

TEST_F(topology_test, broadcast_destinations) {
    EXPECT_EQ(way("255.255.255.255"), "ENETUNREACH");
    EXPECT_EQ(way("255.255.255.255", p1), "p1 255.255.255.255 broadcast");
    EXPECT_EQ(way("198.18.0.255"), "p0 198.18.0.255 broadcast");
    EXPECT_EQ(way("198.18.0.255", p0), "p0 198.18.0.255 broadcast");
    EXPECT_EQ(way("198.18.0.255", p1), "p1 198.18.0.255 unicast");
    add_route({prefix("0.0.0.0/0"), ip("198.51.100.2")});
    EXPECT_EQ(way("255.255.255.255"), "p1 255.255.255.255 broadcast");
}

TEST_F(topology_test, pictures_are_independent) {
    auto older = std::move(map);
    map.reset();
    {
        topology_builder b(*older);
        ASSERT_TRUE(b.add_route({prefix("10.0.0.0/8"), ip("198.18.0.2")}));
        auto built = b.build();
        ASSERT_TRUE(built);
        EXPECT_NE((*built)->serial(), older->serial());
        EXPECT_TRUE((*built)->route_to(ip("10.1.1.1")));
        EXPECT_FALSE(older->route_to(ip("10.1.1.1")));
        // States of addresses are common to both.
        EXPECT_EQ((*built)->find_address(ip("198.18.0.1"), p0)->state,
                  older->find_address(ip("198.18.0.1"), p0)->state);
    }
    EXPECT_TRUE(older->route_to(ip("198.18.0.9")));
    map = std::move(older);
}

}  // namespace
}  // namespace skua::net::test
