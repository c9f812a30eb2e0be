// epoll sets of sockets: calls and their errors, level and edge, one-shot, registrations and duplicates.
#include <algorithm>
#include <set>

#include "posix/posix.hh"

namespace skua::test {

namespace {

int control(int epfd, int operation, int fd, std::uint32_t events) {
    epoll_event e{events, {}};
    return epoll_ctl(epfd, operation, fd, &e);
}

}  // namespace

class epoll : public for_each_family {
protected:
    epoll() : pair_(GetParam()), epfd_(make_epoll()) {}
    /// A datagram for the watched socket.
    void arrive(std::string_view text = "x") { deliver(pair_.from, text); }

    two pair_;
    descriptor epfd_;
};
INSTANTIATE_TEST_SUITE_P(over, epoll, testing::Values(AF_INET, AF_INET6), family_name);

// ---- Calls and their errors -----------------------------------------------------------------------------------------

TEST(epoll_calls, create) {
    expect_errno(epoll_create(0), EINVAL);
    expect_errno(epoll_create(-1), EINVAL);
    EXPECT_GE(descriptor(epoll_create(1)), 0);
    EXPECT_GE(descriptor(epoll_create1(EPOLL_CLOEXEC)), 0);
    expect_errno(epoll_create1(1), EINVAL);
    expect_errno(epoll_create1(-1), EINVAL);
}

TEST_P(epoll, control_errors) {
    const int s = pair_.to, closed = lowest_free();
    expect_errno(control(closed, EPOLL_CTL_ADD, s, EPOLLIN), EBADF);
    expect_errno(control(-1, EPOLL_CTL_ADD, s, EPOLLIN), EBADF);
    expect_errno(control(epfd_, EPOLL_CTL_ADD, closed, EPOLLIN), EBADF);
    expect_errno(control(epfd_, EPOLL_CTL_ADD, -1, EPOLLIN), EBADF);
    expect_errno(control(epfd_, EPOLL_CTL_MOD, s, EPOLLIN), ENOENT);
    expect_errno(control(epfd_, EPOLL_CTL_DEL, s, EPOLLIN), ENOENT);
    EXPECT_EQ(control(epfd_, EPOLL_CTL_ADD, s, EPOLLIN), 0);
    expect_errno(control(epfd_, EPOLL_CTL_ADD, s, EPOLLIN), EEXIST);
    expect_errno(control(epfd_, 4, s, EPOLLIN), EINVAL);
    expect_errno(control(epfd_, 0, s, EPOLLIN), EINVAL);
    EXPECT_EQ(control(epfd_, EPOLL_CTL_DEL, s, 0), 0);
    expect_errno(control(epfd_, EPOLL_CTL_DEL, s, 0), ENOENT);
}

TEST_P(epoll, control_of_what_is_no_set) {
    const pipe_ends p;
    expect_errno(control(pair_.to, EPOLL_CTL_ADD, pair_.from, EPOLLIN), EINVAL);
    expect_errno(control(p.out, EPOLL_CTL_ADD, pair_.from, EPOLLIN), EINVAL);
    expect_errno(control(pair_.to, EPOLL_CTL_ADD, lowest_free(), EPOLLIN), EBADF);
}

TEST_P(epoll, a_set_cannot_hold_itself) {
    expect_errno(control(epfd_, EPOLL_CTL_ADD, epfd_, EPOLLIN), EINVAL);
    const descriptor copy(granted(dup(epfd_)));
    expect_errno(control(epfd_, EPOLL_CTL_ADD, copy, EPOLLIN), EINVAL);
}

TEST_P(epoll, a_missing_event) {
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_ADD, pair_.to, nullptr), EFAULT);
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_MOD, pair_.to, nullptr), EFAULT);
    add(epfd_, pair_.to, EPOLLIN);
    expect_errno(epoll_ctl(epfd_, EPOLL_CTL_MOD, pair_.to, nullptr), EFAULT);
    EXPECT_EQ(epoll_ctl(epfd_, EPOLL_CTL_DEL, pair_.to, nullptr), 0);
}

