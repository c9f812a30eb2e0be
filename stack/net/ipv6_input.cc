// The checks of ip6_rcv_core and the walk through the extension headers.
#include "net/ipv6_input.hh"

#include <netinet/in.h>

#include "net/ipv6_extensions.hh"
#include "wire/icmp.hh"
#include "wire/ipv6.hh"

namespace skua::net {

using packet::step;
using packet::verdict;

namespace {

constexpr std::uint8_t code_erroneous_field = 0;
constexpr std::uint8_t code_first_fragment_incomplete = 3;  // RFC 7112 §5
constexpr std::uint8_t option_pad1 = 0, option_padn = 1, option_router_alert = 5;

constexpr std::uint8_t multicast_scope(const ip_address& a) { return a.bytes()[1] & 0x0f; }

/// Version and lengths. step::ipv6 if the header can be relied on; the packet then ends where its payload does.
verdict check_header(packet::packet& p, const packet::rx_info& info, const context& ctx) {
    const auto bad = [&ctx](mib counter, drop_reason why) {
        ctx.mibs.add(counter);
        return verdict(why);
    };
    const auto* h = p.header<wire::ipv6_header>(info.l3_offset);
    if (h == nullptr) return bad(mib::ip6_in_hdr_errors, drop_reason::ipv6_truncated);
    if (h->version() != 6) return bad(mib::ip6_in_hdr_errors, drop_reason::ipv6_bad_version);
    const std::uint32_t end = info.l3_offset + static_cast<std::uint32_t>(sizeof *h) + h->payload_length.host();
    if (end > p.size()) return bad(mib::ip6_in_truncated_pkts, drop_reason::ipv6_bad_payload_length);
    // A length of zero with hop-by-hop options announces a jumbogram (RFC 2675 §3).
    if (h->payload_length.host() == 0 && h->next_header == IPPROTO_HOPOPTS)
        return bad(mib::ip6_in_hdr_errors, drop_reason::ipv6_bad_payload_length);
    if (end < p.size()) p.truncate(end);
    return step::ipv6;
}

/// Could a packet from the wire have this source?
bool source_possible(const ip_address& source, const context& ctx) {
    return !source.is_multicast() && !source.is_loopback() && !ctx.map.is_local(source);
}

verdict check_addresses(packet::rx_info& info, const context& ctx, const ip_parts& parts) {
    const ip_address& to = info.flow.local;
    const ip_address& from = info.flow.remote;
    // A mapped address on the wire would be taken for IPv4 from here on (Linux: 6af1799aaf3f).
    if (from.is_v4() || (!info.local_origin && !source_possible(from, ctx))) {
        ctx.mibs.add(mib::ip6_in_hdr_errors);
        return drop_reason::ipv6_bad_source;
    }
    info.to_broadcast = false;
    info.to_multicast = to.is_multicast();
    if (info.to_multicast) {
        // Scope 0 is reserved, scope 1 never leaves the host (RFC 4291 §2.7).
        const bool scope_possible = multicast_scope(to) > 1 || (multicast_scope(to) == 1 && info.local_origin);
        return scope_possible && parts.is_joined(ctx.map, to, info.ifindex) ? verdict(step::ipv6)
                                                                            : verdict(drop_reason::ipv6_not_local);
    }
    if (!to.is_v4() && ctx.map.is_local(to) && (info.local_origin || !to.is_loopback())) return step::ipv6;
    ctx.mibs.add(mib::ip6_in_addr_errors);
    return drop_reason::ipv6_not_local;
}

/// One packet on its way through its extension headers. Offsets are in the frame.
class extension_walk {
public:
    extension_walk(packet::packet& p, packet::rx_info& info, const context& ctx, const ip_parts& parts)
        : p_(p), info_(info), ctx_(ctx), parts_(parts) {
        start();
    }

