// SO_REUSEPORT groups that choose by a BPF program (SO_ATTACH_REUSEPORT_CBPF).
#include <fcntl.h>
#include <linux/filter.h>

#include "posix/posix.hh"

namespace skua::test {

namespace {

int attach(int fd, const std::vector<sock_filter>& program) {
    const sock_fprog p{static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &p, sizeof p);
}

int detach(int fd) {
    const int unused = 0;
    return setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused, sizeof unused);
}

const std::vector<sock_filter> first_byte = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_STMT(BPF_RET | BPF_A, 0)};

std::string numbered(int place) { return std::string(1, static_cast<char>(place)) + "x"; }

}  // namespace

class reuseport_bpf : public for_each_family {
protected:
    /// A member, the first of them on a port of the system's choosing.
    void join() {
        descriptor s = udp(family());
        set_option(s, SOL_SOCKET, SO_REUSEPORT, 1);
        const name at = members.empty() ? loopback(family()) : local_name(members[0]);
        granted(bind(s, at, at.length));
        members.push_back(std::move(s));
    }
    void join(int n) {
        while (n-- > 0) join();
    }
    void expect_at(int place, const std::string& text) {
        const descriptor from = connected(members[0]);
        deliver(from, text);
        for (int i = 0; i < static_cast<int>(members.size()); i++) {
            char data[16];
            const auto got = recv(members[static_cast<std::size_t>(i)], data, sizeof data, MSG_DONTWAIT);
            EXPECT_EQ(got > 0, i == place) << "member " << i;
        }
    }
    std::vector<descriptor> members;
};
INSTANTIATE_TEST_SUITE_P(over, reuseport_bpf, testing::Values(AF_INET, AF_INET6), family_name);

TEST_P(reuseport_bpf, the_program_names_the_member) {
    join(4);
    ASSERT_EQ(attach(members[0], first_byte), 0);
    for (const int place : {2, 0, 3, 1, 3}) expect_at(place, numbered(place));
}

TEST_P(reuseport_bpf, a_member_that_joins_gets_the_next_place) {
    join(2);
    ASSERT_EQ(attach(members[1], first_byte), 0);
    join();
    expect_at(2, numbered(2));
}

TEST_P(reuseport_bpf, the_last_takes_the_place_of_one_that_leaves) {
    join(4);
    ASSERT_EQ(attach(members[0], first_byte), 0);
    members.erase(members.begin() + 1);  // places are now 0, 3, 2 of the first four
    expect_at(2, numbered(1));
    expect_at(1, numbered(2));
}

TEST_P(reuseport_bpf, without_such_a_member_the_hash_decides) {
    join(3);
    ASSERT_EQ(attach(members[0], first_byte), 0);
    const descriptor from = connected(members[0]);
    deliver(from, numbered(3));
    int got = 0;
    for (const auto& m : members) {
        char data[16];
        got += recv(m, data, sizeof data, MSG_DONTWAIT) > 0;
    }
    EXPECT_EQ(got, 1);
}

TEST_P(reuseport_bpf, a_load_beyond_the_end_means_the_first) {
    join(3);
    ASSERT_EQ(attach(members[0], {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 100), BPF_STMT(BPF_RET | BPF_K, 2)}), 0);
    expect_at(0, "short");
}

TEST_P(reuseport_bpf, the_length_is_that_of_the_payload) {
    join(4);
    ASSERT_EQ(attach(members[0], {BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_STMT(BPF_RET | BPF_A, 0)}), 0);
    expect_at(3, "abc");
    expect_at(1, "a");
}

TEST_P(reuseport_bpf, a_later_program_takes_over) {
    join(2);
    ASSERT_EQ(attach(members[0], {BPF_STMT(BPF_RET | BPF_K, 0)}), 0);
    expect_at(0, "x");
    ASSERT_EQ(attach(members[1], {BPF_STMT(BPF_RET | BPF_K, 1)}), 0);
    expect_at(1, "x");
}

TEST_P(reuseport_bpf, attached_before_bind) {
    descriptor s = udp(family());
    expect_errno(attach(s, first_byte), EINVAL);  // no SO_REUSEPORT yet
    set_option(s, SOL_SOCKET, SO_REUSEPORT, 1);
    ASSERT_EQ(attach(s, first_byte), 0);
    const name at = loopback(family());
    granted(bind(s, at, at.length));
    members.push_back(std::move(s));
    join(2);
    expect_at(2, numbered(2));
}

TEST_P(reuseport_bpf, is_refused_to_a_socket_bound_without_the_option) {
    const descriptor s = bound(family());
    expect_errno(attach(s, first_byte), EINVAL);
    expect_errno(detach(s), EINVAL);
}

TEST_P(reuseport_bpf, detach) {
    join(2);
    expect_errno(detach(members[0]), ENOENT);
    ASSERT_EQ(attach(members[0], first_byte), 0);
    EXPECT_EQ(detach(members[1]), 0);
    expect_errno(detach(members[1]), ENOENT);
}

