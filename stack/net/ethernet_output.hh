// Framing: from a datagram and its way to an Ethernet frame.
#pragma once

#include "net/topology.hh"
#include "packet/packet.hh"
#include "wire/ethernet.hh"

namespace skua::net {

class neighbour_table;

/// Puts an Ethernet header in front and sets the mbuf's l2_len. False (and nothing changed) if there is no headroom.
bool prepend_ethernet(packet::packet& p, const mac_address& destination, const mac_address& source,
                      wire::ether_type type);

/// Puts an 802.1Q tag with this id (priority 0) behind the MAC addresses of a frame and corrects l2_len. False (and
/// nothing changed) if there is no headroom.
bool insert_vlan(packet::packet& frame, std::uint16_t id);

enum class framing : std::uint8_t {
    framed,       // the packet is a frame now
    unresolved,   // unchanged: to be parked at the owner of the neighbour machine
    no_headroom,  // unchanged: to be dropped as no_mbuf
};

/// Frames an IP datagram for its way: the group's MAC address, broadcast, or the neighbour's. Not for local
/// destinations.
framing frame_datagram(packet::packet& datagram, const path& way, const neighbour_table& neighbours);

}  // namespace skua::net
