// Processes of both sides, and the start of the stack.
#include "herd/sides.hh"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <system_error>

namespace skua::herd {

namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

bool run_and_say(const std::function<void()>& body) {
    try {
        body();
        return true;
    } catch (const std::exception& e) {
        fmt::print(stderr, "skua-herd: a waiter: {}\n", e.what());
        return false;
    }
}

}  // namespace

kernel_side::process::process(const std::function<void()>& body) : pid_(fork()) {
    if (pid_ < 0) fail("fork");
    if (pid_ > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(run_and_say(body) ? EXIT_SUCCESS : EXIT_FAILURE);
}

bool kernel_side::process::wait() {
    int status = 0;
    return waitpid(pid_, &status, 0) == pid_ && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

skua_side::world::world() {
    sched_getaffinity(0, sizeof before_, &before_);
    // The shard gives way to the waiters: on a machine with few CPUs it shares one with them.
    char arguments[][20] = {"skua-herd",       "--no-pci", "--",           "--idle", "yield",
                            "--eal-hugepages", "never",    "--eal-memory", "128"};
    char* argv[std::size(arguments) + 1] = {};
    for (std::size_t i = 0; i < std::size(arguments); i++) argv[i] = arguments[i];
    if (skua_start(static_cast<int>(std::size(arguments)), argv) < 0) fail("skua_start");
    // The EAL ties this thread to one CPU, and the threads that it makes inherit that.
    sched_setaffinity(0, sizeof before_, &before_);
}

skua_side::world::~world() { skua_stop(); }

skua_side::process::process(const std::function<void()>& body) : table_(skua_process_fork()) {
    if (table_ == nullptr) fail("skua_process_fork");
    thread_ = std::jthread([this, body] {
        skua_process_enter(table_);
        sound_ = run_and_say(body);
        skua_process_enter(nullptr);
    });
}

bool skua_side::process::wait() {
    thread_.join();
    return skua_process_exit(table_) == 0 && sound_;
}

}  // namespace skua::herd
