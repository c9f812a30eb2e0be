// Reading quoted headers, which are whatever a router, or anybody, put there.
#include "net/icmp_quote.hh"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/ipv6_extensions.hh"
#include "wire/icmp.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"
#include "wire/udp.hh"

namespace skua::net {

using packet::step;
using packet::verdict;

namespace {

struct meaning {
    int error;
    bool fatal;
};

// Linux: icmp_err_convert, by code of "destination unreachable".
constexpr std::array<meaning, 16> unreachable4{{
    {ENETUNREACH, false},   // net
    {EHOSTUNREACH, false},  // host
    {ENOPROTOOPT, true},    // protocol
    {ECONNREFUSED, true},   // port
    {EMSGSIZE, true},       // fragmentation needed; see icmp_report::fatal
    {EOPNOTSUPP, false},    // source route failed
    {ENETUNREACH, true},    // net unknown
    {EHOSTDOWN, true},      // host unknown
    {ENONET, true},         // host isolated
    {ENETUNREACH, true},    // net prohibited
    {EHOSTUNREACH, true},   // host prohibited
    {ENETUNREACH, false},   // net unreachable for TOS
    {EHOSTUNREACH, false},  // host unreachable for TOS
    {EHOSTUNREACH, true},   // filtered
    {EHOSTUNREACH, true},   // precedence violation
    {EHOSTUNREACH, true},   // precedence cutoff
}};

// Linux: tab_unreach of icmpv6_err_convert.
constexpr std::array<meaning, 7> unreachable6{{
    {ENETUNREACH, false},   // no route
    {EACCES, true},         // prohibited
    {EHOSTUNREACH, false},  // beyond scope of source
    {EHOSTUNREACH, false},  // address
    {ECONNREFUSED, true},   // port
    {EACCES, true},         // policy
    {EACCES, true},         // reject route
}};

/// The UDP header at `at`; `end` is where the quoted datagram says it ends.
verdict read_ports(const packet::packet& p, std::uint32_t at, std::uint32_t end, icmp_report& out) {
    const auto* udp = p.header<wire::udp_header>(at);
    if (udp == nullptr || at + sizeof *udp > end) return drop_reason::icmp_quote_malformed;
    out.flow.local_port = udp->source_port.host();
    out.flow.remote_port = udp->destination_port.host();
    out.payload_offset = at + sizeof *udp;
    out.payload_length = end - out.payload_offset;
    return step::report;
}

verdict judge_addresses(const context& ctx, const icmp_report& out) {
    if (!ctx.map.is_local(out.flow.local)) return drop_reason::icmp_no_socket;
    if (out.flow.remote.is_multicast() || ctx.map.is_broadcast(out.flow.remote)) return drop_reason::icmp_ignored;
    return step::report;
}

verdict read_quote4(const packet::packet& p, std::uint32_t at, std::uint32_t end, const context& ctx,
                    icmp_report& out) {
    const auto* h = p.header<wire::ipv4_header>(at);
    if (h == nullptr || h->version() != 4 || h->header_length() < sizeof *h || h->fragment_offset() != 0 ||
        h->total_length.host() < h->header_length())
        return drop_reason::icmp_quote_malformed;
    out.flow.local = h->source;
    out.flow.remote = h->destination;
    if (h->protocol != IPPROTO_UDP) return drop_reason::icmp_no_socket;
    if (const verdict v = judge_addresses(ctx, out); v.next == step::drop) return v;
    return read_ports(p, at + h->header_length(), std::min<std::uint32_t>(end, at + h->total_length.host()), out);
}

verdict read_quote6(const packet::packet& p, std::uint32_t at, std::uint32_t end, const context& ctx,
                    icmp_report& out) {
    const auto* h = p.header<wire::ipv6_header>(at);
    if (h == nullptr || h->version() != 6) return drop_reason::icmp_quote_malformed;
    out.flow.local = h->source;
    out.flow.remote = h->destination;
    // A mapped address never leaves us in an IPv6 header.
    if (out.flow.local.is_v4() || out.flow.remote.is_v4()) return drop_reason::icmp_quote_malformed;
    const auto upper = skip_ipv6_extensions(p.front(), at + sizeof *h, h->next_header);
    if (!upper || upper->later_fragment) return drop_reason::icmp_quote_malformed;
    if (upper->protocol != IPPROTO_UDP) return drop_reason::icmp_no_socket;
    if (const verdict v = judge_addresses(ctx, out); v.next == step::drop) return v;
    const std::uint32_t stated = at + static_cast<std::uint32_t>(sizeof *h) + h->payload_length.host();
    return read_ports(p, upper->offset, std::min(end, stated), out);
}

}  // namespace

verdict read_quote(const packet::packet& p, const packet::rx_info& info, const context& ctx, icmp_report& out) {
    out = {};
    out.offender = info.flow.remote;
    out.ifindex = info.ifindex;
    out.family = info.family;
    const std::uint32_t at = info.l4_offset + static_cast<std::uint32_t>(sizeof(wire::icmp_header));
    const std::uint32_t end = info.l4_offset + info.l4_length;
    return info.family == ip_family::v4 ? read_quote4(p, at, end, ctx, out) : read_quote6(p, at, end, ctx, out);
}

bool convert_icmp4_error(icmp_report& r) {
    meaning m{EHOSTUNREACH, false};  // time exceeded
    if (r.type == wire::icmp4::unreachable) {
        if (r.code >= unreachable4.size()) return false;
        m = unreachable4[r.code];
    } else if (r.type == wire::icmp4::parameter_problem) {
        m = {EPROTO, true};
    }
    r.error = m.error;
    r.fatal = m.fatal;
    return true;
}

void convert_icmp6_error(icmp_report& r) {
    meaning m{EPROTO, false};  // types yet unknown must reach the upper layer too (RFC 4443 §2.4a)
    switch (r.type) {
        case wire::icmp6::unreachable:
            m = r.code < unreachable6.size() ? unreachable6[r.code] : meaning{EPROTO, true};
            break;
        case wire::icmp6::packet_too_big: m = {EMSGSIZE, true}; break;
        case wire::icmp6::time_exceeded: m = {EHOSTUNREACH, false}; break;
        case wire::icmp6::parameter_problem: m = {EPROTO, true}; break;
        default: break;
    }
    r.error = m.error;
    r.fatal = m.fatal;
}

}  // namespace skua::net
