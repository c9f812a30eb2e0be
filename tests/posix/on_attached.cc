// The side of the POSIX tests that attaches: a daemon of their own, without ports, and this process a program of it.
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "posix/posix.hh"

extern char** environ;

namespace skua::test {

namespace {

pid_t daemon_id = -1;
std::filesystem::path directory;

/// Reads the daemon's output until it says "ready".
bool wait_until_ready(int output) {
    std::string said;
    char text[512];
    for (;;) {
        pollfd p{output, POLLIN, 0};
        if (::poll(&p, 1, patience_ms) != 1) return false;
        const ssize_t n = ::read(output, text, sizeof text);
        if (n <= 0) {
            std::fprintf(stderr, "%s", said.c_str());
            return false;
        }
        said.append(text, static_cast<std::size_t>(n));
        if (said.find("ready\n") != std::string::npos) return true;
    }
}

}  // namespace

bool numbers_are_the_stacks() { return false; }

bool start_side(const char*) {
    char name[] = "/tmp/skua-attach-XXXXXX";
    if (::mkdtemp(name) == nullptr) return false;
    directory = name;
    const std::string path = directory / "attach";
    ::setenv("SKUA_ATTACH", path.c_str(), 1);
    std::vector<std::string> args = {std::getenv("SKUAD"),
                                     "--no-huge",
                                     "--no-shconf",
                                     "--no-pci",
                                     "--no-telemetry",
                                     "-m",
                                     "512",
                                     "--log-level=error",
                                     "--file-prefix=skua-test-" + std::to_string(getpid()),
                                     "--",
                                     "--idle",
                                     "yield",
                                     "--attach-path",
                                     path};
    std::vector<char*> pointers;
    for (auto& a : args) pointers.push_back(a.data());
    pointers.push_back(nullptr);
    int output[2];
    if (::pipe(output) != 0) return false;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    posix_spawn_file_actions_addclose(&actions, output[0]);
    const bool spawned = posix_spawn(&daemon_id, pointers[0], &actions, nullptr, pointers.data(), environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    ::close(output[1]);
    return spawned && wait_until_ready(output[0]);
}

void stop_side() {
    if (daemon_id <= 0) return;
    ::kill(daemon_id, SIGTERM);
    int status = 0;
    ::waitpid(daemon_id, &status, 0);
    if (status != 0) std::fprintf(stderr, "the daemon ended with status %#x\n", status);
    std::error_code left_alone;
    std::filesystem::remove_all(directory, left_alone);
}

}  // namespace skua::test
