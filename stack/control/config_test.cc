// The configuration: defaults, values, every kind of mistake with its exact message, and the reference page.
#include "control/config.hh"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "control/config_keys.hh"
#include "control/test_paths.hh"

namespace skua::control {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string problems_of(std::string_view text) {
    const auto c = parse_config(text, "f.toml");
    return c ? "" : to_string(c.error());
}

// A port with subnets of both families, for what refers to one.
constexpr std::string_view one_port =
    "[[port]]\ndevice = \"net_tap0\"\naddresses = [\"198.18.0.1/24\", \"2001:db8::1/64\"]\n";
std::string with_port(std::string_view more) { return std::string(one_port) + std::string(more); }

TEST(config_defaults, empty_text_is_a_valid_config) {
    const auto c = parse_config("", "f.toml");
    ASSERT_TRUE(c);
    EXPECT_EQ(*c, config{});
}

TEST(config_defaults, survive_being_written_and_read) {
    const std::string text = to_toml(config{});
    const auto c = parse_config(text, "f.toml");
    ASSERT_TRUE(c) << to_string(c.error());
    EXPECT_EQ(*c, config{});
    for (const auto& k : all_keys())
        if (k.path.find("[]") == std::string::npos) {
            EXPECT_THAT(text, testing::HasSubstr(k.path.substr(k.path.find('.') + 1))) << k.path;
        }
}

TEST(config_defaults, are_in_range_and_consistent) { EXPECT_TRUE(check(config{}).empty()); }

constexpr std::string_view everything = R"(
[eal]
args = ["--no-pci", "--vdev=net_tap0,iface=\"skua0\""]
hugepages = "never"
memory = 1024
secondary_processes = true
[stack]
shards = 3
lcores = "1-2,5"
burst = 16
idle = "yield"
unprivileged_port_start = 0
[pool]
packets = 65535
data_room = 9600
cache = 0
[neighbours]
max_entries = 64
queue = 3
reachable_time = 10000
retrans_time = 500
delay_first_probe = 0
multicast_probes = 1
unicast_probes = 2
[udp]
mixed_rule = "group"
ephemeral_ports = [1024, 65535]
expected_sockets = 100000
group_flows = 1000
[socket]
rmem_default = 2304
rmem_max = 1000000
wmem_default = 4608
wmem_max = 4608
spin_us = 50
[reassembly]
max_datagrams = 1
max_bytes = 65536
timeout_ipv4 = 1
timeout_ipv6 = 2
[icmp]
messages_per_second = 0
burst = 1
[mailbox]
size = 64
[attach]
path = "/run/skua/attach"
owner = "root"
group = 0
mode = "0660"
sessions_per_user = 3
sockets_per_user = 4
memory_per_user = 5
requests_per_second = 60
keep_by = "process"
keep_seconds = 7
[[attach.allow]]
user = "root"
ports = [53, "1000-1010"]
[[attach.allow]]
user = 54321
[log]
level = "debug"
[[port]]
device = "0000:3b:00.0"
name = "lan"
mac = "52:54:00:00:00:01"
mtu = 9000
rx_descriptors = 512
tx_descriptors = 256
promiscuous = true
checksum_offloads = false
dad = false
addresses = ["198.18.0.1/24", "2001:db8::1/64"]
[[port.vlan]]
id = 100
addresses = ["198.18.1.1/24"]
[[port.vlan]]
id = 4094
name = "far"
mtu = 1400
[[port]]
device = "1"
[[route]]
to = "0.0.0.0/0"
via = "198.18.0.254"
metric = 5
source = "198.18.1.1"
[[route]]
to = "2001:db8:1::/48"
via = "fe80::1"
port = "lan.100"
[[route]]
to = "203.0.113.0/24"
port = "far"
[[neighbour]]
port = "lan"
address = "198.18.0.7"
mac = "52:54:00:00:00:07"
)";

