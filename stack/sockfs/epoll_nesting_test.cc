// Sets within sets, descriptors of the kernel among ours, and sets that end while others are at it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <map>

#include "sockfs/epoll_test_support.hh"

namespace skua::sockfs {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

using epoll_nesting_test = epoll_file_test;

// ---- sets within sets ----

TEST_F(epoll_nesting_test, a_set_is_readable_when_it_has_something) {
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

TEST_F(epoll_nesting_test, a_set_that_ends_leaves_the_others) {
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

TEST(epoll_nesting, rings_of_sets_are_refused) {
    for (std::size_t n = 2; n <= 5; n++) {
        both_kinds b(n);
        for (std::size_t i = 0; i + 1 < n; i++) EXPECT_EQ(b.put(i, i + 1), 0);
        EXPECT_EQ(b.put(n - 1, 0), ELOOP);
        EXPECT_EQ(b.put(0, 0), EINVAL);
    }
}

TEST(epoll_nesting, chains_of_sets_are_as_long_as_the_kernels) {
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

TEST_F(epoll_nesting_test, descriptors_of_the_kernel_beside_files) {
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

TEST_F(epoll_nesting_test, either_kind_wakes_who_waits) {
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

TEST_F(epoll_nesting_test, descriptors_of_the_kernel_in_inner_sets) {
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

TEST(epoll_nesting, sets_and_files_end_while_files_wake_them) {
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
