// Control messages: which address a datagram came to, its hop limit and traffic class, and the same for one that goes.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "posix/posix.hh"

namespace skua::test {

namespace {

constexpr int lo = 1;  // index of the loopback interface

struct control {
    int level = -1, type = -1;
    std::string data;
    friend bool operator==(const control&, const control&) = default;
};
template <class T>
control make(int level, int type, const T& value) {
    return {level, type, std::string(reinterpret_cast<const char*>(&value), sizeof value)};
}
template <class T>
T value_of(const control& c) {
    T value{};
    EXPECT_EQ(c.data.size(), sizeof value);
    std::memcpy(&value, c.data.data(), std::min(c.data.size(), sizeof value));
    return value;
}

struct told {
    std::string text;
    int flags = 0;
    std::size_t room_used = 0;
    std::vector<control> all;
};

told receive_told(int fd, std::size_t room = 512) {
    if (!comes(fd, POLLIN)) return {};
    char text[64];
    alignas(cmsghdr) std::array<char, 512> buffer{};
    iovec part{text, sizeof text};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = buffer.data();
    m.msg_controllen = room;
    const int n = granted(recvmsg(fd, &m, 0));
    told got{std::string(text, static_cast<std::size_t>(n)), m.msg_flags, m.msg_controllen, {}};
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c))
        got.all.push_back({c->cmsg_level, c->cmsg_type,
                           std::string(reinterpret_cast<const char*>(CMSG_DATA(c)), c->cmsg_len - CMSG_LEN(0))});
    return got;
}

ssize_t send_with(int fd, const std::vector<control>& all, const name* to, std::size_t cut = 0) {
    char text[] = "hello";
    alignas(cmsghdr) std::array<char, 512> buffer{};
    iovec part{text, 5};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    if (to != nullptr) {
        m.msg_name = const_cast<sockaddr_storage*>(&to->storage);
        m.msg_namelen = to->length;
    }
    std::size_t at = 0;
    for (const control& c : all) {
        cmsghdr head{};
        head.cmsg_level = c.level;
        head.cmsg_type = c.type;
        head.cmsg_len = CMSG_LEN(c.data.size());
        std::memcpy(&buffer[at], &head, sizeof head);
        std::memcpy(&buffer[at + CMSG_LEN(0)], c.data.data(), c.data.size());
        at += CMSG_SPACE(c.data.size());
    }
    m.msg_control = buffer.data();
    m.msg_controllen = at - cut;
    return sendmsg(fd, &m, 0);
}

in_pktinfo info4(const char* local, const char* destination, int ifindex = lo) {
    in_pktinfo i{};
    i.ipi_ifindex = ifindex;
    const name a = make_name(local), b = make_name(destination);
    i.ipi_spec_dst = reinterpret_cast<const sockaddr_in&>(a.storage).sin_addr;
    i.ipi_addr = reinterpret_cast<const sockaddr_in&>(b.storage).sin_addr;
    return i;
}
in6_pktinfo info6(const char* address, unsigned ifindex = lo) {
    in6_pktinfo i{};
    i.ipi6_ifindex = ifindex;
    const name a = make_name(address);
    i.ipi6_addr = reinterpret_cast<const sockaddr_in6&>(a.storage).sin6_addr;
    return i;
}
control packet_info4(const char* local, const char* destination, int ifindex = lo) {
    return make(IPPROTO_IP, IP_PKTINFO, info4(local, destination, ifindex));
}
control packet_info6(const char* address, unsigned ifindex = lo) {
    return make(IPPROTO_IPV6, IPV6_PKTINFO, info6(address, ifindex));
}

descriptor bound_to(const name& n) {
    descriptor fd = udp(n.family());
    granted(bind(fd, n, n.length));
    return fd;
}
name port_of(int fd, const char* address) { return make_name(address, local_name(fd).port()); }

}  // namespace

TEST(ancillary, nothing_unless_asked_for) {
    const two pair(AF_INET);
    deliver(pair.from, "hello");
    const told got = receive_told(pair.to);
    EXPECT_EQ(got.text, "hello");
    EXPECT_EQ(got.room_used, 0u);
    EXPECT_EQ(got.flags, 0);
}

