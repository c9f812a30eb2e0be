// Children of the tests of whole programs.
#include "posix/program.hh"

#include <sys/wait.h>

#include <cctype>
#include <cstdlib>

namespace skua::test {

bool answer_one(int fd) {
    pollfd p{fd, POLLIN, 0};
    if (poll(&p, 1, patience_ms) != 1) return false;
    char text[64];
    name from;
    const ssize_t n = recvfrom(fd, text, sizeof text, MSG_DONTWAIT, from, &from.length);
    for (ssize_t i = 0; i < n; i++) text[i] = static_cast<char>(std::toupper(text[i]));
    return n >= 0 && sendto(fd, text, static_cast<std::size_t>(n), 0, from, from.length) == n;
}

void expect_an_answer(const name& from) {
    const descriptor fd = udp(from.family());
    granted(connect(fd, from, from.length));
    send_text(fd, "hello");
    EXPECT_EQ(receive(fd), "HELLO");
}

pid_t fork_child(const std::function<bool()>& work) {
    const pid_t child = granted(fork());
    if (child == 0) _exit(work() ? 0 : 1);
    return child;
}

void expect_success(pid_t child) {
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

void become(const char* mode, int fd) {
    const std::string number = std::to_string(fd);
    execl("/proc/self/exe", "posix_program", mode, number.c_str(), nullptr);
    _exit(126);
}

bool runs_under_the_preload() { return std::getenv("SKUA_ATTACH") != nullptr; }

}  // namespace skua::test
