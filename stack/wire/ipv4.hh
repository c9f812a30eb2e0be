// The IPv4 header (RFC 791).
#pragma once

#include <cstdint>

#include "base/address.hh"

namespace skua::wire {

struct ipv4_header {
    std::uint8_t version_ihl;
    std::uint8_t tos;
    be16 total_length;
    be16 identification;
    be16 flags_fragment;
    std::uint8_t ttl;
    std::uint8_t protocol;
    be16 checksum;
    ipv4_address source;
    ipv4_address destination;

    unsigned version() const { return version_ihl >> 4; }
    unsigned header_length() const { return (version_ihl & 0x0fu) * 4; }  // bytes; may lie below 20 in a bad packet
    bool dont_fragment() const { return flags_fragment.host() & 0x4000; }
    bool more_fragments() const { return flags_fragment.host() & 0x2000; }
    unsigned fragment_offset() const { return (flags_fragment.host() & 0x1fffu) * 8; }  // bytes
    bool is_fragment() const { return (flags_fragment.host() & 0x3fff) != 0; }
};
static_assert(sizeof(ipv4_header) == 20);

inline constexpr std::uint16_t ipv4_dont_fragment = 0x4000;
inline constexpr std::uint16_t ipv4_minimum_mtu = 68;

}  // namespace skua::wire
