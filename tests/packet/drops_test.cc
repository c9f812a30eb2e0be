// Every drop reason, reached through a whole shard, with the counters of the MIB that Linux raises beside it.
#include "packet/packet_test.hh"

namespace skua::test {

namespace {

/// A frame from a changed copy of a sound one.
std::string broken(std::string frame, const std::function<void(std::string&)>& how) {
    how(frame);
    return frame;
}
std::string broken4(const std::function<void(wire::ipv4_header&)>& how, bool sum = true) {
    return broken(udp_frame(spec4, 40000, 7, "payload"), [&](std::string& f) {
        how(at<wire::ipv4_header>(f, ip4_at));
        if (sum) wire::set_ipv4_checksum(at<wire::ipv4_header>(f, ip4_at));
    });
}
std::string broken6(const std::function<void(wire::ipv6_header&)>& how) {
    return broken(udp_frame(spec6, 40000, 7, "payload"),
                  [&](std::string& f) { how(at<wire::ipv6_header>(f, ip6_at)); });
}
std::string udp_with(const ip_spec& s, const std::function<void(wire::udp_header&)>& how) {
    std::string message = udp(s, 40000, 7, "payload");
    how(at<wire::udp_header>(message, 0));
    return frame(ip_packet(s, message));
}
std::string with_protocol(ip_spec s, std::uint8_t protocol, const std::string& payload) {
    s.protocol = protocol;
    return frame(ip_packet(s, payload));
}
std::string from(ip_spec s, const ip_address& source) {
    s.from = source;
    return udp_frame(s, 40000, 7, "payload");
}
std::string to(ip_spec s, const ip_address& destination) {
    s.to = destination;
    return udp_frame(s, 40000, 7, "payload");
}
std::string with_options(const std::string& options) {
    ip_spec s = spec4;
    s.options = options;
    return udp_frame(s, 40000, 7, "payload");
}
/// What we are supposed to have sent from a port that nobody has.
std::string quote(const ip_spec& s, std::uint16_t from_port = 99) {
    const ip_spec back{.from = s.to, .to = s.from};
    return ip_packet(back, udp(back, from_port, 40000, "quoted"));
}
/// An extension header of 8 bytes that pads.
std::string padding_header(std::uint8_t next) { return std::string{char(next), 0, 1, 4, 0, 0, 0, 0}; }
std::string fragment6(std::uint32_t offset, bool more, const std::string& part) {
    const wire::ipv6_fragment_header h{IPPROTO_UDP, 0, be16(static_cast<std::uint16_t>(offset | more)), be32(5)};
    return with_protocol(spec6, IPPROTO_FRAGMENT, raw(h) + part);
}
std::string fragment4(std::uint32_t offset, bool more, const std::string& part) {
    ip_spec s = spec4;
    s.flags_fragment = static_cast<std::uint16_t>(offset / 8 | (more ? 0x2000 : 0));
    return frame(ip_packet(s, part));
}

struct drop_case {
    std::string name;
    drop_reason why;
    std::vector<std::string> frames;  // the last one is dropped
    std::vector<mib> counted = {};    // once each
};
std::ostream& operator<<(std::ostream& out, const drop_case& c) { return out << c.name; }

const std::vector<drop_case> from_the_wire = {
    {"eth_truncated", drop_reason::eth_truncated, {udp_frame(spec4, 1, 7, "").substr(0, 13)}},
    {"eth_empty", drop_reason::eth_truncated, {""}},
    {"eth_not_for_us", drop_reason::eth_not_for_us, {frame(ip_packet(spec4, ""), *parse_mac("02:00:00:00:00:77"))}},
    {"eth_unknown_type", drop_reason::eth_unknown_type, {frame("lldp", our_mac, 0x88cc)}},
    {"vlan_truncated", drop_reason::vlan_truncated, {vlan_frame(10, "").substr(0, 17)}},
    {"vlan_unknown", drop_reason::vlan_unknown, {vlan_frame(99, ip_packet(spec4, ""))}},
    {"arp_cut", drop_reason::arp_malformed, {arp_request().substr(0, 41)}},
    {"arp_other_hardware", drop_reason::arp_malformed,
     {broken(arp_request(), [](std::string& f) { at<wire::arp_packet>(f, eth_length).hardware_type = be16(6); })}},
    {"arp_for_another", drop_reason::arp_ignored,
     {arp_frame(wire::arp_request, peer_mac, peer4, {}, ip("198.18.0.77"))}},
    {"arp_reply_unasked", drop_reason::arp_ignored, {arp_reply()}},
    {"nd_hop_limit", drop_reason::nd_malformed,
     {broken(neighbor_solicitation(), [](std::string& f) { at<wire::ipv6_header>(f, ip6_at).hop_limit = 254; })},
     {mib::icmp6_in_neighbor_solicits}},
    {"nd_for_another", drop_reason::nd_ignored,
     {nd_frame(wire::icmp6::neighbor_solicitation, peer6, us6, ip("2001:db8::77"), 0, peer_mac)}},
    {"nd_router", drop_reason::nd_ignored,
     {nd_frame(wire::icmp6::router_advertisement, ip("fe80::2"), us6, us6, 0, {})}},

    {"ipv4_cut", drop_reason::ipv4_truncated, {udp_frame(spec4, 1, 7, "").substr(0, ip4_at + 19)},
     {mib::ip_in_receives, mib::ip_in_hdr_errors}},
    {"ipv4_version", drop_reason::ipv4_bad_version,
     {broken4([](auto& h) { h.version_ihl = 0x55; })}, {mib::ip_in_hdr_errors}},
    {"ipv4_header_length_16", drop_reason::ipv4_bad_header_length,
     {broken4([](auto& h) { h.version_ihl = 0x44; }, false)},
     {mib::ip_in_hdr_errors}},
    {"ipv4_header_beyond", drop_reason::ipv4_bad_header_length, {broken4([](auto& h) { h.version_ihl = 0x4f; }, false)},
     {mib::ip_in_hdr_errors}},
    {"ipv4_total_length_19", drop_reason::ipv4_bad_total_length, {broken4([](auto& h) { h.total_length = be16(19); })},
     {mib::ip_in_hdr_errors}},
    {"ipv4_total_length_beyond", drop_reason::ipv4_bad_total_length,
     {broken4([](auto& h) { h.total_length = be16(36); })}},
    {"ipv4_checksum", drop_reason::ipv4_bad_checksum,
     {broken4([](auto& h) { h.ttl--; }, false)}, {mib::ip_in_hdr_errors}},
    {"ipv4_option_beyond", drop_reason::ipv4_bad_options, {with_options("\x07\x28\x04\x01")},
     {mib::ip_in_hdr_errors, mib::icmp_out_parm_probs}},
    {"ipv4_source_route", drop_reason::ipv4_bad_options,
     {with_options(std::string("\x83\x07\x04\xc6\x12\0\x05\0", 8))}},
    {"ipv4_own_source", drop_reason::ipv4_bad_source, {from(spec4, us4)}},
    {"ipv4_loopback_source", drop_reason::ipv4_bad_source, {from(spec4, ip("127.0.0.1"))}},
    {"ipv4_multicast_source", drop_reason::ipv4_bad_source, {from(spec4, ip("224.0.0.1"))}},
    {"ipv4_broadcast_source", drop_reason::ipv4_bad_source, {from(spec4, ip("198.18.0.255"))}},
    {"ipv4_another_host", drop_reason::ipv4_not_local, {to(spec4, ip("198.18.0.77"))}, {mib::ip_in_addr_errors}},
    {"ipv4_loopback_destination", drop_reason::ipv4_not_local, {to(spec4, ip("127.0.0.1"))}, {mib::ip_in_addr_errors}},
    {"ipv4_group", drop_reason::ipv4_not_local, {to(spec4, ip("224.0.0.251"))}},
    {"ipv4_tcp", drop_reason::ipv4_unknown_protocol, {with_protocol(spec4, IPPROTO_TCP, std::string(20, 't'))},
     {mib::ip_in_unknown_protos, mib::icmp_out_dest_unreachs}},

    {"ipv6_cut", drop_reason::ipv6_truncated, {udp_frame(spec6, 1, 7, "").substr(0, ip6_at + 39)},
     {mib::ip6_in_receives, mib::ip6_in_hdr_errors}},
    {"ipv6_version", drop_reason::ipv6_bad_version,
     {broken6([](auto& h) { h.version_class_flow = be32(7u << 28); })}, {mib::ip6_in_hdr_errors}},
    {"ipv6_length_beyond", drop_reason::ipv6_bad_payload_length,
     {broken6([](auto& h) { h.payload_length = be16(16); })}, {mib::ip6_in_truncated_pkts}},
    {"ipv6_jumbogram", drop_reason::ipv6_bad_payload_length,
     {broken6([](auto& h) { h.payload_length = {}; h.next_header = IPPROTO_HOPOPTS; })}, {mib::ip6_in_hdr_errors}},
    {"ipv6_multicast_source", drop_reason::ipv6_bad_source, {from(spec6, ip("ff02::1"))}, {mib::ip6_in_hdr_errors}},
    {"ipv6_own_source", drop_reason::ipv6_bad_source, {from(spec6, us6)}, {mib::ip6_in_hdr_errors}},
    {"ipv6_loopback_source", drop_reason::ipv6_bad_source, {from(spec6, ip("::1"))}, {mib::ip6_in_hdr_errors}},
    {"ipv6_another_host", drop_reason::ipv6_not_local, {to(spec6, ip("2001:db8::77"))}, {mib::ip6_in_addr_errors}},
    {"ipv6_loopback_destination", drop_reason::ipv6_not_local, {to(spec6, ip("::1"))}, {mib::ip6_in_addr_errors}},
    {"ipv6_group", drop_reason::ipv6_not_local, {to(spec6, ip("ff02::fb"))}},
    {"ipv6_extension_beyond", drop_reason::ipv6_bad_extension,
     {with_protocol(spec6, IPPROTO_DSTOPTS, std::string{char(IPPROTO_UDP), 20, 1, 4, 0, 0, 0, 0})},
     {mib::ip6_in_hdr_errors}},
    {"ipv6_option_to_discard", drop_reason::ipv6_bad_extension,
     {with_protocol(spec6, IPPROTO_DSTOPTS,
                    std::string{char(IPPROTO_UDP), 0, 0x40, 4, 0, 0, 0, 0} + udp(spec6, 1, 7, ""))}},
    {"ipv6_many_extensions", drop_reason::ipv6_too_many_extensions,
     {[] {
         std::string chain;
         for (int i = 0; i < 20; i++) chain += padding_header(IPPROTO_DSTOPTS);
         return with_protocol(spec6, IPPROTO_DSTOPTS, chain + padding_header(IPPROTO_UDP) + udp(spec6, 1, 7, ""));
     }()}},
    {"ipv6_tcp", drop_reason::ipv6_unknown_next_header, {with_protocol(spec6, IPPROTO_TCP, std::string(20, 't'))},
     {mib::ip6_in_unknown_protos, mib::icmp6_out_parm_problems}},

    {"frag4_odd_length", drop_reason::frag_malformed,
     {fragment4(0, true, "thirteen byte")}, {mib::ip_reasm_reqds, mib::ip_reasm_fails}},
    {"frag4_duplicate", drop_reason::frag_overlap, {fragment4(8, true, "8 bytes."), fragment4(8, true, "8 bytes.")}},
    {"frag4_beyond_65535", drop_reason::frag_too_large,
     {fragment4(65512, false, "more than 24 bytes to come")}, {mib::ip_reasm_fails}},
    {"frag6_odd_length", drop_reason::frag_malformed, {fragment6(8, true, "thirteen byte")},
     {mib::ip6_reasm_reqds, mib::ip6_reasm_fails, mib::icmp6_out_parm_problems}},
    {"frag6_duplicate", drop_reason::frag_overlap, {fragment6(8, true, "8 bytes."), fragment6(8, true, "8 bytes.")}},
    {"frag6_beyond_65535", drop_reason::frag_too_large,
     {fragment6(65528, false, "more than 7 bytes")}, {mib::ip6_reasm_fails}},

    {"icmp4_cut", drop_reason::icmp_truncated, {with_protocol(spec4, IPPROTO_ICMP, "7 bytes")},
     {mib::icmp_in_msgs, mib::icmp_in_errors}},
    {"icmp6_cut", drop_reason::icmp_truncated, {with_protocol(spec6, IPPROTO_ICMPV6, "7 bytes")},
     {mib::icmp6_in_msgs, mib::icmp6_in_errors}},
    {"icmp4_checksum", drop_reason::icmp_bad_checksum,
     {broken(echo_request(spec4, "x"), [](std::string& f) { f.back() = 'y'; })},
     {mib::icmp_in_msgs, mib::icmp_in_errors, mib::icmp_in_csum_errors}},
    {"icmp6_checksum", drop_reason::icmp_bad_checksum,
     {broken(echo_request(spec6, "x"), [](std::string& f) { f.back() = 'y'; })},
     {mib::icmp6_in_msgs, mib::icmp6_in_errors, mib::icmp6_in_csum_errors}},
    {"icmp4_reply", drop_reason::icmp_ignored,
     {icmp_frame(spec4, wire::icmp4::echo_reply, 0, 1, "x")}, {mib::icmp_in_echo_reps}},
    {"icmp6_reply", drop_reason::icmp_ignored,
     {icmp_frame(spec6, wire::icmp6::echo_reply, 0, 1, "x")}, {mib::icmp6_in_echo_replies}},
    {"icmp4_quote_cut", drop_reason::icmp_quote_malformed, {icmp_frame(spec4, 3, 3, 0, quote(spec4).substr(0, 27))},
     {mib::icmp_in_dest_unreachs, mib::icmp_in_errors}},
    {"icmp6_quote_cut", drop_reason::icmp_quote_malformed, {icmp_frame(spec6, 1, 4, 0, quote(spec6).substr(0, 47))},
     {mib::icmp6_in_dest_unreachs, mib::icmp6_in_errors}},
    {"icmp4_no_socket", drop_reason::icmp_no_socket, {icmp_frame(spec4, 3, 3, 0, quote(spec4))},
     {mib::icmp_in_dest_unreachs, mib::icmp_in_errors}},
    {"icmp6_no_socket", drop_reason::icmp_no_socket, {icmp_frame(spec6, 1, 4, 0, quote(spec6))},
     {mib::icmp6_in_dest_unreachs, mib::icmp6_in_errors}},

    {"udp4_cut", drop_reason::udp_truncated, {with_protocol(spec4, IPPROTO_UDP, "7 bytes")}, {mib::udp_in_errors}},
    {"udp6_cut", drop_reason::udp_truncated, {with_protocol(spec6, IPPROTO_UDP, "7 bytes")}, {mib::udp6_in_errors}},
    {"udp4_length_7", drop_reason::udp_bad_length,
     {udp_with(spec4, [](auto& h) { h.length = be16(7); })}, {mib::udp_in_errors}},
    {"udp6_length_beyond", drop_reason::udp_bad_length,
     {udp_with(spec6, [](auto& h) { h.length = be16(16); })}, {mib::udp6_in_errors}},
    {"udp4_checksum", drop_reason::udp_bad_checksum, {udp_with(spec4, [](auto& h) { h.checksum = be16(1); })},
     {mib::udp_in_errors, mib::udp_in_csum_errors, mib::ip_in_delivers}},
    {"udp6_checksum", drop_reason::udp_bad_checksum, {udp_with(spec6, [](auto& h) { h.checksum = be16(1); })},
     {mib::udp6_in_errors, mib::udp6_in_csum_errors, mib::ip6_in_delivers}},
    {"udp6_zero_checksum", drop_reason::udp_zero_checksum, {udp_with(spec6, [](auto& h) { h.checksum = {}; })},
     {mib::udp6_in_errors, mib::udp6_in_csum_errors}},
    {"udp4_no_port", drop_reason::udp_no_port,
     {udp_frame(spec4, 40000, 99, "x")}, {mib::udp_no_ports, mib::icmp_out_dest_unreachs}},
    {"udp6_no_port", drop_reason::udp_no_port,
     {udp_frame(spec6, 40000, 99, "x")}, {mib::udp6_no_ports, mib::icmp6_out_dest_unreachs}},
    {"udp4_port_0", drop_reason::udp_no_port, {udp_frame(spec4, 40000, 0, "x")}, {mib::udp_no_ports}},
    {"tx_no_route", drop_reason::tx_no_route,
     {[] {
         ip_spec s = spec4;
         s.from = ip("203.0.113.5");
         return echo_request(s, "from afar");
     }()},
     {mib::ip_out_no_routes, mib::icmp_in_echos}},
};

}  // namespace

class wire_drops : public testing::TestWithParam<drop_case> {};
INSTANTIATE_TEST_SUITE_P(drops, wire_drops, testing::ValuesIn(from_the_wire),
                         [](const auto& info) { return info.param.name; });

TEST_P(wire_drops, are_counted_once_and_leave_the_host_well) {
    const drop_case& c = GetParam();
    tested_world w(1, know_peers);
    auto s = w.open({us4, 7});
    auto s6 = w.open({us6, 7});
    for (std::size_t i = 0; i + 1 < c.frames.size(); i++) w.inject(c.frames[i]);
    EXPECT_EQ(w.all_drops(), 0u);
    std::vector<std::uint64_t> before;
    for (const mib m : c.counted) before.push_back(w.count(m));
    w.inject(c.frames.back());
    w.settle();
    EXPECT_EQ(w.drops(c.why), 1u) << to_string(c.why);
    EXPECT_EQ(w.all_drops(), 1u);
    for (std::size_t i = 0; i < c.counted.size(); i++)
        EXPECT_EQ(w.count(c.counted[i]), before[i] + 1) << mibs[static_cast<std::size_t>(c.counted[i])].group << " "
                                                        << mibs[static_cast<std::size_t>(c.counted[i])].name;
    EXPECT_THAT(w.receive_all(*s), IsEmpty());
    EXPECT_THAT(w.receive_all(*s6), IsEmpty());
    w.inject(udp_frame(spec4, 40000, 7, "after"));
    EXPECT_THAT(w.receive_all(*s), ElementsAre("after"));
}

TEST(drops, headers_in_segments_that_cannot_be_joined) {
    tested_world w;
    // The first segment ends where its buffer does, so that there is no room behind it.
    const std::string bytes = udp_frame(spec4, 40000, 7, "payload");
    packet::packet first = packet::allocate(w.shard().pool(), 20);
    rte_mbuf* m = first.get();
    m->data_off = static_cast<std::uint16_t>(m->buf_len - 20);
    packet::write(first, 0, as_bytes(bytes.substr(0, 20)));
    packet::packet rest = packet::allocate(w.shard().pool(), static_cast<std::uint32_t>(bytes.size() - 20));
    packet::write(rest, 0, as_bytes(bytes.substr(20)));
    ASSERT_EQ(rte_pktmbuf_chain(m, rest.release()), 0);
    m->port = 0;
    rte_mbuf* frames[] = {first.release()};
    w.shard().input(frames, nullptr, w.now());
    EXPECT_EQ(w.drops(drop_reason::eth_headers_split), 1u);
}

TEST(drops, neighbour_queue_and_table_full) {
    tested_world w(1, [](control::config& c) {
        c.neighbours.queue = 2;
        c.neighbours.max_entries = 1;
    });
    auto s = w.open({us4, 7});
    for (const char* text : {"oldest", "second", "third"}) ASSERT_TRUE(w.send(*s, text, {peer4, 9, 0}));
    w.settle();
    EXPECT_EQ(w.drops(drop_reason::neigh_queue_full), 1u);
    ASSERT_TRUE(w.send(*s, "elsewhere", {ip("198.18.0.3"), 9, 0}));
    w.settle();
    EXPECT_EQ(w.drops(drop_reason::neigh_table_full), 2u);
    w.sent();
    w.inject(arp_reply(ip("198.18.0.3")));
    EXPECT_EQ(w.sent_one().payload, "elsewhere");
}

TEST(drops, reassembly_full_and_out_of_time) {
    tested_world w(1, [](control::config& c) {
        know_peers(c);
        c.reassembly.max_datagrams = 2;
    });
    for (std::uint32_t id = 1; id <= 3; id++)
        w.inject(fragments(spec4, udp(spec4, 40000, 7, pattern(64)), 48, id).front());
    EXPECT_EQ(w.drops(drop_reason::frag_table_full), 1u);
    EXPECT_EQ(w.count(mib::ip_reasm_fails), 1u);
    w.advance(31s);
    EXPECT_EQ(w.drops(drop_reason::frag_timeout), 2u);
    EXPECT_EQ(w.count(mib::ip_reasm_timeout), 2u);
    EXPECT_EQ(w.count(mib::ip_reasm_fails), 3u);
}

TEST(drops, receive_buffer_full) {
    for (const auto& f : both_families) {
        tested_world w;
        auto s = w.open({f.us, 7});
        set(*s, SOL_SOCKET, SO_RCVBUF, 1);
        for (int i = 0; i < 10; i++) w.inject(udp_frame(f.spec, 40000, 7, "x"));
        const auto taken = w.receive_all(*s).size();
        EXPECT_GE(taken, 1u);
        EXPECT_EQ(w.drops(drop_reason::socket_receive_buffer_full), 10 - taken);
        EXPECT_EQ(w.count(f.us.is_v4() ? mib::udp_rcvbuf_errors : mib::udp6_rcvbuf_errors), 10 - taken);
        EXPECT_EQ(w.count(f.in_errors), 10 - taken);
        EXPECT_EQ(w.count(f.in_datagrams), taken);
        EXPECT_EQ(s->dropped_count(), 10 - taken);
        w.inject(udp_frame(f.spec, 40000, 7, "room again"));
        EXPECT_THAT(w.receive_all(*s), ElementsAre("room again"));
    }
}

TEST(drops, socket_closed_while_its_burst_is_delivered) {
    struct closes_another final : socket::receiver {
        void on_datagrams(socket::udp_socket&, std::span<socket::received>) override { victim.reset(); }
        socket::udp_socket_ptr victim;
    };
    tested_world w;
    closes_another first;
    first.victim = w.open({us4, 8});
    auto s = w.open({us4, 7});
    s->set_receiver(&first);
    w.inject({udp_frame(spec4, 40000, 7, "closes"), udp_frame(spec4, 40000, 8, "too late"),
              udp_frame(spec4, 40001, 8, "too")});
    EXPECT_EQ(w.drops(drop_reason::socket_closed), 2u);
    EXPECT_EQ(w.count(mib::udp_in_errors), 2u);
    w.inject(udp_frame(spec4, 40000, 8, "later"));
    EXPECT_EQ(w.drops(drop_reason::udp_no_port), 1u);
}

TEST(drops, too_big_for_a_path_that_has_shrunk) {
    tested_world w(1, know_peers);
    auto s = w.open({us4, 7});
    ASSERT_TRUE(s->connect(endpoint{peer4, 9, 0}));
    set(*s, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    ASSERT_TRUE(w.send(*s, pattern(1400)));
    const ip_spec back{.from = us4, .to = peer4};
    w.inject(icmp_frame(spec4, 3, 4, 600, ip_packet(back, udp(back, 7, 9, "quoted"))));
    EXPECT_THAT(w.sent(), IsEmpty());
    EXPECT_EQ(w.drops(drop_reason::tx_too_big), 1u);
    EXPECT_EQ(w.count(mib::ip_frag_fails), 1u);
}

TEST(drops, nobody_takes_what_is_sent) {
    constexpr std::size_t limit = 4096;
    tested_world w(1, [](control::config& c) {
        know_peers(c);
        c.pool.packets = 8192;
    });
    auto s = w.open({us4, 7});
    for (std::size_t i = 0; i < limit + 10; i++) {
        ASSERT_TRUE(w.send(*s, "x", {peer4, 9, 0})) << i;
        if (i % 128 == 127) w.settle();
    }
    w.settle();
    EXPECT_EQ(w.drops(drop_reason::tx_ring_full), 10u);
    EXPECT_EQ(w.sent().size(), limit);
    ASSERT_TRUE(w.send(*s, "goes on", {peer4, 9, 0}));
    EXPECT_EQ(w.sent_one().payload, "goes on");
}

TEST(drops, interface_without_a_port) {
    tested_world w;
    ASSERT_TRUE(w.stack().network().change([](net::topology_builder& b) -> result<void> {
        net::interface i;
        i.name = "gone";
        i.port = 9;
        const auto index = b.add_interface(i);
        return b.add_address(*index, *ip_prefix::parse("192.0.2.1/24"));
    }));
    auto s = w.open({ip("192.0.2.1"), 7}, 0, with(SOL_SOCKET, SO_BROADCAST));
    w.advance(10s);
    const auto announcements = w.drops(drop_reason::tx_port_down);
    ASSERT_TRUE(w.send(*s, "x", {ip("192.0.2.255"), 9, 0}));
    EXPECT_THAT(w.sent(), IsEmpty());
    EXPECT_EQ(w.drops(drop_reason::tx_port_down), announcements + 1);
}

TEST(drops, pool_empty_and_full_again) {
    tested_world w(1, know_peers);
    auto a = w.open({ip("0.0.0.0"), 7}, 0, with(SOL_SOCKET, SO_REUSEADDR));
    auto b = w.open({ip("0.0.0.0"), 7}, 0, with(SOL_SOCKET, SO_REUSEADDR));
    ip_spec all = spec4;
    all.to = ip("198.18.0.255");
    const std::string to_all = udp_frame(all, 40000, 7, "to all");
    const auto pings =
        fragments({.protocol = IPPROTO_ICMP}, icmp(spec4, wire::icmp4::echo_request, 0, 1, pattern(3000)), 1400);

    std::vector<rte_mbuf*> held;
    while (rte_mbuf* m = rte_pktmbuf_alloc(w.shard().pool())) held.push_back(m);
    w.inject(to_all);  // a copy for each socket
    EXPECT_EQ(w.drops(drop_reason::no_mbuf), 2u);
    w.inject(pings);  // the reply must be cut into fragments
    EXPECT_EQ(w.drops(drop_reason::no_mbuf), 3u);
    EXPECT_EQ(w.send(*a, "x", {peer4, 9, 0}).error().code, ENOBUFS);
    EXPECT_EQ(w.count(mib::udp_sndbuf_errors), 1u);
    w.inject(udp_frame(spec4, 40000, 99, "no port"));  // no packet for the ICMP error
    EXPECT_THAT(w.sent(), IsEmpty());
    EXPECT_THAT(w.receive_all(*a), IsEmpty());
    rte_pktmbuf_free_bulk(held.data(), static_cast<unsigned>(held.size()));

    w.inject(to_all);
    EXPECT_THAT(w.receive_all(*a), ElementsAre("to all"));
    EXPECT_THAT(w.receive_all(*b), ElementsAre("to all"));
    w.inject(pings);
    EXPECT_EQ(joined(w.sent()).payload, pattern(3000));
}

TEST(drops, mailbox_full) {
    tested_world w(2, [](control::config& c) { c.mailbox.size = 4; });
    auto s = w.open({us4, 7}, 1);
    w.inject(std::vector<std::string>(10, udp_frame(spec4, 40000, 7, "x")));
    w.settle();
    EXPECT_EQ(w.drops(drop_reason::mailbox_full), 7u);
    EXPECT_EQ(w.receive_all(*s).size(), 3u);
    w.inject(udp_frame(spec4, 40000, 7, "room again"));
    w.settle();
    EXPECT_THAT(w.receive_all(*s), ElementsAre("room again"));
}

TEST(drops, a_home_that_never_rests) {
    tested_world w(3);
    auto s = w.open({us4, 7}, 1);
    w.inject(udp_frame(spec4, 40000, 7, "runs after it"));
    s->home_shard = 2;
    w.shard(1).poll_once(w.now());
    s->home_shard = 0;
    w.shard(2).poll_once(w.now());
    EXPECT_EQ(w.drops(drop_reason::steer_loop), 1u);
    // One move is followed.
    w.inject(udp_frame(spec4, 40000, 7, "a"), 1);
    s->home_shard = 2;
    w.settle();
    EXPECT_THAT(w.receive_all(*s), ElementsAre("a"));
}

}  // namespace skua::test
