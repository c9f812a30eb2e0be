// Several shards: packets go over to the shard that they belong to, once and in order.
#include <map>

#include "packet/packet_test.hh"

namespace skua::test {

namespace {

void small_pools(control::config& c) {
    know_peers(c);
    c.pool.packets = 1024;
}

}  // namespace

class shards_of : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(count, shards_of, testing::Values(2u, 8u));

TEST_P(shards_of, datagrams_go_home_once_and_in_order) {
    const unsigned n = GetParam();
    tested_world w(n, small_pools);
    for (unsigned home = 0; home < n; home++) {
        for (const auto& f : both_families) {
            auto s = w.open({f.us, 7}, home);
            for (unsigned on = 0; on < n; on++) {
                std::vector<std::string> sent;
                for (int i = 0; i < 40; i++) {
                    sent.push_back(std::to_string(on) + "-" + std::to_string(i));
                    w.inject(udp_frame(f.spec, 40000, 7, sent.back()), on);
                    if (i % 15 == 0) w.turn();
                }
                w.settle();
                EXPECT_EQ(w.receive_all(*s), sent);
            }
        }
    }
    std::uint64_t crossed = 0;
    for (unsigned i = 0; i < n; i++) crossed += w.shard(i).counts().handed_over.get();
    EXPECT_EQ(crossed, 2u * n * (n - 1) * 40);
    EXPECT_EQ(w.all_drops(), 0u);
}

TEST_P(shards_of, fragments_go_home_when_they_are_whole) {
    const unsigned n = GetParam();
    tested_world w(n, small_pools);
    auto s = w.open({us4, 7}, n - 1);
    const auto pieces = fragments(spec4, udp(spec4, 40000, 7, pattern(20000)), 1400);
    w.inject(pieces, 0);
    w.settle();
    EXPECT_THAT(w.receive_all(*s), ElementsAre(pattern(20000)));
    // Fragments of one datagram that come in on two shards never meet.
    w.inject({pieces.begin(), pieces.begin() + 3}, 0);
    w.inject({pieces.begin() + 3, pieces.end()}, 1);
    w.settle();
    EXPECT_THAT(w.receive_all(*s), IsEmpty());
}

TEST_P(shards_of, members_of_a_group_receive_on_their_shards) {
    const unsigned n = GetParam();
    tested_world w(n, small_pools);
    std::vector<socket::udp_socket_ptr> members;
    for (unsigned i = 0; i < n; i++) {
        members.push_back(w.open({us4, 7}, i, with(SOL_SOCKET, SO_REUSEPORT)));
        set(*members.back(), SOL_SOCKET, SO_RCVBUF, 1 << 20);
    }
    std::map<std::string, unsigned> member_of_flow;
    for (int round = 0; round < 3; round++)
        for (std::uint16_t port = 40000; port < 40200; port++)
            w.inject(udp_frame(spec4, port, 7, std::to_string(port)), (port + static_cast<unsigned>(round)) % n);
    w.settle();
    std::size_t total = 0;
    for (unsigned i = 0; i < n; i++) {
        const auto got = w.receive_all(*members[i]);
        EXPECT_GT(got.size(), 300 / n) << i;
        total += got.size();
        for (const auto& flow : got) EXPECT_EQ(member_of_flow.emplace(flow, i).first->second, i) << flow;
    }
    EXPECT_EQ(total, 600u);
    EXPECT_EQ(w.all_drops(), 0u);
}

TEST_P(shards_of, neighbour_messages_reach_the_owner) {
    const unsigned n = GetParam();
    tested_world w(n, [](control::config& c) { c.pool.packets = 1024; });
    w.inject(arp_request(), n - 1);
    EXPECT_EQ(ip_address(w.sent_one().arp->target_ip), peer4);
    w.inject(neighbor_solicitation(), n - 1);
    EXPECT_EQ(w.sent_one().destination, peer6);
    EXPECT_EQ(w.count(mib::icmp6_in_neighbor_solicits), 1u);
    const auto known = w.stack().network().neighbours().list();
    EXPECT_EQ(known.size(), 2u);
}

TEST_P(shards_of, unresolved_datagrams_of_any_shard_are_parked_and_leave_in_order) {
    const unsigned n = GetParam();
    for (const auto& f : both_families) {
        tested_world w(n, [](control::config& c) { c.pool.packets = 1024; });
        auto s = w.open({f.us, 7}, n - 1);
        for (const char* text : {"1", "2", "3"}) ASSERT_TRUE(w.send(*s, text, {f.peer, 9, 0}));
        EXPECT_EQ(w.sent().size(), 1u);  // the question
        w.inject(f.us.is_v4() ? arp_reply() : neighbor_advertisement(), n - 1);
        std::vector<std::string> payloads;
        for (const auto& out : w.sent()) payloads.push_back(look(out).payload);
        EXPECT_THAT(payloads, ElementsAre("1", "2", "3"));
        // Now the shard finds the way by itself.
        ASSERT_TRUE(w.send(*s, "4", {f.peer, 9, 0}));
        EXPECT_EQ(w.sent_one().payload, "4");
        EXPECT_EQ(w.all_drops(), 0u);
    }
}

TEST_P(shards_of, errors_about_sockets_of_other_shards) {
    const unsigned n = GetParam();
    tested_world w(n, small_pools);
    auto s = w.open({us4, 7}, n - 1);
    ASSERT_TRUE(s->connect(endpoint{peer4, 9, 0}));
    const ip_spec back{.from = us4, .to = peer4};
    w.inject(icmp_frame(spec4, 3, 3, 0, ip_packet(back, udp(back, 7, 9, "quoted"))), 0);
    EXPECT_EQ(w.receive(*s).error().code, ECONNREFUSED);
}

TEST(shards, announced_replies_confirm_nothing_on_any_shard) {
    for (const unsigned on : {0u, 1u}) {
        tested_world w(2);
        auto s = w.open({us4, 7});
        ASSERT_TRUE(w.send(*s, "x", {peer4, 9, 0}));
        w.sent();
        // A reply to everyone teaches the address, but does not show that the peer hears us.
        w.inject(arp_frame(wire::arp_reply, peer_mac, peer4, our_mac, us4, mac_address::broadcast()), on);
        EXPECT_EQ(w.sent_one().payload, "x");
        const auto known = w.stack().network().neighbours().list();
        ASSERT_EQ(known.size(), 1u);
        EXPECT_EQ(known[0].state, net::neighbour_state::stale) << on;
    }
}

TEST(shards, socket_that_moves_receives_at_its_new_home) {
    tested_world w(2);
    auto s = w.open({us4, 7}, 0);
    w.inject(udp_frame(spec4, 40000, 7, "before"), 1);
    s->home_shard = 1;  // while the datagram is on its way
    w.inject(udp_frame(spec4, 40000, 7, "after"), 1);
    w.settle();
    EXPECT_EQ(w.receive_all(*s).size(), 2u);
    EXPECT_EQ(w.all_drops(), 0u);
}

}  // namespace skua::test
