// Calls that block: recv and its timeout, several readers, signals, shutdown and close meanwhile.
#include <memory>

#include "posix/posix.hh"

namespace skua::test {

class blocking : public for_each_family {
protected:
    blocking() : pair_(GetParam()) {}
    /// Receives one datagram into the byte `last_`.
    auto reader(int fd) {
        return std::make_unique<in_thread>([this, fd] { return recv(fd, &last_, 1, 0); });
    }
    two pair_;
    char last_ = 0;
};
INSTANTIATE_TEST_SUITE_P(over, blocking, testing::Values(AF_INET, AF_INET6), family_name);

TEST_P(blocking, recv_waits_for_a_datagram) {
    const auto r = reader(pair_.to);
    r->until_asleep();
    send_text(pair_.from, "a");
    EXPECT_EQ(r->result(), 1);
    EXPECT_EQ(last_, 'a');
}

TEST_P(blocking, recv_gives_up_after_its_timeout) {
    set_receive_timeout(pair_.to, 40ms);
    const stopwatch time;
    char c;
    expect_errno(recv(pair_.to, &c, 1, 0), EAGAIN);
    EXPECT_GE(time.elapsed(), 39ms);  // the kernel counts in ticks
}

TEST_P(blocking, the_timeout_is_shared_by_duplicates) {
    const descriptor copy(granted(dup(pair_.to)));
    set_receive_timeout(copy, 20ms);
    char c;
    expect_errno(recv(pair_.to, &c, 1, 0), EAGAIN);
}

TEST_P(blocking, no_waiting_when_told_so) {
    char c;
    expect_errno(recv(pair_.to, &c, 1, MSG_DONTWAIT), EAGAIN);
    granted(fcntl(pair_.to, F_SETFL, O_NONBLOCK));
    expect_errno(recv(pair_.to, &c, 1, 0), EAGAIN);
    expect_errno(recvfrom(pair_.to, &c, 1, 0, nullptr, nullptr), EAGAIN);
    iovec part{&c, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    expect_errno(recvmsg(pair_.to, &message, 0), EAGAIN);
    mmsghdr many{message, 0};
    expect_errno(recvmmsg(pair_.to, &many, 1, 0, nullptr), EAGAIN);
}

TEST_P(blocking, made_nonblocking_while_it_waits_it_goes_on) {
    const auto r = reader(pair_.to);
    r->until_asleep();
    granted(fcntl(pair_.to, F_SETFL, O_NONBLOCK));
    EXPECT_FALSE(r->returns_within(milliseconds(quiet_ms)));
    send_text(pair_.from, "a");
    EXPECT_EQ(r->result(), 1);
}

TEST_P(blocking, one_datagram_ends_one_recv_of_two) {
    set_receive_timeout(pair_.to, 1s);
    const auto a = reader(pair_.to), b = reader(pair_.to);
    a->until_asleep();
    b->until_asleep();
    send_text(pair_.from, "a");
    const ssize_t got[] = {a->result(), b->result()};
    EXPECT_EQ(got[0] + got[1], 0);  // 1 and -1
    EXPECT_EQ((got[0] < 0 ? a : b)->error(), EAGAIN);
}

TEST_P(blocking, each_of_many_readers_gets_one) {
    std::vector<std::unique_ptr<in_thread>> readers;
    for (int i = 0; i < 6; i++) readers.push_back(reader(pair_.to));
    for (auto& r : readers) r->until_asleep();
    for (int i = 0; i < 6; i++) send_text(pair_.from, "x");
    for (auto& r : readers) EXPECT_EQ(r->result(), 1);
    EXPECT_EQ(events_now(pair_.to, POLLIN), 0);
}

TEST_P(blocking, readers_of_duplicates_share_one_queue) {
    const descriptor copy(granted(dup(pair_.to)));
    const auto a = reader(pair_.to), b = reader(copy);
    a->until_asleep();
    b->until_asleep();
    send_text(pair_.from, "x");
    send_text(pair_.from, "x");
    EXPECT_EQ(a->result(), 1);
    EXPECT_EQ(b->result(), 1);
}

TEST_P(blocking, a_peeking_reader_leaves_it_to_the_other) {
    char peeked = 0;
    in_thread peeker([&] { return recv(pair_.to, &peeked, 1, MSG_PEEK); });
    peeker.until_asleep();
    send_text(pair_.from, "a");
    EXPECT_EQ(peeker.result(), 1);
    EXPECT_EQ(peeked, 'a');
    EXPECT_EQ(receive(pair_.to), "a");
}

TEST_P(blocking, send_to_and_fro_across_duplicates) {
    const descriptor copy(granted(dup(pair_.from)));
    send_text(copy, "hello");
    EXPECT_EQ(receive(pair_.to), "hello");
    const name back = local_name(copy);
    send_text(pair_.to, "back", back);
    EXPECT_EQ(receive(pair_.from), "back");
}

TEST_P(blocking, a_refusal_ends_recv) {
    const descriptor s = connected_to_nobody(family());
    const auto r = reader(s);
    r->until_asleep();
    send_text(s, "x");
    EXPECT_EQ(r->result(), -1);
    EXPECT_EQ(r->error(), ECONNREFUSED);
}

TEST_P(blocking, shutdown_ends_recv) {
    const auto r = reader(pair_.from);
    r->until_asleep();
    granted(shutdown(pair_.from, SHUT_RD));
    EXPECT_EQ(r->result(), 0);
}

TEST_P(blocking, shutdown_ends_recv_of_an_unconnected_socket) {
    const auto r = reader(pair_.to);
    r->until_asleep();
    expect_errno(shutdown(pair_.to, SHUT_RDWR), ENOTCONN);
    EXPECT_EQ(r->result(), 0);
}

TEST_P(blocking, shutdown_ends_every_recv) {
    const auto a = reader(pair_.from), b = reader(pair_.from);
    a->until_asleep();
    b->until_asleep();
    granted(shutdown(pair_.from, SHUT_RD));
    EXPECT_EQ(a->result(), 0);
    EXPECT_EQ(b->result(), 0);
}

TEST_P(blocking, shutdown_of_writing_lets_recv_wait) {
    set_receive_timeout(pair_.from, milliseconds(2 * quiet_ms));
    const auto r = reader(pair_.from);
    r->until_asleep();
    granted(shutdown(pair_.from, SHUT_WR));
    EXPECT_EQ(r->result(), -1);
    EXPECT_EQ(r->error(), EAGAIN);
}

TEST_P(blocking, queued_datagrams_come_before_the_end) {
    const descriptor s = bound(family());
    const name at = local_name(s);
    granted(connect(s, at, at.length));
    send_text(s, "a");
    ASSERT_TRUE(comes(s, POLLIN));
    granted(shutdown(s, SHUT_RD));
    char c = 0;
    EXPECT_EQ(recv(s, &c, 1, 0), 1);
    EXPECT_EQ(recv(s, &c, 1, 0), 0);
    expect_errno(recv(s, &c, 1, MSG_DONTWAIT), EAGAIN);
}

TEST_P(blocking, closing_the_descriptor_does_not_end_recv) {
    const name at = local_name(pair_.to);
    const auto r = reader(pair_.to);
    r->until_asleep();
    pair_.to.reset();
    EXPECT_FALSE(r->returns_within(milliseconds(quiet_ms)));
    EXPECT_FALSE(is_free(at));
    send_text(pair_.from, "a");
    EXPECT_EQ(r->result(), 1);
    EXPECT_EQ(last_, 'a');
    EXPECT_TRUE(is_free(at));
}

TEST_P(blocking, closing_the_descriptor_lets_the_timeout_run) {
    const name at = local_name(pair_.to);
    set_receive_timeout(pair_.to, milliseconds(2 * quiet_ms));
    const auto r = reader(pair_.to);
    r->until_asleep();
    pair_.to.reset();
    EXPECT_EQ(r->result(), -1);
    EXPECT_EQ(r->error(), EAGAIN);
    EXPECT_TRUE(is_free(at));
}

TEST_P(blocking, another_socket_under_the_number_of_one_that_is_read) {
    const int number = pair_.to;
    const auto r = reader(number);
    r->until_asleep();
    pair_.to.reset();
    const two fresh(family());
    ASSERT_EQ(fresh.to, number);
    deliver(fresh.from, "b");
    EXPECT_FALSE(r->returns_within(milliseconds(quiet_ms)));
    send_text(pair_.from, "a");
    EXPECT_EQ(r->result(), 1);
    EXPECT_EQ(last_, 'a');
    EXPECT_EQ(receive(fresh.to), "b");
}

TEST_P(blocking, dup2_over_a_descriptor_that_is_read) {
    const descriptor other = bound(family());
    const auto r = reader(pair_.to);
    r->until_asleep();
    ASSERT_EQ(dup2(other, pair_.to), pair_.to);
    EXPECT_FALSE(r->returns_within(milliseconds(quiet_ms)));
    send_text(pair_.from, "a");
    EXPECT_EQ(r->result(), 1);
}

TEST_P(blocking, a_signal_interrupts_recv) {
    const counted_signal usr1;
    const auto r = reader(pair_.to);
    r->until_asleep();
    r->kill(SIGUSR1);
    EXPECT_EQ(r->result(), -1);
    EXPECT_EQ(r->error(), EINTR);
    EXPECT_EQ(usr1.count(), 1);
}

TEST_P(blocking, recv_goes_on_after_a_handler_that_restarts) {
    const counted_signal usr1(SA_RESTART);
    const auto r = reader(pair_.to);
    for (int i = 1; i <= 3; i++) {
        r->until_asleep();
        r->kill(SIGUSR1);
        for (const stopwatch limit; usr1.count() < i && limit.elapsed() < patience;) std::this_thread::sleep_for(1ms);
    }
    EXPECT_FALSE(r->returns_within(milliseconds(quiet_ms)));
    send_text(pair_.from, "a");
    EXPECT_EQ(r->result(), 1);
    EXPECT_EQ(usr1.count(), 3);
}

TEST_P(blocking, recv_with_a_timeout_is_interrupted_in_any_case) {
    set_receive_timeout(pair_.to, patience);
    for (const int flags : {0, SA_RESTART}) {
        const counted_signal usr1(flags);
        const auto r = reader(pair_.to);
        r->until_asleep();
        r->kill(SIGUSR1);
        EXPECT_EQ(r->result(), -1);
        EXPECT_EQ(r->error(), EINTR);
    }
}

TEST_P(blocking, a_blocked_signal_does_not_interrupt) {
    const counted_signal usr1;
    const blocked_signal outside;  // inherited by the thread
    const auto r = reader(pair_.to);
    r->until_asleep();
    r->kill(SIGUSR1);
    EXPECT_FALSE(r->returns_within(milliseconds(quiet_ms)));
    send_text(pair_.from, "a");
    EXPECT_EQ(r->result(), 1);
    EXPECT_EQ(usr1.count(), 0);
}

TEST_P(blocking, readers_and_pollers_of_one_socket) {
    pollfd p{pair_.to, POLLIN, 0};
    in_thread poller([&] { return poll(&p, 1, patience_ms); });
    poller.until_asleep();
    const auto r = reader(pair_.to);
    r->until_asleep();
    send_text(pair_.from, "a");
    EXPECT_EQ(r->result(), 1);
    // The reader may have taken it before the other looked: then that one sleeps on.
    send_text(pair_.from, "b");
    EXPECT_EQ(poller.result(), 1);
}

TEST_P(blocking, recvmmsg_waits_for_the_first_only_if_told_so) {
    char data[3][4];
    iovec parts[3];
    mmsghdr messages[3]{};
    for (int i = 0; i < 3; i++) {
        parts[i] = {data[i], sizeof data[i]};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    in_thread r([&] { return recvmmsg(pair_.to, messages, 3, MSG_WAITFORONE, nullptr); });
    r.until_asleep();
    send_text(pair_.from, "one");
    EXPECT_EQ(r.result(), 1);
    in_thread all([&] { return recvmmsg(pair_.to, messages, 3, 0, nullptr); });
    all.until_asleep();
    send_text(pair_.from, "a");
    EXPECT_FALSE(all.returns_within(milliseconds(quiet_ms)));
    send_text(pair_.from, "bb");
    send_text(pair_.from, "ccc");
    EXPECT_EQ(all.result(), 3);
    for (unsigned i = 0; i < 3; i++) EXPECT_EQ(messages[i].msg_len, i + 1);
}

}  // namespace skua::test