    /// step::ipv6 when it stands before an upper-layer header; then l4_offset, l4_length and protocol are set.
    verdict run() {
        for (unsigned count = 0; is_ipv6_extension(next_); count++) {
            if (count == max_ipv6_extensions) return too_many();
            if (const verdict v = one(); v.next != step::ipv6) return v;
        }
        stand(next_);
        return step::ipv6;
    }
    /// The upper-layer header is none we know; `named_at_` is the byte to blame.
    verdict unknown() {
        ctx_.mibs.add(mib::ip6_in_unknown_protos);
        if (next_ != IPPROTO_NONE && parts_.refuse_protocols)
            complain(wire::icmp6::code_unknown_next_header, named_at_);
        return drop_reason::ipv6_unknown_next_header;
    }

private:
    void start() {
        named_at_ = info_.l3_offset + 6u;
        at_ = first_at();
        next_ = p_.header<wire::ipv6_header>(info_.l3_offset)->next_header;
    }
    std::uint32_t first_at() const { return info_.l3_offset + static_cast<std::uint32_t>(sizeof(wire::ipv6_header)); }

    verdict one() {
        // Hop-by-hop options come right after the IPv6 header or not at all (RFC 8200 §4.1).
        if (next_ == IPPROTO_HOPOPTS && at_ != first_at()) return unknown();
        const auto* e = p_.header<wire::ipv6_extension>(at_);
        // The smallest header has 8 bytes.
        const std::uint32_t length = next_ == IPPROTO_FRAGMENT ? sizeof(wire::ipv6_fragment_header)
                                     : e                       ? e->length()
                                                               : 8u;
        if (e == nullptr || at_ + length > p_.front().size())
            return at_ + length > p_.size() ? bad_header() : too_many();
        switch (next_) {
            case IPPROTO_FRAGMENT: return fragment();
            case IPPROTO_ROUTING:
                if (const verdict v = routing(); v.next != step::ipv6) return v;
                break;
            default:
                if (const verdict v = options(length); v.next != step::ipv6) return v;
        }
        move_on(e->next_header, length);
        return step::ipv6;
    }

    /// Hop-by-hop and destination options (RFC 8200 §4.2). Those we know need nothing done.
    verdict options(std::uint32_t length) {
        const auto byte = [this](std::uint32_t i) { return std::to_integer<std::uint8_t>(p_.front()[i]); };
        const std::uint32_t end = at_ + length;
        for (std::uint32_t i = at_ + sizeof(wire::ipv6_extension); i < end;) {
            const std::uint8_t type = byte(i);
            if (type == option_pad1) {
                ++i;
                continue;
            }
            if (i + 2 > end || i + 2 + byte(i + 1) > end) return bad_header();
            if (type != option_padn && type != option_router_alert)
                if (const verdict v = unknown_option(type, i); v.next != step::ipv6) return v;
            i += 2u + byte(i + 1);
        }
        return step::ipv6;
    }

    /// The two highest bits of its type say what to do with an option that one does not know.
    verdict unknown_option(std::uint8_t type, std::uint32_t at) {
        const unsigned action = type >> 6;
        if (action == 0) return step::ipv6;
        if (action == 2 || (action == 3 && !info_.to_multicast)) complain(wire::icmp6::code_unknown_option, at, true);
        return bad_header();
    }

    /// No routing type is ours to follow, 0 the least (RFC 5095). With no segments left one may go on (RFC 8200 §4.4).
    verdict routing() {
        const auto byte = [this](std::uint32_t i) { return std::to_integer<std::uint8_t>(p_.front()[at_ + i]); };
        if (byte(3) == 0) return step::ipv6;
        complain(code_erroneous_field, at_ + 2);
        return bad_header();
    }

    verdict fragment() {
        if (fragment_seen_) return bad_header();
        fragment_seen_ = true;
        const auto h = *p_.header<wire::ipv6_fragment_header>(at_);
        const fragment_fields f{h.identification.host(), h.offset(), h.more(), static_cast<std::uint16_t>(named_at_)};
        const std::uint32_t fragment_at = at_;
        move_on(h.next_header, sizeof h);
        // An atomic fragment is a whole datagram, whatever else has its identification (RFC 6946 §4).
        if (f.offset == 0 && !f.more) return step::ipv6;
        if (f.offset == 0 && !chain_complete()) {
            complain(code_first_fragment_incomplete, info_.l3_offset);
            ctx_.mibs.add(mib::ip6_in_hdr_errors);
            return drop_reason::frag_malformed;
        }
        stand(h.next_header);
        const verdict v = parts_.add_fragment(p_, info_, f, ctx_);
        if (v.next == step::drop) blame_fragment(v.reason, f, fragment_at);
        // The whole datagram has the headers of its first fragment, which may not be this one.
        if (v.next == step::ipv6) start();
        return v;
    }

