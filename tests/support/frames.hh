// Frames for tests: building sound ones and broken ones, and reading what came out. Bytes travel as std::string.
#pragma once

#include <netinet/in.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.hh"
#include "wire/arp.hh"
#include "wire/checksum.hh"
#include "wire/ethernet.hh"
#include "wire/icmp.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"
#include "wire/udp.hh"

namespace skua::test {

/// The host under test (class world) and its peer on the same link.
inline const mac_address our_mac = parse_mac("02:00:00:00:00:01").value();
inline const mac_address peer_mac = parse_mac("02:00:00:00:00:02").value();
inline ip_address ip(std::string_view text) { return ip_address::parse(text).value(); }
inline const ip_address us4 = ip("198.18.0.1"), peer4 = ip("198.18.0.2");
inline const ip_address us6 = ip("2001:db8::1"), peer6 = ip("2001:db8::2");

template <class T>
std::string raw(const T& header) {
    return std::string(reinterpret_cast<const char*>(&header), sizeof header);
}
/// A header inside bytes, to be read or broken.
template <class T>
T& at(std::string& bytes, std::size_t offset) {
    return *reinterpret_cast<T*>(bytes.data() + offset);
}
template <class T>
std::optional<T> read_at(std::string_view bytes, std::size_t offset) {
    if (offset + sizeof(T) > bytes.size()) return std::nullopt;
    T out{};
    std::memcpy(&out, bytes.data() + offset, sizeof out);
    return out;
}
inline std::span<const std::byte> as_bytes(std::string_view s) { return std::as_bytes(std::span(s.data(), s.size())); }
/// Bytes that tell where they stand.
inline std::string pattern(std::size_t length) {
    std::string s(length, '\0');
    for (std::size_t i = 0; i < length; i++) s[i] = static_cast<char>(i * 31 + (i >> 8) * 7);
    return s;
}

inline constexpr std::size_t eth_length = sizeof(wire::ethernet_header);
inline constexpr std::size_t ip4_at = eth_length, udp4_at = ip4_at + 20, payload4_at = udp4_at + 8;
inline constexpr std::size_t ip6_at = eth_length, udp6_at = ip6_at + 40, payload6_at = udp6_at + 8;

// ---- building, from the inside out ----

/// An IP header; its family is that of `from`.
struct ip_spec {
    ip_address from = peer4;
    ip_address to = us4;
    std::uint8_t protocol = IPPROTO_UDP;
    std::uint8_t hop_limit = 57;
    std::uint8_t traffic_class = 0;
    std::uint16_t identification = 1;  // IPv4
    std::uint16_t flags_fragment = 0;  // IPv4
    std::string options = {};          // IPv4, a multiple of 4 bytes
    bool v4() const { return from.is_v4(); }
};
inline const ip_spec spec4{};
inline const ip_spec spec6{.from = peer6, .to = us6};

inline std::string ip_packet(const ip_spec& s, std::string_view payload) {
    if (!s.v4()) {
        wire::ipv6_header h{};
        h.version_class_flow = be32(6u << 28 | std::uint32_t(s.traffic_class) << 20);
        h.payload_length = be16(static_cast<std::uint16_t>(payload.size()));
        h.next_header = s.protocol;
        h.hop_limit = s.hop_limit;
        h.source = s.from.v6();
        h.destination = s.to.v6();
        return raw(h).append(payload);
    }
    wire::ipv4_header h{};
    h.version_ihl = static_cast<std::uint8_t>(0x40 | (5 + s.options.size() / 4));
    h.tos = s.traffic_class;
    h.total_length = be16(static_cast<std::uint16_t>(20 + s.options.size() + payload.size()));
    h.identification = be16(s.identification);
    h.flags_fragment = be16(s.flags_fragment);
    h.ttl = s.hop_limit;
    h.protocol = s.protocol;
    h.source = s.from.v4();
    h.destination = s.to.v4();
    std::string all = (raw(h) + s.options).append(payload);
    wire::set_ipv4_checksum(at<wire::ipv4_header>(all, 0));
    return all;
}

/// The checksum of an upper-layer message whose own field is zero.
inline be16 checksum_of(const ip_spec& s, std::uint8_t protocol, std::string_view message) {
    wire::checksum_sum sum;
    if (protocol != IPPROTO_ICMP)
        sum.add_pseudo_header(s.from, s.to, protocol, static_cast<std::uint32_t>(message.size()));
    sum.add(as_bytes(message));
    return sum.finish();
}
inline std::string udp(const ip_spec& s, std::uint16_t from, std::uint16_t to, std::string_view payload) {
    const wire::udp_header h{be16(from), be16(to), be16(static_cast<std::uint16_t>(8 + payload.size())), {}};
    std::string all = raw(h).append(payload);
    const be16 sum = checksum_of(s, IPPROTO_UDP, all);
    at<wire::udp_header>(all, 0).checksum = sum == be16{} ? be16(0xffff) : sum;
    return all;
}
inline std::uint8_t icmp_protocol(const ip_spec& s) {
    return s.v4() ? std::uint8_t(IPPROTO_ICMP) : std::uint8_t(IPPROTO_ICMPV6);
}
/// ICMP or ICMPv6, by the family.
inline std::string icmp(const ip_spec& s, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
                        std::string_view body) {
    std::string all = raw(wire::icmp_header{type, code, {}, be32(rest)}).append(body);
    at<wire::icmp_header>(all, 0).checksum = checksum_of(s, icmp_protocol(s), all);
    return all;
}

/// `type` is told by the IP version unless it is given.
inline std::string frame(std::string_view payload, const mac_address& to = our_mac, std::uint16_t type = 0) {
    if (type == 0) type = !payload.empty() && payload[0] >> 4 == 6 ? 0x86dd : 0x0800;
    return raw(wire::ethernet_header{to, peer_mac, be16(type)}).append(payload);
}
inline std::string vlan_frame(std::uint16_t tci, std::string_view payload, const mac_address& to = our_mac) {
    const std::uint16_t type = !payload.empty() && payload[0] >> 4 == 6 ? 0x86dd : 0x0800;
    return frame(raw(wire::vlan_tag{be16(tci), be16(type)}).append(payload), to, 0x8100);
}

inline std::string udp_frame(const ip_spec& s, std::uint16_t from, std::uint16_t to, std::string_view payload) {
    return frame(ip_packet(s, udp(s, from, to, payload)));
}
inline std::string icmp_frame(ip_spec s, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
                              std::string_view body) {
    s.protocol = icmp_protocol(s);
    return frame(ip_packet(s, icmp(s, type, code, rest, body)));
}
inline std::string echo_request(const ip_spec& s, std::string_view body) {
    return icmp_frame(s, s.v4() ? wire::icmp4::echo_request : wire::icmp6::echo_request, 0, 0x00010002, body);
}

inline std::string arp_frame(std::uint16_t operation, const mac_address& sender_mac, const ip_address& sender,
                             const mac_address& target_mac, const ip_address& target,
                             const mac_address& to = mac_address::broadcast()) {
    const wire::arp_packet arp{be16(1),    be16(0x0800), 6,          4,          be16(operation),
                               sender_mac, sender.v4(),  target_mac, target.v4()};
    return frame(raw(arp), to, 0x0806);
}
inline std::string arp_request() { return arp_frame(wire::arp_request, peer_mac, peer4, {}, us4); }
inline std::string arp_reply(const ip_address& from = peer4, const mac_address& mac = peer_mac) {
    return arp_frame(wire::arp_reply, mac, from, our_mac, us4, our_mac);
}

inline std::string nd_frame(std::uint8_t type, const ip_address& from, const ip_address& to, const ip_address& target,
                            std::uint32_t flags, const std::optional<mac_address>& link,
                            const mac_address& frame_to = our_mac) {
    const bool solicitation = type == wire::icmp6::neighbor_solicitation;
    const ip_spec s{.from = from, .to = to, .protocol = IPPROTO_ICMPV6, .hop_limit = 255};
    std::string body = raw(target.v6());
    if (link) body += raw(wire::nd_link_option{solicitation ? wire::nd_source_link : wire::nd_target_link, 1, *link});
    return frame(ip_packet(s, icmp(s, type, 0, flags, body)), frame_to);
}
inline std::string neighbor_solicitation() {
    return nd_frame(wire::icmp6::neighbor_solicitation, peer6, ip("ff02::1:ff00:1"), us6, 0, peer_mac,
                    wire::multicast_mac(ip("ff02::1:ff00:1")));
}
inline std::string neighbor_advertisement(const ip_address& from = peer6, const mac_address& mac = peer_mac) {
    return nd_frame(wire::icmp6::neighbor_advertisement, from, us6, from, wire::nd_solicited | wire::nd_override, mac);
}

/// Fragments of `payload` with at most `piece` bytes each (a multiple of 8), in order.
inline std::vector<std::string> fragments(ip_spec s, std::string_view payload, std::size_t piece,
                                          std::uint32_t id = 7) {
    std::vector<std::string> all;
    for (std::size_t from = 0; from < payload.size(); from += piece) {
        const auto part = payload.substr(from, piece);
        const bool more = from + piece < payload.size();
        if (s.v4()) {
            s.identification = static_cast<std::uint16_t>(id);
            s.flags_fragment = static_cast<std::uint16_t>(from / 8 | (more ? 0x2000 : 0));
            all.push_back(frame(ip_packet(s, part)));
            continue;
        }
        const wire::ipv6_fragment_header h{s.protocol, 0, be16(static_cast<std::uint16_t>(from | more)), be32(id)};
        ip_spec outer = s;
        outer.protocol = IPPROTO_FRAGMENT;
        all.push_back(frame(ip_packet(outer, raw(h).append(part))));
    }
    return all;
}

// ---- reading ----

/// What a frame says. `sound` is false if a length or checksum in it is wrong.
struct seen {
    mac_address to, from;
    std::uint16_t vlan = 0;
    std::uint16_t type = 0;
    std::optional<wire::arp_packet> arp;
    ip_address source, destination;
    std::uint8_t protocol = 0;
    std::uint8_t hop_limit = 0;
    std::uint8_t traffic_class = 0;
    bool dont_fragment = false;
    bool fragment = false, more = false;
    std::uint32_t identification = 0;
    std::uint32_t offset = 0;  // of a fragment
    std::string message;       // behind the IP headers: UDP or ICMP, header included, or a piece of it
    std::optional<wire::udp_header> udp;
    std::optional<wire::icmp_header> icmp;
    std::string payload;  // behind the UDP or ICMP header
    bool sound = false;
};

/// Fills udp, icmp and payload of a whole message; false if it is not sound.
inline bool read_message(seen& s) {
    const auto sum_of = [&](std::uint8_t protocol) {
        wire::checksum_sum sum;
        if (protocol != IPPROTO_ICMP)
            sum.add_pseudo_header(s.source, s.destination, protocol, static_cast<std::uint32_t>(s.message.size()));
        sum.add(as_bytes(s.message));
        return sum.finish() == be16{};
    };
    if (s.protocol == IPPROTO_UDP) {
        if (!(s.udp = read_at<wire::udp_header>(s.message, 0))) return false;
        s.payload = s.message.substr(sizeof(wire::udp_header));
        const bool none = s.source.is_v4() && s.udp->checksum == be16{};
        return s.udp->length.host() == s.message.size() && (none || sum_of(IPPROTO_UDP));
    }
    if (!(s.icmp = read_at<wire::icmp_header>(s.message, 0))) return false;
    s.payload = s.message.substr(sizeof(wire::icmp_header));
    return sum_of(s.protocol);
}

inline seen look(std::string_view frame) {
    seen s;
    const auto eth = read_at<wire::ethernet_header>(frame, 0);
    if (!eth) return s;
    s.to = eth->destination;
    s.from = eth->source;
    s.type = eth->type.host();
    frame.remove_prefix(eth_length);
    if (s.type == 0x8100) {
        const auto tag = read_at<wire::vlan_tag>(frame, 0);
        s.vlan = tag->id();
        s.type = tag->type.host();
        frame.remove_prefix(sizeof *tag);
    }
    if (s.type == 0x0806) {
        s.arp = read_at<wire::arp_packet>(frame, 0);
        s.sound = s.arp.has_value();
        return s;
    }
    bool lengths = false;
    if (const auto h = read_at<wire::ipv4_header>(frame, 0); s.type == 0x0800 && h) {
        s.source = h->source;
        s.destination = h->destination;
        s.protocol = h->protocol;
        s.hop_limit = h->ttl;
        s.traffic_class = h->tos;
        s.identification = h->identification.host();
        s.dont_fragment = h->dont_fragment();
        s.fragment = h->is_fragment();
        s.more = h->more_fragments();
        s.offset = h->fragment_offset();
        lengths = h->total_length.host() == frame.size() &&
                  wire::ipv4_checksum_good(*reinterpret_cast<const wire::ipv4_header*>(frame.data()));
        s.message = frame.substr(h->header_length());
    } else if (const auto h6 = read_at<wire::ipv6_header>(frame, 0); s.type == 0x86dd && h6) {
        s.source = h6->source;
        s.destination = h6->destination;
        s.protocol = h6->next_header;
        s.hop_limit = h6->hop_limit;
        s.traffic_class = h6->traffic_class();
        lengths = h6->payload_length.host() + sizeof *h6 == frame.size();
        s.message = frame.substr(sizeof *h6);
        if (const auto f = read_at<wire::ipv6_fragment_header>(s.message, 0); s.protocol == IPPROTO_FRAGMENT && f) {
            s.protocol = f->next_header;
            s.identification = f->identification.host();
            s.fragment = true;
            s.more = f->more();
            s.offset = f->offset();
            s.message.erase(0, sizeof *f);
        }
    }
    s.sound = lengths && (s.fragment || read_message(s));
    return s;
}

/// Puts the fragments of one datagram together again; `sound` is false if they do not fit.
inline seen joined(const std::vector<std::string>& frames) {
    std::vector<seen> parts;
    bool sound = !frames.empty();
    for (const auto& f : frames) parts.push_back(look(f));
    std::sort(parts.begin(), parts.end(), [](const seen& a, const seen& b) { return a.offset < b.offset; });
    seen whole = sound ? parts.front() : seen{};
    whole.message.clear();
    for (const seen& p : parts) {
        sound = sound && p.sound && p.fragment && p.identification == whole.identification &&
                p.offset == whole.message.size();
        sound = sound && p.more == (&p != &parts.back());
        whole.message += p.message;
    }
    whole.sound = sound && read_message(whole);
    return whole;
}

}  // namespace skua::test
