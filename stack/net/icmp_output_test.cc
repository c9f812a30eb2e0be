// Which packets get an ICMP error, and what it holds.
#include "net/icmp_output.hh"

#include "net/ip_test_support.hh"

namespace skua::net::test {
namespace {

using packet::step;
using packet::verdict;
using wire::ether_type;

class icmp_output_test : public ip_test {
protected:
    void complain(const icmp_error& e) { errors.send_error(last, info, e, ctx()); }
    /// Receives a UDP datagram and answers that its port is closed; were there answers?
    bool answered(const std::string& frame) {
        out.clear();
        const verdict v = receive(frame);
        EXPECT_TRUE(v == verdict(step::udp) || v == verdict(step::held)) << to_string(v.reason);
        complain(port_unreachable(info.family));
        return !out.outputs.empty();
    }
    static std::string frame4(const ipv4_spec& s, const char* to = our_mac) {
        return ethernet(to, ether_type::ipv4, ipv4(s, udp(1, 2, "hello")));
    }
};

TEST_F(icmp_output_test, answers_with_the_start_of_the_packet) {
    ASSERT_TRUE(answered(frame4({.tos = 0x12})));
    const packet::packet& p = out.outputs[0].p;
    const auto h = header_of<wire::ipv4_header>(p);
    EXPECT_EQ(h.source, ip("198.18.0.1").v4());
    EXPECT_EQ(h.destination, ip("198.18.0.2").v4());
    EXPECT_EQ(h.protocol, IPPROTO_ICMP);
    EXPECT_EQ(h.ttl, 64);
    EXPECT_EQ(h.tos, 0xd2);
    EXPECT_EQ(h.total_length.host(), p.size());
    const auto i = header_of<wire::icmp_header>(p, 20);
    EXPECT_EQ(i.type, 3);
    EXPECT_EQ(i.code, 3);
    EXPECT_TRUE(icmp_checksum_good(p, 20, true));
    EXPECT_EQ(bytes_of(p).substr(28), ipv4({.tos = 0x12}, udp(1, 2, "hello")));
    EXPECT_EQ(out.outputs[0].ifindex, 0u);
    EXPECT_EQ(mibs.get(mib::icmp_out_msgs), 1u);
    EXPECT_EQ(mibs.get(mib::icmp_out_dest_unreachs), 1u);
}

TEST_F(icmp_output_test, answers_in_ipv6_too) {
    ASSERT_TRUE(answered(ethernet(our_mac, ether_type::ipv6, ipv6({}, udp(1, 2, "hello")))));
    const packet::packet& p = out.outputs[0].p;
    const auto h = header_of<wire::ipv6_header>(p);
    EXPECT_EQ(h.source, ip("2001:db8::1").v6());
    EXPECT_EQ(h.destination, ip("2001:db8::2").v6());
    EXPECT_EQ(h.next_header, IPPROTO_ICMPV6);
    const auto i = header_of<wire::icmp_header>(p, 40);
    EXPECT_EQ(i.type, 1);
    EXPECT_EQ(i.code, 4);
    EXPECT_TRUE(icmp_checksum_good(p, 40, false));
    EXPECT_EQ(bytes_of(p).substr(48), ipv6({}, udp(1, 2, "hello")));
    EXPECT_EQ(mibs.get(mib::icmp6_out_dest_unreachs), 1u);
}

TEST_F(icmp_output_test, a_link_local_answer_leaves_where_the_packet_came_in) {
    ASSERT_TRUE(answered(
        ethernet(our_mac, ether_type::ipv6, ipv6({.source = "fe80::2", .destination = "fe80::1"}, udp(1, 2, "x")))));
    EXPECT_EQ(out.outputs[0].ifindex, p0);
}

TEST_F(icmp_output_test, quotes_are_bounded) {
    last =
        make_segments(pool.get(), ethernet(our_mac, ether_type::ipv4, ipv4({}, udp(1, 2, pattern(3000)))), 1000, 900);
    ASSERT_EQ(receive(last), verdict(step::udp));
    complain(port_unreachable(ip_family::v4));
    last =
        make_segments(pool.get(), ethernet(our_mac, ether_type::ipv6, ipv6({}, udp(1, 2, pattern(3000)))), 1000, 900);
    ASSERT_EQ(receive(last), verdict(step::udp));
    complain(port_unreachable(ip_family::v6));
    ASSERT_EQ(out.outputs.size(), 2u);
    EXPECT_EQ(out.outputs[0].p.size(), 576u);
    EXPECT_EQ(bytes_of(out.outputs[0].p).substr(28), ipv4({}, udp(1, 2, pattern(3000))).substr(0, 548));
    EXPECT_TRUE(icmp_checksum_good(out.outputs[0].p, 20, true));
    EXPECT_EQ(out.outputs[1].p.size(), 1280u);
    EXPECT_TRUE(icmp_checksum_good(out.outputs[1].p, 40, false));
}

TEST_F(icmp_output_test, is_silent_about_what_was_sent_to_many) {
    EXPECT_FALSE(answered(frame4({.destination = "198.18.0.255"}, "ff:ff:ff:ff:ff:ff")));
    EXPECT_FALSE(answered(frame4({.destination = "255.255.255.255"}, "ff:ff:ff:ff:ff:ff")));
    EXPECT_FALSE(answered(frame4({.destination = "198.18.0.255"})));
    EXPECT_FALSE(answered(frame4({.destination = "224.0.0.1"}, "01:00:5e:00:00:01")));
    EXPECT_FALSE(answered(frame4({}, "ff:ff:ff:ff:ff:ff")));
    EXPECT_FALSE(answered(frame4({}, "01:00:5e:00:00:01")));
    EXPECT_FALSE(
        answered(ethernet("33:33:00:00:00:01", ether_type::ipv6, ipv6({.destination = "ff02::1"}, udp(1, 2, "x")))));
    EXPECT_TRUE(answered(frame4({})));
}

TEST_F(icmp_output_test, ipv6_has_exceptions_for_what_was_sent_to_many) {
    ASSERT_EQ(
        receive(ethernet("33:33:00:00:00:01", ether_type::ipv6, ipv6({.destination = "ff02::1"}, udp(1, 2, "x")))),
        verdict(step::udp));
    icmp_error e = parameter_problem(ip_family::v6, wire::icmp6::code_unknown_option, 42);
    e.even_if_multicast = true;
    complain(e);
    ASSERT_EQ(out.outputs.size(), 1u);
    // The group cannot be the source.
    EXPECT_EQ(header_of<wire::ipv6_header>(out.outputs[0].p).source, ip("2001:db8::1").v6());
    EXPECT_EQ(mibs.get(mib::icmp6_out_parm_problems), 1u);
}

TEST_F(icmp_output_test, is_silent_to_sources_that_are_no_single_host) {
    EXPECT_FALSE(answered(frame4({.source = "0.0.0.0", .destination = "255.255.255.255"})));
    ASSERT_EQ(receive(frame4({})), verdict(step::udp));
    // What IP input refuses must not get an answer either, were it asked for one.
    for (const char* from : {"224.0.0.9", "255.255.255.255", "198.18.0.255", "0.0.0.0", "127.0.0.1"}) {
        last.header<wire::ipv4_header>(14)->source = ip(from).v4();
        complain(port_unreachable(ip_family::v4));
    }
    ASSERT_EQ(receive6({}, udp(1, 2, "x")), verdict(step::udp));
    for (const char* from : {"ff02::1", "::", "::1"}) {
        last.header<wire::ipv6_header>(14)->source = ip(from).v6();
        complain(port_unreachable(ip_family::v6));
    }
    EXPECT_TRUE(out.outputs.empty());
}

TEST_F(icmp_output_test, is_silent_about_later_fragments) {
    last = make(frame4({}));
    ASSERT_EQ(receive(last), verdict(step::udp));
    last.header<wire::ipv4_header>(14)->flags_fragment = be16(1);
    complain(port_unreachable(ip_family::v4));
    EXPECT_TRUE(out.outputs.empty());
    last.header<wire::ipv4_header>(14)->flags_fragment = be16(0x2000);
    complain(reassembly_time_exceeded(ip_family::v4));
    ASSERT_EQ(out.outputs.size(), 1u);
    EXPECT_EQ(header_of<wire::icmp_header>(out.outputs[0].p, 20).type, 11);
    EXPECT_EQ(header_of<wire::icmp_header>(out.outputs[0].p, 20).code, 1);
    EXPECT_EQ(mibs.get(mib::icmp_out_time_excds), 1u);
}

TEST_F(icmp_output_test, is_silent_about_errors) {
    for (std::uint8_t type : {3, 4, 5, 11, 12, 8}) {
        last = make(ethernet(our_mac, ether_type::ipv4, ipv4({.protocol = IPPROTO_ICMP}, icmp4(type, 0, 0, ""))));
        info = {};
        info.l3_offset = 14;
        out.clear();
        complain(protocol_unreachable());
        EXPECT_EQ(out.outputs.size(), type == 8 ? 1u : 0u) << int(type);
    }
    for (std::uint8_t type : {1, 2, 3, 4, 100, 137, 128}) {
        const ipv6_spec s{.next_header = IPPROTO_ICMPV6};
        last = make(ethernet(our_mac, ether_type::ipv6, ipv6(s, icmp6(s, type, 0, 0, ""))));
        info = {};
        info.l3_offset = 14;
        info.family = ip_family::v6;
        out.clear();
        complain(parameter_problem(ip_family::v6, 0, 6));
        EXPECT_EQ(out.outputs.size(), type == 128 ? 1u : 0u) << int(type);
    }
    // An ICMP header that is not there may have been an error's.
    last = make(ethernet(our_mac, ether_type::ipv4, ipv4({.protocol = IPPROTO_ICMP}, "")));
    info = {};
    info.l3_offset = 14;
    out.clear();
    complain(protocol_unreachable());
    EXPECT_TRUE(out.outputs.empty());
}

TEST_F(icmp_output_test, keeps_to_its_limits_but_not_towards_itself) {
    icmp_output limited(out, random, {});
    ASSERT_EQ(receive(frame4({})), verdict(step::udp));
    for (int i = 0; i < 20; i++) limited.send_error(last, info, port_unreachable(ip_family::v4), ctx());
    EXPECT_EQ(out.outputs.size(), 6u);
    out.clear();
    last = make(ipv4({.source = "127.0.0.1", .destination = "127.0.0.1"}, udp(1, 2, "x")));
    info = {};
    ASSERT_EQ(loopback_input(last, info), verdict(step::ipv4));
    ASSERT_EQ(ipv4_input(last, info, ctx(), parts), verdict(step::udp));
    for (int i = 0; i < 20; i++) limited.send_error(last, info, port_unreachable(ip_family::v4), ctx());
    EXPECT_EQ(out.outputs.size(), 20u);
}

TEST_F(icmp_output_test, counts_what_it_could_not_send) {
    ASSERT_EQ(receive(frame4({})), verdict(step::udp));
    out.out_of_packets = true;
    complain(port_unreachable(ip_family::v4));
    EXPECT_EQ(mibs.get(mib::icmp_out_errors), 1u);
    EXPECT_EQ(mibs.get(mib::icmp_out_msgs), 0u);
}

}  // namespace
}  // namespace skua::net::test
