// What IPv4 and IPv6 input of a shard work with, besides the context.
#pragma once

#include "base/address.hh"
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

struct ip_parts {
    reassembler& fragments;
    icmp_output& errors;
    const group_filter* groups = nullptr;  // none: only the groups that every host is in
    // Whether to answer packets of protocols that we do not know. Not when frames are given back to somebody who may.
    bool refuse_protocols = true;

    bool is_joined(const topology& map, const ip_address& group, std::uint32_t ifindex) const {
        return map.is_joined(group, ifindex) || (groups && groups->is_joined(group, ifindex));
    }
};

}  // namespace skua::net
