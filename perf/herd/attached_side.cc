// skua's side with the stack in a skuad: sender and waiters are processes that attach to it.
#include "herd/sides.hh"
#include "support/own_daemon.hh"

namespace skua::herd {

const char* const skua_side::name = "attached";

struct skua_side::world::state {
    support::own_daemon daemon;
};

skua_side::world::world() : state_(std::make_unique<state>()) {}
skua_side::world::~world() = default;

struct skua_side::process::state {
    forked process;
};

skua_side::process::process(const std::function<void()>& body) : state_(new state{forked(body)}) {}
skua_side::process::~process() = default;
bool skua_side::process::wait() { return state_->process.wait(); }

}  // namespace skua::herd