TEST(config_values, all_keys_are_read) {
    const auto got = parse_config(everything, "f.toml");
    ASSERT_TRUE(got) << to_string(got.error());
    const config& c = *got;
    EXPECT_THAT(c.eal.args, testing::ElementsAre("--no-pci", "--vdev=net_tap0,iface=\"skua0\""));
    EXPECT_EQ(c.eal.hugepages, hugepage_use::never);
    EXPECT_EQ(c.eal.memory_mib, 1024u);
    EXPECT_TRUE(c.eal.secondary_processes);
    EXPECT_EQ(c.stack, (stack_config{3, "1-2,5", 16, idle_policy::yield, {}, 0}));
    EXPECT_EQ(c.pool, (pool_config{65535, 9600, 0}));
    EXPECT_EQ(c.neighbours, (neighbours_config{64, 3, milliseconds(10000), milliseconds(500), milliseconds(0), 1, 2}));
    EXPECT_EQ(c.udp, (udp_config{udp::mixed_rule::group, {1024, 65535}, 100000, 1000}));
    EXPECT_EQ(c.socket, (socket_config{2304, 1000000, 4608, 4608, 50}));
    EXPECT_EQ(c.reassembly, (reassembly_config{1, 65536, seconds(1), seconds(2)}));
    EXPECT_EQ(c.icmp, (icmp_config{0, 1}));
    EXPECT_EQ(c.mailbox.size, 64u);
    EXPECT_EQ(c.attach, (attach_config{"/run/skua/attach", "root", "0", 0660, 3, 4, 5, 60, keeping::process, 7,
                                       {{"root", {{53, 53}, {1000, 1010}}}, {"54321", {}}}}));
    EXPECT_EQ(c.log.level, log_level::debug);
    ASSERT_EQ(c.ports.size(), 2u);
    const auto& p = c.ports[0];
    EXPECT_EQ(p.interface_name(), "lan");
    EXPECT_EQ(p.mac, parse_mac("52:54:00:00:00:01"));
    EXPECT_EQ(p.mtu, 9000u);
    EXPECT_EQ(p.rx_descriptors, 512u);
    EXPECT_EQ(p.tx_descriptors, 256u);
    EXPECT_TRUE(p.promiscuous);
    EXPECT_FALSE(p.checksum_offloads);
    EXPECT_FALSE(p.dad);
    EXPECT_THAT(p.addresses,
                testing::ElementsAre(*ip_prefix::parse("198.18.0.1/24"), *ip_prefix::parse("2001:db8::1/64")));
    ASSERT_EQ(p.vlans.size(), 2u);
    EXPECT_EQ(p.interface_name(p.vlans[0]), "lan.100");
    EXPECT_EQ(p.interface_name(p.vlans[1]), "far");
    EXPECT_EQ(p.vlans[1].mtu, 1400u);
    EXPECT_FALSE(p.vlans[0].mtu);
    EXPECT_EQ(c.ports[1].interface_name(), "1");
    EXPECT_FALSE(c.ports[1].mac);
    ASSERT_EQ(c.routes.size(), 3u);
    EXPECT_EQ(c.routes[0], (route_config{ip_prefix::parse("0.0.0.0/0"), ip_address::parse("198.18.0.254"), "", 5,
                                         ip_address::parse("198.18.1.1")}));
    EXPECT_FALSE(c.routes[2].via);
    EXPECT_EQ(c.static_neighbours[0],
              (neighbour_config{"lan", ip_address::parse("198.18.0.7"), parse_mac("52:54:00:00:00:07")}));
}

TEST(config_values, survive_being_written_and_read) {
    const auto c = parse_config(everything, "f.toml");
    ASSERT_TRUE(c);
    const auto again = parse_config(to_toml(*c), "again.toml");
    ASSERT_TRUE(again) << to_string(again.error()) << to_toml(*c);
    EXPECT_EQ(*again, *c);
}

struct mistake {
    std::string text;
    std::string message;  // without the end of line
};

class config_mistakes : public testing::TestWithParam<mistake> {};

TEST_P(config_mistakes, has_its_message) { EXPECT_EQ(problems_of(GetParam().text), GetParam().message + '\n'); }

