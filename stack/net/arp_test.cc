// Tests: ARP as it comes in.
#include <gtest/gtest.h>

#include "net/neighbour_test_support.hh"

namespace skua::net::test {
namespace {

using enum neighbour_state;

class arp_test : public neighbour_test {
protected:
    /// The peer is known, and long enough for another MAC address to be taken.
    void know_peer() {
        park(peer4);
        hear_arp_reply();
        out.clear();
        advance(1s);
    }
    packet::verdict hear_changed(const std::function<void(wire::arp_packet&)>& edit) {
        packet::packet p = frame_of({});
        edit(*p.header<wire::arp_packet>(14));
        return hear(std::move(p));
    }
};

TEST_F(arp_test, request_for_us_is_answered_in_place) {
    packet::packet p = frame_of({});
    const rte_mbuf* same = p.get();
    EXPECT_EQ(hear(std::move(p)), packet::step::held);
    ASSERT_EQ(out.frames.size(), 1u);
    const auto& f = out.frames[0];
    EXPECT_EQ(f.p.get(), same);
    EXPECT_EQ(f.p.size(), 42u);
    EXPECT_EQ(f.ifindex, p0);
    EXPECT_EQ(eth(f).destination, peer_mac);
    EXPECT_EQ(eth(f).source, own_mac);
    EXPECT_EQ(eth(f).type.host(), 0x0806);
    EXPECT_EQ(arp(f).operation.host(), wire::arp_reply);
    EXPECT_EQ(arp(f).sender_mac, own_mac);
    EXPECT_EQ(ip_address(arp(f).sender_ip), own4);
    EXPECT_EQ(arp(f).target_mac, peer_mac);
    EXPECT_EQ(ip_address(arp(f).target_ip), peer4);
    // Who asks us will be answered soon: its address is kept.
    EXPECT_EQ(state_of(peer4), stale);
    EXPECT_EQ(resolved(peer4), peer_mac);
}

TEST_F(arp_test, request_in_a_tagged_frame) {
    packet::packet plain = frame_of({});
    std::string bytes = bytes_of(plain);
    bytes.insert(12, std::string("\x81\x00\x00\x0a", 4));
    packet::packet p = make(bytes);
    packet::rx_info about;
    about.ifindex = p0;
    about.l3_offset = 18;
    EXPECT_EQ(table->arp_input(p, about, ctx(), out), packet::step::held);
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(out.frames[0].p.size(), 42u);  // the tag is for the tx path to add
    EXPECT_EQ(ip_address(arp(out.frames[0]).sender_ip), own4);
}

TEST_F(arp_test, any_of_our_addresses_on_any_interface) {
    change([](topology_builder& b) { ASSERT_TRUE(b.add_address(loopback_ifindex, prefix("192.0.2.53/32"))); });
    EXPECT_EQ(hear({.target_ip = ip("192.0.2.53")}), packet::step::held);
    EXPECT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(hear({.sender_ip = ip("198.18.0.3"), .target_ip = ip("127.0.0.1")}), drop_reason::arp_ignored);
    EXPECT_EQ(out.frames.size(), 1u);
}

TEST_F(arp_test, request_for_another) {
    EXPECT_EQ(hear({.target_ip = ip("198.18.0.9")}), drop_reason::arp_ignored);
    EXPECT_TRUE(out.frames.empty());
    EXPECT_EQ(table->size(), 0u);
}

TEST_F(arp_test, probe_for_our_address_is_answered_but_not_kept) {
    EXPECT_EQ(hear({.sender_ip = ip("0.0.0.0")}), packet::step::held);
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(eth(out.frames[0]).destination, peer_mac);
    EXPECT_EQ(table->size(), 0u);
    EXPECT_EQ(map->find_address(own4, p0)->state->load(), address_state::preferred);
}

TEST_F(arp_test, stray_replies_and_announcements_make_no_entry) {
    EXPECT_EQ(hear_arp_reply(), drop_reason::arp_ignored);
    EXPECT_EQ(hear({.target_ip = peer4}), drop_reason::arp_ignored);
    EXPECT_EQ(hear({.operation = wire::arp_reply, .target_ip = peer4}), drop_reason::arp_ignored);
    EXPECT_EQ(table->size(), 0u);
}

TEST_F(arp_test, announcement_changes_an_entry_at_once) {
    park(peer4);
    hear_arp_reply();
    EXPECT_EQ(hear({.sender_mac = other_mac, .target_ip = peer4}), packet::step::held);
    EXPECT_EQ(resolved(peer4), other_mac);
    EXPECT_EQ(state_of(peer4), stale);
    EXPECT_EQ(hear({.operation = wire::arp_reply, .target_ip = peer4}), packet::step::held);
    EXPECT_EQ(resolved(peer4), peer_mac);
}

TEST_F(arp_test, first_of_two_answers_stays_for_a_second) {
    park(peer4);
    hear_arp_reply();
    advance(999ms);
    EXPECT_EQ(hear_arp_reply(other_mac), drop_reason::arp_ignored);
    EXPECT_EQ(resolved(peer4), peer_mac);
    advance(1ms);
    EXPECT_EQ(hear_arp_reply(other_mac), packet::step::held);
    EXPECT_EQ(resolved(peer4), other_mac);
    EXPECT_EQ(state_of(peer4), reachable);
}

TEST_F(arp_test, broadcasts_do_not_confirm) {
    park(peer4);
    EXPECT_EQ(hear({.operation = wire::arp_reply, .target_mac = own_mac}), packet::step::held);
    EXPECT_EQ(state_of(peer4), stale);
    EXPECT_EQ(out.frames.size(), 2u);  // the question and the datagram
}

TEST_F(arp_test, request_with_known_address_changes_nothing) {
    know_peer();
    EXPECT_EQ(hear({.target_ip = ip("198.18.0.9")}), packet::step::held);
    EXPECT_EQ(state_of(peer4), reachable);
    EXPECT_EQ(hear({.sender_mac = other_mac, .target_ip = ip("198.18.0.9")}), packet::step::held);
    EXPECT_EQ(state_of(peer4), stale);
    EXPECT_EQ(resolved(peer4), other_mac);
}

TEST_F(arp_test, reply_revives_a_failed_entry) {
    park(peer4);
    pass(3s);
    ASSERT_EQ(state_of(peer4), failed);
    hear_arp_reply();
    EXPECT_EQ(state_of(peer4), reachable);
}

TEST_F(arp_test, our_own_frames_and_addresses) {
    EXPECT_EQ(hear({.sender_mac = own_mac, .sender_ip = own4, .target_ip = peer4}), drop_reason::arp_ignored);
    EXPECT_EQ(hear({.sender_mac = own_mac, .sender_ip = ip("0.0.0.0")}), drop_reason::arp_ignored);  // our probe
    EXPECT_EQ(hear({.sender_ip = own4}), drop_reason::arp_ignored);  // a conflict with an address in use
    EXPECT_EQ(map->find_address(own4, p0)->state->load(), address_state::preferred);
    EXPECT_EQ(table->size(), 0u);
    packet::packet p = frame_of({});
    EXPECT_EQ(table->arp_input(p, {.ifindex = 99, .l3_offset = 14}, ctx(), out), drop_reason::arp_ignored);
}

TEST_F(arp_test, other_end_of_a_tap_has_our_mac) {
    EXPECT_EQ(hear({.sender_mac = own_mac}), packet::step::held);
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(eth(out.frames[0]).destination, own_mac);
    EXPECT_EQ(resolved(peer4), own_mac);
}

TEST_F(arp_test, malformed) {
    const auto malformed = drop_reason::arp_malformed;
    EXPECT_EQ(hear_changed([](auto& a) { a.hardware_type = be16(6); }), malformed);
    EXPECT_EQ(hear_changed([](auto& a) { a.protocol_type = be16(0x86dd); }), malformed);
    EXPECT_EQ(hear_changed([](auto& a) { a.hardware_length = 8; }), malformed);
    EXPECT_EQ(hear_changed([](auto& a) { a.protocol_length = 16; }), malformed);
    EXPECT_EQ(hear_changed([](auto& a) { a.operation = be16(3); }), malformed);
    EXPECT_EQ(hear_changed([](auto& a) { a.operation = be16(0); }), malformed);
    EXPECT_EQ(hear_changed([](auto& a) { a.sender_mac = mac_address::broadcast(); }), malformed);
    EXPECT_EQ(hear_changed([](auto& a) { a.sender_mac = {}; }), malformed);
    EXPECT_EQ(hear_changed([](auto& a) { a.sender_ip = ipv4_address(224, 0, 0, 1); }), malformed);
    EXPECT_EQ(hear_changed([](auto& a) { a.sender_ip = ipv4_address(255, 255, 255, 255); }), malformed);
    EXPECT_EQ(hear_changed([](auto& a) { a.sender_ip = ipv4_address(127, 0, 0, 1); }), malformed);
    packet::packet p = frame_of({});
    p.truncate(41);
    EXPECT_EQ(hear(std::move(p)), malformed);
    EXPECT_TRUE(out.frames.empty());
    EXPECT_EQ(table->size(), 0u);
}

}  // namespace
}  // namespace skua::net::test
