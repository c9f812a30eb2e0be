// Echo, reports about our datagrams, and messages cut anywhere.
#include "net/icmp_input.hh"

#include "net/ip_test_support.hh"

namespace skua::net::test {
namespace {

using packet::step;
using packet::verdict;
using wire::ether_type;

class icmp_input_test : public ip_test {
protected:
    static constexpr std::uint8_t icmp = IPPROTO_ICMP, icmpv6 = IPPROTO_ICMPV6;
    std::uint64_t count(mib m) const { return mibs.get(m); }
    /// What one of our datagrams looked like to the router that complains.
    static std::string ours4(const std::string& payload = "hello") {
        return ipv4({.source = "198.18.0.1", .destination = "10.0.0.7"}, udp(4000, 53, payload));
    }
    static std::string ours6(const std::string& payload = "hello") {
        return ipv6({.source = "2001:db8::1", .destination = "2001:db8:9::7"}, udp(4000, 53, payload));
    }
    static std::string frame4(const std::string& message, const ipv4_spec& s = {.protocol = icmp}) {
        return ethernet(our_mac, ether_type::ipv4, ipv4(s, message));
    }
    static std::string frame6(std::uint8_t type, std::uint8_t code, std::uint32_t rest, const std::string& body,
                              const ipv6_spec& s = {.next_header = icmpv6}) {
        return ethernet(our_mac, ether_type::ipv6, ipv6(s, icmp6(s, type, code, rest, body)));
    }
};

TEST_F(icmp_input_test, echo_becomes_its_reply) {
    for (const std::string& options : {std::string(), std::string(8, '\1')}) {
        ASSERT_EQ(
            receive(frame4(icmp4(8, 0, 0x12340001, pattern(99)), {.protocol = icmp, .tos = 4, .options = options}) +
                    "pad"),
            verdict(step::reply));
        const auto h = header_of<wire::ipv4_header>(last);
        EXPECT_EQ(h.version_ihl, 0x45);
        EXPECT_EQ(h.source, ip("198.18.0.1").v4());
        EXPECT_EQ(h.destination, ip("198.18.0.2").v4());
        EXPECT_EQ(h.total_length.host(), 20 + 8 + 99);
        EXPECT_EQ(h.ttl, 64);
        EXPECT_EQ(h.tos, 4);
        EXPECT_EQ(bytes_of(last).substr(20), icmp4(0, 0, 0x12340001, pattern(99)));
        EXPECT_EQ(last.size(), 127u);
    }
    EXPECT_EQ(count(mib::icmp_in_msgs), 2u);
    EXPECT_EQ(count(mib::icmp_in_echos), 2u);
    EXPECT_EQ(count(mib::icmp_out_echo_reps), 2u);
    EXPECT_EQ(count(mib::icmp_out_msgs), 2u);
}

TEST_F(icmp_input_test, echo6_becomes_its_reply) {
    const ipv6_spec s{.next_header = icmpv6, .traffic_class = 8};
    ASSERT_EQ(receive(frame6(128, 0, 7, pattern(50), s)), verdict(step::reply));
    const auto h = header_of<wire::ipv6_header>(last);
    EXPECT_EQ(h.source, ip("2001:db8::1").v6());
    EXPECT_EQ(h.destination, ip("2001:db8::2").v6());
    EXPECT_EQ(h.hop_limit, 64);
    EXPECT_EQ(h.traffic_class(), 8);
    EXPECT_EQ(header_of<wire::icmp_header>(last, 40).type, 129);
    EXPECT_TRUE(icmp_checksum_good(last, 40, false));
    EXPECT_EQ(bytes_of(last).substr(48), pattern(50));
    EXPECT_EQ(count(mib::icmp6_out_echo_replies), 1u);
}

TEST_F(icmp_input_test, the_reply_forgets_how_the_request_came) {
    last = make(frame4(icmp4(8, 0, 1, "x")));
    last.get()->ol_flags |= RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
    last.info().rx_time_ns = 12345;
    ASSERT_EQ(receive(last), verdict(step::reply));
    EXPECT_EQ(last.get()->ol_flags, RTE_MBUF_F_TX_IP_CKSUM);
    EXPECT_EQ(last.info().owner, nullptr);
}

TEST_F(icmp_input_test, echo_to_many) {
    EXPECT_EQ(receive(frame4(icmp4(8, 0, 1, "x"), {.destination = "198.18.0.255", .protocol = icmp})),
              verdict(drop_reason::icmp_ignored));
    EXPECT_EQ(receive(frame4(icmp4(8, 0, 1, "x"), {.destination = "224.0.0.1", .protocol = icmp})),
              verdict(drop_reason::icmp_ignored));
    // IPv6 answers from an address of its own.
    ASSERT_EQ(
        receive(frame6(128, 0, 7, "hello", {.source = "fe80::2", .destination = "ff02::1", .next_header = icmpv6})),
        verdict(step::reply));
    EXPECT_EQ(header_of<wire::ipv6_header>(last).source, ip("fe80::1").v6());
    EXPECT_TRUE(icmp_checksum_good(last, 40, false));
    // Nobody to answer to.
    EXPECT_EQ(receive(frame6(128, 0, 7, "hello", {.source = "::", .destination = "ff02::1", .next_header = icmpv6})),
              verdict(drop_reason::icmp_ignored));
}

TEST_F(icmp_input_test, echo_to_many_needs_a_way_back) {
    change([](topology_builder& b) {
        ASSERT_TRUE(b.remove_address(p0, ip("2001:db8::1")));
        ASSERT_TRUE(b.remove_address(p0, ip("fe80::1")));
    });
    EXPECT_EQ(
        receive(frame6(128, 0, 7, "x", {.source = "2001:db8:77::2", .destination = "ff02::1", .next_header = icmpv6})),
        verdict(drop_reason::tx_no_route));
}

TEST_F(icmp_input_test, refuses_short_messages_and_bad_checksums) {
    EXPECT_EQ(receive(frame4(std::string(7, 'x'))), verdict(drop_reason::icmp_truncated));
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv6, ipv6({.next_header = icmpv6}, std::string(7, 'x')))),
              verdict(drop_reason::icmp_truncated));
    std::string bad = icmp4(8, 0, 1, "hello");
    bad.back()++;
    EXPECT_EQ(receive(frame4(bad)), verdict(drop_reason::icmp_bad_checksum));
    bad = frame6(128, 0, 1, "hello");
    bad.back()++;
    EXPECT_EQ(receive(bad), verdict(drop_reason::icmp_bad_checksum));
    EXPECT_EQ(count(mib::icmp_in_errors), 2u);
    EXPECT_EQ(count(mib::icmp6_in_errors), 2u);
    EXPECT_EQ(count(mib::icmp_in_csum_errors), 1u);
    EXPECT_EQ(count(mib::icmp6_in_csum_errors), 1u);
}

