// Tests of wait queues and sleeping threads.
#include "wait/wait_queue.hh"

#include <gtest/gtest.h>
#include <pthread.h>

#include <csignal>
#include <thread>
#include <vector>

namespace skua::wait {
namespace {

using namespace std::chrono_literals;

struct recorder : waiter {
    recorder(std::vector<int>& l, int n, bool t = true) : log(l), name(n), takes(t) {}
    bool notify(std::uint32_t e) override {
        log.push_back(name);
        events = e;
        return takes;
    }
    std::vector<int>& log;
    int name;
    bool takes;
    std::uint32_t events = 0;
};

TEST(wait_queue, normal_waiters_come_last_first_and_before_exclusive_ones) {
    wait_queue q;
    std::vector<int> log;
    recorder a(log, 1), b(log, 2), x(log, 10), y(log, 11);
    q.add_exclusive(x);
    q.add(a);
    q.add_exclusive(y);
    q.add(b);
    EXPECT_EQ(q.wake(5), 3u);
    EXPECT_EQ(log, (std::vector{2, 1, 10}));
    EXPECT_EQ(x.events, 5u);
    for (auto* w : {&a, &b, &x, &y}) q.remove(*w);
}

TEST(wait_queue, exclusive_count_limits_only_exclusive_waiters) {
    wait_queue q;
    std::vector<int> log;
    recorder a(log, 1), x(log, 10), y(log, 11), z(log, 12);
    q.add(a);
    for (auto* w : {&x, &y, &z}) q.add_exclusive(*w);
    EXPECT_EQ(q.wake(0, 2), 3u);
    EXPECT_EQ(log, (std::vector{1, 10, 11}));
    log.clear();
    EXPECT_EQ(q.wake(0, 0), 4u);
    EXPECT_EQ(log, (std::vector{1, 10, 11, 12}));
    for (auto* w : {&a, &x, &y, &z}) q.remove(*w);
}

TEST(wait_queue, who_does_not_take_it_does_not_count) {
    wait_queue q;
    std::vector<int> log;
    recorder x(log, 10, false), y(log, 11), z(log, 12);
    for (auto* w : {&x, &y, &z}) q.add_exclusive(*w);
    EXPECT_EQ(q.wake(0, 1), 1u);
    EXPECT_EQ(log, (std::vector{10, 11}));
    for (auto* w : {&x, &y, &z}) q.remove(*w);
}

TEST(wait_queue, is_active_while_somebody_waits) {
    wait_queue q, other;
    std::vector<int> log;
    recorder a(log, 1), b(log, 2), c(log, 3);
    EXPECT_FALSE(q.active());
    q.add(a);
    q.add(a);
    q.add_exclusive(b);
    q.add(c);
    EXPECT_TRUE(q.active());
    other.remove(a);
    EXPECT_EQ(q.wake(0, 0), 3u);
    q.remove(c);
    q.remove(a);
    q.remove(a);
    log.clear();
    EXPECT_EQ(q.wake(0, 0), 1u);
    EXPECT_EQ(log, std::vector{2});
    q.remove(b);
    EXPECT_FALSE(q.active());
    EXPECT_EQ(q.wake(0), 0u);
    other.add(a);  // may be put on another queue afterwards
    EXPECT_TRUE(other.active());
    other.remove(a);
}

TEST(sleeper, takes_one_event_until_rearmed) {
    sleeper s;
    EXPECT_TRUE(s.notify(0));
    EXPECT_FALSE(s.notify(0));
    EXPECT_EQ(s.sleep_until(time_point::max()), sleeper::woken::event);
    s.rearm();
    EXPECT_TRUE(s.notify(0));
}

TEST(sleeper, takes_only_what_interests_it) {
    sleeper s(0us, 0x6);
    EXPECT_FALSE(s.notify(0x1));
    EXPECT_FALSE(s.notified());
    EXPECT_TRUE(s.notify(0x2));
    EXPECT_TRUE(s.notified());
    s.rearm();
    EXPECT_FALSE(s.notified());
    EXPECT_TRUE(s.notify(0));
}

TEST(sleeper, times_out_at_the_deadline) {
    for (const auto spin : {0us, 500us, 50000us}) {
        sleeper s(spin);
        const auto start = monotonic_clock::now();
        EXPECT_EQ(s.sleep_until(start + 20ms), sleeper::woken::timeout);
        const auto took = monotonic_clock::now() - start;
        EXPECT_GE(took, 20ms);
        EXPECT_LT(took, 1s);
    }
    sleeper past;
    EXPECT_EQ(past.sleep_until(monotonic_clock::now() - 1s), sleeper::woken::timeout);
    EXPECT_EQ(past.sleep_until(time_point(nanoseconds(-1))), sleeper::woken::timeout);
}

TEST(sleeper, spinning_sees_a_notification) {
    sleeper s(10s);
    std::thread waker([&] {
        std::this_thread::sleep_for(5ms);
        s.notify(0);
    });
    const auto start = monotonic_clock::now();
    EXPECT_EQ(s.sleep_until(time_point::max()), sleeper::woken::event);
    EXPECT_LT(monotonic_clock::now() - start, 5s);
    waker.join();
}

class with_signal {
public:
    explicit with_signal(int flags) {
        struct sigaction action {};
        action.sa_handler = [](int) {};
        action.sa_flags = flags;
        sigaction(SIGUSR1, &action, &before_);
    }
    ~with_signal() { sigaction(SIGUSR1, &before_, nullptr); }

private:
    struct sigaction before_ {};
};

TEST(sleeper, a_signal_handler_ends_the_sleep) {
    const with_signal handler(0);
    for (const auto deadline : {time_point::max(), monotonic_clock::now() + 10s}) {
        sleeper s;
        std::thread killer([target = pthread_self()] {
            std::this_thread::sleep_for(20ms);
            pthread_kill(target, SIGUSR1);
        });
        EXPECT_EQ(s.sleep_until(deadline), sleeper::woken::signal);
        killer.join();
        EXPECT_TRUE(s.notify(0));  // is no longer taken for asleep
    }
}

TEST(sleeper, a_restarting_handler_does_not_end_an_endless_sleep) {
    const with_signal handler(SA_RESTART);
    sleeper s;
    std::thread killer([&, target = pthread_self()] {
        std::this_thread::sleep_for(20ms);
        pthread_kill(target, SIGUSR1);
        std::this_thread::sleep_for(20ms);
        s.notify(0);
    });
    EXPECT_EQ(s.sleep_until(time_point::max()), sleeper::woken::event);
    killer.join();
}

// A consumer that looks, queues itself, looks again and sleeps must never sleep through an item.
TEST(wait_queue, no_wake_up_is_lost_between_threads) {
    constexpr unsigned items = 40000, consumers = 3;
    wait_queue q;
    std::atomic<int> available{0};
    std::atomic<unsigned> taken{0};
    std::atomic<unsigned> overslept{0};
    const auto take = [&] {
        for (int n = available.load(); n > 0;)
            if (available.compare_exchange_weak(n, n - 1)) return true;
        return false;
    };
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < consumers; i++)
        threads.emplace_back([&, spin = i * 2us] {
            while (taken < items) {
                if (take()) {
                    ++taken;
                    continue;
                }
                sleeper s(spin);
                q.add_exclusive(s);
                bool got = false;
                while (!(got = take()) && taken < items) {
                    if (s.sleep_until(monotonic_clock::now() + 20s) == sleeper::woken::timeout) ++overslept;
                    s.rearm();
                }
                q.remove(s);
                if (s.notified()) q.wake(1, 1);
                if (got) ++taken;
            }
            q.wake(0, 0);
        });
    for (unsigned i = 0; i < items; i++) {
        available.fetch_add(1);
        if (q.active()) q.wake(1, 1);
        if (i % 16 == 0) std::this_thread::yield();
    }
    for (auto& t : threads) t.join();
    EXPECT_EQ(taken, items);
    EXPECT_EQ(overslept, 0u);
    EXPECT_FALSE(q.active());
}

// At the deadline either the event or the timeout wins, and both sides agree which.
TEST(sleeper, wake_and_timeout_race_has_one_outcome) {
    unsigned events = 0, timeouts = 0;
    for (int i = 0; i < 2000; i++) {
        sleeper s;
        const auto deadline = monotonic_clock::now() + 100us;
        bool took = false;
        wait_queue q;
        q.add_exclusive(s);
        std::thread waker([&] {
            while (monotonic_clock::now() < deadline + (i % 80) * 1us) {
            }
            took = q.wake(1) == 1;
        });
        const auto why = s.sleep_until(deadline);
        q.remove(s);
        waker.join();
        why == sleeper::woken::event ? ++events : ++timeouts;
        EXPECT_TRUE(took || why != sleeper::woken::event);
    }
    EXPECT_EQ(events + timeouts, 2000u);
    EXPECT_GT(timeouts, 0u);
}

}  // namespace
}  // namespace skua::wait
