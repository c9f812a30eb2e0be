// Tests of the headers: where each field lies, and what the accessors make of it.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "wire/arp.hh"
#include "wire/ethernet.hh"
#include "wire/icmp.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"
#include "wire/udp.hh"

namespace skua::wire {
namespace {

/// Header of type T from its bytes on the wire.
template <class T, std::size_t N>
T from(const std::array<std::uint8_t, N>& raw) {
    static_assert(sizeof(T) == N && alignof(T) == 1);
    T h;
    std::memcpy(static_cast<void*>(&h), raw.data(), N);
    return h;
}

TEST(headers, ethernet) {
    const auto h =
        from<ethernet_header>(std::array<std::uint8_t, 14>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x86, 0xdd});
    EXPECT_EQ(h.destination, (mac_address{{1, 2, 3, 4, 5, 6}}));
    EXPECT_EQ(h.source, (mac_address{{7, 8, 9, 10, 11, 12}}));
    EXPECT_EQ(static_cast<ether_type>(h.type.host()), ether_type::ipv6);
}

TEST(headers, vlan) {
    const auto t = from<vlan_tag>(std::array<std::uint8_t, 4>{0xbf, 0xff, 0x08, 0x00});
    EXPECT_EQ(t.id(), 0xfff);
    EXPECT_EQ(t.priority(), 5);
    EXPECT_EQ(static_cast<ether_type>(t.type.host()), ether_type::ipv4);
    const auto other =
        from<vlan_tag>(std::array<std::uint8_t, 4>{0x50, 0x64, 0x08, 0x06});  // with the drop-eligible bit
    EXPECT_EQ(other.id(), 100);
    EXPECT_EQ(other.priority(), 2);
}

TEST(headers, arp) {
    const std::array<std::uint8_t, 28> raw{0,  1, 8, 0, 6,    4,    0, 2, 0x52, 0x54, 0,  0, 0, 1,
                                           10, 0, 0, 1, 0x52, 0x54, 0, 0, 0,    2,    10, 0, 0, 2};
    const auto a = from<arp_packet>(raw);
    EXPECT_TRUE(a.is_ipv4_over_ethernet());
    EXPECT_EQ(a.operation.host(), arp_reply);
    EXPECT_EQ(a.sender_mac, (mac_address{{0x52, 0x54, 0, 0, 0, 1}}));
    EXPECT_EQ(a.sender_ip, ipv4_address(10, 0, 0, 1));
    EXPECT_EQ(a.target_mac, (mac_address{{0x52, 0x54, 0, 0, 0, 2}}));
    EXPECT_EQ(a.target_ip, ipv4_address(10, 0, 0, 2));
    for (std::size_t i = 0; i < 6; i++) {
        auto other = raw;
        other[i] ^= 0x10;
        EXPECT_FALSE(from<arp_packet>(other).is_ipv4_over_ethernet()) << i;
    }
}

TEST(headers, ipv4) {
    const auto h = from<ipv4_header>(std::array<std::uint8_t, 20>{
        0x46, 0xb8, 0x01, 0x02, 0x03, 0x04, 0x40, 0x00, 64, 17, 0xaa, 0xbb, 10, 0, 0, 1, 10, 0, 0, 2});
    EXPECT_EQ(h.version(), 4u);
    EXPECT_EQ(h.header_length(), 24u);
    EXPECT_EQ(h.tos, 0xb8);
    EXPECT_EQ(h.total_length.host(), 0x0102);
    EXPECT_EQ(h.identification.host(), 0x0304);
    EXPECT_EQ(h.ttl, 64);
    EXPECT_EQ(h.protocol, 17);
    EXPECT_EQ(h.checksum.host(), 0xaabb);
    EXPECT_EQ(h.source, ipv4_address(10, 0, 0, 1));
    EXPECT_EQ(h.destination, ipv4_address(10, 0, 0, 2));
    EXPECT_TRUE(h.dont_fragment());
    EXPECT_FALSE(h.is_fragment());
}

TEST(headers, ipv4_fragments) {
    ipv4_header h{};
    h.flags_fragment = be16(0x2000);  // the first
    EXPECT_TRUE(h.is_fragment() && h.more_fragments() && !h.dont_fragment());
    EXPECT_EQ(h.fragment_offset(), 0u);
    h.flags_fragment = be16(0x1fff);  // the last, as far out as can be
    EXPECT_TRUE(h.is_fragment() && !h.more_fragments() && !h.dont_fragment());
    EXPECT_EQ(h.fragment_offset(), 65528u);
    h.flags_fragment = be16(0x6001);
    EXPECT_TRUE(h.is_fragment() && h.more_fragments() && h.dont_fragment());
    EXPECT_EQ(h.fragment_offset(), 8u);
    h.flags_fragment = be16(0x8000);  // the reserved bit makes no fragment
    EXPECT_FALSE(h.is_fragment() || h.more_fragments() || h.dont_fragment());
}

TEST(headers, ipv4_lengths_that_lie) {
    ipv4_header h{};
    EXPECT_EQ(h.header_length(), 0u);
    h.version_ihl = 0xff;
    EXPECT_EQ(h.version(), 15u);
    EXPECT_EQ(h.header_length(), 60u);
}

TEST(headers, ipv6) {
    std::array<std::uint8_t, 40> raw{0x6b, 0x8a, 0xbc, 0xde, 0x12, 0x34, 17, 63, 0x20, 0x01};
    raw[23] = 1;
    raw[24] = 0xff;
    raw[39] = 2;
    const auto h = from<ipv6_header>(raw);
    EXPECT_EQ(h.version(), 6u);
    EXPECT_EQ(h.traffic_class(), 0xb8);
    EXPECT_EQ(h.flow_label(), 0xabcdeu);
    EXPECT_EQ(h.payload_length.host(), 0x1234);
    EXPECT_EQ(h.next_header, 17);
    EXPECT_EQ(h.hop_limit, 63);
    EXPECT_EQ(ip_address(h.source).to_string(), "2001::1");
    EXPECT_EQ(ip_address(h.destination).to_string(), "ff00::2");
}

TEST(headers, ipv6_extensions) {
    EXPECT_EQ((ipv6_extension{17, 0}.length()), 8u);
    EXPECT_EQ((ipv6_extension{17, 255}.length()), 2048u);
    const auto f = from<ipv6_fragment_header>(std::array<std::uint8_t, 8>{17, 0, 0xff, 0xf9, 1, 2, 3, 4});
    EXPECT_EQ(f.next_header, 17);
    EXPECT_EQ(f.offset(), 65528u);
    EXPECT_TRUE(f.more());
    EXPECT_EQ(f.identification.host(), 0x01020304u);
    const auto g =
        from<ipv6_fragment_header>(std::array<std::uint8_t, 8>{17, 0, 0x00, 0x0e, 0, 0, 0, 0});  // reserved bits set
    EXPECT_EQ(g.offset(), 8u);
    EXPECT_FALSE(g.more());
}

TEST(headers, udp) {
    const auto h = from<udp_header>(std::array<std::uint8_t, 8>{0x14, 0xe9, 0x00, 0x35, 0x00, 0x0d, 0xab, 0xcd});
    EXPECT_EQ(h.source_port.host(), 5353);
    EXPECT_EQ(h.destination_port.host(), 53);
    EXPECT_EQ(h.length.host(), 13);
    EXPECT_EQ(h.checksum.host(), 0xabcd);
}

TEST(headers, icmp) {
    const auto h = from<icmp_header>(std::array<std::uint8_t, 8>{3, 4, 0xab, 0xcd, 0, 0, 0x05, 0xdc});
    EXPECT_EQ(h.type, icmp4::unreachable);
    EXPECT_EQ(h.code, icmp4::code_fragmentation_needed);
    EXPECT_EQ(h.checksum.host(), 0xabcd);
    EXPECT_EQ(h.rest.host(), 1500u);
}

TEST(headers, neighbour_discovery) {
    std::array<std::uint8_t, 24> raw{136, 0, 0, 0, 0x60, 0, 0, 0, 0xfe, 0x80};
    raw[23] = 9;
    const auto m = from<nd_message>(raw);
    EXPECT_EQ(m.icmp.type, icmp6::neighbor_advertisement);
    EXPECT_EQ(m.icmp.rest.host(), nd_solicited | nd_override);
    EXPECT_EQ(ip_address(m.target).to_string(), "fe80::9");
    const auto o = from<nd_link_option>(std::array<std::uint8_t, 8>{2, 1, 0x52, 0x54, 0, 0, 0, 3});
    EXPECT_EQ(o.type, nd_target_link);
    EXPECT_EQ(o.length_units, 1);
    EXPECT_EQ(o.mac, (mac_address{{0x52, 0x54, 0, 0, 0, 3}}));
}

TEST(multicast_mac, of_ipv4_takes_23_bits) {
    EXPECT_EQ(to_string(multicast_mac(ipv4_address(224, 0, 0, 1))), "01:00:5e:00:00:01");
    EXPECT_EQ(to_string(multicast_mac(ipv4_address(239, 255, 255, 255))), "01:00:5e:7f:ff:ff");
    EXPECT_EQ(multicast_mac(ipv4_address(224, 129, 2, 3)), multicast_mac(ipv4_address(239, 1, 2, 3)));
    EXPECT_TRUE(multicast_mac(ipv4_address(224, 0, 0, 1)).is_multicast());
}

TEST(multicast_mac, of_ipv6_takes_32_bits) {
    EXPECT_EQ(to_string(multicast_mac(*ip_address::parse("ff02::1:ff12:3456"))), "33:33:ff:12:34:56");
    EXPECT_EQ(to_string(multicast_mac(*ip_address::parse("ff02::1"))), "33:33:00:00:00:01");
    EXPECT_TRUE(multicast_mac(*ip_address::parse("ff02::1")).is_multicast());
}

}  // namespace
}  // namespace skua::wire
