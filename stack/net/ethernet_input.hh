// Ethernet input: is a received frame for us, on which interface, and what is in it.
#pragma once

#include "net/context.hh"
#include "packet/packet.hh"
#include "packet/verdict.hh"

namespace skua::net {

/// Looks at the Ethernet header and at one 802.1Q tag, in the frame or taken off by the NIC. VLAN id 0 (a priority tag,
/// IEEE 802.1Q §6.9.3) is the same as no tag. Fills ifindex, l3_offset, to_broadcast (of the link) and link_multicast
/// of `info`. Multicast MACs of IPv4 and IPv6 pass whatever the group: the IP layer knows the groups exactly. Returns
/// step::arp, ipv4 or ipv6, or a drop; the packet stays with the caller. The first min(size, header_window) bytes must
/// lie in the first segment.
packet::verdict ethernet_input(packet::packet& p, packet::rx_info& info, const context& ctx);

/// The same for a datagram that this stack has sent to itself: it begins with its IP header. `ifindex` is the loopback,
/// or the interface that a broadcast or multicast left by. Sets local_origin. Returns step::ipv4 or ipv6, or a drop.
packet::verdict loopback_input(packet::packet& p, packet::rx_info& info, std::uint32_t ifindex = loopback_ifindex);

}  // namespace skua::net
