// The walk (Linux: ipv6_skip_exthdr).
#include "net/ipv6_extensions.hh"

#include <netinet/in.h>

#include <cstring>

#include "wire/ipv6.hh"

namespace skua::net {

bool is_ipv6_extension(std::uint8_t next_header) {
    return next_header == IPPROTO_HOPOPTS || next_header == IPPROTO_ROUTING || next_header == IPPROTO_DSTOPTS ||
           next_header == IPPROTO_FRAGMENT;
}

std::optional<ipv6_upper> skip_ipv6_extensions(std::span<const std::byte> bytes, std::uint32_t offset,
                                               std::uint8_t next_header) {
    ipv6_upper upper{next_header, offset, false};
    for (unsigned count = 0; is_ipv6_extension(upper.protocol) && !upper.later_fragment; count++) {
        // The smallest extension header has 8 bytes, and all have a length in units of 8.
        if (count == max_ipv6_extensions || upper.offset + 8u > bytes.size()) return std::nullopt;
        const std::byte* at = bytes.data() + upper.offset;
        if (upper.protocol == IPPROTO_FRAGMENT) {
            wire::ipv6_fragment_header f;
            std::memcpy(&f, at, sizeof f);
            upper.later_fragment = f.offset() != 0;
            upper.protocol = f.next_header;
            upper.offset += sizeof f;
        } else {
            wire::ipv6_extension e;
            std::memcpy(&e, at, sizeof e);
            upper.protocol = e.next_header;
            upper.offset += e.length();
        }
        if (upper.offset > bytes.size()) return std::nullopt;
    }
    return upper;
}

}  // namespace skua::net