TEST(ancillary, options_are_read_back) {
    const descriptor v4 = udp(AF_INET), v6 = udp(AF_INET6);
    for (const int option : {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS}) {
        EXPECT_EQ(get_option(v4, IPPROTO_IP, option), 0);
        set_option(v4, IPPROTO_IP, option, 7);
        EXPECT_EQ(get_option(v4, IPPROTO_IP, option), 1);
        set_option(v4, IPPROTO_IP, option, 0);
        EXPECT_EQ(get_option(v4, IPPROTO_IP, option), 0);
        set_option(v6, IPPROTO_IP, option, 1);
    }
    const int on = 1;
    for (const int option : {IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS}) {
        set_option(v6, IPPROTO_IPV6, option, 7);
        EXPECT_EQ(get_option(v6, IPPROTO_IPV6, option), 1);
        expect_errno(setsockopt(v4, IPPROTO_IPV6, option, &on, sizeof on), ENOPROTOOPT);
    }
}

TEST(ancillary, tells_of_ipv4_in_linux_order) {
    const descriptor to = bound_to(any(AF_INET));
    for (const int option : {IP_RECVTOS, IP_RECVTTL, IP_PKTINFO}) set_option(to, IPPROTO_IP, option, 1);
    const descriptor from = udp(AF_INET);
    set_option(from, IPPROTO_IP, IP_TTL, 33);
    set_option(from, IPPROTO_IP, IP_TOS, 0x28);
    send_text(from, "hello", port_of(to, "127.0.0.5"));
    const told got = receive_told(to);
    EXPECT_EQ(got.text, "hello");
    ASSERT_EQ(got.all.size(), 3u);
    EXPECT_EQ(got.all[0], packet_info4("127.0.0.5", "127.0.0.5"));
    EXPECT_EQ(got.all[1], make(IPPROTO_IP, IP_TTL, 33));
    EXPECT_EQ(got.all[2], make(IPPROTO_IP, IP_TOS, std::uint8_t(0x28)));
}

