// Packets for the tests of IP and ICMP, and a shard's IP layer to give them to.
#pragma once

#include <netinet/in.h>

#include <algorithm>
#include <cstdlib>

#include "net/ethernet_input.hh"
#include "net/icmp_input.hh"
#include "net/ipv4_input.hh"
#include "net/ipv6_input.hh"
#include "net/test_support.hh"
#include "wire/checksum.hh"
#include "wire/ethernet.hh"
#include "wire/icmp.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"
#include "wire/udp.hh"

namespace skua::net::test {

template <class T>
std::string raw(const T& header) {
    return std::string(reinterpret_cast<const char*>(&header), sizeof header);
}
template <class T>
T& at(std::string& bytes, std::size_t offset = 0) {
    return *reinterpret_cast<T*>(bytes.data() + offset);
}
template <class T>
T header_of(const packet::packet& p, std::size_t offset = 0) {
    T out{};
    EXPECT_TRUE(p.read(static_cast<std::uint32_t>(offset), {reinterpret_cast<std::byte*>(&out), sizeof out}));
    return out;
}

inline std::span<const std::byte> as_bytes(const std::string& s) {
    return std::as_bytes(std::span(s.data(), s.size()));
}

inline std::string ethernet(std::string_view to, wire::ether_type type, const std::string& payload) {
    return raw(wire::ethernet_header{mac(to), mac("02:00:00:00:00:99"), be16(static_cast<std::uint16_t>(type))}) +
           payload;
}
inline std::string tagged(std::string_view to, std::uint16_t tci, wire::ether_type type, const std::string& payload) {
    const wire::vlan_tag tag{be16(tci), be16(static_cast<std::uint16_t>(type))};
    return ethernet(to, wire::ether_type::vlan, raw(tag) + payload);
}

struct ipv4_spec {
    std::string source = "198.18.0.2";
    std::string destination = "198.18.0.1";
    std::uint8_t protocol = IPPROTO_UDP;
    std::uint8_t ttl = 57;
    std::uint8_t tos = 0;
    std::uint16_t identification = 1;
    std::uint16_t flags_fragment = 0;
    std::string options = "";  // a multiple of 4
};
inline void fix_checksum(std::string& datagram) { wire::set_ipv4_checksum(at<wire::ipv4_header>(datagram)); }
inline std::string ipv4(const ipv4_spec& s, const std::string& payload) {
    wire::ipv4_header h{};
    h.version_ihl = static_cast<std::uint8_t>(0x40 | (5 + s.options.size() / 4));
    h.tos = s.tos;
    h.total_length = be16(static_cast<std::uint16_t>(20 + s.options.size() + payload.size()));
    h.identification = be16(s.identification);
    h.flags_fragment = be16(s.flags_fragment);
    h.ttl = s.ttl;
    h.protocol = s.protocol;
    h.source = ip(s.source).v4();
    h.destination = ip(s.destination).v4();
    std::string all = raw(h) + s.options + payload;
    fix_checksum(all);
    return all;
}

struct ipv6_spec {
    std::string source = "2001:db8::2";
    std::string destination = "2001:db8::1";
    std::uint8_t next_header = IPPROTO_UDP;
    std::uint8_t hop_limit = 57;
    std::uint8_t traffic_class = 0;
};
inline std::string ipv6(const ipv6_spec& s, const std::string& payload) {
    wire::ipv6_header h{};
    h.version_class_flow = be32(6u << 28 | std::uint32_t(s.traffic_class) << 20);
    h.payload_length = be16(static_cast<std::uint16_t>(payload.size()));
    h.next_header = s.next_header;
    h.hop_limit = s.hop_limit;
    h.source = ip(s.source).v6();
    h.destination = ip(s.destination).v6();
    return raw(h) + payload;
}
inline std::string fragment_header(std::uint8_t next, std::uint32_t offset, bool more, std::uint32_t id) {
    return raw(wire::ipv6_fragment_header{next, 0, be16(static_cast<std::uint16_t>(offset | more)), be32(id)});
}

inline std::string udp(std::uint16_t from, std::uint16_t to, const std::string& payload) {
    return raw(wire::udp_header{be16(from), be16(to), be16(static_cast<std::uint16_t>(8 + payload.size())), {}}) +
           payload;
}
inline std::string icmp4(std::uint8_t type, std::uint8_t code, std::uint32_t rest, const std::string& body) {
    std::string all = raw(wire::icmp_header{type, code, {}, be32(rest)}) + body;
    wire::checksum_sum sum;
    sum.add(as_bytes(all));
    at<wire::icmp_header>(all).checksum = sum.finish();
    return all;
}
inline std::string icmp6(const ipv6_spec& s, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
                         const std::string& body) {
    std::string all = raw(wire::icmp_header{type, code, {}, be32(rest)}) + body;
    wire::checksum_sum sum;
    sum.add_pseudo_header(ip(s.source), ip(s.destination), IPPROTO_ICMPV6, static_cast<std::uint32_t>(all.size()));
    sum.add(as_bytes(all));
    at<wire::icmp_header>(all).checksum = sum.finish();
    return all;
}

/// Is the checksum of an ICMP or ICMPv6 message, which fills the rest of the datagram from `offset` on, right?
inline bool icmp_checksum_good(const packet::packet& datagram, std::uint32_t offset, bool v4) {
    const std::uint32_t length = datagram.size() - offset;
    wire::checksum_sum sum;
    if (!v4) {
        const auto h = header_of<wire::ipv6_header>(datagram);
        sum.add_pseudo_header(h.source, h.destination, IPPROTO_ICMPV6, length);
    }
    sum.add(datagram.get(), offset, length);
    return sum.finish() == be16{};
}

inline std::string pattern(std::size_t length) {
    std::string s(length, '\0');
    for (std::size_t i = 0; i < length; i++) s[i] = static_cast<char>(i * 31 + (i >> 8) * 7);
    return s;
}

/// A packet whose buffer ends, and begins, with its data, so that a sanitizer sees every step outside.
inline packet::packet make_exact(rte_mempool* pool, const std::string& bytes) {
    struct buffer {
        rte_mbuf_ext_shared_info shared;
        char* data;
    };
    auto* b = new buffer;
    b->data = static_cast<char*>(std::malloc(bytes.size()));
    std::memcpy(b->data, bytes.data(), bytes.size());
    b->shared.fcb_opaque = b;
    b->shared.free_cb = [](void*, void* opaque) {
        auto* gone = static_cast<buffer*>(opaque);
        std::free(gone->data);
        delete gone;
    };
    rte_mbuf_ext_refcnt_set(&b->shared, 1);
    packet::packet p(rte_pktmbuf_alloc(pool));
    const auto length = static_cast<std::uint16_t>(bytes.size());
    rte_pktmbuf_attach_extbuf(p.get(), b->data, RTE_BAD_IOVA, length, &b->shared);
    p.get()->data_off = 0;
    p.get()->data_len = length;
    p.get()->pkt_len = length;
    return p;
}

/// The bytes in several segments of at most `piece` bytes, the first being `first` bytes long.
inline packet::packet make_segments(rte_mempool* pool, const std::string& bytes, std::size_t first, std::size_t piece) {
    packet::packet p = make_packet(pool, bytes.data(), std::min(first, bytes.size()));
    for (std::size_t at = first; at < bytes.size(); at += piece) {
        packet::packet next = make_packet(pool, bytes.data() + at, std::min(piece, bytes.size() - at));
        EXPECT_EQ(rte_pktmbuf_chain(p.get(), next.release()), 0);
    }
    return p;
}

inline constexpr const char* our_mac = "02:00:00:00:00:01";

/// The host of net_test with the IP layer of one shard.
class ip_test : public net_test {
protected:
    struct test_groups final : group_filter {
        std::vector<ip_address> joined;
        bool is_joined(const ip_address& g, std::uint32_t) const override {
            return std::find(joined.begin(), joined.end(), g) != joined.end();
        }
    };