INSTANTIATE_TEST_SUITE_P(
    types, config_mistakes,
    testing::Values(
        mistake{"[stack]\nshards = \"2\"", "f.toml:2:10: stack.shards: found \"2\", expected an integer from 1 to 64"},
        mistake{"[stack]\nshards = 2.0", "f.toml:2:10: stack.shards: found 2.0, expected an integer from 1 to 64"},
        mistake{"[stack]\nshards = true", "f.toml:2:10: stack.shards: found true, expected an integer from 1 to 64"},
        mistake{"[stack]\nshards = [1]", "f.toml:2:10: stack.shards: found a list, expected an integer from 1 to 64"},
        mistake{"[stack]\nshards = {}", "f.toml:2:10: stack.shards: found a table, expected an integer from 1 to 64"},
        mistake{"[stack]\nshards = 2020-01-02",
                "f.toml:2:10: stack.shards: found 2020-01-02, expected an integer from 1 to 64"},
        mistake{"[eal]\nsecondary_processes = 1",
                "f.toml:2:23: eal.secondary_processes: found 1, expected true or false"},
        mistake{"[stack]\nlcores = 1",
                "f.toml:2:10: stack.lcores: found 1, expected a list of lcores (\"1-3,5\"), each once, 0 to 1023"},
        mistake{"[eal]\nargs = \"-n1\"", "f.toml:2:8: eal.args: found \"-n1\", expected a list of strings"},
        mistake{"[eal]\nargs = [\"-n\", 1]", "f.toml:2:15: eal.args[1]: found 1, expected a string"},
        mistake{"stack = 1", "f.toml:1:9: stack: found 1, expected a table: [stack]"},
        mistake{"[port]\ndevice = \"0\"",
                "f.toml:1:1: port: found a table, expected an array of tables: one [[…]] header for each port"},
        mistake{"port = [1]",
                "f.toml:1:8: port: found a list, expected an array of tables: one [[…]] header for each port"}));

INSTANTIATE_TEST_SUITE_P(
    ranges, config_mistakes,
    testing::Values(
        mistake{"[stack]\nshards = 0", "f.toml:2:10: stack.shards: found 0, expected an integer from 1 to 64"},
        mistake{"[stack]\nshards = 65", "f.toml:2:10: stack.shards: found 65, expected an integer from 1 to 64"},
        mistake{"[pool]\npackets = -1",
                "f.toml:2:11: pool.packets: found -1, expected an integer from 256 to 67108864"},
        mistake{"[pool]\ncache = 513", "f.toml:2:9: pool.cache: found 513, expected an integer from 0 to 512"},
        mistake{"[mailbox]\nsize = 100",
                "f.toml:2:8: mailbox.size: found 100, expected a power of two from 64 to 65536"},
        mistake{"[mailbox]\nsize = 131072",
                "f.toml:2:8: mailbox.size: found 131072, expected a power of two from 64 to 65536"},
        mistake{with_port("mtu = 67"), "f.toml:4:7: port[0].mtu: found 67, expected an integer from 68 to 9710"},
        mistake{with_port("mtu = 9711"), "f.toml:4:7: port[0].mtu: found 9711, expected an integer from 68 to 9710"},
        mistake{with_port("[[port.vlan]]\nid = 0"),
                "f.toml:5:6: port[0].vlan[0].id: found 0, expected an integer from 1 to 4094"},
        mistake{with_port("[[port.vlan]]\nid = 4095"),
                "f.toml:5:6: port[0].vlan[0].id: found 4095, expected an integer from 1 to 4094"},
        mistake{"[neighbours]\nretrans_time = 9",
                "f.toml:2:16: neighbours.retrans_time: found 9, expected an integer from 10 to 60000"},
        mistake{
            "[udp]\nephemeral_ports = [2, 1]",
            "f.toml:2:19: udp.ephemeral_ports: found a list, expected [first, last] with 1 <= first <= last <= 65535"},
        mistake{
            "[udp]\nephemeral_ports = [0, 1]",
            "f.toml:2:19: udp.ephemeral_ports: found a list, expected [first, last] with 1 <= first <= last <= 65535"},
        mistake{
            "[udp]\nephemeral_ports = [1, 65536]",
            "f.toml:2:19: udp.ephemeral_ports: found a list, expected [first, last] with 1 <= first <= last <= 65535"},
        mistake{"[udp]\nephemeral_ports = [1]",
                "f.toml:2:19: udp.ephemeral_ports: found a list, "
                "expected [first, last] with 1 <= first <= last <= 65535"}));

TEST(config, rss_key_is_random_symmetric_or_given) {
    const auto key_of = [](const std::string& text) {
        return parse_config("[stack]\nrss_key = \"" + text + "\"", "f")->stack.rss_key;
    };
    EXPECT_EQ(config{}.stack.rss_key.from, rss_key::source::random);
    EXPECT_EQ(key_of("symmetric").from, rss_key::source::symmetric);
    const auto given = key_of("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa");
    EXPECT_EQ(given.from, rss_key::source::given);
    ASSERT_EQ(given.bytes.size(), 40u);
    EXPECT_EQ(given.bytes[39], 0xfa);
}