TEST_F(icmp_input_test, reports_errors_about_our_datagrams) {
    ASSERT_EQ(receive(frame4(icmp4(3, 3, 0, ours4()), {.source = "10.0.0.7", .protocol = icmp})),
              verdict(step::report));
    EXPECT_EQ(report.flow.local, ip("198.18.0.1"));
    EXPECT_EQ(report.flow.remote, ip("10.0.0.7"));
    EXPECT_EQ(report.flow.local_port, 4000);
    EXPECT_EQ(report.flow.remote_port, 53);
    EXPECT_EQ(report.offender, ip("10.0.0.7"));
    EXPECT_EQ(report.ifindex, p0);
    EXPECT_EQ(report.family, ip_family::v4);
    EXPECT_EQ(report.type, 3);
    EXPECT_EQ(report.code, 3);
    EXPECT_EQ(report.error, ECONNREFUSED);
    EXPECT_TRUE(report.fatal);
    EXPECT_EQ(report.mtu, 0u);
    EXPECT_EQ(bytes_of(last).substr(report.payload_offset, report.payload_length), "hello");
    EXPECT_EQ(count(mib::icmp_in_dest_unreachs), 1u);
}

TEST_F(icmp_input_test, reports_path_mtus) {
    ASSERT_EQ(receive(frame4(icmp4(3, 4, 1400, ours4()))), verdict(step::report));
    EXPECT_EQ(report.error, EMSGSIZE);
    EXPECT_EQ(report.mtu, 1400u);
    ASSERT_EQ(receive(frame6(2, 0, 1300, ours6())), verdict(step::report));
    EXPECT_EQ(report.error, EMSGSIZE);
    EXPECT_EQ(report.mtu, 1300u);
    EXPECT_EQ(report.family, ip_family::v6);
    EXPECT_EQ(report.flow.local, ip("2001:db8::1"));
    EXPECT_EQ(report.flow.local_port, 4000);
    EXPECT_EQ(count(mib::icmp6_in_pkt_too_bigs), 1u);
}

