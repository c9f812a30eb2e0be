// ICMP and ICMPv6 input: echo, neighbour discovery, and errors about datagrams of ours.
#pragma once

#include "net/context.hh"
#include "packet/packet.hh"
#include "packet/verdict.hh"

namespace skua::net {

/// An ICMP error about a UDP datagram that one of our addresses has sent.
struct icmp_report {
    flow_key flow;        // local: the quoted source, ours
    ip_address offender;  // who sent the error
    std::uint32_t ifindex = 0;
    ip_family family = ip_family::v4;
    std::uint8_t type = 0;
    std::uint8_t code = 0;
    int error = 0;  // errno, as in Linux's icmp_err_convert and icmpv6_err_convert
    /// A connected socket reports it without IP_RECVERR too. EMSGSIZE counts as fatal, as in udp_err, where it is
    /// reported unless the socket's IP_MTU_DISCOVER is IP_PMTUDISC_DONT.
    bool fatal = false;
    std::uint32_t mtu = 0;      // with EMSGSIZE: what passes, else 0. 0 is possible too (RFC 1191 §5: old routers)
    std::uint32_t pointer = 0;  // parameter problem: offset of the byte in the quoted packet
    // The quoted UDP payload, as far as it was quoted, in bytes of the packet that holds the error: for the error
    // queue.
    std::uint32_t payload_offset = 0;
    std::uint32_t payload_length = 0;
};

/// Both take a packet that IP input said is ICMP. They return
/// - step::reply: an echo request became its reply, which begins with its IP header. Send it back by info.ifindex if
///   the destination is link-local, else by route;
/// - step::report: `out` is filled;
/// - step::to_first (ICMPv6): neighbour discovery, checksum verified;
/// - a drop.
packet::verdict icmp4_input(packet::packet& p, packet::rx_info& info, const context& ctx, icmp_report& out);
packet::verdict icmp6_input(packet::packet& p, packet::rx_info& info, const context& ctx, icmp_report& out);

}  // namespace skua::net
