// How many ICMP errors we send (RFC 1812 §4.3.2.8, RFC 4443 §2.4f): token buckets for the host and each destination.
#pragma once

#include <cstdint>
#include <memory>

#include "base/address.hh"
#include "base/clock.hh"
#include "base/counters.hh"
#include "base/hash.hh"
#include "base/mib.hh"

namespace skua::net {

struct icmp_limits {
    std::uint32_t per_second = 1000;  // Linux: icmp_msgs_per_sec. Of one shard. 0: none at all
    std::uint32_t burst = 50;         // Linux: icmp_msgs_burst
    nanoseconds destination_interval = std::chrono::seconds(1);  // Linux: icmp_ratelimit. 0: no limit per destination
    std::uint32_t destination_burst = 6;                         // Linux: XRLIM_BURST_FACTOR
    std::uint32_t destinations = 1024;                           // remembered at a time; rounded up to a power of two
};

/// One per shard.
class icmp_limiter {
public:
    icmp_limiter(random_source& random, const icmp_limits& limits);
    /// May an error be sent to `to` now? Counts a refusal.
    bool allow(const ip_address& to, time_point now, counter_set<mib>& mibs);

private:
    /// `paid_until` is the time at which the bucket is full again: one number is a whole token bucket.
    struct destination {
        ip_address to;
        time_point paid_until{};
    };
    /// Takes `cost` from a bucket that has at least `token` in it.
    static bool take(time_point& paid_until, nanoseconds token, nanoseconds cost, std::uint32_t depth, time_point now);

    random_source& random_;
    const icmp_limits limits_;
    const keyed_hash hash_;
    const std::size_t size_;
    const std::unique_ptr<destination[]> destinations_;
    time_point paid_until_{};
};

}  // namespace skua::net
