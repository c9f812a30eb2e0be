// Tests of the table of MIB counters.
#include "base/mib.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

namespace skua {
namespace {

TEST(mibs, rows_stand_in_the_order_of_the_enumeration) {
    for (std::size_t i = 0; i < mibs.size(); i++)
        EXPECT_EQ(static_cast<std::size_t>(mibs[i].id), i) << mibs[i].group << mibs[i].name;
}

TEST(mibs, names_are_distinct_within_known_groups) {
    const std::set<std::string_view> groups{"Ip", "Ip6", "Icmp", "Icmp6", "Udp", "Udp6"};
    std::set<std::pair<std::string_view, std::string_view>> names;
    for (const auto& row : mibs) {
        EXPECT_TRUE(groups.contains(row.group)) << row.group;
        EXPECT_TRUE(names.emplace(row.group, row.name).second) << row.group << row.name;
        EXPECT_TRUE(std::isupper(static_cast<unsigned char>(row.name.front()))) << row.name;
    }
}

TEST(mibs, both_families_of_a_protocol_are_spelt_alike) {
    const auto has = [](std::string_view group, std::string_view name) {
        return std::ranges::any_of(mibs, [&](const mib_info& row) { return row.group == group && row.name == name; });
    };
    for (const auto& row : mibs) {
        if (row.group == "Udp") {
            EXPECT_TRUE(has("Udp6", row.name)) << row.name;
        }
        if (row.group == "Udp6") {
            EXPECT_TRUE(has("Udp", row.name)) << row.name;
        }
    }
}

TEST(mibs, names_are_those_of_proc_net_snmp) {
    const auto row = [](mib id) { return mibs[static_cast<std::size_t>(id)]; };
    const auto is = [&](mib id, std::string_view group, std::string_view name) {
        EXPECT_EQ(row(id).group, group);
        EXPECT_EQ(row(id).name, name);
    };
    is(mib::ip_in_receives, "Ip", "InReceives");
    is(mib::ip_frag_creates, "Ip", "FragCreates");
    is(mib::ip6_in_too_big_errors, "Ip6", "InTooBigErrors");
    is(mib::icmp_in_dest_unreachs, "Icmp", "InDestUnreachs");
    is(mib::icmp6_out_neighbor_solicits, "Icmp6", "OutNeighborSolicits");
    is(mib::udp_no_ports, "Udp", "NoPorts");
    is(mib::udp6_in_csum_errors, "Udp6", "InCsumErrors");
}

}  // namespace
}  // namespace skua
