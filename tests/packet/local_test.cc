// Datagrams between sockets of one host, and datagrams for many sockets.
#include "packet/packet_test.hh"

namespace skua::test {

namespace {

struct local_case {
    std::string name;
    ip_address to;
    ip_address from;  // as the receiver sees it
};
std::ostream& operator<<(std::ostream& out, const local_case& c) { return out << c.name; }
const local_case own_addresses[] = {
    {"loopback4", ip("127.0.0.1"), ip("127.0.0.1")},
    {"other_loopback4", ip("127.1.2.3"), ip("127.0.0.1")},
    {"own4", us4, us4},
    {"loopback6", ip("::1"), ip("::1")},
    {"own6", us6, us6},
};

}  // namespace

class local_delivery : public testing::TestWithParam<local_case> {};
INSTANTIATE_TEST_SUITE_P(addresses, local_delivery, testing::ValuesIn(own_addresses),
                         [](const auto& info) { return info.param.name; });

TEST_P(local_delivery, round_trip_without_a_frame) {
    const auto& c = GetParam();
    for (const unsigned shards : {1u, 2u}) {
        tested_world w(shards);
        auto server = w.open({c.to, 7}, shards - 1);
        auto client = w.open(c.to.is_v4() ? AF_INET : AF_INET6);
        const std::size_t longest = c.to.is_v4() ? 65507 : 65527;
        for (const std::size_t size : {std::size_t(0), std::size_t(5), std::size_t(3000), longest}) {
            ASSERT_TRUE(w.send(*client, pattern(size), {c.to, 7, 0}));
            w.settle();
            const auto got = w.receive(*server);
            ASSERT_TRUE(got) << size;
            EXPECT_EQ(got->payload, pattern(size));
            EXPECT_EQ(got->from.address, c.from);
            EXPECT_EQ(got->from.port, client->local_endpoint().port);
            ASSERT_TRUE(w.send(*server, got->payload, got->from));
            w.settle();
            EXPECT_THAT(w.receive_all(*client), ElementsAre(pattern(size)));
        }
        EXPECT_THAT(w.sent(), IsEmpty());
        EXPECT_EQ(w.all_drops(), 0u);
    }
}

/// As the kernel's own sockets show it (lookup_device_kernel): on the device that has the address.
TEST_P(local_delivery, comes_in_on_the_device_of_the_address) {
    const auto& c = GetParam();
    tested_world w;
    auto client = w.open(c.to.is_v4() ? AF_INET : AF_INET6);
    const char* const device = c.to.is_loopback() ? "lo" : "p0";
    for (const char* bound_to : {"lo", "p0"}) {
        auto server = w.open(c.to.is_v4() ? AF_INET : AF_INET6);
        ASSERT_TRUE(server->setsockopt(SOL_SOCKET, SO_BINDTODEVICE, bound_to, 2));
        ASSERT_TRUE(server->bind(endpoint{ip_address::any(c.to.family()), 7, 0}));
        ASSERT_TRUE(w.send(*client, "x", {c.to, 7, 0}));
        w.settle();
        const bool came = bound_to == std::string_view(device);
        EXPECT_EQ(w.receive_all(*server).size(), came ? 1u : 0u) << bound_to;
    }
}

TEST_P(local_delivery, closed_port_is_told_at_once) {
    const auto& c = GetParam();
    tested_world w;
    auto s = w.open(c.to.is_v4() ? AF_INET : AF_INET6);
    ASSERT_TRUE(s->connect(endpoint{c.to, 99, 0}));
    for (int i = 0; i < 20; i++) {  // our own errors are not limited
        ASSERT_TRUE(w.send(*s, "x"));
        w.settle();
        EXPECT_EQ(w.receive(*s).error().code, ECONNREFUSED);
    }
    EXPECT_EQ(w.drops(drop_reason::udp_no_port), 20u);
    EXPECT_THAT(w.sent(), IsEmpty());
}

TEST(local, v4_sender_to_a_socket_of_both_families) {
    tested_world w;
    auto both = w.open({ip("::"), 7});
    auto s = w.open({us4, 8});
    ASSERT_TRUE(w.send(*s, "mapped", {us4, 7, 0}));
    w.settle();
    const auto got = w.receive(*both);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->from, (endpoint{us4, 8, 0}));
    ASSERT_TRUE(w.send(*both, "back", got->from));
    w.settle();
    EXPECT_THAT(w.receive_all(*s), ElementsAre("back"));
}

TEST(local, a_full_ring_of_looped_datagrams_drains) {
    tested_world w;
    auto receiver = w.open({us4, 7}, 0, with(SOL_SOCKET, SO_RCVBUF, 8388608));
    auto sender = w.open({us4, 8});
    std::size_t arrived = 0;
    for (int i = 0; i < 2000; i++) {
        while (!w.send(*sender, "x", {us4, 7, 0})) w.turn();
        if (i % 100 == 0) arrived += w.receive_all(*receiver).size();
    }
    w.settle();
    EXPECT_EQ(arrived + w.receive_all(*receiver).size(), 2000u);
}

// ---- to many ----