    /// What rx_path does, up to UDP.
    packet::verdict receive(packet::packet& p) {
        using packet::step;
        const context c = ctx();
        info = {};
        p.get()->port = 0;
        packet::verdict v = ethernet_input(p, info, c);
        if (v.next == step::ipv4) v = ipv4_input(p, info, c, parts);
        else if (v.next == step::ipv6) v = ipv6_input(p, info, c, parts);
        if (v.next == step::icmp4) v = icmp4_input(p, info, c, report);
        else if (v.next == step::icmp6) v = icmp6_input(p, info, c, report);
        return v;
    }
    packet::verdict receive(const std::string& frame) {
        last = make_exact(pool.get(), frame);
        return receive(last);
    }
    packet::verdict receive4(const ipv4_spec& s, const std::string& payload) {
        return receive(ethernet(our_mac, wire::ether_type::ipv4, ipv4(s, payload)));
    }
    packet::verdict receive6(const ipv6_spec& s, const std::string& payload) {
        return receive(ethernet(our_mac, wire::ether_type::ipv6, ipv6(s, payload)));
    }
    /// The whole frame must give `whole`; cut anywhere, it must give a drop, and nothing may be read past the cut.
    void cut_everywhere(const std::string& frame, packet::verdict whole) {
        EXPECT_EQ(receive(frame), whole);
        for (std::size_t n = 0; n < frame.size(); n++)
            EXPECT_EQ(receive(frame.substr(0, n)).next, packet::step::drop) << "at " << n;
    }
    std::string payload_seen() const { return bytes_of(last).substr(info.l4_offset, info.l4_length); }
    void TearDown() override {
        last.reset();
        // What is still held goes when its time is over.
        advance(std::chrono::seconds(61));
        for (int i = 0; i < 100; i++) fragments.tick(ctx());
        EXPECT_EQ(fragments.size(), 0u);
        EXPECT_EQ(fragments.bytes(), 0u);
        net_test::TearDown();
    }

    icmp_output errors{out, random, {.per_second = 1000000000, .burst = 1000, .destination_interval = nanoseconds(0)}};
    reassembler fragments{out, errors, random};
    test_groups groups;
    ip_parts parts{fragments, errors, &groups};
    packet::rx_info info;
    icmp_report report;
    packet::packet last;
};

}  // namespace skua::net::test