TEST_P(epoll, wait_errors) {
    epoll_event e;
    expect_errno(epoll_wait(epfd_, &e, 0, 0), EINVAL);
    expect_errno(epoll_wait(epfd_, &e, -1, 0), EINVAL);
    expect_errno(epoll_wait(-1, &e, 1, 0), EBADF);
    expect_errno(epoll_wait(lowest_free(), &e, 1, 0), EBADF);
    expect_errno(epoll_wait(pair_.to, &e, 1, 0), EINVAL);
    const pipe_ends p;
    expect_errno(epoll_wait(p.out, &e, 1, 0), EINVAL);
    expect_errno(epoll_pwait(epfd_, &e, 0, 0, nullptr), EINVAL);
    for (const timespec wrong : {timespec{0, 1'000'000'000}, timespec{0, -1}, timespec{-1, 0}})
        expect_errno(epoll_pwait2(epfd_, &e, 1, &wrong, nullptr), EINVAL);
}

TEST_P(epoll, exclusive_errors) {
    const int s = pair_.to;
    expect_errno(control(epfd_, EPOLL_CTL_ADD, s, EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE), EINVAL);
    expect_errno(control(epfd_, EPOLL_CTL_ADD, s, EPOLLIN | EPOLLRDHUP | EPOLLEXCLUSIVE), EINVAL);
    expect_errno(control(epfd_, EPOLL_CTL_ADD, s, EPOLLPRI | EPOLLEXCLUSIVE), EINVAL);
    expect_errno(control(epfd_, EPOLL_CTL_ADD, make_epoll(), EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
    EXPECT_EQ(control(epfd_, EPOLL_CTL_ADD, s, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLET | EPOLLEXCLUSIVE), 0);
    expect_errno(control(epfd_, EPOLL_CTL_MOD, s, EPOLLIN), EINVAL);
    expect_errno(control(epfd_, EPOLL_CTL_MOD, s, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
    EXPECT_EQ(control(epfd_, EPOLL_CTL_DEL, s, 0), 0);
    EXPECT_EQ(control(epfd_, EPOLL_CTL_ADD, s, EPOLLIN), 0);
    expect_errno(control(epfd_, EPOLL_CTL_MOD, s, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
}

// ---- Events ---------------------------------------------------------------------------------------------------------

TEST_P(epoll, a_fresh_socket_is_writable_only) {
    const descriptor s = udp(family());
    add(epfd_, s, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLOUT);
}

TEST_P(epoll, an_empty_set_reports_nothing) { EXPECT_TRUE(wait(epfd_, 0).empty()); }

TEST_P(epoll, level_triggered_reports_again_and_again) {
    add(epfd_, pair_.to, EPOLLIN);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
    arrive();
    for (int i = 0; i < 5; i++) EXPECT_EQ(one_event(epfd_), EPOLLIN);
    EXPECT_EQ(receive(pair_.to), "x");
    EXPECT_EQ(one_event(epfd_, 0), 0u);
}

TEST_P(epoll, what_is_ready_when_added_is_reported) {
    arrive();
    add(epfd_, pair_.to, EPOLLIN);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLIN);
}

TEST_P(epoll, the_data_comes_back) {
    const std::uint64_t data = 0xfedcba9876543210;
    add(epfd_, pair_.to, EPOLLIN | EPOLLOUT, data);
    auto events = wait(epfd_);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].data.u64, data);
    modify(epfd_, pair_.to, EPOLLOUT, 5);
    events = wait(epfd_);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].data.u64, 5u);
}

TEST_P(epoll, only_what_is_asked_for) {
    arrive();
    add(epfd_, pair_.to, EPOLLPRI);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
    modify(epfd_, pair_.to, EPOLLIN);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLIN);
    modify(epfd_, pair_.to, EPOLLOUT);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLOUT);
    modify(epfd_, pair_.to, EPOLLRDNORM | EPOLLWRNORM);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLRDNORM | EPOLLWRNORM);
    modify(epfd_, pair_.to, 0);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
}

TEST_P(epoll, no_event_after_removal) {
    add(epfd_, pair_.to, EPOLLIN);
    arrive();
    granted(control(epfd_, EPOLL_CTL_DEL, pair_.to, 0));
    EXPECT_EQ(one_event(epfd_, 0), 0u);
    add(epfd_, pair_.to, EPOLLIN);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLIN);
}

TEST_P(epoll, writable_all_the_time) {
    add(epfd_, pair_.from, EPOLLOUT);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(one_event(epfd_), EPOLLOUT);
        send_text(pair_.from, "x");
    }
}