INSTANTIATE_TEST_SUITE_P(
    texts, config_mistakes,
    testing::Values(
        mistake{"[stack]\nidle = \"sleep\"", "f.toml:2:8: stack.idle: found \"sleep\", expected \"poll\" or \"yield\""},
        mistake{"[eal]\nhugepages = \"no\"",
                "f.toml:2:13: eal.hugepages: found \"no\", expected \"auto\", \"always\" or \"never\""},
        mistake{
            "[stack]\nlcores = \"3-1\"",
            "f.toml:2:10: stack.lcores: found \"3-1\", expected a list of lcores (\"1-3,5\"), each once, 0 to 1023"},
        mistake{
            "[stack]\nlcores = \"1,1\"",
            "f.toml:2:10: stack.lcores: found \"1,1\", expected a list of lcores (\"1-3,5\"), each once, 0 to 1023"},
        mistake{"[[port]]\ndevice = \"a b\"",
                "f.toml:2:10: port[0].device: found \"a b\", expected a name without spaces, '@' and ','"},
        mistake{with_port("mac = \"01:00:5e:00:00:01\""),
                "f.toml:4:7: port[0].mac: found \"01:00:5e:00:00:01\", "
                "expected a unicast MAC address (\"52:54:00:00:00:01\")"},
        mistake{with_port("mac = \"52-54-00-00-00-01\""),
                "f.toml:4:7: port[0].mac: found \"52-54-00-00-00-01\", "
                "expected a unicast MAC address (\"52:54:00:00:00:01\")"},
        mistake{"[stack]\nrss_key = \"0011\"",
                "f.toml:2:11: stack.rss_key: found \"0011\", "
                "expected \"random\", \"symmetric\" or 40 or 52 bytes in hex"},
        mistake{"[[port]]\ndevice = \"0\"\naddresses = [\"198.18.0.1\"]",
                "f.toml:3:14: port[0].addresses[0]: found \"198.18.0.1\", "
                "expected an address with its prefix length (\"198.18.0.1/24\")"},
        mistake{"[[port]]\ndevice = \"0\"\naddresses = [\"198.18.0.1/33\"]",
                "f.toml:3:14: port[0].addresses[0]: found \"198.18.0.1/33\", "
                "expected an address with its prefix length (\"198.18.0.1/24\")"},
        mistake{with_port("[[route]]\nto = \"0.0.0.0/0\"\nvia = \"gateway\""),
                "f.toml:6:7: route[0].via: found \"gateway\", expected an IPv4 or IPv6 address"},
        mistake{"[eal]\nargs = [\"\\u0007\\\"\", 1]", "f.toml:2:21: eal.args[1]: found 1, expected a string"}));

INSTANTIATE_TEST_SUITE_P(
    keys, config_mistakes,
    testing::Values(
        mistake{with_port("mut = 90"),
                "f.toml:4:1: port[0].mut: found an unknown key, expected mtu (did you mean that?)"},
        mistake{"[neighbors]", "f.toml:1:2: neighbors: found an unknown key, expected neighbours (did you mean that?)"},
        mistake{"[log]\nzzzzzzzz = 1", "f.toml:2:1: log.zzzzzzzz: found an unknown key, expected one of level"},
        mistake{"[[port]]\nmtu = 1500",
                "f.toml:1:1: port[0].device: found nothing, expected a name without spaces, '@' and ','"},
        mistake{
            with_port("[[route]]\nvia = \"198.18.0.2\""),
            "f.toml:4:1: route[0].to: found nothing, expected an address with its prefix length (\"198.18.0.1/24\")"},
        mistake{
            with_port("[[neighbour]]\naddress = \"198.18.0.2\""),
            "f.toml:4:1: neighbour[0].mac: found nothing, expected a unicast MAC address (\"52:54:00:00:00:01\")"}));