TEST_P(reuseport_bpf, a_locked_filter_stays) {
    join(2);
    int locked = -1;
    socklen_t length = sizeof locked;
    ASSERT_EQ(getsockopt(members[0], SOL_SOCKET, SO_LOCK_FILTER, &locked, &length), 0);
    EXPECT_EQ(locked, 0);
    set_option(members[0], SOL_SOCKET, SO_LOCK_FILTER, 0);
    ASSERT_EQ(attach(members[0], first_byte), 0);
    set_option(members[0], SOL_SOCKET, SO_LOCK_FILTER, 1);
    ASSERT_EQ(getsockopt(members[0], SOL_SOCKET, SO_LOCK_FILTER, &locked, &length), 0);
    EXPECT_EQ(locked, 1);
    expect_errno(attach(members[0], first_byte), EPERM);
    const int descriptor = -1, off = 0;
    expect_errno(setsockopt(members[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &descriptor, sizeof descriptor), EPERM);
    expect_errno(setsockopt(members[0], SOL_SOCKET, SO_LOCK_FILTER, &off, sizeof off), EPERM);
    set_option(members[0], SOL_SOCKET, SO_LOCK_FILTER, 1);
    // Of the socket, not of the group; and taking the program away is not guarded.
    EXPECT_EQ(attach(members[1], first_byte), 0);
    EXPECT_EQ(detach(members[0]), 0);
}

TEST_P(reuseport_bpf, descriptors_that_hold_no_program_are_refused) {
    join(2);
    const auto attach_descriptor = [&](int fd) {
        return setsockopt(members[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &fd, sizeof fd);
    };
    expect_errno(attach_descriptor(-1), EBADF);
    const int file = open("/dev/null", O_RDONLY);
    expect_errno(attach_descriptor(file), EINVAL);
    close(file);
    expect_errno(setsockopt(members[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, "ab", 2), EINVAL);
}

TEST_P(reuseport_bpf, unsound_programs_are_refused) {
    join(2);
    expect_errno(attach(members[0], {}), EINVAL);
    expect_errno(attach(members[0], {BPF_STMT(BPF_LD | BPF_IMM, 1)}), EINVAL);
    expect_errno(attach(members[0], {BPF_JUMP(BPF_JMP | BPF_JA, 7, 0, 0), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
    expect_errno(attach(members[0], {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
    expect_errno(attach(members[0], std::vector<sock_filter>(4097, BPF_STMT(BPF_RET | BPF_K, 0))), EINVAL);
    const int wrong_size = 0;
    expect_errno(setsockopt(members[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &wrong_size, sizeof wrong_size), EINVAL);
}

// A member that connects leaves the group, and gets only its peer's datagrams.
TEST_P(reuseport_bpf, a_connected_member_leaves_its_place_to_the_last) {
    join(3);
    ASSERT_EQ(attach(members[0], first_byte), 0);
    const descriptor peer = bound(family());
    const name at = local_name(peer);
    granted(connect(members[1], at, at.length));
    expect_at(2, numbered(1));
    expect_at(0, numbered(0));
    // From its peer.
    const name group = local_name(members[0]);
    granted(connect(peer, group, group.length));
    deliver(peer, numbered(0));
    char data[16];
    EXPECT_EQ(recv(members[1], data, sizeof data, MSG_DONTWAIT), 2);
    // Named for a stranger's datagram, it does not get it.
    const descriptor stranger = connected(members[0]);
    deliver(stranger, numbered(2));
    EXPECT_EQ(recv(members[1], data, sizeof data, MSG_DONTWAIT), -1);
    int got = 0;
    for (auto& m : members) got += recv(m, data, sizeof data, MSG_DONTWAIT) == 2;
    EXPECT_EQ(got, 1);
}

TEST_P(reuseport_bpf, the_option_set_after_bind_lets_others_in) {
    members.push_back(bound(family()));
    descriptor second = udp(family());
    set_option(second, SOL_SOCKET, SO_REUSEPORT, 1);
    const name at = local_name(members[0]);
    expect_errno(bind(second, at, at.length), EADDRINUSE);
    set_option(members[0], SOL_SOCKET, SO_REUSEPORT, 1);
    expect_errno(attach(members[0], first_byte), EINVAL);  // there is no group yet
    granted(bind(second, at, at.length));
    members.push_back(std::move(second));
    join();
    ASSERT_EQ(attach(members[0], first_byte), 0);
    for (const int place : {0, 1, 2}) expect_at(place, numbered(place));
}

TEST_P(reuseport_bpf, the_option_taken_back_keeps_others_out) {
    join(2);
    set_option(members[0], SOL_SOCKET, SO_REUSEPORT, 0);
    descriptor third = udp(family());
    set_option(third, SOL_SOCKET, SO_REUSEPORT, 1);
    const name at = local_name(members[0]);
    const int refused = bind(third, at, at.length) == -1 ? errno : 0;
    // Which of the two the kernel meets first depends on the family (new sockets go to the head, or to the tail).
    EXPECT_EQ(refused, family() == AF_INET ? 0 : EADDRINUSE);
}

}  // namespace skua::test
