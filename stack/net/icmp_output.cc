// Whether an error may be sent, and building it.
#include "net/icmp_output.hh"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "net/ip_output.hh"
#include "net/ipv6_extensions.hh"
#include "wire/checksum.hh"
#include "wire/icmp.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"

namespace skua::net {

namespace {

// An error must not exceed these (RFC 1812 §4.3.2.3, RFC 4443 §3.1), IP header included.
constexpr std::uint32_t longest_v4 = 576, longest_v6 = wire::ipv6_minimum_mtu;

struct offender {
    ip_address source;
    ip_address destination;
    std::uint8_t tos = 0;  // IPv4
};

/// Types of which errors are never sent. An ICMP header that cannot be read counts as one (Linux: icmp_send).
bool is_icmp4_error(const std::uint8_t* type) {
    return type == nullptr || *type == 3 || *type == 4 || *type == 5 || *type == 11 || *type == 12;
}
bool is_icmp6_error(const std::uint8_t* type) {
    return type == nullptr || *type < 128 || *type == wire::icmp6::redirect;
}

bool may_complain_v4(const packet::packet& about, std::uint32_t at, offender& o) {
    const auto* h = about.header<wire::ipv4_header>(at);
    if (h == nullptr || h->fragment_offset() != 0) return false;
    if (h->protocol == IPPROTO_ICMP && is_icmp4_error(about.header<std::uint8_t>(at + h->header_length())))
        return false;
    o = {h->source, h->destination, h->tos};
    return true;
}

bool may_complain_v6(const packet::packet& about, std::uint32_t at, offender& o) {
    const auto* h = about.header<wire::ipv6_header>(at);
    if (h == nullptr) return false;
    // A chain that cannot be walked is what we may be about to complain about.
    const auto upper = skip_ipv6_extensions(about.front(), at + sizeof *h, h->next_header);
    if (upper && upper->protocol == IPPROTO_ICMPV6 && !upper->later_fragment &&
        is_icmp6_error(about.header<std::uint8_t>(upper->offset)))
        return false;
    o = {h->source, h->destination, 0};
    return true;
}

bool is_single_host(const ip_address& a, const packet::rx_info& info, const context& ctx) {
    if (a.is_any() || a.is_multicast() || ctx.map.is_broadcast(a)) return false;
    return info.local_origin || !a.is_loopback();
}

std::optional<ip_address> source_of_error(const offender& o, std::uint32_t ifindex, const context& ctx) {
    if (ctx.map.is_local(o.destination)) return o.destination;
    const auto way = ctx.map.route_to(o.source, ifindex);
    if (!way) return std::nullopt;
    const auto source = ctx.map.source_for(o.source, *way);
    return source ? std::optional(*source) : std::nullopt;
}

void count_sent(bool v4, std::uint8_t type, counter_set<mib>& mibs) {
    mibs.add(v4 ? mib::icmp_out_msgs : mib::icmp6_out_msgs);
    if (v4) {
        if (type == wire::icmp4::unreachable) mibs.add(mib::icmp_out_dest_unreachs);
        if (type == wire::icmp4::time_exceeded) mibs.add(mib::icmp_out_time_excds);
        if (type == wire::icmp4::parameter_problem) mibs.add(mib::icmp_out_parm_probs);
    } else {
        if (type == wire::icmp6::unreachable) mibs.add(mib::icmp6_out_dest_unreachs);
        if (type == wire::icmp6::time_exceeded) mibs.add(mib::icmp6_out_time_excds);
        if (type == wire::icmp6::parameter_problem) mibs.add(mib::icmp6_out_parm_problems);
    }
}

}  // namespace

icmp_error port_unreachable(ip_family family) {
    if (family == ip_family::v4) return {wire::icmp4::unreachable, wire::icmp4::code_port};
    return {wire::icmp6::unreachable, wire::icmp6::code_port};
}

icmp_error protocol_unreachable() { return {wire::icmp4::unreachable, wire::icmp4::code_protocol}; }

icmp_error reassembly_time_exceeded(ip_family family) {
    if (family == ip_family::v4) return {wire::icmp4::time_exceeded, wire::icmp4::code_reassembly_time};
    return {wire::icmp6::time_exceeded, wire::icmp6::code_reassembly_time};
}

icmp_error parameter_problem(ip_family family, std::uint8_t code, std::uint32_t pointer) {
    if (family == ip_family::v4) return {wire::icmp4::parameter_problem, code, pointer << 24};
    return {wire::icmp6::parameter_problem, code, pointer};
}

void icmp_output::send_error(const packet::packet& about, const packet::rx_info& info, const icmp_error& e,
                             const context& ctx) {
    const std::uint32_t at = info.l3_offset;
    const bool v4 = info.family == ip_family::v4;
    offender o;
    if (!(v4 ? may_complain_v4(about, at, o) : may_complain_v6(about, at, o))) return;
    const bool to_many = info.link_multicast || info.to_broadcast || info.to_multicast ||
                         o.destination.is_multicast() || ctx.map.is_broadcast(o.destination);
    if (to_many && !e.even_if_multicast) return;
    if (!is_single_host(o.source, info, ctx)) return;
    if (!info.local_origin && !limiter_.allow(o.source, ctx.now, ctx.mibs)) return;

    const std::uint32_t out_ifindex = o.source.is_link_local() && !v4 ? info.ifindex : 0;
    const auto failed = v4 ? mib::icmp_out_errors : mib::icmp6_out_errors;
    const auto source = source_of_error(o, out_ifindex, ctx);
    if (!source) return ctx.mibs.add(failed);

    const std::uint32_t room = v4 ? longest_v4 - sizeof(wire::ipv4_header) : longest_v6 - sizeof(wire::ipv6_header);
    const std::uint32_t quoted = std::min<std::uint32_t>(about.size() - at, room - sizeof(wire::icmp_header));
    const std::uint32_t length = sizeof(wire::icmp_header) + quoted;
    std::array<std::byte, longest_v6> bytes;
    const auto message = std::span(bytes).first(length);
    wire::icmp_header h{e.type, e.code, {}, be32(e.rest)};
    std::memcpy(bytes.data(), &h, sizeof h);
    if (!about.read(at, message.subspan(sizeof h))) return ctx.mibs.add(failed);
    wire::checksum_sum sum;
    if (!v4) sum.add_pseudo_header(*source, o.source, IPPROTO_ICMPV6, length);
    sum.add(message);
    h.checksum = sum.finish();
    std::memcpy(bytes.data(), &h, sizeof h);

    packet::packet p = out_.allocate(length);
    if (!p) return ctx.mibs.add(failed);
    p.info() = {};
    packet::write(p, 0, message);
    ip_fields f{.source = *source, .destination = o.source};
    f.protocol = v4 ? std::uint8_t(IPPROTO_ICMP) : std::uint8_t(IPPROTO_ICMPV6);
    // Linux: icmp_send answers with the precedence "internetwork control" (RFC 1812 §4.3.2.5).
    f.traffic_class = v4 ? static_cast<std::uint8_t>((o.tos & 0x1e) | 0xc0) : std::uint8_t(0);
    f.identification = static_cast<std::uint16_t>(random_.next());
    if (!prepend_ip(p, f)) return ctx.mibs.add(failed);
    count_sent(v4, e.type, ctx.mibs);
    out_.output(std::move(p), out_ifindex);
}

}  // namespace skua::net
