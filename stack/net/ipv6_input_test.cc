// IPv6 input: every check, every extension header, and frames cut anywhere.
#include "net/ipv6_input.hh"

#include "net/ip_test_support.hh"
#include "net/ipv6_extensions.hh"

namespace skua::net::test {
namespace {

using packet::step;
using packet::verdict;
using wire::ether_type;

class ipv6_input_test : public ip_test {
protected:
    std::uint64_t count(mib m) const { return mibs.get(m); }
    /// Options header (hop-by-hop or destination) filled up with PadN.
    static std::string options(std::uint8_t next, std::string content) {
        content = std::string{static_cast<char>(next), '\0'} + content;
        const std::size_t missing = (8 - content.size() % 8) % 8;
        if (missing == 1) content += '\0';
        else if (missing > 1)
            content += std::string{'\1', static_cast<char>(missing - 2)} + std::string(missing - 2, '\0');
        content[1] = static_cast<char>(content.size() / 8 - 1);
        return content;
    }
    static std::string routing(std::uint8_t next, std::uint8_t type, std::uint8_t left) {
        return std::string{static_cast<char>(next), '\0', static_cast<char>(type), static_cast<char>(left), 0, 0, 0, 0};
    }
    /// The one ICMPv6 error that was sent must be a parameter problem.
    void expect_problem(std::uint8_t code, std::uint32_t pointer) {
        ASSERT_EQ(out.outputs.size(), 1u);
        const auto h = header_of<wire::icmp_header>(out.outputs[0].p, 40);
        EXPECT_EQ(h.type, wire::icmp6::parameter_problem);
        EXPECT_EQ(h.code, code);
        EXPECT_EQ(h.rest.host(), pointer);
        EXPECT_TRUE(icmp_checksum_good(out.outputs[0].p, 40, false));
        out.clear();
    }
};

TEST_F(ipv6_input_test, describes_a_datagram) {
    EXPECT_EQ(receive6({}, udp(1000, 53, "hello")), verdict(step::udp));
    EXPECT_EQ(info.flow.remote, ip("2001:db8::2"));
    EXPECT_EQ(info.flow.local, ip("2001:db8::1"));
    EXPECT_EQ(info.family, ip_family::v6);
    EXPECT_EQ(info.protocol, IPPROTO_UDP);
    EXPECT_EQ(info.hop_limit, 57);
    EXPECT_EQ(info.l4_offset, 54);
    EXPECT_EQ(info.l4_length, 13u);
    EXPECT_EQ(count(mib::ip6_in_receives), 1u);
    EXPECT_EQ(count(mib::ip6_in_delivers), 1u);
}

TEST_F(ipv6_input_test, cuts_off_ethernet_padding) {
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv6, ipv6({}, udp(1, 2, "x")) + "padding")), verdict(step::udp));
    EXPECT_EQ(last.size(), 14u + 40 + 9);
}

TEST_F(ipv6_input_test, refuses_frames_cut_anywhere) {
    const std::string chain = options(IPPROTO_DSTOPTS, std::string("\x05\x02\x00\x00", 4)) +
                              options(IPPROTO_ROUTING, "") + routing(IPPROTO_FRAGMENT, 4, 0) +
                              fragment_header(IPPROTO_UDP, 0, false, 9) + udp(1, 2, "hello");
    cut_everywhere(ethernet(our_mac, ether_type::ipv6, ipv6({.next_header = IPPROTO_HOPOPTS}, chain)), step::udp);
    // The same with a payload length that agrees with the cut.
    for (std::size_t n = 0; n < chain.size(); n++) {
        const verdict v = receive6({.next_header = IPPROTO_HOPOPTS}, chain.substr(0, n));
        EXPECT_TRUE(v.next == step::drop || (v.next == step::udp && info.l4_length == n - 32)) << n;
    }
}

