// ICMP and ICMPv6 errors that we send about packets we received.
#pragma once

#include "net/context.hh"
#include "net/icmp_limiter.hh"
#include "net/sender.hh"
#include "packet/verdict.hh"

namespace skua::net {

/// Type, code and the word behind the checksum, in the terms of the family of the packet that it is about.
struct icmp_error {
    std::uint8_t type = 0;
    std::uint8_t code = 0;
    std::uint32_t rest = 0;
    bool even_if_multicast = false;  // RFC 4443 §2.4 e.3: packet too big, and options that ask for it
};

icmp_error port_unreachable(ip_family family);
icmp_error protocol_unreachable();  // IPv4; in IPv6 it is a parameter problem
icmp_error reassembly_time_exceeded(ip_family family);
/// `pointer`: offset of the offending byte from the start of the IP header.
icmp_error parameter_problem(ip_family family, std::uint8_t code, std::uint32_t pointer);

/// One per shard.
class icmp_output {
public:
    icmp_output(sender& out, random_source& random, const icmp_limits& limits = {})
        : out_(out), random_(random), limiter_(random, limits) {}

    /// Sends an error about `about`, whose IP header stands at info.l3_offset, to its source. Sends nothing about
    /// packets that RFC 1122 §3.2.2 and RFC 4443 §2.4 e name: to link or IP multicast or broadcast, fragments but the
    /// first (IPv4), ICMP errors, sources that are no single host; nor beyond the limits. What we sent to ourselves is
    /// not limited (Linux: icmpv4_xrlim_allow). The packet stays with the caller, unchanged.
    void send_error(const packet::packet& about, const packet::rx_info& info, const icmp_error& e, const context& ctx);

private:
    sender& out_;
    random_source& random_;
    icmp_limiter limiter_;
};

}  // namespace skua::net
