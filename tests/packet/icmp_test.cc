// ICMP on a whole host: what it answers, how often, and what its sockets hear of errors.
#include "packet/packet_test.hh"

namespace skua::test {

namespace {

struct icmp_case {
    const family_case& f;
    std::uint8_t unreachable, port_code, too_big, too_big_code;
    std::size_t longest;  // of an error, IP header included
    std::uint32_t least_mtu;
};
std::ostream& operator<<(std::ostream& out, const icmp_case& c) { return out << c.f; }
const icmp_case cases[] = {
    {both_families[0], wire::icmp4::unreachable, wire::icmp4::code_port, wire::icmp4::unreachable,
     wire::icmp4::code_fragmentation_needed, 576, 552},
    {both_families[1], wire::icmp6::unreachable, wire::icmp6::code_port, wire::icmp6::packet_too_big, 0, 1280, 1280},
};

std::size_t ip_length(const ip_address& a) { return a.is_v4() ? 20 : 40; }

/// A datagram of ours as a router would quote it.
std::string quote(const family_case& f, std::uint16_t from, std::uint16_t to, std::string_view payload = "quoted") {
    const ip_spec back{.from = f.us, .to = f.peer};
    return ip_packet(back, udp(back, from, to, payload));
}
int pending_error(socket::udp_socket& s) { return option(s, SOL_SOCKET, SO_ERROR); }

}  // namespace

class icmp_of : public testing::TestWithParam<icmp_case> {};
INSTANTIATE_TEST_SUITE_P(families, icmp_of, testing::ValuesIn(cases),
                         [](const auto& info) { return info.param.f.us.is_v4() ? "ipv4" : "ipv6"; });

TEST_P(icmp_of, port_unreachable_quotes_what_came) {
    const auto& c = GetParam();
    tested_world w(1, know_peers);
    for (const std::size_t size : {0, 5, 1400}) {
        const std::string in = udp_frame(c.f.spec, 40000, 99, pattern(size));
        w.inject(in);
        const seen out = w.sent_one();
        EXPECT_TRUE(out.sound);
        EXPECT_EQ(out.to, peer_mac);
        EXPECT_EQ(out.source, c.f.us);
        EXPECT_EQ(out.destination, c.f.peer);
        ASSERT_TRUE(out.icmp);
        EXPECT_EQ(out.icmp->type, c.unreachable);
        EXPECT_EQ(out.icmp->code, c.port_code);
        EXPECT_EQ(out.icmp->rest.host(), 0u);
        const std::string whole = in.substr(eth_length);
        const std::size_t room = c.longest - ip_length(c.f.us) - sizeof(wire::icmp_header);
        EXPECT_EQ(out.payload, whole.substr(0, room));
    }
    EXPECT_EQ(w.count(c.f.no_ports), 3u);
}

TEST_P(icmp_of, errors_are_limited_in_number) {
    const auto& c = GetParam();
    tested_world w(1, know_peers);
    for (int i = 0; i < 100; i++) w.inject(udp_frame(c.f.spec, 40000, 99, "x"));
    const std::size_t burst = w.sent().size();
    EXPECT_GE(burst, 1u);
    EXPECT_LE(burst, 10u);
    EXPECT_EQ(w.count(c.f.no_ports), 100u);
    EXPECT_EQ(w.drops(drop_reason::udp_no_port), 100u);
    w.advance(1s);
    for (int i = 0; i < 10; i++) w.inject(udp_frame(c.f.spec, 40000, 99, "x"));
    EXPECT_EQ(w.sent().size(), 1u);
}

TEST_P(icmp_of, connected_socket_hears_of_a_closed_port) {
    const auto& c = GetParam();
    tested_world w(1, know_peers);
    auto connected = w.open({c.f.us, 7});
    auto unconnected = w.open({c.f.us, 8});
    ASSERT_TRUE(connected->connect(endpoint{c.f.peer, 9, 0}));
    ASSERT_TRUE(w.send(*connected, "x"));
    w.sent();
    w.inject(icmp_frame(c.f.spec, c.unreachable, c.port_code, 0, quote(c.f, 7, 9)));
    EXPECT_EQ(pending_error(*connected), ECONNREFUSED);
    EXPECT_EQ(pending_error(*connected), 0);
    w.inject(icmp_frame(c.f.spec, c.unreachable, c.port_code, 0, quote(c.f, 7, 9)));
    EXPECT_EQ(w.receive(*connected).error().code, ECONNREFUSED);
    w.inject(icmp_frame(c.f.spec, c.unreachable, c.port_code, 0, quote(c.f, 7, 9)));
    EXPECT_EQ(w.send(*connected, "x").error().code, ECONNREFUSED);
    EXPECT_TRUE(w.send(*connected, "x"));

    w.inject(icmp_frame(c.f.spec, c.unreachable, c.port_code, 0, quote(c.f, 8, 9)));
    EXPECT_EQ(pending_error(*unconnected), 0);
    EXPECT_EQ(w.all_drops(), 0u);
    // Not its peer: somebody guesses.
    w.inject(icmp_frame(c.f.spec, c.unreachable, c.port_code, 0, quote(c.f, 7, 10)));
    EXPECT_EQ(pending_error(*connected), 0);
    EXPECT_EQ(w.drops(drop_reason::icmp_no_socket), 1u);
}

TEST_P(icmp_of, errno_of_each_error) {
    const auto& c = GetParam();
    tested_world w(1, know_peers);
    auto s = w.open({c.f.us, 7});
    ASSERT_TRUE(s->connect(endpoint{c.f.peer, 9, 0}));
    struct row {
        std::uint8_t type, code;
        int error;  // 0: a connected socket is not told
    };
    const std::vector<row> v4 = {{3, 0, 0},           {3, 1, 0},
                                 {3, 2, ENOPROTOOPT}, {3, 3, ECONNREFUSED},
                                 {3, 5, 0},           {3, 6, ENETUNREACH},
                                 {3, 7, EHOSTDOWN},   {3, 8, ENONET},
                                 {3, 9, ENETUNREACH}, {3, 10, EHOSTUNREACH},
                                 {3, 11, 0},          {3, 13, EHOSTUNREACH},
                                 {11, 0, 0},          {12, 0, EPROTO}};
    const std::vector<row> v6 = {{1, 0, 0},      {1, 1, EACCES}, {1, 3, 0},     {1, 4, ECONNREFUSED},
                                 {1, 5, EACCES}, {3, 0, 0},      {4, 1, EPROTO}};
    for (const row& r : c.f.us.is_v4() ? v4 : v6) {
        w.inject(icmp_frame(c.f.spec, r.type, r.code, 0, quote(c.f, 7, 9)));
        EXPECT_EQ(pending_error(*s), r.error) << int(r.type) << "/" << int(r.code);
    }
}

TEST_P(icmp_of, too_big_lowers_the_path_mtu) {
    const auto& c = GetParam();
    tested_world w(1, know_peers);
    auto s = w.open({c.f.us, 7});
    ASSERT_TRUE(s->connect(endpoint{c.f.peer, 9, 0}));
    ASSERT_TRUE(w.send(*s, pattern(1450)));
    const seen whole = w.sent_one();
    EXPECT_TRUE(whole.sound);
    EXPECT_EQ(whole.dont_fragment, c.f.us.is_v4());

    w.inject(icmp_frame(c.f.spec, c.too_big, c.too_big_code, 1300, quote(c.f, 7, 9)));
    EXPECT_EQ(pending_error(*s), EMSGSIZE);
    ASSERT_TRUE(w.send(*s, pattern(1450)));
    const auto pieces = w.sent();
    EXPECT_EQ(pieces.size(), 2u);
    for (const auto& p : pieces) EXPECT_LE(p.size(), eth_length + 1300);
    EXPECT_EQ(joined(pieces).payload, pattern(1450));

    // Who forbids fragments is told.
    const bool v4 = c.f.us.is_v4();
    set(*s, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, IP_PMTUDISC_DO);
    EXPECT_EQ(w.send(*s, pattern(1450)).error().code, EMSGSIZE);
    EXPECT_TRUE(w.send(*s, pattern(1300 - ip_length(c.f.us) - 8)));
    EXPECT_TRUE(w.sent_one().sound);

    // Absurd values count as the least that every link passes; others do not raise it.
    w.inject(icmp_frame(c.f.spec, c.too_big, c.too_big_code, 5, quote(c.f, 7, 9)));
    pending_error(*s);
    EXPECT_EQ(w.send(*s, pattern(c.least_mtu - ip_length(c.f.us) - 7)).error().code, EMSGSIZE);
    EXPECT_TRUE(w.send(*s, pattern(c.least_mtu - ip_length(c.f.us) - 8)));
    w.inject(icmp_frame(c.f.spec, c.too_big, c.too_big_code, 1400, quote(c.f, 7, 9)));
    pending_error(*s);
    EXPECT_EQ(w.send(*s, pattern(1300)).error().code, EMSGSIZE);
    w.sent();
    // It is forgotten in time.
    w.advance(11min);
    w.inject(c.f.us.is_v4() ? arp_reply() : neighbor_advertisement());
    EXPECT_TRUE(w.send(*s, pattern(1450)));
    EXPECT_TRUE(w.sent_one().sound);
}

TEST_P(icmp_of, too_big_about_a_datagram_never_sent_is_not_believed) {
    const auto& c = GetParam();
    tested_world w(1, know_peers);
    w.inject(icmp_frame(c.f.spec, c.too_big, c.too_big_code, 1300, quote(c.f, 7, 9)));
    EXPECT_EQ(w.drops(drop_reason::icmp_no_socket), 1u);
    auto s = w.open({c.f.us, 7});
    ASSERT_TRUE(w.send(*s, pattern(1450), {c.f.peer, 9, 0}));
    EXPECT_EQ(w.sent().size(), 1u);
}

TEST_P(icmp_of, no_error_about_what_was_sent_to_many) {
    const auto& c = GetParam();
    tested_world w(1, know_peers);
    // A single host, but the frame is for all.
    w.inject(frame(ip_packet(c.f.spec, udp(c.f.spec, 40000, 99, "x")), mac_address::broadcast()));
    EXPECT_THAT(w.sent(), IsEmpty());
    ip_spec many = c.f.spec;
    many.to = c.f.us.is_v4() ? ip("198.18.0.255") : ip("ff02::1");
    w.inject(frame(ip_packet(many, udp(many, 40000, 99, "x")), mac_address::broadcast()));
    EXPECT_THAT(w.sent(), IsEmpty());
    EXPECT_EQ(w.drops(drop_reason::udp_no_port), 2u);
    EXPECT_EQ(w.count(c.f.no_ports), 1u);
}

TEST(icmp, ping_of_a_broadcast_address_is_ignored) {
    tested_world w(1, know_peers);
    ip_spec s = spec4;
    s.to = ip("198.18.0.255");
    w.inject(echo_request(s, "smurf"));
    EXPECT_THAT(w.sent(), IsEmpty());
    EXPECT_EQ(w.drops(drop_reason::icmp_ignored), 1u);
}

TEST(icmp, ping_of_a_group_is_answered_from_our_own_address) {
    tested_world w(1, know_peers);
    ip_spec s = spec6;
    s.to = ip("ff02::1");
    w.inject(echo_request(s, "all nodes"));
    const seen out = w.sent_one();
    EXPECT_TRUE(out.sound);
    EXPECT_EQ(out.source, us6);
    EXPECT_EQ(out.payload, "all nodes");
}

}  // namespace skua::test
