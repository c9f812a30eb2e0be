// Tests: neighbour discovery as it comes in and goes out.
#include <gtest/gtest.h>

#include "net/neighbour_test_support.hh"

namespace skua::net::test {
namespace {

using enum neighbour_state;
using packet::step;

class nd_test : public neighbour_test {
protected:
    void know_peer() {
        park(peer6);
        hear(nd_frame{});
        out.clear();
    }
    bool checksum_good(const fake_sender::sent& s) {
        wire::checksum_sum sum;
        const auto length = static_cast<std::uint32_t>(s.p.size() - 54);
        sum.add_pseudo_header(ip6(s).source, ip6(s).destination, IPPROTO_ICMPV6, length);
        sum.add(s.p.get(), 54, length);
        return sum.finish().host() == 0;
    }
    bool router(const ip_address& a) const {
        for (const auto& n : table->list())
            if (n.address == a) return n.router;
        return false;
    }
};

TEST_F(nd_test, solicits_the_group) {
    park(peer6);
    ASSERT_EQ(out.frames.size(), 1u);
    const auto& f = out.frames[0];
    EXPECT_EQ(f.p.size(), 86u);
    EXPECT_EQ(eth(f).destination, mac("33:33:ff:00:00:02"));
    EXPECT_EQ(eth(f).source, own_mac);
    EXPECT_EQ(eth(f).type.host(), 0x86dd);
    EXPECT_EQ(ip6(f).version(), 6u);
    EXPECT_EQ(ip6(f).payload_length.host(), 32);
    EXPECT_EQ(ip6(f).next_header, IPPROTO_ICMPV6);
    EXPECT_EQ(ip6(f).hop_limit, 255);
    EXPECT_EQ(ip_address(ip6(f).source), own6);
    EXPECT_EQ(ip_address(ip6(f).destination), ip("ff02::1:ff00:2"));
    EXPECT_EQ(nd(f).icmp.type, wire::icmp6::neighbor_solicitation);
    EXPECT_EQ(ip_address(nd(f).target), peer6);
    EXPECT_EQ(option(f).type, wire::nd_source_link);
    EXPECT_EQ(option(f).mac, own_mac);
    EXPECT_TRUE(checksum_good(f));
    EXPECT_EQ(mibs.get(mib::icmp6_out_neighbor_solicits), 1u);
    EXPECT_GE(mibs.get(mib::icmp6_out_msgs), 1u);
}

TEST_F(nd_test, resolves_and_sends_what_is_parked) {
    park(peer6, 'a');
    out.clear();
    EXPECT_EQ(hear(nd_frame{}), step::held);
    EXPECT_EQ(state_of(peer6), reachable);
    EXPECT_EQ(resolved(peer6), peer_mac);
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(eth(out.frames[0]).destination, peer_mac);
    EXPECT_EQ(eth(out.frames[0]).type.host(), 0x86dd);
}

TEST_F(nd_test, probes_by_unicast) {
    know_peer();
    pass(46s);
    EXPECT_TRUE(resolved(peer6));
    pass(6s);
    ASSERT_FALSE(out.frames.empty());
    EXPECT_EQ(eth(out.frames[0]).destination, peer_mac);
    EXPECT_EQ(ip_address(ip6(out.frames[0]).destination), peer6);
    EXPECT_TRUE(checksum_good(out.frames[0]));
    EXPECT_EQ(state_of(peer6), probe);
    hear(nd_frame{.link = std::nullopt});  // an answer to a unicast solicitation may leave it out
    EXPECT_EQ(state_of(peer6), reachable);
}

TEST_F(nd_test, solicitation_is_answered) {
    EXPECT_EQ(hear(solicitation()), step::held);
    ASSERT_EQ(out.frames.size(), 1u);
    const auto& f = out.frames[0];
    EXPECT_EQ(f.p.size(), 86u);
    EXPECT_EQ(eth(f).destination, peer_mac);
    EXPECT_EQ(ip_address(ip6(f).source), own6);
    EXPECT_EQ(ip_address(ip6(f).destination), peer6);
    EXPECT_EQ(ip6(f).hop_limit, 255);
    EXPECT_EQ(nd(f).icmp.type, wire::icmp6::neighbor_advertisement);
    EXPECT_EQ(nd(f).icmp.rest.host(), wire::nd_solicited | wire::nd_override);
    EXPECT_EQ(ip_address(nd(f).target), own6);
    EXPECT_EQ(option(f).type, wire::nd_target_link);
    EXPECT_EQ(option(f).length_units, 1);
    EXPECT_EQ(option(f).mac, own_mac);
    EXPECT_TRUE(checksum_good(f));
    EXPECT_EQ(state_of(peer6), stale);
    EXPECT_EQ(resolved(peer6), peer_mac);
}

TEST_F(nd_test, solicitation_without_link_address_is_answered_by_the_common_way) {
    auto f = solicitation();
    f.link = {};
    EXPECT_EQ(hear(f), step::held);
    EXPECT_TRUE(out.frames.empty());
    ASSERT_EQ(out.outputs.size(), 1u);
    EXPECT_EQ(out.outputs[0].ifindex, p0);
    EXPECT_EQ(out.outputs[0].p.size(), 72u);
    EXPECT_EQ(table->size(), 0u);
}

TEST_F(nd_test, solicitation_for_an_address_of_another_interface) {
    change([](topology_builder& b) { ASSERT_TRUE(b.add_address(loopback_ifindex, prefix("2001:db8:53::53/128"))); });
    auto f = solicitation();
    f.target = ip("2001:db8:53::53");
    EXPECT_EQ(hear(f), drop_reason::nd_ignored);
    f.target = peer6;
    EXPECT_EQ(hear(f), drop_reason::nd_ignored);
    EXPECT_EQ(table->size(), 0u);
}

TEST_F(nd_test, solicitation_updates_an_entry) {
    know_peer();
    hear(solicitation());
    EXPECT_EQ(state_of(peer6), reachable);  // same address: no change
    auto f = solicitation();
    f.link = other_mac;
    hear(f);
    EXPECT_EQ(state_of(peer6), stale);
    EXPECT_EQ(resolved(peer6), other_mac);
}

TEST_F(nd_test, solicitation_resolves_who_is_being_asked_for) {
    park(peer6, 'a');
    out.clear();
    hear(solicitation());
    EXPECT_EQ(state_of(peer6), stale);
    ASSERT_EQ(out.frames.size(), 2u);
    EXPECT_EQ(bytes_of(out.frames[0].p).back(), 'a');
}

TEST_F(nd_test, another_tries_our_address) {
    auto f = solicitation();
    f.source = ip("::");
    f.link = {};
    EXPECT_EQ(hear(f), step::held);
    ASSERT_EQ(out.frames.size(), 1u);
    const auto& a = out.frames[0];
    EXPECT_EQ(eth(a).destination, mac("33:33:00:00:00:01"));
    EXPECT_EQ(ip_address(ip6(a).destination), ip("ff02::1"));
    EXPECT_EQ(nd(a).icmp.rest.host(), wire::nd_override);
    EXPECT_TRUE(checksum_good(a));
    EXPECT_EQ(map->find_address(own6, p0)->state->load(), address_state::preferred);
}

TEST_F(nd_test, permanent_is_not_changed) {
    table->set_permanent(p0, peer6, other_mac);
    tick();
    hear(solicitation());
    EXPECT_EQ(hear(nd_frame{}), drop_reason::nd_ignored);
    EXPECT_EQ(state_of(peer6), permanent);
    EXPECT_EQ(resolved(peer6), other_mac);
}

TEST_F(nd_test, echoes_and_our_own_addresses) {
    auto f = solicitation();
    f.ethernet_source = own_mac;
    f.source = own6;
    EXPECT_EQ(hear(f), drop_reason::nd_ignored);
    f.source = ip("::");  // our probe
    f.link = std::nullopt;
    EXPECT_EQ(hear(f), drop_reason::nd_ignored);
    f = solicitation();
    f.source = ip("fe80::1");
    EXPECT_EQ(hear(f), drop_reason::nd_ignored);
    EXPECT_EQ(hear(nd_frame{.target = own6}), drop_reason::nd_ignored);
    EXPECT_EQ(map->find_address(own6, p0)->state->load(), address_state::preferred);
    EXPECT_EQ(table->size(), 0u);
}

TEST_F(nd_test, other_end_of_a_tap_has_our_mac) {
    auto f = solicitation();
    f.ethernet_source = own_mac;
    f.link = own_mac;
    EXPECT_EQ(hear(f), step::held);
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(eth(out.frames[0]).destination, own_mac);
    EXPECT_EQ(resolved(peer6), own_mac);
}

// ---- RFC 4861 §7.2.5 ----

TEST_F(nd_test, stray_advertisement_makes_no_entry) {
    EXPECT_EQ(hear(nd_frame{}), drop_reason::nd_ignored);
    EXPECT_EQ(table->size(), 0u);
}

TEST_F(nd_test, incomplete_needs_the_link_address) {
    park(peer6);
    EXPECT_EQ(hear(nd_frame{.link = std::nullopt}), drop_reason::nd_ignored);
    EXPECT_EQ(state_of(peer6), incomplete);
}

TEST_F(nd_test, incomplete_and_unsolicited_is_stale) {
    park(peer6);
    EXPECT_EQ(hear(nd_frame{.flags = wire::nd_router}), step::held);  // the override flag does not matter
    EXPECT_EQ(state_of(peer6), stale);
    EXPECT_EQ(resolved(peer6), peer_mac);
    EXPECT_TRUE(router(peer6));
}

TEST_F(nd_test, other_address_without_override) {
    know_peer();
    const nd_frame other{.flags = wire::nd_solicited | wire::nd_router, .link = other_mac};
    EXPECT_EQ(hear(other), step::held);
    EXPECT_EQ(state_of(peer6), stale);
    EXPECT_EQ(resolved(peer6), peer_mac);
    EXPECT_FALSE(router(peer6));
    EXPECT_EQ(hear(other), drop_reason::nd_ignored);  // only a reachable one falls
    EXPECT_EQ(resolved(peer6), peer_mac);
}

TEST_F(nd_test, other_address_with_override) {
    know_peer();
    EXPECT_EQ(hear(nd_frame{.flags = wire::nd_override, .link = other_mac}), step::held);
    EXPECT_EQ(state_of(peer6), stale);
    EXPECT_EQ(resolved(peer6), other_mac);
    EXPECT_EQ(hear(nd_frame{}), step::held);
    EXPECT_EQ(state_of(peer6), reachable);
    EXPECT_EQ(resolved(peer6), peer_mac);
}

TEST_F(nd_test, same_address) {
    park(peer6);
    hear(nd_frame{.flags = 0});
    ASSERT_EQ(state_of(peer6), stale);
    EXPECT_EQ(hear(nd_frame{.flags = wire::nd_override}), step::held);  // unsolicited: confirms nothing
    EXPECT_EQ(state_of(peer6), stale);
    EXPECT_EQ(hear(nd_frame{.flags = wire::nd_solicited}), step::held);
    EXPECT_EQ(state_of(peer6), reachable);
    EXPECT_EQ(hear(nd_frame{.flags = wire::nd_router}), step::held);
    EXPECT_EQ(state_of(peer6), reachable);
    EXPECT_TRUE(router(peer6));
    EXPECT_EQ(hear(nd_frame{.flags = 0}), step::held);
    EXPECT_FALSE(router(peer6));
}

TEST_F(nd_test, failed_is_not_revived) {
    park(peer6);
    pass(3s);
    ASSERT_EQ(state_of(peer6), failed);
    EXPECT_EQ(hear(nd_frame{}), drop_reason::nd_ignored);
}

// ---- RFC 4861 §7.1 ----

TEST_F(nd_test, malformed_in_either) {
    for (const auto type : {wire::icmp6::neighbor_solicitation, wire::icmp6::neighbor_advertisement}) {
        auto base = solicitation();
        base.type = type;
        if (type == wire::icmp6::neighbor_advertisement) base = nd_frame{};
        const auto bad = [&](const std::function<void(nd_frame&)>& edit) {
            nd_frame f = base;
            edit(f);
            return hear(f) == packet::verdict(drop_reason::nd_malformed);
        };
        EXPECT_TRUE(bad([](auto& f) { f.hop_limit = 254; }));
        EXPECT_TRUE(bad([](auto& f) { f.code = 1; }));
        EXPECT_TRUE(bad([](auto& f) { f.target = ip("ff02::1"); }));
        EXPECT_TRUE(bad([](auto& f) {
            f.link = {};
            f.cut = 1;
        }));
        EXPECT_TRUE(bad([](auto& f) {
            f.link = {};
            f.cut = 22;
        }));                                                                       // no ICMPv6 header even
        EXPECT_TRUE(bad([](auto& f) { f.more_options = std::string(8, '\0'); }));  // length 0
        EXPECT_TRUE(
            bad([](auto& f) { f.more_options = std::string("\x0e\x02", 2) + std::string(6, 'n'); }));  // beyond the end
        EXPECT_TRUE(bad([](auto& f) { f.more_options = "\x0e"; }));
        EXPECT_TRUE(bad([](auto& f) { f.link = mac_address::broadcast(); }));
        EXPECT_TRUE(bad([](auto& f) { f.link = mac_address{}; }));
        EXPECT_TRUE(bad([&](auto& f) {
            f.more_options = std::string(16, '\0');
            f.more_options[0] = type == wire::icmp6::neighbor_solicitation ? 1 : 2;
            f.more_options[1] = 2;  // a link-layer address that is not Ethernet's
        }));
        EXPECT_FALSE(
            bad([](auto& f) { f.more_options = std::string("\x0e\x01nonce!", 8); }));  // unknown ones are passed over
        table->remove(p0, peer6);
        tick();
    }
    EXPECT_EQ(table->size(), 0u);
}

TEST_F(nd_test, malformed_solicitations_from_nowhere) {
    auto f = solicitation();
    f.source = ip("::");
    EXPECT_EQ(hear(f), drop_reason::nd_malformed);  // with a source link-layer address
    f.link = {};
    f.destination = own6;
    EXPECT_EQ(hear(f), drop_reason::nd_malformed);  // not to a solicited-node group
    f.destination = ip("ff02::1");
    EXPECT_EQ(hear(f), drop_reason::nd_malformed);
}

TEST_F(nd_test, solicited_advertisement_to_a_group) {
    park(peer6);
    EXPECT_EQ(hear(nd_frame{.destination = ip("ff02::1")}), drop_reason::nd_malformed);
    EXPECT_EQ(state_of(peer6), incomplete);
    EXPECT_EQ(hear(nd_frame{.destination = ip("ff02::1"), .flags = wire::nd_override}), step::held);
}

TEST_F(nd_test, routers_and_redirects_are_ignored) {
    for (const auto type : {wire::icmp6::router_solicitation, wire::icmp6::router_advertisement, wire::icmp6::redirect})
        EXPECT_EQ(hear(nd_frame{.type = type}), drop_reason::nd_ignored);
}

TEST_F(nd_test, unknown_interface) {
    change([](topology_builder& b) { ASSERT_TRUE(b.remove_interface(p0)); });
    EXPECT_EQ(hear(nd_frame{}), drop_reason::nd_ignored);
}

}  // namespace
}  // namespace skua::net::test
