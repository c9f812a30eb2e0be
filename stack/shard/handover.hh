// How a packet remembers, while it crosses to another shard, what the layers have learnt about it.
#pragma once

#include "packet/packet.hh"
#include "packet/verdict.hh"
#include "wire/ethernet.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"
#include "wire/udp.hh"

namespace skua::shard {

/// Writes the offsets and facts into the mbuf; addresses and ports stay in the headers, from which recall() reads them.
inline void remember(packet::packet& p, const packet::rx_info& info) {
    rte_mbuf* m = p.get();
    m->l2_len = info.l3_offset;
    m->l3_len = info.l4_offset > info.l3_offset ? info.l4_offset - info.l3_offset : 0;
    auto& meta = p.info();
    meta.ifindex = info.ifindex;
    meta.l4_offset = info.l4_offset;
    meta.rx_shard = info.rx_shard;
    meta.crossings = info.crossings + 1;
    meta.flags = (info.family == ip_family::v6 ? packet::meta_ipv6 : 0) |
                 (info.to_broadcast ? packet::meta_broadcast : 0) | (info.to_multicast ? packet::meta_multicast : 0) |
                 (info.local_origin ? packet::meta_loopback : 0);
}

/// The facts of a packet that remember() prepared. `with_ports`: a UDP header stands at l4_offset.
inline packet::rx_info recall(const packet::packet& p, bool with_ports) {
    const rte_mbuf* m = p.get();
    const auto& meta = p.info();
    packet::rx_info info;
    info.ifindex = meta.ifindex;
    info.l3_offset = static_cast<std::uint16_t>(m->l2_len);
    info.l4_offset = meta.l4_offset;
    info.l4_length = m->pkt_len - info.l4_offset;
    info.family = meta.flags & packet::meta_ipv6 ? ip_family::v6 : ip_family::v4;
    info.to_broadcast = meta.flags & packet::meta_broadcast;
    info.to_multicast = meta.flags & packet::meta_multicast;
    info.local_origin = meta.flags & packet::meta_loopback;
    if (info.l3_offset >= sizeof(wire::ethernet_header))
        info.link_multicast = p.header<wire::ethernet_header>(0)->destination.is_multicast();
    info.rx_shard = meta.rx_shard;
    info.crossings = meta.crossings;
    if (info.l4_offset == 0) return info;  // ARP
    if (info.family == ip_family::v6) {
        const auto* ip = p.header<wire::ipv6_header>(info.l3_offset);
        info.flow.local = ip->destination;
        info.flow.remote = ip->source;
        info.hop_limit = ip->hop_limit;
    } else {
        const auto* ip = p.header<wire::ipv4_header>(info.l3_offset);
        info.flow.local = ip->destination;
        info.flow.remote = ip->source;
        info.hop_limit = ip->ttl;
    }
    if (with_ports) {
        const auto* udp = p.header<wire::udp_header>(info.l4_offset);
        info.flow.local_port = udp->destination_port.host();
        info.flow.remote_port = udp->source_port.host();
    }
    return info;
}

}  // namespace skua::shard
