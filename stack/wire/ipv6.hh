// The IPv6 header and extension headers (RFC 8200).
#pragma once

#include <cstdint>

#include "base/address.hh"

namespace skua::wire {

struct ipv6_header {
    be32 version_class_flow;
    be16 payload_length;
    std::uint8_t next_header;
    std::uint8_t hop_limit;
    ipv6_address source;
    ipv6_address destination;

    unsigned version() const { return version_class_flow.host() >> 28; }
    std::uint8_t traffic_class() const { return static_cast<std::uint8_t>(version_class_flow.host() >> 20); }
    std::uint32_t flow_label() const { return version_class_flow.host() & 0xfffff; }
};
static_assert(sizeof(ipv6_header) == 40);

/// Hop-by-hop, routing and destination options begin so (RFC 8200 §4.3, 4.4, 4.6).
struct ipv6_extension {
    std::uint8_t next_header;
    std::uint8_t length_units;  // of 8 bytes, the first not counted
    unsigned length() const { return (length_units + 1u) * 8; }
};
static_assert(sizeof(ipv6_extension) == 2);

struct ipv6_fragment_header {
    std::uint8_t next_header;
    std::uint8_t reserved;
    be16 offset_flags;
    be32 identification;
    unsigned offset() const { return offset_flags.host() & 0xfff8u; }  // bytes
    bool more() const { return offset_flags.host() & 1; }
};
static_assert(sizeof(ipv6_fragment_header) == 8);

inline constexpr std::uint16_t ipv6_minimum_mtu = 1280;

}  // namespace skua::wire
