// MAC addresses of IP multicast groups.
#include "wire/ethernet.hh"

namespace skua::wire {

mac_address multicast_mac(const ip_address& group) {
    const auto& b = group.bytes();
    if (group.is_v4()) return {{0x01, 0x00, 0x5e, static_cast<std::uint8_t>(b[13] & 0x7f), b[14], b[15]}};
    return {{0x33, 0x33, b[12], b[13], b[14], b[15]}};
}

}  // namespace skua::wire
