// ARP for IPv4 over Ethernet (RFC 826).
#pragma once

#include "base/address.hh"

namespace skua::wire {

struct arp_packet {
    be16 hardware_type;            // 1 = Ethernet
    be16 protocol_type;            // 0x0800
    std::uint8_t hardware_length;  // 6
    std::uint8_t protocol_length;  // 4
    be16 operation;
    mac_address sender_mac;
    ipv4_address sender_ip;
    mac_address target_mac;
    ipv4_address target_ip;

    bool is_ipv4_over_ethernet() const {
        return hardware_type.host() == 1 && protocol_type.host() == 0x0800 && hardware_length == 6 &&
               protocol_length == 4;
    }
};
static_assert(sizeof(arp_packet) == 28);

inline constexpr std::uint16_t arp_request = 1;
inline constexpr std::uint16_t arp_reply = 2;

}  // namespace skua::wire
