// IPv4 input: every check, options, and frames cut anywhere.
#include "net/ipv4_input.hh"

#include "net/ip_test_support.hh"

namespace skua::net::test {
namespace {

using packet::step;
using packet::verdict;
using wire::ether_type;

class ipv4_input_test : public ip_test {
protected:
    /// A good datagram that `spoil` changes; its checksum is made right again.
    verdict spoiled(const std::function<void(wire::ipv4_header&)>& spoil) {
        std::string d = ipv4({}, udp(1, 2, "hello"));
        spoil(at<wire::ipv4_header>(d));
        if (at<wire::ipv4_header>(d).header_length() == 20) fix_checksum(d);
        return receive(ethernet(our_mac, ether_type::ipv4, d));
    }
    std::uint64_t count(mib m) const { return mibs.get(m); }
};

TEST_F(ipv4_input_test, describes_a_datagram) {
    EXPECT_EQ(receive4({}, udp(1000, 53, "hello")), verdict(step::udp));
    EXPECT_EQ(info.flow.remote, ip("198.18.0.2"));
    EXPECT_EQ(info.flow.local, ip("198.18.0.1"));
    EXPECT_EQ(info.family, ip_family::v4);
    EXPECT_EQ(info.protocol, IPPROTO_UDP);
    EXPECT_EQ(info.hop_limit, 57);
    EXPECT_EQ(info.l4_offset, 34);
    EXPECT_EQ(info.l4_length, 13u);
    EXPECT_FALSE(info.to_broadcast || info.to_multicast);
    EXPECT_EQ(count(mib::ip_in_receives), 1u);
    EXPECT_EQ(count(mib::ip_in_delivers), 1u);
}

TEST_F(ipv4_input_test, cuts_off_ethernet_padding) {
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv4, ipv4({}, udp(1, 2, "x")) + std::string(17, '\0'))),
              verdict(step::udp));
    EXPECT_EQ(last.size(), 14u + 20 + 9);
    EXPECT_EQ(info.l4_length, 9u);
}

TEST_F(ipv4_input_test, refuses_frames_cut_anywhere) {
    cut_everywhere(ethernet(our_mac, ether_type::ipv4, ipv4({.options = std::string(8, '\1')}, udp(1, 2, "hello"))),
                   step::udp);
}

TEST_F(ipv4_input_test, refuses_bad_headers) {
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv4, std::string(19, '\x45'))),
              verdict(drop_reason::ipv4_truncated));
    EXPECT_EQ(spoiled([](auto& h) { h.version_ihl = 0x55; }), verdict(drop_reason::ipv4_bad_version));
    EXPECT_EQ(spoiled([](auto& h) { h.version_ihl = 0x44; }), verdict(drop_reason::ipv4_bad_header_length));
    EXPECT_EQ(spoiled([](auto& h) { h.version_ihl = 0x4f; }), verdict(drop_reason::ipv4_bad_header_length));
    EXPECT_EQ(spoiled([](auto& h) { h.total_length = be16(19); }), verdict(drop_reason::ipv4_bad_total_length));
    EXPECT_EQ(count(mib::ip_in_hdr_errors), 5u);
    EXPECT_EQ(spoiled([](auto& h) { h.total_length = be16(34); }), verdict(drop_reason::ipv4_bad_total_length));
    EXPECT_EQ(count(mib::ip_in_delivers), 0u);
}

