// Upgrades as programs make them: udpgrm's options on sockets of a whole stack, with its errno, and flows that stay.
#include "skua/udp_grm.h"

#include <map>

#include "packet/packet_test.hh"
#include "skua/options.h"
#include "udp/generations.hh"

namespace skua::test {

namespace {

constexpr std::uint16_t service = 4433;

class generation_options : public testing::TestWithParam<unsigned> {
protected:
    using socket_ptr = socket::udp_socket_ptr;

    socket_ptr open(const std::function<void(socket::udp_socket&)>& before = {}) {
        return w.open({us4, service}, static_cast<unsigned>(opened++) % GetParam(), [&](socket::udp_socket& s) {
            set(s, SOL_SOCKET, SO_REUSEPORT, 1);
            if (before) before(s);
        });
    }
    static int put(socket::udp_socket& s, int name, const void* value, std::size_t length) {
        const auto done = s.setsockopt(IPPROTO_UDP, name, value, static_cast<socklen_t>(length));
        return done ? 0 : done.error().code;
    }
    static int put(socket::udp_socket& s, int name, std::uint32_t value) { return put(s, name, &value, sizeof value); }
    static int assure(socket::udp_socket& s, const char* address, std::uint16_t port) {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_port = htons(port);
        a.sin_addr.s_addr = ip(address).v4().value.raw();
        return put(s, UDP_GRM_FLOW_ASSURE, &a, sizeof a);
    }
    static int error_of_get(socket::udp_socket& s, int name, socklen_t room = 4) {
        char value[1024];
        const auto got = s.getsockopt(IPPROTO_UDP, name, value, &room);
        return got ? 0 : got.error().code;
    }
    static std::uint32_t number(socket::udp_socket& s, int name) {
        std::uint32_t value = 0;
        socklen_t length = sizeof value;
        EXPECT_TRUE(s.getsockopt(IPPROTO_UDP, name, &value, &length));
        EXPECT_EQ(length, sizeof value);
        return value;
    }
    static udp_grm_socket_gen place(socket::udp_socket& s) {
        udp_grm_socket_gen where{};
        socklen_t length = sizeof where;
        EXPECT_TRUE(s.getsockopt(IPPROTO_UDP, UDP_GRM_SOCKET_GEN, &where, &length));
        EXPECT_EQ(length, 12u);
        return where;
    }
    /// As a server starts: the next generation, then the working one.
    std::uint32_t upgrade_to(socket::udp_socket& s) {
        const std::uint32_t next = number(s, UDP_GRM_WORKING_GEN) + 1;
        EXPECT_EQ(put(s, UDP_GRM_SOCKET_GEN, next), 0);
        EXPECT_EQ(put(s, UDP_GRM_WORKING_GEN, next), 0);
        return next;
    }
    void arrive(std::uint16_t flow, std::string_view payload = "ask") {
        w.inject(udp_frame(spec4, flow, service, payload), flow % GetParam());
        w.settle();
    }
    /// Whose the datagram was; it answers.
    static bool serve(socket::udp_socket& s, bool answers = true) {
        const auto got = world::receive(s);
        if (got && answers) {
            EXPECT_TRUE(world::send(s, "answer", got->from));
        }
        return got.has_value();
    }
    udp::generation_counters counted(socket::udp_socket& s) {
        const auto lock = w.stack().tables().lock();
        return s.member_of->by_generation()->counted();
    }

