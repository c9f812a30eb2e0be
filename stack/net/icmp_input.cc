// Checksums, echo replies in place, and handing on the rest.
#include "net/icmp_input.hh"

#include <netinet/in.h>

#include "net/icmp_quote.hh"
#include "net/ip_output.hh"
#include "wire/checksum.hh"
#include "wire/icmp.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"

namespace skua::net {

using packet::step;
using packet::verdict;

namespace {

void count_in(const wire::icmp_header& h, bool v4, counter_set<mib>& mibs) {
    if (v4) {
        switch (h.type) {
            case wire::icmp4::unreachable: return mibs.add(mib::icmp_in_dest_unreachs);
            case wire::icmp4::time_exceeded: return mibs.add(mib::icmp_in_time_excds);
            case wire::icmp4::parameter_problem: return mibs.add(mib::icmp_in_parm_probs);
            case wire::icmp4::echo_request: return mibs.add(mib::icmp_in_echos);
            case wire::icmp4::echo_reply: return mibs.add(mib::icmp_in_echo_reps);
            default: return;
        }
    }
    switch (h.type) {
        case wire::icmp6::unreachable: return mibs.add(mib::icmp6_in_dest_unreachs);
        case wire::icmp6::packet_too_big: return mibs.add(mib::icmp6_in_pkt_too_bigs);
        case wire::icmp6::time_exceeded: return mibs.add(mib::icmp6_in_time_excds);
        case wire::icmp6::parameter_problem: return mibs.add(mib::icmp6_in_parm_problems);
        case wire::icmp6::echo_request: return mibs.add(mib::icmp6_in_echos);
        case wire::icmp6::echo_reply: return mibs.add(mib::icmp6_in_echo_replies);
        case wire::icmp6::neighbor_solicitation: return mibs.add(mib::icmp6_in_neighbor_solicits);
        case wire::icmp6::neighbor_advertisement: return mibs.add(mib::icmp6_in_neighbor_advertisements);
        default: return;
    }
}

/// Length and checksum; step::report if both are good.
verdict check(const packet::packet& p, const packet::rx_info& info, counter_set<mib>& mibs) {
    const bool v4 = info.family == ip_family::v4;
    mibs.add(v4 ? mib::icmp_in_msgs : mib::icmp6_in_msgs);
    const auto* h = p.header<wire::icmp_header>(info.l4_offset);
    if (h == nullptr || info.l4_length < sizeof *h) {
        mibs.add(v4 ? mib::icmp_in_errors : mib::icmp6_in_errors);
        return drop_reason::icmp_truncated;
    }
    wire::checksum_sum sum;
    if (!v4) sum.add_pseudo_header(info.flow.remote, info.flow.local, IPPROTO_ICMPV6, info.l4_length);
    sum.add(p.get(), info.l4_offset, info.l4_length);
    if (sum.finish() != be16{}) {
        mibs.add(v4 ? mib::icmp_in_csum_errors : mib::icmp6_in_csum_errors);
        mibs.add(v4 ? mib::icmp_in_errors : mib::icmp6_in_errors);
        return drop_reason::icmp_bad_checksum;
    }
    count_in(*h, v4, mibs);
    return step::report;
}

/// Turns the request into its reply: the old IP header, options and extension headers included, gives way to a new one.
verdict reply(packet::packet& p, const packet::rx_info& info, const ip_address& source, std::uint8_t traffic_class,
              const context& ctx) {
    const bool v4 = info.family == ip_family::v4;
    auto* h = p.header<wire::icmp_header>(info.l4_offset);
    // The new type is the only change under the checksum: addresses change places, and the sum is the same.
    const auto word = [h] { return be16(static_cast<std::uint16_t>(h->type << 8 | h->code)); };
    const be16 was = word();
    h->type = v4 ? wire::icmp4::echo_reply : wire::icmp6::echo_reply;
    h->checksum = wire::checksum_adjusted(h->checksum, was, word());
    if (!v4 && source != info.flow.local) {
        h->checksum = {};
        wire::checksum_sum sum;
        sum.add_pseudo_header(source, info.flow.remote, IPPROTO_ICMPV6, info.l4_length);
        sum.add(p.get(), info.l4_offset, info.l4_length);
        h->checksum = sum.finish();
    }

    p.trim_front(info.l4_offset);
    p.truncate(info.l4_length);
    // What the NIC said about the request, and what was noted of its way in, does not hold for the reply.
    p.get()->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
    p.info() = {};
    ip_fields f{.source = source, .destination = info.flow.remote};
    f.protocol = v4 ? std::uint8_t(IPPROTO_ICMP) : std::uint8_t(IPPROTO_ICMPV6);
    f.traffic_class = traffic_class;
    f.identification = static_cast<std::uint16_t>(ctx.random.next());
    if (!prepend_ip(p, f)) return drop_reason::no_mbuf;
    ctx.mibs.add(v4 ? mib::icmp_out_msgs : mib::icmp6_out_msgs);
    ctx.mibs.add(v4 ? mib::icmp_out_echo_reps : mib::icmp6_out_echo_replies);
    return step::reply;
}

/// The verdict on an error message; a quote that cannot be used counts as an error of the message (Linux:
/// icmp_socket_deliver).
verdict report(verdict v, bool v4, counter_set<mib>& mibs) {
    if (v.reason == drop_reason::icmp_quote_malformed || v.reason == drop_reason::icmp_no_socket)
        mibs.add(v4 ? mib::icmp_in_errors : mib::icmp6_in_errors);
    return v;
}

verdict echo6(packet::packet& p, const packet::rx_info& info, const context& ctx) {
    if (info.flow.remote.is_any()) return drop_reason::icmp_ignored;
    ip_address source = info.flow.local;
    if (info.to_multicast) {
        const auto way = ctx.map.route_to(info.flow.remote, info.ifindex);
        if (!way) return drop_reason::tx_no_route;
        const auto chosen = ctx.map.source_for(info.flow.remote, *way);
        if (!chosen) return drop_reason::tx_no_route;
        source = *chosen;
    }
    return reply(p, info, source, p.header<wire::ipv6_header>(info.l3_offset)->traffic_class(), ctx);
}

}  // namespace

verdict icmp4_input(packet::packet& p, packet::rx_info& info, const context& ctx, icmp_report& out) {
    if (const verdict v = check(p, info, ctx.mibs); v.next == step::drop) return v;
    const wire::icmp_header h = *p.header<wire::icmp_header>(info.l4_offset);
    switch (h.type) {
        case wire::icmp4::echo_request:
            // Linux: icmp_echo_ignore_broadcasts. The way to make a net shout at a victim.
            if (info.to_broadcast || info.to_multicast) return drop_reason::icmp_ignored;
            return reply(p, info, info.flow.local, p.header<wire::ipv4_header>(info.l3_offset)->tos, ctx);
        case wire::icmp4::unreachable:
        case wire::icmp4::time_exceeded:
        case wire::icmp4::parameter_problem: break;
        default: return drop_reason::icmp_ignored;
    }
    const verdict v = report(read_quote(p, info, ctx, out), true, ctx.mibs);
    if (v.next == step::drop) return v;
    out.type = h.type;
    out.code = h.code;
    if (!convert_icmp4_error(out)) return drop_reason::icmp_ignored;
    if (out.error == EMSGSIZE) out.mtu = h.rest.host() & 0xffff;
    if (h.type == wire::icmp4::parameter_problem) out.pointer = h.rest.host() >> 24;
    return v;
}

verdict icmp6_input(packet::packet& p, packet::rx_info& info, const context& ctx, icmp_report& out) {
    if (const verdict v = check(p, info, ctx.mibs); v.next == step::drop) return v;
    const wire::icmp_header h = *p.header<wire::icmp_header>(info.l4_offset);
    switch (h.type) {
        case wire::icmp6::echo_request: return echo6(p, info, ctx);
        case wire::icmp6::router_solicitation:
        case wire::icmp6::router_advertisement:
        case wire::icmp6::neighbor_solicitation:
        case wire::icmp6::neighbor_advertisement:
        case wire::icmp6::redirect: return step::to_first;
        default: break;
    }
    if (h.type >= 128) return drop_reason::icmp_ignored;
    const verdict v = report(read_quote(p, info, ctx, out), false, ctx.mibs);
    if (v.next == step::drop) return v;
    out.type = h.type;
    out.code = h.code;
    convert_icmp6_error(out);
    if (h.type == wire::icmp6::packet_too_big) out.mtu = h.rest.host();
    if (h.type == wire::icmp6::parameter_problem) out.pointer = h.rest.host();
    return v;
}

}  // namespace skua::net
