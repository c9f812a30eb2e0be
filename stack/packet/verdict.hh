// What a layer says about a packet, and what the layers learn about it on its way in.
#pragma once

#include <cstdint>

#include "base/address.hh"
#include "base/drop_reason.hh"

namespace skua::packet {

/// Where a packet goes next. Only shard/rx_path and shard/tx_path know what stands behind each.
enum class step : std::uint8_t {
    drop,      // freed by the caller, counted under the verdict's reason
    held,      // taken by the layer (reassembly, a parking queue): the caller's packet handle is empty now
    reply,     // rewritten in place into its answer, from the IP header on: to the tx path
    deliver,   // to a socket
    report,    // an ICMP error about one of our datagrams: to the socket that sent it
    to_first,  // for the shard that owns the neighbour machine
    away,      // a fragment that another shard puts together: rx_info::away
    arp,       // to the neighbour machine (ARP)
    ipv4,
    ipv6,
    icmp4,
    icmp6,
    udp,
    count_
};

struct verdict {
    step next;
    drop_reason reason = drop_reason::none;
    constexpr verdict(step s) : next(s) {}
    constexpr verdict(drop_reason r) : next(step::drop), reason(r) {}
    friend constexpr bool operator==(verdict, verdict) = default;
};

/// Facts about one received packet, filled layer by layer; lies on the stack of the rx path beside the burst.
/// Offsets are in bytes from the start of the frame's first segment.
struct rx_info {
    flow_key flow;                // local = destination of the packet; ports once UDP was read
    std::uint32_t ifindex = 0;    // interface it came in on
    std::uint32_t l4_length = 0;  // bytes from l4_offset to the end of the IP payload
    std::uint16_t l3_offset = 0;
    std::uint16_t l4_offset = 0;
    std::uint8_t protocol = 0;   // IPPROTO_* of what stands at l4_offset
    std::uint8_t hop_limit = 0;  // TTL or hop limit
    ip_family family = ip_family::v4;
    bool to_broadcast = false;  // link or IP broadcast
    bool to_multicast = false;
    bool link_multicast = false;  // the frame's destination MAC had the group bit set (no ICMP error is sent then)
    bool local_origin = false;    // looped back: sent by this stack, checksums good by construction
    std::uint8_t rx_shard = 0;    // the shard that took it from the NIC
    std::uint8_t crossings = 0;   // how often it went from shard to shard since
    std::uint8_t away = 0;        // of a fragment: the shard that puts it together
    bool reassembled = false;     // from fragments
};

}  // namespace skua::packet
