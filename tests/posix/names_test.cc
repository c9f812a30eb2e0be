// Names of sockets: bind and its conflicts, connect, ports of the system's choosing.
#include <cstring>
#include <set>

#include "posix/posix.hh"

namespace skua::test {

namespace {

int bind_to(int fd, const name& n) { return bind(fd, n, n.length); }
int connect_to(int fd, const name& n) { return connect(fd, n, n.length); }

int dissolve(int fd) {
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    return connect(fd, &nobody, sizeof nobody);
}

name peer_of(int fd) { return peer_name(fd); }

}  // namespace

class names : public for_each_family {
protected:
    name loop(std::uint16_t port = 0) const { return loopback(family(), port); }
    name wildcard(std::uint16_t port = 0) const { return any(family(), port); }
};
INSTANTIATE_TEST_SUITE_P(over, names, testing::Values(AF_INET, AF_INET6), family_name);

TEST_P(names, a_fresh_socket_has_none) {
    const descriptor s = udp(family());
    EXPECT_EQ(local_name(s), wildcard());
    name peer;
    expect_errno(getpeername(s, peer, &peer.length), ENOTCONN);
}

TEST_P(names, bind_chooses_a_port) {
    const descriptor s = udp(family());
    ASSERT_EQ(bind_to(s, loop()), 0);
    EXPECT_EQ(local_name(s).address(), loop().address());
    EXPECT_GT(local_name(s).port(), 1023);
    EXPECT_EQ(local_name(s).length, loop().length);
}

TEST_P(names, chosen_ports_differ) {
    std::vector<descriptor> sockets;
    std::set<std::uint16_t> ports;
    for (int i = 0; i < 100; i++) {
        sockets.push_back(bound(family()));
        ports.insert(local_name(sockets.back()).port());
    }
    EXPECT_EQ(ports.size(), 100u);
}

TEST_P(names, bind_once_only) {
    const descriptor s = bound(family());
    expect_errno(bind_to(s, loop()), EINVAL);
    expect_errno(bind_to(s, local_name(s)), EINVAL);
}

TEST_P(names, bind_conflicts) {
    const descriptor s = bound(family());
    const descriptor other = udp(family());
    const std::uint16_t port = local_name(s).port();
    expect_errno(bind_to(other, loop(port)), EADDRINUSE);
    expect_errno(bind_to(other, wildcard(port)), EADDRINUSE);
    EXPECT_EQ(bind_to(other, loop()), 0);
}

TEST_P(names, the_wildcard_conflicts_with_each_address) {
    const descriptor s = udp(family());
    ASSERT_EQ(bind_to(s, wildcard()), 0);
    const std::uint16_t port = local_name(s).port();
    EXPECT_FALSE(is_free(loop(port)));
    EXPECT_FALSE(is_free(wildcard(port)));
}

TEST(names4, other_addresses_of_one_host_do_not_conflict) {
    const descriptor s = bound(AF_INET);
    EXPECT_TRUE(is_free(make_name("127.0.0.2", local_name(s).port())));
}

TEST_P(names, reuseaddr_needs_both) {
    const descriptor first = udp(family()), second = udp(family()), third = udp(family());
    set_option(first, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
    ASSERT_EQ(bind_to(first, loop()), 0);
    const name at = local_name(first);
    EXPECT_EQ(bind_to(second, at), 0);
    expect_errno(bind_to(third, at), EADDRINUSE);
}

TEST_P(names, reuseport_needs_both) {
    const descriptor first = udp(family()), second = udp(family()), third = udp(family());
    set_option(first, SOL_SOCKET, SO_REUSEPORT, 1);
    set_option(second, SOL_SOCKET, SO_REUSEPORT, 1);
    ASSERT_EQ(bind_to(first, loop()), 0);
    const name at = local_name(first);
    EXPECT_EQ(bind_to(second, at), 0);
    set_option(third, SOL_SOCKET, SO_REUSEADDR, 1);
    expect_errno(bind_to(third, at), EADDRINUSE);
}

TEST_P(names, the_last_of_reuseaddr_gets_the_datagrams) {
    descriptor first = udp(family()), second = udp(family());
    for (const int s : {int(first), int(second)}) set_option(s, SOL_SOCKET, SO_REUSEADDR, 1);
    ASSERT_EQ(bind_to(first, loop()), 0);
    const name at = local_name(first);
    ASSERT_EQ(bind_to(second, at), 0);
    const descriptor from = connected(first);
    send_text(from, "x");
    EXPECT_EQ(receive(second), "x");
    EXPECT_EQ(events_now(first, POLLIN), 0);
    second.reset();
    send_text(from, "y");
    EXPECT_EQ(receive(first), "y");
}

TEST_P(names, a_flow_stays_with_one_of_a_reuseport_group) {
    std::vector<descriptor> group;
    name at = loop();
    for (int i = 0; i < 4; i++) {
        group.push_back(udp(family()));
        set_option(group.back(), SOL_SOCKET, SO_REUSEPORT, 1);
        ASSERT_EQ(bind_to(group.back(), at), 0);
        at = local_name(group[0]);
    }
    const descriptor from = connected(group[0]);
    std::set<int> receivers;
    for (int i = 0; i < 10; i++) {
        send_text(from, "x");
        std::vector<pollfd> set;
        for (const auto& s : group) set.push_back({s, POLLIN, 0});
        ASSERT_EQ(poll(set.data(), set.size(), patience_ms), 1);
        for (const auto& p : set)
            if (p.revents != 0) {
                receivers.insert(p.fd);
                EXPECT_EQ(receive(p.fd), "x");
            }
    }
    EXPECT_EQ(receivers.size(), 1u);
}

TEST_P(names, bind_errors) {
    const descriptor s = udp(family());
    const name short_one = loop();
    expect_errno(bind(s, short_one, 8), EINVAL);
    expect_errno(bind(s, short_one, 0), EINVAL);
    expect_errno(bind_to(s, family() == AF_INET ? make_name("192.0.2.1") : make_name("2001:db8::1")), EADDRNOTAVAIL);
    name odd = loop();
    odd.storage.ss_family = AF_UNIX;
    expect_errno(bind(s, odd, odd.length), EAFNOSUPPORT);
}

TEST(names4, bind_of_another_family) {
    const descriptor v4 = udp(AF_INET), v6 = udp(AF_INET6);
    expect_errno(bind_to(v4, loopback(AF_INET6)), EAFNOSUPPORT);
    expect_errno(bind_to(v6, loopback(AF_INET)), EINVAL);  // too short
    name unspecified = any(AF_INET);
    unspecified.storage.ss_family = AF_UNSPEC;
    EXPECT_EQ(bind_to(v4, unspecified), 0);
}

TEST_P(names, missing_pointers) {
    const descriptor s = udp(family());
    sockaddr* volatile nowhere = nullptr;
    socklen_t* volatile no_length = nullptr;
    expect_errno(bind(s, nowhere, loop().length), EFAULT);
    expect_errno(connect(s, nowhere, loop().length), EFAULT);
    name n;
    expect_errno(getsockname(s, n, no_length), EFAULT);
    expect_errno(getsockname(s, nowhere, &n.length), EFAULT);
    socklen_t length = sizeof(int);
    expect_errno(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, nowhere, length), EFAULT);
    expect_errno(getsockopt(s, SOL_SOCKET, SO_REUSEADDR, nowhere, &length), EFAULT);
    expect_errno(getsockopt(s, SOL_SOCKET, SO_REUSEADDR, &length, no_length), EFAULT);
}

TEST_P(names, a_room_too_small_is_filled_and_the_length_told) {
    const descriptor s = bound(family());
    name n;
    std::memset(&n.storage, 0xee, sizeof n.storage);
    n.length = 4;
    ASSERT_EQ(getsockname(s, n, &n.length), 0);
    EXPECT_EQ(n.length, loop().length);
    EXPECT_EQ(n.family(), family());
    EXPECT_EQ(n.port(), local_name(s).port());
    EXPECT_EQ(reinterpret_cast<const unsigned char*>(&n.storage)[4], 0xee);
    n.length = static_cast<socklen_t>(-1);
    expect_errno(getsockname(s, n, &n.length), EINVAL);
}

TEST_P(names, connect_gives_both_names) {
    const descriptor to = bound(family());
    const descriptor s = udp(family());
    ASSERT_EQ(connect_to(s, local_name(to)), 0);
    EXPECT_EQ(peer_of(s), local_name(to));
    EXPECT_EQ(local_name(s).address(), loop().address());
    EXPECT_NE(local_name(s).port(), 0);
    expect_errno(bind_to(s, loop()), EINVAL);
}

TEST_P(names, connect_again_elsewhere) {
    const descriptor a = bound(family()), b = bound(family());
    const descriptor s = connected(a);
    const name before = local_name(s);
    ASSERT_EQ(connect_to(s, local_name(b)), 0);
    EXPECT_EQ(peer_of(s), local_name(b));
    EXPECT_EQ(local_name(s), before);
    send_text(s, "x");
    EXPECT_EQ(receive(b), "x");
}

TEST_P(names, a_connected_socket_hears_its_peer_only) {
    const two t(family());
    const descriptor stranger = udp(family());
    send_text(stranger, "stranger", local_name(t.from));
    send_text(t.to, "peer", local_name(t.from));
    EXPECT_EQ(receive(t.from), "peer");
    EXPECT_EQ(events_now(t.from, POLLIN), 0);
}

TEST_P(names, what_was_queued_before_connect_stays) {
    const descriptor s = bound(family()), peer = bound(family()), stranger = udp(family());
    send_text(stranger, "early", local_name(s));
    ASSERT_TRUE(comes(s, POLLIN));
    ASSERT_EQ(connect_to(s, local_name(peer)), 0);
    EXPECT_EQ(receive(s), "early");
}

TEST_P(names, dissolving_the_connection) {
    const two t(family());
    ASSERT_EQ(dissolve(t.from), 0);
    name peer;
    expect_errno(getpeername(t.from, peer, &peer.length), ENOTCONN);
    EXPECT_EQ(local_name(t.from), wildcard());  // the port was the system's choice: it goes too
    expect_errno(send(t.from, "x", 1, 0), EDESTADDRREQ);
    EXPECT_EQ(dissolve(t.from), 0);
}

TEST_P(names, dissolving_keeps_a_name_that_was_bound) {
    descriptor probe = bound(family());
    const name at = local_name(probe);
    probe.reset();
    const descriptor peer = bound(family());
    const descriptor s = udp(family());
    ASSERT_EQ(bind_to(s, at), 0);
    ASSERT_EQ(connect_to(s, local_name(peer)), 0);
    ASSERT_EQ(dissolve(s), 0);
    EXPECT_EQ(local_name(s), at);
}

TEST_P(names, connect_errors) {
    const descriptor s = udp(family());
    const name to = loop(9);
    expect_errno(connect(s, to, 1), EINVAL);
    expect_errno(connect(s, to, sizeof(sa_family_t)), EINVAL);
    name odd = to;
    odd.storage.ss_family = AF_UNIX;
    expect_errno(connect(s, odd, odd.length), EAFNOSUPPORT);
}

TEST_P(names, connect_to_port_0) {
    const descriptor s = udp(family());
    ASSERT_EQ(connect_to(s, loop(0)), 0);
    name peer;
    expect_errno(getpeername(s, peer, &peer.length), ENOTCONN);
    expect_errno(sendto(s, "x", 1, 0, loop(0), loop().length), EINVAL);
}

TEST_P(names, connect_to_the_wildcard_means_this_host) {
    const descriptor to = bound(family());
    const descriptor s = udp(family());
    ASSERT_EQ(connect_to(s, wildcard(local_name(to).port())), 0);
    EXPECT_EQ(peer_of(s), local_name(to));
    send_text(s, "x");
    EXPECT_EQ(receive(to), "x");
}

TEST_P(names, sending_binds) {
    const descriptor to = bound(family());
    const descriptor s = udp(family());
    send_text(s, "x", local_name(to));
    EXPECT_NE(local_name(s).port(), 0);
    EXPECT_EQ(local_name(s).address(), wildcard().address());
    expect_errno(bind_to(s, loop()), EINVAL);
}

TEST_P(names, a_send_needs_a_destination) {
    const descriptor s = udp(family());
    expect_errno(send(s, "x", 1, 0), EDESTADDRREQ);
    expect_errno(sendto(s, "x", 1, 0, nullptr, 0), EDESTADDRREQ);
}

TEST_P(names, a_connected_socket_may_send_elsewhere) {
    const two t(family());
    const descriptor other = bound(family());
    send_text(t.from, "x", local_name(other));
    EXPECT_EQ(receive(other), "x");
    EXPECT_EQ(peer_of(t.from), local_name(t.to));
}

TEST(dual_stack, one_port_for_both_families) {
    const descriptor s = udp(AF_INET6);
    const name all = any(AF_INET6);
    ASSERT_EQ(bind(s, all, all.length), 0);
    const std::uint16_t port = local_name(s).port();
    EXPECT_FALSE(is_free(any(AF_INET, port)));
    EXPECT_FALSE(is_free(loopback(AF_INET, port)));
    EXPECT_FALSE(is_free(loopback(AF_INET6, port)));
    const descriptor from = udp(AF_INET);
    send_text(from, "x", loopback(AF_INET, port));
    name sender;
    char c;
    ASSERT_TRUE(comes(s, POLLIN));
    ASSERT_EQ(recvfrom(s, &c, 1, 0, sender, &sender.length), 1);
    EXPECT_EQ(sender.address(), "::ffff:127.0.0.1");
    send_text(s, "back", sender);
    EXPECT_EQ(receive(from), "back");
}

TEST(dual_stack, v6only_leaves_the_port_to_the_other_family) {
    const descriptor s = udp(AF_INET6);
    set_option(s, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    const name all = any(AF_INET6);
    ASSERT_EQ(bind(s, all, all.length), 0);
    const std::uint16_t port = local_name(s).port();
    EXPECT_TRUE(is_free(any(AF_INET, port)));
    EXPECT_FALSE(is_free(loopback(AF_INET6, port)));
    int off = 0;
    expect_errno(setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), EINVAL);
}

}  // namespace skua::test