INSTANTIATE_TEST_SUITE_P(
    whole, config_mistakes,
    testing::Values(
        mistake{"[stack]\nshards = 2\nlcores = \"1-3\"",
                "f.toml:3:10: stack.lcores: found \"1-3\", expected as many lcores as there are shards (2)"},
        mistake{with_port("[pool]\npackets = 2111"),
                "f.toml:5:11: pool.packets: found 2111, "
                "expected at least 2112: a shard's descriptors on every port, and two bursts"},
        mistake{"[socket]\nrmem_default = 5000000",
                "f.toml:2:16: socket.rmem_default: found 5000000, expected at most rmem_max (4194304)"},
        mistake{"[socket]\nwmem_max = 3000",
                "f.toml:1:1: socket.wmem_default: found 212992, expected at most wmem_max (3000)"},
        mistake{with_port("[[port]]\ndevice = \"net_tap0\"\nname = \"b\""),
                "f.toml:5:10: port[1].device: found \"net_tap0\", "
                "expected a device that no other port has: port[0] has it"},
        mistake{with_port("[[port]]\ndevice = \"1\"\nname = \"net_tap0\""),
                "f.toml:6:8: port[1].name: found \"net_tap0\", "
                "expected a name that no other interface has: port[0] has it"},
        mistake{with_port("[[port.vlan]]\nid = 7\nname = \"lo\""),
                "f.toml:6:8: port[0].vlan[0].name: found \"lo\", expected another name: this is the loopback's"},
        mistake{with_port("[[port.vlan]]\nid = 7\n[[port.vlan]]\nid = 7"),
                "f.toml:7:6: port[0].vlan[1].id: found 7, "
                "expected an id that no other VLAN of the port has: port[0].vlan[0] has it"},
        mistake{with_port("[[port.vlan]]\nid = 7\nmtu = 1501"),
                "f.toml:6:7: port[0].vlan[0].mtu: found 1501, expected at most the port's mtu (1500)"},
        mistake{with_port("[[port]]\ndevice = \"\""),
                "f.toml:5:10: port[1].device: found \"\", expected the name of a device"},
        mistake{with_port("[[port]]\ndevice = \"1\"\naddresses = [\"198.18.0.1/32\"]"),
                "f.toml:6:14: port[1].addresses[0]: found \"198.18.0.1/32\", expected an address that is nowhere else: "
                "port[0].addresses[0] has it"},
        mistake{"[[port]]\ndevice = \"1\"\naddresses = [\"224.0.0.1/4\"]",
                "f.toml:3:14: port[0].addresses[0]: found \"224.0.0.1/4\", expected a unicast address"},
        mistake{"[[port]]\ndevice = \"1\"\naddresses = [\"198.18.0.255/24\"]",
                "f.toml:3:14: port[0].addresses[0]: found \"198.18.0.255/24\", expected a unicast address"},
        mistake{"[[port]]\ndevice = \"1\"\naddresses = [\"127.0.0.1/8\"]",
                "f.toml:3:14: port[0].addresses[0]: found \"127.0.0.1/8\", expected a unicast address"},
        mistake{"[[port]]\ndevice = \"1\"\nmtu = 1279\naddresses = [\"2001:db8::1/64\"]",
                "f.toml:4:14: port[0].addresses[0]: found \"2001:db8::1/64\", "
                "expected no IPv6 address where the mtu (1279) is below 1280"}));

