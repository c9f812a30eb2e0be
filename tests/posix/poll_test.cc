// poll and ppoll.
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <array>

#include "posix/posix.hh"

namespace skua::test {

class polling : public for_each_family {};
INSTANTIATE_TEST_SUITE_P(over, polling, testing::Values(AF_INET, AF_INET6), family_name);

// ---- What is reported -----------------------------------------------------------------------------------------------

TEST_P(polling, a_fresh_socket_is_writable_only) {
    const descriptor s = udp(family());
    EXPECT_EQ(events_now(s, POLLIN | POLLOUT | POLLPRI | POLLRDHUP), POLLOUT);
    EXPECT_EQ(events_now(bound(family())), POLLOUT);
}

TEST_P(polling, readable_until_all_is_read) {
    const two t(family());
    deliver(t.from, "one");
    send_text(t.from, "two");
    EXPECT_EQ(events_now(t.to), POLLIN | POLLOUT);
    EXPECT_EQ(events_now(t.to), POLLIN | POLLOUT);
    EXPECT_EQ(receive(t.to), "one");
    EXPECT_EQ(receive(t.to), "two");
    EXPECT_EQ(events_now(t.to), POLLOUT);
}

TEST_P(polling, an_empty_datagram_is_readable) {
    const two t(family());
    deliver(t.from, "");
    EXPECT_EQ(receive(t.to), "");
    EXPECT_EQ(events_now(t.to, POLLIN), 0);
}

TEST_P(polling, only_what_is_asked_for) {
    const two t(family());
    deliver(t.from, "x");
    EXPECT_EQ(events_now(t.to, POLLIN), POLLIN);
    EXPECT_EQ(events_now(t.to, POLLOUT), POLLOUT);
    EXPECT_EQ(events_now(t.to, POLLPRI), 0);
    EXPECT_EQ(events_now(t.to, 0), 0);
}

TEST_P(polling, the_other_names_of_events) {
    const two t(family());
    deliver(t.from, "x");
    EXPECT_EQ(events_now(t.to, POLLRDNORM), POLLRDNORM);
    EXPECT_EQ(events_now(t.to, POLLIN | POLLRDNORM | POLLRDBAND), POLLIN | POLLRDNORM);
    EXPECT_EQ(events_now(t.to, POLLOUT | POLLWRNORM | POLLWRBAND), POLLOUT | POLLWRNORM | POLLWRBAND);
}

TEST_P(polling, peeking_leaves_it_readable) {
    const two t(family());
    deliver(t.from, "x");
    char c;
    EXPECT_EQ(recv(t.to, &c, 1, MSG_PEEK), 1);
    EXPECT_EQ(events_now(t.to, POLLIN), POLLIN);
}

TEST_P(polling, a_refused_send_is_an_error_until_it_is_asked_for) {
    const descriptor s = connected_to_nobody(family());
    send_text(s, "x");
    ASSERT_TRUE(comes(s, POLLERR));
    EXPECT_EQ(events_now(s, POLLIN | POLLOUT), POLLOUT | POLLERR);
    EXPECT_EQ(events_now(s, 0), POLLERR);
    EXPECT_EQ(get_option(s, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    EXPECT_EQ(events_now(s, POLLIN | POLLOUT), POLLOUT);
    EXPECT_EQ(get_option(s, SOL_SOCKET, SO_ERROR), 0);
}

TEST_P(polling, a_refused_send_is_told_to_the_next_recv) {
    const descriptor s = connected_to_nobody(family());
    send_text(s, "x");
    ASSERT_TRUE(comes(s, POLLERR));
    char c;
    expect_errno(recv(s, &c, 1, 0), ECONNREFUSED);
    EXPECT_EQ(events_now(s), POLLOUT);
    expect_errno(recv(s, &c, 1, MSG_DONTWAIT), EAGAIN);
}

TEST_P(polling, a_refused_send_is_told_to_the_next_send) {
    const descriptor s = connected_to_nobody(family());
    send_text(s, "x");
    ASSERT_TRUE(comes(s, POLLERR));
    expect_errno(send(s, "x", 1, 0), ECONNREFUSED);
    EXPECT_EQ(events_now(s), POLLOUT);
}

TEST_P(polling, an_error_is_seen_by_each_duplicate) {
    const descriptor s = connected_to_nobody(family());
    const descriptor copy(granted(dup(s)));
    send_text(s, "x");
    ASSERT_TRUE(comes(copy, POLLERR));
    EXPECT_EQ(events_now(s, 0), POLLERR);
    EXPECT_EQ(get_option(copy, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    EXPECT_EQ(events_now(s, 0), 0);
}

TEST_P(polling, shutdown_of_reading) {
    const two t(family());
    ASSERT_EQ(shutdown(t.from, SHUT_RD), 0);
    EXPECT_EQ(events_now(t.from), POLLIN | POLLOUT | POLLRDHUP);
    EXPECT_EQ(events_now(t.from, POLLIN | POLLOUT), POLLIN | POLLOUT);
    EXPECT_EQ(events_now(t.from, 0), 0);
}

TEST_P(polling, shutdown_of_writing) {
    const two t(family());
    ASSERT_EQ(shutdown(t.from, SHUT_WR), 0);
    EXPECT_EQ(events_now(t.from), POLLOUT);
    expect_errno(send(t.from, "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST_P(polling, shutdown_of_both) {
    const two t(family());
    ASSERT_EQ(shutdown(t.from, SHUT_RDWR), 0);
    EXPECT_EQ(events_now(t.from), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    EXPECT_EQ(events_now(t.from, 0), POLLHUP);
}

TEST_P(polling, shutdown_of_an_unconnected_socket_takes_effect_though_refused) {
    const descriptor s = bound(family());
    expect_errno(shutdown(s, SHUT_RD), ENOTCONN);
    EXPECT_EQ(events_now(s), POLLIN | POLLOUT | POLLRDHUP);
    expect_errno(shutdown(s, SHUT_WR), ENOTCONN);
    EXPECT_EQ(events_now(s), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    expect_errno(shutdown(s, 3), EINVAL);
    expect_errno(shutdown(s, -1), EINVAL);
}

TEST_P(polling, error_and_hang_up_together) {
    const descriptor s = connected_to_nobody(family());
    send_text(s, "x");
    ASSERT_TRUE(comes(s, POLLERR));
    ASSERT_EQ(shutdown(s, SHUT_RDWR), 0);
    EXPECT_EQ(events_now(s, 0), POLLERR | POLLHUP);
}

// ---- The set --------------------------------------------------------------------------------------------------------

TEST_P(polling, numbers_that_are_not_open_are_marked) {
    const descriptor s = udp(family());
    const int closed = lowest_free();
    pollfd set[] = {{closed, POLLIN, 0}, {s, POLLOUT, 0}, {1 << 30, 0, 0}};
    EXPECT_EQ(poll(set, 3, patience_ms), 3);
    EXPECT_EQ(set[0].revents, POLLNVAL);
    EXPECT_EQ(set[1].revents, POLLOUT);
    EXPECT_EQ(set[2].revents, POLLNVAL);
}

TEST_P(polling, a_number_that_is_not_open_ends_the_wait) {
    const descriptor s = udp(family());
    pollfd set[] = {{s, POLLIN, 0}, {lowest_free(), POLLIN, 0}};
    EXPECT_EQ(poll(set, 2, -1), 1);
    EXPECT_EQ(set[0].revents, 0);
}

TEST_P(polling, negative_numbers_are_passed_over) {
    const descriptor s = udp(family());
    pollfd set[] = {{-1, POLLIN, 77}, {s, POLLIN, 77}, {-s - 1, POLLIN | POLLOUT, 77}};
    EXPECT_EQ(poll(set, 3, 0), 0);
    for (const auto& p : set) EXPECT_EQ(p.revents, 0);
}

TEST_P(polling, a_descriptor_may_stand_in_the_set_twice) {
    const two t(family());
    deliver(t.from, "x");
    pollfd set[] = {{t.to, POLLIN, 0}, {t.to, POLLOUT, 0}, {t.to, POLLPRI, 0}};
    EXPECT_EQ(poll(set, 3, 0), 2);
    EXPECT_EQ(set[0].revents, POLLIN);
    EXPECT_EQ(set[1].revents, POLLOUT);
    EXPECT_EQ(set[2].revents, 0);
}

TEST_P(polling, duplicates_report_alike) {
    const two t(family());
    const descriptor copy(granted(dup(t.to)));
    deliver(t.from, "x");
    pollfd set[] = {{t.to, POLLIN, 0}, {copy, POLLIN, 0}};
    EXPECT_EQ(poll(set, 2, 0), 2);
    EXPECT_EQ(receive(copy), "x");
    EXPECT_EQ(poll(set, 2, 0), 0);
}

TEST_P(polling, the_events_asked_for_stay_as_they_were) {
    const descriptor s = udp(family());
    pollfd p{s, POLLIN | POLLOUT, 0};
    ASSERT_EQ(poll(&p, 1, 0), 1);
    EXPECT_EQ(p.fd, s);
    EXPECT_EQ(p.events, POLLIN | POLLOUT);
}

TEST_P(polling, many_sockets) {
    std::vector<two> pairs;
    std::vector<pollfd> set;
    for (int i = 0; i < 100; i++) {
        pairs.emplace_back(family());
        set.push_back({pairs.back().to, POLLIN, 0});
    }
    EXPECT_EQ(poll(set.data(), set.size(), 0), 0);
    for (std::size_t i = 0; i < 100; i += 10) deliver(pairs[i].from, "x");
    EXPECT_EQ(poll(set.data(), set.size(), patience_ms), 10);
    for (std::size_t i = 0; i < 100; i++) EXPECT_EQ(set[i].revents, i % 10 == 0 ? POLLIN : 0) << i;
}

TEST(poll_sets, of_more_than_the_limit) {
    rlimit limit;
    granted(getrlimit(RLIMIT_NOFILE, &limit));
    std::vector<pollfd> set(limit.rlim_cur + 1, pollfd{-1, 0, 0});
    EXPECT_EQ(poll(set.data(), set.size() - 1, 0), 0);
    expect_errno(poll(set.data(), set.size(), 0), EINVAL);
}

TEST(poll_sets, that_are_not_there) {
    pollfd* volatile none = nullptr;  // the compiler would warn, and be right
    expect_errno(poll(none, 1, 0), EFAULT);
}

TEST(poll_sets, without_descriptors_are_a_sleep) {
    const stopwatch time;
    EXPECT_EQ(poll(nullptr, 0, 30), 0);
    EXPECT_GE(time.elapsed(), 30ms);
}

TEST_P(polling, an_epoll_set_is_readable_when_it_has_events) {
    const two t(family());
    const descriptor epfd = make_epoll();
    EXPECT_EQ(events_now(epfd), 0);
    add(epfd, t.to, EPOLLIN);
    EXPECT_EQ(events_now(epfd), 0);
    send_text(t.from, "x");
    ASSERT_TRUE(comes(epfd, POLLIN));
    EXPECT_EQ(events_now(epfd, POLLIN | POLLOUT | POLLRDNORM), POLLIN | POLLRDNORM);
    EXPECT_EQ(receive(t.to), "x");
    EXPECT_EQ(events_now(epfd), 0);
}

TEST_P(polling, sockets_and_other_files_together) {
    const two t(family());
    const pipe_ends p;
    const descriptor event(granted(eventfd(0, EFD_NONBLOCK)));
    pollfd set[] = {{t.to, POLLIN, 0}, {p.out, POLLIN, 0}, {event, POLLIN, 0}, {p.in, POLLOUT, 0}};
    EXPECT_EQ(poll(set, 3, 0), 0);
    EXPECT_EQ(poll(set, 4, 0), 1);
    EXPECT_EQ(set[3].revents, POLLOUT);
    ASSERT_EQ(write(p.in, "x", 1), 1);
    EXPECT_EQ(poll(set, 3, patience_ms), 1);
    EXPECT_EQ(set[1].revents, POLLIN);
    deliver(t.from, "x");
    ASSERT_EQ(eventfd_write(event, 1), 0);
    EXPECT_EQ(poll(set, 3, patience_ms), 3);
    for (int i = 0; i < 3; i++) EXPECT_EQ(set[i].revents, POLLIN);
}

// ---- Waiting --------------------------------------------------------------------------------------------------------

TEST_P(polling, timeouts) {
    const descriptor s = bound(family());
    pollfd p{s, POLLIN, 99};
    EXPECT_EQ(poll(&p, 1, 0), 0);
    EXPECT_EQ(p.revents, 0);
    const stopwatch time;
    EXPECT_EQ(poll(&p, 1, 40), 0);
    EXPECT_GE(time.elapsed(), 40ms);
}

TEST_P(polling, waits_for_a_datagram) {
    for (const int timeout : {-1, -1000, patience_ms}) {
        const two t(family());
        pollfd p{t.to, POLLIN, 0};
        in_thread waiter([&] { return poll(&p, 1, timeout); });
        waiter.until_asleep();
        send_text(t.from, "x");
        EXPECT_EQ(waiter.result(), 1);
        EXPECT_EQ(p.revents, POLLIN);
    }
}

TEST_P(polling, sleeps_through_what_it_does_not_ask_for) {
    const two t(family());
    pollfd p{t.to, POLLPRI, 0};
    in_thread waiter([&] { return poll(&p, 1, 2 * quiet_ms); });
    waiter.until_asleep();
    send_text(t.from, "x");
    EXPECT_EQ(waiter.result(), 0);
    EXPECT_EQ(receive(t.to), "x");
}

TEST_P(polling, waits_for_an_error) {
    const descriptor s = connected_to_nobody(family());
    pollfd p{s, 0, 0};
    in_thread waiter([&] { return poll(&p, 1, patience_ms); });
    waiter.until_asleep();
    send_text(s, "x");
    EXPECT_EQ(waiter.result(), 1);
    EXPECT_EQ(p.revents, POLLERR);
}

TEST_P(polling, waits_for_a_shutdown) {
    const two t(family());
    pollfd p{t.to, POLLIN | POLLRDHUP, 0};
    in_thread waiter([&] { return poll(&p, 1, patience_ms); });
    waiter.until_asleep();
    expect_errno(shutdown(t.to, SHUT_RD), ENOTCONN);
    EXPECT_EQ(waiter.result(), 1);
    EXPECT_EQ(p.revents, POLLIN | POLLRDHUP);
}

TEST_P(polling, waits_on_many_for_one) {
    std::vector<two> pairs;
    std::vector<pollfd> set;
    for (int i = 0; i < 20; i++) {
        pairs.emplace_back(family());
        set.push_back({pairs.back().to, POLLIN, 0});
    }
    in_thread waiter([&] { return poll(set.data(), set.size(), patience_ms); });
    waiter.until_asleep();
    send_text(pairs[13].from, "x");
    EXPECT_EQ(waiter.result(), 1);
    EXPECT_EQ(set[13].revents, POLLIN);
}

TEST_P(polling, one_datagram_wakes_all_who_poll) {
    const two t(family());
    std::array<pollfd, 4> set;
    set.fill({t.to, POLLIN, 0});
    std::vector<std::unique_ptr<in_thread>> waiters;
    for (auto& p : set) waiters.push_back(std::make_unique<in_thread>([&p] { return poll(&p, 1, patience_ms); }));
    for (auto& w : waiters) w->until_asleep();
    send_text(t.from, "x");
    for (auto& w : waiters) EXPECT_EQ(w->result(), 1);
}

TEST_P(polling, woken_by_a_pipe_or_by_a_socket) {
    const two t(family());
    const pipe_ends p;
    for (const bool by_pipe : {true, false}) {
        pollfd set[] = {{t.to, POLLIN, 0}, {p.out, POLLIN, 0}};
        in_thread waiter([&] { return poll(set, 2, patience_ms); });
        waiter.until_asleep();
        if (by_pipe) EXPECT_EQ(write(p.in, "x", 1), 1);
        else send_text(t.from, "x");
        EXPECT_EQ(waiter.result(), 1);
        EXPECT_EQ(set[by_pipe ? 1 : 0].revents, POLLIN);
        char c;
        EXPECT_EQ(read(p.out, &c, 1), by_pipe ? 1 : -1);
    }
}

TEST_P(polling, a_pipe_that_hangs_up_beside_a_socket) {
    const descriptor s = bound(family());
    pipe_ends p;
    pollfd set[] = {{s, POLLIN, 0}, {p.out, POLLIN, 0}};
    in_thread waiter([&] { return poll(set, 2, patience_ms); });
    waiter.until_asleep();
    p.in.reset();
    EXPECT_EQ(waiter.result(), 1);
    EXPECT_EQ(set[0].revents, 0);
    EXPECT_EQ(set[1].revents, POLLHUP);
}

TEST_P(polling, closing_the_descriptor_does_not_end_the_wait) {
    two t(family());
    const name at = local_name(t.to);
    pollfd p{t.to, POLLIN, 0};
    in_thread waiter([&] { return poll(&p, 1, patience_ms); });
    waiter.until_asleep();
    t.to.reset();
    EXPECT_FALSE(waiter.returns_within(milliseconds(quiet_ms)));
    EXPECT_FALSE(is_free(at));  // who waits holds the file
    send_text(t.from, "x");
    EXPECT_EQ(waiter.result(), 1);
    // Woken, Linux looks the number up again and finds it closed (fs/select.c, do_pollfd). The stack goes on looking at
    // the file that it has: nobody can rely on a number that another thread may have given a new meaning.
    EXPECT_EQ(p.revents, numbers_are_the_stacks() ? POLLIN : POLLNVAL);
    EXPECT_TRUE(is_free(at));
}

// ---- Signals --------------------------------------------------------------------------------------------------------

TEST_P(polling, a_signal_interrupts_it) {
    const descriptor s = bound(family());
    // poll is never begun again, whatever the handler's flags (signal(7)).
    for (const int flags : {0, SA_RESTART}) {
        const counted_signal usr1(flags);
        pollfd p{s, POLLIN, 99};
        in_thread waiter([&] { return poll(&p, 1, patience_ms); });
        waiter.until_asleep();
        waiter.kill(SIGUSR1);
        EXPECT_EQ(waiter.result(), -1);
        EXPECT_EQ(waiter.error(), EINTR);
        EXPECT_EQ(usr1.count(), 1);
    }
}

TEST_P(polling, a_signal_interrupts_it_among_other_files) {
    const descriptor s = bound(family());
    const pipe_ends p;
    const counted_signal usr1(SA_RESTART);
    pollfd set[] = {{s, POLLIN, 0}, {p.out, POLLIN, 0}};
    in_thread waiter([&] { return poll(set, 2, patience_ms); });
    waiter.until_asleep();
    waiter.kill(SIGUSR1);
    EXPECT_EQ(waiter.result(), -1);
    EXPECT_EQ(waiter.error(), EINTR);
}

TEST_P(polling, ppoll_times) {
    const descriptor s = bound(family());
    pollfd p{s, POLLIN, 0};
    const timespec time{0, 30'000'000};
    const stopwatch watch;
    EXPECT_EQ(ppoll(&p, 1, &time, nullptr), 0);
    EXPECT_GE(watch.elapsed(), 30ms);
    EXPECT_EQ(time.tv_nsec, 30'000'000);
    const timespec none{0, 0};
    EXPECT_EQ(ppoll(&p, 1, &none, nullptr), 0);
    for (const timespec wrong : {timespec{0, 1'000'000'000}, timespec{0, -1}, timespec{-1, 0}})
        expect_errno(ppoll(&p, 1, &wrong, nullptr), EINVAL);
}

TEST_P(polling, ppoll_waits_without_end) {
    const two t(family());
    pollfd p{t.to, POLLIN, 0};
    in_thread waiter([&] { return ppoll(&p, 1, nullptr, nullptr); });
    waiter.until_asleep();
    send_text(t.from, "x");
    EXPECT_EQ(waiter.result(), 1);
}

TEST_P(polling, ppoll_lets_a_pending_signal_through) {
    const descriptor s = bound(family());
    const counted_signal usr1;
    const blocked_signal outside;
    raise(SIGUSR1);
    EXPECT_EQ(usr1.count(), 0);
    pollfd p{s, POLLIN, 0};
    const timespec time{patience_ms / 1000, 0};
    expect_errno(ppoll(&p, 1, &time, &outside.before()), EINTR);
    EXPECT_EQ(usr1.count(), 1);
    EXPECT_TRUE(usr1_is_blocked());
}

TEST_P(polling, ppoll_lets_a_signal_through_while_it_sleeps) {
    const descriptor s = bound(family());
    const counted_signal usr1;
    const blocked_signal outside;  // inherited by the thread
    pollfd p{s, POLLIN, 0};
    bool blocked_again = false;
    in_thread waiter([&] {
        const int r = ppoll(&p, 1, nullptr, &outside.before());
        const int code = errno;
        blocked_again = usr1_is_blocked();
        errno = code;
        return r;
    });
    waiter.until_asleep();
    waiter.kill(SIGUSR1);
    EXPECT_EQ(waiter.result(), -1);
    EXPECT_EQ(waiter.error(), EINTR);
    EXPECT_TRUE(blocked_again);
    EXPECT_EQ(usr1.count(), 1);
}

TEST_P(polling, ppoll_keeps_a_signal_away) {
    const descriptor s = bound(family());
    const counted_signal usr1;
    pollfd p{s, POLLIN, 0};
    const sigset_t mask = only_usr1();
    int during = -1;
    in_thread waiter([&] {
        const timespec time{0, 2 * quiet_ms * 1'000'000L};
        const int r = ppoll(&p, 1, &time, &mask);
        during = usr1.count();
        return r;
    });
    waiter.until_asleep();
    waiter.kill(SIGUSR1);
    EXPECT_EQ(waiter.result(), 0);
    EXPECT_EQ(during, 1);  // delivered when the mask is what it was, before the call returns to the program
    EXPECT_EQ(usr1.count(), 1);
}

}  // namespace skua::test
