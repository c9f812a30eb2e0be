// The daemon ends and another takes its place; programs go on. What they may notice is datagrams that are lost.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "skua/skua.h"
#include "skua/udp_grm.h"
#include "support/daemon.hh"

namespace skua::test {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto patience = 20s;

sockaddr_in loopback(std::uint16_t port = 0) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}
const sockaddr* generic(const sockaddr_in& a) { return reinterpret_cast<const sockaddr*>(&a); }

/// A socket that throws where a call fails: nothing may.
class udp {
public:
    udp() : fd_(checked(skua_socket(AF_INET, SOCK_DGRAM, 0), "socket")) {}
    udp(udp&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    ~udp() {
        if (fd_ >= 0) skua_close(fd_);
    }
    udp& operator=(udp&&) = delete;
    int fd() const { return fd_; }

    void bind(std::uint16_t port = 0) {
        const auto a = loopback(port);
        checked(skua_bind(fd_, generic(a), sizeof a), "bind");
    }
    void connect(std::uint16_t port) {
        const auto a = loopback(port);
        checked(skua_connect(fd_, generic(a), sizeof a), "connect");
    }
    std::uint16_t port(decltype(&skua_getsockname) of = skua_getsockname) const {
        sockaddr_in a{};
        socklen_t length = sizeof a;
        checked(of(fd_, reinterpret_cast<sockaddr*>(&a), &length), "name");
        return ntohs(a.sin_port);
    }
    void set(int level, int name, int value) {
        checked(skua_setsockopt(fd_, level, name, &value, sizeof value), "setsockopt");
    }
    int get(int level, int name) const {
        int value = -1;
        socklen_t length = sizeof value;
        checked(skua_getsockopt(fd_, level, name, &value, &length), "getsockopt");
        return value;
    }
    bool send(std::string_view text) {
        return checked(skua_send(fd_, text.data(), text.size(), 0), "send") == static_cast<ssize_t>(text.size());
    }
    bool send_to(std::uint16_t port, std::string_view text) {
        const auto a = loopback(port);
        return checked(skua_sendto(fd_, text.data(), text.size(), 0, generic(a), sizeof a), "sendto") >= 0;
    }
    std::optional<std::string> receive(int flags = MSG_DONTWAIT) {
        char text[64];
        const ssize_t n = skua_recv(fd_, text, sizeof text, flags);
        if (n < 0 && errno == EAGAIN) return {};
        checked(n, "recv");
        return std::string(text, static_cast<std::size_t>(n));
    }
    bool comes(std::chrono::milliseconds time = 100ms) {
        pollfd p{fd_, POLLIN, 0};
        checked(skua_poll(&p, 1, static_cast<int>(time.count())), "poll");
        EXPECT_EQ(p.revents & ~POLLIN, 0);
        return p.revents != 0;
    }

    template <class T>
    static T checked(T result, const char* call) {
        if (result < 0) throw std::system_error(errno, std::generic_category(), call);
        return result;
    }

private:
    int fd_;
};

class restart : public testing::Test {
protected:
    daemon here;
    void again(int signal) {
        here.stop(signal);
        here.start();
    }
    /// Sends until it comes: what is on its way when the daemon ends may be lost.
    static bool passes(udp& from, udp& to, const std::string& text) {
        const auto until = clock::now() + patience;
        while (clock::now() < until) {
            from.send(text);
            while (to.comes())
                if (to.receive() == text) return true;
        }
        return false;
    }
};

TEST_F(restart, sockets_options_and_names_come_back) {
    udp server, client;
    server.set(SOL_SOCKET, SO_REUSEADDR, 1);
    server.set(SOL_SOCKET, SO_RCVBUF, 50000);
    server.bind();
    server.set(IPPROTO_IP, IP_TOS, 0x10);
    server.set(IPPROTO_IP, IP_TOS, 0x20);
    const std::uint16_t port = server.port();
    client.connect(port);
    const std::uint16_t from = client.port();
    ASSERT_TRUE(passes(client, server, "before"));
    for (const int signal : {SIGTERM, SIGKILL}) {
        again(signal);
        EXPECT_EQ(server.port(), port);
        EXPECT_EQ(client.port(), from);
        EXPECT_EQ(client.port(skua_getpeername), port);
        EXPECT_EQ(server.get(SOL_SOCKET, SO_RCVBUF), 100000);
        EXPECT_EQ(server.get(SOL_SOCKET, SO_REUSEADDR), 1);
        EXPECT_EQ(server.get(IPPROTO_IP, IP_TOS), 0x20);
        EXPECT_TRUE(passes(client, server, "after"));
    }
}

TEST_F(restart, what_lies_unread_stays_and_is_charged) {
    udp server, client;
    server.set(SOL_SOCKET, SO_RCVBUF, 3000);
    server.bind();
    client.connect(server.port());
    for (int i = 0; i < 30; i++) client.send(std::to_string(i));
    ASSERT_TRUE(server.comes());
    std::this_thread::sleep_for(50ms);
    again(SIGKILL);
    for (int i = 0; i < 30; i++) client.send("late");
    std::this_thread::sleep_for(100ms);
    int came = 0;
    for (auto text = server.receive(); text; text = server.receive(), came++) {
        if (came < 2) {
            EXPECT_EQ(*text, std::to_string(came));
        }
    }
    EXPECT_GE(came, 2);
    EXPECT_LT(came, 12);  // as many as the buffer holds, not twice
    EXPECT_TRUE(passes(client, server, "and on"));
}

TEST_F(restart, a_receiver_that_sleeps_wakes_with_the_next_daemon) {
    udp server, client;
    server.bind();
    client.connect(server.port());
    std::atomic<bool> got{false};
    std::thread waiter([&] { got = server.receive(0) == "x"; });
    std::this_thread::sleep_for(50ms);
    again(SIGKILL);
    const auto until = clock::now() + patience;
    while (!got && clock::now() < until) {
        client.send("x");
        std::this_thread::sleep_for(5ms);
    }
    waiter.join();
    EXPECT_TRUE(got);
}

TEST_F(restart, an_epoll_set_goes_on_and_nothing_hangs_up) {
    udp server, client;
    server.bind();
    client.connect(server.port());
    const int set = skua_epoll_create1(0);
    epoll_event e{};
    e.events = EPOLLIN | EPOLLRDHUP;
    ASSERT_EQ(skua_epoll_ctl(set, EPOLL_CTL_ADD, server.fd(), &e), 0);
    here.stop(SIGKILL);
    EXPECT_EQ(skua_epoll_wait(set, &e, 1, 100), 0);
    here.start();
    EXPECT_EQ(skua_epoll_wait(set, &e, 1, 0), 0);
    client.send("x");
    ASSERT_EQ(skua_epoll_wait(set, &e, 1, 5000), 1);
    EXPECT_EQ(e.events, std::uint32_t(EPOLLIN));
    EXPECT_EQ(server.receive(), "x");
    skua_close(set);
}

TEST_F(restart, calls_wait_for_the_next_daemon) {
    udp server;
    server.bind();
    here.stop(SIGKILL);
    std::uint16_t port = 0;
    std::jthread asks([&] {  // a daemon that is not there yet
        udp late;
        late.bind();
        port = late.port();
    });
    std::this_thread::sleep_for(300ms);
    EXPECT_EQ(port, 0);
    here.start();  // by this thread: the daemon ends with the one that started it
    asks.join();
    EXPECT_NE(port, 0);
    EXPECT_NE(port, server.port());
}

TEST_F(restart, what_was_closed_meanwhile_is_gone) {
    udp other;
    other.bind();
    std::uint16_t port = 0;
    {
        udp server;
        server.bind();
        port = server.port();
        here.stop(SIGKILL);
    }
    here.start();
    udp next;
    next.bind(port);
    EXPECT_EQ(next.port(), port);
}

TEST_F(restart, what_was_shut_down_stays_so_and_its_close_is_heard) {
    std::uint16_t port = 0;
    {
        udp server, client;
        server.bind();
        port = server.port();
        client.connect(port);
        server.connect(client.port());
        udp::checked(skua_shutdown(server.fd(), SHUT_RDWR), "shutdown");
        again(SIGKILL);
        EXPECT_EQ(server.port(), port);
        EXPECT_EQ(skua_send(server.fd(), "x", 1, MSG_NOSIGNAL), -1);
        EXPECT_EQ(errno, EPIPE);
        pollfd p{server.fd(), POLLIN, 0};
        EXPECT_EQ(skua_poll(&p, 1, 0), 1);
        EXPECT_EQ(p.revents, POLLIN | POLLHUP);
    }
    udp next;
    next.bind(port);
    EXPECT_EQ(next.port(), port);
}

TEST_F(restart, groups_come_back_with_their_members_in_order) {
    std::vector<udp> members;
    std::uint16_t port = 0;
    for (int i = 0; i < 4; i++) {
        udp& m = members.emplace_back();
        m.set(SOL_SOCKET, SO_REUSEPORT, 1);
        m.bind(port);
        port = m.port();
    }
    udp clients[16];
    const auto who = [&](udp& c) {
        for (int tries = 0; tries < 50; tries++) {
            c.send_to(port, "x");
            for (int tick = 0; tick < 20; tick++) {
                for (std::size_t i = 0; i < members.size(); i++)
                    if (members[i].receive()) return static_cast<int>(i);
                std::this_thread::sleep_for(1ms);
            }
        }
        return -1;
    };
    for (auto& c : clients) EXPECT_GE(who(c), 0);
    again(SIGKILL);
    int reached[4] = {};
    for (auto& c : clients) {
        const int i = who(c);
        ASSERT_GE(i, 0);
        reached[i]++;
    }
    for (auto& m : members) EXPECT_EQ(m.get(SOL_SOCKET, SO_REUSEPORT), 1);
    EXPECT_GT(reached[0] + reached[1], 0);
    EXPECT_GT(reached[2] + reached[3], 0);
    udp stranger;
    const auto a = loopback(port);
    EXPECT_EQ(skua_bind(stranger.fd(), generic(a), sizeof a), -1);
    EXPECT_EQ(errno, EADDRINUSE);
}

TEST_F(restart, the_last_word_on_a_working_generation_is_the_last_again) {
    udp old, fresh, client;
    std::uint16_t port = 0;
    std::uint32_t generation = 0;
    for (udp* s : {&old, &fresh}) {
        s->set(SOL_SOCKET, SO_REUSEPORT, 1);
        s->bind(port);
        port = s->port();
        ASSERT_EQ(skua_setsockopt(s->fd(), IPPROTO_UDP, UDP_GRM_SOCKET_GEN, &generation, sizeof generation), 0);
        ASSERT_EQ(skua_setsockopt(s->fd(), IPPROTO_UDP, UDP_GRM_WORKING_GEN, &generation, sizeof generation), 0);
        generation++;
    }
    generation = 0;  // back to the earlier one
    ASSERT_EQ(skua_setsockopt(old.fd(), IPPROTO_UDP, UDP_GRM_WORKING_GEN, &generation, sizeof generation), 0);
    again(SIGTERM);
    EXPECT_EQ(fresh.get(IPPROTO_UDP, UDP_GRM_WORKING_GEN), 0);
    client.connect(port);
    EXPECT_TRUE(passes(client, old, "x"));
    EXPECT_EQ(fresh.receive(), std::nullopt);
}

/// A child with the load of one program: it asks, sends and receives all the time, and counts what it may not see.
int run_program(const std::atomic<bool>& stop, std::atomic<std::uint64_t>& echoed) {
    try {
        udp server;
        server.set(SOL_SOCKET, SO_REUSEPORT, 1);
        server.bind();
        std::uint64_t number = 0;
        while (!stop) {
            udp client;
            client.connect(server.port());
            for (int i = 0; i < 200 && !stop; i++) {
                client.send(std::to_string(++number));
                if (server.comes(1ms) && server.receive()) echoed++;
            }
            server.set(IPPROTO_IP, IP_TOS, static_cast<int>(number & 0x1c));
            if (server.get(IPPROTO_IP, IP_TOS) != static_cast<int>(number & 0x1c)) throw std::runtime_error("IP_TOS");
        }
        return 0;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "a program saw: %s\n", e.what());
        return 1;
    }
}

