// IPv6 input (RFC 8200): checks, extension headers, reassembly, and which protocol comes next.
#pragma once

#include "net/context.hh"
#include "net/ip_parts.hh"
#include "packet/packet.hh"
#include "packet/verdict.hh"

namespace skua::net {

/// As ipv4_input, for a packet whose IPv6 header begins at info.l3_offset. Returns step::udp, step::icmp6, step::held
/// (a fragment), or a drop. Extension headers are obeyed up to max_ipv6_extensions of them, inside the header window.
/// Jumbograms (RFC 2675) are refused: no link that we know carries them.
packet::verdict ipv6_input(packet::packet& p, packet::rx_info& info, const context& ctx, const ip_parts& parts);

}  // namespace skua::net