TEST_P(epoll, errors_are_reported_unasked) {
    const descriptor s = connected_to_nobody(family());
    add(epfd_, s, 0);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
    send_text(s, "x");
    EXPECT_EQ(one_event(epfd_), EPOLLERR);
    EXPECT_EQ(one_event(epfd_), EPOLLERR);
    EXPECT_EQ(get_option(s, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
}

TEST_P(epoll, errors_with_what_is_asked_for) {
    const descriptor s = connected_to_nobody(family());
    send_text(s, "x");
    ASSERT_TRUE(comes(s, POLLERR));
    add(epfd_, s, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    EXPECT_EQ(one_event(epfd_), EPOLLERR | EPOLLOUT);
    char c;
    expect_errno(recv(s, &c, 1, 0), ECONNREFUSED);
    EXPECT_EQ(one_event(epfd_), EPOLLOUT);
}

TEST_P(epoll, hang_up_is_reported_unasked) {
    add(epfd_, pair_.from, 0);
    granted(shutdown(pair_.from, SHUT_RD));
    EXPECT_EQ(one_event(epfd_, 0), 0u);
    granted(shutdown(pair_.from, SHUT_WR));
    EXPECT_EQ(one_event(epfd_), EPOLLHUP);
}

TEST_P(epoll, shutdown_of_reading) {
    add(epfd_, pair_.from, EPOLLIN | EPOLLRDHUP);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
    granted(shutdown(pair_.from, SHUT_RD));
    EXPECT_EQ(one_event(epfd_), EPOLLIN | EPOLLRDHUP);
}

TEST_P(epoll, shutdown_of_writing) {
    add(epfd_, pair_.from, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    granted(shutdown(pair_.from, SHUT_WR));
    EXPECT_EQ(one_event(epfd_), EPOLLOUT);
}

TEST_P(epoll, shutdown_of_both) {
    add(epfd_, pair_.from, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    granted(shutdown(pair_.from, SHUT_RDWR));
    EXPECT_EQ(one_event(epfd_), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
}

TEST_P(epoll, shutdown_wakes_who_waits) {
    add(epfd_, pair_.from, EPOLLRDHUP);
    std::uint32_t events = 0;
    in_thread waiter([&] { return (events = one_event(epfd_)) != 0; });
    waiter.until_asleep();
    granted(shutdown(pair_.from, SHUT_RD));
    waiter.result();
    EXPECT_EQ(events, EPOLLRDHUP);
}

// ---- Edge-triggered and one-shot ------------------------------------------------------------------------------------

TEST_P(epoll, an_edge_is_reported_once) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLET);
    arrive();
    EXPECT_EQ(one_event(epfd_), EPOLLIN);
    EXPECT_EQ(one_event(epfd_, quiet_ms), 0u);
}

TEST_P(epoll, each_arrival_is_an_edge_though_nothing_is_read) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLET);
    for (int i = 0; i < 5; i++) {
        send_text(pair_.from, "x");
        EXPECT_EQ(one_event(epfd_), EPOLLIN);
        EXPECT_EQ(one_event(epfd_, 0), 0u);
    }
}

TEST_P(epoll, reading_a_part_makes_no_edge) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLET);
    arrive("one");
    arrive("two");
    EXPECT_EQ(one_event(epfd_), EPOLLIN);
    EXPECT_EQ(receive(pair_.to), "one");
    EXPECT_EQ(one_event(epfd_, quiet_ms), 0u);
    EXPECT_EQ(receive(pair_.to), "two");
    EXPECT_EQ(one_event(epfd_, 0), 0u);
}

TEST_P(epoll, an_edge_that_was_read_before_it_was_seen_is_none) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLET);
    arrive();
    EXPECT_EQ(receive(pair_.to), "x");
    EXPECT_EQ(one_event(epfd_, 0), 0u);
}

TEST_P(epoll, modifying_reports_the_edge_again) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLET);
    arrive();
    EXPECT_EQ(one_event(epfd_), EPOLLIN);
    modify(epfd_, pair_.to, EPOLLIN | EPOLLET);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLIN);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
}

TEST_P(epoll, from_edge_to_level_and_back) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLET);
    arrive();
    EXPECT_EQ(one_event(epfd_), EPOLLIN);
    modify(epfd_, pair_.to, EPOLLIN);
    for (int i = 0; i < 3; i++) EXPECT_EQ(one_event(epfd_, 0), EPOLLIN);
    modify(epfd_, pair_.to, EPOLLIN | EPOLLET);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLIN);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
}

TEST_P(epoll, a_writable_edge_once) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLOUT | EPOLLET);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLOUT);
    EXPECT_EQ(one_event(epfd_, quiet_ms), 0u);
    arrive();
    EXPECT_EQ(one_event(epfd_), EPOLLIN | EPOLLOUT);  // what is ready at the edge, not only what made it
    EXPECT_EQ(one_event(epfd_, 0), 0u);
}

TEST_P(epoll, an_error_is_an_edge) {
    const descriptor s = connected_to_nobody(family());
    add(epfd_, s, EPOLLET);
    send_text(s, "x");
    EXPECT_EQ(one_event(epfd_), EPOLLERR);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
}

