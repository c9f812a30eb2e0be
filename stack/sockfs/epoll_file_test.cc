// Epoll sets: what they report, who is woken, sets within sets, and descriptors of the kernel among ours.
#include "sockfs/epoll_file.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include <functional>

#include "sockfs/test_support.hh"

namespace skua::sockfs {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

epoll_event event(std::uint32_t events, std::uint64_t data = 0) { return {.events = events, .data = {.u64 = data}}; }

/// A set, and calls that read well.
struct set_of {
    const std::shared_ptr<epoll_file> file = file::make<epoll_file>(nanoseconds(0));

    int control(int operation, int fd, sockfs::file& target, std::uint32_t events) {
        const auto e = event(events, static_cast<std::uint64_t>(fd));
        const auto r = file->control(operation, fd, target, &e);
        return r ? 0 : r.error().code;
    }
    int add(int fd, sockfs::file& target, std::uint32_t events = EPOLLIN) {
        return control(EPOLL_CTL_ADD, fd, target, events);
    }
    int modify(int fd, sockfs::file& target, std::uint32_t events) {
        return control(EPOLL_CTL_MOD, fd, target, events);
    }
    int remove(int fd, sockfs::file& target) { return control(EPOLL_CTL_DEL, fd, target, 0); }
    int add_kernels(int fd, std::uint32_t events = EPOLLIN) {
        const auto e = event(events, static_cast<std::uint64_t>(fd));
        const auto r = file->control_kernel(EPOLL_CTL_ADD, fd, &e);
        return r ? 0 : r.error().code;
    }
    /// Data and events of what is ready.
    using seen = std::vector<std::pair<std::uint64_t, std::uint32_t>>;
    seen look(unsigned room = 16) { return wait(0ns, room).value(); }
    result<seen> wait(nanoseconds patience, unsigned room = 16, const sigset_t* mask = nullptr) {
        std::vector<epoll_event> out(room);
        const auto n = file->wait(out, patience == 0ns ? time_point::min() : monotonic_clock::now() + patience, mask);
        if (!n) return fail(n.error().code);
        seen all;
        for (unsigned i = 0; i < *n; i++) all.push_back({std::uint64_t(out[i].data.u64), std::uint32_t(out[i].events)});
        return all;
    }
    using waiting = waiting_thread<result<seen>>;
    std::unique_ptr<waiting> wait_in_thread(unsigned room = 16) {
        auto t = std::make_unique<waiting>([this, room] { return wait(20s, room); });
        t->until_asleep();
        return t;
    }
};
using event_of = std::pair<std::uint64_t, std::uint32_t>;

/// A descriptor of the kernel.
struct kernels {
    explicit kernels(int f) : fd(f) {}
    ~kernels() { close(fd); }
    void write(std::uint64_t n = 1) const { ASSERT_EQ(::write(fd, &n, sizeof n), 8); }
    void read() const {
        std::uint64_t n;
        ASSERT_EQ(::read(fd, &n, sizeof n), 8);
    }
    const int fd;
};

class epoll_file_test : public testing::Test {
protected:
    std::shared_ptr<some_file> a = file::make<some_file>(), b = file::make<some_file>(), c = file::make<some_file>();
    set_of set;
};

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
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "the sanitizer makes some";
#endif
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

// ---- sets within sets ----

TEST_F(epoll_file_test, a_set_is_readable_when_it_has_something) {
    set_of outer;
    ASSERT_EQ(outer.add(9, *set.file), 0);
    ASSERT_EQ(set.add(1, *a), 0);
    EXPECT_THAT(outer.look(), IsEmpty());
    auto t = outer.wait_in_thread();
    a->happen(EPOLLIN);
    EXPECT_THAT(t->answer().value(), ElementsAre(event_of(9, EPOLLIN)));
    EXPECT_EQ(set.file->poll_events(), static_cast<unsigned>(EPOLLIN | EPOLLRDNORM));
    EXPECT_THAT(set.look(), ElementsAre(event_of(1, EPOLLIN)));
    EXPECT_THAT(outer.look(), ElementsAre(event_of(9, EPOLLIN)));
    a->become(0);
    EXPECT_THAT(outer.look(), IsEmpty());
}

TEST_F(epoll_file_test, a_set_that_ends_leaves_the_others) {
    set_of outer;
    {
        set_of inner;
        ASSERT_EQ(outer.add(1, *inner.file), 0);
        ASSERT_EQ(inner.add(1, *a), 0);
        a->happen(EPOLLIN);
    }
    EXPECT_EQ(outer.file->size(), 0u);
    EXPECT_THAT(outer.look(), IsEmpty());
    EXPECT_EQ(a->happen(EPOLLIN), 0u);
}

/// Sets here and in the kernel, told the same.
struct both_kinds {
    explicit both_kinds(std::size_t n) : ours(n) {
        for (std::size_t i = 0; i < n; i++) theirs.push_back(epoll_create1(0));
    }
    ~both_kinds() {
        for (const int fd : theirs) close(fd);
    }
    /// The errno of putting one into another; -1 if they disagree.
    int put(std::size_t inner, std::size_t outer) {
        auto e = event(EPOLLIN);
        const int kernel = epoll_ctl(theirs[outer], EPOLL_CTL_ADD, theirs[inner], &e) == 0 ? 0 : errno;
        const int here = ours[outer].add(static_cast<int>(inner), *ours[inner].file);
        EXPECT_EQ(here, kernel) << inner << " into " << outer;
        return here == kernel ? here : -1;
    }
    std::vector<set_of> ours;
    std::vector<int> theirs;
};

TEST(epoll_file, rings_of_sets_are_refused) {
    for (std::size_t n = 2; n <= 5; n++) {
        both_kinds b(n);
        for (std::size_t i = 0; i + 1 < n; i++) EXPECT_EQ(b.put(i, i + 1), 0);
        EXPECT_EQ(b.put(n - 1, 0), ELOOP);
        EXPECT_EQ(b.put(0, 0), EINVAL);
    }
}

TEST(epoll_file, chains_of_sets_are_as_long_as_the_kernels) {
    constexpr std::size_t most = 9;
    // From the outside in, from the inside out, and two halves of any length that are joined.
    both_kinds inwards(most), outwards(most);
    int refused = 0;
    for (std::size_t i = 0; i + 1 < most; i++) {
        refused += inwards.put(most - 2 - i, most - 1 - i) == ELOOP;
        refused += outwards.put(i, i + 1) == ELOOP;
    }
    EXPECT_GT(refused, 0);
    for (std::size_t half = 1; half < most; half++) {
        both_kinds b(most);
        for (std::size_t i = 0; i + 1 < half; i++) b.put(i, i + 1);
        for (std::size_t i = half; i + 1 < most; i++) b.put(i, i + 1);
        EXPECT_NE(b.put(half - 1, half), -1);
    }
}

// ---- descriptors of the kernel ----

TEST_F(epoll_file_test, descriptors_of_the_kernel_beside_files) {
    const kernels e(eventfd(0, EFD_NONBLOCK));
    ASSERT_EQ(set.add(1000, *a), 0);
    ASSERT_EQ(set.add_kernels(e.fd), 0);
    EXPECT_EQ(set.add_kernels(e.fd), EEXIST);
    EXPECT_EQ(set.add_kernels(-1), EBADF);
    EXPECT_THAT(set.look(), IsEmpty());
    e.write();
    EXPECT_THAT(set.look(), ElementsAre(event_of(e.fd, EPOLLIN)));
    a->happen(EPOLLIN);
    EXPECT_EQ(set.look().size(), 2u);
    // Neither kind keeps the other out.
    std::map<std::uint64_t, int> times;
    for (int i = 0; i < 10; i++) times[set.look(1).at(0).first]++;
    EXPECT_EQ(times[1000], 5);
    e.read();
    EXPECT_THAT(set.look(), ElementsAre(event_of(1000, EPOLLIN)));
    ASSERT_TRUE(set.file->control_kernel(EPOLL_CTL_DEL, e.fd, nullptr));
    e.write();
    EXPECT_THAT(set.look(), ElementsAre(event_of(1000, EPOLLIN)));
}

TEST_F(epoll_file_test, either_kind_wakes_who_waits) {
    const kernels e(eventfd(0, EFD_NONBLOCK)), timer(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const kernels reading(ends[0]), writing(ends[1]);
    auto t = set.wait_in_thread();
    for (const auto* k : {&e, &timer, &reading}) ASSERT_EQ(set.add_kernels(k->fd, EPOLLIN | EPOLLET), 0);
    ASSERT_EQ(set.add(1000, *a, EPOLLIN | EPOLLET), 0);
    e.write();
    EXPECT_THAT(t->answer().value(), ElementsAre(event_of(e.fd, EPOLLIN)));
    t = set.wait_in_thread();
    const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1'000'000}};
    ASSERT_EQ(timerfd_settime(timer.fd, 0, &soon, nullptr), 0);
    EXPECT_THAT(t->answer().value(), ElementsAre(event_of(timer.fd, EPOLLIN)));
    t = set.wait_in_thread();
    writing.write();
    EXPECT_THAT(t->answer().value(), ElementsAre(event_of(reading.fd, EPOLLIN)));
    t = set.wait_in_thread();
    a->happen(EPOLLIN);
    EXPECT_THAT(t->answer().value(), ElementsAre(event_of(1000, EPOLLIN)));
}