    /// RFC 8200 §4.5, the errors of fragments by themselves.
    void blame_fragment(drop_reason why, const fragment_fields& f, std::uint32_t fragment_at) {
        if (why == drop_reason::frag_malformed && f.more && info_.l4_length % 8 != 0)
            complain(code_erroneous_field, info_.l3_offset + 4u);  // payload length
        if (why == drop_reason::frag_too_large) complain(code_erroneous_field, fragment_at + 2);
    }

    /// All headers up to and with the upper-layer's must be in the first fragment (RFC 7112 §5).
    bool chain_complete() const {
        const auto upper = skip_ipv6_extensions(p_.front(), at_, next_);
        if (!upper) return false;
        const bool known = upper->protocol == IPPROTO_UDP || upper->protocol == IPPROTO_ICMPV6;
        return upper->offset + (known ? 8u : upper->protocol == IPPROTO_NONE ? 0u : 1u) <= p_.size();
    }

    void move_on(std::uint8_t next, std::uint32_t length) {
        named_at_ = at_;
        next_ = next;
        at_ += length;
    }
    void stand(std::uint8_t protocol) {
        info_.protocol = protocol;
        info_.l4_offset = static_cast<std::uint16_t>(at_);
        info_.l4_length = p_.size() - at_;
    }
    void complain(std::uint8_t code, std::uint32_t at, bool even_if_multicast = false) {
        icmp_error e = parameter_problem(ip_family::v6, code, at - info_.l3_offset);
        e.even_if_multicast = even_if_multicast;
        parts_.errors.send_error(p_, info_, e, ctx_);
    }
    verdict bad_header() {
        ctx_.mibs.add(mib::ip6_in_hdr_errors);
        return drop_reason::ipv6_bad_extension;
    }
    verdict too_many() {
        ctx_.mibs.add(mib::ip6_in_hdr_errors);
        return drop_reason::ipv6_too_many_extensions;
    }

    packet::packet& p_;
    packet::rx_info& info_;
    const context& ctx_;
    const ip_parts& parts_;
    std::uint32_t named_at_;  // the byte that names the header at at_
    std::uint32_t at_;
    std::uint8_t next_;  // what stands at at_
    bool fragment_seen_ = false;
};

}  // namespace

verdict ipv6_input(packet::packet& p, packet::rx_info& info, const context& ctx, const ip_parts& parts) {
    if (info.crossings == 0) ctx.mibs.add(mib::ip6_in_receives);
    info.family = ip_family::v6;
    if (const verdict v = check_header(p, info, ctx); v.next == step::drop) return v;
    const auto& h = *p.header<wire::ipv6_header>(info.l3_offset);
    info.flow.remote = h.source;
    info.flow.local = h.destination;
    info.hop_limit = h.hop_limit;
    if (const verdict v = check_addresses(info, ctx, parts); v.next == step::drop) return v;

    extension_walk walk(p, info, ctx, parts);
    if (const verdict v = walk.run(); v.next != step::ipv6) return v;
    // Only address configuration speaks without an address (RFC 4291 §2.5.2).
    if (info.flow.remote.is_any() && info.protocol != IPPROTO_ICMPV6) {
        ctx.mibs.add(mib::ip6_in_hdr_errors);
        return drop_reason::ipv6_bad_source;
    }
    switch (info.protocol) {
        case IPPROTO_UDP: ctx.mibs.add(mib::ip6_in_delivers); return step::udp;
        case IPPROTO_ICMPV6: ctx.mibs.add(mib::ip6_in_delivers); return step::icmp6;
        default: return walk.unknown();
    }
}

}  // namespace skua::net