TEST_F(icmp_input_test, reports_the_other_errors) {
    ASSERT_EQ(receive(frame4(icmp4(11, 0, 0, ours4()))), verdict(step::report));
    EXPECT_EQ(report.error, EHOSTUNREACH);
    ASSERT_EQ(receive(frame4(icmp4(12, 0, 20u << 24, ours4()))), verdict(step::report));
    EXPECT_EQ(report.error, EPROTO);
    EXPECT_EQ(report.pointer, 20u);
    ASSERT_EQ(receive(frame6(4, 1, 40, ours6())), verdict(step::report));
    EXPECT_EQ(report.pointer, 40u);
    ASSERT_EQ(receive(frame6(3, 0, 0, ours6())), verdict(step::report));
    ASSERT_EQ(receive(frame6(99, 0, 0, ours6())), verdict(step::report));
    EXPECT_EQ(report.error, EPROTO);
}

TEST_F(icmp_input_test, reads_quotes_with_extension_headers) {
    const std::string dst{IPPROTO_FRAGMENT, 0, 1, 4, 0, 0, 0, 0};
    const ipv6_spec s{.source = "2001:db8::1", .destination = "2001:db8:9::7", .next_header = IPPROTO_DSTOPTS};
    ASSERT_EQ(receive(frame6(1, 4, 0, ipv6(s, dst + fragment_header(IPPROTO_UDP, 0, true, 1) + udp(7, 8, "x")))),
              verdict(step::report));
    EXPECT_EQ(report.flow.local_port, 7);
    EXPECT_EQ(report.error, ECONNREFUSED);
    EXPECT_EQ(receive(frame6(1, 4, 0, ipv6(s, dst + fragment_header(IPPROTO_UDP, 8, true, 1) + udp(7, 8, "x")))),
              verdict(drop_reason::icmp_quote_malformed));
}

