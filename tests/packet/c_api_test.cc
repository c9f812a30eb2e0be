// The C API in library mode as programs use it: a thread runs each shard, others make POSIX-shaped calls.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include "packet/packet.hh"
#include "packet/pool.hh"
#include "skua/options.h"
#include "skua/skua.h"
#include "skua/skua.hpp"
#include "skua/udp_grm.h"
#include "support/frames.hh"
#include "support/sanitized.hh"

namespace skua::test {

namespace {

constexpr const char* configuration = R"(
    [pool]
    packets = 4096
    [[port]]
    device = "0"
    name = "p0"
    mac = "02:00:00:00:00:01"
    addresses = ["198.18.0.1/24", "2001:db8::1/64"]
    dad = false
    [[neighbour]]
    port = "p0"
    address = "198.18.0.2"
    mac = "02:00:00:00:00:02"
)";

struct address {
    explicit address(const char* ip, std::uint16_t port) {
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        inet_pton(AF_INET, ip, &in.sin_addr);
    }
    operator const sockaddr*() const { return reinterpret_cast<const sockaddr*>(&in); }
    sockaddr_in in{};
    static constexpr socklen_t length = sizeof(sockaddr_in);
};

struct descriptor {
    explicit descriptor(int type = SOCK_DGRAM) : fd(skua_socket(AF_INET, type, 0)) {}
    ~descriptor() { skua_close(fd); }
    operator int() const { return fd; }
    const int fd;
};

/// Port 0, which the stack only names.
void make_port() {
    if (!rte_eth_dev_is_valid_port(0)) {
        ASSERT_EQ(rte_eal_hotplug_add("vdev", "net_null0", ""), 0);
    }
}

void wait(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }
/// The counter, as soon as it has reached `least`, or after some seconds: a shard counts what it has done already.
std::uint64_t counted(const char* group, const char* name, std::uint64_t least) {
    for (int i = 0; i < 5000 && skua_mib(group, name) < least; i++) wait(1);
    return skua_mib(group, name);
}

timeval milliseconds(int n) { return {n / 1000, n % 1000 * 1000}; }

/// The stack with a thread for each shard, which polls it and takes its frames.
class c_api : public testing::TestWithParam<unsigned> {
protected:
    void SetUp() override {
        make_port();
        ASSERT_EQ(skua_start_library(GetParam(), configuration), 0);
        for (unsigned i = 0; i < GetParam(); i++) pollers_.emplace_back([this, i] { drive(i); });
    }
    void TearDown() override {
        stopping_ = true;
        for (auto& t : pollers_) t.join();
        skua_stop();
    }
    unsigned frames() const { return frames_.load(std::memory_order_relaxed); }

private:
    void drive(unsigned shard) {
        rte_thread_register();
        while (!stopping_.load(std::memory_order_relaxed)) {
            const unsigned work = skua_shard_poll(shard);
            rte_mbuf* out[32];
            const unsigned n = skua_shard_output(shard, out, 32);
            rte_pktmbuf_free_bulk(out, n);
            frames_.fetch_add(n, std::memory_order_relaxed);
            if (work == 0) std::this_thread::yield();
        }
        rte_thread_unregister();
    }

    std::atomic<bool> stopping_{false};
    std::atomic<unsigned> frames_{0};
    std::vector<std::thread> pollers_;
};
INSTANTIATE_TEST_SUITE_P(shards, c_api, testing::Values(1u, 2u));

/// For a call that must have failed.
template <class Returned>
void expect_errno(Returned returned, int code, int line = __builtin_LINE()) {
    const int found = errno;
    EXPECT_EQ(returned, -1) << "line " << line;
    EXPECT_EQ(found, code) << "line " << line;
}

}  // namespace

TEST_P(c_api, where_a_flow_goes) {
    descriptor server;
    const address at("198.18.0.1", 5353);
    ASSERT_EQ(skua_bind(server, at, at.length), 0) << strerror(errno);
    char text[4096];
    const ssize_t length = skua_explain("198.18.0.1:5353,198.18.0.2:9", text, sizeof text);
    ASSERT_GT(length, 0);
    EXPECT_EQ(strlen(text), static_cast<std::size_t>(length));
    EXPECT_NE(strstr(text, "rule          highest score"), nullptr) << text;
    char little[5];
    EXPECT_EQ(skua_explain("198.18.0.1:5353,198.18.0.2:9", little, sizeof little), length);
    EXPECT_EQ(strncmp(little, text, 4), 0);
    EXPECT_EQ(little[4], 0);
    expect_errno(skua_explain("nonsense", text, sizeof text), EINVAL);
    expect_errno(skua_set_active_shards(0), EINVAL);
    // The application polls the shards.
    expect_errno(skua_set_active_shards(1), EAGAIN);
}

