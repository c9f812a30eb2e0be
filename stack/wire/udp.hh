// The UDP header (RFC 768).
#pragma once

#include "base/byte_order.hh"

namespace skua::wire {

struct udp_header {
    be16 source_port;
    be16 destination_port;
    be16 length;  // header and payload
    be16 checksum;
};
static_assert(sizeof(udp_header) == 8);

}  // namespace skua::wire
