// What a process does with its descriptors, on real sockets.
#include "sockfs/process.hh"

#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "socket/test_support.hh"

namespace skua::sockfs {
namespace {

using socket::test::at;

class process_test : public socket::test::socket_test {
protected:
    static std::unique_ptr<process> make_process(int limit = 64) {
        return std::make_unique<process>(1, std::make_unique<own_numbers>(limit), false, nanoseconds(0));
    }
    result<int> open(process& in, int type = SOCK_DGRAM) { return in.socket(host, *block, AF_INET, type, 0, {0}); }
    int open_bound(process& in, std::uint16_t port) {
        const int fd = open(in).value();
        EXPECT_TRUE(socket_of(in, fd).bind(at("198.18.0.1", port)));
        return fd;
    }
    static socket::udp_socket& socket_of(process& in, int fd) {
        return dynamic_cast<socket_file&>(*in.files().get(fd)).socket();
    }
    void arrive(std::uint16_t port, std::string_view payload) {
        EXPECT_TRUE(host.arrive(host.make(at("198.18.0.2", 9), at("198.18.0.1", port), payload)));
    }

    filesystems all;
    std::shared_ptr<superblock> block = all.register_type("sockfs") ? all.mount("sockfs").value() : nullptr;
    std::unique_ptr<process> owner = make_process();
    process& p = *owner;
};

TEST_F(process_test, makes_sockets_with_the_kernels_errors) {
    EXPECT_EQ(open(p).value(), 0);
    EXPECT_EQ(open(p, SOCK_DGRAM | SOCK_CLOEXEC).value(), 1);
    EXPECT_EQ(open(p, SOCK_DGRAM | SOCK_NONBLOCK).value(), 2);
    EXPECT_EQ(p.fcntl(0, F_GETFD, 0).value(), 0);
    EXPECT_EQ(p.fcntl(1, F_GETFD, 0).value(), FD_CLOEXEC);
    EXPECT_EQ(p.fcntl(1, F_GETFL, 0).value(), O_RDWR);
    EXPECT_EQ(p.fcntl(2, F_GETFL, 0).value(), O_RDWR | O_NONBLOCK);
    EXPECT_EQ(open(p, SOCK_DGRAM | 0x100000).error(), error{EINVAL});
    EXPECT_EQ(open(p, SOCK_STREAM).error(), error{ESOCKTNOSUPPORT});
    EXPECT_EQ(p.socket(host, *block, AF_UNIX, SOCK_DGRAM, 0, {0}).error(), error{EAFNOSUPPORT});
    EXPECT_EQ(p.epoll_create(O_NONBLOCK).error(), error{EINVAL});
    EXPECT_EQ(p.fcntl(p.epoll_create(EPOLL_CLOEXEC).value(), F_GETFD, 0).value(), FD_CLOEXEC);
}

TEST_F(process_test, a_full_table_is_emfile_and_leaves_no_inode) {
    const auto small = make_process(2);
    ASSERT_TRUE(open(*small));
    ASSERT_TRUE(open(*small));
    EXPECT_EQ(open(*small).error(), error{EMFILE});
    EXPECT_EQ(small->epoll_create(0).error(), error{EMFILE});
    EXPECT_EQ(small->dup(0).error(), error{EMFILE});
    EXPECT_EQ(small->dup2(0, 2).error(), error{EBADF});
    EXPECT_EQ(small->fcntl(0, F_DUPFD, 0).error(), error{EMFILE});
    EXPECT_EQ(block->inode_count(), 2u);
    EXPECT_EQ(small->dup2(0, 1).value(), 1);  // over an open one there is room
    EXPECT_EQ(block->inode_count(), 1u);
}

TEST_F(process_test, the_last_close_frees_the_port_and_what_was_queued) {
    const int fd = open_bound(p, 7), copy = p.dup(fd).value();
    const auto other = make_process();
    ASSERT_TRUE(p.pass(fd, *other));
    for (int i = 0; i < 5; i++) arrive(7, "queued");
    ASSERT_TRUE(p.close(fd));
    ASSERT_TRUE(p.close(copy));
    EXPECT_EQ(p.close(copy).error(), error{EBADF});
    EXPECT_EQ(rte_mempool_in_use_count(host.pool()), 5u);
    int next = 0;
    EXPECT_EQ(other->ioctl(0, FIONREAD, &next).value(), 0);
    EXPECT_EQ(next, 6);
    ASSERT_TRUE(other->close(0));
    EXPECT_EQ(rte_mempool_in_use_count(host.pool()), 0u);
    EXPECT_EQ(block->inode_count(), 0u);
    EXPECT_FALSE(host.arrive(host.make(at("198.18.0.2", 9), at("198.18.0.1", 7), "late")));
    open_bound(p, 7);
}

TEST_F(process_test, a_file_stays_open_while_a_call_is_inside) {
    const int fd = open_bound(p, 7);
    const auto inside = p.files().get(fd);
    ASSERT_TRUE(p.close(fd));
    EXPECT_EQ(block->inode_count(), 1u);
    arrive(7, "still taken");
    EXPECT_EQ(inside->poll_events() & EPOLLIN, static_cast<unsigned>(EPOLLIN));
}

TEST_F(process_test, copies_share_flags_but_not_close_on_exec) {
    const int fd = open(p).value(), copy = p.dup(fd).value();
    ASSERT_TRUE(p.fcntl(fd, F_SETFL, O_NONBLOCK | O_APPEND));
    EXPECT_EQ(p.fcntl(copy, F_GETFL, 0).value(), O_RDWR | O_NONBLOCK);
    int on = 0;
    ASSERT_TRUE(p.ioctl(copy, FIONBIO, &on));
    EXPECT_EQ(p.fcntl(fd, F_GETFL, 0).value(), O_RDWR);
    ASSERT_TRUE(p.fcntl(fd, F_SETFD, FD_CLOEXEC));
    EXPECT_EQ(p.fcntl(copy, F_GETFD, 0).value(), 0);
    ASSERT_TRUE(p.ioctl(copy, FIOCLEX, nullptr));
    EXPECT_EQ(p.fcntl(copy, F_GETFD, 0).value(), FD_CLOEXEC);
    ASSERT_TRUE(p.ioctl(copy, FIONCLEX, nullptr));
    EXPECT_EQ(p.fcntl(copy, F_GETFD, 0).value(), 0);
}

TEST_F(process_test, dup2_and_dup3_close_what_was_there) {
    const int a = open_bound(p, 7), b = open_bound(p, 8);
    EXPECT_EQ(p.dup2(a, a).value(), a);
    EXPECT_EQ(p.dup2(9, 9).error(), error{EBADF});
    EXPECT_EQ(p.dup2(9, b).error(), error{EBADF});
    EXPECT_EQ(p.dup2(a, -1).error(), error{EBADF});
    EXPECT_EQ(p.dup2(a, b).value(), b);
    EXPECT_EQ(block->inode_count(), 1u);
    EXPECT_EQ(p.files().get(a), p.files().get(b));
    EXPECT_EQ(p.dup3(a, a, 0).error(), error{EINVAL});
    EXPECT_EQ(p.dup3(a, 5, O_NONBLOCK).error(), error{EINVAL});
    EXPECT_EQ(p.dup3(a, 5, O_CLOEXEC).value(), 5);
    EXPECT_EQ(p.fcntl(5, F_GETFD, 0).value(), FD_CLOEXEC);
    EXPECT_EQ(p.fcntl(a, F_DUPFD, 10).value(), 10);
    EXPECT_EQ(p.fcntl(a, F_DUPFD_CLOEXEC, 10).value(), 11);
    EXPECT_EQ(p.fcntl(11, F_GETFD, 0).value(), FD_CLOEXEC);
    EXPECT_EQ(p.fcntl(a, F_DUPFD, 64).error(), error{EINVAL});
    EXPECT_EQ(p.fcntl(a, F_SETLEASE, 0).error(), error{EINVAL});
    EXPECT_EQ(p.fcntl(40, F_GETFL, 0).error(), error{EBADF});
}

TEST_F(process_test, ioctl_tells_what_is_queued) {
    const int fd = open_bound(p, 7);
    int n = -1;
    EXPECT_EQ(p.ioctl(fd, FIONREAD, &n).value(), 0);
    EXPECT_EQ(n, 0);
    arrive(7, "five!");
    arrive(7, "longer");
    ASSERT_TRUE(p.ioctl(fd, FIONREAD, &n));
    EXPECT_EQ(n, 5);  // of the next datagram, not of all
    ASSERT_TRUE(p.ioctl(fd, SIOCOUTQ, &n));
    EXPECT_EQ(n, 0);
    host.hold = true;
    const auto to = socket::test::in4("198.18.0.2", 9);
    ASSERT_TRUE(socket_of(p, fd).sendto("x", 1, 0, reinterpret_cast<const sockaddr*>(&to.storage), to.length));
    ASSERT_TRUE(p.ioctl(fd, SIOCOUTQ, &n));
    EXPECT_GT(n, 0);
    EXPECT_EQ(p.ioctl(fd, FIONREAD, nullptr).error(), error{EFAULT});
    EXPECT_EQ(p.ioctl(fd, FIONBIO, nullptr).error(), error{EFAULT});
    EXPECT_EQ(p.ioctl(fd, TCGETS, &n).error(), error{ENOTTY});
    EXPECT_EQ(p.ioctl(p.epoll_create(0).value(), FIONREAD, &n).error(), error{ENOTTY});
    EXPECT_EQ(p.ioctl(40, FIONREAD, &n).error(), error{EBADF});
}

TEST_F(process_test, fstat_shows_a_socket_and_its_inode) {
    const int a = open(p).value(), b = open(p).value(), copy = p.dup(a).value();
    const auto status = p.fstat(a).value();
    EXPECT_TRUE(S_ISSOCK(status.st_mode));
    EXPECT_EQ(status.st_ino, socket_of(p, a).inode_number());
    EXPECT_EQ(status.st_dev, block->device());
    EXPECT_EQ(status.st_nlink, 1u);
    EXPECT_EQ(p.fstat(copy).value().st_ino, status.st_ino);
    EXPECT_NE(p.fstat(b).value().st_ino, status.st_ino);
    EXPECT_FALSE(S_ISSOCK(p.fstat(p.epoll_create(0).value()).value().st_mode));
    EXPECT_EQ(p.fstat(40).error(), error{EBADF});
}

TEST_F(process_test, passing_gives_another_process_the_same_file) {
    const int fd = open_bound(p, 7);
    const auto other = make_process();
    EXPECT_EQ(p.pass(fd, *other, true).value(), 0);
    EXPECT_EQ(other->files().get(0), p.files().get(fd));
    EXPECT_EQ(other->fcntl(0, F_GETFD, 0).value(), FD_CLOEXEC);
    EXPECT_EQ(p.pass(40, *other).error(), error{EBADF});
    const auto full = make_process(1);
    ASSERT_TRUE(p.pass(fd, *full));
    EXPECT_EQ(p.pass(fd, *full).error(), error{EMFILE});
    arrive(7, "for both");
    int n = 0;
    ASSERT_TRUE(other->ioctl(0, FIONREAD, &n));
    EXPECT_EQ(n, 8);
}

TEST_F(process_test, exec_closes_what_was_marked) {
    const int stays = open(p).value(), goes = open(p, SOCK_DGRAM | SOCK_CLOEXEC).value();
    p.exec();
    EXPECT_NE(p.files().get(stays), nullptr);
    EXPECT_EQ(p.files().get(goes), nullptr);
    EXPECT_EQ(block->inode_count(), 1u);
}

TEST_F(process_test, lists_its_descriptors) {
    const int fd = open(p, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC).value(), set = p.epoll_create(0).value();
    const auto all_of_them = p.descriptors();
    ASSERT_EQ(all_of_them.size(), 2u);
    EXPECT_EQ(all_of_them[0].fd, fd);
    EXPECT_EQ(all_of_them[0].link, "socket:[" + std::to_string(socket_of(p, fd).inode_number()) + "]");
    EXPECT_EQ(all_of_them[0].status_flags, O_RDWR | O_NONBLOCK);
    EXPECT_TRUE(all_of_them[0].close_on_exec);
    EXPECT_EQ(all_of_them[1].fd, set);
    EXPECT_EQ(all_of_them[1].link, "anon_inode:[eventpoll]");
    EXPECT_FALSE(all_of_them[1].close_on_exec);
}

TEST_F(process_test, closing_everything_leaves_nothing) {
    for (std::uint16_t port = 7; port < 12; port++) {
        const int fd = open_bound(p, port), set = p.epoll_create(0).value();
        const epoll_event in{.events = EPOLLIN, .data = {}};
        ASSERT_TRUE(p.epoll_control(set, EPOLL_CTL_ADD, fd, &in));
        arrive(port, "queued");
    }
    p.close_all();
    EXPECT_TRUE(p.descriptors().empty());
    EXPECT_EQ(block->inode_count(), 0u);
    EXPECT_EQ(rte_mempool_in_use_count(host.pool()), 0u);
}

TEST_F(process_test, epoll_control_tells_wrong_descriptors_apart) {
    const int fd = open(p).value(), set = p.epoll_create(0).value();
    const epoll_event in{.events = EPOLLIN, .data = {}};
    EXPECT_EQ(p.epoll_control(set, EPOLL_CTL_ADD, fd, nullptr).error(), error{EFAULT});
    EXPECT_EQ(p.epoll_control(40, EPOLL_CTL_ADD, fd, &in).error(), error{EBADF});
    EXPECT_EQ(p.epoll_control(set, EPOLL_CTL_ADD, 40, &in).error(), error{EBADF});
    EXPECT_EQ(p.epoll_control(fd, EPOLL_CTL_ADD, set, &in).error(), error{EINVAL});
    EXPECT_EQ(p.epoll_control(fd, EPOLL_CTL_ADD, 40, &in).error(), error{EBADF});
    EXPECT_EQ(p.epoll_control(set, 17, fd, &in).error(), error{EINVAL});
    epoll_event out[1];
    EXPECT_EQ(p.epoll_wait(fd, out, time_point::min(), nullptr).error(), error{EINVAL});
    EXPECT_EQ(p.epoll_wait(40, out, time_point::min(), nullptr).error(), error{EBADF});
}

}  // namespace
}  // namespace skua::sockfs
