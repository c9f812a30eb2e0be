// ARP: frames we send, and what the neighbour machine makes of those that come (Linux: arp_process).
#include "net/arp.hh"

#include "net/ethernet_output.hh"
#include "net/neighbour.hh"
#include "wire/arp.hh"
#include "wire/ethernet.hh"

namespace skua::net {

namespace {

constexpr std::uint16_t hardware_ethernet = 1;

bool well_formed(const wire::arp_packet& a) {
    const ip_address from = a.sender_ip;
    return a.is_ipv4_over_ethernet() &&
           (a.operation.host() == wire::arp_request || a.operation.host() == wire::arp_reply) &&
           !a.sender_mac.is_multicast() && !a.sender_mac.is_zero() && !from.is_multicast() &&
           !from.is_limited_broadcast() && !from.is_loopback();
}

}  // namespace

void send_arp_request(sender& via, const interface& out, const mac_address& to, ipv4_address source,
                      ipv4_address target) {
    packet::packet p = via.allocate(sizeof(wire::arp_packet));
    if (!p) return;
    *p.header<wire::arp_packet>(0) = {.hardware_type = be16(hardware_ethernet),
                                      .protocol_type = be16(static_cast<std::uint16_t>(wire::ether_type::ipv4)),
                                      .hardware_length = 6,
                                      .protocol_length = 4,
                                      .operation = be16(wire::arp_request),
                                      .sender_mac = out.mac,
                                      .sender_ip = source,
                                      .target_mac = {},
                                      .target_ip = target};
    if (prepend_ethernet(p, to, out.mac, wire::ether_type::arp)) via.transmit(std::move(p), out);
    else via.drop(std::move(p), drop_reason::no_mbuf);
}

packet::verdict neighbour_table::arp_input(packet::packet& p, const packet::rx_info& about, const context& c,
                                           sender& out) {
    const auto* arp = p.header<wire::arp_packet>(about.l3_offset);
    if (!arp || !well_formed(*arp)) return drop_reason::arp_malformed;
    const interface* in = c.map.by_index(about.ifindex);
    if (!in) return drop_reason::arp_ignored;
    const ip_address from = arp->sender_ip;
    // Our own, sent back to us. The MAC address alone does not tell: both ends of a TAP port have the same one.
    if (arp->sender_mac == in->mac && (from.is_any() || c.map.find_address(from, in->index)))
        return drop_reason::arp_ignored;

    const ip_address target = arp->target_ip;
    const bool request = arp->operation.host() == wire::arp_request;
    // RFC 5227 §2.1.1: another uses the address we try, or tries it at the same time.
    const bool probe = request && from.is_any();
    if (const auto* mine = c.map.find_address(probe ? target : from, in->index);
        mine && mine->state->load(std::memory_order_relaxed) == address_state::tentative) {
        mine->state->store(address_state::duplicate, std::memory_order_relaxed);
        return drop_reason::arp_ignored;
    }
    if (c.map.is_local(from)) return drop_reason::arp_ignored;

    const bool asks_us = request && c.map.is_local(target) && !target.is_loopback();
    // Only a reply meant for us alone shows that the neighbour can be reached.
    const bool confirmed = !request && !about.link_multicast;
    const bool heard =
        !from.is_any() && heard_arp(from, arp->sender_mac, asks_us, confirmed, from == target, c, in->index, out);
    if (asks_us) return answer_arp(p, about, *in, out);
    if (!heard) return drop_reason::arp_ignored;
    p.reset();
    return packet::step::held;
}

/// Linux: the rules of neigh_update as arp_process calls it. False: nothing came of it.
bool neighbour_table::heard_arp(const ip_address& from, const mac_address& mac, bool create, bool confirmed,
                                bool announced, const context& c, std::uint32_t ifindex, sender& out) {
    neighbour* n = cache_.find(ifindex, from);
    // Nobody fills the table by telling us about himself unasked (RFC 826).
    if (!n && (!create || !(n = add(ifindex, from, c, out)))) return false;
    const auto was = n->now();
    if (was.state == neighbour_state::permanent) return false;
    if (is_usable(was.state)) {
        const bool same = was.mac == mac;
        // The first of two that answer wins for a while, so that a late second answer does not flip it.
        if (!same && !announced && c.now - n->learned < options_.arp_lock_time) return false;
        if (same && !confirmed) return true;
    }
    learn(*n, {mac, confirmed ? neighbour_state::reachable : neighbour_state::stale, false}, c, out);
    return true;
}

packet::verdict neighbour_table::answer_arp(packet::packet& p, const packet::rx_info& about, const interface& in,
                                            sender& out) {
    p.trim_front(about.l3_offset);
    p.truncate(sizeof(wire::arp_packet));
    auto& arp = *p.header<wire::arp_packet>(0);
    const auto asked = arp;
    arp.operation = be16(wire::arp_reply);
    arp.sender_mac = in.mac;
    arp.sender_ip = asked.target_ip;
    arp.target_mac = asked.sender_mac;
    arp.target_ip = asked.sender_ip;
    if (!prepend_ethernet(p, asked.sender_mac, in.mac, wire::ether_type::arp)) return drop_reason::no_mbuf;
    out.transmit(std::move(p), in);
    return packet::step::held;
}

}  // namespace skua::net