TEST_F(ipv4_input_test, checks_the_checksum_unless_the_nic_did) {
    std::string bad = ethernet(our_mac, ether_type::ipv4, ipv4({}, udp(1, 2, "x")));
    bad[14 + 8]++;
    const std::string good = ethernet(our_mac, ether_type::ipv4, ipv4({}, udp(1, 2, "x")));
    const auto with = [this](const std::string& frame, std::uint64_t flags) {
        last = make_exact(pool.get(), frame);
        last.get()->ol_flags |= flags;
        return receive(last);
    };
    EXPECT_EQ(with(bad, RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN), verdict(drop_reason::ipv4_bad_checksum));
    EXPECT_EQ(with(good, RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN), verdict(step::udp));
    EXPECT_EQ(with(good, RTE_MBUF_F_RX_IP_CKSUM_BAD), verdict(drop_reason::ipv4_bad_checksum));
    EXPECT_EQ(with(bad, RTE_MBUF_F_RX_IP_CKSUM_GOOD), verdict(step::udp));
    EXPECT_EQ(with(bad, RTE_MBUF_F_RX_IP_CKSUM_NONE), verdict(step::udp));
    EXPECT_EQ(count(mib::ip_in_hdr_errors), 2u);
}

TEST_F(ipv4_input_test, ignores_harmless_options) {
    // no operation, record route, end
    EXPECT_EQ(receive4({.options = std::string("\x01\x07\x07\x04\0\0\0\0\0\0\0\0", 12)}, udp(1, 2, "x")),
              verdict(step::udp));
    EXPECT_EQ(info.l4_offset, 14 + 32);
    // Behind the end of the list stands anything.
    EXPECT_EQ(receive4({.options = std::string("\x00\x83\xff\xff", 4)}, udp(1, 2, "x")), verdict(step::udp));
    EXPECT_TRUE(out.outputs.empty());
}

TEST_F(ipv4_input_test, refuses_bad_options_and_says_where) {
    const verdict no = drop_reason::ipv4_bad_options;
    EXPECT_EQ(receive4({.options = std::string("\x01\x07\x00\x04", 4)}, udp(1, 2, "x")), no);  // length 0
    EXPECT_EQ(receive4({.options = std::string("\x07\x01\x00\x00", 4)}, udp(1, 2, "x")), no);  // length 1
    EXPECT_EQ(receive4({.options = std::string("\x07\x05\x00\x00", 4)}, udp(1, 2, "x")), no);  // past the header
    EXPECT_EQ(receive4({.options = std::string("\x01\x01\x01\x07", 4)}, udp(1, 2, "x")), no);  // no length
    EXPECT_EQ(count(mib::ip_in_hdr_errors), 4u);
    ASSERT_EQ(out.outputs.size(), 4u);
    const auto h = header_of<wire::icmp_header>(out.outputs[0].p, 20);
    EXPECT_EQ(h.type, wire::icmp4::parameter_problem);
    EXPECT_EQ(h.code, 0);
    EXPECT_EQ(h.rest.host() >> 24, 22u);
}

TEST_F(ipv4_input_test, refuses_source_routes) {
    for (const char* kind : {"\x83", "\x89"})
        EXPECT_EQ(receive4({.options = kind + std::string("\x07\x04\xc6\x12\x00\x02\x00", 7)}, udp(1, 2, "x")),
                  verdict(drop_reason::ipv4_bad_options));
    EXPECT_TRUE(out.outputs.empty());
}

TEST_F(ipv4_input_test, refuses_impossible_sources) {
    for (const char* from :
         {"224.0.0.1", "255.255.255.255", "198.18.0.255", "127.0.0.1", "198.18.0.1", "0.0.0.0", "0.1.2.3"})
        EXPECT_EQ(receive4({.source = from}, udp(1, 2, "x")), verdict(drop_reason::ipv4_bad_source)) << from;
    // A host that asks for its address (DHCP).
    EXPECT_EQ(receive4({.source = "0.0.0.0", .destination = "255.255.255.255"}, udp(68, 67, "x")), verdict(step::udp));
    EXPECT_EQ(receive4({.source = "0.0.0.0", .destination = "198.18.0.255"}, udp(68, 67, "x")),
              verdict(drop_reason::ipv4_bad_source));
}

