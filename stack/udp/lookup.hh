// The tables themselves: port slots, address slots, four-tuples; how entries come and go, and how they are searched.
//
// Three ways to a socket, one result. A packet's candidates are all entries whose score for it is not 0; a fully
// connected socket stands in the four-tuple table only, all others in their port's slot and, once more, under (address,
// port). What wins depends on scores and order numbers alone, never on where an entry stands or by which way it was
// found: so the address table, which gives the entries of the exact address and of the wildcards instead of the whole
// port, cannot change the outcome, and a wildcard socket bound to the device meets an exact one on equal terms either
// way.
//
// Nothing that a reader may stand on changes its place. An entry that is replaced by one of the same address is written
// over in one step, so whoever walks meanwhile meets one of them. Any other replacement appends the new one before it
// takes out the old; a walk between two tables or two buckets could still miss both, so a lookup during which something
// was taken out of the port looks again.
//
// Memory for each socket besides the pcb (memory_test.cc): 198 bytes if connected to one port with many others, 535
// alone on its port, 451 alone on its address of a port, 582 as member of a large group; a group of two takes 6,600 for
// its 512 buckets and the writers' notes of them. Before the first: 4 MiB for the slots of the ports, 512 KiB for the
// writers' view of them, 64 KiB for the buckets of 1,024 expected sockets.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/hash.hh"
#include "base/rcu.hh"
#include "base/rcu_buckets.hh"
#include "base/slab.hh"
#include "udp/candidate.hh"

namespace skua::udp {

/// Design: a slot with more than 10 is not walked (Linux: udp4_lib_lookup, hslot->count > 10).
inline constexpr std::uint32_t longest_walk = 10;

/// The entries of a port that are few enough to be walked. Immutable once published.
struct alignas(cache_line) few_entries {
    std::uint32_t count = 0;
    std::array<candidate*, longest_walk> at{};

    void add(candidate& c) { at[count++] = &c; }
};

/// The entries of a local port, in one word, so that a reader sees them as they are at one moment: none, one, few, or
/// many. Many are found by address; the list is the writer's.
class port_entries {
public:
    using many_entries = std::vector<candidate*>;
    port_entries() = default;
    explicit port_entries(candidate& one) : word_(reinterpret_cast<std::uintptr_t>(&one)) {}
    explicit port_entries(const few_entries& few) : word_(reinterpret_cast<std::uintptr_t>(&few) | is_few) {}
    explicit port_entries(many_entries& many) : word_(reinterpret_cast<std::uintptr_t>(&many) | is_many) {}

    bool none() const { return word_ == 0; }
    candidate* one() const { return (word_ & kind) == 0 ? reinterpret_cast<candidate*>(word_) : nullptr; }
    const few_entries* few() const {
        return (word_ & kind) == is_few ? reinterpret_cast<const few_entries*>(word_ & ~kind) : nullptr;
    }
    many_entries* many() const {
        return (word_ & kind) == is_many ? reinterpret_cast<many_entries*>(word_ & ~kind) : nullptr;
    }
    /// Brings the list, or the only entry, nearer.
    void prefetch() const { __builtin_prefetch(reinterpret_cast<const void*>(word_ & ~kind)); }
    /// Unless there are many.
    template <class Visit>
    void for_each(Visit&& visit) const {
        if (const few_entries* const f = few())
            for (std::uint32_t i = 0; i < f->count; i++) visit(*f->at[i]);
        else if (candidate* const c = one()) visit(*c);
    }

private:
    static constexpr std::uintptr_t is_few = 1, is_many = 2, kind = 3;
    std::uintptr_t word_ = 0;
};

/// What shards see of one local port.
struct alignas(cache_line) port_slot {
    std::atomic<port_entries> entries{port_entries()};
    std::atomic<std::uint32_t> count{0};           // of the entries; a group counts as one
    std::atomic<std::uint32_t> connected{0};       // in the four-tuple table
    std::atomic<std::uint32_t> twins{0};           // of the connected, those whose four-tuple another had already
    std::atomic<std::uint32_t> half_connected{0};  // of the entries
    std::atomic<std::uint32_t> sharers{0};         // of the entries, those whose address another had already
    std::atomic<std::uint32_t> wildcards{0};       // of the entries
    std::atomic<std::uint32_t> reuse_port{0};      // of the entries
    std::atomic<std::uint32_t> groups{0};          // of the entries, with two members or more
    std::atomic<std::uint32_t> moves{0};           // entries taken out so far, connected ones too
};
static_assert(sizeof(port_slot) == cache_line);

class lookup_tables {
public:
    lookup_tables(rcu_domain& rcu, random_source& random, mixed_rule mixed, std::size_t expected_sockets);
    ~lookup_tables();

