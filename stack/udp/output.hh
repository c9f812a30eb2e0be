// Putting the UDP header in front of a payload.
#pragma once

#include <cstdint>

#include "packet/packet.hh"

namespace skua::udp {

/// The longest payload that the length field has room for; IPv4 has 20 bytes less (its header counts there).
inline constexpr std::uint32_t most_payload = 65535 - 8;

/// Header with its length, ports in host order. The checksum is left 0 and marked as wanted (RTE_MBUF_F_TX_UDP_CKSUM),
/// to be finished where the way out is known; `checksum` false leaves it out for good (SO_NO_CHECK; IPv4, or IPv6 by
/// RFC 6935). False, and the packet unchanged, if the payload is longer than most_payload or there is no headroom.
bool prepend_udp(packet::packet& p, std::uint16_t source_port, std::uint16_t destination_port, bool checksum = true);

}  // namespace skua::udp
