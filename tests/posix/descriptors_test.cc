// Descriptors of sockets: numbers, duplicates, flags, ioctl, fstat, limits.
#include <sys/resource.h>

#include <algorithm>
#include <cstring>

#include "posix/posix.hh"

namespace skua::test {

namespace {

/// The soft limit of descriptors, back to what it was at the end.
class descriptor_limit {
public:
    explicit descriptor_limit(int limit) {
        granted(getrlimit(RLIMIT_NOFILE, &before_));
        rlimit lower = before_;
        lower.rlim_cur = static_cast<rlim_t>(limit);
        granted(setrlimit(RLIMIT_NOFILE, &lower));
    }
    ~descriptor_limit() { setrlimit(RLIMIT_NOFILE, &before_); }
    static int now() {
        rlimit r;
        granted(getrlimit(RLIMIT_NOFILE, &r));
        return static_cast<int>(r.rlim_cur);
    }

private:
    rlimit before_{};
};

struct stat status_of(int fd) {
    struct stat s {};
    granted(fstat(fd, &s));
    return s;
}

int waiting_bytes(int fd) {
    int n = -1;
    granted(ioctl(fd, FIONREAD, &n));
    return n;
}

bool is_nonblocking(int fd) { return (granted(fcntl(fd, F_GETFL)) & O_NONBLOCK) != 0; }
bool is_close_on_exec(int fd) { return (granted(fcntl(fd, F_GETFD)) & FD_CLOEXEC) != 0; }

}  // namespace

class descriptors : public for_each_family {};
INSTANTIATE_TEST_SUITE_P(over, descriptors, testing::Values(AF_INET, AF_INET6), family_name);

// ---- Numbers --------------------------------------------------------------------------------------------------------

TEST_P(descriptors, the_lowest_free_number_comes_first) {
    descriptor a = udp(family()), b = udp(family()), c = udp(family());
    EXPECT_LT(a, b);
    EXPECT_LT(b, c);
    const int middle = b;
    b.reset();
    EXPECT_EQ(udp(family()), middle);
    const int first = a;
    a.reset();
    const descriptor low = udp(family()), next = udp(family());
    EXPECT_EQ(low, first);
    EXPECT_EQ(next, middle);
}

TEST_P(descriptors, numbers_are_one_row_with_those_of_other_files) {
    const int lowest = lowest_free();
    descriptor s = udp(family());
    EXPECT_EQ(s, lowest);
    const pipe_ends p;
    EXPECT_GT(p.out, lowest);
    s.reset();
    const descriptor file(granted(open("/dev/null", O_RDONLY)));
    EXPECT_EQ(file, lowest);
    EXPECT_GT(udp(family()), lowest);
}

TEST_P(descriptors, an_epoll_set_takes_the_lowest_number_too) {
    const int lowest = lowest_free();
    EXPECT_EQ(make_epoll(), lowest);
    EXPECT_EQ(lowest_free(), lowest);
    EXPECT_EQ(udp(family()), lowest);
}

TEST_P(descriptors, close_frees_the_number_once) {
    const int fd = udp(family()).release();
    EXPECT_EQ(close(fd), 0);
    expect_errno(close(fd), EBADF);
    expect_errno(close(fd), EBADF);
}

TEST(descriptor_numbers, that_nobody_has_cannot_be_closed) {
    expect_errno(close(-1), EBADF);
    expect_errno(close(-100), EBADF);
    expect_errno(close(1 << 30), EBADF);
    expect_errno(close(descriptor_limit::now()), EBADF);
}

// ---- dup, dup2, dup3 ------------------------------------------------------------------------------------------------

TEST_P(descriptors, dup_gives_the_lowest_number) {
    const descriptor s = udp(family());
    const int lowest = lowest_free();
    EXPECT_EQ(descriptor(dup(s)), lowest);
}

TEST_P(descriptors, dup_shares_the_queue) {
    const two t(family());
    const descriptor other(granted(dup(t.to)));
    send_text(t.from, "one");
    send_text(t.from, "two");
    EXPECT_EQ(receive(other), "one");
    EXPECT_EQ(receive(t.to), "two");
    EXPECT_EQ(events_now(other, POLLIN), 0);
}

TEST_P(descriptors, dup_shares_names_and_options) {
    const descriptor s = udp(family());
    const descriptor other(granted(dup(s)));
    const name at = loopback(family());
    ASSERT_EQ(bind(other, at, at.length), 0);
    EXPECT_EQ(local_name(s), local_name(other));
    set_option(s, SOL_SOCKET, SO_BROADCAST, 1);
    EXPECT_EQ(get_option(other, SOL_SOCKET, SO_BROADCAST), 1);
}

TEST(dup_errors, of_what_is_not_open) {
    const int closed = lowest_free();
    expect_errno(dup(closed), EBADF);
    expect_errno(dup(-1), EBADF);
    expect_errno(dup2(closed, closed + 1), EBADF);
    expect_errno(dup2(closed, closed), EBADF);
    expect_errno(dup2(-1, closed), EBADF);
    expect_errno(dup3(closed, closed + 1, 0), EBADF);
    expect_errno(fcntl(closed, F_DUPFD, 0), EBADF);
}

TEST_P(descriptors, dup2_gives_the_chosen_number) {
    const two t(family());
    const int chosen = lowest_free() + 7;
    const descriptor other(dup2(t.to, chosen));
    ASSERT_EQ(other, chosen);
    send_text(t.from, "x");
    EXPECT_EQ(receive(chosen), "x");
}

TEST_P(descriptors, dup2_onto_itself_does_nothing) {
    const two t(family(), SOCK_CLOEXEC);
    deliver(t.from, "x");
    EXPECT_EQ(dup2(t.to, t.to), t.to);
    EXPECT_TRUE(is_close_on_exec(t.to));
    EXPECT_EQ(receive(t.to), "x");
}

TEST_P(descriptors, dup2_to_a_number_that_cannot_be) {
    const descriptor s = udp(family());
    expect_errno(dup2(s, -1), EBADF);
    expect_errno(dup2(s, descriptor_limit::now()), EBADF);
    expect_errno(dup3(s, -1, 0), EBADF);
    expect_errno(dup3(s, descriptor_limit::now(), 0), EBADF);
}

TEST_P(descriptors, dup2_closes_what_was_there) {
    const descriptor s = bound(family());
    const descriptor victim = bound(family());
    const name freed = local_name(victim);
    EXPECT_FALSE(is_free(freed));
    ASSERT_EQ(dup2(s, victim), victim);
    EXPECT_TRUE(is_free(freed));
    EXPECT_EQ(local_name(victim), local_name(s));
}

TEST_P(descriptors, dup2_of_nothing_leaves_the_target_open) {
    const descriptor target = bound(family());
    const name at = local_name(target);
    expect_errno(dup2(lowest_free(), target), EBADF);
    EXPECT_EQ(local_name(target), at);
}

TEST_P(descriptors, dup2_over_one_of_several_closes_only_that) {
    const descriptor s = bound(family()), other = bound(family());
    const name at = local_name(other);
    const descriptor copy(granted(dup(other)));
    ASSERT_EQ(dup2(s, copy), copy);
    EXPECT_FALSE(is_free(at));
    EXPECT_EQ(local_name(copy), local_name(s));
}

TEST_P(descriptors, dup2_of_a_socket_over_a_pipe_closes_the_pipe) {
    const two t(family());
    pipe_ends p;
    ASSERT_EQ(dup2(t.to, p.in), p.in);
    EXPECT_EQ(events_now(p.out, POLLIN), POLLHUP);
    deliver(t.from, "x");
    EXPECT_EQ(receive(p.in), "x");
}

TEST_P(descriptors, dup2_of_a_pipe_over_a_socket_closes_the_socket) {
    const descriptor s = bound(family());
    const name at = local_name(s);
    const pipe_ends p;
    ASSERT_EQ(dup2(p.out, s), s);
    EXPECT_TRUE(is_free(at));
    expect_errno(send(s, "x", 1, 0), ENOTSOCK);
    ASSERT_EQ(write(p.in, "x", 1), 1);
    EXPECT_EQ(events_now(s, POLLIN), POLLIN);
    char c = 0;
    EXPECT_EQ(read(s, &c, 1), 1);
    EXPECT_EQ(c, 'x');
}

TEST_P(descriptors, dup2_of_a_socket_over_an_epoll_set) {
    const descriptor s = bound(family());
    const descriptor epfd = make_epoll();
    add(epfd, s, EPOLLIN);
    ASSERT_EQ(dup2(s, epfd), epfd);
    EXPECT_EQ(local_name(epfd), local_name(s));
    epoll_event e;
    expect_errno(epoll_wait(epfd, &e, 1, 0), EINVAL);
}

TEST_P(descriptors, dup2_clears_close_on_exec) {
    const descriptor s = udp(family(), SOCK_CLOEXEC);
    const descriptor target = udp(family(), SOCK_CLOEXEC);
    ASSERT_EQ(dup2(s, target), target);
    EXPECT_FALSE(is_close_on_exec(target));
    EXPECT_TRUE(is_close_on_exec(s));
}

TEST_P(descriptors, dup_clears_close_on_exec) {
    const descriptor s = udp(family(), SOCK_CLOEXEC);
    EXPECT_FALSE(is_close_on_exec(descriptor(granted(dup(s)))));
}

TEST_P(descriptors, dup3_takes_close_on_exec) {
    const descriptor s = udp(family());
    const int chosen = lowest_free() + 3;
    const descriptor plain(granted(dup3(s, chosen, 0)));
    EXPECT_FALSE(is_close_on_exec(plain));
    ASSERT_EQ(dup3(s, chosen, O_CLOEXEC), chosen);
    EXPECT_TRUE(is_close_on_exec(plain));
    EXPECT_FALSE(is_close_on_exec(s));
}

TEST_P(descriptors, dup3_refuses_one_number_and_other_flags) {
    const descriptor s = udp(family());
    expect_errno(dup3(s, s, 0), EINVAL);
    expect_errno(dup3(s, s, O_CLOEXEC), EINVAL);
    expect_errno(dup3(s, lowest_free(), O_NONBLOCK), EINVAL);
    expect_errno(dup3(-1, -1, 0), EINVAL);
}

// ---- fcntl ----------------------------------------------------------------------------------------------------------

TEST_P(descriptors, dupfd_counts_from_a_minimum) {
    const descriptor s = udp(family());
    const int lowest = lowest_free();
    const descriptor a(fcntl(s, F_DUPFD, lowest + 10)), b(fcntl(s, F_DUPFD, lowest + 10)), c(fcntl(s, F_DUPFD, 0));
    EXPECT_EQ(a, lowest + 10);
    EXPECT_EQ(b, lowest + 11);
    EXPECT_EQ(c, lowest);
    EXPECT_FALSE(is_close_on_exec(a));
}

TEST_P(descriptors, dupfd_cloexec_sets_the_flag_of_the_new_one) {
    const descriptor s = udp(family());
    const int minimum = lowest_free() + 5;
    const descriptor copy(fcntl(s, F_DUPFD_CLOEXEC, minimum));
    EXPECT_EQ(copy, minimum);
    EXPECT_TRUE(is_close_on_exec(copy));
    EXPECT_FALSE(is_close_on_exec(s));
}

TEST_P(descriptors, dupfd_refuses_minima_beyond_the_limit) {
    const descriptor s = udp(family());
    for (const int command : {F_DUPFD, F_DUPFD_CLOEXEC}) {
        expect_errno(fcntl(s, command, -1), EINVAL);
        expect_errno(fcntl(s, command, descriptor_limit::now()), EINVAL);
        const descriptor last(fcntl(s, command, descriptor_limit::now() - 1));
        EXPECT_EQ(last, descriptor_limit::now() - 1);
        expect_errno(fcntl(s, command, descriptor_limit::now() - 1), EMFILE);
    }
}

TEST_P(descriptors, close_on_exec_belongs_to_the_descriptor) {
    const descriptor s = udp(family());
    const descriptor copy(granted(dup(s)));
    EXPECT_FALSE(is_close_on_exec(s));
    ASSERT_EQ(fcntl(s, F_SETFD, FD_CLOEXEC), 0);
    EXPECT_TRUE(is_close_on_exec(s));
    EXPECT_FALSE(is_close_on_exec(copy));
    ASSERT_EQ(fcntl(s, F_SETFD, 0), 0);
    EXPECT_FALSE(is_close_on_exec(s));
}

TEST_P(descriptors, status_flags_belong_to_the_file) {
    const descriptor s = udp(family());
    const descriptor copy(granted(dup(s)));
    EXPECT_EQ(fcntl(s, F_GETFL), O_RDWR);
    ASSERT_EQ(fcntl(copy, F_SETFL, O_NONBLOCK), 0);
    EXPECT_EQ(fcntl(s, F_GETFL), O_RDWR | O_NONBLOCK);
    char c;
    expect_errno(recv(s, &c, 1, 0), EAGAIN);
    ASSERT_EQ(fcntl(s, F_SETFL, 0), 0);
    EXPECT_EQ(fcntl(copy, F_GETFL), O_RDWR);
}

TEST_P(descriptors, setfl_leaves_the_access_mode) {
    const descriptor s = udp(family());
    ASSERT_EQ(fcntl(s, F_SETFL, O_WRONLY | O_CREAT | O_NONBLOCK), 0);
    EXPECT_EQ(fcntl(s, F_GETFL), O_RDWR | O_NONBLOCK);
}

TEST_P(descriptors, flags_at_birth) {
    const descriptor plain = udp(family()), both = udp(family(), SOCK_NONBLOCK | SOCK_CLOEXEC),
                     nonblocking = udp(family(), SOCK_NONBLOCK), cloexec = udp(family(), SOCK_CLOEXEC);
    EXPECT_FALSE(is_nonblocking(plain));
    EXPECT_FALSE(is_close_on_exec(plain));
    EXPECT_TRUE(is_nonblocking(both));
    EXPECT_TRUE(is_close_on_exec(both));
    EXPECT_TRUE(is_nonblocking(nonblocking));
    EXPECT_FALSE(is_close_on_exec(nonblocking));
    EXPECT_FALSE(is_nonblocking(cloexec));
    EXPECT_TRUE(is_close_on_exec(cloexec));
    char c;
    expect_errno(recv(both, &c, 1, 0), EAGAIN);
}

TEST_P(descriptors, unknown_fcntl_commands) {
    const descriptor s = udp(family());
    expect_errno(fcntl(s, 4711, 0), EINVAL);
    expect_errno(fcntl(lowest_free(), 4711, 0), EBADF);
    for (const int command : {F_GETFD, F_SETFD, F_GETFL, F_SETFL})
        expect_errno(fcntl(lowest_free(), command, 0), EBADF);
}

TEST(epoll_descriptors, have_flags_too) {
    const descriptor plain(granted(epoll_create1(0))), cloexec(granted(epoll_create1(EPOLL_CLOEXEC)));
    EXPECT_FALSE(is_close_on_exec(plain));
    EXPECT_TRUE(is_close_on_exec(cloexec));
    EXPECT_EQ(fcntl(plain, F_GETFL), O_RDWR);
    const descriptor copy(fcntl(plain, F_DUPFD_CLOEXEC, 0));
    EXPECT_TRUE(is_close_on_exec(copy));
}

// ---- The limit ------------------------------------------------------------------------------------------------------

TEST_P(descriptors, no_more_than_the_limit) {
    const descriptor s = bound(family());
    const descriptor_limit limit(lowest_free() + 2);
    const descriptor a = udp(family());
    descriptor b(granted(dup(s)));
    expect_errno(socket(family(), SOCK_DGRAM, 0), EMFILE);
    expect_errno(dup(s), EMFILE);
    expect_errno(fcntl(s, F_DUPFD, 0), EMFILE);
    expect_errno(fcntl(s, F_DUPFD_CLOEXEC, 0), EMFILE);
    expect_errno(epoll_create1(0), EMFILE);
    ASSERT_EQ(dup2(s, b), b);  // needs no more
    b.reset();
    EXPECT_GE(make_epoll(), 0);
    EXPECT_GE(udp(family()), 0);
}

TEST_P(descriptors, above_a_lowered_limit_go_on) {
    const two t(family());
    const descriptor high(granted(fcntl(t.to, F_DUPFD, lowest_free() + 20)));
    const descriptor_limit limit(lowest_free() + 5);
    deliver(t.from, "x");
    EXPECT_EQ(receive(high), "x");
    expect_errno(dup2(t.to, high), EBADF);
}

TEST_P(descriptors, a_socket_that_got_no_number_leaves_nothing) {
    for (int i = 0; i < 50; i++) {
        const descriptor_limit limit(lowest_free());
        expect_errno(socket(family(), SOCK_DGRAM, 0), EMFILE);
    }
    const int lowest = lowest_free();
    EXPECT_EQ(udp(family()), lowest);
}

// ---- ioctl and fstat ------------------------------------------------------------------------------------------------

TEST_P(descriptors, fionread_tells_the_next_datagram) {
    const two t(family());
    EXPECT_EQ(waiting_bytes(t.to), 0);
    deliver(t.from, "three");
    send_text(t.from, "and more");
    EXPECT_EQ(waiting_bytes(t.to), 5);
    EXPECT_EQ(receive(t.to), "three");
    ASSERT_TRUE(comes(t.to, POLLIN));
    EXPECT_EQ(waiting_bytes(t.to), 8);
    EXPECT_EQ(receive(t.to), "and more");
    EXPECT_EQ(waiting_bytes(t.to), 0);
}

TEST_P(descriptors, fionread_of_an_empty_datagram) {
    const two t(family());
    deliver(t.from, "");
    EXPECT_EQ(waiting_bytes(t.to), 0);
    EXPECT_EQ(receive(t.to), "");
}

TEST_P(descriptors, siocoutq_is_empty_when_all_has_left) {
    const two t(family());
    int queued = -1;
    ASSERT_EQ(ioctl(t.from, TIOCOUTQ, &queued), 0);
    EXPECT_EQ(queued, 0);
    deliver(t.from, "x");
    for (const stopwatch limit; queued != 0 && limit.elapsed() < patience;) granted(ioctl(t.from, TIOCOUTQ, &queued));
    EXPECT_EQ(queued, 0);
}

TEST_P(descriptors, fionbio_sets_the_flag_of_the_file) {
    const descriptor s = udp(family());
    const descriptor copy(granted(dup(s)));
    int on = 1;
    ASSERT_EQ(ioctl(s, FIONBIO, &on), 0);
    EXPECT_TRUE(is_nonblocking(s));
    EXPECT_TRUE(is_nonblocking(copy));
    char c;
    expect_errno(recv(copy, &c, 1, 0), EAGAIN);
    on = 0;
    ASSERT_EQ(ioctl(copy, FIONBIO, &on), 0);
    EXPECT_FALSE(is_nonblocking(s));
}

TEST_P(descriptors, unknown_ioctl_requests) {
    const descriptor s = udp(family());
    char room[256] = {};
    expect_errno(ioctl(s, TCGETS, room), ENOTTY);
    expect_errno(ioctl(s, 0x4711, room), ENOTTY);
    int n;
    expect_errno(ioctl(lowest_free(), FIONREAD, &n), EBADF);
    expect_errno(ioctl(lowest_free(), FIONBIO, &n), EBADF);
    expect_errno(ioctl(-1, TCGETS, room), EBADF);
}

TEST_P(descriptors, fstat_shows_a_socket) {
    const descriptor s = udp(family());
    const descriptor copy(granted(dup(s)));
    const descriptor other = udp(family());
    EXPECT_TRUE(S_ISSOCK(status_of(s).st_mode));
    EXPECT_EQ(status_of(s).st_mode & 0777, 0777u);
    EXPECT_EQ(status_of(s).st_nlink, 1u);
    EXPECT_EQ(status_of(s).st_size, 0);
    EXPECT_EQ(status_of(s).st_uid, geteuid());
    EXPECT_EQ(status_of(s).st_ino, status_of(copy).st_ino);
    EXPECT_EQ(status_of(s).st_dev, status_of(other).st_dev);
    EXPECT_NE(status_of(s).st_ino, status_of(other).st_ino);
    struct stat room;
    expect_errno(fstat(lowest_free(), &room), EBADF);
}

TEST_P(descriptors, what_the_socket_is) {
    const descriptor s = udp(family());
    const descriptor copy(granted(dup(s)));
    EXPECT_EQ(get_option(copy, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
    EXPECT_EQ(get_option(copy, SOL_SOCKET, SO_DOMAIN), family());
    EXPECT_EQ(get_option(copy, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDP);
}

// ---- The last close -------------------------------------------------------------------------------------------------

TEST_P(descriptors, the_last_close_frees_the_port) {
    descriptor s = bound(family());
    const name at = local_name(s);
    descriptor copy(granted(dup(s)));
    s.reset();
    EXPECT_FALSE(is_free(at));
    EXPECT_EQ(local_name(copy), at);
    copy.reset();
    EXPECT_TRUE(is_free(at));
}

TEST_P(descriptors, many_duplicates_close_in_any_order) {
    descriptor s = bound(family());
    const name at = local_name(s);
    std::vector<descriptor> copies;
    for (int i = 0; i < 100; i++) copies.emplace_back(granted(dup(s)));
    s.reset();
    for (std::size_t i = 0; i < 100; i++) {
        EXPECT_FALSE(is_free(at));
        copies[i * 37 % 100].reset();
    }
    EXPECT_TRUE(is_free(at));
}

TEST_P(descriptors, a_datagram_outlives_the_descriptor_it_came_by) {
    two t(family());
    deliver(t.from, "x");
    const descriptor copy(granted(dup(t.to)));
    t.to.reset();
    EXPECT_EQ(receive(copy), "x");
    send_text(t.from, "y");
    EXPECT_EQ(receive(copy), "y");
}

TEST_P(descriptors, a_new_socket_of_an_old_number_is_another) {
    two t(family());
    deliver(t.from, "x");
    const int number = t.to;
    t.to.reset();
    const descriptor fresh = bound(family());
    ASSERT_EQ(fresh, number);
    EXPECT_EQ(events_now(fresh, POLLIN), 0);
    char c;
    expect_errno(recv(fresh, &c, 1, MSG_DONTWAIT), EAGAIN);
}

TEST_P(descriptors, what_a_closed_socket_had_unread_goes_with_it) {
    for (int i = 0; i < 200; i++) {
        const two t(family());
        for (int n = 0; n < 5; n++) send_text(t.from, std::string(1000, 'x'));
    }
    const two t(family());
    deliver(t.from, "x");
    EXPECT_EQ(receive(t.to), "x");
}

// ---- socket() -------------------------------------------------------------------------------------------------------

TEST_P(descriptors, socket_errors) {
    expect_errno(socket(12345, SOCK_DGRAM, 0), EAFNOSUPPORT);
    expect_errno(socket(-1, SOCK_DGRAM, 0), EAFNOSUPPORT);
    expect_errno(socket(family(), SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT);
    expect_errno(socket(family(), SOCK_DGRAM | 0x100, 0), EINVAL);
    expect_errno(socket(family(), 15, 0), EINVAL);
    expect_errno(socket(family(), SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
}

TEST_P(descriptors, failed_calls_use_up_no_number) {
    const int lowest = lowest_free();
    expect_errno(socket(family(), SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT);
    expect_errno(epoll_create1(1), EINVAL);
    expect_errno(dup(-1), EBADF);
    EXPECT_EQ(lowest_free(), lowest);
    EXPECT_EQ(udp(family()), lowest);
}

}  // namespace skua::test
