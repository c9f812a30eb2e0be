// What a lookup table holds of a socket, or of a whole group: the facts that a packet is compared with, copied.
#pragma once

#include "base/lines.hh"
#include "udp/group.hh"
#include "udp/tables.hh"

namespace skua::udp {

/// Immutable once published: a change of the socket makes a new candidate. So a reader sees a socket as it was or as it
/// is, never half of each.
struct alignas(cache_line) candidate {
    ip_address local;
    ip_address remote;
    union {
        pcb* socket = nullptr;  // of a group with one member: that member
        group* several;         // if of_group: a group with two members or more
    };
    place_order order = 0;
    std::uint16_t local_port = 0;
    std::uint16_t remote_port = 0;  // 0: any
    std::uint32_t device = 0;
    std::uint32_t place = 0;  // writer: among the entries of a port with more than ten
    std::uint16_t incoming_shard = 0;
    std::uint8_t checks = 0;          // which fields are set and must match; most sockets have none or one
    std::uint8_t v6_score : 2 = 0;    // of the family, for an IPv6 packet; 0: takes none
    std::uint8_t v4_score : 2 = 0;    // for an IPv4 packet
    std::uint8_t reuse_port : 1 = 0;  // takes part in a choice by hash; a socket with a peer never does
    std::uint8_t of_group : 1 = 0;

    enum check : std::uint8_t {
        local_address = 1,
        remote_address = 2,
        remote_port_set = 4,
        device_set = 8,
        shard_hint = 16,    // a hint; cannot fail
        members_hint = 32,  // likewise: some members of the group have one
    };

    /// As the pcb stands now; for one socket alone.
    static candidate of(pcb& p, place_order order);
    /// For a group that chooses.
    static candidate of(group& g, std::uint16_t port);

    /// Exactly one flow is for it: it stands in the four-tuple table.
    bool connected() const { return (checks & whole_peer) == whole_peer; }
    /// Has part of a peer (connect() to port 0): scored like any other, in the slots.
    bool half_connected() const { return !connected() && (checks & (remote_address | remote_port_set)) != 0; }
    bool wildcard() const { return !(checks & local_address); }
    bool hinted() const { return checks & members_hint; }
    place_order first_placed(std::uint16_t shard) const {
        return of_group ? several->best_for(shard).first_placed() : order;
    }
    place_order last_placed(std::uint16_t shard) const {
        return of_group ? several->best_for(shard).last_placed() : order;
    }

    /// Not above 0: does not match. Else the sum that design.md §5 gives (Linux: compute_score).
    int score(const lookup_key& key, bool v4_packet) const {
        const int family = v4_packet ? v4_score : v6_score;
        if (family == 0 || checks == 0) return family;
        if (checks == local_address) return local == key.flow.local ? family + 4 : 0;
        return family + score_of_fields(key);
    }
    /// Is this flow's, and has nothing else that could match or not.
    bool takes_just(const flow_key& f) const {
        const std::uint64_t differs = (local.high() ^ f.local.high()) | (local.low_raw() ^ f.local.low_raw()) |
                                      (remote.high() ^ f.remote.high()) | (remote.low_raw() ^ f.remote.low_raw()) |
                                      (local_port ^ f.local_port) | (remote_port ^ f.remote_port);
        return differs == 0 && checks == whole_peer && (v4_score | v6_score) != 0;
    }
    /// Likewise of an address.
    bool takes_just(const ip_address& to, std::uint16_t port) const {
        return local == to && local_port == port && checks == local_address && (v4_score | v6_score) != 0;
    }
    /// Of a packet that it won.
    pcb* receiver(const lookup_key& key) const { return of_group ? several->receiver(key) : socket; }
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
        if (checks & members_hint) s += several->prefers(key.shard);
        return s;
    }
};

static_assert(sizeof(candidate) == cache_line);

}  // namespace skua::udp
