// Which sockets may share a port (Linux: udp_lib_lport_inuse, inet_rcv_saddr_equal).
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>

#include "base/address.hh"
#include "udp/pcb.hh"

namespace skua::udp {

/// All that the bind rules look at. Sockets with equal facts are equal to them.
struct bind_facts {
    ip_address address;
    ip_family family = ip_family::v4;
    bool v6_only = false;
    bool reuse_address = false;
    bool reuse_port = false;
    uid_t owner = 0;
    std::uint32_t device = 0;

    explicit bind_facts(const pcb& p);
    friend bool operator==(const bind_facts&, const bind_facts&) = default;
};

enum class bind_relation : std::uint8_t {
    apart,   // each may stand beside the other
    shares,  // same place, and both allow it by SO_REUSEPORT
    conflicts,
};

/// How a socket that is being bound stands to one that is bound on the same port. Not symmetric, as in Linux: an IPv4
/// wildcard collides with an IPv6 socket that is not v6-only and that connect() gave an address, but not the other way.
bind_relation relation(const bind_facts& newcomer, const bind_facts& bound);

/// Would these two share one SO_REUSEPORT group (udp_reuseport_add_sock)?
bool same_group(const bind_facts& a, const bind_facts& b);

}  // namespace skua::udp
