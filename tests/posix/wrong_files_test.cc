// Each socket call on what is not a socket: nothing, a pipe, an epoll set.
#include "posix/posix.hh"

namespace skua::test {

namespace {

struct socket_call {
    const char* name;
    ssize_t (*call)(int fd);
};
std::ostream& operator<<(std::ostream& out, const socket_call& c) { return out << c.name; }

name at = loopback(AF_INET, 9);
char data[16];
iovec part{data, sizeof data};

msghdr one_message() {
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    return m;
}

int value = 1;
socklen_t length = sizeof value;

const socket_call calls[] = {
    {"bind", [](int fd) -> ssize_t { return bind(fd, at, at.length); }},
    {"connect", [](int fd) -> ssize_t { return connect(fd, at, at.length); }},
    {"getsockname", [](int fd) -> ssize_t { return getsockname(fd, name{}, &length); }},
    {"getpeername", [](int fd) -> ssize_t { return getpeername(fd, name{}, &length); }},
    {"setsockopt", [](int fd) -> ssize_t { return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value); }},
    {"getsockopt", [](int fd) -> ssize_t { return getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, &length); }},
    {"shutdown", [](int fd) -> ssize_t { return shutdown(fd, SHUT_RD); }},
    {"send", [](int fd) { return send(fd, data, 1, 0); }},
    {"sendto", [](int fd) { return sendto(fd, data, 1, 0, at, at.length); }},
    {"sendmsg",
     [](int fd) {
         const msghdr m = one_message();
         return sendmsg(fd, &m, 0);
     }},
    {"recv", [](int fd) { return recv(fd, data, 1, MSG_DONTWAIT); }},
    {"recvfrom", [](int fd) { return recvfrom(fd, data, 1, MSG_DONTWAIT, nullptr, nullptr); }},
    {"recvmsg",
     [](int fd) {
         msghdr m = one_message();
         return recvmsg(fd, &m, MSG_DONTWAIT);
     }},
    {"sendmmsg",
     [](int fd) -> ssize_t {
         mmsghdr m{one_message(), 0};
         return sendmmsg(fd, &m, 1, 0);
     }},
    {"recvmmsg",
     [](int fd) -> ssize_t {
         mmsghdr m{one_message(), 0};
         return recvmmsg(fd, &m, 1, MSG_DONTWAIT, nullptr);
     }},
};

}  // namespace

class wrong_files : public testing::TestWithParam<socket_call> {
protected:
    static ssize_t call(int fd) { return GetParam().call(fd); }
};
INSTANTIATE_TEST_SUITE_P(to, wrong_files, testing::ValuesIn(calls), [](const auto& info) { return info.param.name; });

TEST_P(wrong_files, nothing_is_open) {
    expect_errno(call(lowest_free()), EBADF);
    expect_errno(call(-1), EBADF);
    expect_errno(call(1 << 30), EBADF);
}

TEST_P(wrong_files, a_closed_socket) {
    const int fd = bound(AF_INET).release();
    ASSERT_EQ(close(fd), 0);
    expect_errno(call(fd), EBADF);
}

TEST_P(wrong_files, a_pipe) {
    const pipe_ends p;
    expect_errno(call(p.in), ENOTSOCK);
    expect_errno(call(p.out), ENOTSOCK);
}

TEST_P(wrong_files, an_epoll_set) { expect_errno(call(make_epoll()), ENOTSOCK); }

TEST(wrong_requests, of_an_epoll_set) {
    const descriptor epfd = make_epoll();
    char room[256] = {};
    // ENOTTY before Linux 6.9, EINVAL since it has requests of its own for these sets.
    EXPECT_EQ(ioctl(epfd, FIONREAD, room), -1);
    EXPECT_EQ(ioctl(epfd, TCGETS, room), -1);
    struct stat s {};
    ASSERT_EQ(fstat(epfd, &s), 0);
    EXPECT_FALSE(S_ISSOCK(s.st_mode));
}

}  // namespace skua::test
