// The side of the POSIX tests that attaches: a daemon of their own, without ports, and this process a program of it.
#include <cstdio>
#include <optional>
#include <stdexcept>

#include "posix/posix.hh"
#include "support/daemon.hh"

namespace skua::test {

namespace {

std::optional<daemon> the_daemon;

}  // namespace

bool numbers_are_the_stacks() { return false; }

bool start_side(const char*) {
    try {
        the_daemon.emplace();
    } catch (const std::runtime_error& why) {
        std::fprintf(stderr, "%s\n", why.what());
        return false;
    }
    return true;
}

void stop_side() { the_daemon.reset(); }

}  // namespace skua::test
