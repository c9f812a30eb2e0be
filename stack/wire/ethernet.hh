// Ethernet II and IEEE 802.1Q headers.
#pragma once

#include <cstdint>

#include "base/address.hh"

namespace skua::wire {

enum class ether_type : std::uint16_t { ipv4 = 0x0800, arp = 0x0806, vlan = 0x8100, ipv6 = 0x86dd };

struct ethernet_header {
    mac_address destination;
    mac_address source;
    be16 type;
};
static_assert(sizeof(ethernet_header) == 14);

/// What follows the type 0x8100 (IEEE 802.1Q §9.6).
struct vlan_tag {
    be16 tci;
    be16 type;  // of what follows the tag
    std::uint16_t id() const { return tci.host() & 0x0fff; }
    std::uint8_t priority() const { return static_cast<std::uint8_t>(tci.host() >> 13); }
};
static_assert(sizeof(vlan_tag) == 4);

/// 01:00:5e + low 23 bits (RFC 1112 §6.4), 33:33 + low 32 bits (RFC 2464 §7).
mac_address multicast_mac(const ip_address& group);

}  // namespace skua::wire
