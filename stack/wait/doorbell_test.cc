// Sleeping for a wait queue and for descriptors of the kernel at once.
#include "wait/doorbell.hh"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

namespace skua::wait {
namespace {

using namespace std::chrono_literals;

class doorbell_test : public testing::Test {
protected:
    ~doorbell_test() override { close(event_); }
    void happen() const {
        const std::uint64_t one = 1;
        ASSERT_EQ(write(event_, &one, sizeof one), 8);
    }
    void forget() const {
        std::uint64_t n;
        [[maybe_unused]] const auto got = read(event_, &n, sizeof n);
    }

    const int event_ = eventfd(0, EFD_NONBLOCK);
    std::vector<pollfd> kernel = {{event_, POLLIN, 0}};
};

TEST_F(doorbell_test, leaves_the_callers_descriptors_as_they_were) {
    {
        const doorbell bell(kernel, nullptr);
        EXPECT_EQ(kernel.size(), 2u);
    }
    ASSERT_EQ(kernel.size(), 1u);
    EXPECT_EQ(kernel[0].fd, event_);
}

TEST_F(doorbell_test, wakes_for_a_descriptor) {
    doorbell bell(kernel, nullptr);
    std::thread other([&] {
        std::this_thread::sleep_for(10ms);
        happen();
    });
    EXPECT_EQ(bell.sleep_until(monotonic_clock::now() + 20s), sleeper::woken::event);
    EXPECT_EQ(kernel[0].revents, POLLIN);
    other.join();
}

TEST_F(doorbell_test, wakes_for_a_notification) {
    doorbell bell(kernel, nullptr);
    EXPECT_TRUE(bell.notify(0));  // before it sleeps
    EXPECT_EQ(bell.sleep_until(time_point::max()), sleeper::woken::event);
    bell.rearm();
    std::thread other([&] {
        std::this_thread::sleep_for(10ms);
        EXPECT_TRUE(bell.notify(0));
    });
    EXPECT_EQ(bell.sleep_until(monotonic_clock::now() + 20s), sleeper::woken::event);
    EXPECT_TRUE(bell.notified());
    other.join();
}

TEST_F(doorbell_test, times_out_at_the_deadline) {
    doorbell bell(kernel, nullptr);
    for (const nanoseconds patience : {nanoseconds(-1s), nanoseconds(1us), nanoseconds(20ms)}) {
        const auto start = monotonic_clock::now();
        EXPECT_EQ(bell.sleep_until(start + patience), sleeper::woken::timeout);
        EXPECT_GE(monotonic_clock::now() - start, patience);
    }
}

TEST_F(doorbell_test, signals_end_it_as_the_mask_says) {
    struct sigaction action {
    }, before{};
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, &before);
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGUSR1);
    for (const bool holds : {false, true}) {
        doorbell bell(kernel, holds ? &held : nullptr);
        std::thread other([&, target = pthread_self()] {
            std::this_thread::sleep_for(20ms);
            pthread_kill(target, SIGUSR1);
            std::this_thread::sleep_for(20ms);
            bell.notify(0);
        });
        EXPECT_EQ(bell.sleep_until(time_point::max()), holds ? sleeper::woken::event : sleeper::woken::signal);
        other.join();
    }
    sigaction(SIGUSR1, &before, nullptr);
}

// A ring can come when its sleeper is awake already, because a descriptor woke it: the next sleep of the thread hears
// it and must not take it for its own, nor for ever.
TEST_F(doorbell_test, an_old_ring_ends_at_most_one_later_sleep) {
    for (int round = 0; round < 500; round++) {
        {
            doorbell bell(kernel, nullptr);
            std::atomic<bool> go{false};
            std::thread other([&] {
                while (!go) {
                }
                happen();
                bell.notify(0);
            });
            go = true;
            EXPECT_EQ(bell.sleep_until(monotonic_clock::now() + 20s), sleeper::woken::event);
            other.join();
        }
        forget();
        doorbell bell(kernel, nullptr);
        if (bell.sleep_until(monotonic_clock::now() + 100us) == sleeper::woken::event) {
            EXPECT_FALSE(bell.notified());
            EXPECT_EQ(bell.sleep_until(monotonic_clock::now() + 100us), sleeper::woken::timeout);
        }
    }
}

TEST_F(doorbell_test, spins_before_it_sleeps) {
    doorbell bell(kernel, nullptr, 10s);
    std::thread other([&] {
        std::this_thread::sleep_for(5ms);
        bell.notify(0);
    });
    EXPECT_EQ(bell.sleep_until(time_point::max()), sleeper::woken::event);
    other.join();
}

}  // namespace
}  // namespace skua::wait
