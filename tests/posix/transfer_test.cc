// Datagrams: lengths, flags, gathered and scattered parts, many at a time.
#include <netinet/udp.h>

#include <algorithm>
#include <cstring>

#include "posix/posix.hh"

namespace skua::test {

namespace {

std::string pattern(std::size_t n) {
    std::string s(n, '\0');
    for (std::size_t i = 0; i < n; i++) s[i] = static_cast<char>('a' + i * 7 % 26);
    return s;
}

}  // namespace

class transfer : public for_each_family {
protected:
    transfer() : pair_(GetParam()) {}
    void deliver_all(std::initializer_list<std::string_view> texts) {
        for (const auto t : texts) send_text(pair_.from, t);
        settle(pair_.from);
    }
    two pair_;
    char room_[64] = {};
};
INSTANTIATE_TEST_SUITE_P(over, transfer, testing::Values(AF_INET, AF_INET6), family_name);

TEST_P(transfer, of_every_length) {
    for (const std::size_t n : {0, 1, 100, 1472, 1473, 9000, 65000, 65507}) {
        const std::string text = pattern(n);
        send_text(pair_.from, text);
        EXPECT_EQ(receive(pair_.to), text) << n;
    }
}

TEST_P(transfer, of_too_much) {
    const std::string text = pattern(65536);
    expect_errno(send(pair_.from, text.data(), text.size(), 0), EMSGSIZE);
    const std::size_t longest = family() == AF_INET ? 65507 : 65527;
    expect_errno(send(pair_.from, text.data(), longest + 1, 0), EMSGSIZE);
    EXPECT_EQ(send(pair_.from, text.data(), longest, 0), static_cast<ssize_t>(longest));
}

TEST_P(transfer, in_order) {
    for (int i = 0; i < 50; i++) send_text(pair_.from, std::to_string(i));
    for (int i = 0; i < 50; i++) EXPECT_EQ(receive(pair_.to), std::to_string(i));
}

TEST_P(transfer, tells_the_sender) {
    deliver(pair_.from, "x");
    name from;
    ASSERT_EQ(recvfrom(pair_.to, room_, sizeof room_, 0, from, &from.length), 1);
    EXPECT_EQ(from, local_name(pair_.from));
    EXPECT_EQ(from.length, loopback(family()).length);
}

TEST_P(transfer, peek_leaves_it) {
    deliver(pair_.from, "hello");
    for (int i = 0; i < 2; i++) {
        name from;
        ASSERT_EQ(recvfrom(pair_.to, room_, sizeof room_, MSG_PEEK, from, &from.length), 5);
        EXPECT_EQ(from, local_name(pair_.from));
    }
    EXPECT_EQ(recv(pair_.to, room_, 2, MSG_PEEK), 2);
    EXPECT_EQ(receive(pair_.to), "hello");
}

TEST_P(transfer, the_rest_is_lost) {
    deliver_all({"hello", "next"});
    EXPECT_EQ(recv(pair_.to, room_, 2, 0), 2);
    EXPECT_EQ(std::string(room_, 2), "he");
    EXPECT_EQ(receive(pair_.to), "next");
}

TEST_P(transfer, trunc_tells_the_whole_length) {
    deliver_all({"hello", "next"});
    EXPECT_EQ(recv(pair_.to, room_, 2, MSG_PEEK | MSG_TRUNC), 5);
    EXPECT_EQ(recv(pair_.to, nullptr, 0, MSG_PEEK | MSG_TRUNC), 5);
    EXPECT_EQ(recv(pair_.to, room_, 2, MSG_TRUNC), 5);
    EXPECT_EQ(receive(pair_.to), "next");
}

TEST_P(transfer, recvmsg_tells_what_was_cut) {
    deliver_all({"hello", "hi"});
    iovec part{room_, 3};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    EXPECT_EQ(recvmsg(pair_.to, &message, 0), 3);
    EXPECT_EQ(message.msg_flags & MSG_TRUNC, MSG_TRUNC);
    EXPECT_EQ(recvmsg(pair_.to, &message, 0), 2);
    EXPECT_EQ(message.msg_flags & MSG_TRUNC, 0);
}

TEST_P(transfer, gathered_and_scattered) {
    char a[] = "gath", b[] = "ered";
    iovec out[3] = {{a, 4}, {nullptr, 0}, {b, 4}};
    msghdr message{};
    message.msg_iov = out;
    message.msg_iovlen = 3;
    EXPECT_EQ(sendmsg(pair_.from, &message, 0), 8);
    ASSERT_TRUE(comes(pair_.to, POLLIN));
    iovec in[2] = {{room_, 3}, {room_ + 32, 20}};
    name from;
    message = {};
    message.msg_iov = in;
    message.msg_iovlen = 2;
    message.msg_name = static_cast<sockaddr*>(from);
    message.msg_namelen = from.length;
    EXPECT_EQ(recvmsg(pair_.to, &message, 0), 8);
    EXPECT_EQ(std::string(room_, 3), "gat");
    EXPECT_EQ(std::string(room_ + 32, 5), "hered");
    EXPECT_EQ(from, local_name(pair_.from));
    EXPECT_EQ(message.msg_namelen, loopback(family()).length);
}

TEST_P(transfer, sendmsg_with_a_name) {
    const descriptor s = udp(family());
    name to = local_name(pair_.to);
    char c = 'x';
    iovec part{&c, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    expect_errno(sendmsg(s, &message, 0), EDESTADDRREQ);
    message.msg_name = static_cast<sockaddr*>(to);
    message.msg_namelen = to.length;
    EXPECT_EQ(sendmsg(s, &message, 0), 1);
    EXPECT_EQ(receive(pair_.to), "x");
}

TEST_P(transfer, many_at_a_time) {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < 20; i++) texts.push_back(pattern(i));
    std::vector<iovec> parts(20);
    std::vector<mmsghdr> messages(20);
    for (std::size_t i = 0; i < 20; i++) {
        parts[i] = {texts[i].data(), texts[i].size()};
        messages[i] = {};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    EXPECT_EQ(sendmmsg(pair_.from, messages.data(), 20, 0), 20);
    for (unsigned i = 0; i < 20; i++) EXPECT_EQ(messages[i].msg_len, i);
    std::vector<std::string> rooms(20, std::string(64, '\0'));
    for (std::size_t i = 0; i < 20; i++) parts[i] = {rooms[i].data(), 64};
    EXPECT_EQ(recvmmsg(pair_.to, messages.data(), 20, 0, nullptr), 20);
    for (std::size_t i = 0; i < 20; i++) EXPECT_EQ(rooms[i].substr(0, messages[i].msg_len), texts[i]);
}

TEST_P(transfer, sendmmsg_stops_at_the_first_that_fails) {
    std::string text = pattern(70000);
    iovec good{text.data(), 5}, bad{text.data(), text.size()};
    mmsghdr messages[3]{};
    for (auto& m : messages) {
        m.msg_hdr.msg_iov = &good;
        m.msg_hdr.msg_iovlen = 1;
    }
    messages[1].msg_hdr.msg_iov = &bad;
    EXPECT_EQ(sendmmsg(pair_.from, messages, 3, 0), 1);
    expect_errno(sendmmsg(pair_.from, messages + 1, 2, 0), EMSGSIZE);
    EXPECT_EQ(sendmmsg(pair_.from, messages, 0, 0), 0);
    EXPECT_EQ(receive(pair_.to), text.substr(0, 5));
    EXPECT_EQ(events_now(pair_.to, POLLIN), 0);
}

TEST_P(transfer, recvmmsg_takes_what_is_there) {
    deliver_all({"a", "bb"});
    iovec part{room_, sizeof room_};
    mmsghdr messages[4]{};
    for (auto& m : messages) {
        m.msg_hdr.msg_iov = &part;
        m.msg_hdr.msg_iovlen = 1;
    }
    EXPECT_EQ(recvmmsg(pair_.to, messages, 4, MSG_DONTWAIT, nullptr), 2);
    EXPECT_EQ(messages[0].msg_len, 1u);
    EXPECT_EQ(messages[1].msg_len, 2u);
    expect_errno(recvmmsg(pair_.to, messages, 4, MSG_DONTWAIT, nullptr), EAGAIN);
    EXPECT_EQ(recvmmsg(pair_.to, messages, 0, MSG_DONTWAIT, nullptr), 0);
    timespec wrong{0, 1'000'000'000};
    expect_errno(recvmmsg(pair_.to, messages, 4, 0, &wrong), EINVAL);
}

TEST_P(transfer, out_of_band_there_is_none) {
    const ssize_t sent = send(pair_.from, "x", 1, MSG_OOB);
    // Linux asks in udp_sendmsg only: over IPv6 the flag is passed over.
    if (family() == AF_INET) expect_errno(sent, EOPNOTSUPP);
    else EXPECT_EQ(sent, 1);
}

TEST(mapped_transfer, out_of_band_there_is_none) {
    const descriptor to = bound(AF_INET), from = udp(AF_INET6);
    const name mapped = make_name("::ffff:127.0.0.1", local_name(to).port());
    expect_errno(sendto(from, "x", 1, MSG_OOB, mapped, mapped.length), EOPNOTSUPP);
    EXPECT_EQ(sendto(from, "x", 1, 0, mapped, mapped.length), 1);
    EXPECT_EQ(receive(to), "x");
}

TEST_P(transfer, after_shutdown) {
    granted(shutdown(pair_.from, SHUT_WR));
    const counted_signal usr1;
    expect_errno(send(pair_.from, "x", 1, MSG_NOSIGNAL), EPIPE);
    expect_errno(send(pair_.from, "x", 1, 0), EPIPE);  // no SIGPIPE for datagrams
    send_text(pair_.to, "back", local_name(pair_.from));
    EXPECT_EQ(receive(pair_.from), "back");
}

TEST_P(transfer, to_itself) {
    const descriptor s = bound(family());
    const name at = local_name(s);
    send_text(s, "x", at);
    EXPECT_EQ(receive(s), "x");
}

TEST_P(transfer, a_full_buffer_drops_the_newest) {
    set_option(pair_.to, SOL_SOCKET, SO_RCVBUF, 8192);
    const std::string text = pattern(1000);
    for (int i = 0; i < 100; i++) send_text(pair_.from, text);
    settle(pair_.from);
    int n = 0;
    while (recv(pair_.to, room_, sizeof room_, MSG_DONTWAIT) >= 0) n++;
    EXPECT_GT(n, 1);
    EXPECT_LT(n, 50);
    send_text(pair_.from, "later");
    EXPECT_EQ(receive(pair_.to), "later");
}

// ---- One datagram of several messages -------------------------------------------------------------------------------

TEST_P(transfer, more_joins_messages) {
    EXPECT_EQ(send(pair_.from, "ab", 2, MSG_MORE), 2);
    EXPECT_EQ(send(pair_.from, "cd", 2, MSG_MORE), 2);
    std::this_thread::sleep_for(milliseconds(quiet_ms));
    EXPECT_EQ(events_now(pair_.to, POLLIN), 0);
    EXPECT_EQ(send(pair_.from, "ef", 2, 0), 2);
    EXPECT_EQ(receive(pair_.to), "abcdef");
    deliver(pair_.from, "by itself");
    EXPECT_EQ(receive(pair_.to), "by itself");
}

TEST_P(transfer, the_first_of_joined_messages_says_where_to) {
    const descriptor from = udp(family()), other = bound(family());
    const name to = local_name(pair_.to), elsewhere = local_name(other);
    EXPECT_EQ(sendto(from, "ab", 2, MSG_MORE, to, to.length), 2);
    EXPECT_EQ(sendto(from, "cd", 2, 0, elsewhere, elsewhere.length), 2);
    EXPECT_EQ(events_now(other, POLLIN), 0);
    const name stranger = local_name(from);
    name said;
    ASSERT_TRUE(comes(pair_.to, POLLIN));
    EXPECT_EQ(recvfrom(pair_.to, room_, sizeof room_, 0, said, &said.length), 4);
    EXPECT_EQ(said.port(), stranger.port());
}

TEST_P(transfer, cork_holds_until_it_is_drawn) {
    set_option(pair_.from, IPPROTO_UDP, UDP_CORK, 1);
    send_text(pair_.from, "12");
    send_text(pair_.from, "34");
    std::this_thread::sleep_for(milliseconds(quiet_ms));
    EXPECT_EQ(events_now(pair_.to, POLLIN), 0);
    set_option(pair_.from, IPPROTO_UDP, UDP_CORK, 0);
    EXPECT_EQ(receive(pair_.to), "1234");
    set_option(pair_.from, IPPROTO_UDP, UDP_CORK, 0);  // nothing is held
    deliver(pair_.from, "5");
    EXPECT_EQ(receive(pair_.to), "5");
}

TEST_P(transfer, joined_messages_that_grow_too_long_are_thrown_away) {
    const std::string text = pattern(65000);
    EXPECT_EQ(send(pair_.from, text.data(), text.size(), MSG_MORE), static_cast<ssize_t>(text.size()));
    expect_errno(send(pair_.from, text.data(), 600, 0), EMSGSIZE);
    deliver(pair_.from, "new");
    EXPECT_EQ(receive(pair_.to), "new");
}

}  // namespace skua::test
