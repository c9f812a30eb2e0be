// A received datagram as it lies in a queue: its headers still stand in front and say where it came from.
#pragma once

#include "base/address.hh"
#include "packet/packet.hh"
#include "packet/verdict.hh"
#include "socket/sockaddr.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"
#include "wire/udp.hh"

namespace skua::socket {

/// Reads a packet that note_arrival() prepared, and does not own it.
class datagram_view {
public:
    explicit datagram_view(const rte_mbuf* m) : mbuf_(m), meta_(packet::meta_of(const_cast<rte_mbuf*>(m))) {}

    ip_family family() const { return meta_.flags & packet::meta_ipv6 ? ip_family::v6 : ip_family::v4; }
    endpoint source() const {
        return make(v6() ? ip_address(ip6().source) : ip_address(ip4().source), udp().source_port);
    }
    endpoint destination() const {
        return make(v6() ? ip_address(ip6().destination) : ip_address(ip4().destination), udp().destination_port);
    }
    std::uint8_t hop_limit() const { return v6() ? ip6().hop_limit : ip4().ttl; }
    std::uint8_t traffic_class() const { return v6() ? ip6().traffic_class() : ip4().tos; }
    std::uint32_t ifindex() const { return meta_.ifindex; }
    bool to_many() const { return meta_.flags & (packet::meta_broadcast | packet::meta_multicast); }
    std::uint64_t rx_time_ns() const { return meta_.rx_time_ns; }
    /// From the start of the packet, in bytes.
    std::uint16_t payload_offset() const {
        return static_cast<std::uint16_t>(meta_.l4_offset + sizeof(wire::udp_header));
    }
    std::uint32_t payload_length() const { return udp().length.host() - std::uint32_t(sizeof(wire::udp_header)); }

private:
    bool v6() const { return meta_.flags & packet::meta_ipv6; }
    template <class T>
    const T& at(std::size_t offset) const {
        return *rte_pktmbuf_mtod_offset(mbuf_, const T*, offset);
    }
    const wire::ipv4_header& ip4() const { return at<wire::ipv4_header>(mbuf_->l2_len); }
    const wire::ipv6_header& ip6() const { return at<wire::ipv6_header>(mbuf_->l2_len); }
    const wire::udp_header& udp() const { return at<wire::udp_header>(meta_.l4_offset); }
    endpoint make(const ip_address& a, be16 port) const { return {a, port.host(), needs_scope(a) ? meta_.ifindex : 0}; }

    const rte_mbuf* mbuf_;
    const packet::meta& meta_;
};

/// Writes into the packet what datagram_view needs and the headers do not say.
inline void note_arrival(rte_mbuf* m, const packet::rx_info& info, std::uint64_t rx_time_ns) {
    m->l2_len = info.l3_offset;
    m->l3_len = info.l4_offset - info.l3_offset;
    auto& meta = packet::meta_of(m);
    meta.rx_time_ns = rx_time_ns;
    meta.ifindex = info.ifindex;
    meta.l4_offset = info.l4_offset;
    meta.rx_shard = info.rx_shard;
    meta.flags = (info.family == ip_family::v6 ? packet::meta_ipv6 : 0) |
                 (info.to_broadcast ? packet::meta_broadcast : 0) | (info.to_multicast ? packet::meta_multicast : 0) |
                 (info.local_origin ? packet::meta_loopback : 0);
}

}  // namespace skua::socket
