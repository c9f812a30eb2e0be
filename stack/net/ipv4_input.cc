// The checks of ip_rcv and ip_route_input, in their order.
#include "net/ipv4_input.hh"

#include <netinet/in.h>

#include <optional>

#include "wire/checksum.hh"
#include "wire/icmp.hh"
#include "wire/ipv4.hh"

namespace skua::net {

using packet::step;
using packet::verdict;

namespace {

// RFC 791 §3.1
constexpr std::uint8_t option_end = 0, option_nop = 1, option_loose_route = 131, option_strict_route = 137;

/// Version, lengths, checksum. step::ipv4 if the header can be relied on; the packet then ends where the datagram does.
verdict check_header(packet::packet& p, const packet::rx_info& info, const context& ctx) {
    const auto bad = [&ctx](drop_reason why) {
        ctx.mibs.add(mib::ip_in_hdr_errors);
        return verdict(why);
    };
    const auto* h = p.header<wire::ipv4_header>(info.l3_offset);
    if (h == nullptr) return bad(drop_reason::ipv4_truncated);
    if (h->version() != 4) return bad(drop_reason::ipv4_bad_version);
    const std::uint32_t length = h->header_length();
    if (length < sizeof *h || info.l3_offset + length > p.front().size())
        return bad(drop_reason::ipv4_bad_header_length);

    const std::uint64_t said = p.get()->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    // NONE: the NIC has checked the header, but wrote over the field.
    const bool checked =
        info.local_origin || said == RTE_MBUF_F_RX_IP_CKSUM_GOOD || said == RTE_MBUF_F_RX_IP_CKSUM_NONE;
    if (said == RTE_MBUF_F_RX_IP_CKSUM_BAD || (!checked && !wire::ipv4_checksum_good(*h)))
        return bad(drop_reason::ipv4_bad_checksum);

    const std::uint32_t total = h->total_length.host();
    // Linux counts this one in IpExt (InTruncatedPkts) only, which is not among our counters.
    if (info.l3_offset + total > p.size()) return drop_reason::ipv4_bad_total_length;
    if (total < length) return bad(drop_reason::ipv4_bad_total_length);
    if (info.l3_offset + total < p.size()) p.truncate(info.l3_offset + total);
    return step::ipv4;
}

/// Could a packet from the wire have this source (Linux: ip_route_input_slow, __fib_validate_source)?
bool source_possible(const ip_address& source, const ip_address& destination, const context& ctx) {
    // 0.0.0.0/8 is for hosts that ask for their address (RFC 1122 §3.2.1.3a).
    if ((source.v4().host() >> 24) == 0) return destination.is_limited_broadcast();
    return !source.is_multicast() && !source.is_loopback() && !ctx.map.is_broadcast(source) &&
           !ctx.map.is_local(source);
}

verdict check_addresses(packet::rx_info& info, const context& ctx, const ip_parts& parts) {
    const ip_address& to = info.flow.local;
    if (!info.local_origin && !source_possible(info.flow.remote, to, ctx)) return drop_reason::ipv4_bad_source;
    info.to_broadcast = ctx.map.is_broadcast(to);
    info.to_multicast = to.is_multicast();
    if (info.to_multicast)
        return parts.is_joined(ctx.map, to, info.ifindex) ? verdict(step::ipv4) : verdict(drop_reason::ipv4_not_local);
    // 127.0.0.0/8 never comes from a wire (RFC 1122 §3.2.1.3g).
    if (info.to_broadcast || (ctx.map.is_local(to) && (info.local_origin || !to.is_loopback()))) return step::ipv4;
    ctx.mibs.add(mib::ip_in_addr_errors);
    return drop_reason::ipv4_not_local;
}

/// Offset in the header of the first byte that is wrong with the options, or nothing (Linux: __ip_options_compile). The
/// options are ignored otherwise, but a source route is refused (accept_source_route = 0).
struct option_fault {
    std::uint32_t pointer;
    bool malformed;
};
std::optional<option_fault> walk_options(const packet::packet& p, std::uint32_t at, std::uint32_t header_length) {
    const auto byte = [&p, at](std::uint32_t i) { return std::to_integer<std::uint8_t>(p.front()[at + i]); };
    for (std::uint32_t i = sizeof(wire::ipv4_header); i < header_length;) {
        const std::uint8_t kind = byte(i);
        if (kind == option_end) break;
        if (kind == option_nop) {
            ++i;
            continue;
        }
        if (i + 1 >= header_length) return option_fault{i, true};
        const std::uint8_t length = byte(i + 1);
        if (length < 2 || i + length > header_length) return option_fault{i + 1, true};
        if (kind == option_loose_route || kind == option_strict_route) return option_fault{i, false};
        i += length;
    }
    return std::nullopt;
}

verdict check_options(const packet::packet& p, const packet::rx_info& info, const context& ctx, const ip_parts& parts) {
    const auto fault = walk_options(p, info.l3_offset, info.l4_offset - info.l3_offset);
    if (!fault) return step::ipv4;
    if (fault->malformed) {
        ctx.mibs.add(mib::ip_in_hdr_errors);
        parts.errors.send_error(p, info, parameter_problem(ip_family::v4, 0, fault->pointer), ctx);
    }
    return drop_reason::ipv4_bad_options;
}

}  // namespace

verdict ipv4_input(packet::packet& p, packet::rx_info& info, const context& ctx, const ip_parts& parts) {
    if (info.crossings == 0) ctx.mibs.add(mib::ip_in_receives);
    info.family = ip_family::v4;
    if (const verdict v = check_header(p, info, ctx); v.next == step::drop) return v;

    const auto& h = *p.header<wire::ipv4_header>(info.l3_offset);
    info.flow.remote = h.source;
    info.flow.local = h.destination;
    info.hop_limit = h.ttl;
    info.protocol = h.protocol;
    info.l4_offset = static_cast<std::uint16_t>(info.l3_offset + h.header_length());
    info.l4_length = h.total_length.host() - h.header_length();
    if (const verdict v = check_addresses(info, ctx, parts); v.next == step::drop) return v;
    if (h.header_length() > sizeof h)
        if (const verdict v = check_options(p, info, ctx, parts); v.next == step::drop) return v;

    if (h.is_fragment()) {
        const fragment_fields f{h.identification.host(), h.fragment_offset(), h.more_fragments()};
        if (const verdict v = parts.add_fragment(p, info, f, ctx); v.next != step::ipv4) return v;
    }

    switch (info.protocol) {
        case IPPROTO_UDP: ctx.mibs.add(mib::ip_in_delivers); return step::udp;
        case IPPROTO_ICMP: ctx.mibs.add(mib::ip_in_delivers); return step::icmp4;
        default: break;
    }
    ctx.mibs.add(mib::ip_in_unknown_protos);
    if (parts.refuse_protocols) parts.errors.send_error(p, info, protocol_unreachable(), ctx);
    return drop_reason::ipv4_unknown_protocol;
}

}  // namespace skua::net
