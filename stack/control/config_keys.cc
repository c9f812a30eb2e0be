// The one table of keys: what each may be and means.
#include "control/config_keys.hh"

#include "control/config_codec.hh"
#include "shard/tx_path.hh"

namespace skua::control {

using std::chrono::milliseconds;
using std::chrono::seconds;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

template <>
const std::vector<key<eal_config>>& keys<eal_config>() {
    static const std::vector<key<eal_config>> table{
        list("args", &eal_config::args, any_text(), "strings",
             "Arguments for DPDK's EAL, as its own programs take them."),
        value(
            "hugepages", &eal_config::hugepages,
            choice<hugepage_use>(
                {{"auto", hugepage_use::automatic}, {"always", hugepage_use::always}, {"never", hugepage_use::never}}),
            "", "Memory in hugepages: if enough of them are free, always, or never."),
        value("memory", &eal_config::memory_mib, integer<u32>(64, 1 << 20), "MiB",
              "Hugepages that must be free for `auto` to use them, and the memory taken without hugepages."),
        value("secondary_processes", &eal_config::secondary_processes, boolean(), "",
              "Let DPDK's own tools (dpdk-dumpcap, dpdk-proc-info) attach. Needs hugepages; leaves files behind if "
              "killed."),
    };
    return table;
}

template <>
const std::vector<key<stack_config>>& keys<stack_config>() {
    static const std::vector<key<stack_config>> table{
        value("shards", &stack_config::shards, integer<u32>(1, 64), "",
              "Polling lcores. Each has one RX and one TX queue of every port."),
        value("lcores", &stack_config::lcores, lcores_text(), "",
              "The lcores of the shards, as many as there are shards. Empty: the first worker lcores, or the main one "
              "if there are none."),
        value("burst", &stack_config::burst, integer<u32>(1, shard::burst_size), "packets",
              "Taken from an RX queue at once."),
        value("idle", &stack_config::idle,
              choice<idle_policy>({{"poll", idle_policy::poll}, {"yield", idle_policy::yield}}), "",
              "What a shard does that found nothing: poll again, or first give its CPU to others."),
        value("rss_key", &stack_config::rss_key, rss_key_text(), "",
              "Of the hash that spreads flows: secret, symmetric in both directions, or given."),
        value("steering", &stack_config::steering,
              choice<steering_rule>({{"buckets_follow_reta", steering_rule::buckets_follow_reta},
                                     {"reta_follows_group", steering_rule::reta_follows_group},
                                     {"off", steering_rule::off}}),
              "",
              "How queue, shard and socket of a flow agree where the NIC's table is known. Members of a group get the "
              "flows that come in on their shard; or besides, the table gives each shard as many flows as the largest "
              "group has members there, for members that are uneven over the shards; or neither, and members are even "
              "wherever they are."),
        value("unprivileged_port_start", &stack_config::unprivileged_port_start, integer<u32>(0, 65535), "",
              "First port that users other than root may bind (Linux: net.ipv4.ip_unprivileged_port_start)."),
    };
    return table;
}

template <>
const std::vector<key<pool_config>>& keys<pool_config>() {
    static const std::vector<key<pool_config>> table{
        value("packets", &pool_config::packets, integer<u32>(256, 1 << 26), "packets",
              "Packet buffers for each shard."),
        value("data_room", &pool_config::data_room, integer<u32>(512, 65535), "bytes",
              "Of one buffer, 128 bytes of headroom included. Larger packets take several buffers."),
        value("cache", &pool_config::cache, integer<u32>(0, 512), "packets",
              "Free buffers that each lcore keeps at hand."),
    };
    return table;
}

template <>
const std::vector<key<neighbours_config>>& keys<neighbours_config>() {
    static const std::vector<key<neighbours_config>> table{
        value("max_entries", &neighbours_config::max_entries, integer<u32>(16, 1 << 20), "entries",
              "Of ARP and neighbour discovery together (Linux: gc_thresh3)."),
        value("queue", &neighbours_config::queue, integer<u32>(1, 4096), "packets",
              "Parked for one neighbour until it answers; the oldest goes first (Linux: unres_qlen)."),
        value("reachable_time", &neighbours_config::reachable_time, integer<milliseconds>(1000, 3600000), "ms",
              "Base of the time a neighbour counts as reachable once confirmed (RFC 4861 6.3.2)."),
        value("retrans_time", &neighbours_config::retrans_time, integer<milliseconds>(10, 60000), "ms",
              "Between two solicitations (RFC 4861 10)."),
        value("delay_first_probe", &neighbours_config::delay_first_probe, integer<milliseconds>(0, 60000), "ms",
              "From the first use of a stale entry to its first probe (RFC 4861 10)."),
        value("multicast_probes", &neighbours_config::multicast_probes, integer<u32>(1, 20), "",
              "Solicitations without an answer before packets are given up."),
        value("unicast_probes", &neighbours_config::unicast_probes, integer<u32>(1, 20), "",
              "Probes of a stale entry without an answer before it is resolved anew."),
    };
    return table;
}

template <>
const std::vector<key<udp_config>>& keys<udp_config>() {
    static const std::vector<key<udp_config>> table{
        value("mixed_rule", &udp_config::mixed_rule,
              choice<udp::mixed_rule>({{"every", udp::mixed_rule::every}, {"group", udp::mixed_rule::group}}), "",
              "Who shares the pick where the socket bound last has SO_REUSEPORT and others of equal score have not: "
              "every one of "
              "them (Linux 3.9 to 4.4), or the group only (Linux today)."),
        value("ephemeral_ports", &udp_config::ephemeral_ports, ports(), "",
              "Chosen from when a program names no port (Linux: net.ipv4.ip_local_port_range)."),
        value("expected_sockets", &udp_config::expected_sockets, integer<u32>(16, 1 << 24), "sockets",
              "First size of the lookup tables; they grow."),
        value("group_flows", &udp_config::group_flows, integer<u32>(1, 4'194'304), "flows",
              "Room of the flow table of a group with generations (UDP_GRM_DISSECTOR of type FLOW); 48 bytes a flow. A "
              "program asks for another by the option SKUA_GROUP_FLOWS."),
    };
    return table;
}

template <>
const std::vector<key<socket_config>>& keys<socket_config>() {
    const auto size = integer<u32>(2304, 1 << 30);
    static const std::vector<key<socket_config>> table{
        value("rmem_default", &socket_config::rmem_default, size, "bytes",
              "First SO_RCVBUF (Linux: net.core.rmem_default)."),
        value("rmem_max", &socket_config::rmem_max, size, "bytes",
              "Largest that SO_RCVBUF may ask for (Linux: net.core.rmem_max)."),
        value("wmem_default", &socket_config::wmem_default, size, "bytes",
              "First SO_SNDBUF (Linux: net.core.wmem_default)."),
        value("wmem_max", &socket_config::wmem_max, size, "bytes",
              "Largest that SO_SNDBUF may ask for (Linux: net.core.wmem_max)."),
        value("spin_us", &socket_config::spin_us, integer<u32>(0, 1'000'000), "microseconds",
              "Blocking calls, poll and epoll look for this long before they sleep (Linux: net.core.busy_poll)."),
    };
    return table;
}

template <>
const std::vector<key<reassembly_config>>& keys<reassembly_config>() {
    static const std::vector<key<reassembly_config>> table{
        value("max_datagrams", &reassembly_config::max_datagrams, integer<u32>(1, 1 << 20), "datagrams",
              "Put together at one time by one shard."),
        value("max_bytes", &reassembly_config::max_bytes, integer<u32>(65536, 1 << 30), "bytes",
              "Held in fragments by one shard (Linux: ipfrag_high_thresh)."),
        value("timeout_ipv4", &reassembly_config::timeout_ipv4, integer<seconds>(1, 600), "s",
              "From the first fragment on (Linux: ipfrag_time)."),
        value("timeout_ipv6", &reassembly_config::timeout_ipv6, integer<seconds>(1, 600), "s",
              "From the first fragment on (RFC 8200 4.5 says 60)."),
    };
    return table;
}

template <>
const std::vector<key<icmp_config>>& keys<icmp_config>() {
    static const std::vector<key<icmp_config>> table{
        value("messages_per_second", &icmp_config::messages_per_second, integer<u32>(0, 1000000), "1/s",
              "ICMP errors sent, by each shard (Linux: icmp_msgs_per_sec)."),
        value("burst", &icmp_config::burst, integer<u32>(1, 100000), "messages", "At once (Linux: icmp_msgs_burst)."),
    };
    return table;
}

template <>
const std::vector<key<mailbox_config>>& keys<mailbox_config>() {
    static const std::vector<key<mailbox_config>> table{
        value("size", &mailbox_config::size, integer<u32>(64, 1 << 16, true), "packets",
              "Of the ring from each shard, and from other threads, to each shard."),
    };
    return table;
}

template <>
const std::vector<key<log_config>>& keys<log_config>() {
    static const std::vector<key<log_config>> table{
        value("level", &log_config::level,
              choice<log_level>({{"error", log_level::error},
                                 {"warning", log_level::warning},
                                 {"notice", log_level::notice},
                                 {"info", log_level::info},
                                 {"debug", log_level::debug}}),
              "", "Least important messages that are still written; for DPDK's too."),
    };
    return table;
}

template <>
const std::vector<key<port_config>>& keys<port_config>() {
    static const std::vector<key<port_config>> table{
        value("device", &port_config::device, name_text(), "",
              "The port: a virtual device's name (`net_tap0`), a PCI address (`0000:3b:00.0`), or DPDK's port number "
              "(`0`).",
              true),
        value("name", &port_config::name, name_text(), "", "Name of the interface. Empty: as the device."),
        value("mac", &port_config::mac, mac(), "", "MAC address. None: the device's own."),
        value("mtu", &port_config::mtu, integer<u32>(68, 9710), "bytes",
              "Of an IP packet; 1280 or more for IPv6 addresses."),
        value("rx_descriptors", &port_config::rx_descriptors, integer<u32>(32, 32768), "", "Of each RX queue."),
        value("tx_descriptors", &port_config::tx_descriptors, integer<u32>(32, 32768), "", "Of each TX queue."),
        value("promiscuous", &port_config::promiscuous, boolean(), "",
              "Take frames for other MAC addresses from the wire too."),
        value("checksum_offloads", &port_config::checksum_offloads, boolean(), "",
              "Use what the device can check and fill in. False: all checksums in software."),
        value("flow_rules", &port_config::flow_rules, integer<u32>(0, 1 << 16), "rules",
              "Of rte_flow at most. A connected socket's flow, or all that comes to a port that one socket alone has "
              "bound by number, comes to the queue of the socket's shard. Tried on devices with several queues; what a "
              "device refuses is done in software."),
        value("dad", &port_config::dad, boolean(), "",
              "Look for other owners of our addresses before using them (RFC 4862, RFC 5227)."),
        list("addresses", &port_config::addresses, prefix(), "addresses with prefix lengths (\"198.18.0.1/24\")",
             "Own addresses, each with the length of its subnet."),
        sections("vlan", &port_config::vlans, "Tagged interfaces on this port (802.1Q)."),
    };
    return table;
}

template <>
const std::vector<key<vlan_config>>& keys<vlan_config>() {
    static const std::vector<key<vlan_config>> table{
        value("id", &vlan_config::id, integer<u16>(1, 4094), "", "The 802.1Q identifier.", true),
        value("name", &vlan_config::name, name_text(), "", "Name of the interface. Empty: `<port>.<id>`."),
        value("mtu", &vlan_config::mtu, integer<u32>(68, 9710), "bytes", "None: the port's."),
        list("addresses", &vlan_config::addresses, prefix(), "addresses with prefix lengths (\"198.18.0.1/24\")",
             "Own addresses, each with the length of its subnet."),
    };
    return table;
}

template <>
const std::vector<key<route_config>>& keys<route_config>() {
    static const std::vector<key<route_config>> table{
        value("to", &route_config::to, prefix(), "", "Destinations; `0.0.0.0/0` and `::/0` are all of a family.", true),
        value("via", &route_config::via, address(), "",
              "The gateway, on a subnet of ours. None: destinations are on the link."),
        value("port", &route_config::port, name_text(), "",
              "Name of the interface. Empty: the one whose subnet holds the gateway."),
        value("metric", &route_config::metric, integer<u32>(0, 4294967295), "",
              "The lowest wins among equal prefixes."),
        value("source", &route_config::source, address(), "", "Own address to send from. None: chosen by destination."),
    };
    return table;
}

template <>
const std::vector<key<neighbour_config>>& keys<neighbour_config>() {
    static const std::vector<key<neighbour_config>> table{
        value("address", &neighbour_config::address, address(), "", "The neighbour's address.", true),
        value("mac", &neighbour_config::mac, mac(), "", "Its MAC address; never asked for, never forgotten.", true),
        value("port", &neighbour_config::port, name_text(), "",
              "Name of the interface. Empty: the one whose subnet holds the address."),
    };
    return table;
}

template <>
const std::vector<key<attach_allowance>>& keys<attach_allowance>() {
    static const std::vector<key<attach_allowance>> table{
        value("user", &attach_allowance::user, user_text(), "", "Name or number of the user.", true),
        list("ports", &attach_allowance::ports, port_or_range(), "ports and ranges of ports (53, \"1000-1010\")",
             "Below `stack.unprivileged_port_start`, that programs of the user may bind all the same."),
    };
    return table;
}

template <>
const std::vector<key<attach_config>>& keys<attach_config>() {
    static const std::vector<key<attach_config>> table{
        value("path", &attach_config::path, any_text(), "",
              "Of the UNIX socket by which other processes attach to `skuad`. Empty: nobody can."),
        value("owner", &attach_config::owner, user_text(), "",
              "User who owns the socket, by name or number. Empty: who runs the daemon."),
        value("group", &attach_config::group, group_text(), "", "Its group. Empty: that of who runs the daemon."),
        value("mode", &attach_config::mode, file_mode(), "",
              "Its permissions: who may write to the socket may attach."),
        value("sessions_per_user", &attach_config::sessions_per_user, integer<u32>(1, 65536), "processes",
              "Attached at one time, of one user."),
        value("sockets_per_user", &attach_config::sockets_per_user, integer<u32>(1, 1 << 20), "sockets",
              "Open at one time, of one user."),
        value("memory_per_user", &attach_config::memory_per_user, integer<u32>(1, 1 << 20), "MiB",
              "Shared with programs of one user: for each socket, what its SO_RCVBUF and SO_SNDBUF may fill. What a "
              "program writes there itself counts to its own control group."),
        value("requests_per_second", &attach_config::requests_per_second, integer<u32>(10, 10'000'000), "",
              "Control requests answered to programs of one user; beyond it they wait for their turn. Datagrams are "
              "no requests."),
        value("keep_by", &attach_config::keep_by,
              choice<keeping>({{"auto", keeping::automatic},
                               {"manager", keeping::manager},
                               {"process", keeping::process},
                               {"nobody", keeping::nobody}}),
              "",
              "Who keeps the sockets of attached programs from the end of the daemon to its next start: the service "
              "manager that started it (systemd with FileDescriptorStoreMax=), a small process of its own beside the "
              "attach socket, or nobody: then they end with the daemon. auto: the manager if there is one."),
        value("keep_seconds", &attach_config::keep_seconds, integer<u32>(1, 86400), "s",
              "How long the process waits for the next daemon."),
        sections("allow", &attach_config::allow, "Users who may bind privileged ports; root may always."),
    };
    return table;
}

template <>
const std::vector<key<config>>& keys<config>() {
    static const std::vector<key<config>> table{
        section("eal", &config::eal, "How DPDK starts."),
        section("stack", &config::stack, "Shards, and rules for all sockets."),
        section("pool", &config::pool, "Packet memory."),
        section("neighbours", &config::neighbours, "ARP and neighbour discovery."),
        section("udp", &config::udp, "Lookup and ports."),
        section("socket", &config::socket, "Buffers of sockets."),
        section("reassembly", &config::reassembly, "Fragments."),
        section("icmp", &config::icmp, "ICMP and ICMPv6."),
        section("mailbox", &config::mailbox, "The way from shard to shard."),
        section("attach", &config::attach, "Other processes on this machine."),
        section("log", &config::log, "Messages."),
        sections("port", &config::ports, "NIC ports."),
        sections("route", &config::routes, "Ways to what is not on our subnets."),
        sections("neighbour", &config::static_neighbours, "Neighbours that are known beforehand."),
    };
    return table;
}

}  // namespace skua::control
