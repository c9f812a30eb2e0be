// What the kernel's loopback cannot show: permissions, routes, the shard's side, buffers of datagrams on their way.
#include "socket/udp_socket.hh"

#include "net/ip_output.hh"
#include "socket/test_support.hh"
#include "socket/truesize.hh"

namespace skua::socket::test {
namespace {

const endpoint peer = at("198.18.0.2", 7777), here = at("198.18.0.1", 5000);

std::string payload_of(const packet::packet& p, std::size_t headers = 28) {
    std::string s(p.size() - headers, '\0');
    p.read(static_cast<std::uint32_t>(headers), std::as_writable_bytes(std::span(s)));
    return s;
}

TEST(truesize, is_what_linux_charges) {
    for (const auto& [payload, cost] : std::initializer_list<std::pair<unsigned, unsigned>>{{0, 832},
                                                                                            {197, 832},
                                                                                            {198, 1280},
                                                                                            {645, 1280},
                                                                                            {646, 2304},
                                                                                            {1669, 2304},
                                                                                            {1670, 4352},
                                                                                            {3717, 4352},
                                                                                            {3718, 8448},
                                                                                            {7813, 8448},
                                                                                            {7814, 16640},
                                                                                            {16004, 16640},
                                                                                            {16005, 16837},
                                                                                            {65507, 66339}})
        EXPECT_EQ(truesize(payload, ip_family::v4), cost) << payload;
    for (const auto& [payload, cost] : std::initializer_list<std::pair<unsigned, unsigned>>{{184, 832},
                                                                                            {185, 1280},
                                                                                            {632, 1280},
                                                                                            {633, 2304},
                                                                                            {3705, 8448},
                                                                                            {7800, 8448},
                                                                                            {7801, 16640},
                                                                                            {15991, 16640},
                                                                                            {15992, 16824}})
        EXPECT_EQ(truesize(payload, ip_family::v6), cost) << payload;
}

TEST_F(socket_test, privileged_ports_and_forced_buffers_need_privilege) {
    auto user = make(AF_INET, {1000}), user6 = make(AF_INET6, {1000}), root = make(AF_INET, {0});
    EXPECT_EQ(user.bind(in4("127.0.0.1", 1023)), -EACCES);
    EXPECT_EQ(user6.bind(in6("::1", 1023)), -EACCES);
    EXPECT_EQ(user6.bind(in6("2001:db8:99::1", 1023)), -EACCES);  // IPv6 looks at the port first
    EXPECT_EQ(user.bind(in4("8.8.8.8", 1023)), -EADDRNOTAVAIL);   // IPv4 at the address
    EXPECT_EQ(root.bind(in4("127.0.0.1", 1023)), 0);
    EXPECT_EQ(user.bind(in4("127.0.0.1", 1024)), 0);
    const auto dns = std::make_shared<const port_list>(port_list{{53, 53}, {1000, 1010}});
    auto allowed = make(AF_INET, {1000, dns}), once_more = make(AF_INET, {1000, dns});
    EXPECT_EQ(allowed.bind(in4("127.0.0.1", 52)), -EACCES);
    EXPECT_EQ(allowed.bind(in4("127.0.0.1", 1011)), -EACCES);
    EXPECT_EQ(allowed.bind(in4("127.0.0.1", 53)), 0);
    EXPECT_EQ(once_more.bind(in4("127.0.0.1", 1010)), 0);
    EXPECT_EQ(user.set(SOL_SOCKET, SO_RCVBUFFORCE, 5000), -EPERM);
    EXPECT_EQ(user.set(SOL_SOCKET, SO_SNDBUFFORCE, 5000), -EPERM);
    EXPECT_EQ(user.set(SOL_SOCKET, SO_BINDTODEVICE, "p0", 2), 0);
    EXPECT_EQ(user.set(SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), -EPERM);  // only the first time
}

TEST_F(socket_test, no_route) {
    host.change([](net::topology_builder& b) { ASSERT_TRUE(b.remove_route({ip_address::v4_any(), 0}, 0)); });
    auto a = make(), b = make(AF_INET6);
    EXPECT_EQ(a.sendto("x", in4("8.8.8.8", 9)), -ENETUNREACH);
    EXPECT_EQ(a.connect(in4("8.8.8.8", 9)), -ENETUNREACH);
    EXPECT_EQ(b.sendto("x", in6("2001:db8:99::1", 9)), -ENETUNREACH);
    EXPECT_EQ(b.connect(in6("2001:db8:99::1", 9)), -ENETUNREACH);
    EXPECT_EQ(host.submits, 0u);
}

TEST_F(socket_test, broadcast_needs_the_option) {
    host.hold = true;
    auto a = make();
    const name to = in4("198.18.0.255", 9);
    EXPECT_EQ(a.sendto("x", to), -EACCES);
    EXPECT_EQ(a.connect(to), -EACCES);
    a.set(SOL_SOCKET, SO_BROADCAST, 1);
    EXPECT_EQ(a.sendto("x", to), 1);
    EXPECT_EQ(a.connect(to), 0);
    // The socket that is bound to a broadcast address sends from an address of the way out.
    auto b = make();
    EXPECT_EQ(b.bind(in4("198.18.0.255", 0)), 0);
    EXPECT_EQ(b.sendto("x", in4("198.18.0.2", 9)), 1);
    EXPECT_EQ(host.take_held().back().header<wire::ipv4_header>(0)->source, ipv4_address(198, 18, 0, 1));
}

TEST_F(socket_test, link_local_addresses_need_a_scope) {
    auto a = make(AF_INET6), b = make(AF_INET6);
    EXPECT_EQ(a.bind(in6("fe80::1", 0)), -EINVAL);
    EXPECT_EQ(a.bind(in6("fe80::1", 0, 99)), -ENODEV);
    EXPECT_EQ(a.bind(in6("fe80::2", 0, fake_host::p0)), -EADDRNOTAVAIL);
    EXPECT_EQ(a.bind(in6("fe80::1", 0, fake_host::p0)), 0);
    EXPECT_EQ(a.get(SOL_SOCKET, SO_BINDTOIFINDEX), 2);
    EXPECT_EQ(a->local_endpoint().scope, fake_host::p0);
    EXPECT_EQ(b.connect(in6("fe80::2", 9)), -EINVAL);
    EXPECT_EQ(b.connect(in6("fe80::2", 9, fake_host::p0)), 0);
    name n;
    EXPECT_EQ(b.getpeername(n), 0);
    EXPECT_EQ(reinterpret_cast<sockaddr_in6&>(n.storage).sin6_scope_id, fake_host::p0);
    b.set(SOL_SOCKET, SO_BINDTODEVICE, "lo", 2);
    EXPECT_EQ(b.connect(in6("fe80::2", 9, fake_host::p0)), -EINVAL);
    host.hold = true;
    a.sendto("x", in6("fe80::2", 9, fake_host::p0));
    EXPECT_EQ(packet::meta_of(host.held.at(0)).ifindex, fake_host::p0);
    // Who writes to us from its link is named with the link.
    EXPECT_TRUE(host.arrive(host.make(at("fe80::2", 7), a->local_endpoint(), "x")));
    std::string got;
    name from;
    EXPECT_EQ(a.recv(got, 10, 0, &from), 1);
    EXPECT_EQ(reinterpret_cast<sockaddr_in6&>(from.storage).sin6_scope_id, fake_host::p0);
}

TEST_F(socket_test, headers_follow_the_options) {
    host.hold = true;
    auto a = make(), b = make(AF_INET6);
    a.bind(in4("198.18.0.1", 5000));
    a.set(IPPROTO_IP, IP_TTL, 17);
    a.set(IPPROTO_IP, IP_TOS, 0x28);
    a.set(SOL_SOCKET, SO_BINDTODEVICE, "p0", 2);
    EXPECT_EQ(a.sendto("hello", in4("198.18.0.2", 7777)), 5);
    EXPECT_EQ(packet::meta_of(host.held.at(0)).ifindex, fake_host::p0);
    EXPECT_EQ(packet::meta_of(host.held.at(0)).owner, static_cast<void*>(&*a));
    EXPECT_EQ(packet::meta_of(host.held.at(0)).what, packet::errand::transmit);
    auto sent = host.take_held();
    const auto& ip4 = *sent[0].header<wire::ipv4_header>(0);
    EXPECT_EQ(ip4.ttl, 17);
    EXPECT_EQ(ip4.tos, 0x28);
    EXPECT_EQ(ip4.source, ipv4_address(198, 18, 0, 1));
    EXPECT_EQ(ip4.destination, ipv4_address(198, 18, 0, 2));
    EXPECT_TRUE(ip4.dont_fragment());
    EXPECT_EQ(ip4.identification.host(), 0);
    const auto& udp = *sent[0].header<wire::udp_header>(20);
    EXPECT_EQ(udp.source_port.host(), 5000);
    EXPECT_EQ(udp.destination_port.host(), 7777);
    EXPECT_EQ(payload_of(sent[0]), "hello");
    EXPECT_TRUE(sent[0].get()->ol_flags & RTE_MBUF_F_TX_UDP_CKSUM);

    b.set(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
    b.set(IPPROTO_IPV6, IPV6_TCLASS, 0x55);
    EXPECT_EQ(b.sendto("six", in6("2001:db8::2", 7777)), 3);
    EXPECT_EQ(b.sendto("m", in6("ff02::1", 7777, fake_host::p0)), 1);
    sent = host.take_held();
    const auto& ip6 = *sent[0].header<wire::ipv6_header>(0);
    EXPECT_EQ(ip6.hop_limit, 33);
    EXPECT_EQ(ip6.traffic_class(), 0x55);
    EXPECT_EQ(ip_address(ip6.source), ip("2001:db8::1"));
    EXPECT_EQ(payload_of(sent[0], 48), "six");
    EXPECT_EQ(sent[1].header<wire::ipv6_header>(0)->hop_limit, 1);
}

TEST_F(socket_test, path_mtu_disciplines) {
    host.hold = true;
    host.mtu = 1000;  // learnt, below the interface's 1500
    struct expectation {
        int rule;
        long fits, sent_more;  // what sending mtu - 28 and one more gives
        bool df_small, df_large;
    };
    for (const auto& e : {expectation{IP_PMTUDISC_DONT, 972, 973, false, false},
                          {IP_PMTUDISC_WANT, 972, 973, true, false},
                          {IP_PMTUDISC_DO, 972, -EMSGSIZE, true, true},
                          {IP_PMTUDISC_PROBE, 972, 973, true, true},
                          {IP_PMTUDISC_INTERFACE, 972, 973, false, false},
                          {IP_PMTUDISC_OMIT, 972, 973, false, false}}) {
        auto a = make();
        a.set(IPPROTO_IP, IP_MTU_DISCOVER, e.rule);
        EXPECT_EQ(a.sendto(std::string(972, 'x'), in4("198.18.0.2", 9)), e.fits) << e.rule;
        EXPECT_EQ(a.sendto(std::string(973, 'x'), in4("198.18.0.2", 9)), e.sent_more) << e.rule;
        const auto sent = host.take_held();
        const auto* first = sent[0].header<wire::ipv4_header>(0);
        EXPECT_EQ(first->dont_fragment(), e.df_small) << e.rule;
        EXPECT_EQ(first->identification.host(), e.df_small ? 0 : 0x1234);
        if (sent.size() > 1) {
            EXPECT_EQ(sent[1].header<wire::ipv4_header>(0)->dont_fragment(), e.df_large) << e.rule;
        }
        const bool interface_counts = e.rule == IP_PMTUDISC_PROBE || e.rule == IP_PMTUDISC_INTERFACE;
        EXPECT_EQ(a.sendto(std::string(1473, 'x'), in4("198.18.0.2", 9)),
                  interface_counts || e.rule == IP_PMTUDISC_DO ? -EMSGSIZE : 1473)
            << e.rule;
        host.free_held();
        a.connect(in4("198.18.0.2", 9));
        EXPECT_EQ(a.get(IPPROTO_IP, IP_MTU), e.rule < IP_PMTUDISC_PROBE ? 1000 : 1500);
    }
    auto b = make(AF_INET6);
    host.mtu = 1400;
    b.set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
    EXPECT_EQ(b.sendto(std::string(1352, 'x'), in6("2001:db8::2", 9)), 1352);
    EXPECT_EQ(b.sendto(std::string(1353, 'x'), in6("2001:db8::2", 9)), -EMSGSIZE);
    b.connect(in6("2001:db8::2", 9));
    EXPECT_EQ(b.get(IPPROTO_IPV6, IPV6_MTU), 1400);
    EXPECT_EQ(b.get(IPPROTO_IP, IP_MTU), -ENOTCONN);
}

TEST_F(socket_test, send_buffer_fills_and_empties) {
    host.hold = true;
    auto a = make();
    a.connect(in4("198.18.0.2", 9));
    a.set(SOL_SOCKET, SO_SNDBUF, 4000);  // 8000: ten datagrams of 832, the last one over the edge
    EXPECT_EQ(a.poll() & EPOLLOUT, EPOLLOUT);
    int sent = 0;
    while (a.send("x", MSG_DONTWAIT) == 1) ++sent;
    EXPECT_EQ(sent, 10);
    EXPECT_EQ(a.send("x", MSG_DONTWAIT), -EAGAIN);
    EXPECT_EQ(a.poll() & EPOLLOUT, 0u);
    struct : wait::waiter {
        bool notify(std::uint32_t e) override { return events |= e, ++calls, true; }
        std::uint32_t events = 0;
        int calls = 0;
    } watcher;
    a->waiters().add(watcher);
    // Woken once, when less than half is taken.
    std::vector<rte_mbuf*> held;
    held.swap(host.held);
    for (std::size_t i = 0; i < held.size(); i++) {
        uncharge(std::span(held).subspan(i, 1));
        EXPECT_EQ(watcher.calls, i >= 5 ? 1 : 0) << i;
        rte_pktmbuf_free(held[i]);
    }
    EXPECT_EQ(watcher.events, writeable_events);
    EXPECT_EQ(a.poll() & EPOLLOUT, EPOLLOUT);
    a->waiters().remove(watcher);
    EXPECT_EQ(a.send("x", MSG_DONTWAIT), 1);
}

TEST_F(socket_test, a_full_ring_or_an_empty_pool_gives_enobufs) {
    host.hold = true;
    host.ring_size = 2;
    auto a = make();
    a.connect(in4("198.18.0.2", 9));
    mmsghdr m[4]{};
    EXPECT_EQ(a.sendmmsg(m, 0), 2);
    EXPECT_EQ(a.sendmmsg(m, 0), -ENOBUFS);
    EXPECT_EQ(a.send("x"), -ENOBUFS);
    host.free_held();
    std::vector<packet::packet> all;
    for (packet::packet p; (p = packet::allocate(host.pool(), 1));) all.push_back(std::move(p));
    EXPECT_EQ(a.send("x"), -ENOBUFS);
    EXPECT_EQ(host.counted, std::vector{mib::udp_sndbuf_errors});
    // Nothing stays charged.
    std::uint32_t memory[9];
    socklen_t n = sizeof memory;
    a.get(SOL_SOCKET, SO_MEMINFO, memory, &n);
    EXPECT_EQ(memory[2], 0u);
}

TEST_F(socket_test, many_messages_need_few_submits) {
    auto a = make(), b = make();
    a.bind(in4("127.0.0.1", 0));
    b.connect(in4("127.0.0.1", a.port()));
    std::vector<std::string> texts;
    for (int i = 0; i < 100; i++) texts.push_back(std::to_string(i));
    std::vector<iovec> parts(100);
    std::vector<mmsghdr> m(100);
    for (std::size_t i = 0; i < 100; i++) {
        parts[i] = {texts[i].data(), texts[i].size()};
        m[i].msg_hdr.msg_iov = &parts[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    EXPECT_EQ(b.sendmmsg(m, 0), 100);
    EXPECT_EQ(host.submits, 4u);
    std::string got;
    for (const auto& t : texts) {
        a.recv(got);
        EXPECT_EQ(got, t);
    }
}

TEST_F(socket_test, deliver_in_bursts_and_what_the_view_tells) {
    auto a = make();
    a.bind(in4("198.18.0.1", 5000));
    a.set(SOL_SOCKET, SO_RCVBUF, 1250);  // 2500: three of 832
    rte_mbuf* burst[5];
    packet::rx_info infos[5];
    const packet::rx_info* pointers[5];
    for (int i = 0; i < 5; i++) {
        auto p = host.make(peer, here, i == 1 ? std::string(2000, 'x') : std::to_string(i));
        infos[i] = fake_host::info_of(p);
        pointers[i] = &infos[i];
        burst[i] = p.release();
    }
    // The large one does not fit, the smaller ones after it do.
    EXPECT_EQ(a->deliver(burst, pointers, time_point(nanoseconds(123456789))), 3u);
    EXPECT_EQ(a->dropped_count(), 2u);
    EXPECT_EQ(a->received_count(), 3u);
    EXPECT_FALSE(a->closed());
    rte_pktmbuf_free_bulk(burst + 3, 2);
    EXPECT_EQ(a->next_size(), 1u);
    packet::packet out[4];
    ASSERT_EQ(a->recv_burst(out), 3u);
    for (int i = 0; i < 3; i++) EXPECT_EQ(payload_of(out[i]), std::to_string(i == 0 ? 0 : i + 1));
    const datagram_view d(out[0].get());
    EXPECT_EQ(d.source(), peer);
    EXPECT_EQ(d.destination(), here);
    EXPECT_EQ(d.hop_limit(), 61);
    EXPECT_EQ(d.traffic_class(), 7);
    EXPECT_EQ(d.ifindex(), fake_host::p0);
    EXPECT_EQ(d.rx_time_ns(), 123456789u);
    EXPECT_EQ(d.payload_offset(), 28);
    EXPECT_EQ(d.payload_length(), 1u);
    EXPECT_EQ(a->recv_burst(out), 0u);
    EXPECT_EQ(a->next_size(), 0u);
    // An empty queue takes one datagram of any size.
    EXPECT_EQ(host.deliver(*a, host.make(peer, here, std::string(1400, 'x'))), 1u);
    EXPECT_EQ(host.deliver(*a, host.make(peer, here, std::string(1400, 'x'))), 0u);
}

TEST_F(socket_test, a_receiver_gets_datagrams_instead_of_the_queue) {
    auto a = make();
    a.bind(in4("198.18.0.1", 5000));
    struct : receiver {
        void on_datagrams(udp_socket&, std::span<received> all) override {
            for (auto& r : all) {
                texts.push_back(payload_of(r.datagram));
                EXPECT_EQ(r.info->flow.remote, peer.address);
                if (texts.size() == 1) kept = std::move(r.datagram);
            }
        }
        std::vector<std::string> texts;
        packet::packet kept;
    } r;
    a->set_receiver(&r);
    EXPECT_EQ(host.deliver(*a, host.make(peer, here, "one")), 1u);
    EXPECT_EQ(host.deliver(*a, host.make(peer, here, "two")), 1u);
    EXPECT_EQ(r.texts, (std::vector<std::string>{"one", "two"}));
    EXPECT_EQ(payload_of(r.kept), "one");
    EXPECT_EQ(a.poll() & EPOLLIN, 0u);
    a->set_receiver(nullptr);
    EXPECT_EQ(host.deliver(*a, host.make(peer, here, "three")), 1u);
    EXPECT_EQ(a.poll() & EPOLLIN, EPOLLIN);
}

TEST_F(socket_test, closing_frees_what_is_queued_and_refuses_the_rest) {
    rcu_domain::poller shard(host.rcu());
    udp_socket* seen;
    {
        auto a = make();
        a.bind(in4("198.18.0.1", 5000));
        seen = &*a;
        EXPECT_EQ(host.deliver(*a, host.make(peer, here, "queued")), 1u);
        host.hold = true;
        a.sendto("on its way", in4("198.18.0.2", 9));
    }
    // A shard that still sees it.
    EXPECT_TRUE(seen->closed());
    EXPECT_EQ(host.deliver(*seen, host.make(peer, here, "late")), 0u);
    EXPECT_FALSE(host.arrive(host.make(peer, here, "later")));
    shard.quiescent();
    while (host.rcu().reclaim() > 0) {
    }
    EXPECT_EQ(host.rcu().retired(), 1u);  // its datagram has not left yet
    host.free_held();
    while (host.rcu().reclaim() > 0) {
    }
    EXPECT_EQ(host.rcu().retired(), 0u);
    auto again = make();
    EXPECT_EQ(again.bind(in4("198.18.0.1", 5000)), 0);
    shard.quiescent();
    again.close();
    shard.quiescent();
}

TEST_F(socket_test, reports_reach_connected_sockets_only) {
    auto a = make(), b = make();
    a.bind(in4("198.18.0.1", 5000));
    b.connect(in4("198.18.0.2", 9));
    const rcu_domain::read_guard guard(host.rcu());
    a->report(ECONNREFUSED, true);
    EXPECT_EQ(a.poll() & EPOLLERR, 0u);
    b->report(EHOSTUNREACH, false);
    EXPECT_EQ(b.poll() & EPOLLERR, 0u);
    net::icmp_report about;
    about.error = EHOSTUNREACH;
    about.fatal = true;
    b->report(about);
    EXPECT_EQ(b.poll() & EPOLLERR, EPOLLERR);
    EXPECT_EQ(b.get(SOL_SOCKET, SO_ERROR), EHOSTUNREACH);
    b->report(EMSGSIZE, true);
    EXPECT_EQ(b.get(SOL_SOCKET, SO_ERROR), EMSGSIZE);
    b.set(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    b->report(EMSGSIZE, true);
    EXPECT_EQ(b.get(SOL_SOCKET, SO_ERROR), 0);
}

packet::packet payload(host& h, std::string_view text, std::uint16_t headroom = RTE_PKTMBUF_HEADROOM) {
    auto p = packet::allocate(h.pool(), static_cast<std::uint32_t>(text.size()), headroom);
    packet::write(p, 0, std::as_bytes(std::span(text)));
    return p;
}

TEST_F(socket_test, frame_puts_headers_before_payloads) {
    auto a = make();
    a.bind(in4("198.18.0.1", 5000));
    const rcu_domain::read_guard guard(host.rcu());
    const endpoint nobody = at("198.18.0.2", 0);
    outgoing all[3] = {
        {payload(host, "one"), &peer}, {payload(host, "two", 0), &peer}, {payload(host, "three"), &nobody}};
    int error = 0;
    EXPECT_EQ(a->frame(all, &error), 2u);
    EXPECT_EQ(error, EINVAL);
    for (int i = 0; i < 2; i++) {
        const auto* ip4 = all[i].datagram.header<wire::ipv4_header>(0);
        EXPECT_EQ(ip4->destination, ipv4_address(198, 18, 0, 2));
        EXPECT_EQ(all[i].datagram.header<wire::udp_header>(20)->destination_port.host(), 7777);
        EXPECT_EQ(payload_of(all[i].datagram), i ? "two" : "one");
        EXPECT_EQ(all[i].datagram.info().owner, nullptr);
    }
    EXPECT_EQ(all[1].datagram.get()->nb_segs, 2);  // no room was in front
    EXPECT_EQ(all[2].datagram.size(), 5u);
    all[2].to = nullptr;
    EXPECT_EQ(a->frame(std::span(all).subspan(2), &error), 0u);
    EXPECT_EQ(error, EDESTADDRREQ);
    a.connect(in4("198.18.0.2", 7777));
    EXPECT_EQ(a->frame(std::span(all).subspan(2), &error), 1u);
    EXPECT_EQ(payload_of(all[2].datagram), "three");
    a.set(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    outgoing big{payload(host, std::string(1473, 'x')), nullptr};
    EXPECT_EQ(a->frame(std::span(&big, 1), &error), 0u);
    EXPECT_EQ(error, EMSGSIZE);
    a.shutdown(SHUT_WR);
    EXPECT_EQ(a->frame(std::span(&big, 1), &error), 0u);
    EXPECT_EQ(error, EPIPE);
}

TEST_F(socket_test, reply_goes_back_where_it_came_from) {
    auto a = make(AF_INET6);
    a.bind(in6("::", 5000));
    const rcu_domain::read_guard guard(host.rcu());
    for (const std::size_t length : {3u, 1400u}) {  // without and with a look at the routes
        auto p = host.make(peer, here, std::string(length, 'x'));
        p.get()->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
        auto info = fake_host::info_of(p);
        ASSERT_TRUE(a->reply(p, info));
        const auto* ip4 = p.header<wire::ipv4_header>(0);
        EXPECT_EQ(ip4->source, ipv4_address(198, 18, 0, 1));
        EXPECT_EQ(ip4->destination, ipv4_address(198, 18, 0, 2));
        EXPECT_EQ(ip4->ttl, 64);
        EXPECT_TRUE(ip4->dont_fragment());
        EXPECT_EQ(p.header<wire::udp_header>(20)->source_port.host(), 5000);
        EXPECT_EQ(p.header<wire::udp_header>(20)->destination_port.host(), 7777);
        EXPECT_EQ(payload_of(p), std::string(length, 'x'));
        EXPECT_FALSE(p.get()->ol_flags & RTE_MBUF_F_RX_RSS_HASH);
    }
    auto six = host.make(at("2001:db8::2", 7), at("2001:db8::1", 5000), "six");
    ASSERT_TRUE(a->reply(six, fake_host::info_of(six)));
    EXPECT_EQ(ip_address(six.header<wire::ipv6_header>(0)->destination), ip("2001:db8::2"));
    // A copy of a broadcast shares its bytes: they must not be written over.
    auto p = host.make(peer, at("198.18.0.255", 5000), "all");
    packet::packet copy(rte_pktmbuf_clone(p.get(), host.pool()));
    auto info = fake_host::info_of(copy);
    info.to_broadcast = true;
    ASSERT_TRUE(a->reply(copy, info));
    EXPECT_EQ(copy.header<wire::ipv4_header>(0)->source, ipv4_address(198, 18, 0, 1));
    EXPECT_EQ(payload_of(copy), "all");
    EXPECT_EQ(p.header<wire::ipv4_header>(0)->destination, ipv4_address(198, 18, 0, 255));
    // On failure the packet is what it was.
    a.set(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    auto long_one = host.make(peer, here, std::string(1600, 'x'));
    const auto size = long_one.size();
    EXPECT_EQ(a->reply(long_one, fake_host::info_of(long_one)).error().code, EMSGSIZE);
    EXPECT_EQ(long_one.size(), size);
}

TEST_F(socket_test, names_are_cut_to_the_room_there_is) {
    auto a = make();
    a.bind(in4("127.0.0.1", 0));
    sockaddr_in in{};
    socklen_t n = 4;
    ASSERT_TRUE(a->getsockname(reinterpret_cast<sockaddr*>(&in), &n));
    EXPECT_EQ(n, sizeof in);
    EXPECT_EQ(ntohs(in.sin_port), a.port());
    EXPECT_EQ(in.sin_addr.s_addr, 0u);
    n = static_cast<socklen_t>(-1);
    EXPECT_EQ(a->getsockname(reinterpret_cast<sockaddr*>(&in), &n).error().code, EINVAL);
    std::string got(10, ' ');
    char data[4];
    a.sendto("hey", in4("127.0.0.1", a.port()));
    n = sizeof in;
    EXPECT_EQ(a->recvfrom(data, sizeof data, 0, reinterpret_cast<sockaddr*>(&in), &n).value(), 3u);
    EXPECT_EQ(ntohs(in.sin_port), a.port());
    EXPECT_EQ(a->sendto("x", 1, 0, reinterpret_cast<sockaddr*>(&in), sizeof in).value(), 1u);
    EXPECT_EQ(a->recvfrom(data, sizeof data, 0, nullptr, nullptr).value(), 1u);
}

}  // namespace
}  // namespace skua::socket::test