TEST_P(c_api, datagrams_between_threads) {
    descriptor server, client;
    const address at("198.18.0.1", 5353);
    ASSERT_EQ(skua_bind(server, at, at.length), 0);
    constexpr int rounds = 500;
    std::thread echo([&] {
        for (int i = 0; i < rounds; i++) {
            char data[2000];
            sockaddr_in from{};
            socklen_t length = sizeof from;
            const auto n = skua_recvfrom(server, data, sizeof data, 0, reinterpret_cast<sockaddr*>(&from), &length);
            ASSERT_GE(n, 0);
            ASSERT_EQ(
                skua_sendto(server, data, static_cast<std::size_t>(n), 0, reinterpret_cast<sockaddr*>(&from), length),
                n);
        }
    });
    ASSERT_EQ(skua_connect(client, at, at.length), 0);
    for (int i = 0; i < rounds; i++) {
        const std::string sent = pattern(static_cast<std::size_t>(i * 3));
        ASSERT_EQ(skua_send(client, sent.data(), sent.size(), 0), static_cast<ssize_t>(sent.size()));
        char data[2000];
        const auto n = skua_recv(client, data, sizeof data, 0);
        ASSERT_EQ(n, static_cast<ssize_t>(sent.size()));
        ASSERT_EQ(std::string(data, sent.size()), sent);
    }
    echo.join();
    EXPECT_EQ(counted("Udp", "InDatagrams", 2 * rounds), 2u * rounds);
    EXPECT_EQ(counted("Udp", "OutDatagrams", 2 * rounds), 2u * rounds);
    EXPECT_EQ(skua_mib("Udp", "NoSuchCounter"), UINT64_MAX);
    EXPECT_EQ(skua_drops("udp_no_port"), 0u);
    EXPECT_EQ(skua_drops("no_such_reason"), UINT64_MAX);
}

