// Walking over a chain of IPv6 extension headers without obeying them, to see what a packet carries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace skua::net {

/// No sender needs more; the walk must be bounded.
inline constexpr unsigned max_ipv6_extensions = 8;

/// What stands behind the extension headers.
struct ipv6_upper {
    std::uint8_t protocol = 0;
    std::uint32_t offset = 0;     // of it, in the bytes that were walked
    bool later_fragment = false;  // the bytes at `offset` are the middle of a datagram
};

/// Hop-by-hop, routing, destination options or fragment header.
bool is_ipv6_extension(std::uint8_t next_header);

/// Walks `bytes` from `offset` on, where the header named `next_header` begins. Nothing if the chain runs past the
/// bytes or has too many headers; the upper-layer header itself need not be there.
std::optional<ipv6_upper> skip_ipv6_extensions(std::span<const std::byte> bytes, std::uint32_t offset,
                                               std::uint8_t next_header);

}  // namespace skua::net
