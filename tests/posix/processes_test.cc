// Sockets and processes: fork, vfork, exec, spawn, passing, and who closes what.
#include <spawn.h>
#include <sys/wait.h>

#include <cstring>

#include "posix/program.hh"

extern char** environ;

namespace skua::test {

namespace {

class processes : public for_each_family {};

void pass(int channel, int fd) {
    char byte = 0;
    iovec part{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    cmsghdr* const c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
    granted(sendmsg(channel, &m, 0));
}

struct channel {
    channel() {
        int both[2];
        granted(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, both));
        here = descriptor(both[0]);
        there = descriptor(both[1]);
    }
    descriptor here, there;
};

}  // namespace

TEST_P(processes, a_child_answers_for_its_parent) {
    const descriptor s = bound(family());
    const pid_t child = fork_child([&] { return answer_one(s); });
    expect_an_answer(local_name(s));
    expect_success(child);
    // The child's end is not the socket's.
    const pid_t second = fork_child([&] { return answer_one(s); });
    expect_an_answer(local_name(s));
    expect_success(second);
}

TEST_P(processes, each_child_that_waits_sees_when_nothing_is_there_any_more) {
    const two t(family());
    for (int i = 0; i < 3; i++) {
        const pid_t child = fork_child([&] {
            const descriptor set = make_epoll();
            add(set, t.to, EPOLLIN);
            return one_event(set) == EPOLLIN && receive(t.to) == "news" && one_event(set, 0) == 0;
        });
        send_text(t.from, "news");
        expect_success(child);
    }
}

TEST_P(processes, a_program_keeps_the_socket_of_the_last) {
    const descriptor s = bound(family());
    const pid_t child = fork_child([&]() -> bool { become("answer-one", s); });
    expect_an_answer(local_name(s));
    expect_success(child);
}

TEST_P(processes, after_vfork_too) {
    const descriptor s = bound(family());
    const descriptor spare = bound(family());
    const pid_t child = vfork();
    if (child == 0) {
        close(spare);  // as a shell does, for the child alone
        become("answer-one", s);
    }
    granted(child);
    expect_an_answer(local_name(s));
    expect_success(child);
    EXPECT_FALSE(is_free(local_name(spare)));
}

TEST_P(processes, a_spawned_program_has_it_as_standard_input) {
    const descriptor s = bound(family(), SOCK_CLOEXEC);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, s, 0);
    char program[] = "posix_program", mode[] = "answer-one", number[] = "0";
    char* const words[] = {program, mode, number, nullptr};
    pid_t child = -1;
    EXPECT_EQ(posix_spawn(&child, "/proc/self/exe", &actions, nullptr, words, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    expect_an_answer(local_name(s));
    expect_success(child);
}

TEST_P(processes, close_on_exec_ends_it) {
    const descriptor s = bound(family());
    const name n = local_name(s);
    descriptor other = bound(family(), SOCK_CLOEXEC);
    const name gone = local_name(other);
    const pid_t child = fork_child([&]() -> bool { become("answer-one", s); });
    other.reset();
    expect_an_answer(n);
    EXPECT_TRUE(is_free(gone));
    expect_success(child);
}

TEST_P(processes, the_last_to_close_ends_it) {
    descriptor s = bound(family());
    const name n = local_name(s);
    const channel c;
    const pid_t child = fork_child([&] {
        char byte;
        return read(c.there, &byte, 1) == 1 && answer_one(s);
    });
    s.reset();
    EXPECT_FALSE(is_free(n));
    granted(write(c.here, "", 1));
    expect_an_answer(n);
    expect_success(child);
    EXPECT_TRUE(is_free(n));
}

TEST_P(processes, a_killed_child_leaves_nothing) {
    descriptor s = bound(family());
    const name n = local_name(s);
    const pid_t child = fork_child([&] {
        char byte;
        return recv(s, &byte, 1, 0) == 1;
    });
    s.reset();
    EXPECT_FALSE(is_free(n));
    granted(::kill(child, SIGKILL));
    waitpid(child, nullptr, 0);
    for (const stopwatch limit; !is_free(n) && limit.elapsed() < patience;) std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(is_free(n));
}

TEST_P(processes, a_passed_socket_is_used_by_another_program) {
    const channel c;
    const pid_t child = fork_child([&]() -> bool { become("answer-passed", c.there); });
    descriptor s = bound(family());
    const name n = local_name(s);
    pass(c.here, s);
    s.reset();
    expect_an_answer(n);
    expect_success(child);
    EXPECT_TRUE(is_free(n));
}

TEST_P(processes, a_socket_passed_to_oneself_is_one_more_descriptor) {
    const channel c;
    descriptor s = bound(family());
    const name n = local_name(s);
    // Its number was something else's before, which this process knew.
    descriptor before = udp(family());
    const int number = before;
    const descriptor reader(granted(open("/dev/zero", O_RDONLY)));
    granted(dup2(reader, number));
    char byte;
    EXPECT_EQ(read(number, &byte, 1), 1);
    before.reset();
    pass(c.here, s);
    msghdr m{};
    iovec part{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    EXPECT_EQ(recvmsg(c.there, &m, 0), 1);
    int got = -1;
    std::memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
    EXPECT_EQ(got, number);
    const descriptor passed(got);
    EXPECT_EQ(local_name(passed), n);
    s.reset();
    send_text(connected(passed), "still there");
    EXPECT_EQ(receive(passed), "still there");
}

TEST_P(processes, children_wait_for_an_inherited_socket_by_epoll) {
    constexpr int children = 4, datagrams = 40;
    const descriptor s = bound(family(), SOCK_NONBLOCK);
    std::vector<pid_t> ids;
    for (int i = 0; i < children; i++)
        ids.push_back(fork_child([&] {
            const descriptor set = make_epoll();
            add(set, s, EPOLLIN);
            for (;;) {
                if (one_event(set) == 0) return false;
                char text[64];
                name from;
                const ssize_t n = recvfrom(s, text, sizeof text, 0, from, &from.length);
                if (n < 0 && errno == EAGAIN) continue;
                if (n == 0) return true;  // the sign to end
                if (n < 0 || sendto(s, text, static_cast<std::size_t>(n), 0, from, from.length) != n) return false;
            }
        }));
    const descriptor from = connected(s);
    for (int i = 0; i < datagrams; i++) {
        send_text(from, std::to_string(i));
        EXPECT_EQ(receive(from), std::to_string(i));
    }
    for (int i = 0; i < children; i++) granted(send(from, "", 0, 0));
    for (const pid_t id : ids) expect_success(id);
}

TEST_P(processes, a_child_sends_and_its_parent_does) {
    const two t(family());
    const pid_t child = fork_child([&] {
        for (int i = 0; i < 100; i++) send_text(t.from, "child");
        return true;
    });
    for (int i = 0; i < 100; i++) send_text(t.from, "parent");
    expect_success(child);
    int of_child = 0, of_parent = 0;
    for (int i = 0; i < 200; i++) (receive(t.to) == "child" ? of_child : of_parent)++;
    EXPECT_EQ(of_child, 100);
    EXPECT_EQ(of_parent, 100);
}

INSTANTIATE_TEST_SUITE_P(of, processes, testing::Values(AF_INET, AF_INET6), family_name);

}  // namespace skua::test
