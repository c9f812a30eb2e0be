// The packet of ours that an ICMP error quotes, and what the error means to the socket that sent it.
#pragma once

#include "net/icmp_input.hh"

namespace skua::net {

/// Reads the quoted packet behind the ICMP header and fills everything of `out` but what the types tell. Returns
/// step::report, icmp_quote_malformed, icmp_no_socket (not UDP, or not from one of our addresses), or icmp_ignored
/// (about a datagram to many: RFC 1122 §3.2.2 says there should be no such error).
packet::verdict read_quote(const packet::packet& p, const packet::rx_info& info, const context& ctx, icmp_report& out);

/// Fill error and fatal from type and code. False for a code that Linux ignores.
bool convert_icmp4_error(icmp_report& r);
void convert_icmp6_error(icmp_report& r);

}  // namespace skua::net
