// Time is an argument everywhere below the shard loop: these are its types, and the one place that reads a clock.
#pragma once

#include <chrono>

namespace skua {

using std::chrono::nanoseconds;

/// Monotonic time since an arbitrary start (CLOCK_MONOTONIC in production, whatever a test says in tests).
struct monotonic_clock {
    using rep = nanoseconds::rep;
    using period = nanoseconds::period;
    using duration = nanoseconds;
    using time_point = std::chrono::time_point<monotonic_clock>;
    static constexpr bool is_steady = true;
    static time_point now() {
        return time_point(std::chrono::duration_cast<nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()));
    }
};

using time_point = monotonic_clock::time_point;

}  // namespace skua
