// libc's other ways to a socket: system calls by number, checked and vectored calls, stdio, signals, cancellation.
//
// Built with _FORTIFY_SOURCE: where the length is known at run time only, recv and its like are calls of __recv_chk.
#include <linux/close_range.h>
#include <net/if.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "posix/program.hh"

namespace skua::test {

namespace {

class libc : public for_each_family {};

/// SIGALRM after a while, and a handler for it; `flags` of sigaction(2).
class alarmed {
public:
    explicit alarmed(
        int flags, void (*handler)(int) = [](int) { rang++; }) {
        rang = 0;
        struct sigaction action {};
        action.sa_handler = handler;
        action.sa_flags = flags;
        granted(sigaction(SIGALRM, &action, &before_));
        const itimerval soon{{}, {0, 50'000}};
        granted(setitimer(ITIMER_REAL, &soon, nullptr));
    }
    ~alarmed() {
        const itimerval none{};
        setitimer(ITIMER_REAL, &none, nullptr);
        sigaction(SIGALRM, &before_, nullptr);
    }
    static inline std::atomic<int> rang{0};

private:
    struct sigaction before_ {};
};

std::atomic<int> handler_fd{-1};
name handler_name;

void* receive_for_ever(void* fd) {
    char byte;
    recv(*static_cast<int*>(fd), &byte, 1, 0);
    return nullptr;
}

}  // namespace

// ---- By number ----

TEST_P(libc, system_calls_by_number) {
    const name n = loopback(family());
    const descriptor to(granted(syscall(SYS_socket, family(), SOCK_DGRAM, 0)));
    granted(syscall(SYS_bind, static_cast<int>(to), static_cast<const sockaddr*>(n), n.length));
    name there;
    granted(syscall(SYS_getsockname, static_cast<int>(to), static_cast<sockaddr*>(there), &there.length));
    const descriptor from = udp(family());  // the same network by either way
    granted(syscall(SYS_connect, static_cast<int>(from), static_cast<const sockaddr*>(there), there.length));
    const descriptor set = make_epoll();
    epoll_event e{EPOLLIN, {}};
    granted(syscall(SYS_epoll_ctl, static_cast<int>(set), EPOLL_CTL_ADD, static_cast<int>(to), &e));
    EXPECT_EQ(syscall(SYS_write, static_cast<int>(from), "hello", 5), 5);
    const timespec limit{patience / 1s, 0};
    EXPECT_EQ(syscall(SYS_epoll_pwait2, static_cast<int>(set), &e, 1, &limit, nullptr, 8), 1);
    pollfd p{to, POLLIN, 0};
    EXPECT_EQ(syscall(SYS_ppoll, &p, 1, &limit, nullptr, 8), 1);
    EXPECT_EQ(p.revents, POLLIN);
    char text[16];
    EXPECT_EQ(syscall(SYS_recvfrom, static_cast<int>(to), text, sizeof text, 0, nullptr, nullptr), 5);
    const int copy = granted(syscall(SYS_fcntl, static_cast<int>(to), F_DUPFD_CLOEXEC, 0));
    EXPECT_EQ(local_name(copy), there);
    granted(syscall(SYS_close, copy));
    EXPECT_EQ(syscall(SYS_recvfrom, static_cast<int>(to), text, sizeof text, MSG_DONTWAIT, nullptr, nullptr), -1);
    EXPECT_EQ(errno, EAGAIN);
}

TEST(libc_alone, there_are_no_rings_under_the_preload) {
    if (!runs_under_the_preload()) GTEST_SKIP() << "the kernel has them";
    char parameters[120] = {};
    EXPECT_EQ(syscall(SYS_io_uring_setup, 4, parameters), -1);
    EXPECT_EQ(errno, ENOSYS);
}

// ---- Reading and writing ----

TEST_P(libc, checked_calls) {
    const two t(family());
    std::array<char, 16> text;
    std::size_t room = 4;
    asm volatile("" : "+r"(room));  // what the compiler does not know, libc checks
    for (const char* each : {"one", "two", "three"}) send_text(t.from, each);
    pollfd p[2] = {{t.to, POLLIN, 0}, {t.from, POLLIN, 0}};
    EXPECT_EQ(poll(p, room / 2, patience_ms), 1);
    const timespec limit{patience / 1s, 0};
    EXPECT_EQ(ppoll(p, room / 2, &limit, nullptr), 1);
    settle(t.from);
    EXPECT_EQ(recv(t.to, text.data(), room, 0), 3);
    EXPECT_EQ(recvfrom(t.to, text.data(), room, 0, nullptr, nullptr), 3);
    EXPECT_EQ(read(t.to, text.data(), room), 4);
    EXPECT_EQ(std::string_view(text.data(), 4), "thre");
}

TEST_P(libc, reading_nothing_takes_nothing) {
    const two t(family());
    deliver(t.from, "here");
    char byte;
    iovec none{&byte, 0};
    EXPECT_EQ(read(t.to, &byte, 0), 0);
    EXPECT_EQ(readv(t.to, &none, 1), 0);
    EXPECT_EQ(readv(t.to, nullptr, 0), 0);
    EXPECT_EQ(receive(t.to), "here");
}

TEST_P(libc, writing_nothing_is_a_datagram_but_for_parts) {
    const two t(family());
    iovec none{nullptr, 0};
    EXPECT_EQ(writev(t.from, &none, 1), 0);
    EXPECT_EQ(write(t.from, "", 0), 0);
    send_text(t.from, "end");
    EXPECT_EQ(receive(t.to), "");
    EXPECT_EQ(receive(t.to), "end");
}

TEST_P(libc, parts_and_positions) {
    const two t(family());
    char a[] = "ab", b[] = "cde";
    iovec out[2] = {{a, 2}, {b, 3}};
    EXPECT_EQ(writev(t.from, out, 2), 5);
    EXPECT_EQ(pwritev2(t.from, out, 2, -1, 0), 5);
    char c[3], d[8];
    iovec in[2] = {{c, 3}, {d, 8}};
    settle(t.from);
    EXPECT_EQ(readv(t.to, in, 2), 5);
    EXPECT_EQ(std::string_view(c, 3), "abc");
    EXPECT_EQ(preadv2(t.to, in, 2, -1, RWF_NOWAIT), 5);
    expect_errno(preadv2(t.to, in, 2, -1, RWF_NOWAIT), EAGAIN);
    expect_errno(preadv2(t.to, in, 2, 0, 0), ESPIPE);
    expect_errno(pread(t.to, c, 1, 0), ESPIPE);
    expect_errno(lseek(t.to, 0, SEEK_SET), ESPIPE);
    expect_errno(readv(t.to, in, -1), EINVAL);
}

TEST_P(libc, a_file_is_sent_as_one_datagram) {
    const two t(family());
    const descriptor file(granted(open("/proc/self/exe", O_RDONLY)));
    off_t at = 1;
    EXPECT_EQ(sendfile(t.from, file, &at, 3), 3);
    EXPECT_EQ(at, 4);
    EXPECT_EQ(receive(t.to), "ELF");
    EXPECT_EQ(sendfile(t.from, file, nullptr, 0), 0);
    expect_errno(sendfile(t.from, file, nullptr, 100000), EMSGSIZE);
    expect_errno(sendfile(udp(family()), file, nullptr, 3), EDESTADDRREQ);
    expect_errno(sendfile(t.from, t.to, nullptr, 3), EINVAL);
}

TEST_P(libc, a_pipe_is_spliced) {
    const two t(family());
    const pipe_ends p;
    granted(write(p.in, "hello", 5));
    EXPECT_EQ(splice(p.out, nullptr, t.from, nullptr, 5, 0), 5);
    EXPECT_EQ(receive(t.to), "hello");
}

TEST_P(libc, it_is_a_socket_that_does_not_listen) {
    const descriptor s = bound(family());
    EXPECT_EQ(isfdtype(s, S_IFSOCK), 1);
    struct stat facts {};
    granted(fstat(s, &facts));
    EXPECT_TRUE(S_ISSOCK(facts.st_mode));
    expect_errno(listen(s, 1), EOPNOTSUPP);
    expect_errno(accept(s, nullptr, nullptr), EOPNOTSUPP);
    expect_errno(accept4(s, nullptr, nullptr, 0), EOPNOTSUPP);
}

TEST_P(libc, the_host_is_asked_about_its_interfaces) {
    const descriptor s = udp(family());
    ifreq r{};
    std::strcpy(r.ifr_name, "lo");
    granted(ioctl(s, SIOCGIFINDEX, &r));
    EXPECT_EQ(r.ifr_ifindex, 1);
    granted(ioctl(s, SIOCGIFNAME, &r));
    EXPECT_STREQ(r.ifr_name, "lo");
    granted(ioctl(s, SIOCGIFFLAGS, &r));
    EXPECT_TRUE(r.ifr_flags & IFF_LOOPBACK);
    if (family() == AF_INET) granted(ioctl(s, SIOCGIFADDR, &r));
}

// ---- Closing ----

TEST_P(libc, a_range_is_closed) {
    const descriptor lowest(granted(open("/dev/null", O_RDONLY)));
    std::vector<name> names;
    std::vector<int> numbers;
    for (int i = 0; i < 3; i++) {
        descriptor s = bound(family());
        names.push_back(local_name(s));
        EXPECT_EQ(events_now(s), POLLOUT);
        numbers.push_back(s.release());
    }
    granted(close_range(static_cast<unsigned>(numbers[0]), static_cast<unsigned>(numbers[1]), 0));
    EXPECT_TRUE(is_free(names[0]));
    EXPECT_TRUE(is_free(names[1]));
    EXPECT_FALSE(is_free(names[2]));
    granted(close_range(static_cast<unsigned>(numbers[2]), static_cast<unsigned>(numbers[2]), CLOSE_RANGE_CLOEXEC));
    EXPECT_EQ(fcntl(numbers[2], F_GETFD), FD_CLOEXEC);
    expect_errno(close_range(2, 1, 0), EINVAL);
    close(numbers[2]);
}

TEST_P(libc, a_child_closes_all_and_goes_on) {
    const two t(family());
    EXPECT_EQ(events_now(t.to), POLLOUT);
    expect_success(fork_child([&] {
        closefrom(3);
        const two fresh(family());
        send_text(fresh.from, "from the child");
        return receive(fresh.to) == "from the child";
    }));
    expect_success(fork_child([&] {
        for (int fd = 3; fd < 5000; fd++) close(fd);
        const two fresh(family());
        send_text(fresh.from, "from the child");
        return receive(fresh.to) == "from the child";
    }));
    send_text(t.from, "from the parent");
    EXPECT_EQ(receive(t.to), "from the parent");
}

TEST_P(libc, stdio_closes_a_socket) {
    descriptor s = bound(family());
    const name n = local_name(s);
    const int number = s;
    EXPECT_EQ(events_now(s), POLLOUT);
    FILE* const file = fdopen(s.release(), "r");
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(fclose(file), 0);
    EXPECT_TRUE(is_free(n));
    const descriptor other(granted(open("/dev/zero", O_RDONLY)));
    EXPECT_EQ(other, number);
    char byte = 1;
    EXPECT_EQ(read(other, &byte, 1), 1);
    EXPECT_EQ(byte, 0);
}

// ---- Threads ----

TEST_P(libc, a_duplicate_for_each_thread) {
    constexpr int threads = 4, datagrams = 200;
    descriptor s = bound(family());
    const name n = local_name(s);
    std::atomic<int> received{0};
    std::vector<std::thread> all;
    for (int i = 0; i < threads; i++)
        all.emplace_back([&, copy = granted(dup(s))] {
            const descriptor own(copy);
            char text[16];
            while (recv(own, text, sizeof text, 0) > 0) received++;
        });
    s.reset();
    const descriptor from = udp(family());
    granted(connect(from, n, n.length));
    for (int i = 0; i < datagrams; i++) {
        send_text(from, "x");
        for (const stopwatch limit; received <= i && limit.elapsed() < patience;) std::this_thread::yield();
    }
    for (int i = 0; i < threads; i++) granted(send(from, "", 0, 0));
    for (auto& t : all) t.join();
    EXPECT_EQ(received, datagrams);
    EXPECT_TRUE(is_free(n));
}

TEST_P(libc, a_blocked_thread_is_cancelled) {
    descriptor s = bound(family());
    const name n = local_name(s);
    for (int round = 0; round < 20; round++) {
        int number = s;
        pthread_t thread;
        granted(pthread_create(&thread, nullptr, receive_for_ever, &number));
        if (round % 2 == 0) std::this_thread::sleep_for(5ms);
        EXPECT_EQ(pthread_cancel(thread), 0);
        void* result = nullptr;
        EXPECT_EQ(pthread_join(thread, &result), 0);
        EXPECT_EQ(result, PTHREAD_CANCELED);
    }
    const descriptor from = connected(s);
    send_text(from, "afterwards");
    EXPECT_EQ(receive(s), "afterwards");
    s.reset();
    EXPECT_TRUE(is_free(n));
}

TEST_P(libc, a_thread_that_must_not_be_cancelled_is_not) {
    const descriptor s = bound(family());
    in_thread waiter([&] {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
        char byte;
        return recv(s, &byte, 1, 0);
    });
    waiter.until_asleep();
    send_text(connected(s), "x");
    EXPECT_EQ(waiter.result(), 1);
}

// ---- Signals ----

TEST_P(libc, an_alarm_breaks_a_receive) {
    const descriptor s = bound(family());
    const alarmed a(0);
    char byte;
    expect_errno(recv(s, &byte, 1, 0), EINTR);
    EXPECT_EQ(alarmed::rang, 1);
}

TEST_P(libc, a_receive_goes_on_after_an_alarm_that_restarts) {
    const descriptor s = bound(family());
    const alarmed a(SA_RESTART);
    const descriptor from = connected(s);
    std::thread later([&] {
        while (alarmed::rang == 0) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(20ms);
        send_text(from, "x");
    });
    char byte;
    EXPECT_EQ(recv(s, &byte, 1, 0), 1);
    EXPECT_EQ(alarmed::rang, 1);
    later.join();
}

// signal(7): a socket with a timeout is interrupted whatever SA_RESTART says.
TEST_P(libc, a_receive_with_a_timeout_does_not_go_on) {
    const descriptor s = bound(family());
    set_receive_timeout(s, patience);
    const alarmed a(SA_RESTART);
    char byte;
    expect_errno(recv(s, &byte, 1, 0), EINTR);
}

TEST_P(libc, a_handler_sends_and_receives) {
    const descriptor s = bound(family());
    handler_fd = s;
    handler_name = local_name(s);
    const alarmed a(SA_RESTART, [](int) {
        sendto(handler_fd, "x", 1, 0, handler_name, handler_name.length);
        alarmed::rang++;
    });
    char byte;
    EXPECT_EQ(recv(s, &byte, 1, 0), 1);
    EXPECT_EQ(alarmed::rang, 1);
}

INSTANTIATE_TEST_SUITE_P(of, libc, testing::Values(AF_INET, AF_INET6), family_name);

/// sendto(2) and recvfrom(2) may be called by a handler (signal-safety(7)), whatever its thread was in.
TEST_P(libc, a_handler_uses_the_socket_that_its_thread_is_using) {
    const descriptor s = bound(family());
    handler_name = local_name(s);
    handler_fd = s;
    struct sigaction action {
    }, before{};
    action.sa_handler = [](int) {
        const int kept = errno;
        char text[8];
        recv(handler_fd, text, sizeof text, MSG_DONTWAIT);
        sendto(handler_fd, "h", 1, MSG_DONTWAIT, handler_name, handler_name.length);
        errno = kept;
    };
    granted(sigaction(SIGALRM, &action, &before));
    const itimerval often{{0, 200}, {0, 200}}, none{};
    granted(setitimer(ITIMER_REAL, &often, nullptr));
    char text[8];
    for (const auto until = steady_clock::now() + 500ms; steady_clock::now() < until;) {
        const ssize_t sent = sendto(s, "t", 1, MSG_DONTWAIT, handler_name, handler_name.length);
        if (sent < 0) {
            EXPECT_TRUE(errno == EAGAIN || errno == ENOBUFS) << errno;
        }
        const ssize_t got = recv(s, text, sizeof text, MSG_DONTWAIT);
        if (got < 0) {
            EXPECT_TRUE(errno == EAGAIN || errno == EINTR) << errno;
        }
    }
    setitimer(ITIMER_REAL, &none, nullptr);
    sigaction(SIGALRM, &before, nullptr);
    // What is still on its way would fill the buffer again.
    for (pollfd p{s, POLLIN, 0}; poll(&p, 1, 200) == 1;)
        while (recv(s, text, sizeof text, MSG_DONTWAIT) > 0) continue;
    send_text(connected(s), "and on");
    for (std::string said; said != "and on";) said = receive(s);
}

}  // namespace skua::test
