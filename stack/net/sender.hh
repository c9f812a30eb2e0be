// How the parts of net hand on the packets they make themselves (ARP, NDP, ICMP errors, released datagrams).
#pragma once

#include "base/drop_reason.hh"
#include "net/topology.hh"
#include "packet/packet.hh"

namespace skua::net {

/// The tx path of a shard, seen from below. Both take ownership whatever happens.
class sender {
public:
    /// An IP datagram with its IP header first: routed, fragmented, resolved, framed. `out_ifindex` 0: by route.
    virtual void output(packet::packet datagram, std::uint32_t out_ifindex) = 0;
    /// A whole frame (Ethernet header first; no VLAN tag, which is added for VLAN interfaces) for one interface.
    virtual void transmit(packet::packet frame, const interface& out) = 0;
    /// A packet given up, counted.
    virtual void drop(packet::packet p, drop_reason why) = 0;
    /// A new packet of this length, with headroom, or an empty one.
    virtual packet::packet allocate(std::uint32_t length) = 0;

protected:
    ~sender() = default;
};

}  // namespace skua::net
