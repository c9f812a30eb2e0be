// The configuration: what one TOML file may say, read once, checked whole, or refused with every problem in it.
//
// config_keys.cc holds the one table of keys, types, ranges, units and meanings; reading, checking, the reference and
// the command line are driven by it. Defaults are the initial values below and stand nowhere else.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "base/address.hh"
#include "udp/tables.hh"

namespace skua::control {

enum class hugepage_use : std::uint8_t { automatic, always, never };
enum class idle_policy : std::uint8_t { poll, yield };
enum class log_level : std::uint8_t { error, warning, notice, info, debug };

struct eal_config {
    std::vector<std::string> args;
    hugepage_use hugepages = hugepage_use::automatic;
    std::uint32_t memory_mib = 512;
    bool secondary_processes = false;
    friend bool operator==(const eal_config&, const eal_config&) = default;
};

/// How the RSS key of all ports is made; `bytes` only if it was given.
struct rss_key {
    enum class source : std::uint8_t { random, symmetric, given };
    source from = source::random;
    std::vector<std::uint8_t> bytes;
    friend bool operator==(const rss_key&, const rss_key&) = default;
};

/// What is done so that the queue, the shard and the socket of a flow agree.
enum class steering_rule : std::uint8_t { buckets_follow_reta, reta_follows_group, off };

struct stack_config {
    std::uint32_t shards = 1;
    std::string lcores;  // EAL list, "1-3,5"; empty: see shard_lcores()
    std::uint32_t burst = 32;
    idle_policy idle = idle_policy::poll;
    control::rss_key rss_key;
    std::uint32_t unprivileged_port_start = 1024;
    steering_rule steering = steering_rule::buckets_follow_reta;
    friend bool operator==(const stack_config&, const stack_config&) = default;
};

struct pool_config {
    std::uint32_t packets = 16384;
    std::uint32_t data_room = 2176;
    std::uint32_t cache = 256;
    friend bool operator==(const pool_config&, const pool_config&) = default;
};

struct neighbours_config {
    std::uint32_t max_entries = 1024;
    std::uint32_t queue = 64;
    std::chrono::milliseconds reachable_time{30000};
    std::chrono::milliseconds retrans_time{1000};
    std::chrono::milliseconds delay_first_probe{5000};
    std::uint32_t multicast_probes = 3;
    std::uint32_t unicast_probes = 3;
    friend bool operator==(const neighbours_config&, const neighbours_config&) = default;
};

struct port_range {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    friend bool operator==(const port_range&, const port_range&) = default;
};

struct udp_config {
    udp::mixed_rule mixed_rule = udp::mixed_rule::every;
    port_range ephemeral_ports{32768, 60999};
    std::uint32_t expected_sockets = 1024;
    std::uint32_t group_flows = 65536;
    friend bool operator==(const udp_config&, const udp_config&) = default;
};

struct socket_config {
    std::uint32_t rmem_default = 212992;
    std::uint32_t rmem_max = 4194304;
    std::uint32_t wmem_default = 212992;
    std::uint32_t wmem_max = 4194304;
    std::uint32_t spin_us = 0;
    friend bool operator==(const socket_config&, const socket_config&) = default;
};

struct reassembly_config {
    std::uint32_t max_datagrams = 1024;
    std::uint32_t max_bytes = 4194304;
    std::chrono::seconds timeout_ipv4{30};
    std::chrono::seconds timeout_ipv6{60};
    friend bool operator==(const reassembly_config&, const reassembly_config&) = default;
};

struct icmp_config {
    std::uint32_t messages_per_second = 1000;
    std::uint32_t burst = 50;
    friend bool operator==(const icmp_config&, const icmp_config&) = default;
};

struct mailbox_config {
    std::uint32_t size = 1024;
    friend bool operator==(const mailbox_config&, const mailbox_config&) = default;
};

/// Ports below stack.unprivileged_port_start that a user may bind.
struct attach_allowance {
    std::string user;
    std::vector<port_range> ports;
    friend bool operator==(const attach_allowance&, const attach_allowance&) = default;
};

/// Who holds attached programs' descriptors while no daemon runs.
enum class keeping : std::uint8_t { automatic, manager, process, nobody };

/// Other processes on this machine.
struct attach_config {
    std::string path;   // empty: nobody can attach
    std::string owner;  // of the socket, as user_id() knows it; empty: who runs the daemon
    std::string group;
    std::uint32_t mode = 0666;
    std::uint32_t sessions_per_user = 256;
    std::uint32_t sockets_per_user = 4096;
    std::uint32_t memory_per_user = 4096;  // MiB
    std::uint32_t requests_per_second = 50000;
    keeping keep_by = keeping::automatic;
    std::uint32_t keep_seconds = 60;
    std::vector<attach_allowance> allow;
    friend bool operator==(const attach_config&, const attach_config&) = default;
};

struct log_config {
    log_level level = log_level::notice;
    friend bool operator==(const log_config&, const log_config&) = default;
};

struct vlan_config {
    std::uint16_t id = 0;
    std::string name;                  // empty: "<port>.<id>"
    std::optional<std::uint32_t> mtu;  // none: the port's
    std::vector<ip_prefix> addresses;
    friend bool operator==(const vlan_config&, const vlan_config&) = default;
};

struct port_config {
    std::string device;
    std::string name;                // empty: the device
    std::optional<mac_address> mac;  // none: the device's own
    std::uint32_t mtu = 1500;
    std::uint32_t rx_descriptors = 1024;
    std::uint32_t tx_descriptors = 1024;
    bool promiscuous = false;
    bool checksum_offloads = true;
    std::uint32_t flow_rules = 1024;
    bool dad = true;
    std::vector<ip_prefix> addresses;
    std::vector<vlan_config> vlans;
    /// Name of the untagged interface, and of a VLAN's.
    const std::string& interface_name() const { return name.empty() ? device : name; }
    std::string interface_name(const vlan_config& vlan) const;
    friend bool operator==(const port_config&, const port_config&) = default;
};

struct route_config {
    std::optional<ip_prefix> to;
    std::optional<ip_address> via;  // none: on link
    std::string port;               // an interface's name; empty: the one whose subnet holds `via`
    std::uint32_t metric = 0;
    std::optional<ip_address> source;
    friend bool operator==(const route_config&, const route_config&) = default;
};

struct neighbour_config {
    std::string port;  // an interface's name; empty: the one whose subnet holds the address
    std::optional<ip_address> address;
    std::optional<mac_address> mac;
    friend bool operator==(const neighbour_config&, const neighbour_config&) = default;
};

/// Everything. `to` of routes, and address and mac of neighbours, are set in every config that was checked.
struct config {
    eal_config eal;
    stack_config stack;
    pool_config pool;
    neighbours_config neighbours;
    udp_config udp;
    socket_config socket;
    reassembly_config reassembly;
    icmp_config icmp;
    mailbox_config mailbox;
    attach_config attach;
    log_config log;
    std::vector<port_config> ports;
    std::vector<route_config> routes;
    std::vector<neighbour_config> static_neighbours;
    friend bool operator==(const config&, const config&) = default;
};

/// One thing that is wrong. `file` is empty for a config made in code and the option's text for one from the command
/// line; line and column count from 1, 0 where there is no text.
struct config_problem {
    std::string file;
    std::uint32_t line = 0;
    std::uint32_t column = 0;
    std::string key;       // "port[0].mtu"; empty for the file as a whole
    std::string found;     // "90"
    std::string expected;  // "an integer from 68 to 9710"
    friend bool operator==(const config_problem&, const config_problem&) = default;
};

/// In the manner of compilers: "skua.toml:12:7: port[0].mtu: found 90, expected an integer from 68 to 9710".
std::string to_string(const config_problem& problem);
/// One line each.
std::string to_string(const std::vector<config_problem>& problems);

using config_result = tl::expected<config, std::vector<config_problem>>;

config_result read_config(const std::string& path);
/// `name` stands for the file in problems.
config_result parse_config(std::string_view text, std::string_view name);
/// What no single key can tell: names that are not there, things that are there twice, gateways off every subnet. Empty
/// if all is well. For configs made in code; read_config() has called it.
std::vector<config_problem> check(const config& c);
/// TOML that reads back to an equal config.
std::string to_toml(const config& c);
/// Markdown: every key with type, default, unit, meaning and command-line option.
std::string config_reference();

/// Of a name, or a number that need not have one. Nothing: there is no such user, no such group.
std::optional<std::uint32_t> user_id(const std::string& text);
std::optional<std::uint32_t> group_id(const std::string& text);

/// "1-3,5" → 1 2 3 5; nothing if it is not such a list, counts backwards or names an lcore twice.
std::optional<std::vector<unsigned>> parse_lcore_list(std::string_view text);

}  // namespace skua::control
