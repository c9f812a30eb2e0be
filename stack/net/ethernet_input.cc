// The MAC filter, the VLAN tag and the EtherType.
#include "net/ethernet_input.hh"

#include "wire/ethernet.hh"

namespace skua::net {

using packet::step;
using packet::verdict;

namespace {

/// 01:00:5e:0 (RFC 1112 §6.4) and 33:33 (RFC 2464 §7).
bool is_ip_multicast(const mac_address& m) {
    const auto& b = m.bytes;
    return (b[0] == 0x01 && b[1] == 0x00 && b[2] == 0x5e && b[3] < 0x80) || (b[0] == 0x33 && b[1] == 0x33);
}

}  // namespace

verdict ethernet_input(packet::packet& p, packet::rx_info& info, const context& ctx) {
    const auto* frame = p.header<wire::ethernet_header>(0);
    if (frame == nullptr) return drop_reason::eth_truncated;

    be16 type = frame->type;
    std::uint16_t vlan = 0;
    info.l3_offset = sizeof(wire::ethernet_header);
    const rte_mbuf& m = *p.get();
    if (m.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
        vlan = m.vlan_tci & 0x0fff;
    } else if (type == be16(static_cast<std::uint16_t>(wire::ether_type::vlan))) {
        const auto* tag = p.header<wire::vlan_tag>(sizeof(wire::ethernet_header));
        if (tag == nullptr) return drop_reason::vlan_truncated;
        vlan = tag->id();
        type = tag->type;
        info.l3_offset += sizeof(wire::vlan_tag);
    }

    const interface* in = ctx.map.by_port(m.port, vlan);
    if (in == nullptr) return drop_reason::vlan_unknown;
    info.ifindex = in->index;
    info.link_multicast = frame->destination.is_multicast();
    info.to_broadcast = frame->destination == mac_address::broadcast();
    if (frame->destination != in->mac && !info.to_broadcast && !is_ip_multicast(frame->destination))
        return drop_reason::eth_not_for_us;

    switch (static_cast<wire::ether_type>(type.host())) {
        case wire::ether_type::ipv4: return step::ipv4;
        case wire::ether_type::ipv6: return step::ipv6;
        case wire::ether_type::arp: return step::arp;
        default: return drop_reason::eth_unknown_type;
    }
}

verdict loopback_input(packet::packet& p, packet::rx_info& info, std::uint32_t ifindex) {
    info.l3_offset = 0;
    info.ifindex = ifindex;
    info.local_origin = true;
    const auto* first = p.header<std::uint8_t>(0);
    if (first == nullptr) return drop_reason::ipv4_truncated;
    switch (*first >> 4) {
        case 4: return step::ipv4;
        case 6: return step::ipv6;
        default: return drop_reason::ipv4_bad_version;
    }
}

}  // namespace skua::net
