// epoll sets that hold sockets together with pipes, event counters, timers, and what cannot be held.
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include <cstdio>
#include <memory>
#include <set>

#include "posix/posix.hh"

namespace skua::test {

namespace {

descriptor event_counter() { return descriptor(granted(eventfd(0, EFD_NONBLOCK))); }

void write_one(int fd) { ASSERT_EQ(write(fd, "x", 1), 1); }
void read_one(int fd) {
    char c;
    ASSERT_EQ(read(fd, &c, 1), 1);
}

std::set<std::uint64_t> who(const std::vector<epoll_event>& events) {
    std::set<std::uint64_t> data;
    for (const auto& e : events) data.insert(e.data.u64);
    return data;
}
using numbers = std::set<std::uint64_t>;

/// All that are ready within a turn or two: a set may report one kind before the other.
numbers all_ready(int epfd, std::size_t n) {
    numbers seen;
    for (const stopwatch limit; seen.size() < n && limit.elapsed() < patience;)
        for (const auto& e : wait(epfd, 100)) seen.insert(e.data.u64);
    return seen;
}

}  // namespace

class epoll_mixed : public for_each_family {
protected:
    epoll_mixed() : pair_(GetParam()), epfd_(make_epoll()) {}
    auto waiter(int timeout_ms = patience_ms) {
        return std::make_unique<in_thread>([this, timeout_ms] {
            epoll_event e;
            const int n = epoll_wait(epfd_, &e, 1, timeout_ms);
            return n == 1 ? static_cast<ssize_t>(e.data.u64) : n;
        });
    }
    two pair_;
    pipe_ends pipe_;
    descriptor epfd_;
};
INSTANTIATE_TEST_SUITE_P(over, epoll_mixed, testing::Values(AF_INET, AF_INET6), family_name);

TEST_P(epoll_mixed, a_pipe_alone) {
    add(epfd_, pipe_.out, EPOLLIN, 5);
    EXPECT_TRUE(wait(epfd_, 0).empty());
    write_one(pipe_.in);
    for (int i = 0; i < 3; i++) EXPECT_EQ(who(wait(epfd_)), numbers{5});
    read_one(pipe_.out);
    EXPECT_TRUE(wait(epfd_, 0).empty());
}

TEST_P(epoll_mixed, reports_both_kinds) {
    add(epfd_, pair_.to, EPOLLIN, 10);
    add(epfd_, pipe_.out, EPOLLIN, 11);
    write_one(pipe_.in);
    EXPECT_EQ(who(wait(epfd_)), numbers{11});
    deliver(pair_.from, "x");
    EXPECT_EQ(who(wait(epfd_)), (numbers{10, 11}));
    read_one(pipe_.out);
    EXPECT_EQ(who(wait(epfd_)), numbers{10});
    EXPECT_EQ(receive(pair_.to), "x");
    EXPECT_TRUE(wait(epfd_, 0).empty());
}

TEST_P(epoll_mixed, wakes_for_either) {
    add(epfd_, pair_.to, EPOLLIN, 10);
    add(epfd_, pipe_.out, EPOLLIN, 11);
    for (int i = 0; i < 3; i++) {
        const auto w = waiter();
        w->until_asleep();
        write_one(pipe_.in);
        EXPECT_EQ(w->result(), 11);
        read_one(pipe_.out);
        const auto v = waiter();
        v->until_asleep();
        send_text(pair_.from, "x");
        EXPECT_EQ(v->result(), 10);
        EXPECT_EQ(receive(pair_.to), "x");
    }
}

TEST_P(epoll_mixed, four_kinds_at_once) {
    const descriptor counter = event_counter();
    const descriptor timer(granted(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)));
    add(epfd_, pair_.to, EPOLLIN, 1);
    add(epfd_, pipe_.out, EPOLLIN, 2);
    add(epfd_, counter, EPOLLIN, 3);
    add(epfd_, timer, EPOLLIN, 4);
    EXPECT_TRUE(wait(epfd_, 0).empty());
    itimerspec soon{};
    soon.it_value.tv_nsec = 10'000'000;
    ASSERT_EQ(timerfd_settime(timer, 0, &soon, nullptr), 0);
    EXPECT_EQ(who(wait(epfd_)), numbers{4});
    ASSERT_EQ(eventfd_write(counter, 1), 0);
    write_one(pipe_.in);
    deliver(pair_.from, "x");
    EXPECT_EQ(who(wait(epfd_)), (numbers{1, 2, 3, 4}));
    EXPECT_EQ(wait(epfd_, 0, 2).size(), 2u);
}