TEST_P(c_api, many_threads_one_server) {
    descriptor server;
    const address at("198.18.0.1", 5353);
    ASSERT_EQ(skua_bind(server, at, at.length), 0);
    const int room = 4 << 20;
    ASSERT_EQ(skua_setsockopt(server, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
    const timeval patience = milliseconds(10000);
    ASSERT_EQ(skua_setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    constexpr unsigned clients = 4, each = 300;
    std::vector<std::thread> threads;
    for (unsigned c = 0; c < clients; c++)
        threads.emplace_back([&, c] {
            descriptor mine;
            for (unsigned i = 0; i < each; i++) {
                const unsigned text[2] = {c, i};
                ssize_t sent;
                // The ring to a shard holds less than all send buffers together.
                while ((sent = skua_sendto(mine, text, sizeof text, 0, at, at.length)) < 0 && errno == ENOBUFS) wait(1);
                ASSERT_EQ(sent, static_cast<ssize_t>(sizeof text)) << errno;
            }
        });
    unsigned next[clients] = {};
    for (unsigned got = 0; got < clients * each;) {
        unsigned text[16][2];
        iovec parts[16];
        mmsghdr messages[16]{};
        for (int i = 0; i < 16; i++) {
            parts[i] = {text[i], sizeof text[i]};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        const int n = skua_recvmmsg(server, messages, 16, MSG_WAITFORONE, nullptr);
        ASSERT_GT(n, 0);
        for (int i = 0; i < n; i++) {
            ASSERT_EQ(messages[i].msg_len, sizeof text[i]);
            EXPECT_EQ(text[i][1], next[text[i][0]]++) << "out of order";
        }
        got += static_cast<unsigned>(n);
    }
    for (auto& t : threads) t.join();
}

TEST_P(c_api, sendmmsg_and_gathered_parts) {
    descriptor server, client;
    const address at("127.0.0.1", 5353);
    ASSERT_EQ(skua_bind(server, at, at.length), 0);
    ASSERT_EQ(skua_connect(client, at, at.length), 0);
    char a[] = "gath", b[] = "ered";
    iovec parts[2] = {{a, 4}, {b, 4}};
    mmsghdr messages[5]{};
    for (auto& m : messages) {
        m.msg_hdr.msg_iov = parts;
        m.msg_hdr.msg_iovlen = 2;
    }
    ASSERT_EQ(skua_sendmmsg(client, messages, 5, 0), 5);
    for (const auto& m : messages) EXPECT_EQ(m.msg_len, 8u);
    for (int i = 0; i < 5; i++) {
        char data[20]{};
        ASSERT_EQ(skua_recv(server, data, sizeof data, 0), 8);
        EXPECT_STREQ(data, "gathered");
    }
    char data[4];
    msghdr peeked{};
    iovec part{data, sizeof data};
    peeked.msg_iov = &part;
    peeked.msg_iovlen = 1;
    ASSERT_EQ(skua_sendmsg(client, &messages[0].msg_hdr, 0), 8);
    while (skua_recvmsg(server, &peeked, MSG_PEEK | MSG_DONTWAIT) < 0) wait(1);
    EXPECT_TRUE(peeked.msg_flags & MSG_TRUNC);
    EXPECT_EQ(skua_recv(server, data, sizeof data, MSG_TRUNC), 8);
}

TEST_P(c_api, receive_timeout) {
    descriptor fd;
    const address at("198.18.0.1", 5353);
    ASSERT_EQ(skua_bind(fd, at, at.length), 0);
    const timeval limit = milliseconds(50);
    ASSERT_EQ(skua_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    const auto before = std::chrono::steady_clock::now();
    char data[10];
    expect_errno(skua_recv(fd, data, sizeof data, 0), EAGAIN);
    EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(45));
    expect_errno(skua_recv(fd, data, sizeof data, MSG_DONTWAIT), EAGAIN);
    descriptor nonblocking(SOCK_DGRAM | SOCK_NONBLOCK);
    expect_errno(skua_recv(nonblocking, data, sizeof data, 0), EAGAIN);
}

TEST_P(c_api, errno_values) {
    char data[10];
    expect_errno(skua_socket(AF_UNIX, SOCK_DGRAM, 0), EAFNOSUPPORT);
    expect_errno(skua_socket(AF_INET, SOCK_STREAM, 0), ESOCKTNOSUPPORT);
    expect_errno(skua_recv(12345, data, 1, 0), EBADF);
    expect_errno(skua_close(12345), EBADF);
    descriptor fd, other;
    const address at("198.18.0.1", 5353), foreign("8.8.8.8", 5353), far("203.0.113.1", 53);
    expect_errno(skua_bind(fd, foreign, foreign.length), EADDRNOTAVAIL);
    ASSERT_EQ(skua_bind(other, at, at.length), 0);
    expect_errno(skua_bind(other, at, at.length), EINVAL);
    expect_errno(skua_bind(fd, at, at.length), EADDRINUSE);
    expect_errno(skua_send(fd, data, 1, 0), EDESTADDRREQ);
    expect_errno(skua_bind(fd, at, at.length), EINVAL);  // sending has bound it
    expect_errno(skua_sendto(fd, data, 1, 0, far, far.length), ENETUNREACH);
    expect_errno(skua_connect(fd, far, far.length), ENETUNREACH);
    expect_errno(skua_shutdown(fd, SHUT_RD), ENOTCONN);
    expect_errno(skua_setsockopt(fd, 4711, 1, data, sizeof data), ENOPROTOOPT);
    const std::string long_one(65508, 'x');
    expect_errno(skua_sendto(fd, long_one.data(), long_one.size(), 0, at, at.length), EMSGSIZE);
    sockaddr_in name{};
    socklen_t length = sizeof name;
    expect_errno(skua_getpeername(fd, reinterpret_cast<sockaddr*>(&name), &length), ENOTCONN);
    ASSERT_EQ(skua_getsockname(other, reinterpret_cast<sockaddr*>(&name), &length), 0);
    EXPECT_EQ(ntohs(name.sin_port), 5353);
    expect_errno(skua_start_library(1, configuration), EALREADY);
}

TEST_P(c_api, closed_port_is_told_to_a_thread_that_waits) {
    descriptor fd;
    const address closed("198.18.0.1", 99);
    ASSERT_EQ(skua_connect(fd, closed, closed.length), 0);
    const timeval limit = milliseconds(5000);
    ASSERT_EQ(skua_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    ASSERT_EQ(skua_send(fd, "x", 1, 0), 1);
    char data[10];
    expect_errno(skua_recv(fd, data, sizeof data, 0), ECONNREFUSED);
    EXPECT_EQ(counted("Udp", "NoPorts", 1), 1u);
    EXPECT_EQ(counted("Icmp", "OutDestUnreachs", 1), 1u);
}

TEST_P(c_api, frames_leave_by_the_poller) {
    descriptor fd;
    const address peer("198.18.0.2", 9);
    for (int i = 0; i < 100; i++) ASSERT_EQ(skua_sendto(fd, "x", 1, 0, peer, peer.length), 1);
    EXPECT_EQ(counted("Udp", "OutDatagrams", 100), 100u);
    for (int i = 0; i < 2000 && frames() < 100; i++) wait(1);
    EXPECT_GE(frames(), 100u);
}

TEST_P(c_api, sockets_come_and_go_while_shards_poll) {
    const address at("198.18.0.1", 5353);
    std::atomic<bool> stop{false};
    std::thread sender([&] {
        descriptor fd;
        while (!stop) skua_sendto(fd, "x", 1, MSG_DONTWAIT, at, at.length);
    });
    std::uint64_t received = 0;
    for (int i = 0; i < 200; i++) {
        descriptor fd;
        ASSERT_EQ(skua_bind(fd, at, at.length), 0);
        const timeval limit = milliseconds(2);
        skua_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        char data[10];
        for (int n = 0; n < 5; n++) received += skua_recv(fd, data, sizeof data, 0) == 1;
    }
    stop = true;
    sender.join();
    EXPECT_GT(received, 0u);
}

TEST(c_api_start, refuses_what_it_cannot_be) {
    make_port();
    expect_errno(skua_socket(AF_INET, SOCK_DGRAM, 0), ENETDOWN);
    expect_errno(skua_close(1 << 20), EBADF);
    EXPECT_EQ(skua_drops("udp_no_port"), UINT64_MAX);
    testing::internal::CaptureStderr();
    expect_errno(skua_start_library(1, "[[port]]\ndevice = 7\n"), EINVAL);
    EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("device"));
    skua_stop();  // nothing runs: nothing happens
}

TEST_P(c_api, stack_processes_have_descriptors_of_their_own) {
    const descriptor ours;
    const address here("198.18.0.1", 4321);
    ASSERT_EQ(skua_bind(ours, here, here.length), 0);
    skua_process* const child = skua_process_fork();
    ASSERT_NE(child, nullptr);
    ASSERT_EQ(skua_fcntl(ours, F_SETFD, FD_CLOEXEC), 0);
    ASSERT_EQ(skua_process_enter(child), 0);
    EXPECT_EQ(skua_fcntl(ours, F_GETFD), 0);  // of the descriptor, not of the file
    expect_errno(skua_close(1 << 20), EBADF);
    const int lowest = skua_socket(AF_INET, SOCK_DGRAM, 0);
    EXPECT_EQ(lowest, 0);
    expect_errno(skua_bind(lowest, here, here.length), EADDRINUSE);
    const int passed = skua_process_pass(lowest, nullptr);
    ASSERT_EQ(skua_fcntl(lowest, F_SETFD, FD_CLOEXEC), 0);
    ASSERT_EQ(skua_process_exec(child), 0);
    expect_errno(skua_close(lowest), EBADF);
    EXPECT_EQ(skua_process_exit(child), 0);  // the thread is back in the first process
    expect_errno(skua_process_exit(child), ESRCH);
    expect_errno(skua_process_enter(child), ESRCH);
    expect_errno(skua_process_exec(child), ESRCH);
    expect_errno(skua_process_pass(ours, child), ESRCH);
    address of_ours("0.0.0.0", 0);
    socklen_t length = of_ours.length;
    EXPECT_EQ(skua_getsockname(ours, reinterpret_cast<sockaddr*>(&of_ours.in), &length), 0);
    EXPECT_EQ(of_ours.in.sin_port, htons(4321));
    EXPECT_EQ(skua_close(passed), 0);
}

TEST_P(c_api, views_show_sockets_and_descriptors) {
    const descriptor plain, quick(SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
    const address here("198.18.0.1", 4660);
    ASSERT_EQ(skua_bind(quick, here, here.length), 0);
    struct stat status {};
    ASSERT_EQ(skua_fstat(quick, &status), 0);

    const auto lines = api::proc_net_udp(AF_INET);
    ASSERT_EQ(lines.size(), 2u);  // the other is not bound
    EXPECT_THAT(lines[1], testing::HasSubstr(": 010012C6:1234 00000000:0000 07 00000000:00000000"));
    EXPECT_THAT(lines[1], testing::HasSubstr(" " + std::to_string(status.st_ino) + " "));
    EXPECT_EQ(api::proc_net_udp(AF_INET6).size(), 1u);

    ASSERT_THAT(api::processes(), testing::ElementsAre(1));
    const auto descriptors = api::descriptors(1);
    ASSERT_EQ(descriptors.size(), 2u);
    EXPECT_EQ(descriptors[1].fd, quick);
    EXPECT_EQ(descriptors[1].link, "socket:[" + std::to_string(status.st_ino) + "]");
    EXPECT_EQ(descriptors[1].flags, O_RDWR | O_NONBLOCK);
    EXPECT_TRUE(descriptors[1].close_on_exec);
    EXPECT_FALSE(descriptors[0].close_on_exec);
    EXPECT_TRUE(api::descriptors(2).empty());
}

TEST_P(c_api, a_callable_chooses_the_member) {
    api::socket_options shared;
    shared.reuse_port = true;
    const auto at = api::endpoint::parse("198.18.0.1:777");
    std::vector<api::udp_socket> members;
    std::atomic<int> got[3] = {0, 0, 0};
    for (auto& counter : got)
        members.push_back(api::shard(0).open(at, shared, [&counter](api::udp_socket&, std::span<api::datagram> burst) {
            counter += static_cast<int>(burst.size());
        }));
    members[1].choose_by([](const api::endpoint&, std::span<const std::byte> payload) {
        return payload.empty() ? std::optional<std::uint32_t>() : std::to_integer<std::uint32_t>(payload[0]);
    });
    const descriptor from;
    const address to("198.18.0.1", 777);
    for (const char place : {2, 0, 2, 1, 2}) ASSERT_EQ(skua_sendto(from, &place, 1, 0, to, to.length), 1);
    for (int i = 0; i < 5000 && got[0] + got[1] + got[2] < 5; i++) wait(1);
    EXPECT_EQ(got[0], 1);
    EXPECT_EQ(got[1], 1);
    EXPECT_EQ(got[2], 3);
    EXPECT_THROW(members[0].set_option(SOL_SKUA, SKUA_REUSEPORT_SELECT, 99), api::failure);
}

TEST_P(c_api, options_of_our_own_choose_the_member) {
    const int on = 1;
    const address at("198.18.0.1", 778);
    const descriptor first(SOCK_DGRAM | SOCK_NONBLOCK), second(SOCK_DGRAM | SOCK_NONBLOCK), alone;
    for (const int fd : {int(first), int(second)}) {
        ASSERT_EQ(skua_setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
        ASSERT_EQ(skua_bind(fd, at, at.length), 0);
    }
    const auto select = [&](int fd, int how) {
        return skua_setsockopt(fd, SOL_SKUA, SKUA_REUSEPORT_SELECT, &how, sizeof how);
    };
    const auto by_cookie = [&](int fd, skua_cookie c) {
        return skua_setsockopt(fd, SOL_SKUA, SKUA_REUSEPORT_COOKIE, &c, sizeof c);
    };
    ASSERT_EQ(by_cookie(first, {1, 1}), 0);
    const descriptor from;
    const auto is_at = [&](int fd, const char* text) {
        EXPECT_EQ(skua_sendto(from, text, 2, 0, at, at.length), 2);
        char data[8];
        for (int i = 0; i < 5000; i++, wait(1)) {
            const bool here = skua_recv(fd, data, sizeof data, 0) == 2;
            const bool there = skua_recv(fd == first ? second : first, data, sizeof data, 0) == 2;
            if (here || there) return here;
        }
        return false;
    };
    for (const char* text : {"x\1", "y\1"}) EXPECT_TRUE(is_at(second, text));
    for (const char* text : {"x\0", "y\0"}) EXPECT_TRUE(is_at(first, text));
    for (const int how : {SKUA_SELECT_MODULO, SKUA_SELECT_SOURCE, SKUA_SELECT_LOCAL, SKUA_SELECT_BUCKETS}) {
        EXPECT_EQ(select(second, how), 0);
        const bool once = is_at(first, "zz");  // one flow: the same member each time
        for (int i = 0; i < 4; i++) EXPECT_EQ(is_at(first, "zz"), once) << how;
    }
    EXPECT_EQ(select(first, SKUA_SELECT_BUCKETS), 0);  // as it is
    // Extended BPF that returns 1, as bytes and in a file.
    const std::uint64_t program[] = {0x1000000b7, 0x95};
    ASSERT_EQ(skua_setsockopt(first, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, program, sizeof program), 0);
    for (int i = 0; i < 4; i++) EXPECT_TRUE(is_at(second, "bb"));
    const int file = memfd_create("program", 0);
    ASSERT_EQ(write(file, program, sizeof program), ssize_t(sizeof program));
    ASSERT_EQ(skua_setsockopt(second, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &file, sizeof file), 0);
    for (int i = 0; i < 4; i++) EXPECT_TRUE(is_at(second, "ff"));
    close(file);
    EXPECT_EQ(select(first, SKUA_SELECT_BUCKETS), 0);
    const auto weigh = [&](int fd, int w) {
        return skua_setsockopt(fd, SOL_SKUA, SKUA_REUSEPORT_WEIGHT, &w, sizeof w);
    };
    for (const int light : {int(first), int(second)}) {
        const int heavy = light == first ? second : first;
        EXPECT_EQ(weigh(heavy, 1000), 0);
        EXPECT_EQ(weigh(light, 0), 0);
        EXPECT_TRUE(is_at(heavy, "ww"));
    }
    int weight = -1;
    socklen_t length = sizeof weight;
    EXPECT_EQ(skua_getsockopt(first, SOL_SKUA, SKUA_REUSEPORT_WEIGHT, &weight, &length), 0);
    EXPECT_EQ(weight, 1000);
    for (const int bad : {-1, 1001}) expect_errno(weigh(first, bad), EINVAL);
    expect_errno(select(first, 99), EINVAL);
    expect_errno(select(alone, SKUA_SELECT_MODULO), EINVAL);  // no SO_REUSEPORT
    expect_errno(by_cookie(first, {0, 3}), EINVAL);
    expect_errno(skua_setsockopt(first, SOL_SKUA, SKUA_REUSEPORT_COOKIE, &on, 1), EINVAL);
}

TEST_P(c_api, a_program_written_for_udpgrm_upgrades) {
    const address at("198.18.0.1", 779);
    const auto instance = [&] {
        auto fd = std::make_unique<descriptor>(SOCK_DGRAM | SOCK_NONBLOCK);
        const int on = 1;
        EXPECT_EQ(skua_setsockopt(*fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
        EXPECT_EQ(skua_bind(*fd, at, at.length), 0);
        const std::uint32_t flow[] = {DISSECTOR_FLOW, 124};
        EXPECT_EQ(skua_setsockopt(*fd, IPPROTO_UDP, UDP_GRM_DISSECTOR, flow, sizeof flow), 0);
        std::uint32_t generation = 0, place[3] = {};
        socklen_t length = sizeof generation;
        EXPECT_EQ(skua_getsockopt(*fd, IPPROTO_UDP, UDP_GRM_WORKING_GEN, &generation, &length), 0);
        generation++;
        EXPECT_EQ(skua_setsockopt(*fd, IPPROTO_UDP, UDP_GRM_SOCKET_GEN, &generation, sizeof generation), 0);
        length = sizeof place;
        EXPECT_EQ(skua_getsockopt(*fd, IPPROTO_UDP, UDP_GRM_SOCKET_GEN, place, &length), 0);
        EXPECT_EQ(place[0], generation);
        EXPECT_EQ(place[1], 0u);
        EXPECT_EQ(skua_setsockopt(*fd, IPPROTO_UDP, UDP_GRM_WORKING_GEN, &generation, sizeof generation), 0);
        return fd;
    };
    const auto arrives_at = [&](int from, int fd) {
        EXPECT_EQ(skua_sendto(from, "x", 1, 0, at, at.length), 1);
        sockaddr_in source{};
        socklen_t length = sizeof source;
        char byte;
        ssize_t got = -1;
        for (int i = 0; i < 5000 && got < 0; i++, wait(1))
            got = skua_recvfrom(fd, &byte, 1, 0, reinterpret_cast<sockaddr*>(&source), &length);
        EXPECT_EQ(skua_sendto(fd, "y", 1, 0, reinterpret_cast<sockaddr*>(&source), length), 1);
        return got == 1;
    };
    const descriptor early, late;
    auto old = instance();
    EXPECT_TRUE(arrives_at(early, *old));
    auto fresh = instance();
    EXPECT_TRUE(arrives_at(early, *old));
    EXPECT_TRUE(arrives_at(late, *fresh));
    sockaddr_in source{};
    socklen_t length = sizeof source;
    ASSERT_EQ(skua_getsockname(early, reinterpret_cast<sockaddr*>(&source), &length), 0);
    inet_pton(AF_INET, "198.18.0.1", &source.sin_addr);
    expect_errno(skua_setsockopt(*fresh, IPPROTO_UDP, UDP_GRM_FLOW_ASSURE, &source, sizeof source), EEXIST);
    old.reset();
    EXPECT_TRUE(arrives_at(early, *fresh));
}

TEST_P(c_api, waiting_without_a_descriptor_left_fails) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    if (sanitized) GTEST_SKIP() << "UBSan looks at the type of an object through a pipe";
    // A thread that has not waited for the kernel yet has no bell.
    std::thread([&] {
        rlimit before{};
        getrlimit(RLIMIT_NOFILE, &before);
        const rlimit few{3, before.rlim_max};
        setrlimit(RLIMIT_NOFILE, &few);
        pollfd one{ends[0], POLLIN, 0};
        const int got = skua_poll(&one, 1, 1000);
        const int why = errno;
        setrlimit(RLIMIT_NOFILE, &before);
        EXPECT_EQ(got, -1);
        EXPECT_EQ(why, EMFILE);
    }).join();
    close(ends[0]);
    close(ends[1]);
}

TEST(c_api_input, hands_frames_over_and_back) {
    make_port();
    ASSERT_EQ(skua_start_library(1, configuration), 0);
    const auto pool = *packet::make_pool("c_api_input", 255, 2176, SOCKET_ID_ANY, 0);
    const auto make = [&](const std::string& bytes) {
        packet::packet p = packet::allocate(pool.get(), static_cast<std::uint32_t>(bytes.size()));
        packet::write(p, 0, as_bytes(bytes));
        p.get()->port = 0;
        return p.release();
    };
    {
        descriptor fd(SOCK_DGRAM | SOCK_NONBLOCK);
        const address at("198.18.0.1", 5353);
        ASSERT_EQ(skua_bind(fd, at, at.length), 0);
        skua_shard_poll(0);
        rte_mbuf* frames[] = {make(frame("lldp", our_mac, 0x88cc)), make(udp_frame(spec4, 40000, 5353, "in"))};
        rte_mbuf* back[2] = {};
        rte_mbuf* const lldp = frames[0];
        ASSERT_EQ(skua_shard_input(0, frames, 2, back), 1u);
        EXPECT_EQ(back[0], lldp);
        rte_pktmbuf_free(back[0]);
        char data[10];
        sockaddr_in from{};
        socklen_t length = sizeof from;
        ASSERT_EQ(skua_recvfrom(fd, data, sizeof data, 0, reinterpret_cast<sockaddr*>(&from), &length), 2);
        ASSERT_EQ(skua_sendto(fd, "out", 3, 0, reinterpret_cast<sockaddr*>(&from), length), 3);
        rte_mbuf* out[8];
        unsigned n = 0;
        bool seen_it = false;
        for (int i = 0; i < 3; i++) {
            skua_shard_poll(0);
            n = skua_shard_output(0, out, 8);
            for (unsigned k = 0; k < n; k++) {
                const seen s = look({rte_pktmbuf_mtod(out[k], const char*), out[k]->data_len});
                seen_it = seen_it || (s.sound && s.payload == "out" && s.to == peer_mac);
                EXPECT_EQ(out[k]->port, 0);
            }
            rte_pktmbuf_free_bulk(out, n);
        }
        EXPECT_TRUE(seen_it);
    }
    skua_stop();
    EXPECT_EQ(rte_mempool_in_use_count(pool.get()), 0u);
}

}  // namespace skua::test