TEST_P(epoll, one_shot_is_silent_until_modified) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLONESHOT);
    arrive();
    EXPECT_EQ(one_event(epfd_), EPOLLIN);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
    arrive();
    EXPECT_EQ(one_event(epfd_, quiet_ms), 0u);
    modify(epfd_, pair_.to, EPOLLIN | EPOLLONESHOT);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLIN);
    EXPECT_EQ(one_event(epfd_, 0), 0u);
}

TEST_P(epoll, one_shot_keeps_its_registration) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLONESHOT);
    arrive();
    EXPECT_EQ(one_event(epfd_), EPOLLIN);
    expect_errno(control(epfd_, EPOLL_CTL_ADD, pair_.to, EPOLLIN), EEXIST);
    EXPECT_EQ(control(epfd_, EPOLL_CTL_DEL, pair_.to, 0), 0);
}

TEST_P(epoll, a_spent_one_shot_hides_errors_too) {
    const descriptor s = connected_to_nobody(family());
    add(epfd_, s, EPOLLOUT | EPOLLONESHOT);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLOUT);
    send_text(s, "x");
    ASSERT_TRUE(comes(s, POLLERR));
    EXPECT_EQ(one_event(epfd_, quiet_ms), 0u);
    modify(epfd_, s, EPOLLONESHOT);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLERR);
}

TEST_P(epoll, one_shot_and_edge) {
    add(epfd_, pair_.to, EPOLLIN | EPOLLET | EPOLLONESHOT);
    arrive();
    EXPECT_EQ(one_event(epfd_), EPOLLIN);
    arrive();
    EXPECT_EQ(one_event(epfd_, quiet_ms), 0u);
    modify(epfd_, pair_.to, EPOLLIN | EPOLLET | EPOLLONESHOT);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLIN);
}

// ---- Many in one set ------------------------------------------------------------------------------------------------

TEST_P(epoll, no_more_events_than_there_is_room_for) {
    std::vector<descriptor> sockets;
    for (int i = 0; i < 5; i++) {
        sockets.push_back(udp(family()));
        add(epfd_, sockets.back(), EPOLLOUT);
    }
    EXPECT_EQ(wait(epfd_, 0, 3).size(), 3u);
    EXPECT_EQ(wait(epfd_, 0, 5).size(), 5u);
    EXPECT_EQ(wait(epfd_, 0, 100).size(), 5u);
}

TEST_P(epoll, each_gets_its_turn) {
    std::vector<descriptor> sockets;
    for (std::uint64_t i = 0; i < 3; i++) {
        sockets.push_back(udp(family()));
        add(epfd_, sockets.back(), EPOLLOUT, i);
    }
    for (int round = 0; round < 3; round++) {
        std::set<std::uint64_t> seen;
        for (int i = 0; i < 3; i++) {
            const auto events = wait(epfd_, 0, 1);
            ASSERT_EQ(events.size(), 1u);
            seen.insert(events[0].data.u64);
        }
        EXPECT_EQ(seen.size(), 3u);
    }
}

TEST_P(epoll, in_the_order_of_arrival) {
    std::vector<two> pairs;
    for (std::uint64_t i = 0; i < 4; i++) {
        pairs.emplace_back(family());
        add(epfd_, pairs.back().to, EPOLLIN, i);
    }
    for (const std::size_t i : {2, 0, 3, 1}) deliver(pairs[i].from, "x");
    std::vector<std::uint64_t> order;
    for (const auto& e : wait(epfd_)) order.push_back(e.data.u64);
    EXPECT_EQ(order, (std::vector<std::uint64_t>{2, 0, 3, 1}));
}

TEST_P(epoll, many_sockets_one_ready) {
    std::vector<two> pairs;
    for (std::uint64_t i = 0; i < 200; i++) {
        pairs.emplace_back(family());
        add(epfd_, pairs.back().to, EPOLLIN, i);
    }
    for (const std::size_t i : {0, 199, 77}) {
        send_text(pairs[i].from, "x");
        const auto events = wait(epfd_);
        ASSERT_EQ(events.size(), 1u);
        EXPECT_EQ(events[0].data.u64, i);
        EXPECT_EQ(receive(pairs[i].to), "x");
    }
}

TEST_P(epoll, one_socket_in_two_sets) {
    const descriptor other = make_epoll();
    add(epfd_, pair_.to, EPOLLIN);
    add(other, pair_.to, EPOLLIN | EPOLLET);
    arrive();
    EXPECT_EQ(one_event(epfd_), EPOLLIN);
    EXPECT_EQ(one_event(other), EPOLLIN);
    EXPECT_EQ(one_event(other, 0), 0u);
    EXPECT_EQ(one_event(epfd_, 0), EPOLLIN);
}

