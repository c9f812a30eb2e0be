// What a socket needs of the stack around it.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <functional>
#include <span>

#include "base/clock.hh"
#include "base/mib.hh"
#include "base/rcu.hh"
#include "net/topology.hh"
#include "udp/tables.hh"

namespace skua::socket {

/// Linux: net.core.{r,w}mem_{default,max}, net.ipv4.ip_unprivileged_port_start. Bytes as truesize() counts them.
struct limits {
    std::int32_t rmem_default = 212992;
    std::int32_t rmem_max = 4194304;
    std::int32_t wmem_default = 212992;
    std::int32_t wmem_max = 4194304;
    std::uint16_t unprivileged_port_start = 1024;
    nanoseconds spin{0};                // blocking calls look for this long before they sleep
    std::uint32_t group_flows = 65536;  // room of a group's flow table (UDP_GRM's dissector FLOW)
};

/// Implemented by whoever runs the shards. Every function may be called from any thread. Outlives its sockets, and
/// those it has in rcu() too.
class host {
public:
    virtual rcu_domain& rcu() = 0;
    virtual udp::tables& tables() = 0;
    /// The picture of this moment; the caller holds a read_guard or is a shard.
    virtual const net::topology& topology() const = 0;
    /// Bytes of an IP packet that pass on the way to `to`; never more than the MTU of way.out.
    virtual std::uint32_t path_mtu(const ip_address& to, const net::path& way) const = 0;
    /// Identification of an IPv4 datagram that may be fragmented (RFC 6864 §5.2).
    virtual std::uint16_t ipv4_identification(const ip_address& source, const ip_address& destination) = 0;
    /// Datagrams to be sent, IP header first, checksums as wishes; meta.owner, meta.ifindex and meta.what are set. The
    /// shard takes the first ones, says how many, and will call uncharge() with them; the rest stay the caller's.
    virtual unsigned submit(std::uint16_t shard, std::span<rte_mbuf* const> datagrams) = 0;
    /// Where datagrams to be sent are made.
    virtual rte_mempool* pool() = 0;
    /// The home of the next socket.
    virtual std::uint16_t next_home_shard() = 0;
    /// For a local port that is to be chosen: whether replies to it (reply.local_port is filled in) would come in on
    /// the shard, by this NIC port. Empty: there is nothing to choose by.
    virtual std::function<bool(std::uint16_t)> fitting_port(const flow_key& /*reply*/, std::uint16_t /*port*/,
                                                            std::uint16_t /*shard*/) const {
        return {};
    }
    /// A socket has got a whole peer, or another (its names say which), or has none any more. Before a socket goes, it
    /// is said to have none.
    virtual void peer_changed(udp::pcb&, bool /*connected*/) {}
    virtual const limits& socket_limits() const = 0;
    /// As the shards see it.
    virtual time_point now() const = 0;
    /// For what happens in the calls themselves: UdpSndbufErrors.
    virtual void count(mib which) = 0;

protected:
    ~host() = default;
};

}  // namespace skua::socket
