// Sockets that come and go while datagrams are on their way.
#include <random>

#include "packet/packet_test.hh"

namespace skua::test {

TEST(closing, with_datagrams_in_the_receive_queue) {
    tested_world w;
    auto s = w.open({us4, 7});
    for (int i = 0; i < 50; i++) w.inject(udp_frame(spec4, 40000, 7, pattern(100)));
    EXPECT_GE(w.packets_in_use(), 50u);
    s.reset();
    w.inject(udp_frame(spec4, 40000, 7, "late"));
    EXPECT_EQ(w.drops(drop_reason::udp_no_port), 1u);
}

TEST(closing, with_datagrams_on_their_way_out) {
    tested_world w(2, know_peers);
    auto s = w.open({us4, 7}, 1);
    for (int i = 0; i < 50; i++) ASSERT_TRUE(w.send(*s, std::to_string(i), {peer4, 9, 0}));
    s.reset();
    const auto out = w.sent();
    ASSERT_EQ(out.size(), 50u);
    for (int i = 0; i < 50; i++) EXPECT_EQ(look(out[static_cast<std::size_t>(i)]).payload, std::to_string(i));
}

TEST(closing, with_datagrams_parked) {
    tested_world w;
    auto s = w.open({us4, 7});
    for (int i = 0; i < 5; i++) ASSERT_TRUE(w.send(*s, "x", {peer4, 9, 0}));
    w.settle();
    s.reset();
    w.sent();
    w.inject(arp_reply());
    EXPECT_EQ(w.sent().size(), 5u);
}

TEST(closing, while_datagrams_cross_between_shards) {
    tested_world w(2, know_peers);
    auto s = w.open({us4, 7}, 1);
    w.inject(std::vector<std::string>(10, udp_frame(spec4, 40000, 7, "x")), 0);
    s.reset();
    w.settle();
    EXPECT_EQ(w.drops(drop_reason::udp_no_port), 10u);
    // The next one to have the port gets what was on its way to it.
    s = w.open({us4, 7}, 1);
    w.inject(udp_frame(spec4, 40000, 7, "y"), 0);
    s.reset();
    s = w.open({us4, 7}, 0);
    w.settle();
    EXPECT_THAT(w.receive_all(*s), ElementsAre("y"));
}

TEST(closing, the_whole_stack_with_packets_everywhere) {
    // Parked, in mailboxes, looped, to be sent, half a datagram: all of it goes with the stack.
    tested_world w(2, know_peers);
    for (int i = 0; i < 3; i++) {
        world inner(2, know_peers);
        auto s = inner.open({us4, 7}, 1);
        inner.inject(fragments(spec4, udp(spec4, 40000, 7, pattern(3000)), 1000)[0]);
        inner.inject(std::vector<std::string>(10, udp_frame(spec4, 40000, 7, "x")), 0);
        inner.inject(echo_request(spec4, "not taken"));
        ASSERT_TRUE(inner.send(*s, "local", {us4, 7, 0}));
        ASSERT_TRUE(inner.send(*s, "parked", {ip("198.18.0.9"), 9, 0}));
        if (i > 0) inner.turn();
        ASSERT_TRUE(inner.send(*s, "in the inbox", {peer4, 9, 0}));
        s.reset();
    }
}

TEST(closing, sockets_bound_moved_and_closed_between_polls) {
    tested_world w(2, [](control::config& c) {
        know_peers(c);
        c.pool.packets = 2048;
    });
    std::mt19937 random(1);
    std::vector<socket::udp_socket_ptr> sockets(8);
    std::uint64_t received = 0, sent = 0;
    for (int round = 0; round < 3000; round++) {
        auto& s = sockets[random() % sockets.size()];
        const std::uint16_t port = 7 + random() % 3;
        switch (random() % 8) {
            case 0: s.reset(); break;
            case 1:
            case 2:
                s = w.open({random() % 2 ? us4 : ip("0.0.0.0"), port}, random() % 2, with(SOL_SOCKET, SO_REUSEPORT));
                break;
            case 3:
                if (s) (void)s->connect(endpoint{peer4, 40000, 0});
                break;
            case 4:
                if (s) s->disconnect();
                break;
            case 5:
                if (s) received += w.receive_all(*s).size();
                break;
            case 6:
                if (s) sent += w.send(*s, "x", {random() % 2 ? peer4 : us4, port, 0}).has_value();
                break;
            default: w.inject(udp_frame(spec4, 40000, port, "x"), random() % 2); break;
        }
        if (random() % 4 == 0) w.turn();
        if (random() % 50 == 0) w.sent();
        if (random() % 20 == 0) w.advance(1ms);
    }
    EXPECT_GT(received, 0u);
    EXPECT_GT(sent, 0u);
}

TEST(closing, leaves_nothing_to_be_freed) {
    tested_world w;
    for (int i = 0; i < 200; i++) {
        auto s = w.open({us4, 7});
        ASSERT_TRUE(s->connect(endpoint{peer4, 9, 0}));
    }
    for (int i = 0; i < 50; i++) w.advance(1ms);
    EXPECT_EQ(w.stack().rcu().retired(), 0u);
}

}  // namespace skua::test