TEST_P(epoll_mixed, each_kind_gets_its_turn) {
    const descriptor counter = event_counter();
    ASSERT_EQ(eventfd_write(counter, 1), 0);
    write_one(pipe_.in);
    deliver(pair_.from, "x");
    add(epfd_, pair_.to, EPOLLIN, 1);
    add(epfd_, pipe_.out, EPOLLIN, 2);
    add(epfd_, counter, EPOLLIN, 3);
    add(epfd_, pair_.from, EPOLLOUT, 4);
    numbers seen;
    for (int i = 0; i < 16; i++) {
        const auto events = wait(epfd_, 0, 1);
        ASSERT_EQ(events.size(), 1u);
        seen.insert(events[0].data.u64);
    }
    EXPECT_EQ(seen, (numbers{1, 2, 3, 4}));
}

TEST_P(epoll_mixed, an_edge_of_an_event_counter) {
    const descriptor counter = event_counter();
    add(epfd_, counter, EPOLLIN | EPOLLET, 3);
    add(epfd_, pair_.to, EPOLLIN | EPOLLET, 1);
    for (int i = 0; i < 3; i++) {
        ASSERT_EQ(eventfd_write(counter, 1), 0);
        EXPECT_EQ(who(wait(epfd_)), numbers{3});
        EXPECT_TRUE(wait(epfd_, 0).empty());
    }
    send_text(pair_.from, "x");
    EXPECT_EQ(who(wait(epfd_)), numbers{1});
    EXPECT_TRUE(wait(epfd_, quiet_ms).empty());
}

TEST_P(epoll_mixed, one_shot_of_a_pipe) {
    add(epfd_, pipe_.out, EPOLLIN | EPOLLONESHOT, 2);
    write_one(pipe_.in);
    EXPECT_EQ(who(wait(epfd_)), numbers{2});
    EXPECT_TRUE(wait(epfd_, 0).empty());
    modify(epfd_, pipe_.out, EPOLLIN | EPOLLONESHOT, 7);
    EXPECT_EQ(who(wait(epfd_)), numbers{7});
}

TEST_P(epoll_mixed, hang_up_of_a_pipe) {
    add(epfd_, pipe_.out, EPOLLIN, 2);
    add(epfd_, pair_.to, EPOLLIN, 1);
    pipe_.in.reset();
    EXPECT_EQ(one_event(epfd_), EPOLLHUP);
}

TEST_P(epoll_mixed, a_pipe_without_a_reader_is_an_error) {
    add(epfd_, pipe_.in, EPOLLOUT, 2);
    EXPECT_EQ(one_event(epfd_), EPOLLOUT);
    pipe_.out.reset();
    EXPECT_EQ(one_event(epfd_), EPOLLOUT | EPOLLERR);
}

TEST_P(epoll_mixed, changes_and_removal_of_pipes) {
    add(epfd_, pipe_.out, EPOLLIN, 2);
    epoll_event e{EPOLLIN, {}};
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_ADD, pipe_.out, &e), EEXIST);
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_MOD, pipe_.in, &e), ENOENT);
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_DEL, pipe_.in, &e), ENOENT);
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_ADD, pipe_.in, nullptr), EFAULT);
    write_one(pipe_.in);
    modify(epfd_, pipe_.out, EPOLLPRI);
    EXPECT_TRUE(wait(epfd_, 0).empty());
    modify(epfd_, pipe_.out, EPOLLIN, 9);
    EXPECT_EQ(who(wait(epfd_)), numbers{9});
    granted(epoll_ctl(epfd_, EPOLL_CTL_DEL, pipe_.out, nullptr));
    EXPECT_TRUE(wait(epfd_, 0).empty());
}

TEST_P(epoll_mixed, closing_a_pipe_takes_it_out) {
    add(epfd_, pipe_.out, EPOLLIN, 2);
    write_one(pipe_.in);
    EXPECT_EQ(who(wait(epfd_)), numbers{2});
    const int number = pipe_.out;
    pipe_.out.reset();
    EXPECT_TRUE(wait(epfd_, 0).empty());
    const descriptor s = udp(family());
    ASSERT_EQ(s, number);
    add(epfd_, s, EPOLLOUT, 3);  // the number is another file now, of another kind
    EXPECT_EQ(who(wait(epfd_)), numbers{3});
}

TEST_P(epoll_mixed, a_pipe_under_the_number_of_a_socket) {
    add(epfd_, pair_.to, EPOLLIN, 1);
    const int number = pair_.to;
    pair_.to.reset();
    const pipe_ends p;
    ASSERT_EQ(p.out, number);
    add(epfd_, p.out, EPOLLIN, 2);
    write_one(p.in);
    EXPECT_EQ(who(wait(epfd_)), numbers{2});
}

