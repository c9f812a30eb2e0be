// Ethernet headers and 802.1Q tags on the way out.
#include "net/ethernet_output.hh"

#include <cstring>

#include "net/neighbour.hh"

namespace skua::net {

bool prepend_ethernet(packet::packet& p, const mac_address& destination, const mac_address& source,
                      wire::ether_type type) {
    auto* at = p.prepend(sizeof(wire::ethernet_header));
    if (!at) return false;
    *reinterpret_cast<wire::ethernet_header*>(at) = {destination, source, be16(static_cast<std::uint16_t>(type))};
    p.get()->l2_len = sizeof(wire::ethernet_header);
    return true;
}

bool insert_vlan(packet::packet& frame, std::uint16_t id) {
    constexpr std::size_t addresses = 2 * sizeof(mac_address);
    auto* front = frame.prepend(sizeof(wire::vlan_tag));
    if (!front) return false;
    std::memmove(front, front + sizeof(wire::vlan_tag), addresses);
    // The old type now stands behind the tag; the tag's own type takes the place before its TCI.
    const be16 type_and_tci[2] = {be16(static_cast<std::uint16_t>(wire::ether_type::vlan)), be16(id & 0x0fff)};
    std::memcpy(front + addresses, type_and_tci, sizeof type_and_tci);
    frame.get()->l2_len += sizeof(wire::vlan_tag);
    return true;
}

framing frame_datagram(packet::packet& datagram, const path& way, const neighbour_table& neighbours) {
    mac_address to;
    if (way.kind == destination_kind::broadcast) to = mac_address::broadcast();
    else if (way.kind == destination_kind::multicast) to = wire::multicast_mac(way.next_hop);
    else if (!neighbours.resolve(way.out->index, way.next_hop, to)) return framing::unresolved;
    const auto type = way.next_hop.is_v4() ? wire::ether_type::ipv4 : wire::ether_type::ipv6;
    return prepend_ethernet(datagram, to, way.out->mac, type) ? framing::framed : framing::no_headroom;
}

}  // namespace skua::net
