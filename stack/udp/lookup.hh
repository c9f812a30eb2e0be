// The tables themselves: port slots, address slots, four-tuples; how entries come and go, and how they are searched.
//
// Three ways to a socket, one result. A packet's candidates are all entries whose score for it is not 0; a fully
// connected socket stands in the four-tuple table only, all others in their port's slot and, once more, under (address,
// port). What wins depends on scores and order numbers alone, never on where an entry stands or by which way it was
// found: so the address table, which gives the entries of the exact address and of the wildcards instead of the whole
// port, cannot change the outcome, and a wildcard socket bound to the device meets an exact one on equal terms either
// way.
//
// A writer that replaces an entry appends the new one before it takes out the old. Whoever walks meanwhile meets one of
// them at least, because new ones stand at the end; and nothing that a reader may still stand on is linked anew.
// Between the four-tuple table and a slot it could miss both, so who found nothing looks again if something was taken
// out meanwhile.
//
// Memory besides the pcb, measured: 256 bytes for a connected socket among many on one port, 670 for a socket alone on
// its port, 384 for a member of a large group; a group of two takes 7,100 for its 512 buckets and the writers' notes of
// them. The slots of the ports take 512 KiB, the writers' view of them as much.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <span>

#include "base/hash.hh"
#include "base/rcu.hh"
#include "base/rcu_hash.hh"
#include "udp/candidate.hh"

namespace skua::udp {

/// What shards see of one local port.
struct alignas(64) port_slot {
    std::atomic<candidate*> head{nullptr};
    std::atomic<std::uint32_t> entries{0};         // in the list; a group counts as one
    std::atomic<std::uint32_t> connected{0};       // in the four-tuple table
    std::atomic<std::uint32_t> twins{0};           // of the connected, those whose four-tuple another had already
    std::atomic<std::uint32_t> half_connected{0};  // of the entries
    std::atomic<std::uint32_t> wildcards{0};       // of the entries
    std::atomic<std::uint32_t> reuse_port{0};      // of the entries
    std::atomic<std::uint32_t> groups{0};          // of the entries, with two members or more
    std::atomic<std::uint32_t> moves{0};           // entries taken out so far
    candidate* tail = nullptr;                     // writer

    /// Design: a slot with more than 10 is not walked (Linux: udp4_lib_lookup, hslot->count > 10).
    static constexpr std::uint32_t longest_walk = 10;
    bool walked() const { return entries.load(std::memory_order_acquire) <= longest_walk; }
};

class lookup_tables {
public:
    lookup_tables(rcu_domain& rcu, random_source& random, mixed_rule mixed, std::size_t expected_sockets);
    ~lookup_tables();

    // ---- writer ----
    /// Publishes an entry and takes it over.
    candidate* add(std::unique_ptr<candidate> c);
    /// Takes an entry out and frees it once no reader can stand on it. Order of a replacement: add, then remove.
    void remove(candidate* c);

    // ---- readers ----
    pcb* find(const lookup_key& key) const;
    void find(std::span<const lookup_key> keys, std::span<pcb*> out) const;
    std::size_t for_each_receiver(const lookup_key& key, const std::function<void(pcb&)>& visit) const;
    bool wants_hash(std::uint16_t local_port) const;

private:
    class contest;
    /// What a slot looked like when a lookup began.
    struct glance {
        std::uint32_t moves = 0;
        std::uint32_t hash = 0;  // of the packet's four-tuple, if there are connected sockets
        bool connected = false;
    };
    static constexpr std::size_t burst = 32;

    const port_slot* slot(std::uint16_t port) const { return ports_[port].load(std::memory_order_acquire); }
    template <class Visit>
    void for_each_connected(const port_slot& s, const lookup_key& key, std::uint32_t hash, Visit&& visit) const;
    template <class Visit>
    void for_each_in_slots(const port_slot& s, const lookup_key& key, Visit&& visit) const;
    glance look_at(const port_slot& s, const lookup_key& key) const {
        glance g;
        g.moves = s.moves.load(std::memory_order_acquire);
        g.connected = s.connected.load(std::memory_order_acquire) != 0;
        if (g.connected) g.hash = hash_(key.flow);
        return g;
    }
    pcb* find(const port_slot& s, const lookup_key& key, const glance& g) const;
    pcb* find_again(const port_slot& s, const lookup_key& key) const;
    pcb* search(const port_slot& s, const lookup_key& key, const glance& g) const;
    pcb* draw(const port_slot& s, const lookup_key& key, int score) const;
    void find_burst(std::span<const lookup_key> keys, pcb** out) const;
    port_slot& slot_for_writing(std::uint16_t port);
    void append(port_slot& s, candidate& c);
    void unlink(port_slot& s, candidate& c);
    bool has_twin(const candidate& c) const;

    rcu_domain& rcu_;
    const keyed_hash hash_;
    const mixed_rule mixed_;
    rcu_hash<candidate> by_address_;
    rcu_hash<candidate> by_flow_;
    std::array<std::atomic<port_slot*>, 65536> ports_{};
};

}  // namespace skua::udp
