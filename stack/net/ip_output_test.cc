// Headers on the way out, and who computes which checksum.
#include "net/ip_output.hh"

#include <set>

#include "net/ip_test_support.hh"

namespace skua::net::test {
namespace {

class ip_output_test : public net_test {
protected:
    static constexpr std::uint64_t wishes = RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IP_CKSUM;

    packet::packet datagram(bool v4, const std::string& payload) {
        packet::packet p = make(udp(1000, 2000, payload));
        p.get()->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
        ip_fields f{.source = ip(v4 ? "198.18.0.1" : "2001:db8::1"),
                    .destination = ip(v4 ? "198.18.0.2" : "2001:db8::2")};
        f.protocol = IPPROTO_UDP;
        EXPECT_TRUE(prepend_ip(p, f));
        return p;
    }
    /// Of the UDP datagram with its pseudo header: 0 if the checksum is right.
    static be16 udp_residue(const packet::packet& p, const ip_address& from, const ip_address& to,
                            std::uint32_t offset) {
        wire::checksum_sum sum;
        sum.add_pseudo_header(from, to, IPPROTO_UDP, p.size() - offset);
        sum.add(p.get(), offset, p.size() - offset);
        return sum.finish();
    }
};

TEST_F(ip_output_test, builds_an_ipv4_header) {
    packet::packet p = make("payload");
    ASSERT_TRUE(prepend_ip(p, {.source = ip("198.18.0.1"),
                               .destination = ip("198.18.0.2"),
                               .protocol = 17,
                               .hop_limit = 9,
                               .traffic_class = 0xb9,
                               .dont_fragment = true,
                               .identification = 0x1234}));
    const auto h = header_of<wire::ipv4_header>(p);
    EXPECT_EQ(h.version_ihl, 0x45);
    EXPECT_EQ(h.tos, 0xb9);
    EXPECT_EQ(h.total_length.host(), 27);
    EXPECT_EQ(h.identification.host(), 0x1234);
    EXPECT_EQ(h.flags_fragment.host(), 0x4000);
    EXPECT_EQ(h.ttl, 9);
    EXPECT_EQ(h.protocol, 17);
    EXPECT_EQ(h.source, ip("198.18.0.1").v4());
    EXPECT_EQ(h.destination, ip("198.18.0.2").v4());
    EXPECT_TRUE(p.get()->ol_flags & RTE_MBUF_F_TX_IP_CKSUM);
    finish_checksums(p, {});
    EXPECT_TRUE(wire::ipv4_checksum_good(*p.header<wire::ipv4_header>(0)));
    EXPECT_EQ(bytes_of(p).substr(20), "payload");
}

TEST_F(ip_output_test, builds_an_ipv6_header) {
    packet::packet p = make("payload");
    ASSERT_TRUE(prepend_ip(p, {.source = ip("2001:db8::1"),
                               .destination = ip("2001:db8::2"),
                               .protocol = 17,
                               .hop_limit = 9,
                               .traffic_class = 0xb9,
                               .flow_label = 0xabcde}));
    const auto h = header_of<wire::ipv6_header>(p);
    EXPECT_EQ(h.version_class_flow.host(), 0x6b9abcdeu);
    EXPECT_EQ(h.payload_length.host(), 7);
    EXPECT_EQ(h.next_header, 17);
    EXPECT_EQ(h.hop_limit, 9);
    EXPECT_EQ(h.source, ip("2001:db8::1").v6());
    EXPECT_EQ(h.destination, ip("2001:db8::2").v6());
}

TEST_F(ip_output_test, refuses_without_headroom_or_beyond_the_length_field) {
    packet::packet p = make("x");
    ASSERT_NE(p.prepend(rte_pktmbuf_headroom(p.get()) - 19), nullptr);
    const std::string before = bytes_of(p);
    EXPECT_FALSE(prepend_ip(p, {.source = ip("198.18.0.1"), .destination = ip("198.18.0.2")}));
    EXPECT_FALSE(prepend_ip(p, {.source = ip("2001:db8::1"), .destination = ip("2001:db8::2")}));
    EXPECT_EQ(bytes_of(p), before);

    const ip_fields v4{.source = ip("198.18.0.1"), .destination = ip("198.18.0.2")};
    const ip_fields v6{.source = ip("2001:db8::1"), .destination = ip("2001:db8::2")};
    for (const auto& [fields, most] : {std::pair(v4, 65515u), std::pair(v6, 65535u)}) {
        packet::packet fits = packet::allocate(pool.get(), most);
        EXPECT_TRUE(prepend_ip(fits, fields));
        packet::packet too_long = packet::allocate(pool.get(), most + 1);
        EXPECT_FALSE(prepend_ip(too_long, fields));
        EXPECT_EQ(too_long.size(), most + 1);
    }
}

TEST_F(ip_output_test, computes_what_the_port_cannot) {
    for (const bool v4 : {true, false})
        for (const std::size_t length : {0, 1, 2, 1400, 5001}) {
            packet::packet p = datagram(v4, pattern(length));
            finish_checksums(p, {});
            EXPECT_EQ(p.get()->ol_flags & wishes, 0u);
            const ip_address from = ip(v4 ? "198.18.0.1" : "2001:db8::1"), to = ip(v4 ? "198.18.0.2" : "2001:db8::2");
            EXPECT_EQ(udp_residue(p, from, to, v4 ? 20 : 40), be16{});
            EXPECT_NE(header_of<wire::udp_header>(p, v4 ? 20 : 40).checksum, be16{});
            if (v4) {
                EXPECT_TRUE(wire::ipv4_checksum_good(*p.header<wire::ipv4_header>(0)));
            }
        }
}

TEST_F(ip_output_test, a_checksum_of_zero_is_sent_as_ones) {
    packet::packet p = datagram(true, std::string(2, '\0'));
    finish_checksums(p, {});
    // The payload that makes the sum come out as zero.
    const be16 c = header_of<wire::udp_header>(p, 20).checksum;
    packet::packet q = datagram(true, raw(c));
    finish_checksums(q, {});
    EXPECT_EQ(header_of<wire::udp_header>(q, 20).checksum.host(), 0xffff);
}

TEST_F(ip_output_test, leaves_to_the_port_what_it_can) {
    for (const bool v4 : {true, false}) {
        packet::packet p = datagram(v4, "hello");
        finish_checksums(p, {.ipv4_checksum = true, .udp_checksum = true});
        const std::uint64_t family = v4 ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : RTE_MBUF_F_TX_IPV6;
        EXPECT_EQ(p.get()->ol_flags, family | RTE_MBUF_F_TX_UDP_CKSUM);
        EXPECT_EQ(p.get()->l3_len, v4 ? 20 : 40);
        wire::checksum_sum pseudo;
        pseudo.add_pseudo_header(ip(v4 ? "198.18.0.1" : "2001:db8::1"), ip(v4 ? "198.18.0.2" : "2001:db8::2"),
                                 IPPROTO_UDP, 13);
        EXPECT_EQ(header_of<wire::udp_header>(p, v4 ? 20 : 40).checksum, pseudo.folded());
        if (v4) {
            EXPECT_EQ(header_of<wire::ipv4_header>(p).checksum, be16{});
        }
    }
}

TEST_F(ip_output_test, each_checksum_goes_its_own_way) {
    packet::packet p = datagram(true, "hello");
    finish_checksums(p, {.udp_checksum = true});
    EXPECT_EQ(p.get()->ol_flags, RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM);
    EXPECT_TRUE(wire::ipv4_checksum_good(*p.header<wire::ipv4_header>(0)));
    packet::packet q = datagram(true, "hello");
    finish_checksums(q, {.ipv4_checksum = true});
    EXPECT_EQ(q.get()->ol_flags, RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM);
    EXPECT_EQ(udp_residue(q, ip("198.18.0.1"), ip("198.18.0.2"), 20), be16{});
}

TEST_F(ip_output_test, identifications_do_not_repeat_soon) {
    identifications ids(random);
    std::set<std::uint16_t> seen;
    for (int n = 0; n < 65536; n++)
        EXPECT_TRUE(seen.insert(ids.ipv4(ip("198.18.0.1"), ip("198.18.0.2"), false)).second);
    EXPECT_EQ(ids.ipv4(ip("198.18.0.1"), ip("198.18.0.2"), true), 0);
    EXPECT_NE(ids.ipv6(), ids.ipv6());
    seeded_random other(2);
    identifications elsewhere(other);
    EXPECT_NE(ids.ipv4(ip("198.18.0.1"), ip("198.18.0.2"), false),
              elsewhere.ipv4(ip("198.18.0.1"), ip("198.18.0.2"), false));
}

}  // namespace
}  // namespace skua::net::test