TEST_F(ipv6_input_test, refuses_bad_headers) {
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv6, std::string(39, '\x60'))),
              verdict(drop_reason::ipv6_truncated));
    std::string d = ipv6({}, udp(1, 2, "x"));
    d[0] = '\x40';
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv6, d)), verdict(drop_reason::ipv6_bad_version));
    EXPECT_EQ(count(mib::ip6_in_hdr_errors), 2u);
    d = ipv6({}, udp(1, 2, "x"));
    at<wire::ipv6_header>(d).payload_length = be16(10);
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv6, d)), verdict(drop_reason::ipv6_bad_payload_length));
    EXPECT_EQ(count(mib::ip6_in_truncated_pkts), 1u);
    // A jumbogram.
    d = ipv6({.next_header = IPPROTO_HOPOPTS},
             options(IPPROTO_UDP, std::string("\xc2\x04\x00\x01\x00\x00", 6)) + udp(1, 2, "x"));
    at<wire::ipv6_header>(d).payload_length = be16(0);
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv6, d)), verdict(drop_reason::ipv6_bad_payload_length));
}

TEST_F(ipv6_input_test, refuses_impossible_sources) {
    for (const char* from : {"ff02::1", "::1", "2001:db8::1", "fe80::1", "::"})
        EXPECT_EQ(receive6({.source = from}, udp(1, 2, "x")), verdict(drop_reason::ipv6_bad_source)) << from;
    // Mapped addresses would be taken for IPv4.
    std::string d = ipv6({}, udp(1, 2, "x"));
    at<wire::ipv6_header>(d).source = ip("198.18.0.2").v6();
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv6, d)), verdict(drop_reason::ipv6_bad_source));
}

TEST_F(ipv6_input_test, refuses_other_destinations) {
    for (const char* to : {"2001:db8::3", "::1", "::", "ff02::5", "ff01::1", "ff00::1"})
        EXPECT_EQ(receive6({.destination = to}, udp(1, 2, "x")), verdict(drop_reason::ipv6_not_local)) << to;
    EXPECT_EQ(count(mib::ip6_in_addr_errors), 3u);
    std::string d = ipv6({}, udp(1, 2, "x"));
    at<wire::ipv6_header>(d).destination = ip("198.18.0.1").v6();
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv6, d)), verdict(drop_reason::ipv6_not_local));
}

TEST_F(ipv6_input_test, takes_joined_multicast) {
    EXPECT_EQ(receive6({.destination = "ff02::1"}, udp(1, 2, "x")), verdict(step::udp));
    EXPECT_TRUE(info.to_multicast);
    EXPECT_EQ(receive6({.destination = "ff02::1:ff00:1"}, udp(1, 2, "x")), verdict(step::udp));
    groups.joined.push_back(ip("ff05::123"));
    EXPECT_EQ(receive6({.destination = "ff05::123"}, udp(1, 2, "x")), verdict(step::udp));
}

TEST_F(ipv6_input_test, walks_a_chain_of_extension_headers) {
    const std::string chain = options(IPPROTO_DSTOPTS, std::string("\x05\x02\x00\x00\x00\x00\x3e\x01x", 9)) +
                              options(IPPROTO_ROUTING, "") + routing(IPPROTO_DSTOPTS, 0, 0) + options(IPPROTO_UDP, "");
    EXPECT_EQ(receive6({.next_header = IPPROTO_HOPOPTS}, chain + udp(1, 2, "hello")), verdict(step::udp));
    EXPECT_EQ(info.l4_offset, 54 + chain.size());
    EXPECT_EQ(payload_seen(), udp(1, 2, "hello"));
}

TEST_F(ipv6_input_test, bounds_the_walk) {
    std::string chain;
    for (unsigned n = 1; n < max_ipv6_extensions; n++) chain += options(IPPROTO_DSTOPTS, "");
    EXPECT_EQ(receive6({.next_header = IPPROTO_DSTOPTS}, chain + options(IPPROTO_UDP, "") + udp(1, 2, "x")),
              verdict(step::udp));
    EXPECT_EQ(receive6({.next_header = IPPROTO_DSTOPTS},
                       chain + options(IPPROTO_DSTOPTS, "") + options(IPPROTO_UDP, "") + udp(1, 2, "x")),
              verdict(drop_reason::ipv6_too_many_extensions));
    // One header that does not fit the window, though it fits the packet.
    const std::string frame =
        ethernet(our_mac, ether_type::ipv6,
                 ipv6({.next_header = IPPROTO_DSTOPTS}, options(IPPROTO_UDP, std::string(254, '\0')) + udp(1, 2, "x")));
    last = make_segments(pool.get(), frame, packet::header_window, 1000);
    EXPECT_EQ(receive(last), verdict(drop_reason::ipv6_too_many_extensions));
    // One that does not fit the packet.
    std::string lie = options(IPPROTO_UDP, "");
    lie[1] = 4;
    EXPECT_EQ(receive6({.next_header = IPPROTO_DSTOPTS}, lie + udp(1, 2, "x")),
              verdict(drop_reason::ipv6_bad_extension));
}

