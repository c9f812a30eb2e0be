// epoll sets in epoll sets.
#include "posix/posix.hh"

namespace skua::test {

namespace {

int put(int outer, int inner, std::uint32_t events = EPOLLIN) {
    epoll_event e{events, {}};
    e.data.u64 = static_cast<std::uint64_t>(inner);
    return epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e);
}

std::vector<descriptor> sets(int n) {
    std::vector<descriptor> made;
    for (int i = 0; i < n; i++) made.push_back(make_epoll());
    return made;
}

}  // namespace

class epoll_nested : public for_each_family {
protected:
    epoll_nested() : pair_(GetParam()), inner_(make_epoll()), outer_(make_epoll()) {}
    two pair_;
    descriptor inner_, outer_;
};
INSTANTIATE_TEST_SUITE_P(over, epoll_nested, testing::Values(AF_INET, AF_INET6), family_name);

TEST_P(epoll_nested, readable_while_the_inner_set_has_events) {
    add(inner_, pair_.to, EPOLLIN);
    ASSERT_EQ(put(outer_, inner_), 0);
    EXPECT_EQ(one_event(outer_, 0), 0u);
    send_text(pair_.from, "x");
    EXPECT_EQ(one_event(outer_), EPOLLIN);
    EXPECT_EQ(one_event(outer_), EPOLLIN);
    EXPECT_EQ(one_event(inner_), EPOLLIN);
    EXPECT_EQ(receive(pair_.to), "x");
    EXPECT_EQ(one_event(outer_, 0), 0u);
}

TEST_P(epoll_nested, an_inner_set_that_is_ready_when_added) {
    add(inner_, pair_.to, EPOLLOUT);
    ASSERT_EQ(put(outer_, inner_), 0);
    EXPECT_EQ(one_event(outer_, 0), EPOLLIN);
}

TEST_P(epoll_nested, wakes_through_two_sets) {
    const descriptor top = make_epoll();
    ASSERT_EQ(put(outer_, inner_), 0);
    ASSERT_EQ(put(top, outer_), 0);
    add(inner_, pair_.to, EPOLLIN);
    in_thread waiter([&] {
        epoll_event e;
        return epoll_wait(top, &e, 1, patience_ms);
    });
    waiter.until_asleep();
    send_text(pair_.from, "x");
    EXPECT_EQ(waiter.result(), 1);
}

TEST_P(epoll_nested, wakes_poll_through_two_sets) {
    ASSERT_EQ(put(outer_, inner_), 0);
    add(inner_, pair_.to, EPOLLIN);
    pollfd p{outer_, POLLIN, 0};
    in_thread waiter([&] { return poll(&p, 1, patience_ms); });
    waiter.until_asleep();
    send_text(pair_.from, "x");
    EXPECT_EQ(waiter.result(), 1);
    EXPECT_EQ(p.revents, POLLIN);
}

TEST_P(epoll_nested, an_edge_of_the_outer_set) {
    add(inner_, pair_.to, EPOLLIN);
    ASSERT_EQ(put(outer_, inner_, EPOLLIN | EPOLLET), 0);
    send_text(pair_.from, "x");
    EXPECT_EQ(one_event(outer_), EPOLLIN);
    EXPECT_EQ(one_event(outer_, quiet_ms), 0u);
    EXPECT_EQ(one_event(inner_), EPOLLIN);
    EXPECT_EQ(receive(pair_.to), "x");
    EXPECT_TRUE(wait(inner_, 0).empty());
    send_text(pair_.from, "x");
    EXPECT_EQ(one_event(outer_), EPOLLIN);
}

TEST_P(epoll_nested, an_edge_of_the_inner_set) {
    add(inner_, pair_.to, EPOLLIN | EPOLLET);
    ASSERT_EQ(put(outer_, inner_), 0);
    send_text(pair_.from, "x");
    EXPECT_EQ(one_event(outer_), EPOLLIN);
    EXPECT_EQ(one_event(outer_, 0), EPOLLIN);
    EXPECT_EQ(one_event(inner_), EPOLLIN);
    EXPECT_EQ(one_event(outer_, 0), 0u);
}

TEST_P(epoll_nested, one_shot_of_the_outer_set) {
    add(inner_, pair_.to, EPOLLIN);
    ASSERT_EQ(put(outer_, inner_, EPOLLIN | EPOLLONESHOT), 0);
    send_text(pair_.from, "x");
    EXPECT_EQ(one_event(outer_), EPOLLIN);
    EXPECT_EQ(one_event(outer_, 0), 0u);
    modify(outer_, inner_, EPOLLIN);
    EXPECT_EQ(one_event(outer_, 0), EPOLLIN);
}

