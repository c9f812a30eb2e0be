// poll(2) over files of ours and descriptors of the kernel.
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "sockfs/process.hh"
#include "sockfs/test_support.hh"

namespace skua::sockfs {
namespace {

using namespace std::chrono_literals;

constexpr time_point at_once = time_point::min();
time_point in(nanoseconds patience) { return monotonic_clock::now() + patience; }

class poll_test : public testing::Test {
protected:
    poll_test() {
        for (auto* f : {&a, &b}) fds.push_back(p.files().install(*f).value());
    }
    using waiting = waiting_thread<result<unsigned>>;
    result<unsigned> poll(std::vector<pollfd>& which, time_point deadline, const sigset_t* mask = nullptr) {
        return p.poll(which, deadline, mask);
    }

    process p{1, std::make_unique<kernel_numbers>(), true, nanoseconds(0)};
    std::shared_ptr<some_file> a = file::make<some_file>(), b = file::make<some_file>();
    std::vector<int> fds;
};

TEST_F(poll_test, tells_what_is_asked_and_what_is_not) {
    std::vector<pollfd> which = {{fds[0], POLLIN, 99}, {fds[1], POLLOUT, 99}, {-1, POLLIN, 99}};
    EXPECT_EQ(poll(which, at_once).value(), 0u);
    for (const auto& f : which) EXPECT_EQ(f.revents, 0);
    a->become(EPOLLIN | EPOLLOUT | EPOLLRDNORM);
    b->become(EPOLLIN | EPOLLERR | EPOLLHUP);
    EXPECT_EQ(poll(which, at_once).value(), 2u);
    EXPECT_EQ(which[0].revents, POLLIN);
    EXPECT_EQ(which[1].revents, POLLERR | POLLHUP);
    EXPECT_EQ(which[2].revents, 0);
}

TEST_F(poll_test, one_file_may_be_asked_for_twice) {
    std::vector<pollfd> which = {{fds[0], POLLIN, 0}, {fds[0], POLLOUT, 0}};
    a->become(EPOLLOUT);
    EXPECT_EQ(poll(which, in(1s)).value(), 1u);
    EXPECT_EQ(which[0].revents, 0);
    EXPECT_EQ(which[1].revents, POLLOUT);
}

TEST_F(poll_test, what_is_no_descriptor_is_ready_to_be_told_so) {
    process own(2, std::make_unique<own_numbers>(8), false, nanoseconds(0));
    std::vector<pollfd> which = {{5, POLLIN, 0}};
    EXPECT_EQ(own.poll(which, in(20s), nullptr).value(), 1u);
    EXPECT_EQ(which[0].revents, POLLNVAL);
    // For one that shares numbers the kernel says so.
    which = {{fds[0], POLLIN, 0}, {100000, POLLIN, 0}};
    EXPECT_EQ(poll(which, in(20s)).value(), 1u);
    EXPECT_EQ(which[1].revents, POLLNVAL);
}

TEST_F(poll_test, wakes_for_what_it_asked_only) {
    std::vector<pollfd> which = {{fds[0], POLLIN, 0}, {fds[1], POLLOUT, 0}};
    waiting t([&] { return poll(which, in(20s)); });
    t.until_asleep();
    a->happen(EPOLLOUT);
    b->happen(EPOLLIN);
    std::this_thread::sleep_for(10ms);
    EXPECT_FALSE(t.done());
    b->happen(EPOLLOUT);
    EXPECT_EQ(t.answer().value(), 1u);
    EXPECT_EQ(which[1].revents, POLLOUT);
    EXPECT_FALSE(a->waiters().active() || b->waiters().active());
}

TEST_F(poll_test, all_that_poll_one_file_wake) {
    std::vector<std::unique_ptr<waiting>> threads;
    for (int i = 0; i < 3; i++) {
        threads.push_back(std::make_unique<waiting>([&] {
            std::vector<pollfd> mine = {{fds[0], POLLIN, 0}};
            return poll(mine, in(20s));
        }));
        threads.back()->until_asleep();
    }
    a->happen(EPOLLIN);
    for (auto& t : threads) EXPECT_EQ(t->answer().value(), 1u);
}

TEST_F(poll_test, both_kinds_wake_it) {
    const int e = eventfd(0, EFD_NONBLOCK);
    std::vector<pollfd> which = {{fds[0], POLLIN, 0}, {e, POLLIN, 0}};
    {
        waiting t([&] { return poll(which, in(20s)); });
        t.until_asleep();
        const std::uint64_t one = 1;
        EXPECT_EQ(::write(e, &one, sizeof one), 8);
        EXPECT_EQ(t.answer().value(), 1u);
        EXPECT_EQ(which[1].revents, POLLIN);
    }
    std::uint64_t n;
    EXPECT_EQ(::read(e, &n, sizeof n), 8);
    {
        waiting t([&] { return poll(which, in(20s)); });
        t.until_asleep();
        a->happen(EPOLLIN);
        EXPECT_EQ(t.answer().value(), 1u);
        EXPECT_EQ(which[0].revents, POLLIN);
    }
    ::close(e);
}

TEST_F(poll_test, a_set_is_polled_for_both_kinds_that_it_watches) {
    const int set = p.epoll_create(0).value(), e = eventfd(0, EFD_NONBLOCK);
    const epoll_event event{.events = EPOLLIN, .data = {}};
    std::vector<pollfd> which = {{set, POLLIN, 0}};
    {
        waiting t([&] { return poll(which, in(20s)); });
        t.until_asleep();
        ASSERT_TRUE(p.epoll_control(set, EPOLL_CTL_ADD, fds[0], &event));
        a->happen(EPOLLIN);
        EXPECT_EQ(t.answer().value(), 1u);
    }
    a->become(0);
    {
        // The set's first descriptor of the kernel comes while it is polled.
        waiting t([&] { return poll(which, in(20s)); });
        t.until_asleep();
        ASSERT_TRUE(p.epoll_control(set, EPOLL_CTL_ADD, e, &event));
        t.until_asleep();
        const std::uint64_t one = 1;
        EXPECT_EQ(::write(e, &one, sizeof one), 8);
        const auto before = monotonic_clock::now();
        EXPECT_EQ(t.answer().value(), 1u);
        EXPECT_LT(monotonic_clock::now() - before, 5s);
    }
    ::close(e);
}

TEST_F(poll_test, waits_until_its_deadline_without_burning_time) {
    const int e = eventfd(0, EFD_NONBLOCK);
    for (auto which : {std::vector<pollfd>{{fds[0], POLLIN, 0}}, {{fds[0], POLLIN, 0}, {e, POLLIN, 0}}, {}}) {
        for (const nanoseconds patience : {nanoseconds(1us), nanoseconds(333us), nanoseconds(200ms)}) {
            const auto start = monotonic_clock::now();
            const auto cpu = cpu_time();
            EXPECT_EQ(poll(which, start + patience).value(), 0u);
            EXPECT_GE(monotonic_clock::now() - start, patience);
            EXPECT_LT(cpu_time() - cpu, 20ms);
        }
    }
    ::close(e);
}

TEST_F(poll_test, a_signal_handler_ends_it_unless_the_mask_holds_it_back) {
    for (const int flags : {0, SA_RESTART}) {
        const with_signal_handler handler(flags);
        std::vector<pollfd> which = {{fds[0], POLLIN, 0}};
        sigset_t none, held;
        sigemptyset(&none);
        sigemptyset(&held);
        sigaddset(&held, SIGUSR1);
        for (const sigset_t* mask : {static_cast<const sigset_t*>(nullptr), static_cast<const sigset_t*>(&none)})
            for (const auto deadline : {in(20s), time_point::max()}) {
                waiting t([&] { return poll(which, deadline, mask); });
                t.until_asleep();
                t.signal(SIGUSR1);
                EXPECT_EQ(t.answer().error(), error{EINTR});
            }
        waiting t([&] { return poll(which, in(20s), &held); });
        t.until_asleep();
        t.signal(SIGUSR1);
        std::this_thread::sleep_for(10ms);
        EXPECT_FALSE(t.done());
        a->happen(EPOLLIN);
        EXPECT_EQ(t.answer().value(), 1u);
        a->become(0);
    }
}

TEST_F(poll_test, a_signal_that_the_mask_lets_through_ends_even_a_look) {
    const with_signal_handler handler(0);
    sigset_t held, none;
    sigemptyset(&none);
    sigemptyset(&held);
    sigaddset(&held, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &held, nullptr);
    std::vector<pollfd> which = {{fds[0], POLLIN, 0}};
    pthread_kill(pthread_self(), SIGUSR1);
    EXPECT_EQ(poll(which, at_once).value(), 0u);
    a->become(EPOLLIN);
    EXPECT_EQ(poll(which, at_once, &none).value(), 1u);
    a->become(0);
    EXPECT_EQ(poll(which, at_once, &none).error(), error{EINTR});
    EXPECT_EQ(poll(which, at_once, &none).value(), 0u);
    pthread_sigmask(SIG_UNBLOCK, &held, nullptr);
}

TEST_F(poll_test, a_file_closed_meanwhile_stays_until_the_call_is_over) {
    std::vector<pollfd> which = {{fds[0], POLLIN, 0}};
    std::weak_ptr<file> watch = a;
    waiting t([&] { return poll(which, in(20s)); });
    t.until_asleep();
    some_file& f = *a;
    ASSERT_TRUE(p.close(fds[0]));
    a.reset();
    EXPECT_FALSE(watch.expired());
    f.happen(EPOLLIN);
    EXPECT_EQ(t.answer().value(), 1u);
    EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace skua::sockfs
