// Cutting a datagram that is longer than the MTU into fragments (RFC 791 §3.2, RFC 8200 §4.5).
#pragma once

#include "base/counters.hh"
#include "base/mib.hh"
#include "net/sender.hh"
#include "packet/packet.hh"

namespace skua::net {

/// Where fragments go, in order.
class fragment_sink {
public:
    virtual void take(packet::packet fragment) = 0;

protected:
    ~fragment_sink() = default;
};

/// Cuts `datagram` (IP header first) into fragments of at most `mtu` bytes, copies in packets of `from`, so that any
/// port can send them, and gives each to `to`. Checksum wishes of the datagram are granted first, in software: no NIC
/// can sum over fragments. `identification` is for the IPv6 fragment header; an IPv4 datagram carries its own.
///
/// Returns none, or tx_too_big (IPv4 with DF, an MTU below the least of the family, or not a datagram: nothing was
/// sent), or no_mbuf (the pool ran dry; what was given to `to` before is of no use). The datagram stays with the
/// caller.
drop_reason fragment(packet::packet& datagram, std::uint32_t mtu, std::uint32_t identification, sender& from,
                     fragment_sink& to, counter_set<mib>& mibs);

}  // namespace skua::net