TEST_P(epoll_nested, sets_are_readable_only) {
    add(inner_, pair_.to, EPOLLOUT);
    ASSERT_EQ(put(outer_, inner_, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP), 0);
    EXPECT_EQ(one_event(outer_, 0), EPOLLIN);
}

TEST_P(epoll_nested, errors_of_a_socket_make_the_inner_set_readable) {
    const descriptor s = connected_to_nobody(family());
    add(inner_, s, 0);
    ASSERT_EQ(put(outer_, inner_), 0);
    send_text(s, "x");
    EXPECT_EQ(one_event(outer_), EPOLLIN);
    EXPECT_EQ(one_event(inner_), EPOLLERR);
}

TEST_P(epoll_nested, sockets_beside_sets) {
    const two other(family());
    add(inner_, pair_.to, EPOLLIN, 1);
    ASSERT_EQ(put(outer_, inner_), 0);
    add(outer_, other.to, EPOLLIN, 12345);
    deliver(other.from, "x");
    auto events = wait(outer_);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].data.u64, 12345u);
    deliver(pair_.from, "x");
    EXPECT_EQ(wait(outer_).size(), 2u);
}

TEST_P(epoll_nested, a_socket_in_both_sets) {
    add(inner_, pair_.to, EPOLLIN);
    add(outer_, pair_.to, EPOLLIN, 1);
    ASSERT_EQ(put(outer_, inner_), 0);
    deliver(pair_.from, "x");
    EXPECT_EQ(wait(outer_).size(), 2u);
}

TEST_P(epoll_nested, the_last_close_of_the_inner_set_takes_it_out) {
    add(inner_, pair_.to, EPOLLOUT);
    ASSERT_EQ(put(outer_, inner_), 0);
    descriptor copy(granted(dup(inner_)));
    inner_.reset();
    EXPECT_EQ(one_event(outer_, 0), EPOLLIN);
    copy.reset();
    EXPECT_EQ(one_event(outer_, 0), 0u);
}

TEST_P(epoll_nested, sockets_close_below_a_nest) {
    add(inner_, pair_.to, EPOLLIN);
    ASSERT_EQ(put(outer_, inner_), 0);
    deliver(pair_.from, "x");
    pair_.to.reset();
    EXPECT_EQ(one_event(outer_, 0), 0u);
}

TEST(epoll_nests, do_not_go_round) {
    const auto s = sets(3);
    ASSERT_EQ(put(s[0], s[1]), 0);
    expect_errno(put(s[1], s[0]), ELOOP);
    ASSERT_EQ(put(s[1], s[2]), 0);
    expect_errno(put(s[2], s[0]), ELOOP);
    expect_errno(put(s[2], s[1]), ELOOP);
    expect_errno(put(s[2], s[2]), EINVAL);
    ASSERT_EQ(put(s[0], s[2]), 0);  // a diamond is none
}

TEST(epoll_nests, may_close_and_be_tied_the_other_way) {
    const auto s = sets(2);
    ASSERT_EQ(put(s[0], s[1]), 0);
    granted(epoll_ctl(s[0], EPOLL_CTL_DEL, s[1], nullptr));
    EXPECT_EQ(put(s[1], s[0]), 0);
}

TEST(epoll_nests, are_five_deep_built_from_the_bottom) {
    const auto s = sets(6);
    for (std::size_t i = 0; i < 4; i++) ASSERT_EQ(put(s[i + 1], s[i]), 0) << i;
    expect_errno(put(s[5], s[4]), ELOOP);
}

TEST(epoll_nests, are_five_deep_built_from_the_top) {
    const auto s = sets(6);
    for (std::size_t i = 0; i < 4; i++) ASSERT_EQ(put(s[i], s[i + 1]), 0) << i;
    expect_errno(put(s[4], s[5]), ELOOP);
}

TEST(epoll_nests, are_five_deep_joined_in_the_middle) {
    const auto s = sets(6);
    ASSERT_EQ(put(s[0], s[1]), 0);
    ASSERT_EQ(put(s[1], s[2]), 0);
    ASSERT_EQ(put(s[3], s[4]), 0);
    ASSERT_EQ(put(s[4], s[5]), 0);
    expect_errno(put(s[2], s[3]), ELOOP);
    ASSERT_EQ(put(s[1], s[3]), 0);
}

TEST(epoll_nests, with_a_socket_at_the_bottom_of_the_deepest) {
    const auto s = sets(5);
    for (std::size_t i = 0; i < 4; i++) ASSERT_EQ(put(s[i], s[i + 1]), 0);
    const two t(AF_INET);
    add(s[4], t.to, EPOLLIN);
    send_text(t.from, "x");
    EXPECT_EQ(one_event(s[0]), EPOLLIN);
}

TEST(epoll_nests, cannot_be_exclusive) {
    const auto s = sets(2);
    expect_errno(put(s[0], s[1], EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
}

}  // namespace skua::test
