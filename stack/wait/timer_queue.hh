// What a shard has to do later. Time is an argument.
//
// rte_timer is not used because it reads the TSC by itself: a test with a clock of its own could not step it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "base/clock.hh"

namespace skua::wait {

/// Belongs to one thread.
class timer_queue {
public:
    using callback = std::function<void(time_point now)>;
    /// Names one scheduled call; the default value names none.
    struct id {
        time_point due{};
        std::uint64_t serial = 0;
        friend auto operator<=>(const id&, const id&) = default;
    };

    id schedule(time_point due, callback call);
    /// False if it has run already or was cancelled.
    bool cancel(const id& which) { return timers_.erase(which) != 0; }
    /// Calls what is due, in order of time, then of scheduling; returns how many. A callback may schedule and cancel;
    /// what it schedules waits for the next run even if it is due, so that a run ends.
    std::size_t run(time_point now);
    std::optional<time_point> next_due() const;
    std::size_t size() const { return timers_.size(); }

private:
    std::map<id, callback> timers_;
    std::uint64_t last_serial_ = 0;
};

}  // namespace skua::wait
