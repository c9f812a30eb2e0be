// Tests: duplicate address detection and announcements.
#include <gtest/gtest.h>

#include "net/neighbour_test_support.hh"

namespace skua::net::test {
namespace {

const ip_address new4 = ip("198.18.0.40");
const ip_address new6 = ip("2001:db8::40");

class claims_test : public neighbour_test {
protected:
    void add(std::string_view p, address_state s, std::uint32_t ifindex = p0) {
        change([&](topology_builder& b) { ASSERT_TRUE(b.add_address(ifindex, prefix(p), s)); });
    }
    address_state state(const ip_address& a) const { return map->find_address(a, p0)->state->load(); }
    nd_frame others_probe() const {
        return {.type = wire::icmp6::neighbor_solicitation,
                .source = ip("::"),
                .destination = ip("ff02::1:ff00:40"),
                .target = new6,
                .link = {}};
    }
};

TEST_F(claims_test, what_was_there_at_the_start_is_announced_once) {
    neighbour_table fresh(rcu, random);
    EXPECT_EQ(fresh.next_due(), time_point::max());
    fresh.tick(ctx(), out);
    EXPECT_EQ(out.frames.size(), 3u);  // 198.18.0.1, 2001:db8::1, fe80::1; not the loopback's
    for (int i = 0; i < 100; i++) {
        advance(1s);
        fresh.tick(ctx(), out);
    }
    EXPECT_EQ(out.frames.size(), 3u);
    EXPECT_EQ(fresh.next_due(), time_point::max());
}

TEST_F(claims_test, ipv6_without_detection) {
    add("2001:db8::40/64", address_state::preferred);
    tick();
    ASSERT_EQ(out.frames.size(), 1u);
    const auto& f = out.frames[0];
    EXPECT_EQ(eth(f).destination, mac("33:33:00:00:00:01"));
    EXPECT_EQ(ip_address(ip6(f).source), new6);
    EXPECT_EQ(ip_address(ip6(f).destination), ip("ff02::1"));
    EXPECT_EQ(nd(f).icmp.type, wire::icmp6::neighbor_advertisement);
    EXPECT_EQ(nd(f).icmp.rest.host(), wire::nd_override);
    EXPECT_EQ(ip_address(nd(f).target), new6);
    EXPECT_EQ(option(f).mac, own_mac);
    EXPECT_EQ(mibs.get(mib::icmp6_out_neighbor_advertisements), 3u);  // the two at the start, this one
    pass(10s);
    EXPECT_EQ(out.frames.size(), 1u);
}

TEST_F(claims_test, ipv4_without_detection) {
    add("198.18.0.40/24", address_state::preferred);
    tick();
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(eth(out.frames[0]).destination, mac_address::broadcast());
    EXPECT_EQ(arp(out.frames[0]).operation.host(), wire::arp_request);
    EXPECT_EQ(ip_address(arp(out.frames[0]).sender_ip), new4);
    EXPECT_EQ(ip_address(arp(out.frames[0]).target_ip), new4);
    pass(10s);
    EXPECT_EQ(out.frames.size(), 1u);
}

TEST_F(claims_test, ipv6_detection_succeeds) {
    add("2001:db8::40/64", address_state::tentative);
    tick();
    ASSERT_EQ(out.frames.size(), 1u);
    const auto& f = out.frames[0];
    EXPECT_EQ(f.p.size(), 78u);  // no source link-layer address
    EXPECT_EQ(eth(f).destination, mac("33:33:ff:00:00:40"));
    EXPECT_EQ(ip_address(ip6(f).source), ip("::"));
    EXPECT_EQ(ip_address(ip6(f).destination), ip("ff02::1:ff00:40"));
    EXPECT_EQ(nd(f).icmp.type, wire::icmp6::neighbor_solicitation);
    EXPECT_EQ(ip_address(nd(f).target), new6);
    EXPECT_EQ(table->next_due(), now + 1s);
    pass(900ms);
    EXPECT_EQ(state(new6), address_state::tentative);
    pass(100ms);
    EXPECT_EQ(state(new6), address_state::preferred);
    ASSERT_EQ(out.frames.size(), 2u);
    EXPECT_EQ(nd(out.frames[1]).icmp.type, wire::icmp6::neighbor_advertisement);
    EXPECT_EQ(nd(out.frames[1]).icmp.rest.host(), wire::nd_override);
    pass(10s);
    EXPECT_EQ(out.frames.size(), 2u);
}

TEST_F(claims_test, ipv6_is_defended) {
    add("2001:db8::40/64", address_state::tentative);
    tick();
    EXPECT_EQ(hear(nd_frame{.destination = ip("ff02::1"), .target = new6, .flags = wire::nd_override}),
              drop_reason::nd_ignored);
    EXPECT_EQ(state(new6), address_state::duplicate);
    pass(10s);
    EXPECT_EQ(state(new6), address_state::duplicate);
    EXPECT_EQ(out.frames.size(), 1u);
    EXPECT_FALSE(map->is_local(new6));
    EXPECT_EQ(table->next_due(), time_point::max());
}

TEST_F(claims_test, ipv6_is_tried_by_another_too) {
    add("2001:db8::40/64", address_state::tentative);
    tick();
    auto echo = others_probe();
    echo.ethernet_source = own_mac;
    hear(echo);
    EXPECT_EQ(state(new6), address_state::tentative);
    EXPECT_EQ(hear(others_probe()), drop_reason::nd_ignored);
    EXPECT_EQ(state(new6), address_state::duplicate);
    // A duplicate address is never defended.
    out.clear();
    hear(others_probe());
    EXPECT_TRUE(out.frames.empty());
}

TEST_F(claims_test, who_resolves_a_tentative_ipv6_address_gets_no_answer) {
    add("2001:db8::40/64", address_state::tentative);
    tick();
    out.clear();
    auto f = solicitation();
    f.target = new6;
    EXPECT_EQ(hear(f), drop_reason::nd_ignored);
    EXPECT_EQ(state(new6), address_state::tentative);
    EXPECT_TRUE(out.frames.empty());
}

TEST_F(claims_test, ipv4_detection_succeeds) {
    add("198.18.0.40/24", address_state::tentative);
    tick();
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(ip_address(arp(out.frames[0]).sender_ip), ip("0.0.0.0"));
    EXPECT_EQ(ip_address(arp(out.frames[0]).target_ip), new4);
    EXPECT_EQ(eth(out.frames[0]).destination, mac_address::broadcast());
    hear({.target_ip = new4});  // not ours yet
    EXPECT_EQ(out.frames.size(), 1u);
    pass(1s);
    EXPECT_EQ(state(new4), address_state::preferred);
    EXPECT_EQ(out.frames.size(), 2u);
    pass(1900ms);
    EXPECT_EQ(out.frames.size(), 2u);
    pass(100ms);
    ASSERT_EQ(out.frames.size(), 3u);
    EXPECT_EQ(ip_address(arp(out.frames[2]).sender_ip), new4);
    EXPECT_EQ(ip_address(arp(out.frames[2]).target_ip), new4);
    pass(10s);
    EXPECT_EQ(out.frames.size(), 3u);
}

TEST_F(claims_test, ipv4_is_in_use) {
    for (const auto operation : {wire::arp_request, wire::arp_reply}) {
        change([](topology_builder& b) {
            (void)b.remove_address(p0, new4);
            ASSERT_TRUE(b.add_address(p0, prefix("198.18.0.40/24"), address_state::tentative));
        });
        tick();
        EXPECT_EQ(hear({.operation = operation, .sender_ip = new4, .target_ip = ip("198.18.0.9")}),
                  drop_reason::arp_ignored);
        EXPECT_EQ(state(new4), address_state::duplicate);
        pass(5s);
        EXPECT_EQ(state(new4), address_state::duplicate);
    }
    EXPECT_EQ(out.frames.size(), 2u);  // two probes, no announcement
}

TEST_F(claims_test, ipv4_is_tried_by_another_too) {
    add("198.18.0.40/24", address_state::tentative);
    tick();
    hear({.sender_mac = own_mac, .sender_ip = ip("0.0.0.0"), .target_ip = new4});  // our own, sent back
    EXPECT_EQ(state(new4), address_state::tentative);
    EXPECT_EQ(hear({.sender_ip = ip("0.0.0.0"), .target_ip = new4}), drop_reason::arp_ignored);
    EXPECT_EQ(state(new4), address_state::duplicate);
}

TEST_F(claims_test, no_probes) {
    make_table({.claims = {.probes = 0}});
    add("2001:db8::40/64", address_state::tentative);
    tick();
    EXPECT_EQ(state(new6), address_state::preferred);
    EXPECT_EQ(out.frames.size(), 1u);
}

TEST_F(claims_test, several_probes) {
    make_table({.claims = {.probes = 3, .probe_time = 200ms}});
    add("198.18.0.40/24", address_state::tentative);
    tick();
    pass(500ms);
    EXPECT_EQ(out.frames.size(), 3u);
    EXPECT_EQ(state(new4), address_state::tentative);
    pass(100ms);
    EXPECT_EQ(state(new4), address_state::preferred);
}

TEST_F(claims_test, address_removed_meanwhile) {
    add("2001:db8::40/64", address_state::tentative);
    tick();
    change([](topology_builder& b) { ASSERT_TRUE(b.remove_address(p0, new6)); });
    pass(10s);
    EXPECT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(table->next_due(), time_point::max());
}

TEST_F(claims_test, other_changes_do_not_start_anew) {
    add("2001:db8::40/64", address_state::tentative);
    tick();
    for (int i = 0; i < 3; i++) {
        pass(300ms);
        change([&](topology_builder& b) {
            ASSERT_TRUE(b.add_route({ip_prefix{ip("10.0.0.0"), static_cast<std::uint8_t>(8 + i)}, {}, p0}));
        });
    }
    pass(100ms);
    EXPECT_EQ(state(new6), address_state::preferred);
    EXPECT_EQ(out.frames.size(), 2u);
}

TEST_F(claims_test, new_mac_address_is_announced) {
    change([](topology_builder& b) { b.find(p0)->mac = other_mac; });
    tick();
    ASSERT_EQ(out.frames.size(), 3u);
    EXPECT_EQ(arp(out.frames[0]).sender_mac, other_mac);
}

TEST_F(claims_test, the_loopback_is_not_claimed) {
    add("192.0.2.53/32", address_state::preferred, loopback_ifindex);
    tick();
    EXPECT_TRUE(out.frames.empty());
}

TEST_F(claims_test, thousands_are_announced_in_portions) {
    change([](topology_builder& b) {
        for (int i = 0; i < 200; i++)
            ASSERT_TRUE(b.add_address(p0, prefix("198.18.0." + std::to_string(i + 10) + "/24")));
    });
    tick();
    EXPECT_EQ(out.frames.size(), 64u);
    EXPECT_LE(table->next_due(), now);
    for (int i = 0; i < 3; i++) tick();
    EXPECT_EQ(out.frames.size(), 200u);
    EXPECT_EQ(table->next_due(), time_point::max());
}

}  // namespace
}  // namespace skua::net::test
