// Building IP headers and granting checksum wishes.
#include "net/ip_output.hh"

#include <netinet/in.h>

#include <cstring>

#include "wire/checksum.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"
#include "wire/udp.hh"

namespace skua::net {

namespace {

bool prepend_ipv4(packet::packet& p, const ip_fields& f) {
    const std::uint32_t total = p.size() + sizeof(wire::ipv4_header);
    if (total > 0xffff) return false;
    std::byte* at = p.prepend(sizeof(wire::ipv4_header));
    if (at == nullptr) return false;
    const wire::ipv4_header h{
        .version_ihl = 0x45,
        .tos = f.traffic_class,
        .total_length = be16(static_cast<std::uint16_t>(total)),
        .identification = be16(f.identification),
        .flags_fragment = be16(f.dont_fragment ? wire::ipv4_dont_fragment : std::uint16_t(0)),
        .ttl = f.hop_limit,
        .protocol = f.protocol,
        .checksum = {},
        .source = f.source.v4(),
        .destination = f.destination.v4(),
    };
    std::memcpy(at, &h, sizeof h);
    p.get()->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
    return true;
}

bool prepend_ipv6(packet::packet& p, const ip_fields& f) {
    const std::uint32_t payload = p.size();
    if (payload > 0xffff) return false;
    std::byte* at = p.prepend(sizeof(wire::ipv6_header));
    if (at == nullptr) return false;
    const wire::ipv6_header h{
        .version_class_flow = be32(6u << 28 | std::uint32_t(f.traffic_class) << 20 | (f.flow_label & 0xfffff)),
        .payload_length = be16(static_cast<std::uint16_t>(payload)),
        .next_header = f.protocol,
        .hop_limit = f.hop_limit,
        .source = f.source.v6(),
        .destination = f.destination.v6(),
    };
    std::memcpy(at, &h, sizeof h);
    return true;
}

/// The UDP checksum, or the part of it that the port wants to find in the field.
void finish_udp(packet::packet& datagram, const ip_address& source, const ip_address& destination, std::uint32_t at,
                bool by_port) {
    rte_mbuf& m = *datagram.get();
    auto* udp = datagram.header<wire::udp_header>(at);
    if (udp == nullptr) return;
    const std::uint32_t length = datagram.size() - at;
    wire::checksum_sum sum;
    sum.add_pseudo_header(source, destination, IPPROTO_UDP, length);
    if (by_port) {
        udp->checksum = sum.folded();
        return;
    }
    udp->checksum = {};
    sum.add(&m, at, length);
    udp->checksum = sum.finish();
    // Zero on the wire means that there is none (RFC 768).
    if (udp->checksum == be16{}) udp->checksum = be16(0xffff);
    m.ol_flags &= ~RTE_MBUF_F_TX_L4_MASK;
}

}  // namespace

bool prepend_ip(packet::packet& p, const ip_fields& f) {
    return f.destination.is_v4() ? prepend_ipv4(p, f) : prepend_ipv6(p, f);
}

void finish_checksums(packet::packet& datagram, const transmit_offloads& offloads) {
    rte_mbuf& m = *datagram.get();
    const bool udp = (m.ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM;
    const bool header = m.ol_flags & RTE_MBUF_F_TX_IP_CKSUM;
    if (!udp && !header) return;

    auto* v4 = datagram.header<wire::ipv4_header>(0);
    if (v4 && v4->version() == 4) {
        m.l3_len = v4->header_length();
        if (udp) finish_udp(datagram, v4->source, v4->destination, v4->header_length(), offloads.udp_checksum);
        if (header && !offloads.ipv4_checksum) {
            wire::set_ipv4_checksum(*v4);
            m.ol_flags &= ~RTE_MBUF_F_TX_IP_CKSUM;
        } else if (header) {
            v4->checksum = {};
        }
        if (m.ol_flags & (RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_L4_MASK)) m.ol_flags |= RTE_MBUF_F_TX_IPV4;
    } else if (auto* v6 = datagram.header<wire::ipv6_header>(0)) {
        m.l3_len = sizeof(wire::ipv6_header);
        if (udp) finish_udp(datagram, v6->source, v6->destination, sizeof(wire::ipv6_header), offloads.udp_checksum);
        if (m.ol_flags & RTE_MBUF_F_TX_L4_MASK) m.ol_flags |= RTE_MBUF_F_TX_IPV6;
    }
}

identifications::identifications(random_source& random) : random_(random), hash_(random) {
    for (auto& c : counters_) c = static_cast<std::uint16_t>(random.next());
}

std::uint16_t identifications::ipv4(const ip_address& source, const ip_address& destination, bool dont_fragment) {
    if (dont_fragment) return 0;
    // Destinations may share a counter; the rest of the hash keeps one from telling the values of another.
    const std::uint32_t h = hash_(flow_key{source, destination, 0, 0});
    return static_cast<std::uint16_t>((h >> 16) + counters_[h % counters_.size()]++);
}

}  // namespace skua::net
