// The counters of RFC 4293, 4113 and Linux (/proc/net/snmp, snmp6), raised in the same situations as in Linux.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace skua {

enum class mib : std::uint8_t {
    ip_in_receives,
    ip_in_hdr_errors,
    ip_in_addr_errors,
    ip_in_unknown_protos,
    ip_in_discards,
    ip_in_delivers,
    ip_out_requests,
    ip_out_discards,
    ip_out_no_routes,
    ip_reasm_timeout,
    ip_reasm_reqds,
    ip_reasm_oks,
    ip_reasm_fails,
    ip_frag_oks,
    ip_frag_fails,
    ip_frag_creates,
    ip6_in_receives,
    ip6_in_hdr_errors,
    ip6_in_too_big_errors,
    ip6_in_no_routes,
    ip6_in_addr_errors,
    ip6_in_unknown_protos,
    ip6_in_truncated_pkts,
    ip6_in_discards,
    ip6_in_delivers,
    ip6_out_requests,
    ip6_out_discards,
    ip6_out_no_routes,
    ip6_reasm_timeout,
    ip6_reasm_reqds,
    ip6_reasm_oks,
    ip6_reasm_fails,
    ip6_frag_oks,
    ip6_frag_fails,
    ip6_frag_creates,
    icmp_in_msgs,
    icmp_in_errors,
    icmp_in_csum_errors,
    icmp_in_dest_unreachs,
    icmp_in_time_excds,
    icmp_in_parm_probs,
    icmp_in_echos,
    icmp_in_echo_reps,
    icmp_out_msgs,
    icmp_out_errors,
    icmp_out_rate_limit_global,
    icmp_out_dest_unreachs,
    icmp_out_time_excds,
    icmp_out_parm_probs,
    icmp_out_echos,
    icmp_out_echo_reps,
    icmp6_in_msgs,
    icmp6_in_errors,
    icmp6_in_csum_errors,
    icmp6_in_dest_unreachs,
    icmp6_in_pkt_too_bigs,
    icmp6_in_time_excds,
    icmp6_in_parm_problems,
    icmp6_in_echos,
    icmp6_in_echo_replies,
    icmp6_in_neighbor_solicits,
    icmp6_in_neighbor_advertisements,
    icmp6_out_msgs,
    icmp6_out_errors,
    icmp6_out_rate_limit_host,
    icmp6_out_dest_unreachs,
    icmp6_out_time_excds,
    icmp6_out_parm_problems,
    icmp6_out_echo_replies,
    icmp6_out_neighbor_solicits,
    icmp6_out_neighbor_advertisements,
    udp_in_datagrams,
    udp_no_ports,
    udp_in_errors,
    udp_out_datagrams,
    udp_rcvbuf_errors,
    udp_sndbuf_errors,
    udp_in_csum_errors,
    udp6_in_datagrams,
    udp6_no_ports,
    udp6_in_errors,
    udp6_out_datagrams,
    udp6_rcvbuf_errors,
    udp6_sndbuf_errors,
    udp6_in_csum_errors,
    count_
};

struct mib_info {
    mib id;
    std::string_view group;  // "Ip", "Icmp", "Udp", "Ip6", "Icmp6", "Udp6"
    std::string_view name;   // "InDatagrams"
};

/// One row per counter, in the order of the enumeration.
extern const std::array<mib_info, static_cast<std::size_t>(mib::count_)> mibs;

}  // namespace skua
