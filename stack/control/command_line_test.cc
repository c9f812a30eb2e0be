// The command line: its parts, options for every key, and what is wrong with them.
#include "control/command_line.hh"

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "control/config_keys.hh"

namespace skua::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct outcome {
    tl::expected<config, int> result{tl::unexpected(-1)};
    std::string out, err;
};

outcome run(command_line& line, std::vector<const char*> args) {
    args.insert(args.begin(), "prog");
    std::ostringstream out, err;
    outcome o;
    o.result = line.parse(static_cast<int>(args.size()), args.data(), out, err);
    o.out = out.str();
    o.err = err.str();
    return o;
}

outcome run(std::vector<const char*> args) {
    command_line line("test");
    return run(line, std::move(args));
}

config accepted(std::vector<const char*> args) {
    auto o = run(std::move(args));
    EXPECT_TRUE(o.result) << o.err;
    return o.result.value_or(config{});
}

std::string refused(std::vector<const char*> args) {
    auto o = run(std::move(args));
    EXPECT_FALSE(o.result);
    EXPECT_EQ(o.result ? 0 : o.result.error(), 2);
    return o.err;
}

TEST(split, at_the_first_double_dash) {
    const char* argv[] = {"p", "-l", "0,1", "--", "-x", "--", "y"};
    const auto s = split_command_line(7, argv);
    EXPECT_EQ(s.program, "p");
    EXPECT_THAT(s.eal, ElementsAre("-l", "0,1"));
    EXPECT_THAT(s.own, ElementsAre("-x", "--", "y"));
}

TEST(split, without_double_dash_all_is_own) {
    const char* argv[] = {"p", "--shards", "2"};
    const auto s = split_command_line(3, argv);
    EXPECT_TRUE(s.eal.empty());
    EXPECT_THAT(s.own, ElementsAre("--shards", "2"));
}

TEST(split, of_nothing) {
    EXPECT_EQ(split_command_line(0, nullptr).program, "");
    const char* argv[] = {"p", "--"};
    EXPECT_TRUE(split_command_line(2, argv).own.empty());
}

TEST(options, nothing_means_defaults) { EXPECT_EQ(accepted({}), config{}); }

TEST(options, set_keys_of_sections) {
    const config c = accepted({"--shards", "2", "--idle=yield", "--pool-packets", "32768", "--udp-mixed-rule", "group",
                               "--udp-ephemeral-ports", "1024-2048", "--eal-secondary-processes", "true",
                               "--neighbours-retrans-time", "20", "--lcores", "0,1,2@0", "--shard-lcores", "1-2",
                               "--eal-memory", "128"});
    EXPECT_EQ(c.stack.shards, 2u);
    EXPECT_EQ(c.stack.idle, idle_policy::yield);
    EXPECT_EQ(c.pool.packets, 32768u);
    EXPECT_EQ(c.udp.mixed_rule, udp::mixed_rule::group);
    EXPECT_EQ(c.udp.ephemeral_ports, (port_range{1024, 2048}));
    EXPECT_TRUE(c.eal.secondary_processes);
    EXPECT_EQ(c.neighbours.retrans_time, std::chrono::milliseconds(20));
    EXPECT_EQ(c.eal.memory_mib, 128u);
    EXPECT_THAT(c.eal.args, ElementsAre("--lcores=0,1,2@0"));
    EXPECT_EQ(c.stack.lcores, "1-2");
}

TEST(options, the_last_one_wins) { EXPECT_EQ(accepted({"--burst", "8", "--burst", "16"}).stack.burst, 16u); }

TEST(options, make_ports_with_addresses_and_routes) {
    const config c = accepted({"--address", "198.18.0.1/24", "--address", "2001:db8::1/64@b.7", "--port",
                               "a,mtu=9000,dad=false", "--port", "b,addresses=198.18.9.1/24+198.18.8.1/24", "--vlan",
                               "7@b,mtu=1400", "--route", "0.0.0.0/0,via=198.18.0.254,metric=3", "--neighbour",
                               "198.18.9.9,mac=52:54:00:00:00:09", "--port-rx-descriptors", "64"});
    ASSERT_EQ(c.ports.size(), 2u);
    EXPECT_EQ(c.ports[0].device, "a");
    EXPECT_EQ(c.ports[0].mtu, 9000u);
    EXPECT_FALSE(c.ports[0].dad);
    EXPECT_THAT(c.ports[0].addresses, ElementsAre(*ip_prefix::parse("198.18.0.1/24")));
    EXPECT_EQ(c.ports[1].addresses.size(), 2u);
    ASSERT_EQ(c.ports[1].vlans.size(), 1u);
    EXPECT_EQ(c.ports[1].vlans[0].mtu, 1400u);
    EXPECT_THAT(c.ports[1].vlans[0].addresses, ElementsAre(*ip_prefix::parse("2001:db8::1/64")));
    EXPECT_EQ(c.ports[0].rx_descriptors, 64u);
    EXPECT_EQ(c.ports[1].rx_descriptors, 64u);
    ASSERT_EQ(c.routes.size(), 1u);
    EXPECT_EQ(c.routes[0].metric, 3u);
    ASSERT_EQ(c.static_neighbours.size(), 1u);
}

