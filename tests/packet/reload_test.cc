// A configuration read anew while the stack runs: what can change changes, all of it or nothing.
#include "control/reload.hh"
#include "packet/packet_test.hh"

namespace skua::test {

namespace {

control::config changed(world& w, const std::function<void(control::config&)>& edit) {
    control::config next = w.stack().configuration();
    edit(next);
    EXPECT_EQ(control::to_string(control::check(next)), "");
    return next;
}

ip_prefix prefix(std::string_view text) { return ip_prefix::parse(text).value(); }

ip_spec to(std::string_view address) {
    ip_spec s = spec4;
    s.to = ip(address);
    return s;
}

}  // namespace

TEST(reload, addresses_come_and_go_under_traffic) {
    tested_world w;
    auto any = w.open({ip("0.0.0.0"), 7});
    w.inject(udp_frame(to("198.18.0.1"), 9, 7, "old"));
    w.inject(udp_frame(to("198.18.0.9"), 9, 7, "early"));
    ASSERT_TRUE(w.stack().apply(changed(w, [](auto& c) {
        std::erase(c.ports[0].addresses, prefix("198.18.0.1/24"));
        c.ports[0].addresses.push_back(prefix("198.18.0.9/24"));
    })));
    w.inject(udp_frame(to("198.18.0.1"), 9, 7, "late"));
    w.inject(udp_frame(to("198.18.0.9"), 9, 7, "new"));
    w.settle();
    EXPECT_THAT(w.receive_all(*any), ElementsAre("old", "new"));
    EXPECT_EQ(w.drops(drop_reason::ipv4_not_local), 2u);
    EXPECT_EQ(any->connect(endpoint{peer4, 5, 0}).has_value(), true);
    EXPECT_EQ(any->local_endpoint().address, ip("198.18.0.9"));
    w.sent();
}

TEST(reload, routes_follow) {
    tested_world w;
    auto s = w.open(AF_INET);
    const endpoint far{ip("203.0.113.5"), 5, 0};
    EXPECT_EQ(w.send(*s, "x", far).error().code, ENETUNREACH);
    const auto route = [](std::string_view to, std::string_view via) {
        control::route_config r;
        r.to = prefix(to);
        r.via = ip(via);
        return r;
    };
    ASSERT_TRUE(w.stack().apply(changed(w, [&](auto& c) { c.routes = {route("203.0.113.0/24", "198.18.0.2")}; })));
    ASSERT_TRUE(w.send(*s, "x", far));
    EXPECT_TRUE(w.sent_one().arp);  // it asks for the gateway
    // The same again, with another route in its place.
    ASSERT_TRUE(w.stack().apply(changed(w, [&](auto& c) { c.routes = {route("192.0.2.0/24", "198.18.0.2")}; })));
    EXPECT_EQ(w.send(*s, "x", far).error().code, ENETUNREACH);
    w.inject(arp_reply());
    EXPECT_EQ(w.sent_one().payload, "x");  // what waited
}

TEST(reload, neighbours_and_limits_follow) {
    tested_world w;
    auto s = w.open(AF_INET);
    const auto mac = parse_mac("02:00:00:00:00:77").value();
    ASSERT_TRUE(w.stack().apply(changed(w, [&](auto& c) {
        c.static_neighbours = {{"", ip("198.18.0.77"), mac}};
        c.socket.rmem_default = c.socket.rmem_max = 300000;
        c.stack.unprivileged_port_start = 99;
    })));
    w.settle();
    ASSERT_TRUE(w.send(*s, "x", {ip("198.18.0.77"), 5, 0}));
    EXPECT_EQ(w.sent_one().to, mac);
    const int asked = 1 << 20;
    ASSERT_TRUE(s->setsockopt(SOL_SOCKET, SO_RCVBUF, &asked, sizeof asked));
    int got = 0;
    socklen_t length = sizeof got;
    ASSERT_TRUE(s->getsockopt(SOL_SOCKET, SO_RCVBUF, &got, &length));
    EXPECT_EQ(got, 600000);
    EXPECT_EQ(w.stack().socket_limits().unprivileged_port_start, 99);
    ASSERT_TRUE(w.stack().apply(changed(w, [&](auto& c) { c.static_neighbours.clear(); })));
    w.settle();
    ASSERT_TRUE(w.send(*s, "y", {ip("198.18.0.77"), 5, 0}));
    EXPECT_TRUE(w.sent_one().arp);  // it asks
}

TEST(reload, all_or_nothing) {
    tested_world w;
    const control::config before = w.stack().configuration();
    // A route whose gateway is on no subnet is refused last; the address before it must not stay.
    control::config bad = before;
    bad.ports[0].addresses.push_back(prefix("198.18.0.9/24"));
    control::route_config r;
    r.to = prefix("203.0.113.0/24");
    r.via = ip("192.0.2.1");
    bad.routes = {r};
    const auto done = w.stack().apply(bad);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), "route to 203.0.113.0/24: Network is unreachable");
    EXPECT_EQ(w.stack().configuration(), before);
    auto any = w.open({ip("0.0.0.0"), 7});
    w.inject(udp_frame(to("198.18.0.9"), 9, 7, "x"));
    w.settle();
    EXPECT_THAT(w.receive_all(*any), IsEmpty());
    EXPECT_EQ(w.drops(drop_reason::ipv4_not_local), 1u);
}

TEST(reload, tells_what_needs_a_restart) {
    tested_world w;
    const auto refused = [&](const std::function<void(control::config&)>& edit) {
        const auto done = w.stack().apply(changed(w, edit));
        return done ? "" : done.error();
    };
    EXPECT_EQ(refused([](auto& c) { c.stack.shards = 2; }), "only a restart can change stack");
    EXPECT_EQ(refused([](auto& c) { c.ports[0].mtu = 1400, c.pool.packets = 8191; }),
              "only a restart can change pool, port[0]");
    EXPECT_EQ(refused([](auto& c) { c.ports.push_back({.device = "1"}); }),
              "only a restart can change the number of ports");
    EXPECT_EQ(refused([](auto& c) { c.socket.spin_us = 7; }), "only a restart can change socket.spin_us");
    EXPECT_EQ(refused([](auto&) {}), "");
}

}  // namespace skua::test