    tested_world w{GetParam(), know_peers};
    int opened = 0;
};
INSTANTIATE_TEST_SUITE_P(shards, generation_options, testing::Values(1u, 2u));

}  // namespace

TEST_P(generation_options, probing_never_fails) {
    auto unbound = w.open(AF_INET);
    EXPECT_EQ(number(*unbound, UDP_GRM_WORKING_GEN), 0xffffffffu);
    auto s = open();
    EXPECT_EQ(number(*s, UDP_GRM_WORKING_GEN), 0xffffffffu);
    EXPECT_EQ(put(*s, UDP_GRM_SOCKET_GEN, 0), 0);
    EXPECT_EQ(number(*s, UDP_GRM_WORKING_GEN), 0u);
    EXPECT_EQ(put(*s, UDP_GRM_WORKING_GEN, 77), 0);
    EXPECT_EQ(number(*s, UDP_GRM_WORKING_GEN), 77u);
    auto v6 = w.open(AF_INET6);
    EXPECT_EQ(number(*v6, UDP_GRM_WORKING_GEN), 0xffffffffu);
}

TEST_P(generation_options, need_a_bound_member_of_a_group) {
    auto unbound = w.open(AF_INET), alone = w.open({us4, 1});
    for (auto* s : {unbound.get(), alone.get()}) {
        for (const int name : {UDP_GRM_WORKING_GEN, UDP_GRM_SOCKET_GEN, UDP_GRM_DISSECTOR, UDP_GRM_SOCKET_APP})
            EXPECT_EQ(put(*s, name, 0), EBADF) << name;
        EXPECT_EQ(assure(*s, "198.18.0.2", 1), EBADF);
        for (const int name : {UDP_GRM_SOCKET_GEN, UDP_GRM_DISSECTOR, UDP_GRM_SOCKET_APP})
            EXPECT_EQ(error_of_get(*s, name), EBADFD) << name;
    }
}

TEST_P(generation_options, need_room_for_four_bytes) {
    auto s = open();
    const char some[4] = {};
    for (int name = UDP_GRM_WORKING_GEN; name <= UDP_GRM_SOCKET_APP; name++) {
        for (const std::size_t length : {0u, 1u, 3u}) EXPECT_EQ(put(*s, name, some, length), EFAULT) << name;
        EXPECT_EQ(error_of_get(*s, name, 3), EFAULT) << name;
    }
    socklen_t negative = static_cast<socklen_t>(-1);
    EXPECT_EQ(s->getsockopt(IPPROTO_UDP, UDP_GRM_WORKING_GEN, nullptr, &negative).error().code, EINVAL);
    EXPECT_EQ(put(*s, 199, 0), ENOPROTOOPT);
    EXPECT_EQ(put(*s, 205, 0), ENOPROTOOPT);
}

TEST_P(generation_options, a_socket_learns_its_place) {
    auto a = open(), b = open();
    EXPECT_EQ(place(*a).socket_gen, 0xffffffffu);
    EXPECT_EQ(place(*a).socket_idx, 0xffffffffu);
    EXPECT_EQ(put(*a, UDP_GRM_SOCKET_GEN, 5), 0);
    EXPECT_EQ(put(*b, UDP_GRM_SOCKET_GEN, 5), 0);
    EXPECT_EQ(place(*a).socket_gen, 5u);
    EXPECT_EQ(place(*a).socket_idx, 0u);
    EXPECT_EQ(place(*b).socket_idx, 1u);
    EXPECT_EQ(place(*b).grm_cookie, (udp::grm_cookie{5, 1}.pack()));
    // As much as there is room for.
    std::uint32_t two[2];
    socklen_t length = sizeof two;
    ASSERT_TRUE(b->getsockopt(IPPROTO_UDP, UDP_GRM_SOCKET_GEN, two, &length));
    EXPECT_EQ(length, 8u);
    EXPECT_EQ(two[0], 5u);
    EXPECT_EQ(two[1], 1u);
    EXPECT_EQ(error_of_get(*a, UDP_GRM_FLOW_ASSURE), EPERM);
}

TEST_P(generation_options, the_first_socket_sets_the_dissector) {
    auto a = open(), b = open();
    const std::uint32_t flow[] = {DISSECTOR_FLOW, 124}, other[] = {DISSECTOR_FLOW, 60}, noop[] = {DISSECTOR_NOOP};
    const std::uint32_t loud[] = {DISSECTOR_FLOW | DISSECTOR_FLAG_VERBOSE, 124}, unknown[] = {2};
    EXPECT_EQ(error_of_get(*a, UDP_GRM_DISSECTOR), EBADFD);
    EXPECT_EQ(put(*a, UDP_GRM_DISSECTOR, unknown, sizeof unknown), EPERM);
    EXPECT_EQ(error_of_get(*a, UDP_GRM_DISSECTOR), EBADFD) << "nothing came of it";
    EXPECT_EQ(put(*a, UDP_GRM_DISSECTOR, flow, sizeof flow), 0);
    EXPECT_EQ(put(*b, UDP_GRM_DISSECTOR, flow, sizeof flow), 0);
    EXPECT_EQ(put(*b, UDP_GRM_DISSECTOR, loud, sizeof loud), 0);
    EXPECT_EQ(put(*b, UDP_GRM_DISSECTOR, other, sizeof other), EPERM);
    EXPECT_EQ(put(*b, UDP_GRM_DISSECTOR, noop, sizeof noop), EPERM);
    EXPECT_EQ(put(*b, UDP_GRM_DISSECTOR, unknown, sizeof unknown), EPERM);
    udp_grm_dissector there{};
    socklen_t length = sizeof there;
    ASSERT_TRUE(b->getsockopt(IPPROTO_UDP, UDP_GRM_DISSECTOR, &there, &length));
    EXPECT_EQ(length, 632u);
    EXPECT_EQ(there.flow_entry_timeout_sec, 124u);
}

TEST_P(generation_options, any_other_option_settles_for_flow) {
    auto s = open();
    EXPECT_EQ(put(*s, UDP_GRM_WORKING_GEN, 0), 0);
    const std::uint32_t plain[] = {DISSECTOR_FLOW}, timed[] = {DISSECTOR_FLOW, 125};
    EXPECT_EQ(put(*s, UDP_GRM_DISSECTOR, plain, sizeof plain), 0);
    EXPECT_EQ(put(*s, UDP_GRM_DISSECTOR, timed, sizeof timed), EPERM);
    // And the group forgets with its last socket.
    s.reset();
    s = open();
    EXPECT_EQ(number(*s, UDP_GRM_WORKING_GEN), 0xffffffffu);
    EXPECT_EQ(put(*s, UDP_GRM_DISSECTOR, timed, sizeof timed), 0);
}

TEST_P(generation_options, applications_come_before_generations) {
    auto s = open(), flow = w.open({us4, 1}, 0, with(SOL_SOCKET, SO_REUSEPORT));
    udp_grm_dissector d{};
    d.dissector_type = DISSECTOR_CBPF;
    d.max_apps = 2;
    d.filter_len = 1;
    d.filter[0] = BPF_STMT(BPF_RET | BPF_K, 0x80000001);
    ASSERT_EQ(put(*s, UDP_GRM_DISSECTOR, &d, sizeof d), 0);
    EXPECT_EQ(put(*s, UDP_GRM_SOCKET_APP, 2), EOVERFLOW);
    EXPECT_EQ(put(*s, UDP_GRM_SOCKET_APP, 1), 0);
    EXPECT_EQ(number(*s, UDP_GRM_SOCKET_APP), 1u);
    EXPECT_EQ(put(*s, UDP_GRM_SOCKET_GEN, 0), 0);
    EXPECT_EQ(put(*s, UDP_GRM_SOCKET_APP, 0), EEXIST);
    EXPECT_EQ(put(*s, UDP_GRM_SOCKET_APP, 1), 0);
    EXPECT_EQ(assure(*s, "198.18.0.2", 1), EPERM) << "no flow table";
    EXPECT_EQ(put(*flow, UDP_GRM_SOCKET_APP, 0), 0);
    EXPECT_EQ(put(*flow, UDP_GRM_SOCKET_APP, 1), EOVERFLOW);
}

TEST_P(generation_options, a_flow_is_assured_once) {
    auto a = open(), b = open();
    EXPECT_EQ(assure(*a, "198.18.0.2", 5), 0);
    EXPECT_EQ(assure(*a, "198.18.0.2", 5), 0);
    EXPECT_EQ(assure(*b, "198.18.0.2", 5), EEXIST);
    EXPECT_EQ(assure(*b, "198.18.0.2", 6), 0);
    sockaddr_in6 mapped{};
    mapped.sin6_family = AF_INET6;
    mapped.sin6_port = htons(6);
    std::memcpy(&mapped.sin6_addr, peer4.bytes().data(), 16);
    EXPECT_EQ(put(*a, UDP_GRM_FLOW_ASSURE, &mapped, sizeof mapped), EEXIST);
    mapped.sin6_port = htons(7);
    EXPECT_EQ(put(*a, UDP_GRM_FLOW_ASSURE, &mapped, sizeof mapped), 0);
    EXPECT_EQ(put(*a, UDP_GRM_FLOW_ASSURE, &mapped, sizeof mapped - 1), EPERM);
    mapped.sin6_family = AF_UNIX;
    EXPECT_EQ(put(*a, UDP_GRM_FLOW_ASSURE, &mapped, sizeof mapped), EPERM);
    EXPECT_EQ(counted(*a).tx_flow_create_ok, 3u);
    EXPECT_EQ(counted(*a).tx_flow_update_conflict, 2u);
    b.reset();
    EXPECT_EQ(assure(*a, "198.18.0.2", 6), 0) << "who had it is no more";
    EXPECT_EQ(counted(*a).orphaned, 1u);
}

TEST_P(generation_options, the_flow_table_is_as_large_as_asked) {
    const auto room = [](socket::udp_socket& s) { return option(s, SOL_SKUA, SKUA_GROUP_FLOWS); };
    const auto ask = [](socket::udp_socket& s, int flows) {
        const auto done = s.setsockopt(SOL_SKUA, SKUA_GROUP_FLOWS, &flows, sizeof flows);
        return done ? 0 : done.error().code;
    };
    auto s = open();
    EXPECT_EQ(room(*s), 65536);
    EXPECT_EQ(ask(*s, 0), EINVAL);
    EXPECT_EQ(ask(*s, 4194305), EINVAL);
    EXPECT_EQ(ask(*s, 4194304), 0);
    EXPECT_EQ(ask(*s, 20), 0);
    EXPECT_EQ(put(*s, UDP_GRM_SOCKET_GEN, 0), 0);
    EXPECT_EQ(ask(*s, 30), EPERM);
    EXPECT_EQ(room(*open()), 20);
    for (std::uint16_t port = 1; port <= 30; port++) EXPECT_EQ(assure(*s, "198.18.0.2", port), 0);
    EXPECT_EQ(counted(*s).evicted, 10u);
}

TEST_P(generation_options, an_upgrade_leaves_answered_flows_where_they_are) {
    auto old = open();
    EXPECT_EQ(upgrade_to(*old), 0u);
    for (const std::uint16_t flow : {1001, 1002}) arrive(flow);
    EXPECT_TRUE(serve(*old));
    EXPECT_TRUE(serve(*old, false));  // no answer to 1002
    auto fresh = open();
    EXPECT_EQ(upgrade_to(*fresh), 1u);
    for (const std::uint16_t flow : {1001, 1002, 1003}) arrive(flow);
    EXPECT_EQ(world::receive(*old)->from.port, 1001);
    EXPECT_FALSE(serve(*old));
    EXPECT_TRUE(serve(*fresh));
    EXPECT_TRUE(serve(*fresh));
    EXPECT_FALSE(serve(*fresh));
    w.advance(60s);
    arrive(1001);
    EXPECT_TRUE(serve(*old));
    w.advance(125s);
    arrive(1001);
    EXPECT_TRUE(serve(*old)) << "answered 125 seconds ago";
    w.advance(126s);
    arrive(1001);
    EXPECT_FALSE(serve(*old));
    EXPECT_TRUE(serve(*fresh));
    const auto c = counted(*old);
    EXPECT_EQ(c.rx_processed_total, 8u) << "each once, on whatever shard it came";
    EXPECT_EQ(c.rx_flow_ok, 3u);
    EXPECT_EQ(c.rx_flow_new_had_expired, 1u);
    EXPECT_EQ(c.tx_total, 6u);
}

TEST_P(generation_options, replies_on_the_shard_are_answers_too) {
    auto old = open();
    upgrade_to(*old);
    arrive(1001);
    arrive(1002);
    packet::packet got[2];
    ASSERT_EQ(old->recv_burst(got), 2u);
    // One turned round as it is, one framed anew.
    packet::rx_info info;
    info.l4_offset = 34;
    info.flow = {us4, peer4, service, 1001};
    EXPECT_TRUE(old->reply(got[0], info));
    got[1].trim_front(42);
    const endpoint to{peer4, 1002, 0};
    socket::outgoing out[1] = {{std::move(got[1]), &to}};
    int error = 0;
    EXPECT_EQ(old->frame(out, &error), 1u);
    EXPECT_EQ(counted(*old).tx_flow_create_ok, 2u);
    auto fresh = open();
    upgrade_to(*fresh);
    for (const std::uint16_t flow : {1001, 1002}) {
        arrive(flow);
        EXPECT_TRUE(serve(*old));
    }
}

TEST_P(generation_options, ipv6_flows_stay_as_well) {
    const auto open6 = [&] { return w.open({us6, service}, 0, with(SOL_SOCKET, SO_REUSEPORT)); };
    const auto come = [&](std::string_view peer) {
        ip_spec from = spec6;
        from.from = ip(peer);
        from.to = peer.starts_with("fe80") ? ip("fe80::1") : us6;
        w.inject(udp_frame(from, 1001, service, "x"));
        w.settle();
    };
    auto old = open6();
    upgrade_to(*old);
    come("2001:db8::2");
    EXPECT_TRUE(serve(*old));
    auto fresh = open6();
    upgrade_to(*fresh);
    come("2001:db8::2");
    EXPECT_TRUE(serve(*old));
    come("2001:db8::3");
    EXPECT_TRUE(serve(*fresh));
}

TEST_P(generation_options, quic_connections_stay_when_clients_move) {
    udp_grm_dissector d{};
    d.dissector_type = DISSECTOR_QUIC;
    d.quic_cid_length = 9;
    d.quic_cookie_offset = 1;
    auto old = open();
    ASSERT_EQ(put(*old, UDP_GRM_DISSECTOR, &d, sizeof d), 0);
    upgrade_to(*old);
    auto fresh = open();
    upgrade_to(*fresh);
    const std::uint16_t cookie = place(*old).grm_cookie;
    const std::string id = {'i', char(cookie >> 8), char(cookie), 'd', 'd', 'd', 'd', 'd', 'd'};
    for (std::uint16_t port = 1001; port < 1020; port++) {
        arrive(port, "\x43" + id + "data");
        EXPECT_TRUE(serve(*old));
        arrive(port, std::string("\xc3\0\0\0\1\x08xxxxxxxx", 14));  // a first packet
        EXPECT_TRUE(serve(*fresh));
    }
    EXPECT_EQ(counted(*old).tx_total, 0u) << "no flow table";
}

}  // namespace skua::test
