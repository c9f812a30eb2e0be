// Messages with descriptors: whole ones, and those that are not.
#include "attach/channel.hh"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace skua::attach {
namespace {

class channel : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_.data()), 0);
        const int much = 1 << 20;
        setsockopt(ends_[0], SOL_SOCKET, SO_SNDBUF, &much, sizeof much);
    }
    void TearDown() override {
        for (const int fd : ends_)
            if (fd >= 0) close(fd);
    }
    /// Sends bytes with so many descriptors of /dev/null.
    void send_with(std::size_t size, std::size_t descriptors) {
        std::vector<std::byte> bytes(size, std::byte{'x'});
        iovec part{bytes.data(), bytes.size()};
        msghdr m{};
        m.msg_iov = &part;
        m.msg_iovlen = 1;
        const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        std::vector<std::byte> control(CMSG_SPACE(descriptors * sizeof(int)));
        m.msg_control = control.data();
        m.msg_controllen = control.size();
        auto* const c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
        for (std::size_t i = 0; i < descriptors; i++) std::memcpy(CMSG_DATA(c) + i * sizeof null, &null, sizeof null);
        ASSERT_EQ(sendmsg(ends_[0], &m, 0), static_cast<ssize_t>(size));
        close(null);
    }
    std::array<int, 2> ends_{-1, -1};
};

TEST_F(channel, head_body_and_descriptors_come_as_one) {
    const std::uint32_t head = 7;
    const std::vector<std::byte> body(longest_body, std::byte{1});
    ASSERT_TRUE(send_message(ends_[0], bytes_of(head), body, std::array{ends_[0], ends_[1]}));
    auto got = receive_message(ends_[1]);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->bytes.size(), sizeof head + body.size());
    ASSERT_EQ(got->descriptors.size(), 2u);
    EXPECT_NE(fcntl(got->descriptors[0], F_GETFD) & FD_CLOEXEC, 0);
    const int taken = got->take(1);
    EXPECT_EQ(got->take(1), -1);
    EXPECT_EQ(got->take(2), -1);
    const int other = got->descriptors[0];
    got = message();
    EXPECT_EQ(fcntl(other, F_GETFD), -1);
    EXPECT_EQ(close(taken), 0);
}

TEST_F(channel, too_long_a_message_is_told_of_and_gives_its_descriptors) {
    send_with(sizeof(request_header) + longest_body + 1, 1);
    message got;
    const auto done = receive_message(ends_[1], got, 0);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, EMSGSIZE);
    EXPECT_EQ(got.descriptors.size(), 1u);
}

TEST_F(channel, as_many_descriptors_as_the_kernel_lets_through) {
    send_with(1, 253);
    const auto got = receive_message(ends_[1]);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->descriptors.size(), 253u);
}

TEST_F(channel, nothing_with_descriptors_is_a_message_and_nothing_at_all_is_the_end) {
    send_with(0, 1);
    auto got = receive_message(ends_[1]);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->bytes.size(), 0u);
    EXPECT_EQ(got->descriptors.size(), 1u);
    got = receive_message(ends_[1], MSG_DONTWAIT);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, EAGAIN);
    close(std::exchange(ends_[0], -1));
    got = receive_message(ends_[1]);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, ECONNRESET);
    EXPECT_EQ(send_message(ends_[1], {}, {}, {}).error().code, EPIPE);
}

}  // namespace
}  // namespace skua::attach
