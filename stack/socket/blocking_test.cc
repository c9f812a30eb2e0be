// Calls that sleep: who wakes them, and what they say when nobody does.
#include <pthread.h>

#include <csignal>
#include <thread>

#include "socket/test_support.hh"

namespace skua::socket::test {
namespace {

using namespace std::chrono_literals;

class blocking_test : public socket_test {
protected:
    our_socket a = make(), b = make();
    blocking_test() {
        a.bind(in4("127.0.0.1", 0));
        b.connect(in4("127.0.0.1", a.port()));
    }
    /// Runs `what` when the main thread has surely fallen asleep.
    static std::thread soon(std::function<void()> what) {
        return std::thread([what = std::move(what)] {
            std::this_thread::sleep_for(20ms);
            what();
        });
    }
};

TEST_F(blocking_test, a_datagram_wakes_a_reader) {
    for (const auto spin : {0ms, 1000ms}) {
        host.limits_.spin = spin;
        auto t = soon([&] { b.send("wake"); });
        std::string got;
        EXPECT_EQ(a.recv(got, 10, 0), 4);
        t.join();
    }
}

TEST_F(blocking_test, peek_waits_too) {
    auto t = soon([&] { b.send("wake"); });
    std::string got;
    EXPECT_EQ(a.recv(got, 10, MSG_PEEK), 4);
    EXPECT_EQ(a.recv(got, 10, 0), 4);
    t.join();
}

TEST_F(blocking_test, timeout) {
    const timeval t{0, 30000};
    a.set(SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    std::string got;
    const auto start = monotonic_clock::now();
    EXPECT_EQ(a.recv(got, 10, 0), -EAGAIN);
    EXPECT_GE(monotonic_clock::now() - start, 30ms);
}

TEST_F(blocking_test, shutdown_wakes_with_0) {
    auto t = soon([&] { a.shutdown(SHUT_RD); });
    std::string got;
    EXPECT_EQ(a.recv(got, 10, 0), 0);
    t.join();
}

TEST_F(blocking_test, an_error_wakes) {
    auto t = soon([&] {
        const rcu_domain::read_guard guard(host.rcu());
        b->report(ECONNREFUSED, true);
    });
    std::string got;
    EXPECT_EQ(b.recv(got, 10, 0), -ECONNREFUSED);
    t.join();
}

TEST_F(blocking_test, a_signal_interrupts) {
    struct sigaction action {
    }, before;
    action.sa_handler = [](int) {};
    sigaction(SIGALRM, &action, &before);
    const timeval limit{5, 0};
    for (const bool timed : {false, true}) {
        if (timed) a.set(SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        auto t = soon([target = pthread_self()] { pthread_kill(target, SIGALRM); });
        std::string got;
        EXPECT_EQ(a.recv(got, 10, 0), -EINTR);
        t.join();
    }
    // Without a deadline SA_RESTART resumes the call, with one it does not: as signal(7) says of recv.
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    std::string got;
    auto t = soon([target = pthread_self()] { pthread_kill(target, SIGALRM); });
    EXPECT_EQ(a.recv(got, 10, 0), -EINTR);
    t.join();
    const timeval none{};
    a.set(SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
    t = soon([&, target = pthread_self()] {
        pthread_kill(target, SIGALRM);
        std::this_thread::sleep_for(20ms);
        b.send("at last");
    });
    EXPECT_EQ(a.recv(got, 10, 0), 7);
    t.join();
    sigaction(SIGALRM, &before, nullptr);
}

TEST_F(blocking_test, a_sender_waits_for_room) {
    host.hold = true;
    b.set(SOL_SOCKET, SO_SNDBUF, 2304);
    while (b.send("x", MSG_DONTWAIT) == 1) {
    }
    const timeval t{0, 30000};
    b.set(SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    EXPECT_EQ(b.send("x"), -EAGAIN);
    const timeval none{};
    b.set(SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    // A reader that sleeps on the same socket must not swallow the sender's wake-up.
    std::thread reader([&] {
        std::string got;
        EXPECT_EQ(b.recv(got, 10, 0), 0);
    });
    auto shard = soon([&] { host.free_held(); });
    EXPECT_EQ(b.send("x"), 1);
    shard.join();
    // More messages than the buffer holds: what is there is handed over before the wait.
    std::atomic<bool> done{false};
    std::thread polling([&] {
        while (!done) {
            host.free_held();
            std::this_thread::yield();
        }
    });
    std::vector<mmsghdr> many(200);
    EXPECT_EQ(b.sendmmsg(many, 0), 200);
    done = true;
    polling.join();
    b.shutdown(SHUT_RD);
    reader.join();
}

TEST_F(blocking_test, recvmmsg_waits_for_all_or_for_one) {
    char data[3][8];
    iovec parts[3];
    mmsghdr in[3]{};
    for (int i = 0; i < 3; i++) {
        parts[i] = {data[i], 8};
        in[i].msg_hdr.msg_iov = &parts[i];
        in[i].msg_hdr.msg_iovlen = 1;
    }
    auto t = soon([&] {
        for (const char* text : {"1", "22", "333"}) {
            b.send(text);
            std::this_thread::sleep_for(2ms);
        }
    });
    EXPECT_EQ(a.recvmmsg(in, 0, nullptr), 3);
    EXPECT_EQ(in[2].msg_len, 3u);
    t.join();
    t = soon([&] { b.send("1"); });
    EXPECT_EQ(a.recvmmsg(in, MSG_WAITFORONE, nullptr), 1);
    t.join();
}

// Several threads read one socket while datagrams arrive singly: each datagram goes to one of them, none sleeps on.
TEST_F(blocking_test, readers_share_datagrams) {
    constexpr int datagrams = 3000;
    std::atomic<int> taken{0};
    std::vector<std::thread> readers;
    for (int i = 0; i < 3; i++)
        readers.emplace_back([&] {
            std::string got;
            while (a.recv(got, 10, 0) > 0) ++taken;
        });
    for (int i = 0; i < datagrams; i++) EXPECT_EQ(b.send("x"), 1);
    const auto patience = monotonic_clock::now() + 20s;
    while (taken < datagrams - static_cast<int>(a->dropped_count()) && monotonic_clock::now() < patience)
        std::this_thread::yield();
    EXPECT_EQ(taken, datagrams - static_cast<int>(a->dropped_count()));
    a.shutdown(SHUT_RD);
    for (auto& t : readers) t.join();
}

TEST_F(blocking_test, closing_wakes_watchers) {
    struct : wait::waiter {
        bool notify(std::uint32_t e) override { return events |= e, true; }
        std::uint32_t events = 0;
    } watcher;
    auto c = make();
    c->waiters().add(watcher);
    udp_socket& socket = *c;
    rcu_domain::poller shard(host.rcu());
    c.close();
    EXPECT_TRUE(watcher.events & EPOLLHUP);
    socket.waiters().remove(watcher);
    shard.quiescent();
}

}  // namespace
}  // namespace skua::socket::test
