// Threads that wait in epoll: time, signals, who wakes, and what happens to the set meanwhile.
#include <memory>

#include "posix/posix.hh"

namespace skua::test {

class epoll_waiting : public for_each_family {
protected:
    epoll_waiting() : pair_(GetParam()), epfd_(make_epoll()) {}

    /// Waits in this set for one event.
    auto waiter(int epfd, int timeout_ms = patience_ms) {
        return std::make_unique<in_thread>([epfd, timeout_ms] {
            epoll_event e;
            return epoll_wait(epfd, &e, 1, timeout_ms);
        });
    }
    /// How many of those asleep in a set each are woken by one datagram that nobody reads.
    int woken(const std::vector<int>& sets) {
        std::vector<std::unique_ptr<in_thread>> waiters;
        for (const int epfd : sets) waiters.push_back(waiter(epfd, 1000));
        for (auto& w : waiters) w->until_asleep();
        send_text(pair_.from, "x");
        int n = 0;
        for (auto& w : waiters) n += static_cast<int>(w->result());
        return n;
    }

    two pair_;
    descriptor epfd_;
};
INSTANTIATE_TEST_SUITE_P(over, epoll_waiting, testing::Values(AF_INET, AF_INET6), family_name);

// ---- Time -----------------------------------------------------------------------------------------------------------

TEST_P(epoll_waiting, timeouts) {
    add(epfd_, pair_.to, EPOLLIN);
    EXPECT_TRUE(wait(epfd_, 0).empty());
    const stopwatch time;
    EXPECT_TRUE(wait(epfd_, 40).empty());
    EXPECT_GE(time.elapsed(), 40ms);
}

TEST_P(epoll_waiting, an_empty_set_waits_too) {
    const stopwatch time;
    EXPECT_TRUE(wait(epfd_, 30).empty());
    EXPECT_GE(time.elapsed(), 30ms);
}

TEST_P(epoll_waiting, microseconds) {
    add(epfd_, pair_.to, EPOLLIN);
    epoll_event e;
    for (const long nanoseconds : {1L, 300'000L, 2'500'000L}) {
        const auto before = steady_clock::now();
        const timespec time{0, nanoseconds};
        EXPECT_EQ(epoll_pwait2(epfd_, &e, 1, &time, nullptr), 0);
        EXPECT_GE(steady_clock::now() - before, std::chrono::nanoseconds(nanoseconds));
        EXPECT_EQ(time.tv_nsec, nanoseconds);
    }
    // Finer than epoll_wait can say: of many waits below a millisecond some are shorter than one.
    auto shortest = std::chrono::nanoseconds(patience);
    for (int i = 0; i < 200 && shortest >= 1ms; i++) {
        const auto before = steady_clock::now();
        const timespec time{0, 100'000};
        EXPECT_EQ(epoll_pwait2(epfd_, &e, 1, &time, nullptr), 0);
        shortest = std::min<std::chrono::nanoseconds>(shortest, steady_clock::now() - before);
    }
    EXPECT_LT(shortest, 1ms);
}

TEST_P(epoll_waiting, pwait2_without_time_and_without_end) {
    add(epfd_, pair_.to, EPOLLIN);
    epoll_event e;
    const timespec none{0, 0};
    EXPECT_EQ(epoll_pwait2(epfd_, &e, 1, &none, nullptr), 0);
    in_thread endless([&] { return epoll_pwait2(epfd_, &e, 1, nullptr, nullptr); });
    endless.until_asleep();
    send_text(pair_.from, "x");
    EXPECT_EQ(endless.result(), 1);
    EXPECT_EQ(e.events, EPOLLIN);
}

TEST_P(epoll_waiting, without_end) {
    add(epfd_, pair_.to, EPOLLIN);
    for (const int timeout : {-1, -1000}) {
        const auto w = waiter(epfd_, timeout);
        w->until_asleep();
        send_text(pair_.from, "x");
        EXPECT_EQ(w->result(), 1);
        EXPECT_EQ(receive(pair_.to), "x");
    }
}

// ---- Signals --------------------------------------------------------------------------------------------------------

TEST_P(epoll_waiting, a_signal_interrupts_it) {
    add(epfd_, pair_.to, EPOLLIN);
    for (const int flags : {0, SA_RESTART}) {
        const counted_signal usr1(flags);
        const auto w = waiter(epfd_);
        w->until_asleep();
        w->kill(SIGUSR1);
        EXPECT_EQ(w->result(), -1);
        EXPECT_EQ(w->error(), EINTR);
        EXPECT_EQ(usr1.count(), 1);
    }
}

TEST_P(epoll_waiting, pwait_lets_a_pending_signal_through) {
    add(epfd_, pair_.to, EPOLLIN);
    const counted_signal usr1;
    const blocked_signal outside;
    raise(SIGUSR1);
    epoll_event e;
    expect_errno(epoll_pwait(epfd_, &e, 1, patience_ms, &outside.before()), EINTR);
    EXPECT_EQ(usr1.count(), 1);
    EXPECT_TRUE(usr1_is_blocked());
    raise(SIGUSR1);
    const timespec time{patience_ms / 1000, 0};
    expect_errno(epoll_pwait2(epfd_, &e, 1, &time, &outside.before()), EINTR);
    EXPECT_EQ(usr1.count(), 2);
}

TEST_P(epoll_waiting, pwait_lets_a_signal_through_while_it_sleeps) {
    add(epfd_, pair_.to, EPOLLIN);
    const counted_signal usr1;
    const blocked_signal outside;
    in_thread w([&] {
        epoll_event e;
        return epoll_pwait(epfd_, &e, 1, -1, &outside.before());
    });
    w.until_asleep();
    w.kill(SIGUSR1);
    EXPECT_EQ(w.result(), -1);
    EXPECT_EQ(w.error(), EINTR);
    EXPECT_EQ(usr1.count(), 1);
}

TEST_P(epoll_waiting, pwait_keeps_a_signal_away) {
    add(epfd_, pair_.to, EPOLLIN);
    const counted_signal usr1;
    const sigset_t mask = only_usr1();
    in_thread w([&] {
        epoll_event e;
        return epoll_pwait(epfd_, &e, 1, 2 * quiet_ms, &mask);
    });
    w.until_asleep();
    w.kill(SIGUSR1);
    EXPECT_EQ(w.result(), 0);
    EXPECT_EQ(usr1.count(), 1);
}

TEST_P(epoll_waiting, an_event_comes_before_a_pending_signal) {
    add(epfd_, pair_.to, EPOLLIN);
    deliver(pair_.from, "x");
    const counted_signal usr1;
    const blocked_signal outside;
    raise(SIGUSR1);
    epoll_event e;
    // The mask is put back before the signal is looked at (kernel/signal.c, restore_saved_sigmask_unless).
    EXPECT_EQ(epoll_pwait(epfd_, &e, 1, patience_ms, &outside.before()), 1);
    EXPECT_EQ(usr1.count(), 0);
    EXPECT_TRUE(usr1_is_pending());
}

// ---- Who wakes ------------------------------------------------------------------------------------------------------

TEST_P(epoll_waiting, every_set_wakes) {
    std::vector<descriptor> sets;
    for (int i = 0; i < 4; i++) {
        sets.push_back(make_epoll());
        add(sets.back(), pair_.to, EPOLLIN);
    }
    EXPECT_EQ(woken({sets[0], sets[1], sets[2], sets[3]}), 4);
}

TEST_P(epoll_waiting, one_of_the_exclusive_sets_wakes) {
    std::vector<descriptor> sets;
    for (int i = 0; i < 4; i++) {
        sets.push_back(make_epoll());
        add(sets.back(), pair_.to, EPOLLIN | EPOLLEXCLUSIVE);
    }
    EXPECT_EQ(woken({sets[0], sets[1], sets[2], sets[3]}), 1);
}

TEST_P(epoll_waiting, the_others_and_one_of_the_exclusive_sets_wake) {
    std::vector<descriptor> sets;
    for (int i = 0; i < 5; i++) {
        sets.push_back(make_epoll());
        add(sets.back(), pair_.to, i < 2 ? EPOLLIN : EPOLLIN | EPOLLEXCLUSIVE);
    }
    EXPECT_EQ(woken({sets[0], sets[1], sets[2], sets[3], sets[4]}), 3);
}

TEST_P(epoll_waiting, exclusive_wakes_one_who_sleeps) {
    // The set in which nobody waits does not use the wake-up up.
    const descriptor idle = make_epoll();
    add(idle, pair_.to, EPOLLIN | EPOLLEXCLUSIVE);
    add(epfd_, pair_.to, EPOLLIN | EPOLLEXCLUSIVE);
    EXPECT_EQ(woken({epfd_}), 1);
}

TEST_P(epoll_waiting, one_thread_of_a_set_wakes_for_an_edge) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLET);
    EXPECT_EQ(woken({epfd_, epfd_, epfd_, epfd_}), 1);
}

TEST_P(epoll_waiting, one_thread_of_a_set_wakes_for_a_one_shot) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLONESHOT);
    EXPECT_EQ(woken({epfd_, epfd_, epfd_, epfd_}), 1);
}

