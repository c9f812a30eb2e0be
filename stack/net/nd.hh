// Neighbour discovery messages: those that we send, and reading those that come (RFC 4861 §4.3, 4.4, 7.1).
#pragma once

#include <optional>

#include "net/context.hh"
#include "net/sender.hh"
#include "packet/verdict.hh"
#include "wire/icmp.hh"

namespace skua::net {

extern const ip_address all_nodes;  // ff02::1

/// A neighbour solicitation from `out`. `to` nullptr: to the solicited-node group of the target. `source` ::: a probe
/// of duplicate address detection. Sends nothing if there is no packet to be had.
void send_solicitation(const context& c, sender& via, const interface& out, const ip_address& source,
                       const ip_address& target, const mac_address* to);

/// A neighbour advertisement of our `target`. `to` nullptr: to the group's MAC address if `destination` is one, else by
/// the way that any datagram takes.
void send_advertisement(const context& c, sender& via, const interface& out, const ip_address& target,
                        const ip_address& destination, std::uint32_t flags, const mac_address* to);

/// A solicitation or advertisement that passed the rules of RFC 4861 §7.1.1, 7.1.2. Points into the packet.
struct nd_view {
    ip_address target;
    std::uint32_t flags = 0;            // of an advertisement
    const mac_address* link = nullptr;  // source link-layer address of a solicitation, target's of an advertisement
};

/// Nothing: to be dropped as malformed.
std::optional<nd_view> read_nd(const packet::packet& p, const packet::rx_info& about);

}  // namespace skua::net
