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
    pcb* socket = nullptr;          // of a group with one member: that member

    group* members = nullptr;       // a group with two members or more
    std::atomic<candidate*> next{nullptr};  // in the port's slot
    candidate* previous = nullptr;  // in the port's slot; writer only
    place_order order = 0;
    std::uint32_t device = 0;       // 0: any
    std::int32_t incoming_shard = -1;
    std::uint8_t family_score[2] = {0, 0};  // for an IPv4 packet, for an IPv6 packet; 0: takes none
    bool local_any = true;
    bool remote_any = true;
    bool reuse_port = false;        // takes part in a choice by hash; a socket with a peer never does
    bool hinted = false;            // some members of the group have SO_INCOMING_CPU

    /// As the pcb stands now; for one socket alone.
    static std::unique_ptr<candidate> of(pcb& p, place_order order);
    /// For a group with two members or more.
    static std::unique_ptr<candidate> of(group& g, std::uint16_t port);

    /// Exactly one flow is for it: it stands in the four-tuple table.
    bool connected() const { return remote_port != 0 && !remote_any && !local_any; }
    /// Has part of a peer (connect() to port 0): scored like any other, in the slots.
    bool half_connected() const { return !connected() && (remote_port != 0 || !remote_any); }
    place_order first_placed(std::uint16_t shard) const { return members ? members->best_for(shard).first_placed() : order; }
    place_order last_placed(std::uint16_t shard) const { return members ? members->best_for(shard).last_placed() : order; }

    /// 0: does not match. Else the sum that design.md §5 gives (Linux: compute_score).
    int score(const lookup_key& key) const {
        int s = family_score[key.flow.local.is_v4() ? 0 : 1];
        if (s == 0) return 0;
        if (!local_any) {
            if (local != key.flow.local) return 0;
            s += 4;
        }
        if (!remote_any) {
            if (remote != key.flow.remote) return 0;
            s += 4;
        }
        if (remote_port != 0) {
            if (remote_port != key.flow.remote_port) return 0;
            s += 4;
        }
        if (device != 0) {
            if (device != key.ifindex) return 0;
            s += 4;
        }
        if (hinted ? members->prefers(key.shard) : incoming_shard == key.shard) ++s;
        return s;
    }

    flow_key flow() const { return {local, remote, local_port, remote_port}; }
};

static_assert(sizeof(candidate) == 128);

}  // namespace skua::udp
