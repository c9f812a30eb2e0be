// Start and end of the process's stack.
#include "api/running.hh"

#include "api/answer.hh"

namespace skua::api {

namespace {

std::unique_ptr<running> the_one;
thread_local std::shared_ptr<sockfs::process> entered;

}  // namespace

running::running(std::optional<control::eal> eal, std::unique_ptr<control::stack> s)
    : eal_(std::move(eal)),
      stack_(std::move(s)),
      processes_(stack_->socket_limits().spin),
      telemetry_(*stack_, processes_) {}

running::~running() {
    // The threads go first: then nobody is inside a socket when its last reference goes.
    stack_->stop_threads();
    for (const auto& p : processes_.all()) p->close_all();
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

void enter_process(std::shared_ptr<sockfs::process> p) { entered = std::move(p); }

sockfs::process* current_process() {
    if (entered) return entered.get();
    return the_one ? &the_one->processes().first() : nullptr;
}

}  // namespace skua::api
