// Processes of the operating system.
#include "herd/sides.hh"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace skua::herd {

bool run_and_say(const std::function<void()>& body) {
    try {
        body();
        return true;
    } catch (const std::exception& e) {
        fmt::print(stderr, "skua-herd: a waiter: {}\n", e.what());
        return false;
    }
}

forked::forked(const std::function<void()>& body) : pid_(fork()) {
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(run_and_say(body) ? EXIT_SUCCESS : EXIT_FAILURE);
}

bool forked::wait() {
    int status = 0;
    return waitpid(pid_, &status, 0) == pid_ && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

}  // namespace skua::herd
