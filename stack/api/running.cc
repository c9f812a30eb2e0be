// Start and end of the process's stack.
#include "api/running.hh"

namespace skua::api {

namespace {

std::unique_ptr<running> the_one;

}  // namespace

running::running(std::optional<control::eal> eal, std::unique_ptr<control::stack> s)
    : eal_(std::move(eal)), stack_(std::move(s)), telemetry_(*stack_) {}

running::~running() {
    // The threads go first: then nobody is inside a socket when its last reference goes.
    stack_->stop_threads();
    files_.remove_all();
}

tl::expected<void, std::string> running::start(const control::config& c, control::driving how,
                                               std::optional<control::eal> eal, control::surroundings around) {
    if (the_one) return tl::unexpected(std::string("a stack is running in this process already"));
    auto made = control::stack::make(c, how, std::move(around));
    if (!made) return tl::unexpected(made.error());
    std::unique_ptr<running> fresh(new running(std::move(eal), std::move(*made)));
    if (how == control::driving::own)
        if (auto ok = fresh->stack().start_threads(); !ok) return ok;
    the_one = std::move(fresh);
    return {};
}

void running::stop() { the_one.reset(); }

running* running::current() { return the_one.get(); }

}  // namespace skua::api
