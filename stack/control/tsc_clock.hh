// monotonic_clock read from the time stamp counter: a few cycles where the system's call takes dozens.
#pragma once

#include <rte_cycles.h>

#include "base/clock.hh"

namespace skua::control {

/// Agrees with CLOCK_MONOTONIC when it is made, then runs by the counter's calibrated rate. Any thread.
class tsc_clock {
public:
    tsc_clock() : start_tsc_(rte_rdtsc()), start_(monotonic_clock::now()), ns_per_cycle_(scaled(rte_get_tsc_hz())) {}

    time_point at(std::uint64_t tsc) const {
        const auto cycles = static_cast<unsigned __int128>(tsc - start_tsc_);
        return start_ + nanoseconds(static_cast<std::int64_t>((cycles * ns_per_cycle_) >> shift));
    }
    time_point now() const { return at(rte_rdtsc()); }

private:
    static constexpr unsigned shift = 32;
    static std::uint64_t scaled(std::uint64_t hz) {
        return static_cast<std::uint64_t>((static_cast<unsigned __int128>(1'000'000'000) << shift) / hz);
    }
    const std::uint64_t start_tsc_;
    const time_point start_;
    const std::uint64_t ns_per_cycle_;
};

}  // namespace skua::control
