// Library mode: an application that owns its RX loop gets back what is not for the stack, byte for byte.
#include "packet/packet_test.hh"

namespace skua::test {

namespace {

std::string with_protocol(ip_spec s, std::uint8_t protocol, const std::string& payload) {
    s.protocol = protocol;
    return frame(ip_packet(s, payload));
}
std::string to(ip_spec s, const std::string& destination) {
    s.to = ip(destination);
    return udp_frame(s, 40000, 7, "payload");
}
/// Padded to the least that Ethernet carries.
std::string padded(std::string frame) {
    frame.resize(std::max<std::size_t>(frame.size(), 60), '\x5a');
    return frame;
}
std::string broadcast(const std::string& destination, std::uint16_t port) {
    ip_spec s = spec4;
    s.to = ip(destination);
    return frame(ip_packet(s, udp(s, 68, port, "who am I")), mac_address::broadcast());
}

struct library_case {
    std::string name;
    std::string frame;
    std::size_t answers;  // if nobody takes it
};
std::ostream& operator<<(std::ostream& out, const library_case& c) { return out << c.name; }
const std::vector<library_case> not_for_us = {
    {"tcp4", with_protocol(spec4, IPPROTO_TCP, std::string(20, 't')), 1},
    {"tcp6", with_protocol(spec6, IPPROTO_TCP, std::string(20, 't')), 1},
    {"tcp4_padded", padded(with_protocol(spec4, IPPROTO_TCP, std::string(20, 't'))), 1},
    {"udp4_no_port", udp_frame(spec4, 40000, 99, "x"), 1},
    {"udp6_no_port", udp_frame(spec6, 40000, 99, "x"), 1},
    {"udp4_no_port_padded", padded(udp_frame(spec4, 40000, 99, "x")), 1},
    {"udp4_broadcast_no_port", padded(broadcast("255.255.255.255", 67)), 0},
    {"udp4_another_host", to(spec4, "198.18.0.77"), 0},
    {"udp6_another_host", to(spec6, "2001:db8::77"), 0},
    {"group4", to(spec4, "224.0.0.251"), 0},
    {"group6", to(spec6, "ff02::fb"), 0},
    {"another_mac", frame(ip_packet(spec4, "x"), *parse_mac("02:00:00:00:00:77")), 0},
    {"lldp", padded(frame("lldp", our_mac, 0x88cc)), 0},
    {"unknown_vlan", vlan_frame(99, ip_packet(spec4, "x")), 0},
};

}  // namespace

class library : public testing::TestWithParam<library_case> {};
INSTANTIATE_TEST_SUITE_P(unclaimed, library, testing::ValuesIn(not_for_us),
                         [](const auto& info) { return info.param.name; });

TEST_P(library, gives_back_what_is_not_for_it) {
    const auto& c = GetParam();
    tested_world w(1, know_peers);
    EXPECT_EQ(w.offer({c.frame}), std::vector{c.frame});
    EXPECT_THAT(w.sent(), IsEmpty()) << "it answered what is another's";
    EXPECT_EQ(w.all_drops(), 0u);
}

TEST_P(library, answers_or_drops_if_nobody_takes_it) {
    const auto& c = GetParam();
    tested_world w(1, know_peers);
    w.inject(c.frame);
    EXPECT_EQ(w.sent().size(), c.answers);
    EXPECT_EQ(w.all_drops(), 1u);
}

TEST(library_bursts, are_sorted_apart) {
    tested_world w(1, know_peers);
    auto s = w.open({us4, 7});
    std::vector<std::string> all, expected_back, expected_in;
    for (int i = 0; i < 100; i++) {
        const std::string text = std::to_string(i);
        if (i % 3 == 0) expected_in.push_back(text);
        else expected_back.push_back(i % 3 == 1 ? frame(text, our_mac, 0x88cc) : udp_frame(spec4, 40000, 99, text));
        all.push_back(i % 3 == 0 ? udp_frame(spec4, 40000, 7, text) : expected_back.back());
    }
    auto back = w.offer(all);
    std::sort(back.begin(), back.end());
    std::sort(expected_back.begin(), expected_back.end());
    EXPECT_EQ(back, expected_back);
    EXPECT_EQ(w.receive_all(*s), expected_in);
}

TEST(library_bursts, broken_and_answered_frames_are_not_given_back) {
    tested_world w(1, know_peers);
    std::string bad = udp_frame(spec4, 40000, 7, "x");
    bad.back() ^= 1;
    EXPECT_THAT(w.offer({bad, echo_request(spec4, "ping"), arp_request(), ""}), IsEmpty());
    EXPECT_EQ(w.sent().size(), 2u);
    EXPECT_EQ(w.all_drops(), 2u);
}

TEST(library_bursts, every_sent_frame_names_its_port) {
    tested_world w(1, know_peers);
    w.inject(echo_request(spec4, "ping"));
    rte_mbuf* out[4];
    ASSERT_EQ(w.shard().output(out), 1u);
    EXPECT_EQ(out[0]->port, 0);
    rte_pktmbuf_free(out[0]);
}

}  // namespace skua::test
