// Epoll sets: what they report, and who is woken.
#include "sockfs/epoll_file.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "sockfs/epoll_test_support.hh"
#include "support/sanitized.hh"

namespace skua::sockfs {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// ---- what is reported ----

TEST_F(epoll_file_test, level_triggered_as_long_as_it_is_ready) {
    ASSERT_EQ(set.add(1, *a), 0);
    EXPECT_THAT(set.look(), IsEmpty());
    a->happen(EPOLLIN | EPOLLOUT);
    for (int i = 0; i < 3; i++) EXPECT_THAT(set.look(), ElementsAre(event_of(1, EPOLLIN)));
    a->become(0);
    EXPECT_THAT(set.look(), IsEmpty());
}

TEST_F(epoll_file_test, what_is_ready_already_is_reported_when_it_is_added_or_modified) {
    a->become(EPOLLIN);
    b->become(EPOLLOUT);
    ASSERT_EQ(set.add(1, *a, EPOLLIN | EPOLLET), 0);
    ASSERT_EQ(set.add(2, *b, EPOLLIN | EPOLLET), 0);
    EXPECT_THAT(set.look(), ElementsAre(event_of(1, EPOLLIN)));
    ASSERT_EQ(set.modify(2, *b, EPOLLOUT | EPOLLET), 0);
    ASSERT_EQ(set.modify(1, *a, EPOLLIN | EPOLLET), 0);
    EXPECT_THAT(set.look(), ElementsAre(event_of(2, EPOLLOUT), event_of(1, EPOLLIN)));
}

TEST_F(epoll_file_test, edge_triggered_once_for_each_arrival) {
    ASSERT_EQ(set.add(1, *a, EPOLLIN | EPOLLET), 0);
    a->happen(EPOLLIN);
    EXPECT_THAT(set.look(), ElementsAre(event_of(1, EPOLLIN)));
    EXPECT_THAT(set.look(), IsEmpty());
    a->happen(EPOLLIN);
    a->happen(EPOLLIN);
    EXPECT_THAT(set.look(), ElementsAre(event_of(1, EPOLLIN)));
    EXPECT_THAT(set.look(), IsEmpty());
}

TEST_F(epoll_file_test, one_shot_until_it_is_armed_again) {
    ASSERT_EQ(set.add(1, *a, EPOLLIN | EPOLLONESHOT), 0);
    a->happen(EPOLLIN);
    EXPECT_THAT(set.look(), ElementsAre(event_of(1, EPOLLIN)));
    a->happen(EPOLLIN | EPOLLERR);
    EXPECT_THAT(set.look(), IsEmpty());
    ASSERT_EQ(set.modify(1, *a, EPOLLIN | EPOLLONESHOT), 0);
    EXPECT_THAT(set.look(), ElementsAre(event_of(1, EPOLLIN | EPOLLERR)));
}

TEST_F(epoll_file_test, errors_and_hang_ups_unasked) {
    ASSERT_EQ(set.add(1, *a, 0), 0);
    a->happen(EPOLLERR | EPOLLHUP | EPOLLIN | EPOLLRDHUP | EPOLLPRI);
    EXPECT_THAT(set.look(), ElementsAre(event_of(1, EPOLLERR | EPOLLHUP)));
    ASSERT_EQ(set.modify(1, *a, EPOLLRDHUP | EPOLLPRI), 0);
    EXPECT_THAT(set.look(), ElementsAre(event_of(1, EPOLLERR | EPOLLHUP | EPOLLRDHUP | EPOLLPRI)));
}

TEST_F(epoll_file_test, small_rooms_are_filled_in_turn) {
    int fd = 1;
    for (auto* f : {&a, &b, &c}) ASSERT_EQ(set.add(fd++, **f), 0);
    for (auto* f : {&a, &b, &c}) (*f)->happen(EPOLLIN);
    std::string order;
    for (int i = 0; i < 6; i++) order += std::to_string(set.look(1).at(0).first);
    EXPECT_EQ(order, "123123");
}

TEST_F(epoll_file_test, one_file_through_two_descriptors) {
    ASSERT_EQ(set.add(1, *a), 0);
    ASSERT_EQ(set.add(2, *a, EPOLLIN | EPOLLET), 0);
    EXPECT_EQ(set.add(2, *a), EEXIST);
    a->happen(EPOLLIN);
    EXPECT_EQ(set.look().size(), 2u);
    EXPECT_THAT(set.look(), ElementsAre(event_of(1, EPOLLIN)));
    ASSERT_EQ(set.remove(1, *a), 0);
    a->happen(EPOLLIN);
    EXPECT_THAT(set.look(), ElementsAre(event_of(2, EPOLLIN)));
}

TEST_F(epoll_file_test, a_file_that_ends_leaves_its_sets) {
    set_of other;
    ASSERT_EQ(set.add(1, *a), 0);
    ASSERT_EQ(set.add(2, *a), 0);
    ASSERT_EQ(other.add(1, *a), 0);
    a->happen(EPOLLIN);
    a.reset();
    EXPECT_EQ(set.file->size() + other.file->size(), 0u);
    EXPECT_THAT(set.look(), IsEmpty());
    EXPECT_THAT(other.look(), IsEmpty());
}

TEST_F(epoll_file_test, control_refuses_what_the_kernel_refuses) {
    ASSERT_EQ(set.add(1, *a), 0);
    EXPECT_EQ(set.add(1, *a), EEXIST);
    EXPECT_EQ(set.modify(2, *a, EPOLLIN), ENOENT);
    EXPECT_EQ(set.remove(2, *a), ENOENT);
    EXPECT_EQ(set.remove(1, *b), ENOENT);
    EXPECT_EQ(set.control(17, 1, *a, EPOLLIN), EINVAL);
    EXPECT_EQ(set.add(5, *set.file), EINVAL);
    EXPECT_EQ(set.modify(1, *a, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
    EXPECT_EQ(set.add(2, *b, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), EINVAL);
    EXPECT_EQ(set.add(2, *b, EPOLLRDHUP | EPOLLEXCLUSIVE), EINVAL);
    EXPECT_EQ(set.add(2, *b, EPOLLIN | EPOLLEXCLUSIVE), 0);
    EXPECT_EQ(set.modify(2, *b, EPOLLIN), EINVAL);
    set_of inner;
    EXPECT_EQ(set.add(3, *inner.file, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
}

// ---- who is woken ----

TEST_F(epoll_file_test, waiting_threads_are_woken_one_by_one) {
    ASSERT_EQ(set.add(1, *a, EPOLLIN | EPOLLET), 0);
    std::vector<std::unique_ptr<set_of::waiting>> threads;
    for (int i = 0; i < 3; i++) threads.push_back(set.wait_in_thread());
    for (std::size_t woken = 1; woken <= 3; woken++) {
        a->happen(EPOLLIN);
        const auto done = [&] { return std::ranges::count_if(threads, [](const auto& t) { return t->done(); }); };
        for (int i = 0; i < 5000 && done() < static_cast<long>(woken); i++) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(20ms);
        EXPECT_EQ(done(), static_cast<long>(woken));
    }
    for (auto& t : threads) EXPECT_EQ(t->answer().value().size(), 1u);
}

TEST_F(epoll_file_test, what_finds_no_room_wakes_the_next_thread) {
    ASSERT_EQ(set.add(1, *a, EPOLLIN | EPOLLET), 0);
    ASSERT_EQ(set.add(2, *b, EPOLLIN | EPOLLET), 0);
    a->become(EPOLLIN);
    b->become(EPOLLIN);
    const auto first = set.wait_in_thread(1), second = set.wait_in_thread(1);
    a->happen(EPOLLIN);
    b->happen(EPOLLIN);
    EXPECT_EQ(first->answer().value().size() + second->answer().value().size(), 2u);
}

/// How many of three sets hear of one event, each with a thread that waits in it.
std::size_t sets_woken_with(std::uint32_t flags, std::uint32_t happens) {
    const auto f = file::make<some_file>();
    std::vector<set_of> sets(3);
    std::vector<std::unique_ptr<set_of::waiting>> threads;
    for (auto& s : sets) {
        EXPECT_EQ(s.add(1, *f, EPOLLIN | EPOLLOUT | flags), 0);
        threads.push_back(s.wait_in_thread());
    }
    f->happen(happens);
    std::this_thread::sleep_for(50ms);
    const auto woken = std::ranges::count_if(threads, [](const auto& t) { return t->done(); });
    for (auto& s : sets) (void)s.remove(1, *f);
    const auto end = file::make<some_file>();
    end->become(EPOLLIN);
    for (auto& s : sets) EXPECT_EQ(s.add(2, *end), 0);
    for (auto& t : threads) EXPECT_TRUE(t->answer());
    return static_cast<std::size_t>(woken);
}

TEST(epoll_file, exclusive_sets_are_woken_one_for_an_event) {
    EXPECT_EQ(sets_woken_with(0, EPOLLIN), 3u);
    EXPECT_EQ(sets_woken_with(EPOLLEXCLUSIVE, EPOLLIN), 1u);
    EXPECT_EQ(sets_woken_with(EPOLLEXCLUSIVE, EPOLLOUT), 1u);
    // An end concerns everyone, and so does what is readable and writeable at once (ep_poll_callback).
    EXPECT_EQ(sets_woken_with(EPOLLEXCLUSIVE, EPOLLIN | EPOLLOUT), 3u);
}

TEST_F(epoll_file_test, exclusive_sets_come_in_the_order_in_which_they_were_added) {
    set_of other;
    ASSERT_EQ(set.add(1, *a, EPOLLIN | EPOLLEXCLUSIVE), 0);
    ASSERT_EQ(other.add(1, *a, EPOLLIN | EPOLLEXCLUSIVE), 0);
    const auto first = set.wait_in_thread(), second = other.wait_in_thread();
    a->happen(EPOLLIN);
    EXPECT_TRUE(first->answer());
    std::this_thread::sleep_for(20ms);
    EXPECT_FALSE(second->done());
    // Nobody sleeps in the first one now, so the event is the second one's.
    a->happen(EPOLLIN);
    EXPECT_TRUE(second->answer());
}

TEST_F(epoll_file_test, nobody_sleeps_and_the_waker_makes_no_system_call) {
    if (test::sanitized) GTEST_SKIP() << "the sanitizer makes some";
    set_of outer;
    ASSERT_EQ(set.add(1, *a), 0);
    ASSERT_EQ(outer.add(1, *set.file), 0);
    wait::sleeper awake;
    a->waiters().add(awake);
    const pid_t child = ::fork();
    if (child == 0) {
        // From here on the kernel kills for any other call than read, write, exit and sigreturn.
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        for (int i = 0; i < 1000; i++) a->happen(EPOLLIN);
        syscall(SYS_exit, 7);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
    a->waiters().remove(awake);
}

TEST_F(epoll_file_test, a_thread_that_waits_burns_no_time) {
    const kernels pipe(eventfd(0, 0));
    for (const bool with_kernels : {false, true}) {
        if (with_kernels) {
            ASSERT_EQ(set.add_kernels(pipe.fd), 0);
        }
        const auto before = cpu_time();
        EXPECT_THAT(set.wait(200ms).value(), IsEmpty());
        EXPECT_LT(cpu_time() - before, 20ms);
    }
}

TEST_F(epoll_file_test, waits_until_its_deadline_and_not_less) {
    const kernels pipe(eventfd(0, 0));
    for (const bool with_kernels : {false, true}) {
        if (with_kernels) {
            ASSERT_EQ(set.add_kernels(pipe.fd), 0);
        }
        for (const nanoseconds patience : {nanoseconds(1us), nanoseconds(137us), nanoseconds(5ms)}) {
            const auto before = monotonic_clock::now();
            EXPECT_THAT(set.wait(patience).value(), IsEmpty());
            EXPECT_GE(monotonic_clock::now() - before, patience);
            EXPECT_LT(monotonic_clock::now() - before, patience + 2s);
        }
    }
}

TEST_F(epoll_file_test, a_signal_handler_ends_the_wait_whatever_it_says_of_restarting) {
    const kernels pipe(eventfd(0, 0));
    for (const bool with_kernels : {false, true}) {
        if (with_kernels) {
            ASSERT_EQ(set.add_kernels(pipe.fd), 0);
        }
        for (const int flags : {0, SA_RESTART}) {
            const with_signal_handler handler(flags);
            set_of::waiting timed([&] { return set.wait(20s); });
            set_of::waiting endless([&]() -> result<set_of::seen> {
                epoll_event out;
                return set.file->wait(std::span(&out, 1), time_point::max(), nullptr).map([](unsigned) {
                    return set_of::seen();
                });
            });
            for (auto* t : {&timed, &endless}) {
                t->until_asleep();
                t->signal(SIGUSR1);
                EXPECT_EQ(t->answer().error(), error{EINTR});
            }
        }
    }
}

TEST_F(epoll_file_test, a_mask_holds_signals_back_while_it_waits) {
    const with_signal_handler handler(0);
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGUSR1);
    ASSERT_EQ(set.add(1, *a), 0);
    set_of::waiting t([&] { return set.wait(20s, 16, &held); });
    t.until_asleep();
    t.signal(SIGUSR1);
    std::this_thread::sleep_for(20ms);
    EXPECT_FALSE(t.done());
    a->happen(EPOLLIN);
    EXPECT_EQ(t.answer().value().size(), 1u);
}

TEST_F(epoll_file_test, who_waits_hears_of_what_is_added_modified_or_removed) {
    auto t = set.wait_in_thread();
    a->become(EPOLLIN);
    ASSERT_EQ(set.add(1, *a), 0);
    EXPECT_THAT(t->answer().value(), ElementsAre(event_of(1, EPOLLIN)));
    ASSERT_EQ(set.modify(1, *a, EPOLLOUT), 0);
    t = set.wait_in_thread();
    ASSERT_EQ(set.modify(1, *a, EPOLLIN), 0);
    EXPECT_THAT(t->answer().value(), ElementsAre(event_of(1, EPOLLIN)));
    a->become(0);
    t = set.wait_in_thread();
    a.reset();
    b->become(EPOLLIN);
    std::this_thread::sleep_for(10ms);
    EXPECT_FALSE(t->done());
    ASSERT_EQ(set.add(2, *b), 0);
    EXPECT_THAT(t->answer().value(), ElementsAre(event_of(2, EPOLLIN)));
}

}  // namespace
}  // namespace skua::sockfs
