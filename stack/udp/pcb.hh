// The protocol control block: what the lookup knows of a socket. The socket layer derives its sockets from it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/address.hh"

namespace skua::udp {

class group;
class selector;
struct binding;
struct registration;

/// Fields marked (control) are read and written under the tables' writer lock only; shards never touch them: what
/// shards need was copied into table entries when the pcb was bound.
struct pcb {
    static constexpr std::uint16_t most_weight = 1000;

    explicit pcb(ip_family f) : family(f), local{ip_address::any(f), 0, 0}, remote{ip_address::any(f), 0, 0} {}

    const ip_family family;
    // (control) options that binding looks at
    bool v6_only = false;
    bool reuse_address = false;
    bool reuse_port = false;
    uid_t owner = 0;                    // effective uid of the creator
    std::uint32_t device = 0;           // SO_BINDTODEVICE: ifindex or 0
    std::int32_t incoming_shard = -1;   // SO_INCOMING_CPU as a hint for the score, or -1
    std::uint16_t weight = 1;           // its share of a group's flows, 0 to most_weight
    std::uint16_t ephemeral_first = 0;  // IP_LOCAL_PORT_RANGE: narrows the tables' range, 0 = does not
    std::uint16_t ephemeral_last = 0;
    std::uint32_t flow_room = 0;  // of its group's flow table if it sets up generations; 0: as configured
    // (control) where it stands; local.port 0 = not bound, remote.port 0 = not connected
    endpoint local;
    endpoint remote;
    bool address_bound = false;               // bind() named the address (it survives a disconnect)
    bool port_bound = false;                  // bind() named the port
    std::shared_ptr<const selector> selects;  // attached before it was bound, for the group that it will begin
    group* member_of = nullptr;               // while it is bound with reuse_port and has no peer
    binding* bound = nullptr;                 // the tables' own record of it

    /// The shard that fills the receive queue. Any thread.
    std::atomic<std::uint16_t> home_shard{0};
    bool home_fixed = true;  // (control) false: joining a group, or tables::rehome_all, may choose another
    /// With the generations of its group; nullptr: there are none. Any thread, under RCU.
    std::atomic<registration*> registered{nullptr};

protected:
    ~pcb() = default;
};

}  // namespace skua::udp
