// UDP's own checks of a received datagram, before anybody looks for its socket.
#pragma once

#include "net/context.hh"
#include "packet/packet.hh"
#include "packet/verdict.hh"

namespace skua::udp {

/// `info` says where the UDP header begins and how long the IP payload is. Checks length and checksum (the NIC's
/// verdict where it has one; RFC 1122 §4.1.3.4, RFC 8200 §8.1), cuts off what stands behind the datagram, and fills the
/// ports of info.flow and l4_length. Returns step::deliver, or a drop with its reason; the packet stays the caller's.
/// Destination port 0 passes: no socket is ever found there.
packet::verdict udp_input(packet::packet& p, packet::rx_info& info, const net::context& ctx);

}  // namespace skua::udp
