// Where neighbours are kept: a hash table that any shard reads, and one list per state that the owner runs timers by.
//
// All places are made at the start: neither a packet nor a scan of addresses allocates.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/address.hh"
#include "base/clock.hh"
#include "base/hash.hh"
#include "base/rcu.hh"
#include "base/rcu_hash.hh"
#include "packet/packet.hh"

namespace skua::net {

/// RFC 4861 §7.3.2; failed and permanent are Linux's NUD_FAILED and NUD_PERMANENT.
enum class neighbour_state : std::uint8_t {
    none,
    incomplete,
    reachable,
    stale,
    delay,
    probe,
    failed,
    permanent,
    count_
};

/// May packets be sent to its MAC address?
constexpr bool is_usable(neighbour_state s) {
    using enum neighbour_state;
    return s == reachable || s == stale || s == delay || s == probe || s == permanent;
}

/// What readers see of a neighbour, in one word so that it is never seen half changed. Aligned like one: clang makes a
/// library call of every look otherwise.
struct alignas(8) neighbour_link {
    mac_address mac;
    neighbour_state state = neighbour_state::none;
    bool router = false;  // the last advertisement said so
};

struct neighbour : rcu_hash_node<neighbour> {
    // Constant while readers may see it.
    ip_address address;
    std::uint32_t ifindex = 0;

    std::atomic<neighbour_link> link{neighbour_link{}};
    mutable std::atomic<bool> used{false};  // somebody sent to it since it became stale

    // The owner's.
    neighbour* next = nullptr;  // in the list of its state, or among the free ones
    neighbour* previous = nullptr;
    time_point due{};      // when its state ends or asks again
    time_point learned{};  // when its MAC address or state was last learned from a packet
    unsigned solicits = 0;
    rte_mbuf* first_parked = nullptr;  // by packet::meta::link
    rte_mbuf* last_parked = nullptr;
    unsigned parked = 0;
    std::uint64_t token = 0;  // of the moment it was taken out

    neighbour_link now() const { return link.load(std::memory_order_relaxed); }
    neighbour_state state() const { return now().state; }
};
static_assert(sizeof(neighbour_link) == 8 && std::atomic<neighbour_link>::is_always_lock_free);

/// Single owner; find() and for_all() by any thread under RCU.
class neighbour_cache {
public:
    /// `limit`: entries that add() may be brought to by packets; a quarter more waits for readers to go or serves
    /// static entries.
    neighbour_cache(rcu_domain& rcu, random_source& random, std::size_t limit);

    neighbour* find(std::uint32_t ifindex, const ip_address& a) const {
        return table_.find(hash_(a, ifindex),
                           [&](const neighbour& n) { return n.ifindex == ifindex && n.address == a; });
    }
    template <class Visit>
    void for_all(Visit&& visit) const {
        table_.for_all(visit);
    }

    /// A new entry in the list of state none, or nullptr if no place is free.
    neighbour* add(std::uint32_t ifindex, const ip_address& a);
    /// No packet may be parked behind it.
    void remove(neighbour& n);
    /// Publishes what is known and moves the entry to the end of its state's list.
    void enter(neighbour& n, const neighbour_link& link, time_point due);

    bool full() const { return table_.size() >= limit_; }
    std::size_t size() const { return table_.size(); }
    /// The entries of a state, in the order they entered it: since a state lasts one time for all, in the order they
    /// are due.
    neighbour* first(neighbour_state s) const { return lists_[static_cast<std::size_t>(s)].first; }
    std::size_t count(neighbour_state s) const { return lists_[static_cast<std::size_t>(s)].count; }

private:
    struct list {
        neighbour* first = nullptr;
        neighbour* last = nullptr;
        std::size_t count = 0;
        void append(neighbour& n);
        void take(neighbour& n);
    };
    list& list_of(const neighbour& n) { return lists_[static_cast<std::size_t>(n.state())]; }

    rcu_domain& rcu_;
    const keyed_hash hash_;
    const std::size_t limit_;
    const std::unique_ptr<neighbour[]> places_;
    rcu_hash<neighbour> table_;
    std::array<list, static_cast<std::size_t>(neighbour_state::count_)> lists_;
    list free_;  // oldest first, so its first is the first that no reader sees any more
};

}  // namespace skua::net
