// skua's side with the stack in this program: a process is a thread with a descriptor table of its own.
#include <sched.h>

#include <cerrno>
#include <iterator>
#include <system_error>
#include <thread>

#include "herd/sides.hh"

namespace skua::herd {

namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

const char* const skua_side::name = "skua";

struct skua_side::world::state {
    cpu_set_t before;  // CPUs that this thread may use
};

skua_side::world::world() : state_(std::make_unique<state>()) {
    sched_getaffinity(0, sizeof state_->before, &state_->before);
    // The shard gives way to the waiters: on a machine with few CPUs it shares one with them.
    char arguments[][20] = {"skua-herd",       "--no-pci", "--",           "--idle", "yield",
                            "--eal-hugepages", "never",    "--eal-memory", "128"};
    char* argv[std::size(arguments) + 1] = {};
    for (std::size_t i = 0; i < std::size(arguments); i++) argv[i] = arguments[i];
    if (skua_start(static_cast<int>(std::size(arguments)), argv) < 0) fail("skua_start");
    // The EAL ties this thread to one CPU, and the threads that it makes inherit that.
    sched_setaffinity(0, sizeof state_->before, &state_->before);
}

skua_side::world::~world() { skua_stop(); }

struct skua_side::process::state {
    skua_process* table;
    bool sound = false;
    std::jthread thread;  // last: it ends before what it uses
};

skua_side::process::process(const std::function<void()>& body) : state_(new state{skua_process_fork(), false, {}}) {
    if (state_->table == nullptr) fail("skua_process_fork");
    state_->thread = std::jthread([s = state_.get(), body] {
        skua_process_enter(s->table);
        s->sound = run_and_say(body);
        skua_process_enter(nullptr);
    });
}

skua_side::process::~process() = default;

bool skua_side::process::wait() {
    state_->thread.join();
    return skua_process_exit(state_->table) == 0 && state_->sound;
}

}  // namespace skua::herd
