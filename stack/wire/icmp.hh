// ICMP (RFC 792), ICMPv6 (RFC 4443) and neighbour discovery messages (RFC 4861).
#pragma once

#include <cstdint>

#include "base/address.hh"

namespace skua::wire {

/// The part that all ICMP and ICMPv6 messages share; `rest` depends on the type (identifier and sequence, MTU,
/// pointer).
struct icmp_header {
    std::uint8_t type;
    std::uint8_t code;
    be16 checksum;
    be32 rest;
};
static_assert(sizeof(icmp_header) == 8);

namespace icmp4 {
inline constexpr std::uint8_t echo_reply = 0, unreachable = 3, echo_request = 8, time_exceeded = 11,
                              parameter_problem = 12;
inline constexpr std::uint8_t code_net = 0, code_host = 1, code_protocol = 2, code_port = 3,
                              code_fragmentation_needed = 4;
inline constexpr std::uint8_t code_reassembly_time = 1;
}  // namespace icmp4

namespace icmp6 {
inline constexpr std::uint8_t unreachable = 1, packet_too_big = 2, time_exceeded = 3, parameter_problem = 4,
                              echo_request = 128, echo_reply = 129, router_solicitation = 133,
                              router_advertisement = 134, neighbor_solicitation = 135, neighbor_advertisement = 136,
                              redirect = 137;
inline constexpr std::uint8_t code_no_route = 0, code_address = 3, code_port = 4;
inline constexpr std::uint8_t code_reassembly_time = 1;
inline constexpr std::uint8_t code_unknown_next_header = 1, code_unknown_option = 2;
}  // namespace icmp6

/// Neighbour solicitation and advertisement up to their options (RFC 4861 §4.3, 4.4).
struct nd_message {
    icmp_header icmp;  // rest: flags of an advertisement
    ipv6_address target;
};
static_assert(sizeof(nd_message) == 24);

inline constexpr std::uint32_t nd_router = 0x80000000, nd_solicited = 0x40000000, nd_override = 0x20000000;

/// Source or target link-layer address option for Ethernet (RFC 4861 §4.6.1).
struct nd_link_option {
    std::uint8_t type;
    std::uint8_t length_units;  // of 8 bytes
    mac_address mac;
};
static_assert(sizeof(nd_link_option) == 8);

inline constexpr std::uint8_t nd_source_link = 1, nd_target_link = 2;

}  // namespace skua::wire