TEST_F(ipv6_input_test, obeys_the_action_bits_of_unknown_options) {
    const auto with = [this](char type, const char* to) {
        return receive6({.destination = to, .next_header = IPPROTO_DSTOPTS},
                        options(IPPROTO_UDP, std::string{type, '\0'}) + udp(1, 2, "x"));
    };
    EXPECT_EQ(with('\x1e', "2001:db8::1"), verdict(step::udp));
    EXPECT_EQ(with('\x5e', "2001:db8::1"), verdict(drop_reason::ipv6_bad_extension));
    EXPECT_TRUE(out.outputs.empty());
    EXPECT_EQ(with('\x9e', "2001:db8::1"), verdict(drop_reason::ipv6_bad_extension));
    expect_problem(wire::icmp6::code_unknown_option, 42);
    EXPECT_EQ(with('\xde', "2001:db8::1"), verdict(drop_reason::ipv6_bad_extension));
    expect_problem(wire::icmp6::code_unknown_option, 42);
    EXPECT_EQ(with('\x9e', "ff02::1"), verdict(drop_reason::ipv6_bad_extension));
    expect_problem(wire::icmp6::code_unknown_option, 42);
    EXPECT_EQ(with('\xde', "ff02::1"), verdict(drop_reason::ipv6_bad_extension));
    EXPECT_TRUE(out.outputs.empty());
}

TEST_F(ipv6_input_test, refuses_options_that_run_past_their_header) {
    for (const std::string& bad : {std::string("\x3e\x05\0\0\0\0", 6), std::string("\0\0\0\0\0\x3e", 6)})
        EXPECT_EQ(receive6({.next_header = IPPROTO_DSTOPTS}, std::string{IPPROTO_UDP, '\0'} + bad + udp(1, 2, "x")),
                  verdict(drop_reason::ipv6_bad_extension));
}

TEST_F(ipv6_input_test, refuses_routing_headers_with_segments_left) {
    for (std::uint8_t type : {0, 2, 4, 200}) {
        EXPECT_EQ(receive6({.next_header = IPPROTO_ROUTING}, routing(IPPROTO_UDP, type, 1) + udp(1, 2, "x")),
                  verdict(drop_reason::ipv6_bad_extension));
        expect_problem(0, 42);
    }
}

TEST_F(ipv6_input_test, takes_hop_by_hop_options_first_or_not_at_all) {
    EXPECT_EQ(receive6({.next_header = IPPROTO_DSTOPTS},
                       options(IPPROTO_HOPOPTS, "") + options(IPPROTO_UDP, "") + udp(1, 2, "x")),
              verdict(drop_reason::ipv6_unknown_next_header));
    expect_problem(wire::icmp6::code_unknown_next_header, 40);
}

TEST_F(ipv6_input_test, answers_unknown_next_headers) {
    EXPECT_EQ(receive6({.next_header = IPPROTO_TCP}, std::string(20, 'x')),
              verdict(drop_reason::ipv6_unknown_next_header));
    expect_problem(wire::icmp6::code_unknown_next_header, 6);
    EXPECT_EQ(receive6({.next_header = IPPROTO_DSTOPTS}, options(IPPROTO_ESP, "") + std::string(20, 'x')),
              verdict(drop_reason::ipv6_unknown_next_header));
    expect_problem(wire::icmp6::code_unknown_next_header, 40);
    EXPECT_EQ(count(mib::ip6_in_unknown_protos), 2u);
}

TEST_F(ipv6_input_test, leaves_unknown_next_headers_to_others_if_told) {
    parts.refuse_protocols = false;
    EXPECT_EQ(receive6({.next_header = IPPROTO_TCP}, std::string(20, 'x')),
              verdict(drop_reason::ipv6_unknown_next_header));
    EXPECT_TRUE(out.outputs.empty());
}

TEST_F(ipv6_input_test, no_next_header_ends_in_silence) {
    EXPECT_EQ(receive6({.next_header = IPPROTO_NONE}, "anything"), verdict(drop_reason::ipv6_unknown_next_header));
    EXPECT_TRUE(out.outputs.empty());
}

