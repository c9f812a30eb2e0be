// Length and checksum of UDP (Linux: __udp4_lib_rcv, __udp6_lib_rcv).
#include "udp/input.hh"

#include <netinet/in.h>

#include "wire/checksum.hh"
#include "wire/udp.hh"

namespace skua::udp {

namespace {

packet::verdict refused(drop_reason why, ip_family family, const net::context& ctx) {
    const bool v4 = family == ip_family::v4;
    ctx.mibs.add(v4 ? mib::udp_in_errors : mib::udp6_in_errors);
    if (why == drop_reason::udp_bad_checksum || why == drop_reason::udp_zero_checksum)
        ctx.mibs.add(v4 ? mib::udp_in_csum_errors : mib::udp6_in_csum_errors);
    return why;
}

bool sums_up(const packet::packet& p, const packet::rx_info& info) {
    wire::checksum_sum sum;
    sum.add_pseudo_header(info.flow.remote, info.flow.local, IPPROTO_UDP, info.l4_length);
    sum.add(p.get(), info.l4_offset, info.l4_length);
    return sum.finish() == be16(0);
}

/// drop_reason::none if it is right.
drop_reason checksum_fault(const packet::packet& p, const packet::rx_info& info, const wire::udp_header& h) {
    if (h.checksum == be16(0)) return info.family == ip_family::v4 ? drop_reason::none : drop_reason::udp_zero_checksum;
    switch (p.get()->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) {
        case RTE_MBUF_F_RX_L4_CKSUM_GOOD:
        case RTE_MBUF_F_RX_L4_CKSUM_NONE:  // the field is not filled in, but the data is known to be whole (virtio)
            return drop_reason::none;
        case RTE_MBUF_F_RX_L4_CKSUM_BAD: return drop_reason::udp_bad_checksum;
        default: return sums_up(p, info) ? drop_reason::none : drop_reason::udp_bad_checksum;
    }
}

}  // namespace

packet::verdict udp_input(packet::packet& p, packet::rx_info& info, const net::context& ctx) {
    const auto* h = p.header<wire::udp_header>(info.l4_offset);
    if (h == nullptr || info.l4_length < sizeof *h) return refused(drop_reason::udp_truncated, info.family, ctx);
    // Zero means a jumbogram in IPv6 (RFC 2675 §4), which no link of ours carries; in IPv4 it is wrong anyway.
    const std::uint32_t length = h->length.host();
    if (length < sizeof *h || length > info.l4_length) return refused(drop_reason::udp_bad_length, info.family, ctx);
    const std::uint32_t end = info.l4_offset + length;
    if (p.size() < end) return refused(drop_reason::udp_truncated, info.family, ctx);
    if (p.size() > end) p.truncate(end);
    info.l4_length = length;
    // What we sent ourselves may have an unfinished checksum, left to a NIC that it never met.
    if (!info.local_origin) {
        const drop_reason fault = checksum_fault(p, info, *h);
        if (fault != drop_reason::none) return refused(fault, info.family, ctx);
    }
    info.flow.local_port = h->destination_port.host();
    info.flow.remote_port = h->source_port.host();
    return packet::step::deliver;
}

}  // namespace skua::udp
