// What each user has of the daemon, and how often they may ask it for something.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <string_view>

namespace skua::attach {

using clock = std::chrono::steady_clock;

/// What one user may have at one time.
struct quotas {
    unsigned sessions = 256;
    unsigned sockets = 4096;
    std::uint64_t memory = std::uint64_t{4096} << 20;  // bytes
    unsigned requests_per_second = 50000;
};

struct account {
    unsigned sessions = 0;
    unsigned sockets = 0;
    std::uint64_t memory = 0;
    std::uint64_t delayed = 0;  // requests that had to wait
    std::uint64_t refused = 0;  // for want of quota
    bool idle() const { return sessions == 0 && sockets == 0; }

    /// A token bucket: whether another request may be answered now, which is then counted.
    bool ask(clock::time_point now, unsigned per_second);
    /// How many may be.
    unsigned allowed(clock::time_point now, unsigned per_second) const {
        return static_cast<unsigned>(tokens(now, per_second));
    }
    /// At rest so long that forgetting it changes nothing.
    bool full(clock::time_point now, unsigned per_second) const;

    std::uint64_t round = 0;  // of the server; `served` is of this one
    unsigned served = 0;

private:
    double tokens(clock::time_point now, unsigned per_second) const;
    static double most_tokens(unsigned per_second) { return per_second < 500 ? 10 : per_second / 50.0; }
    double tokens_ = -1;  // at `counted_`; less than none: it is new
    clock::time_point counted_;
};

/// Why something came to nothing, and what was done. Any thread reads them.
enum class event : std::uint8_t {
    sessions_begun,
    sessions_ended,
    sessions_garbage,  // ended for what they said
    sockets_opened,
    requests,
    requests_delayed,
    refused_sessions,
    refused_sockets,
    refused_memory,
    refused_privilege,
    sockets_restored,  // of a daemon before this one
    sockets_lost,      // that could not be
    restored_badly,    // words that a socket was told and that are refused now
    not_kept,          // what the next daemon will not know
    count_
};
inline constexpr std::array<std::string_view, static_cast<std::size_t>(event::count_)> event_names = {
    "sessions_begun",   "sessions_ended",   "sessions_garbage", "sockets_opened", "requests",
    "requests_delayed", "refused_sessions", "refused_sockets",  "refused_memory", "refused_privilege",
    "sockets_restored", "sockets_lost",     "restored_badly",   "not_kept"};

class events {
public:
    void add(event e) { counts_[static_cast<std::size_t>(e)].fetch_add(1, std::memory_order_relaxed); }
    std::uint64_t operator[](event e) const {
        return counts_[static_cast<std::size_t>(e)].load(std::memory_order_relaxed);
    }

private:
    std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(event::count_)> counts_{};
};

}  // namespace skua::attach
