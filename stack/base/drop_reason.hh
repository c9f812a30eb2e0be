// The one name under which a packet that goes no further is counted.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace skua {

/// tests/lint checks that each value has a row in drop_reasons and a test that reaches it.
enum class drop_reason : std::uint8_t {
    none,
    // Ethernet and 802.1Q
    eth_truncated,
    eth_headers_split,
    eth_not_for_us,
    eth_unknown_type,
    vlan_truncated,
    vlan_unknown,
    // ARP and NDP
    arp_malformed,
    arp_ignored,
    nd_malformed,
    nd_ignored,
    neigh_table_full,
    neigh_queue_full,
    neigh_failed,
    // IPv4
    ipv4_truncated,
    ipv4_bad_version,
    ipv4_bad_header_length,
    ipv4_bad_total_length,
    ipv4_bad_checksum,
    ipv4_bad_options,
    ipv4_bad_source,
    ipv4_not_local,
    ipv4_unknown_protocol,
    // IPv6
    ipv6_truncated,
    ipv6_bad_version,
    ipv6_bad_payload_length,
    ipv6_bad_source,
    ipv6_not_local,
    ipv6_bad_extension,
    ipv6_too_many_extensions,
    ipv6_unknown_next_header,
    // fragments
    frag_malformed,
    frag_overlap,
    frag_too_large,
    frag_table_full,
    frag_timeout,
    // ICMP and ICMPv6
    icmp_truncated,
    icmp_bad_checksum,
    icmp_ignored,
    icmp_quote_malformed,
    icmp_no_socket,
    // UDP
    udp_truncated,
    udp_bad_length,
    udp_bad_checksum,
    udp_zero_checksum,
    udp_no_port,
    // socket
    socket_receive_buffer_full,
    socket_closed,
    // way out
    tx_no_route,
    tx_too_big,
    tx_ring_full,
    tx_port_down,
    no_mbuf,
    // between shards
    mailbox_full,
    steer_loop,
    count_
};

struct drop_reason_info {
    drop_reason reason;
    std::string_view name;     // as printed and as the last part of a telemetry key
    std::string_view meaning;  // for people
};

/// One row per reason, in the order of the enumeration.
extern const std::array<drop_reason_info, static_cast<std::size_t>(drop_reason::count_)> drop_reasons;

inline std::string_view to_string(drop_reason r) { return drop_reasons[static_cast<std::size_t>(r)].name; }

}  // namespace skua
