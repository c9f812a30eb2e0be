// IPv4 input (RFC 791, 1122 §3.2.1): checks, options, reassembly, and which protocol comes next.
#pragma once

#include "net/context.hh"
#include "net/ip_parts.hh"
#include "packet/packet.hh"
#include "packet/verdict.hh"

namespace skua::net {

/// Takes a packet whose IPv4 header begins at info.l3_offset. Cuts off what follows the datagram (Ethernet padding) and
/// fills family, addresses of the flow, l4_offset, l4_length, protocol, hop_limit; to_broadcast and to_multicast then
/// speak of the IP destination alone (link_multicast of the frame's). Returns step::udp, step::icmp4, step::held (a
/// fragment), or a drop. A fragment that makes a datagram whole replaces `p` and `info`. Sends ICMP errors where Linux
/// does.
packet::verdict ipv4_input(packet::packet& p, packet::rx_info& info, const context& ctx, const ip_parts& parts);

}  // namespace skua::net