TEST(options, an_address_alone_means_the_first_port) {
    const config c = accepted({"--address", "198.18.0.1/24", "--port-mtu", "1400"});
    ASSERT_EQ(c.ports.size(), 1u);
    EXPECT_EQ(c.ports[0].device, "0");
    EXPECT_EQ(c.ports[0].mtu, 1400u);
}

TEST(options, come_after_the_file) {
    const std::string path = testing::TempDir() + "skua-line-test-" + std::to_string(getpid()) + ".toml";
    std::ofstream(path) << "[stack]\nshards = 4\nburst = 16\n[eal]\nargs = [\"--no-pci\"]\n[[port]]\ndevice = \"a\"\n"
                           "addresses = [\"198.18.0.1/24\"]\n";
    const config c =
        accepted({"--in-memory", "--", "--config", path.c_str(), "--shards", "2", "--address", "198.18.1.1/24", "--eal",
                  "-n 2  --legacy-mem", "--vdev", "net_null0", "--vdev", "net_null1", "--no-huge"});
    EXPECT_EQ(c.stack.shards, 2u);
    EXPECT_EQ(c.stack.burst, 16u);
    EXPECT_EQ(c.ports[0].addresses.size(), 2u);
    EXPECT_THAT(c.eal.args, ElementsAre("--no-pci", "--vdev=net_null0", "--vdev=net_null1", "--no-huge", "-n", "2",
                                        "--legacy-mem", "--in-memory"));
    EXPECT_EQ(refused({"--config", path.c_str(), "--address", "198.18.0.1/32"}),
              "--address 198.18.0.1/32: port[0].addresses[1]: found \"198.18.0.1/32\", "
              "expected an address that is nowhere else: "
              "port[0].addresses[0] has it\n");
    unlink(path.c_str());
}

TEST(options, mistakes_name_the_option) {
    EXPECT_EQ(refused({"--shards", "0"}), "--shards 0: stack.shards: found 0, expected an integer from 1 to 64\n");
    EXPECT_EQ(refused({"--shards", "two"}),
              "--shards two: stack.shards: found \"two\", expected an integer from 1 to 64\n");
    EXPECT_EQ(refused({"--shards", "010"}),
              "--shards 010: stack.shards: found \"010\", expected an integer from 1 to 64\n");
    EXPECT_EQ(
        refused({"--address", "198.18.0.1"}),
        "--address 198.18.0.1: port[0].addresses[0]: found \"198.18.0.1\", expected an address with its prefix length "
        "(\"198.18.0.1/24\")\n");
    EXPECT_EQ(refused({"--port", "a,mut=3"}),
              "--port a,mut=3: port[0].mut: found an unknown key, expected mtu (did you mean that?)\n");
    EXPECT_EQ(refused({"--port", "a,dad"}), "--port a,dad: port[0].dad: found \"\", expected true or false\n");
    EXPECT_EQ(refused({"--port", "a", "--address", "198.18.0.1/24@b"}),
              "--address 198.18.0.1/24@b: found \"b\", expected the name of an interface: a\n");
    EXPECT_EQ(refused({"--vlan", "7@b"}), "--vlan 7@b: found \"b\", expected the name of an interface: 0\n");
    EXPECT_EQ(refused({"--config", "/nowhere"}),
              "/nowhere: found No such file or directory, expected a file that can be read\n");
    EXPECT_THAT(refused({"--shrads", "1"}), HasSubstr("--shrads"));
    EXPECT_THAT(refused({"--shards", "99999999999999999999"}),
                HasSubstr("--shards 99999999999999999999: found bad syntax"));
}

TEST(options, help_has_each_option_of_each_key) {
    const auto o = run({"--help"});
    ASSERT_FALSE(o.result);
    EXPECT_EQ(o.result.error(), 0);
    for (const auto& k : all_keys())
        EXPECT_THAT(o.out, HasSubstr(option_text(k).substr(0, option_text(k).find(' ')))) << k.path;
    EXPECT_TRUE(o.err.empty());
}

TEST(options, a_program_has_its_own) {
    command_line line("test");
    int rounds = 0;
    line.app().add_option("-r,--rounds", rounds);
    EXPECT_TRUE(run(line, {"--rounds", "3", "--shards", "2"}).result);
    EXPECT_EQ(rounds, 3);
}

}  // namespace
}  // namespace skua::control