TEST_F(ipv4_input_test, takes_broadcast_and_joined_multicast) {
    for (const char* to : {"255.255.255.255", "198.18.0.255"}) {
        EXPECT_EQ(receive4({.destination = to}, udp(1, 2, "x")), verdict(step::udp)) << to;
        EXPECT_TRUE(info.to_broadcast);
        EXPECT_FALSE(info.to_multicast);
    }
    EXPECT_EQ(receive4({.destination = "224.0.0.1"}, udp(1, 2, "x")), verdict(step::udp));
    EXPECT_TRUE(info.to_multicast);
    EXPECT_FALSE(info.to_broadcast);
    EXPECT_EQ(receive4({.destination = "239.1.2.3"}, udp(1, 2, "x")), verdict(drop_reason::ipv4_not_local));
    groups.joined.push_back(ip("239.1.2.3"));
    EXPECT_EQ(receive4({.destination = "239.1.2.3"}, udp(1, 2, "x")), verdict(step::udp));
    EXPECT_EQ(count(mib::ip_in_addr_errors), 0u);
}

TEST_F(ipv4_input_test, a_unicast_datagram_in_a_broadcast_frame_is_unicast) {
    EXPECT_EQ(receive(ethernet("ff:ff:ff:ff:ff:ff", ether_type::ipv4, ipv4({}, udp(1, 2, "x")))), verdict(step::udp));
    EXPECT_FALSE(info.to_broadcast);
    EXPECT_TRUE(info.link_multicast);
}

TEST_F(ipv4_input_test, refuses_other_destinations) {
    for (const char* to : {"198.18.0.3", "10.0.0.1", "127.0.0.1", "0.0.0.0"})
        EXPECT_EQ(receive4({.destination = to}, udp(1, 2, "x")), verdict(drop_reason::ipv4_not_local)) << to;
    EXPECT_EQ(count(mib::ip_in_addr_errors), 4u);
}

TEST_F(ipv4_input_test, answers_unknown_protocols) {
    EXPECT_EQ(receive4({.protocol = IPPROTO_TCP}, std::string(20, 'x')), verdict(drop_reason::ipv4_unknown_protocol));
    EXPECT_EQ(count(mib::ip_in_unknown_protos), 1u);
    EXPECT_EQ(count(mib::ip_in_delivers), 0u);
    ASSERT_EQ(out.outputs.size(), 1u);
    const auto h = header_of<wire::icmp_header>(out.outputs[0].p, 20);
    EXPECT_EQ(h.type, wire::icmp4::unreachable);
    EXPECT_EQ(h.code, wire::icmp4::code_protocol);
}

TEST_F(ipv4_input_test, leaves_unknown_protocols_to_others_if_told) {
    parts.refuse_protocols = false;
    EXPECT_EQ(receive4({.protocol = IPPROTO_TCP}, std::string(20, 'x')), verdict(drop_reason::ipv4_unknown_protocol));
    EXPECT_TRUE(out.outputs.empty());
}

TEST_F(ipv4_input_test, trusts_what_we_sent_to_ourselves) {
    std::string d = ipv4({.source = "127.0.0.1", .destination = "127.0.0.5"}, udp(1, 2, "x"));
    at<wire::ipv4_header>(d).checksum = be16(0xdead);
    last = make_exact(pool.get(), d);
    info = {};
    ASSERT_EQ(loopback_input(last, info), verdict(step::ipv4));
    EXPECT_EQ(ipv4_input(last, info, ctx(), parts), verdict(step::udp));
    EXPECT_EQ(info.l4_offset, 20);
}

TEST_F(ipv4_input_test, payload_may_lie_in_any_segments) {
    const std::string body = pattern(1400);
    const std::string frame = ethernet(our_mac, ether_type::ipv4, ipv4({}, udp(1, 2, body)) + std::string(9, 'p'));
    for (std::size_t first : {256, 300, 1000})
        for (std::size_t piece : {1, 7, 500}) {
            if (piece == 1 && first < 1000) continue;
            last = make_segments(pool.get(), frame, first, piece);
            EXPECT_EQ(receive(last), verdict(step::udp));
            EXPECT_EQ(payload_seen(), udp(1, 2, body));
        }
}

}  // namespace
}  // namespace skua::net::test