TEST_P(epoll_mixed, a_pipe_under_two_numbers) {
    const descriptor copy(granted(dup(pipe_.out)));
    add(epfd_, pipe_.out, EPOLLIN, 1);
    add(epfd_, copy, EPOLLIN, 2);
    write_one(pipe_.in);
    EXPECT_EQ(who(wait(epfd_)), (numbers{1, 2}));
}

TEST_P(epoll_mixed, files_that_cannot_be_waited_for) {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(std::tmpfile(), std::fclose);
    ASSERT_NE(file, nullptr);
    epoll_event e{EPOLLIN, {}};
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_ADD, fileno(file.get()), &e), EPERM);
    add(epfd_, pair_.to, EPOLLIN);
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_ADD, fileno(file.get()), &e), EPERM);
    const descriptor directory(granted(open("/", O_RDONLY | O_DIRECTORY)));
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_ADD, directory, &e), EPERM);
}

TEST_P(epoll_mixed, exclusive_of_a_pipe) {
    add(epfd_, pipe_.out, EPOLLIN | EPOLLEXCLUSIVE, 1);
    epoll_event e{EPOLLIN, {}};
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_MOD, pipe_.out, &e), EINVAL);
    write_one(pipe_.in);
    EXPECT_EQ(who(wait(epfd_)), numbers{1});
}

TEST_P(epoll_mixed, in_a_nest) {
    const descriptor inner = make_epoll();
    add(inner, pipe_.out, EPOLLIN, 1);
    add(inner, pair_.to, EPOLLIN, 2);
    add(epfd_, inner, EPOLLIN, 3);
    EXPECT_TRUE(wait(epfd_, 0).empty());
    const auto w = waiter();
    w->until_asleep();
    write_one(pipe_.in);
    EXPECT_EQ(w->result(), 3);
    EXPECT_EQ(who(wait(inner)), numbers{1});
    read_one(pipe_.out);
    EXPECT_TRUE(wait(epfd_, 0).empty());
    send_text(pair_.from, "x");
    EXPECT_EQ(who(wait(epfd_)), numbers{3});
}

TEST_P(epoll_mixed, polled_with_a_pipe_in_it) {
    add(epfd_, pipe_.out, EPOLLIN, 1);
    pollfd p{epfd_, POLLIN, 0};
    in_thread w([&] { return poll(&p, 1, patience_ms); });
    w.until_asleep();
    write_one(pipe_.in);
    EXPECT_EQ(w.result(), 1);
    EXPECT_EQ(p.revents, POLLIN);
    read_one(pipe_.out);
    EXPECT_EQ(events_now(epfd_), 0);
}

TEST_P(epoll_mixed, timeouts_and_signals_as_ever) {
    add(epfd_, pipe_.out, EPOLLIN, 1);
    add(epfd_, pair_.to, EPOLLIN, 2);
    const stopwatch time;
    EXPECT_TRUE(wait(epfd_, 30).empty());
    EXPECT_GE(time.elapsed(), 30ms);
    const counted_signal usr1(SA_RESTART);
    const auto w = waiter();
    w->until_asleep();
    w->kill(SIGUSR1);
    EXPECT_EQ(w->result(), -1);
    EXPECT_EQ(w->error(), EINTR);
}

TEST_P(epoll_mixed, a_pipe_added_under_a_waiting_thread) {
    add(epfd_, pair_.to, EPOLLIN, 1);
    const auto w = waiter();
    w->until_asleep();
    add(epfd_, pipe_.out, EPOLLIN, 2);
    EXPECT_FALSE(w->returns_within(milliseconds(quiet_ms)));
    write_one(pipe_.in);
    EXPECT_EQ(w->result(), 2);
}

TEST_P(epoll_mixed, a_socket_added_under_a_thread_that_waits_for_a_pipe) {
    add(epfd_, pipe_.out, EPOLLIN, 1);
    const auto w = waiter();
    w->until_asleep();
    add(epfd_, pair_.to, EPOLLIN, 2);
    send_text(pair_.from, "x");
    EXPECT_EQ(w->result(), 2);
}

TEST_P(epoll_mixed, one_pipe_in_two_sets) {
    const descriptor other = make_epoll();
    add(epfd_, pipe_.out, EPOLLIN, 1);
    add(other, pipe_.out, EPOLLIN, 2);
    write_one(pipe_.in);
    EXPECT_EQ(all_ready(epfd_, 1), numbers{1});
    EXPECT_EQ(all_ready(other, 1), numbers{2});
}

}  // namespace skua::test