TEST(to_many, a_broadcast_is_answered_from_the_address_of_its_link) {
    tested_world w;
    auto any = w.open({ip("0.0.0.0"), 7}, 0, with(IPPROTO_IP, IP_PKTINFO));
    ip_spec s = spec4;
    for (const char* to : {"198.18.0.255", "255.255.255.255"}) {
        s.to = ip(to);
        w.inject(frame(ip_packet(s, udp(s, 40000, 7, "to all")), mac_address::broadcast()));
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in_pktinfo))> control{};
        msghdr m{};
        m.msg_control = control.data();
        m.msg_controllen = control.size();
        ASSERT_TRUE(any->recvmsg(m, MSG_DONTWAIT)) << to;
        ASSERT_EQ(m.msg_controllen, control.size());
        in_pktinfo told;
        std::memcpy(&told, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof told);
        EXPECT_EQ(told.ipi_addr.s_addr, ip(to).v4().value.raw());
        EXPECT_EQ(told.ipi_spec_dst.s_addr, us4.v4().value.raw());
    }
}

TEST(to_many, broadcast_reaches_every_socket_on_every_shard) {
    for (const unsigned shards : {1u, 2u, 8u}) {
        tested_world w(shards, [](control::config& c) { c.pool.packets = 1024; });
        std::vector<socket::udp_socket_ptr> any;
        for (unsigned i = 0; i < 8; i++)
            any.push_back(w.open({ip("0.0.0.0"), 7}, i % shards, with(SOL_SOCKET, SO_REUSEPORT)));
        auto bound_to_it = w.open({ip("198.18.0.255"), 7}, 0, with(SOL_SOCKET, SO_REUSEPORT));
        auto unicast = w.open({us4, 7}, 0, with(SOL_SOCKET, SO_REUSEPORT));
        auto other_port = w.open({ip("0.0.0.0"), 8});
        ip_spec s = spec4;
        for (const char* to : {"198.18.0.255", "255.255.255.255"}) {
            s.to = ip(to);
            for (unsigned on = 0; on < shards; on++) {
                w.inject(frame(ip_packet(s, udp(s, 40000, 7, "to all")), mac_address::broadcast()), on);
                w.settle();
                for (const auto& a : any) EXPECT_THAT(w.receive_all(*a), ElementsAre("to all")) << to;
                EXPECT_EQ(w.receive_all(*bound_to_it).size(), s.to == ip("198.18.0.255") ? 1u : 0u);
            }
        }
        EXPECT_THAT(w.receive_all(*unicast), IsEmpty());
        EXPECT_THAT(w.receive_all(*other_port), IsEmpty());
        EXPECT_EQ(w.all_drops(), 0u);
    }
}

TEST(to_many, all_nodes_group) {
    tested_world w(2);
    auto a = w.open({ip("::"), 7}, 0, with(SOL_SOCKET, SO_REUSEPORT));
    auto b = w.open({ip("::"), 7}, 1, with(SOL_SOCKET, SO_REUSEPORT));
    const ip_spec s{.from = ip("fe80::2"), .to = ip("ff02::1")};
    w.inject(frame(ip_packet(s, udp(s, 40000, 7, "nodes")), wire::multicast_mac(s.to)));
    w.settle();
    EXPECT_THAT(w.receive_all(*a), ElementsAre("nodes"));
    EXPECT_THAT(w.receive_all(*b), ElementsAre("nodes"));
}

TEST(to_many, our_own_broadcast_is_sent_and_heard) {
    tested_world w(2);
    auto sender = w.open({us4, 8}, 0, with(SOL_SOCKET, SO_BROADCAST));
    auto near = w.open({ip("0.0.0.0"), 7}, 0, with(SOL_SOCKET, SO_REUSEADDR));
    auto far = w.open({ip("0.0.0.0"), 7}, 1, with(SOL_SOCKET, SO_REUSEADDR));
    ASSERT_TRUE(w.send(*sender, "hear", {ip("198.18.0.255"), 7, 0}));
    const seen out = w.sent_one();
    EXPECT_TRUE(out.sound);
    EXPECT_EQ(out.to, mac_address::broadcast());
    EXPECT_EQ(out.payload, "hear");
    for (auto* s : {near.get(), far.get()}) {
        const auto got = w.receive(*s);
        ASSERT_TRUE(got);
        EXPECT_EQ(got->payload, "hear");
        EXPECT_EQ(got->from, (endpoint{us4, 8, 0}));
    }
    set(*sender, SOL_SOCKET, SO_BROADCAST, 0);
    EXPECT_EQ(w.send(*sender, "x", {ip("198.18.0.255"), 7, 0}).error().code, EACCES);
}

TEST(to_many, a_copy_may_be_sent_back_changed) {
    tested_world w(1, know_peers);
    struct answers final : socket::receiver {
        void on_datagrams(socket::udp_socket& s, std::span<socket::received> burst) override {
            for (auto& r : burst) {
                if (auto framed = s.reply(r.datagram, *r.info); framed) to->send(std::move(r.datagram), 0);
            }
        }
        shard::shard* to = nullptr;
    } answering;
    answering.to = &w.shard();
    auto a = w.open({ip("0.0.0.0"), 7}, 0, with(SOL_SOCKET, SO_REUSEADDR));
    auto b = w.open({ip("0.0.0.0"), 7}, 0, with(SOL_SOCKET, SO_REUSEADDR));
    a->set_receiver(&answering);
    ip_spec s = spec4;
    s.to = ip("198.18.0.255");
    w.inject(frame(ip_packet(s, udp(s, 40000, 7, "who is there")), mac_address::broadcast()));
    const seen out = w.sent_one();
    EXPECT_TRUE(out.sound);
    EXPECT_EQ(out.source, us4);
    EXPECT_EQ(out.payload, "who is there");
    EXPECT_THAT(w.receive_all(*b), ElementsAre("who is there"));
}

}  // namespace skua::test
