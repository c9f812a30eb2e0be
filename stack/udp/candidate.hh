// What a lookup table holds of a socket, or of a whole group: the facts that a packet is compared with, copied.
#pragma once

#include "base/rcu_hash.hh"
#include "udp/group.hh"
#include "udp/tables.hh"

namespace skua::udp {

/// Immutable once published but for its links: a change of the socket makes a new candidate. So a reader sees a socket
/// as it was or as it is, never half of each.
struct alignas(64) candidate : rcu_hash_node<candidate> {
    // The first cache line is all that a four-tuple that does not match needs.
    std::uint16_t local_port = 0;
    std::uint16_t remote_port = 0;  // 0: any
    ip_address local;
    ip_address remote;
    pcb* socket = nullptr;  // of a group with one member: that member

    group* members = nullptr;               // a group with two members or more
    std::atomic<candidate*> next{nullptr};  // in the port's slot
    candidate* previous = nullptr;          // in the port's slot; writer only
    place_order order = 0;
    std::uint32_t device = 0;
    std::int32_t incoming_shard = -1;
    std::uint8_t family_score[2] = {0, 0};  // for an IPv6 packet, for an IPv4 packet; 0: takes none
    std::uint8_t checks = 0;                // which fields are set and must match; most sockets have none or one
    bool reuse_port = false;                // takes part in a choice by hash; a socket with a peer never does

    enum check : std::uint8_t {
        local_address = 1,
        remote_address = 2,
        remote_port_set = 4,
        device_set = 8,
        shard_hint = 16,    // a hint; cannot fail
        members_hint = 32,  // likewise: some members of the group have one
    };

    /// As the pcb stands now; for one socket alone.
    static std::unique_ptr<candidate> of(pcb& p, place_order order);
    /// For a group with two members or more.
    static std::unique_ptr<candidate> of(group& g, std::uint16_t port);

    /// Exactly one flow is for it: it stands in the four-tuple table.
    bool connected() const { return (checks & whole_peer) == whole_peer; }
    /// Has part of a peer (connect() to port 0): scored like any other, in the slots.
    bool half_connected() const { return !connected() && (checks & (remote_address | remote_port_set)) != 0; }
    bool wildcard() const { return !(checks & local_address); }
    bool hinted() const { return checks & members_hint; }
    place_order first_placed(std::uint16_t shard) const {
        return members ? members->best_for(shard).first_placed() : order;
    }
    place_order last_placed(std::uint16_t shard) const {
        return members ? members->best_for(shard).last_placed() : order;
    }

    /// Not above 0: does not match. Else the sum that design.md §5 gives (Linux: compute_score).
    int score(const lookup_key& key, bool v4_packet) const {
        const int family = family_score[v4_packet];
        return family == 0 || checks == 0 ? family : family + score_of_fields(key);
    }

    /// Of a packet that it won.
    pcb* receiver(const lookup_key& key) const {
        return members ? members->receiver(key) : socket;
    }
    flow_key flow() const { return {local, remote, local_port, remote_port}; }

private:
    static constexpr std::uint8_t whole_peer = local_address | remote_address | remote_port_set;
    static constexpr int no_match = -100;

    int score_of_fields(const lookup_key& key) const {
        int s = 0;
        if (checks & local_address) s += local == key.flow.local ? 4 : no_match;
        if (checks & remote_address) s += remote == key.flow.remote ? 4 : no_match;
        if (checks & remote_port_set) s += remote_port == key.flow.remote_port ? 4 : no_match;
        if (checks & device_set) s += device == key.ifindex ? 4 : no_match;
        if (checks & shard_hint) s += incoming_shard == key.shard;
        if (checks & members_hint) s += members->prefers(key.shard);
        return s;
    }
};

static_assert(sizeof(candidate) == 128);

}  // namespace skua::udp
