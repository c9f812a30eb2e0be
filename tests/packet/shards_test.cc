// Several shards: packets go over to the shard that they belong to, once and in order.
#include <algorithm>
#include <map>
#include <random>

#include "packet/packet_test.hh"

namespace skua::test {

namespace {

void small_pools(control::config& c) {
    know_peers(c);
    c.pool.packets = 1024;
}

}  // namespace

class shards_of : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(count, shards_of, testing::Values(2u, 3u, 8u));

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
}

// The pieces of each datagram come in on all shards, in any order.
TEST_P(shards_of, fragments_meet_wherever_they_come_in) {
    const unsigned n = GetParam();
    std::mt19937 random(n);
    for (const auto& f : both_families) {
        tested_world w(n, small_pools);
        std::vector<socket::udp_socket_ptr> members;
        for (unsigned i = 0; i < n; i++) {
            members.push_back(w.open({f.us, 7}, i, with(SOL_SOCKET, SO_REUSEPORT)));
            set(*members.back(), SOL_SOCKET, SO_RCVBUF, 1 << 20);
        }
        // Whole datagrams of the flows say who gets what.
        std::map<std::string, unsigned> owner;
        const auto drain = [&](const auto& each) {
            for (unsigned i = 0; i < n; i++)
                for (const auto& got : w.receive_all(*members[i])) each(got, i);
        };
        constexpr std::uint16_t flows = 40;
        const auto payload = [](std::uint16_t flow) { return pattern(1000) + std::to_string(flow); };
        for (std::uint16_t flow = 0; flow < flows; flow++)
            w.inject(udp_frame(f.spec, 40000 + flow, 7, payload(flow)), flow % n);
        w.settle();
        drain([&](const auto& got, unsigned i) { owner[got] = i; });
        ASSERT_EQ(owner.size(), flows);

        std::vector<std::string> all;
        for (std::uint16_t flow = 0; flow < flows; flow++)
            for (auto& one : fragments(f.spec, udp(f.spec, 40000 + flow, 7, payload(flow)), 256, 100u + flow))
                all.push_back(std::move(one));
        std::shuffle(all.begin(), all.end(), random);
        for (std::size_t i = 0; i < all.size(); i++) {
            w.inject(all[i], static_cast<unsigned>(random() % n));
            if (i % 7 == 0) w.turn();
        }
        w.settle();
        std::size_t delivered = 0;
        drain([&](const auto& got, unsigned i) {
            delivered++;
            EXPECT_EQ(owner.at(got), i);
        });
        EXPECT_EQ(delivered, flows);
        EXPECT_EQ(w.all_drops(), 0u);
        const bool v4 = f.us.is_v4();
        EXPECT_EQ(w.count(v4 ? mib::ip_in_receives : mib::ip6_in_receives), flows + all.size());
        EXPECT_EQ(w.count(v4 ? mib::ip_reasm_oks : mib::ip6_reasm_oks), flows);
        std::uint64_t pieces = 0, whole = 0;
        for (unsigned i = 0; i < n; i++) {
            pieces += w.shard(i).counts().fragments_handed_over.get();
            whole += w.shard(i).counts().reassembled_handed_over.get();
            EXPECT_GT(w.shard(i).counts().reassembled_handed_over.get(), 0u) << "every shard puts some together";
        }
        EXPECT_GT(pieces, all.size() / 3);
        EXPECT_LT(pieces, all.size());
        EXPECT_LE(whole, flows);
    }
}

TEST_P(shards_of, fragments_that_do_not_fit_are_refused_on_any_shard) {
    const unsigned n = GetParam();
    for (const auto& f : both_families) {
        tested_world w(n, small_pools);
        auto s = w.open({f.us, 7});
        const auto good = fragments(f.spec, udp(f.spec, 40000, 7, pattern(200)), 64, 7);
        const auto coarse = fragments(f.spec, udp(f.spec, 40000, 7, pattern(200)), 80, 7);
        w.inject(good[0], 0);
        w.inject(coarse[1], 1);
        w.settle();
        w.inject(good[1], n - 1);
        w.settle();
        EXPECT_EQ(w.drops(drop_reason::frag_overlap), 3u);
        // Half of another, which nothing follows.
        w.inject(fragments(f.spec, udp(f.spec, 40000, 7, pattern(200)), 64, 8)[0], 1);
        w.settle();
        w.advance(61s);
        EXPECT_EQ(w.drops(drop_reason::frag_timeout), 1u);
        EXPECT_THAT(w.receive_all(*s), IsEmpty());
    }
}

TEST_P(shards_of, a_fragmented_ping_is_answered_once) {
    const unsigned n = GetParam();
    for (const auto& f : both_families) {
        tested_world w(n, small_pools);
        ip_spec s = f.spec;
        s.protocol = icmp_protocol(s);
        const std::uint8_t request = f.us.is_v4() ? wire::icmp4::echo_request : wire::icmp6::echo_request;
        const auto pieces = fragments(s, icmp(s, request, 0, 1, pattern(5000)), 1000);
        for (std::size_t i = 0; i < pieces.size(); i++) w.inject(pieces[i], static_cast<unsigned>(i) % n);
        const seen whole = joined(w.sent());
        EXPECT_TRUE(whole.sound);
        EXPECT_EQ(whole.payload, pattern(5000));
    }
}

TEST_P(shards_of, fragments_to_many_reach_sockets_of_all_shards) {
    const unsigned n = GetParam();
    tested_world w(n, small_pools);
    std::vector<socket::udp_socket_ptr> all;
    for (unsigned i = 0; i < n; i++)
        all.push_back(w.open({ip_address::v4_any(), 7}, i, with(SOL_SOCKET, SO_REUSEADDR)));
    ip_spec s = spec4;
    s.to = *ip_address::parse("198.18.0.255");
    for (std::uint32_t id = 1; id <= 8; id++) {
        const auto pieces = fragments(s, udp(s, 40000, 7, pattern(300)), 104, id);
        for (std::size_t i = 0; i < pieces.size(); i++)
            w.inject(std::vector{pieces[i]}, (id + static_cast<unsigned>(i)) % n);
    }
    w.settle();
    for (auto& each : all) EXPECT_EQ(w.receive_all(*each).size(), 8u);
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