TEST_F(restart, twenty_restarts_under_load_and_no_error) {
    struct shared {
        std::atomic<bool> stop{false};
        std::atomic<std::uint64_t> echoed[3]{};
    };
    auto* const common =
        new (mmap(nullptr, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) shared;
    std::vector<pid_t> programs;
    for (auto& count : common->echoed) {
        const pid_t id = fork();
        if (id == 0) _exit(run_program(common->stop, count));
        programs.push_back(id);
    }
    for (int i = 0; i < 20; i++) {
        std::uint64_t before[3];
        for (int n = 0; n < 3; n++) before[n] = common->echoed[n];
        again(i % 2 == 0 ? SIGTERM : SIGKILL);
        // Each goes on.
        const auto until = clock::now() + patience;
        for (int n = 0; n < 3; n++)
            while (common->echoed[n] < before[n] + 20 && clock::now() < until) std::this_thread::sleep_for(1ms);
        for (int n = 0; n < 3; n++) ASSERT_GE(common->echoed[n], before[n] + 20) << "after restart " << i;
    }
    common->stop = true;
    for (const pid_t id : programs) {
        int status = -1;
        waitpid(id, &status, 0);
        EXPECT_EQ(status, 0);
    }
    std::printf("echoed: %lu %lu %lu\n", common->echoed[0].load(), common->echoed[1].load(), common->echoed[2].load());
}

}  // namespace
}  // namespace skua::test