    // ---- writer ----
    /// Publishes an entry.
    candidate* add(const candidate& c);
    /// Publishes `c` and takes `old` out. With one step between if they have one address, or one four-tuple; else the
    /// new one comes first.
    candidate* replace(candidate* old, const candidate& c);
    /// Takes an entry out; its memory is used again once no reader can stand on it.
    void remove(candidate* c);

    // ---- readers ----
    pcb* find(const lookup_key& key) const;
    void find(std::span<const lookup_key> keys, std::span<pcb*> out) const;
    std::size_t for_each_receiver(const lookup_key& key, const std::function<void(pcb&)>& visit) const;
    bool wants_hash(std::uint16_t local_port) const;
    explanation explain(const lookup_key& key) const;
    bool four_tuple_decides(std::uint16_t local_port) const {
        const port_slot& s = slot(local_port);
        return s.twins.load(std::memory_order_acquire) == 0 && s.half_connected.load(std::memory_order_acquire) == 0;
    }
    void prefetch(std::uint16_t local_port) const { __builtin_prefetch(&slot(local_port)); }

private:
    class contest;
    struct hash_of_address {
        const keyed_hash& hash;
        std::uint32_t operator()(const candidate& c) const { return hash(c.local, c.local_port); }
    };
    struct hash_of_flow {
        const keyed_hash& hash;
        std::uint32_t operator()(const candidate& c) const { return hash(c.flow()); }
    };
    /// What a slot looked like when a lookup began.
    struct glance {
        std::uint32_t moves;
        std::uint32_t flow_hash;     // of the packet's four-tuple, if some are connected
        std::uint32_t address_hash;  // of its local address and port, if there are many entries
        bool connected;
        bool many;
    };
    struct grave {
        std::uint64_t readers;  // token
        candidate* entry;
    };
    static constexpr std::size_t burst = 32;

    port_slot& slot(std::uint16_t port) const { return slots_[port]; }
    template <class Visit>
    void for_each_connected(const port_slot& s, const lookup_key& key, const glance& g, Visit&& visit) const;
    template <class Visit>
    void for_each_in_slots(const port_slot& s, const lookup_key& key, const glance& g, Visit&& visit) const;
    /// Fills in place: a copy would read it back in other pieces than it was written in, and wait.
    void look_at(const port_slot& s, const lookup_key& key, glance& g) const {
        g.moves = s.moves.load(std::memory_order_acquire);
        g.connected = s.connected.load(std::memory_order_acquire) != 0;
        g.many = s.entries.load(std::memory_order_acquire).many() != nullptr;
        if (g.connected) g.flow_hash = hash_(key.flow);
        if (g.many) g.address_hash = hash_(key.flow.local, key.flow.local_port);
    }
    pcb* find(const port_slot& s, const lookup_key& key, const glance& g, const candidate* first) const;
    const candidate* first_of(const glance& g) const;
    const candidate* only(const port_slot& s, const lookup_key& key, const glance& g, const candidate* first) const;
    const candidate* search(const port_slot& s, const lookup_key& key, const glance& g) const;
    template <class Watch>
    const candidate* search(const port_slot& s, const lookup_key& key, const glance& g, contest& c,
                            Watch&& watch) const;
    const candidate* search_again(const port_slot& s, const lookup_key& key) const;
    const candidate* draw(const port_slot& s, const lookup_key& key, const glance& g, int score) const;
    void find_burst(std::span<const lookup_key> keys, pcb** out) const;
    bool has_twin(const candidate& c) const;
    bool has_sharer(const candidate& c) const;
    void bury(candidate* c);
    void publish(port_slot& s, const port_entries& now);
    void enlist(port_slot& s, candidate& c);
    void delist(port_slot& s, candidate& c);
    void relist(port_slot& s, candidate& c, candidate& by);

    rcu_domain& rcu_;
    const keyed_hash hash_;
    const mixed_rule mixed_;
    slab<candidate> candidates_;
    std::deque<grave> buried_;
    rcu_buckets<candidate, hash_of_address> by_address_;
    rcu_buckets<candidate, hash_of_flow> by_flow_;
    const std::unique_ptr<port_slot[]> slots_;
};

}  // namespace skua::udp
