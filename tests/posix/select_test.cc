// select and pselect.
#include <sys/select.h>

#include <algorithm>
#include <initializer_list>

#include "posix/posix.hh"

namespace skua::test {

namespace {

class fd_bits {
public:
    fd_bits(std::initializer_list<int> fds = {}) {
        FD_ZERO(&set_);
        for (const int fd : fds) FD_SET(fd, &set_);
    }
    operator fd_set*() { return &set_; }
    bool has(int fd) const { return FD_ISSET(fd, &set_); }
    bool empty() const {
        for (int fd = 0; fd < FD_SETSIZE; fd++)
            if (has(fd)) return false;
        return true;
    }

private:
    fd_set set_;
};

timeval to_timeval(milliseconds t) { return {t / 1s, t % 1s / 1us}; }
constexpr timespec long_time{patience_ms / 1000, 0};

/// select() of reading alone.
int readable(int fd, fd_bits& bits, milliseconds t = patience) {
    timeval time = to_timeval(t);
    return select(fd + 1, bits, nullptr, nullptr, &time);
}

}  // namespace

class selecting : public for_each_family {};
INSTANTIATE_TEST_SUITE_P(over, selecting, testing::Values(AF_INET, AF_INET6), family_name);

TEST_P(selecting, a_fresh_socket_is_writable_only) {
    const descriptor s = udp(family());
    fd_bits read{s}, write{s}, except{s};
    timeval time{0, 0};
    EXPECT_EQ(select(s + 1, read, write, except, &time), 1);
    EXPECT_FALSE(read.has(s));
    EXPECT_TRUE(write.has(s));
    EXPECT_FALSE(except.has(s));
}

TEST_P(selecting, counts_bits_not_descriptors) {
    const two t(family());
    deliver(t.from, "x");
    fd_bits read{t.to, t.from}, write{t.to, t.from}, except{t.to, t.from};
    timeval time{0, 0};
    EXPECT_EQ(select(std::max<int>(t.to, t.from) + 1, read, write, except, &time), 3);
    EXPECT_TRUE(read.has(t.to));
    EXPECT_FALSE(read.has(t.from));
    EXPECT_TRUE(write.has(t.to));
    EXPECT_TRUE(write.has(t.from));
    EXPECT_TRUE(except.empty());
}

TEST_P(selecting, readable_until_all_is_read) {
    const two t(family());
    deliver(t.from, "x");
    for (int i = 0; i < 2; i++) {
        fd_bits bits{t.to};
        EXPECT_EQ(readable(t.to, bits), 1);
        EXPECT_TRUE(bits.has(t.to));
    }
    EXPECT_EQ(receive(t.to), "x");
    fd_bits bits{t.to};
    EXPECT_EQ(readable(t.to, bits, 0ms), 0);
    EXPECT_TRUE(bits.empty());
}

TEST_P(selecting, an_error_is_readable_and_writable) {
    const descriptor s = connected_to_nobody(family());
    send_text(s, "x");
    ASSERT_TRUE(comes(s, POLLERR));
    fd_bits read{s}, write{s}, except{s};
    timeval time{0, 0};
    EXPECT_EQ(select(s + 1, read, write, except, &time), 2);
    EXPECT_TRUE(read.has(s));
    EXPECT_TRUE(write.has(s));
    char c;
    expect_errno(recv(s, &c, 1, 0), ECONNREFUSED);
    fd_bits again{s};
    EXPECT_EQ(readable(s, again, 0ms), 0);
}

TEST_P(selecting, an_end_is_readable) {
    const two t(family());
    ASSERT_EQ(shutdown(t.from, SHUT_RDWR), 0);
    fd_bits bits{t.from};
    EXPECT_EQ(readable(t.from, bits, 0ms), 1);
    char c;
    EXPECT_EQ(recv(t.from, &c, 1, 0), 0);
}

TEST_P(selecting, looks_below_the_count_only) {
    const descriptor s = udp(family());
    fd_bits write{s};
    timeval time{0, 0};
    EXPECT_EQ(select(s, nullptr, write, nullptr, &time), 0);
}

TEST_P(selecting, timeouts) {
    const descriptor s = bound(family());
    fd_bits bits{s};
    const stopwatch watch;
    EXPECT_EQ(readable(s, bits, 40ms), 0);
    EXPECT_GE(watch.elapsed(), 40ms);
    EXPECT_TRUE(bits.empty());
}

TEST_P(selecting, tells_the_time_that_is_left) {
    const two t(family());
    fd_bits bits{t.to};
    timeval time = to_timeval(patience);
    in_thread waiter([&] { return select(t.to + 1, bits, nullptr, nullptr, &time); });
    waiter.until_asleep();
    std::this_thread::sleep_for(20ms);
    send_text(t.from, "x");
    EXPECT_EQ(waiter.result(), 1);
    const auto left = std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
    EXPECT_GT(left, 0s);
    EXPECT_LE(left, patience - 20ms);
}

TEST_P(selecting, has_no_time_left_when_it_runs_out) {
    const descriptor s = bound(family());
    fd_bits bits{s};
    timeval time{0, 20'000};
    EXPECT_EQ(select(s + 1, bits, nullptr, nullptr, &time), 0);
    EXPECT_EQ(time.tv_sec, 0);
    EXPECT_EQ(time.tv_usec, 0);
}

TEST_P(selecting, takes_microseconds_beyond_a_second) {
    const descriptor s = udp(family());
    fd_bits write{s};
    timeval time{0, 5'000'000};
    EXPECT_EQ(select(s + 1, nullptr, write, nullptr, &time), 1);
    EXPECT_GT(time.tv_sec, 0);
}

TEST_P(selecting, waits_without_end) {
    const two t(family());
    fd_bits bits{t.to};
    in_thread waiter([&] { return select(t.to + 1, bits, nullptr, nullptr, nullptr); });
    waiter.until_asleep();
    send_text(t.from, "x");
    EXPECT_EQ(waiter.result(), 1);
    EXPECT_TRUE(bits.has(t.to));
}

TEST_P(selecting, refuses_what_is_not_open) {
    const descriptor s = udp(family());
    const int closed = lowest_free();
    fd_bits read{closed}, write{s};
    timeval time{0, 0};
    expect_errno(select(closed + 1, read, write, nullptr, &time), EBADF);
    EXPECT_TRUE(read.has(closed));
    EXPECT_TRUE(write.has(s));
}

TEST(select_errors, counts_and_times) {
    timeval none{0, 0}, negative{-1, 0}, negative_micro{0, -1};
    expect_errno(select(-1, nullptr, nullptr, nullptr, &none), EINVAL);
    expect_errno(select(0, nullptr, nullptr, nullptr, &negative), EINVAL);
    expect_errno(select(0, nullptr, nullptr, nullptr, &negative_micro), EINVAL);
    for (const timespec wrong : {timespec{0, 1'000'000'000}, timespec{0, -1}, timespec{-1, 0}})
        expect_errno(pselect(0, nullptr, nullptr, nullptr, &wrong, nullptr), EINVAL);
}

TEST(select_without_descriptors, is_a_sleep) {
    const stopwatch watch;
    timeval time{0, 30'000};
    EXPECT_EQ(select(0, nullptr, nullptr, nullptr, &time), 0);
    EXPECT_GE(watch.elapsed(), 30ms);
    const timespec more{0, 10'000'000};
    EXPECT_EQ(pselect(0, nullptr, nullptr, nullptr, &more, nullptr), 0);
    EXPECT_GE(watch.elapsed(), 40ms);
}

TEST_P(selecting, sockets_and_other_files_together) {
    const two t(family());
    const pipe_ends p;
    const int count = std::max({int(t.to), int(p.out), int(p.in)}) + 1;
    fd_bits read{t.to, p.out}, write{p.in};
    timeval time{0, 0};
    EXPECT_EQ(select(count, read, write, nullptr, &time), 1);
    EXPECT_TRUE(write.has(p.in));
    EXPECT_TRUE(read.empty());
    deliver(t.from, "x");
    ASSERT_EQ(::write(p.in, "x", 1), 1);
    read = {t.to, p.out};
    time = {patience_ms / 1000, 0};
    EXPECT_EQ(select(count, read, nullptr, nullptr, &time), 2);
    EXPECT_TRUE(read.has(t.to));
    EXPECT_TRUE(read.has(p.out));
}

TEST_P(selecting, woken_by_a_pipe_or_by_a_socket) {
    const two t(family());
    const pipe_ends p;
    for (const bool by_pipe : {true, false}) {
        fd_bits read{t.to, p.out};
        timeval time = to_timeval(patience);
        in_thread waiter([&] { return select(std::max<int>(t.to, p.out) + 1, read, nullptr, nullptr, &time); });
        waiter.until_asleep();
        if (by_pipe) EXPECT_EQ(::write(p.in, "x", 1), 1);
        else send_text(t.from, "x");
        EXPECT_EQ(waiter.result(), 1);
        EXPECT_EQ(read.has(p.out), by_pipe);
        EXPECT_EQ(read.has(t.to), !by_pipe);
        char c;
        EXPECT_EQ(::read(p.out, &c, 1), by_pipe ? 1 : -1);
    }
}

TEST_P(selecting, a_signal_interrupts_it_and_the_sets_stay) {
    const descriptor s = bound(family());
    for (const int flags : {0, SA_RESTART}) {
        const counted_signal usr1(flags);
        fd_bits read{s};
        in_thread waiter([&] { return select(s + 1, read, nullptr, nullptr, nullptr); });
        waiter.until_asleep();
        waiter.kill(SIGUSR1);
        EXPECT_EQ(waiter.result(), -1);
        EXPECT_EQ(waiter.error(), EINTR);
        EXPECT_TRUE(read.has(s));
        EXPECT_EQ(usr1.count(), 1);
    }
}

TEST_P(selecting, pselect_leaves_the_time_as_it_is) {
    const descriptor s = bound(family());
    fd_bits bits{s};
    const timespec time{0, 30'000'000};
    const stopwatch watch;
    EXPECT_EQ(pselect(s + 1, bits, nullptr, nullptr, &time, nullptr), 0);
    EXPECT_GE(watch.elapsed(), 30ms);
    EXPECT_EQ(time.tv_nsec, 30'000'000);
}

TEST_P(selecting, pselect_lets_a_pending_signal_through) {
    const descriptor s = bound(family());
    const counted_signal usr1;
    const blocked_signal outside;
    raise(SIGUSR1);
    fd_bits bits{s};
    expect_errno(pselect(s + 1, bits, nullptr, nullptr, &long_time, &outside.before()), EINTR);
    EXPECT_EQ(usr1.count(), 1);
    EXPECT_TRUE(usr1_is_blocked());
}

TEST_P(selecting, pselect_lets_a_signal_through_while_it_sleeps) {
    const descriptor s = bound(family());
    const counted_signal usr1;
    const blocked_signal outside;
    fd_bits bits{s};
    in_thread waiter([&] { return pselect(s + 1, bits, nullptr, nullptr, nullptr, &outside.before()); });
    waiter.until_asleep();
    waiter.kill(SIGUSR1);
    EXPECT_EQ(waiter.result(), -1);
    EXPECT_EQ(waiter.error(), EINTR);
    EXPECT_EQ(usr1.count(), 1);
}

TEST_P(selecting, pselect_keeps_a_signal_away) {
    const descriptor s = bound(family());
    const counted_signal usr1;
    const sigset_t mask = only_usr1();
    fd_bits bits{s};
    const timespec time{0, 2 * quiet_ms * 1'000'000L};
    in_thread waiter([&] { return pselect(s + 1, bits, nullptr, nullptr, &time, &mask); });
    waiter.until_asleep();
    waiter.kill(SIGUSR1);
    EXPECT_EQ(waiter.result(), 0);
    EXPECT_EQ(usr1.count(), 1);
}

TEST_P(selecting, closing_the_descriptor_does_not_end_the_wait) {
    two t(family());
    const int fd = t.to;
    fd_bits bits{fd};
    timeval time = to_timeval(patience);
    in_thread waiter([&] { return select(fd + 1, bits, nullptr, nullptr, &time); });
    waiter.until_asleep();
    t.to.reset();
    EXPECT_FALSE(waiter.returns_within(milliseconds(quiet_ms)));
    // Woken, it looks the number up again: no file counts as readable (fs/select.c, select_poll_one and POLLIN_SET).
    send_text(t.from, "x");
    EXPECT_EQ(waiter.result(), 1);
    EXPECT_TRUE(bits.has(fd));
}

}  // namespace skua::test
