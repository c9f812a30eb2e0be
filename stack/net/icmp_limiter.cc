// Token buckets kept as times (the virtual scheduling form of GCRA).
#include "net/icmp_limiter.hh"

#include <algorithm>
#include <bit>

namespace skua::net {

icmp_limiter::icmp_limiter(random_source& random, const icmp_limits& limits)
    : random_(random),
      limits_(limits),
      hash_(random),
      size_(std::bit_ceil(std::max<std::size_t>(limits.destinations, 1))),
      destinations_(new destination[size_]) {}

bool icmp_limiter::take(time_point& paid_until, nanoseconds token, nanoseconds cost, std::uint32_t depth,
                        time_point now) {
    const time_point from = std::max(paid_until, now);
    if (from + token - now > token * depth) return false;
    paid_until = from + cost;
    return true;
}

bool icmp_limiter::allow(const ip_address& to, time_point now, counter_set<mib>& mibs) {
    // The destination comes first: one that is over its own limit must not use up everybody's (as Linux since 6.13).
    if (limits_.destination_interval > nanoseconds(0)) {
        // Of two destinations that share a place the newer one displaces the other: it starts with a full bucket.
        destination& d = destinations_[hash_(to, 0) & (size_ - 1)];
        if (!(d.to == to)) d = {to, {}};
        const nanoseconds token = limits_.destination_interval;
        if (!take(d.paid_until, token, token, limits_.destination_burst, now)) {
            if (!to.is_v4()) mibs.add(mib::icmp6_out_rate_limit_host);
            return false;
        }
    }
    if (limits_.per_second > 0) {
        // Nobody may count our errors to find open ports (the SAD DNS attack): one costs 0, 1 or 2 tokens, 1 on
        // average, as in Linux's icmp_global_consume.
        const nanoseconds token = nanoseconds(std::chrono::seconds(1)) / limits_.per_second;
        if (take(paid_until_, token, token * static_cast<std::int64_t>(random_.below(3)), limits_.burst, now))
            return true;
    }
    mibs.add(mib::icmp_out_rate_limit_global);
    return false;
}

}  // namespace skua::net
