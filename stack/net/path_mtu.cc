// Sets of four entries, each under its own sequence lock.
#include "net/path_mtu.hh"

#include <algorithm>
#include <bit>
#include <cstring>

namespace skua::net {

bool path_mtu_cache::entry::read(value& out) const {
    // Acquire loads keep the second look at the sequence behind them: no fence is needed, which ThreadSanitizer could
    // not see.
    const std::uint32_t before = sequence_.load(std::memory_order_acquire);
    ipv6_address a;
    for (std::size_t i = 0; i < 2; i++) {
        const std::uint64_t half = address_[i].load(std::memory_order_acquire);
        std::memcpy(a.bytes.data() + 8 * i, &half, 8);
    }
    out.to = a;
    out.mtu = mtu_.load(std::memory_order_acquire);
    out.expires = time_point(nanoseconds(expires_.load(std::memory_order_acquire)));
    return (before & 1) == 0 && sequence_.load(std::memory_order_relaxed) == before;
}

void path_mtu_cache::entry::write(const value& v) {
    const std::uint32_t s = sequence_.load(std::memory_order_relaxed);
    sequence_.store(s + 1, std::memory_order_relaxed);
    address_[0].store(v.to.high(), std::memory_order_release);
    address_[1].store(v.to.low_raw(), std::memory_order_release);
    mtu_.store(v.mtu, std::memory_order_release);
    expires_.store(v.expires.time_since_epoch().count(), std::memory_order_release);
    sequence_.store(s + 2, std::memory_order_release);
}

path_mtu_cache::path_mtu_cache(random_source& random, const path_mtu_options& options)
    : options_(options),
      hash_(random),
      set_count_(std::bit_ceil(std::max<std::size_t>(options.entries, ways)) / ways),
      sets_(new set[set_count_]) {}

std::uint32_t path_mtu_cache::lookup(const ip_address& to, std::uint32_t interface_mtu, time_point now) const {
    for (const entry& e : set_of(to)) {
        value v;
        // An entry that is just being changed counts as absent: the next router says it again.
        if (e.read(v) && v.mtu != 0 && v.to == to && v.expires > now) return std::min(v.mtu, interface_mtu);
    }
    return interface_mtu;
}

std::uint32_t path_mtu_cache::learn(const ip_address& to, std::uint32_t mtu, std::uint32_t interface_mtu,
                                    time_point now) {
    mtu = std::max(mtu, to.is_v4() ? options_.minimum_v4 : options_.minimum_v6);
    const std::lock_guard hold(lock_);
    if (mtu >= lookup(to, interface_mtu, now)) return 0;
    if (now - window_ >= std::chrono::seconds(1)) {
        window_ = now;
        changes_ = 0;
    }
    if (changes_ == options_.changes_per_second) return 0;
    ++changes_;

    // Its own entry, else an empty one, else the one that would expire first: the oldest.
    entry* victim = nullptr;
    time_point oldest = time_point::max();
    for (entry& e : set_of(to)) {
        value v;
        e.read(v);
        if (v.mtu != 0 && v.to == to) {
            victim = &e;
            break;
        }
        const time_point age = v.mtu == 0 ? time_point::min() : v.expires;
        if (age < oldest) {
            oldest = age;
            victim = &e;
        }
    }
    victim->write({to, mtu, now + options_.lifetime});
    return mtu;
}

void path_mtu_cache::flush() {
    const std::lock_guard hold(lock_);
    for (std::size_t i = 0; i < set_count_; i++)
        for (entry& e : sets_[i]) e.write({});
}

void path_mtu_cache::for_all(time_point now,
                             const std::function<void(const ip_address&, std::uint32_t, time_point)>& visit) const {
    for (std::size_t i = 0; i < set_count_; i++)
        for (const entry& e : sets_[i]) {
            value v;
            if (e.read(v) && v.mtu != 0 && v.expires > now) visit(v.to, v.mtu, v.expires);
        }
}

}  // namespace skua::net