TEST_F(epoll_file_test, descriptors_of_the_kernel_in_inner_sets) {
    const kernels e(eventfd(0, EFD_NONBLOCK));
    set_of middle, outer;
    ASSERT_EQ(outer.add(2, *middle.file), 0);
    ASSERT_EQ(middle.add(1, *set.file), 0);
    auto t = outer.wait_in_thread();
    ASSERT_EQ(set.add_kernels(e.fd), 0);  // only now there is one
    std::this_thread::sleep_for(10ms);
    EXPECT_FALSE(t->done());
    e.write();
    EXPECT_THAT(t->answer().value(), ElementsAre(event_of(2, EPOLLIN)));
    EXPECT_THAT(middle.look(), ElementsAre(event_of(1, EPOLLIN)));
    EXPECT_THAT(set.look(), ElementsAre(event_of(e.fd, EPOLLIN)));
    e.read();
    EXPECT_THAT(outer.look(), IsEmpty());
    // Taken out, it is heard of no more.
    e.write();
    ASSERT_EQ(middle.remove(1, *set.file), 0);
    EXPECT_THAT(outer.look(), IsEmpty());
    EXPECT_EQ(set.look().size(), 1u);
}

// ---- ends while others are at it ----

TEST(epoll_file, sets_and_files_end_while_files_wake_them) {
    for (int round = 0; round < 200; round++) {
        const auto f = file::make<some_file>();
        auto doomed = file::make<some_file>();
        auto set = std::make_unique<set_of>(), outer = std::make_unique<set_of>();
        ASSERT_EQ(set->add(1, *f, EPOLLIN | EPOLLET), 0);
        ASSERT_EQ(set->add(2, *doomed), 0);
        ASSERT_EQ(outer->add(1, *set->file), 0);
        std::atomic<bool> stop{false};
        std::thread waker([&] {
            while (!stop) f->happen(EPOLLIN);
        });
        std::thread ender([d = std::move(doomed)]() mutable {
            d->happen(EPOLLIN);
            d.reset();
        });
        (void)set->wait(100us);
        set.reset();
        EXPECT_THAT(outer->look(), IsEmpty());
        stop = true;
        waker.join();
        ender.join();
    }
}

}  // namespace
}  // namespace skua::sockfs