TEST_P(epoll_waiting, all_threads_of_a_set_wake_while_it_is_unread) {
    add(epfd_, pair_.to, EPOLLIN);
    EXPECT_EQ(woken({epfd_, epfd_, epfd_, epfd_}), 4);
}

TEST_P(epoll_waiting, each_datagram_wakes_one_thread_and_is_read_once) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLET);
    std::atomic<int> read{0};
    std::vector<std::unique_ptr<in_thread>> threads;
    for (int i = 0; i < 3; i++)
        threads.push_back(std::make_unique<in_thread>([&] {
            epoll_event e;
            while (read < 100 && epoll_wait(epfd_, &e, 1, 50) >= 0) {
                char c;
                while (recv(pair_.to, &c, 1, MSG_DONTWAIT) == 1) read++;
            }
            return 0;
        }));
    for (int i = 0; i < 100; i++) send_text(pair_.from, "x");
    for (auto& t : threads) t->result();
    EXPECT_EQ(read, 100);
}

// ---- Changes under a waiting thread ---------------------------------------------------------------------------------

TEST_P(epoll_waiting, adding_what_is_ready_wakes) {
    deliver(pair_.from, "x");
    const auto w = waiter(epfd_);
    w->until_asleep();
    add(epfd_, pair_.to, EPOLLIN);
    EXPECT_EQ(w->result(), 1);
}

