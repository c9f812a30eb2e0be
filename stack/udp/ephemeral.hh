// Choosing a local port (RFC 6056 §3.3.1, algorithm 1: a random start, then upwards).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/random.hh"

namespace skua::udp {

/// Both ends belong to it.
struct port_range {
    std::uint16_t first = 0;
    std::uint16_t last = 0;

    /// A socket's own range moves the ends inwards only (inet_sk_get_local_port_range); 0 leaves an end where it is.
    port_range narrowed(std::uint16_t own_first, std::uint16_t own_last) const {
        port_range r = *this;
        if (own_first != 0 && r.first <= own_first && own_first <= r.last) r.first = own_first;
        if (own_last != 0 && r.first <= own_last && own_last <= r.last) r.last = own_last;
        return r;
    }
};

/// Independent draws (RFC 6056 §3.3.2): a port of the range that is not `reserved` and that `usable` agrees to, or
/// nothing after a bounded number of them. With one port in 64 usable they fail once in ten million.
template <class Usable>
std::optional<std::uint16_t> draw_port(random_source& random, port_range range, const std::vector<bool>& reserved,
                                       Usable&& usable) {
    constexpr int most_draws = 1024;
    if (range.first > range.last) return {};
    for (int i = 0; i < most_draws; i++) {
        const auto port = static_cast<std::uint16_t>(range.first + random.below(range.last - range.first + 1u));
        if (!reserved[port] && usable(port)) return port;
    }
    return {};
}

/// A port of the range that is not `reserved` (65,536 flags) and that `usable` agrees to, or nothing. Every port is
/// asked for once at most.
template <class Usable>
std::optional<std::uint16_t> choose_port(random_source& random, port_range range, const std::vector<bool>& reserved,
                                         Usable&& usable) {
    if (range.first > range.last) return {};
    const std::uint32_t n = range.last - range.first + 1u;
    const auto start = static_cast<std::uint32_t>(random.below(n));
    for (std::uint32_t i = 0; i < n; i++) {
        const std::uint32_t at = start + i < n ? start + i : start + i - n;
        const auto port = static_cast<std::uint16_t>(range.first + at);
        if (!reserved[port] && usable(port)) return port;
    }
    return {};
}

}  // namespace skua::udp
