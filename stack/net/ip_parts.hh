// What IPv4 and IPv6 input of a shard work with, besides the context.
#pragma once

#include "base/address.hh"
#include "base/hash.hh"
#include "net/icmp_output.hh"
#include "net/reassembly.hh"

namespace skua::net {

/// The multicast groups that sockets have joined. Read by every shard.
class group_filter {
public:
    virtual bool is_joined(const ip_address& group, std::uint32_t ifindex) const = 0;

protected:
    ~group_filter() = default;
};

/// Which shard puts the fragments of a datagram together: one for all of them, which outsiders cannot aim at. NICs
/// spread fragments by addresses alone, or give them all to one queue.
class fragment_homes {
public:
    fragment_homes(random_source& random, std::uint16_t shards) : hash_(random), shards_(shards) {}
    std::uint16_t of(const flow_key& flow, std::uint32_t identification) const {
        const flow_key key{flow.local, flow.remote, static_cast<std::uint16_t>(identification >> 16),
                           static_cast<std::uint16_t>(identification)};
        return static_cast<std::uint16_t>(std::uint64_t(hash_(key)) * shards_ >> 32);
    }

private:
    const keyed_hash hash_;
    const std::uint16_t shards_;
};

struct ip_parts {
    reassembler& fragments;
    icmp_output& errors;
    const group_filter* groups = nullptr;  // none: only the groups that every host is in
    // Whether to answer packets of protocols that we do not know. Not when frames are given back to somebody who may.
    bool refuse_protocols = true;
    const fragment_homes* homes = nullptr;  // none: all fragments are put together here
    std::uint16_t shard = 0;

    /// step::away if a fragment must go to another shard first; it has not been there yet. Else as reassembler::add.
    packet::verdict add_fragment(packet::packet& p, packet::rx_info& info, const fragment_fields& f,
                                 const context& ctx) const {
        if (homes != nullptr && info.crossings == 0) {
            const std::uint16_t home = homes->of(info.flow, f.identification);
            info.away = static_cast<std::uint8_t>(home);
            if (home != shard) return packet::step::away;
        }
        return fragments.add(p, info, f, ctx);
    }

    bool is_joined(const topology& map, const ip_address& group, std::uint32_t ifindex) const {
        return map.is_joined(group, ifindex) || (groups && groups->is_joined(group, ifindex));
    }
};

}  // namespace skua::net