// ---- Duplicates and closing -----------------------------------------------------------------------------------------

TEST_P(epoll, a_file_under_two_numbers_is_registered_twice) {
    const descriptor copy(granted(dup(pair_.to)));
    add(epfd_, pair_.to, EPOLLIN, 1);
    add(epfd_, copy, EPOLLIN, 2);
    arrive();
    const auto events = wait(epfd_);
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[0].data.u64 + events[1].data.u64, 3u);
    granted(control(epfd_, EPOLL_CTL_DEL, copy, 0));
    EXPECT_EQ(wait(epfd_).size(), 1u);
    EXPECT_EQ(receive(copy), "x");
    EXPECT_TRUE(wait(epfd_, 0).empty());
}

TEST_P(epoll, a_registration_outlives_its_number) {
    const descriptor copy(granted(dup(pair_.to)));
    const int number = pair_.to;
    add(epfd_, pair_.to, EPOLLIN, 7);
    pair_.to.reset();
    send_text(pair_.from, "x");
    const auto events = wait(epfd_);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].data.u64, 7u);
    expect_errno(control(epfd_, EPOLL_CTL_DEL, number, 0), EBADF);
    expect_errno(control(epfd_, EPOLL_CTL_DEL, copy, 0), ENOENT);
    EXPECT_EQ(one_event(epfd_), EPOLLIN);
}

TEST_P(epoll, the_last_close_ends_the_registration) {
    descriptor copy(granted(dup(pair_.to)));
    add(epfd_, pair_.to, EPOLLIN, 1);
    add(epfd_, copy, EPOLLIN, 2);
    arrive();
    pair_.to.reset();
    EXPECT_EQ(wait(epfd_).size(), 2u);
    copy.reset();
    EXPECT_TRUE(wait(epfd_, 0).empty());
}

TEST_P(epoll, another_file_under_an_old_number) {
    const descriptor copy(granted(dup(pair_.to)));
    const int number = pair_.to;
    add(epfd_, number, EPOLLIN, 1);
    pair_.to.reset();
    const two fresh(family());
    ASSERT_EQ(fresh.to, number);
    expect_errno(control(epfd_, EPOLL_CTL_MOD, number, EPOLLIN), ENOENT);
    add(epfd_, number, EPOLLIN, 2);
    deliver(fresh.from, "x");
    auto events = wait(epfd_);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].data.u64, 2u);
    deliver(pair_.from, "x");
    EXPECT_EQ(wait(epfd_).size(), 2u);
}

TEST_P(epoll, dup2_over_a_registered_number_ends_its_registration) {
    add(epfd_, pair_.to, EPOLLIN);
    arrive();
    const descriptor other = bound(family());
    ASSERT_EQ(dup2(other, pair_.to), pair_.to);
    EXPECT_TRUE(wait(epfd_, 0).empty());
    expect_errno(control(epfd_, EPOLL_CTL_DEL, pair_.to, 0), ENOENT);
}

TEST_P(epoll, duplicates_of_the_set_are_one_set) {
    const descriptor copy(granted(dup(epfd_)));
    add(copy, pair_.to, EPOLLIN);
    expect_errno(control(epfd_, EPOLL_CTL_ADD, pair_.to, EPOLLIN), EEXIST);
    arrive();
    EXPECT_EQ(one_event(epfd_), EPOLLIN);
    epfd_.reset();
    EXPECT_EQ(one_event(copy), EPOLLIN);
}

TEST_P(epoll, a_closed_set_lets_its_sockets_be) {
    add(epfd_, pair_.to, EPOLLIN);
    epfd_.reset();
    arrive();
    EXPECT_EQ(receive(pair_.to), "x");
}

TEST_P(epoll, sets_and_sockets_close_in_any_order) {
    for (int i = 0; i < 100; i++) {
        two t(family());
        descriptor set = make_epoll(), other = make_epoll();
        add(set, t.to, EPOLLIN);
        add(other, t.to, EPOLLIN | EPOLLEXCLUSIVE);
        send_text(t.from, "x");
        if (i % 2 == 0) t.to.reset();
        set.reset();
    }
    const name at = local_name(pair_.to);
    add(epfd_, pair_.to, EPOLLIN);
    pair_.to.reset();
    EXPECT_TRUE(is_free(at));  // a set does not hold its files
}

}  // namespace skua::test
