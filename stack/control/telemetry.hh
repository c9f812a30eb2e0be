// What a running stack tells through DPDK's telemetry socket (dpdk-telemetry.py, telegraf, collectd).
//
//   /skua/drops        reasons with the packets dropped for them, all shards together
//   /skua/mib,GROUP    Ip, Icmp, Udp, Ip6, Icmp6 or Udp6; without a group, all: "IpInReceives"
//   /skua/shards, /skua/sockets, /skua/groups, /skua/ports, /skua/interfaces, /skua/neighbours
//                      {"total": n, "0": {…}, "1": {…}}: 40 rows at a time; ",40" goes on from there
//   /skua/shards/active,N
//                      lets packets come in on the first N shards only; without N: how many do
//   /skua/explain,LOCAL,REMOTE[,PORT]
//                      where the datagrams of a flow go, and why
//   /skua/processes    the stack processes; /skua/descriptors,ID: the descriptors of one
//   /skua/proc/net/udp, /skua/proc/net/udp6
//                      the text of Linux's files, 40 lines at a time; ",39" goes on from the 39th socket
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <utility>
#include <vector>

#include "base/address.hh"
#include "control/statistics.hh"

namespace skua::control {

struct shard_report {
    unsigned shard = 0;
    unsigned lcore = 0;
    std::uint64_t polls = 0;
    std::uint64_t busy_polls = 0;  // that found something
    std::uint64_t rx_packets = 0;
    std::uint64_t tx_packets = 0;
    std::uint64_t handed_over = 0;  // packets given to other shards
    std::uint64_t dropped = 0;
    std::uint64_t fragments_handed_over = 0;  // of handed_over
    std::uint64_t reassembled_handed_over = 0;
    std::uint64_t marked = 0;  // lookups that a mark of the NIC has spared
};

struct socket_report {
    endpoint local;
    endpoint remote;  // port 0: not connected
    std::string device;
    unsigned shard = 0;
    std::uint64_t rx_queue_bytes = 0;
    std::uint64_t rx_queue_packets = 0;
    std::uint64_t tx_queue_bytes = 0;
    std::uint64_t drops = 0;
    std::uint32_t owner = 0;  // uid
    bool in_group = false;    // SO_REUSEPORT
    unsigned weight = 1;      // in its group
};

/// Sockets that share an address and port by SO_REUSEPORT.
struct group_report {
    endpoint local;
    std::string device;
    std::string chooser;  // "buckets", or its selector's name
    std::size_t members = 0;
    std::size_t buckets = 0;
    std::uint64_t fallbacks = 0;                                  // packets that the selector had no answer for
    std::vector<std::pair<std::string, std::uint64_t>> counters;  // of the selector
};

struct port_report {
    unsigned port = 0;
    std::string device;
    std::string driver;
    bool link_up = false;
    std::uint32_t speed_mbps = 0;
    unsigned queues = 0;
    std::uint64_t rx_packets = 0;
    std::uint64_t tx_packets = 0;
    std::uint64_t rx_bytes = 0;
    std::uint64_t tx_bytes = 0;
    std::uint64_t rx_missed = 0;
    std::uint64_t rx_no_mbuf = 0;
    std::uint64_t rules = 0;          // of rte_flow, installed
    std::uint64_t rules_refused = 0;  // for want of room, or by the device: done in software
    std::uint64_t errors = 0;
};

struct interface_report {
    std::uint32_t index = 0;
    std::string name;
    mac_address mac;
    std::uint32_t mtu = 0;
    std::uint16_t vlan = 0;
    std::vector<std::string> addresses;  // "198.18.0.1/24", with " tentative" or " duplicate" behind if so
};

struct neighbour_report {
    ip_address address;
    mac_address mac;
    std::string interface;
    std::string state;  // in Linux's words: "reachable", "stale", …
};

struct process_report {
    std::uint64_t id = 0;
    std::size_t descriptors = 0;
};

struct descriptor_report {
    int fd = 0;
    std::string link;  // as in /proc/PID/fd: "socket:[17]"
    int flags = 0;     // O_NONBLOCK, …
    bool close_on_exec = false;
};

/// Implemented by the stack. Called from DPDK's telemetry threads, at most one call at a time.
class telemetry_source {
public:
    virtual counters_snapshot counters() = 0;
    virtual std::vector<shard_report> shards() = 0;
    virtual std::vector<socket_report> sockets() = 0;
    virtual std::vector<group_report> groups() = 0;
    virtual std::vector<port_report> ports() = 0;
    virtual std::vector<interface_report> interfaces() = 0;
    virtual std::vector<neighbour_report> neighbours() = 0;
    virtual std::vector<process_report> processes() = 0;
    /// None if there is no such process.
    virtual std::vector<descriptor_report> descriptors(std::uint64_t process) = 0;
    /// The header and a line for each bound socket, without line ends.
    virtual std::vector<std::string> proc_net_udp(ip_family family) = 0;

    /// Shards that packets come in on; `wanted` changes it and waits until it is done. The error is a text for people.
    virtual tl::expected<unsigned, std::string> active_shards(std::optional<unsigned> wanted) = 0;
    /// Names and values. The error is a text for people.
    virtual tl::expected<std::vector<std::pair<std::string, std::string>>, std::string> explain(
        std::string_view question) = 0;

protected:
    ~telemetry_source() = default;
};

/// As long as it lives, the commands answer from its source. The newest of several wins. Needs a running EAL; after its
/// end no call to the source is running.
class telemetry_registration {
public:
    explicit telemetry_registration(telemetry_source& source);
    ~telemetry_registration();
    telemetry_registration(const telemetry_registration&) = delete;
    telemetry_registration& operator=(const telemetry_registration&) = delete;

private:
    telemetry_source& source_;
};

}  // namespace skua::control