INSTANTIATE_TEST_SUITE_P(
    routes, config_mistakes,
    testing::Values(
        mistake{with_port("[[route]]\nto = \"0.0.0.0/0\"\nvia = \"198.18.1.254\""),
                "f.toml:6:7: route[0].via: found \"198.18.1.254\", expected an address on one of our subnets"},
        mistake{
            with_port("[[port]]\ndevice = \"b\"\n[[route]]\nto = \"0.0.0.0/0\"\nvia = \"198.18.0.254\"\nport = \"b\""),
            "f.toml:8:7: route[0].via: found \"198.18.0.254\", expected an address on a subnet of b"},
        mistake{with_port("[[route]]\nto = \"0.0.0.0/0\"\nvia = \"198.18.0.1\""),
                "f.toml:6:7: route[0].via: found \"198.18.0.1\", expected the address of a neighbour: this is our own"},
        mistake{with_port("[[route]]\nto = \"0.0.0.0/0\"\nvia = \"224.0.0.1\""),
                "f.toml:6:7: route[0].via: found \"224.0.0.1\", expected a unicast address"},
        mistake{with_port("[[route]]\nto = \"0.0.0.0/0\"\nvia = \"2001:db8::2\""),
                "f.toml:6:7: route[0].via: found \"2001:db8::2\", expected an address of the family of `to`"},
        mistake{with_port("[[route]]\nto = \"::/0\"\nvia = \"fe80::1\""),
                "f.toml:6:7: route[0].via: found \"fe80::1\", expected a port beside a link-local address"},
        mistake{with_port("[[route]]\nto = \"0.0.0.0/0\"\nvia = \"198.18.0.254\"\nport = \"eth0\""),
                "f.toml:7:8: route[0].port: found \"eth0\", expected the name of an interface: net_tap0"},
        mistake{"[[route]]\nto = \"0.0.0.0/0\"\nport = \"eth0\"",
                "f.toml:3:8: route[0].port: found \"eth0\", expected the name of an interface: there is none"},
        mistake{with_port("[[route]]\nto = \"10.0.0.1/8\"\nport = \"net_tap0\""),
                "f.toml:5:6: route[0].to: found \"10.0.0.1/8\", expected \"10.0.0.0/8\": no bits beyond the prefix"},
        mistake{with_port("[[route]]\nto = \"10.0.0.0/8\""),
                "f.toml:4:1: route[0]: found neither via nor port, expected one of them"},
        mistake{
            with_port("[[route]]\nto = \"::/0\"\nport = \"net_tap0\"\n[[route]]\nto = \"::/0\"\nvia = \"2001:db8::9\""),
            "f.toml:7:1: route[1]: found \"::/0\" with metric 0, expected another metric: there is a route like this"},
        mistake{with_port("[[route]]\nto = \"10.0.0.0/8\"\nport = \"net_tap0\"\nsource = \"198.18.0.2\""),
                "f.toml:7:10: route[0].source: found \"198.18.0.2\", expected one of our addresses"},
        mistake{with_port("[[route]]\nto = \"10.0.0.0/8\"\nport = \"net_tap0\"\nsource = \"2001:db8::1\""),
                "f.toml:7:10: route[0].source: found \"2001:db8::1\", expected an address of the family of `to`"}));

constexpr std::string_view neighbour_mac = "\nmac = \"52:54:00:00:00:09\"";
std::string neighbour(std::string_view rest) {
    return with_port("[[neighbour]]" + std::string(neighbour_mac) + std::string(rest));
}

INSTANTIATE_TEST_SUITE_P(
    neighbours, config_mistakes,
    testing::Values(
        mistake{neighbour("\naddress = \"10.0.0.1\""),
                "f.toml:6:11: neighbour[0].address: found \"10.0.0.1\", expected an address on one of our subnets"},
        mistake{neighbour("\naddress = \"198.18.0.1\""),
                "f.toml:6:11: neighbour[0].address: found \"198.18.0.1\", "
                "expected the address of a neighbour: this is our own"},
        mistake{neighbour("\naddress = \"ff02::1\""),
                "f.toml:6:11: neighbour[0].address: found \"ff02::1\", expected a unicast address"},
        mistake{neighbour("\naddress = \"198.18.0.9\"\nport = \"x\""),
                "f.toml:7:8: neighbour[0].port: found \"x\", expected the name of an interface: net_tap0"},
        mistake{neighbour("\naddress = \"198.18.0.9\"\n[[neighbour]]\naddress = \"198.18.0.9\"") +
                    std::string(neighbour_mac),
                "f.toml:8:11: neighbour[1].address: found \"198.18.0.9\", expected each neighbour once"}));

TEST(config_problems, of_who_may_attach) {
    EXPECT_EQ(problems_of("[attach]\nowner = \"nobody-of-this-name\"\ngroup = -1\nmode = \"0999\"\n"
                          "[[attach.allow]]\nports = [0, \"20-10\", \"1-65536\", 53]\n"),
              "f.toml:2:9: attach.owner: found \"nobody-of-this-name\", "
              "expected the name or number of a user of this machine\n"
              "f.toml:3:9: attach.group: found -1, expected the name or number of a group of this machine\n"
              "f.toml:4:8: attach.mode: found \"0999\", expected permissions in octal (\"0660\")\n"
              "f.toml:5:1: attach.allow[0].user: found nothing, expected the name or number of a user of this machine\n"
              "f.toml:6:10: attach.allow[0].ports[0]: found 0, "
              "expected a port or a range of ports (53, \"1000-1010\")\n"
              "f.toml:6:13: attach.allow[0].ports[1]: found \"20-10\", "
              "expected a port or a range of ports (53, \"1000-1010\")\n"
              "f.toml:6:22: attach.allow[0].ports[2]: found \"1-65536\", "
              "expected a port or a range of ports (53, \"1000-1010\")\n");
}

