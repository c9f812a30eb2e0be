// Adding up and printing counters.
#include "control/statistics.hh"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <string_view>

#include "control/json.hh"
#include "control/plain_table.hh"

namespace skua::control {

namespace {

// Columns in Linux's order (net/ipv4/proc.c, net/ipv6/proc.c: snmp4_*_list, snmp6_*_list): tools go by the name, but
// some count columns. "IpExt" and other lines that Linux has in /proc/net/netstat are not here.
constexpr std::string_view ip_columns[] = {
    "Forwarding", "DefaultTTL", "InReceives",  "InHdrErrors", "InAddrErrors", "ForwDatagrams", "InUnknownProtos",
    "InDiscards", "InDelivers", "OutRequests", "OutDiscards", "OutNoRoutes",  "ReasmTimeout",  "ReasmReqds",
    "ReasmOKs",   "ReasmFails", "FragOKs",     "FragFails",   "FragCreates",  "OutTransmits"};
constexpr std::string_view icmp_columns[] = {
    "InMsgs",          "InErrors",       "InCsumErrors",     "InDestUnreachs", "InTimeExcds",        "InParmProbs",
    "InSrcQuenchs",    "InRedirects",    "InEchos",          "InEchoReps",     "InTimestamps",       "InTimestampReps",
    "InAddrMasks",     "InAddrMaskReps", "OutMsgs",          "OutErrors",      "OutRateLimitGlobal", "OutRateLimitHost",
    "OutDestUnreachs", "OutTimeExcds",   "OutParmProbs",     "OutSrcQuenchs",  "OutRedirects",       "OutEchos",
    "OutEchoReps",     "OutTimestamps",  "OutTimestampReps", "OutAddrMasks",   "OutAddrMaskReps"};
constexpr std::string_view udp_columns[] = {"InDatagrams",  "NoPorts",      "InErrors",
                                            "OutDatagrams", "RcvbufErrors", "SndbufErrors",
                                            "InCsumErrors", "IgnoredMulti", "MemErrors"};
constexpr std::string_view ip6_columns[] = {"InReceives",   "InHdrErrors",      "InTooBigErrors",  "InNoRoutes",
                                            "InAddrErrors", "InUnknownProtos",  "InTruncatedPkts", "InDiscards",
                                            "InDelivers",   "OutForwDatagrams", "OutRequests",     "OutDiscards",
                                            "OutNoRoutes",  "ReasmTimeout",     "ReasmReqds",      "ReasmOKs",
                                            "ReasmFails",   "FragOKs",          "FragFails",       "FragCreates"};
constexpr std::string_view icmp6_columns[] = {"InMsgs",
                                              "InErrors",
                                              "OutMsgs",
                                              "OutErrors",
                                              "InCsumErrors",
                                              "OutRateLimitHost",
                                              "InDestUnreachs",
                                              "InPktTooBigs",
                                              "InTimeExcds",
                                              "InParmProblems",
                                              "InEchos",
                                              "InEchoReplies",
                                              "InNeighborSolicits",
                                              "InNeighborAdvertisements",
                                              "OutDestUnreachs",
                                              "OutPktTooBigs",
                                              "OutTimeExcds",
                                              "OutParmProblems",
                                              "OutEchos",
                                              "OutEchoReplies",
                                              "OutNeighborSolicits",
                                              "OutNeighborAdvertisements"};
constexpr std::string_view udp6_columns[] = {"InDatagrams",  "NoPorts",      "InErrors",
                                             "OutDatagrams", "RcvbufErrors", "SndbufErrors",
                                             "InCsumErrors", "IgnoredMulti", "MemErrors"};

constexpr std::uint64_t not_forwarding = 2;  // RFC 4293 ipForwarding
constexpr std::uint64_t default_ttl = 64;

std::uint64_t column(const counters_snapshot& c, std::string_view group, std::string_view name) {
    if (name == "Forwarding") return not_forwarding;
    if (name == "DefaultTTL") return default_ttl;
    const auto row = std::ranges::find_if(mibs, [&](const mib_info& m) { return m.group == group && m.name == name; });
    if (row != mibs.end()) return c[row->id];
    // Nothing is forwarded, so all that is requested and not discarded is transmitted, in fragments or whole.
    if (name == "OutTransmits")
        return c[mib::ip_out_requests] + c[mib::ip_frag_creates] -
               std::min(c[mib::ip_frag_oks] + c[mib::ip_out_discards], c[mib::ip_out_requests]);
    return 0;
}

void two_lines(std::string& out, const counters_snapshot& c, std::string_view group,
               std::span<const std::string_view> columns) {
    out += fmt::format("{}: {}\n{}:", group, fmt::join(columns, " "), group);
    for (const auto& name : columns) out += fmt::format(" {}", column(c, group, name));
    out += '\n';
}

void many_lines(std::string& out, const counters_snapshot& c, std::string_view group,
                std::span<const std::string_view> columns) {
    for (const auto& name : columns)
        out += fmt::format("{:<32}\t{}\n", fmt::format("{}{}", group, name), column(c, group, name));
}

}  // namespace

void counters_snapshot::add(const counter_set<drop_reason>& shard_drops, const counter_set<mib>& shard_mibs) {
    for (std::size_t i = 0; i < drops.size(); i++) drops[i] += shard_drops.get(static_cast<drop_reason>(i));
    for (std::size_t i = 0; i < this->mibs.size(); i++) this->mibs[i] += shard_mibs.get(static_cast<mib>(i));
}

std::uint64_t counters_snapshot::dropped() const {
    return std::accumulate(drops.begin() + 1, drops.end(), std::uint64_t{0});
}

std::string proc_net_snmp(const counters_snapshot& c) {
    std::string out;
    two_lines(out, c, "Ip", ip_columns);
    two_lines(out, c, "Icmp", icmp_columns);
    two_lines(out, c, "Udp", udp_columns);
    return out;
}

std::string proc_net_snmp6(const counters_snapshot& c) {
    std::string out;
    many_lines(out, c, "Ip6", ip6_columns);
    many_lines(out, c, "Icmp6", icmp6_columns);
    many_lines(out, c, "Udp6", udp6_columns);
    return out;
}

std::string drops_table(const counters_snapshot& c) {
    plain_table table({"reason", "packets", "meaning"});
    for (const auto& d : drop_reasons)
        if (d.reason != drop_reason::none && c[d.reason] != 0)
            table.add({std::string(d.name), fmt::to_string(c[d.reason]), std::string(d.meaning)});
    return table.text();
}

std::string to_json(const counters_snapshot& c) {
    json_writer w;
    w.object([&] {
        w.key("drops").object([&] {
            for (const auto& d : drop_reasons)
                if (d.reason != drop_reason::none && c[d.reason] != 0) w.key(d.name).value(c[d.reason]);
        });
        w.key("mib").object([&] {
            for (std::size_t i = 0; i < mibs.size();) {
                const auto group = mibs[i].group;
                w.key(group).object([&] {
                    for (; i < mibs.size() && mibs[i].group == group; i++) w.key(mibs[i].name).value(c[mibs[i].id]);
                });
            }
        });
    });
    return w.text();
}

}  // namespace skua::control
