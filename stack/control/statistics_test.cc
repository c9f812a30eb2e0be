// Sums of counters and their text.
#include "control/statistics.hh"

#include <gmock/gmock.h>

#include <sstream>

#include "control/json.hh"
#include "control/plain_table.hh"

namespace skua::control {
namespace {

using testing::HasSubstr;

struct shard {
    counter_set<drop_reason> drops;
    counter_set<mib> mibs;
};

counters_snapshot sum_of(std::initializer_list<const shard*> shards) {
    counters_snapshot c;
    for (const auto* s : shards) c.add(s->drops, s->mibs);
    return c;
}

TEST(snapshot, adds_up_shards) {
    shard a, b;
    a.drops.add(drop_reason::udp_no_port, 3);
    b.drops.add(drop_reason::udp_no_port, 4);
    b.drops.add(drop_reason::none, 100);
    b.drops.add(drop_reason::steer_loop);
    a.mibs.add(mib::ip_in_receives, 5);
    b.mibs.add(mib::udp6_in_csum_errors, 6);
    const auto c = sum_of({&a, &b});
    EXPECT_EQ(c[drop_reason::udp_no_port], 7u);
    EXPECT_EQ(c.dropped(), 8u);
    EXPECT_EQ(c[mib::ip_in_receives], 5u);
    EXPECT_EQ(c[mib::udp6_in_csum_errors], 6u);
    EXPECT_EQ(sum_of({}), counters_snapshot{});
}

std::vector<std::string> words(const std::string& line) {
    std::istringstream in(line);
    return {std::istream_iterator<std::string>(in), {}};
}

/// "Ip.InReceives" → value, as netstat -s and node_exporter read /proc/net/snmp.
std::map<std::string, std::string> read_snmp(const std::string& text) {
    std::map<std::string, std::string> out;
    std::istringstream in(text);
    for (std::string names, values; std::getline(in, names) && std::getline(in, values);) {
        const auto n = words(names), v = words(values);
        EXPECT_EQ(n.size(), v.size());
        EXPECT_EQ(n[0], v[0]);
        for (std::size_t i = 1; i < std::min(n.size(), v.size()); i++)
            out[n[0].substr(0, n[0].size() - 1) + n[i]] = v[i];
    }
    return out;
}

TEST(snmp, each_counter_is_in_one_of_the_files) {
    shard s;
    for (std::size_t i = 0; i < mibs.size(); i++) s.mibs.add(static_cast<mib>(i), 1000 + i);
    const auto c = sum_of({&s});
    auto found = read_snmp(proc_net_snmp(c));
    std::istringstream six(proc_net_snmp6(c));
    for (std::string name, value; six >> name >> value;) EXPECT_TRUE(found.emplace(name, value).second) << name;
    for (const auto& m : mibs)
        EXPECT_EQ(found[std::string(m.group) + std::string(m.name)], std::to_string(1000 + static_cast<int>(m.id)))
            << m.group << m.name;
}

TEST(snmp, looks_like_linux) {
    shard s;
    s.mibs.add(mib::ip_in_receives, 7);
    s.mibs.add(mib::udp_in_datagrams, 6);
    const auto text = proc_net_snmp(sum_of({&s}));
    EXPECT_THAT(text, testing::StartsWith("Ip: Forwarding DefaultTTL InReceives InHdrErrors"));
    EXPECT_THAT(text, HasSubstr("\nIp: 2 64 7 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\nIcmp: InMsgs"));
    EXPECT_THAT(text,
                HasSubstr("\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
                          "IgnoredMulti MemErrors\nUdp: 6 0 0 0 0 0 0 0 0\n"));
    EXPECT_THAT(proc_net_snmp6(counters_snapshot{}), testing::StartsWith("Ip6InReceives                   \t0\n"));
}

TEST(snmp, transmits_count_fragments) {
    shard s;
    s.mibs.add(mib::ip_out_requests, 10);
    s.mibs.add(mib::ip_frag_oks, 1);
    s.mibs.add(mib::ip_frag_creates, 3);
    s.mibs.add(mib::ip_out_discards, 2);
    EXPECT_EQ(read_snmp(proc_net_snmp(sum_of({&s})))["IpOutTransmits"], "10");
}

TEST(drops, are_listed_if_there_were_any) {
    shard s;
    EXPECT_EQ(drops_table(sum_of({&s})), "");
    s.drops.add(drop_reason::none, 9);
    s.drops.add(drop_reason::udp_no_port, 12);
    s.drops.add(drop_reason::no_mbuf);
    EXPECT_EQ(drops_table(sum_of({&s})),
              "reason       packets  meaning\n"
              "udp_no_port       12  no socket is bound to the port\n"
              "no_mbuf            1  the packet pool is empty\n");
}

TEST(plain_table, aligns_and_fills) {
    plain_table t({"a", "bbb"});
    t.add({"long", "1", "too much"});
    t.add({"x"});
    EXPECT_EQ(t.text(), "a     bbb\nlong  1\nx\n");
}

TEST(json, nests_and_escapes) {
    json_writer w;
    w.object([&] {
        w.key("a\"\\\n").value("b\t");
        w.key("list").array([&] {
            w.value(1).value(-2).value(true).array([] {}).object([] {});
            w.value("é");
        });
        w.key("none").object([] {});
        w.key("last").value(std::uint64_t(-1));
    });
    EXPECT_EQ(w.text(),
              "{\"a\\\"\\\\\\u000a\":\"b\\u0009\",\"list\":[1,-2,true,[],{},\"é\"],"
              "\"none\":{},\"last\":18446744073709551615}");
}

TEST(json, of_counters) {
    shard s;
    s.drops.add(drop_reason::udp_no_port, 2);
    s.drops.add(drop_reason::frag_timeout, 1);
    s.mibs.add(mib::ip_in_receives, 3);
    const auto text = to_json(sum_of({&s}));
    EXPECT_THAT(
        text,
        testing::StartsWith(
            "{\"drops\":{\"frag_timeout\":1,\"udp_no_port\":2},\"mib\":{\"Ip\":{\"InReceives\":3,\"InHdrErrors\":0,"));
    EXPECT_THAT(text, testing::EndsWith("\"InCsumErrors\":0}}}"));
    EXPECT_THAT(text, HasSubstr("},\"Udp6\":{\"InDatagrams\":0,"));
    EXPECT_THAT(to_json(counters_snapshot{}), testing::StartsWith("{\"drops\":{},\"mib\":{"));
}

}  // namespace
}  // namespace skua::control
