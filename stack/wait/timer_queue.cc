// Timers in a tree ordered by time.
#include "wait/timer_queue.hh"

#include <utility>

namespace skua::wait {

timer_queue::id timer_queue::schedule(time_point due, callback call) {
    const id made{due, ++last_serial_};
    timers_.emplace(made, std::move(call));
    return made;
}

std::size_t timer_queue::run(time_point now) {
    const std::uint64_t last_known = last_serial_;
    std::size_t ran = 0;
    id done{};
    for (auto t = timers_.begin(); t != timers_.end() && t->first.due <= now; t = timers_.upper_bound(done)) {
        done = t->first;
        if (done.serial > last_known) continue;
        auto taken = timers_.extract(t);
        taken.mapped()(now);
        ++ran;
    }
    return ran;
}

std::optional<time_point> timer_queue::next_due() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.begin()->first.due;
}

}  // namespace skua::wait