TEST(config_problems, are_all_told_in_the_order_of_lines) {
    EXPECT_EQ(problems_of("[stack]\nshards = 0\nburst = 0\nx = 1\n[icmp]\nburst = 0\n"),
              "f.toml:2:10: stack.shards: found 0, expected an integer from 1 to 64\n"
              "f.toml:3:9: stack.burst: found 0, expected an integer from 1 to 32\n"
              "f.toml:4:1: stack.x: found an unknown key, "
              "expected one of shards, lcores, burst, idle, rss_key, steering, "
              "unprivileged_port_start\n"
              "f.toml:6:9: icmp.burst: found 0, expected an integer from 1 to 100000\n");
}

TEST(config_problems, bad_syntax_and_double_keys_have_a_line) {
    EXPECT_THAT(problems_of("[stack]\nshards = "), testing::StartsWith("f.toml:2:"));
    EXPECT_THAT(problems_of("[stack]\nshards = "), testing::HasSubstr("found bad syntax ("));
    EXPECT_THAT(problems_of("[stack]\nshards = 1\nshards = 2\n"), testing::StartsWith("f.toml:3:"));
    EXPECT_THAT(problems_of("[stack]\n[icmp]\n[stack]\n"), testing::StartsWith("f.toml:3:"));
}

TEST(config_problems, of_a_config_made_in_code_have_no_file) {
    config c;
    c.routes.push_back({.port = "x"});
    c.static_neighbours.push_back({});
    EXPECT_EQ(to_string(check(c)),
              "route[0].to: found nothing, expected an address with its prefix length\n"
              "neighbour[0].address: found nothing, expected an IPv4 or IPv6 address\n");
}

TEST(config_file, is_read_or_the_reason_told) {
    const std::string path = testing::TempDir() + "skua-config-test-" + std::to_string(getpid()) + ".toml";
    EXPECT_EQ(to_string(read_config(path).error()),
              path + ": found No such file or directory, expected a file that can be read\n");
    EXPECT_EQ(to_string(read_config("/").error()), "/: found Is a directory, expected a file that can be read\n");
    std::ofstream(path) << "";
    EXPECT_EQ(read_config(path).value(), config{});
    std::ofstream(path) << "[stack]\nshards = 2\n";
    EXPECT_EQ(read_config(path)->stack.shards, 2u);
    std::ofstream(path) << "\n[stack]\nshards = 0\n";
    EXPECT_EQ(to_string(read_config(path).error()),
              path + ":3:10: stack.shards: found 0, expected an integer from 1 to 64\n");
    unlink(path.c_str());
}

TEST(lcore_list, is_read) {
    EXPECT_EQ(parse_lcore_list("1-3,5"), (std::vector<unsigned>{1, 2, 3, 5}));
    EXPECT_EQ(parse_lcore_list("0"), std::vector<unsigned>{0});
    for (const char* bad : {"", "1-", "-1", "1,,2", "a", "2-1", "1,1", "1024", "1-3,2", "99999999999"})
        EXPECT_FALSE(parse_lcore_list(bad)) << bad;
}

TEST(reference, has_each_key) {
    const std::string page = config_reference();
    for (const auto& k : all_keys()) {
        const bool table = k.form == key_form::table || k.form == key_form::tables;
        EXPECT_THAT(page, testing::HasSubstr(k.meaning)) << k.path;
        if (!table) {
            EXPECT_THAT(page, testing::HasSubstr("| `" + k.path.substr(k.path.rfind('.') + 1) + "` | ")) << k.path;
        }
        EXPECT_FALSE(k.meaning.empty() || k.type.empty()) << k.path;
    }
    EXPECT_THAT(page, testing::HasSubstr("\n## [[port.vlan]]\n"));
    EXPECT_THAT(page, testing::HasSubstr("| `mtu` | an integer from 68 to 9710 | `1500` | bytes |"));
}

// SKUA_WRITE_REFERENCE=1 writes the page instead of comparing it.
TEST(reference, committed_page_is_up_to_date) {
    const std::string path = std::string(source_root) + "/stack/control/CONFIGURATION.md";
    if (std::getenv("SKUA_WRITE_REFERENCE")) std::ofstream(path) << config_reference();
    std::ostringstream committed;
    committed << std::ifstream(path).rdbuf();
    EXPECT_EQ(committed.str(), config_reference()) << "run the test with SKUA_WRITE_REFERENCE=1";
}

}  // namespace
}  // namespace skua::control