TEST(ancillary, tells_of_ipv6_in_linux_order) {
    const descriptor to = bound_to(any(AF_INET6));
    for (const int option : {IPV6_RECVTCLASS, IPV6_RECVHOPLIMIT, IPV6_RECVPKTINFO})
        set_option(to, IPPROTO_IPV6, option, 1);
    set_option(to, IPPROTO_IP, IP_PKTINFO, 1);
    const descriptor from = udp(AF_INET6);
    set_option(from, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
    set_option(from, IPPROTO_IPV6, IPV6_TCLASS, 0x28);
    send_text(from, "hello", port_of(to, "::1"));
    const told got = receive_told(to);
    ASSERT_EQ(got.all.size(), 3u);
    EXPECT_EQ(got.all[0], packet_info6("::1"));
    EXPECT_EQ(got.all[1], make(IPPROTO_IPV6, IPV6_HOPLIMIT, 33));
    EXPECT_EQ(got.all[2], make(IPPROTO_IPV6, IPV6_TCLASS, 0x28));
}

TEST(ancillary, tells_of_ipv4_on_a_dual_socket_twice) {
    const descriptor to = bound_to(any(AF_INET6));
    set_option(to, IPPROTO_IP, IP_PKTINFO, 1);
    for (const int option : {IPV6_RECVHOPLIMIT, IPV6_RECVPKTINFO}) set_option(to, IPPROTO_IPV6, option, 1);
    const descriptor from = udp(AF_INET);
    send_text(from, "hello", port_of(to, "127.0.0.1"));
    const told got = receive_told(to);
    ASSERT_EQ(got.all.size(), 2u);
    EXPECT_EQ(got.all[0], packet_info6("::ffff:127.0.0.1"));
    EXPECT_EQ(got.all[1], packet_info4("127.0.0.1", "127.0.0.1"));
}

TEST(ancillary, stays_with_a_datagram_that_is_peeked_at) {
    const two pair(AF_INET);
    set_option(pair.to, IPPROTO_IP, IP_RECVTTL, 1);
    deliver(pair.from, "hello");
    char text[8];
    EXPECT_EQ(recv(pair.to, text, sizeof text, MSG_PEEK), 5);
    EXPECT_EQ(receive_told(pair.to).all, std::vector{make(IPPROTO_IP, IP_TTL, 64)});
}

TEST(ancillary, is_cut_to_the_room) {
    const two pair(AF_INET);
    set_option(pair.to, IPPROTO_IP, IP_PKTINFO, 1);
    set_option(pair.to, IPPROTO_IP, IP_RECVTTL, 1);
    struct expected {
        std::size_t room, used, whole, data;
    };
    constexpr std::size_t first = CMSG_SPACE(sizeof(in_pktinfo));
    for (const expected e : {expected{8, 0, 0, 0}, expected{CMSG_LEN(4), CMSG_LEN(4), 1, 4},
                             expected{first, first, 1, sizeof(in_pktinfo)},
                             expected{first + 8, first, 1, sizeof(in_pktinfo)}}) {
        SCOPED_TRACE(e.room);
        deliver(pair.from, "hello");
        const told got = receive_told(pair.to, e.room);
        EXPECT_EQ(got.text, "hello");
        EXPECT_EQ(got.flags, MSG_CTRUNC);
        EXPECT_EQ(got.room_used, e.used);
        ASSERT_EQ(got.all.size(), e.whole);
        if (e.whole != 0) { EXPECT_EQ(got.all[0].data.size(), e.data); }
    }
}

TEST(ancillary, chooses_the_source_of_what_is_sent) {
    const descriptor to = bound(AF_INET), from = udp(AF_INET);
    const name there = local_name(to);
    granted(send_with(from, {packet_info4("127.0.0.9", "0.0.0.0", 0)}, &there));
    ASSERT_TRUE(comes(to, POLLIN));
    char text[8];
    name source;
    granted(recvfrom(to, text, sizeof text, 0, source, &source.length));
    EXPECT_EQ(source.address(), "127.0.0.9");
    EXPECT_EQ(source.port(), local_name(from).port());
}

TEST(ancillary, chooses_a_source_of_a_connected_socket) {
    const descriptor to = bound(AF_INET), from = bound_to(make_name("127.0.0.3"));
    const name there = local_name(to);
    granted(connect(from, there, there.length));
    for (const char* const address : {"127.0.0.9", "127.0.0.10"}) {
        granted(send_with(from, {packet_info4(address, "0.0.0.0", lo)}, nullptr));
        ASSERT_TRUE(comes(to, POLLIN));
        char text[8];
        name source;
        granted(recvfrom(to, text, sizeof text, 0, source, &source.length));
        EXPECT_EQ(source.address(), address);
    }
    EXPECT_EQ(local_name(from).address(), "127.0.0.3");
}

TEST(ancillary, answers_from_where_a_question_came_to) {
    const descriptor server = bound_to(any(AF_INET)), client = bound(AF_INET);
    set_option(server, IPPROTO_IP, IP_PKTINFO, 1);
    send_text(client, "question", port_of(server, "127.0.0.7"));
    const told got = receive_told(server);
    ASSERT_EQ(got.all.size(), 1u);
    const name back = local_name(client);
    granted(send_with(server, got.all, &back));
    ASSERT_TRUE(comes(client, POLLIN));
    char text[8];
    name source;
    granted(recvfrom(client, text, sizeof text, 0, source, &source.length));
    EXPECT_EQ(source, port_of(server, "127.0.0.7"));
}

TEST(ancillary, chooses_hop_limit_and_traffic_class) {
    const two v4(AF_INET), v6(AF_INET6);
    for (const int option : {IP_RECVTTL, IP_RECVTOS}) set_option(v4.to, IPPROTO_IP, option, 1);
    for (const int option : {IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS}) set_option(v6.to, IPPROTO_IPV6, option, 1);
    granted(send_with(v4.from, {make(IPPROTO_IP, IP_TTL, 3), make(IPPROTO_IP, IP_TOS, 0x10)}, nullptr));
    EXPECT_EQ(receive_told(v4.to).all,
              (std::vector{make(IPPROTO_IP, IP_TTL, 3), make(IPPROTO_IP, IP_TOS, std::uint8_t(0x10))}));
    granted(send_with(v4.from, {make(IPPROTO_IP, IP_TOS, std::uint8_t(0x20))}, nullptr));
    EXPECT_EQ(receive_told(v4.to).all,
              (std::vector{make(IPPROTO_IP, IP_TTL, 64), make(IPPROTO_IP, IP_TOS, std::uint8_t(0x20))}));
    granted(send_with(v6.from, {make(IPPROTO_IPV6, IPV6_HOPLIMIT, 3), make(IPPROTO_IPV6, IPV6_TCLASS, 0x10)}, nullptr));
    const auto both = std::vector{make(IPPROTO_IPV6, IPV6_HOPLIMIT, 3), make(IPPROTO_IPV6, IPV6_TCLASS, 0x10)};
    EXPECT_EQ(receive_told(v6.to).all, both);
    granted(send_with(v6.from, {make(IPPROTO_IPV6, IPV6_HOPLIMIT, -1)}, nullptr));
    const auto usual = std::vector{make(IPPROTO_IPV6, IPV6_HOPLIMIT, 64), make(IPPROTO_IPV6, IPV6_TCLASS, 0)};
    EXPECT_EQ(receive_told(v6.to).all, usual);
}

TEST(ancillary, chooses_a_mapped_source_on_a_dual_socket) {
    const descriptor to = bound(AF_INET), from = udp(AF_INET6);
    const name there = port_of(to, "::ffff:127.0.0.1");
    granted(send_with(from, {packet_info6("::ffff:127.0.0.9", 0)}, &there));
    ASSERT_TRUE(comes(to, POLLIN));
    char text[8];
    name source;
    granted(recvfrom(to, text, sizeof text, 0, source, &source.length));
    EXPECT_EQ(source.address(), "127.0.0.9");
    expect_errno(send_with(from, {packet_info6("::1", 0)}, &there), EINVAL);
}

TEST(ancillary, refuses_what_linux_refuses) {
    const descriptor to4 = bound(AF_INET), to6 = bound(AF_INET6);
    const name there4 = local_name(to4), there6 = local_name(to6);
    const descriptor v4 = udp(AF_INET), v6 = udp(AF_INET6);
    expect_errno(send_with(v4, {packet_info4("198.51.100.7", "0.0.0.0", 0)}, &there4), ENETUNREACH);
    expect_errno(send_with(v4, {packet_info4("0.0.0.0", "0.0.0.0", 4242)}, &there4), ENODEV);
    expect_errno(send_with(v6, {packet_info6("2001:db8::7", 0)}, &there6), EINVAL);
    expect_errno(send_with(v6, {packet_info6("::", 4242)}, &there6), ENODEV);
    expect_errno(send_with(v4, {make(IPPROTO_IP, IP_TTL, 0)}, &there4), EINVAL);
    expect_errno(send_with(v4, {make(IPPROTO_IP, IP_TTL, 256)}, &there4), EINVAL);
    expect_errno(send_with(v4, {make(IPPROTO_IP, IP_TTL, std::uint8_t(3))}, &there4), EINVAL);
    expect_errno(send_with(v4, {make(IPPROTO_IP, IP_TOS, 256)}, &there4), EINVAL);
    expect_errno(send_with(v6, {make(IPPROTO_IPV6, IPV6_HOPLIMIT, 256)}, &there6), EINVAL);
    expect_errno(send_with(v6, {make(IPPROTO_IPV6, IPV6_TCLASS, -2)}, &there6), EINVAL);
    expect_errno(send_with(v4, {make(IPPROTO_IP, 4242, 0)}, &there4), EINVAL);
    expect_errno(send_with(v6, {make(IPPROTO_IPV6, 4242, 0)}, &there6), EINVAL);
    expect_errno(send_with(v4, {make(SOL_SOCKET, 4242, 0)}, &there4), EINVAL);
    expect_errno(send_with(v4, {packet_info4("0.0.0.0", "0.0.0.0", 0)}, &there4, 8), EINVAL);
    expect_errno(send_with(v4, {make(IPPROTO_IP, IP_PKTINFO, 0)}, &there4), EINVAL);
}

TEST(ancillary, passes_over_what_is_of_another_family) {
    const two v4(AF_INET), v6(AF_INET6);
    granted(send_with(v4.from, {packet_info6("2001:db8::7", 4242)}, nullptr));
    granted(send_with(v6.from, {packet_info4("198.51.100.7", "0.0.0.0", 4242)}, nullptr));
    EXPECT_EQ(receive(v4.to), "hello");
    EXPECT_EQ(receive(v6.to), "hello");
}

TEST(ancillary, mtu_of_ipv6_is_1280_at_least) {
    const two pair(AF_INET6);
    const int small = 1279, least = 1280, none = 0, on = 1;
    expect_errno(setsockopt(pair.from, IPPROTO_IPV6, IPV6_MTU, &small, sizeof small), EINVAL);
    granted(setsockopt(pair.from, IPPROTO_IPV6, IPV6_MTU, &least, sizeof least));
    granted(setsockopt(pair.from, IPPROTO_IPV6, IPV6_DONTFRAG, &on, sizeof on));
    EXPECT_EQ(get_option(pair.from, IPPROTO_IPV6, IPV6_DONTFRAG), 1);
    const std::string fits(1280 - 48, 'x'), longer(1280 - 48 + 1, 'x');
    EXPECT_EQ(send(pair.from, fits.data(), fits.size(), 0), static_cast<ssize_t>(fits.size()));
    expect_errno(send(pair.from, longer.data(), longer.size(), 0), EMSGSIZE);
    granted(setsockopt(pair.from, IPPROTO_IPV6, IPV6_MTU, &none, sizeof none));
    EXPECT_EQ(send(pair.from, longer.data(), longer.size(), 0), static_cast<ssize_t>(longer.size()));
}

}  // namespace skua::test