TEST_F(icmp_input_test, refuses_quotes_that_cannot_be_read) {
    const verdict no = drop_reason::icmp_quote_malformed;
    for (std::size_t n = 0; n < 28; n++) EXPECT_EQ(receive(frame4(icmp4(3, 3, 0, ours4().substr(0, n)))), no) << n;
    EXPECT_EQ(receive(frame4(icmp4(3, 3, 0, ours4().substr(0, 28)))), verdict(step::report));
    EXPECT_EQ(report.payload_length, 0u);
    for (std::size_t n = 0; n < 48; n++) EXPECT_EQ(receive(frame6(1, 4, 0, ours6().substr(0, n))), no) << n;
    EXPECT_EQ(receive(frame6(1, 4, 0, ours6().substr(0, 48))), verdict(step::report));

    const auto spoiled = [this](const std::function<void(wire::ipv4_header&)>& spoil) {
        std::string q = ours4();
        spoil(at<wire::ipv4_header>(q));
        return receive(frame4(icmp4(3, 3, 0, q)));
    };
    EXPECT_EQ(spoiled([](auto& h) { h.version_ihl = 0x65; }), no);
    EXPECT_EQ(spoiled([](auto& h) { h.version_ihl = 0x44; }), no);
    EXPECT_EQ(spoiled([](auto& h) { h.version_ihl = 0x4f; }), no);
    EXPECT_EQ(spoiled([](auto& h) { h.flags_fragment = be16(2); }), no);
    EXPECT_EQ(spoiled([](auto& h) { h.total_length = be16(27); }), no);
    std::string mapped = ours6();
    at<wire::ipv6_header>(mapped).source = ip("198.18.0.1").v6();
    EXPECT_EQ(receive(frame6(1, 4, 0, mapped)), no);
    mapped[0] = 0x45;
    EXPECT_EQ(receive(frame6(1, 4, 0, mapped)), no);
    EXPECT_EQ(count(mib::icmp_in_errors), 28u + 5);
    EXPECT_EQ(count(mib::icmp6_in_errors), 48u + 2);
}

TEST_F(icmp_input_test, refuses_reports_that_are_not_about_our_udp) {
    const verdict no = drop_reason::icmp_no_socket;
    EXPECT_EQ(
        receive(frame4(icmp4(3, 3, 0, ipv4({.source = "198.18.0.9", .destination = "10.0.0.7"}, udp(1, 2, "x"))))), no);
    EXPECT_EQ(receive(frame4(icmp4(3, 3, 0, ipv4({.source = "198.18.0.1", .protocol = icmp}, icmp4(8, 0, 0, ""))))),
              no);
    EXPECT_EQ(receive(frame6(1, 4, 0, ipv6({.source = "2001:db8::9"}, udp(1, 2, "x")))), no);
    EXPECT_EQ(receive(frame6(1, 4, 0, ipv6({.source = "2001:db8::1", .next_header = IPPROTO_TCP}, udp(1, 2, "x")))),
              no);
    // Nobody may complain about a broadcast.
    for (const char* to : {"198.18.0.255", "255.255.255.255", "224.0.0.1"})
        EXPECT_EQ(receive(frame4(icmp4(3, 3, 0, ipv4({.source = "198.18.0.1", .destination = to}, udp(1, 2, "x"))))),
                  verdict(drop_reason::icmp_ignored));
}

TEST_F(icmp_input_test, ignores_the_rest) {
    for (std::uint8_t type : {0, 4, 5, 9, 13, 42})
        EXPECT_EQ(receive(frame4(icmp4(type, 0, 0, ours4()))), verdict(drop_reason::icmp_ignored));
    EXPECT_EQ(receive(frame4(icmp4(3, 16, 0, ours4()))), verdict(drop_reason::icmp_ignored));
    for (std::uint8_t type : {129, 130, 138, 200})
        EXPECT_EQ(receive(frame6(type, 0, 0, ours6())), verdict(drop_reason::icmp_ignored));
}

TEST_F(icmp_input_test, neighbour_discovery_goes_to_the_first_shard) {
    for (std::uint8_t type = 133; type <= 137; type++)
        EXPECT_EQ(receive(frame6(type, 0, 0, std::string(16, '\0'))), verdict(step::to_first));
    EXPECT_EQ(receive(frame6(135, 0, 0, std::string(16, '\0'),
                             {.source = "::", .destination = "ff02::1:ff00:1", .next_header = icmpv6})),
              verdict(step::to_first));
    EXPECT_EQ(count(mib::icmp6_in_neighbor_solicits), 2u);
    EXPECT_EQ(count(mib::icmp6_in_neighbor_advertisements), 1u);
}

TEST_F(icmp_input_test, refuses_frames_cut_anywhere) {
    cut_everywhere(frame4(icmp4(3, 3, 0, ours4())), step::report);
    cut_everywhere(frame6(1, 4, 0, ours6()), step::report);
}

}  // namespace
}  // namespace skua::net::test
