// Interfaces, addresses and routes: an immutable picture that shards read under RCU. A change makes a new picture.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/address.hh"
#include "base/result.hh"

namespace skua::net {

inline constexpr std::uint16_t no_port = 0xffff;
inline constexpr std::uint32_t loopback_ifindex = 1;  // "lo", as on Linux

/// State of an address under duplicate address detection (RFC 4862 §5.4, RFC 5227). Shared by all pictures that hold
/// the address; changed by the neighbour machine only.
enum class address_state : std::uint8_t { tentative, preferred, duplicate };

struct interface_address {
    ip_prefix prefix;  // the address itself and the length of its subnet
    std::shared_ptr<std::atomic<address_state>> state;
    bool usable() const { return state->load(std::memory_order_relaxed) == address_state::preferred; }
};

/// What the port below an interface does for us on the way out.
struct transmit_offloads {
    bool ipv4_checksum = false;
    bool udp_checksum = false;
    bool multi_segment = false;
};

/// A NIC port, or one VLAN of it, or the loopback. Plain data.
struct interface {
    std::uint32_t index = 0;
    std::string name;
    std::uint16_t port = no_port;  // DPDK port id
    std::uint16_t vlan = 0;        // 802.1Q id, 0 = untagged
    mac_address mac;
    std::uint32_t mtu = 1500;  // bytes of an IP packet
    transmit_offloads offloads;
    std::vector<interface_address> addresses;
    bool is_loopback() const { return index == loopback_ifindex; }
};

struct route {
    ip_prefix destination;
    std::optional<ip_address> gateway;  // none: on link
    std::uint32_t ifindex = 0;
    std::optional<ip_address> source;  // preferred source
    std::uint32_t metric = 0;
};

/// What kind of address a destination is for us.
enum class destination_kind : std::uint8_t { unicast, local, broadcast, multicast };

/// The way to a destination.
struct path {
    const interface* out = nullptr;  // the loopback for local destinations
    ip_address next_hop;             // gateway or the destination itself
    destination_kind kind = destination_kind::unicast;
    std::optional<ip_address> source;  // the route's preferred source, if it has one
};

/// Built once by topology_builder, then only read. Any number of threads.
class topology {
public:
    ~topology();
    const interface* by_index(std::uint32_t ifindex) const;
    const interface* by_name(std::string_view name) const;
    /// Interface of a frame that came in on a port with a VLAN id (0: untagged), or nullptr.
    const interface* by_port(std::uint16_t port, std::uint16_t vlan) const;
    std::span<const interface> interfaces() const;
    /// Connected ones too; by destination, then metric.
    std::span<const route> routes() const;
    /// Differs from that of any other picture of this process.
    std::uint64_t serial() const;

    /// One of our own usable addresses (any interface: Linux's weak host model), 127.0.0.0/8 included.
    bool is_local(const ip_address& a) const;
    /// The interface that holds the address, tentative or not, or nullptr. The lowest index if several do.
    const interface* holder(const ip_address& a) const;
    /// The address as this interface holds it, tentative or not, or nullptr.
    const interface_address* find_address(const ip_address& a, std::uint32_t ifindex) const;
    /// Limited broadcast, or the directed broadcast of one of this interface's IPv4 subnets (0 = of any interface).
    bool is_broadcast(const ip_address& a, std::uint32_t ifindex = 0) const;
    /// Is a multicast group received here without anyone joining: all-hosts 224.0.0.1, all-nodes ff02::1 and ff01::1,
    /// and the solicited-node groups of our own addresses (tentative ones too).
    bool is_joined(const ip_address& group, std::uint32_t ifindex) const;

    /// Way to `to`, by longest prefix, then lowest metric. `out_ifindex` != 0 restricts it to that interface
    /// (SO_BINDTODEVICE, scope of a link-local address, IP_MULTICAST_IF). Errors: ENETUNREACH no route; ENODEV no such
    /// interface. As on Linux: the unspecified address means this host (next_hop is then the loopback address); an IPv4
    /// destination without a route through `out_ifindex` is taken to be on link there; IPv6 multicast without an
    /// interface leaves by the first that has an IPv6 address, IPv4 multicast and limited broadcast go by route.
    result<path> route_to(const ip_address& to, std::uint32_t out_ifindex = 0) const;
    /// Bits of the shortest prefix around a unicast address of whose addresses all that route_to() says of it is true
    /// but for the next hop; of any other address all its bits. As long as it takes to look at every route.
    std::uint8_t alike(const ip_address& a) const;
    /// Source address for a way: its preferred one, else RFC 6724 §5 rules 1, 2, 3, 5, 8 for IPv6 and, for IPv4, the
    /// address on the subnet of the next hop, else the first of the interface, else the first of any. Error:
    /// EADDRNOTAVAIL.
    result<ip_address> source_for(const ip_address& to, const path& way) const;

private:
    friend class topology_builder;
    topology();
    result<path> group_path(const ip_address& to, const interface* out) const;
    struct tables;
    std::unique_ptr<tables> tables_;
};

/// Collects and checks; build() makes the picture. Always holds "lo" (index 1, 127.0.0.1/8, ::1/128, MTU 65536).
/// Connected routes of addresses are made by itself.
class topology_builder {
public:
    topology_builder();
    explicit topology_builder(const topology& like);  // to change an existing picture; states of addresses are kept
    /// index 0: the next free one is given. Errors: EEXIST index, name or (port, vlan) taken; EINVAL mtu, VLAN id, name
    /// empty or longer than 15 bytes, or addresses given (they come by add_address).
    result<std::uint32_t> add_interface(interface i);
    /// With its addresses and routes. Errors: ENODEV; EINVAL the loopback.
    result<void> remove_interface(std::uint32_t ifindex);
    /// For changes of MTU, MAC and offloads; nullptr if there is none.
    interface* find(std::uint32_t ifindex);
    /// `state`: tentative starts duplicate address detection when the neighbour machine sees it. Errors: ENODEV;
    /// EEXIST; EINVAL (multicast, unspecified).
    result<void> add_address(std::uint32_t ifindex, const ip_prefix& p, address_state state = address_state::preferred);
    /// Routes that prefer it as their source go with it (Linux: fib_sync_down_addr). Error: EADDRNOTAVAIL.
    result<void> remove_address(std::uint32_t ifindex, const ip_address& a);
    /// ifindex 0: that of the gateway. Errors: ENODEV; ENETUNREACH gateway not on link; EEXIST same destination, metric
    /// and interface; EINVAL families differ, gateway or source not usable as such, prefix length.
    result<void> add_route(const route& r);
    /// ifindex 0: by any interface. Error: ESRCH.
    result<void> remove_route(const ip_prefix& destination, std::uint32_t metric, std::uint32_t ifindex = 0);
    /// Errors: EINVAL an interface was given a wrong MTU by find(); ENOMEM.
    result<std::unique_ptr<const topology>> build() const;

private:
    const interface* link_of(const ip_address& gateway, std::uint32_t ifindex) const;
    std::vector<interface> interfaces_;
    std::vector<route> routes_;  // without the connected ones
};

}  // namespace skua::net