TEST_F(ipv6_input_test, an_atomic_fragment_is_whole) {
    EXPECT_EQ(receive6({.next_header = IPPROTO_FRAGMENT}, fragment_header(IPPROTO_UDP, 0, false, 7) + udp(1, 2, "x")),
              verdict(step::udp));
    EXPECT_EQ(info.l4_offset, 62);
    EXPECT_EQ(fragments.size(), 0u);
    // Two fragment headers are nothing that a source makes.
    EXPECT_EQ(
        receive6({.next_header = IPPROTO_FRAGMENT}, fragment_header(IPPROTO_FRAGMENT, 0, false, 7) +
                                                        fragment_header(IPPROTO_UDP, 0, false, 7) + udp(1, 2, "x")),
        verdict(drop_reason::ipv6_bad_extension));
}

TEST_F(ipv6_input_test, the_first_fragment_must_have_all_headers) {
    EXPECT_EQ(receive6({.next_header = IPPROTO_FRAGMENT},
                       fragment_header(IPPROTO_DSTOPTS, 0, true, 7) + options(IPPROTO_UDP, "")),
              verdict(drop_reason::frag_malformed));
    expect_problem(3, 0);
    EXPECT_EQ(receive6({.next_header = IPPROTO_FRAGMENT}, fragment_header(IPPROTO_UDP, 0, true, 7)),
              verdict(drop_reason::frag_malformed));
    expect_problem(3, 0);
    EXPECT_EQ(receive6({.next_header = IPPROTO_FRAGMENT},
                       fragment_header(IPPROTO_DSTOPTS, 0, true, 7) + options(IPPROTO_UDP, "") + udp(1, 2, "")),
              verdict(step::held));
}

TEST_F(ipv6_input_test, blames_impossible_fragments) {
    EXPECT_EQ(receive6({.next_header = IPPROTO_FRAGMENT}, fragment_header(IPPROTO_UDP, 0, true, 7) + udp(1, 2, "x")),
              verdict(drop_reason::frag_malformed));
    expect_problem(0, 4);
    EXPECT_EQ(receive6({.next_header = IPPROTO_FRAGMENT},
                       fragment_header(IPPROTO_UDP, 65528, false, 7) + std::string(8, 'x')),
              verdict(drop_reason::frag_too_large));
    expect_problem(0, 42);
}

TEST_F(ipv6_input_test, takes_out_the_fragment_header_and_walks_on) {
    // The options stand before the fragment header in every fragment, and once in the datagram.
    const std::string whole = options(IPPROTO_UDP, "") + udp(1, 2, pattern(100));
    const std::string before = options(IPPROTO_FRAGMENT, "");
    const auto piece = [&](std::size_t offset, std::size_t n, bool more) {
        return receive6({.next_header = IPPROTO_HOPOPTS},
                        before + fragment_header(IPPROTO_DSTOPTS, static_cast<std::uint32_t>(offset), more, 5) +
                            whole.substr(offset, n));
    };
    // The drivers' mbufs have room behind the data, so headers can be joined: use such.
    const auto direct = [&](std::size_t offset, std::size_t n, bool more) {
        last =
            make(ethernet(our_mac, ether_type::ipv6,
                          ipv6({.next_header = IPPROTO_HOPOPTS},
                               before + fragment_header(IPPROTO_DSTOPTS, static_cast<std::uint32_t>(offset), more, 5) +
                                   whole.substr(offset, n))));
        return receive(last);
    };
    EXPECT_EQ(piece(48, 1000, false), verdict(step::held));
    EXPECT_EQ(direct(0, 48, true), verdict(step::udp));
    EXPECT_EQ(info.l4_offset, 14 + 40 + 8 + 8);
    EXPECT_EQ(payload_seen(), udp(1, 2, pattern(100)));
    const auto h = header_of<wire::ipv6_header>(last, 14);
    EXPECT_EQ(h.payload_length.host(), last.size() - 54);
    EXPECT_EQ(bytes_of(last).substr(54, 8), options(IPPROTO_DSTOPTS, ""));
    EXPECT_EQ(count(mib::ip6_reasm_oks), 1u);
    EXPECT_EQ(count(mib::ip6_in_delivers), 1u);
}

}  // namespace
}  // namespace skua::net::test