TEST_P(epoll_waiting, modifying_to_what_is_ready_wakes) {
    add(epfd_, pair_.to, EPOLLIN);
    const auto w = waiter(epfd_);
    w->until_asleep();
    modify(epfd_, pair_.to, EPOLLOUT);
    EXPECT_EQ(w->result(), 1);
}

TEST_P(epoll_waiting, a_removed_socket_wakes_nobody) {
    add(epfd_, pair_.to, EPOLLIN);
    const auto w = waiter(epfd_, 3 * quiet_ms);
    w->until_asleep();
    granted(epoll_ctl(epfd_, EPOLL_CTL_DEL, pair_.to, nullptr));
    send_text(pair_.from, "x");
    EXPECT_EQ(w->result(), 0);
}

TEST_P(epoll_waiting, a_closed_socket_wakes_nobody) {
    add(epfd_, pair_.to, EPOLLIN);
    const name at = local_name(pair_.to);
    const auto w = waiter(epfd_, 3 * quiet_ms);
    w->until_asleep();
    pair_.to.reset();
    EXPECT_TRUE(is_free(at));
    EXPECT_EQ(w->result(), 0);
}

TEST_P(epoll_waiting, a_closed_duplicate_goes_on_reporting) {
    add(epfd_, pair_.to, EPOLLIN);
    const descriptor copy(granted(dup(pair_.to)));
    const auto w = waiter(epfd_);
    w->until_asleep();
    pair_.to.reset();
    EXPECT_FALSE(w->returns_within(milliseconds(quiet_ms)));
    send_text(pair_.from, "x");
    EXPECT_EQ(w->result(), 1);
}

TEST_P(epoll_waiting, closing_the_set_does_not_end_the_wait) {
    add(epfd_, pair_.to, EPOLLIN);
    const auto w = waiter(epfd_);
    w->until_asleep();
    epfd_.reset();
    EXPECT_FALSE(w->returns_within(milliseconds(quiet_ms)));
    send_text(pair_.from, "x");
    EXPECT_EQ(w->result(), 1);
}

TEST_P(epoll_waiting, sockets_come_and_go_meanwhile) {
    std::atomic<bool> stop{false};
    std::atomic<int> seen{0};
    in_thread w([&] {
        while (!stop) seen += static_cast<int>(wait(epfd_, 20).size());
        return 0;
    });
    for (int i = 0; i < 200; i++) {
        two t(family());
        add(epfd_, t.to, EPOLLIN | EPOLLET);
        send_text(t.from, "x");
        if (i % 3 == 0) granted(epoll_ctl(epfd_, EPOLL_CTL_DEL, t.to, nullptr));
        if (i % 3 == 1) receive(t.to);
    }
    const two last(family());
    add(epfd_, last.to, EPOLLIN | EPOLLET);
    const int before = seen;
    send_text(last.from, "x");
    for (const stopwatch limit; seen == before && limit.elapsed() < patience;) std::this_thread::sleep_for(1ms);
    EXPECT_GT(seen, before);
    stop = true;
}

}  // namespace skua::test
