// The counters of all shards added up, and their text for people and for tools.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/counters.hh"
#include "base/drop_reason.hh"
#include "base/mib.hh"

namespace skua::control {

/// Plain numbers as of about one moment: shards are read while they count and are not disturbed.
struct counters_snapshot {
    std::array<std::uint64_t, counter_set<drop_reason>::size> drops{};
    std::array<std::uint64_t, counter_set<mib>::size> mibs{};

    /// Adds what one shard has counted. Any thread.
    void add(const counter_set<drop_reason>& shard_drops, const counter_set<mib>& shard_mibs);
    std::uint64_t operator[](drop_reason r) const { return drops[static_cast<std::size_t>(r)]; }
    std::uint64_t operator[](mib m) const { return mibs[static_cast<std::size_t>(m)]; }
    /// Of all reasons but drop_reason::none, which is no drop.
    std::uint64_t dropped() const;
    friend bool operator==(const counters_snapshot&, const counters_snapshot&) = default;
};

/// As Linux's /proc/net/snmp: two lines for each of Ip, Icmp and Udp, with all the columns of Linux 6 in their order;
/// what skua does not count is 0. It does not forward, and has no Tcp.
std::string proc_net_snmp(const counters_snapshot& c);
/// As Linux's /proc/net/snmp6: a line for each counter.
std::string proc_net_snmp6(const counters_snapshot& c);
/// "NAME  COUNT  MEANING", for each reason that was counted.
std::string drops_table(const counters_snapshot& c);
/// {"drops":{"udp_no_port":1},"mib":{"Ip":{"InReceives":2},…}}; drops that were counted, all of the MIB.
std::string to_json(const counters_snapshot& c);

}  // namespace skua::control
