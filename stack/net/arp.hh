// ARP frames that we send (RFC 826).
#pragma once

#include "net/sender.hh"

namespace skua::net {

/// A request from `out`; `source` 0.0.0.0 makes it a probe, source == target an announcement (RFC 5227 §1.1). Sends
/// nothing if there is no packet to be had.
void send_arp_request(sender& via, const interface& out, const mac_address& to, ipv4_address source,
                      ipv4_address target);

}  // namespace skua::net
