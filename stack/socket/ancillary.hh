// Ancillary data: what a program is told of a datagram beside its payload, and what it says of one that it sends.
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "base/address.hh"
#include "base/result.hh"

namespace skua::socket {

/// What a socket's reader wants to be told, as bits.
namespace tell {
inline constexpr std::uint32_t ipv4_packet_info = 1;  // IP_PKTINFO
inline constexpr std::uint32_t ttl = 2;               // IP_RECVTTL
inline constexpr std::uint32_t tos = 4;               // IP_RECVTOS
inline constexpr std::uint32_t ipv6_packet_info = 8;  // IPV6_RECVPKTINFO
inline constexpr std::uint32_t hop_limit = 16;        // IPV6_RECVHOPLIMIT
inline constexpr std::uint32_t traffic_class = 32;    // IPV6_RECVTCLASS
}  // namespace tell

/// What there is to tell of a datagram.
struct arrival {
    ip_address destination;
    ipv4_address answer_from;  // of IPv4: our address for the answer (ipi_spec_dst)
    std::uint32_t ifindex = 0;
    std::uint8_t hop_limit = 0;
    std::uint8_t traffic_class = 0;
};

/// Fills the message's control buffer, in Linux's order; msg_controllen becomes what was written. What does not fit
/// leaves MSG_CTRUNC in msg_flags, which is set before.
void write_control(msghdr& message, std::uint32_t wanted, const arrival& of);

/// What a message says of its datagram; what it does not say the socket decides.
struct send_choice {
    ip_address source;          // unspecified: not said
    std::uint32_t ifindex = 0;  // must leave by it; 0: not said
    std::int16_t hop_limit = -1;
    std::int16_t traffic_class = -1;
    friend bool operator==(const send_choice&, const send_choice&) = default;
};

/// `family`: of the socket. `to_v4`: an IPv4 address, perhaps a mapped one, is sent to. Error: EINVAL what Linux does
/// not know, or what skua does not have; a malformed buffer; a value out of range.
result<send_choice> read_control(const msghdr& message, ip_family family, bool to_v4);

}  // namespace skua::socket
