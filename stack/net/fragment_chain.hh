// Joining fragments that lie in a list into one packet.
#pragma once

#include <cstdint>
#include <optional>

#include "packet/packet.hh"
#include "packet/verdict.hh"

namespace skua::net {

/// While a fragment is held, meta::link is the next one and meta::l4_offset its offset in the datagram, in bytes.
/// Sorts by offset, in place; returns the new first.
rte_mbuf* sort_fragments(rte_mbuf* first);

/// Makes one packet of a sorted list: the segments of the first, then those of the others. Takes them all.
packet::packet join_fragments(rte_mbuf* first);

/// What the joint ECN field of fragments is, given a bit (1 << codepoint) for each that was seen (RFC 3168 §5.3): CE if
/// one of ECN-capable ones had it, else `first`. Nothing if ECN-capable and other fragments were mixed: such a datagram
/// is refused (Linux: ip_frag_ecn_table).
std::optional<std::uint8_t> joint_ecn(std::uint8_t seen, std::uint8_t first);

/// Turn the headers of the first fragment into those of the datagram, `payload` bytes of which follow at
/// info.l4_offset. The IPv6 form takes the fragment header out, so info.l4_offset moves; `named_at`: see
/// fragment_fields.
void restore_ipv4_header(packet::packet& whole, const packet::rx_info& info, std::uint32_t payload, std::uint8_t ecn);
void restore_ipv6_header(packet::packet& whole, packet::rx_info& info, std::uint32_t payload, std::uint8_t ecn,
                         std::uint16_t named_at);

}  // namespace skua::net
