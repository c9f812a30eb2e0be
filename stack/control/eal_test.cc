// EAL arguments as completed, and real starts and telemetry in processes of their own (a process can start an EAL
// once).
#include "control/eal.hh"

#include <gmock/gmock.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "control/telemetry.hh"
#include "packet/packet.hh"
#include "packet/pool.hh"

namespace skua::control {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t mib_bytes = 1 << 20;

host_facts host(std::uint64_t free_mib = 0, std::vector<unsigned> cpus = {0, 1}) {
    return {free_mib * mib_bytes, std::move(cpus), 42};
}

std::vector<std::string> completed(const config& c, const host_facts& h) {
    return complete_eal_arguments(c, h).value().args;
}

TEST(choose_lcores, gives_shards_cpus_of_their_own_first) {
    const std::vector<unsigned> one{3}, two{0, 1}, four{0, 1, 4, 5};
    EXPECT_EQ(choose_lcores(1, one), "0@3,1@3");
    EXPECT_EQ(choose_lcores(1, two), "0@0,1@1");
    EXPECT_EQ(choose_lcores(2, two), "0@0,1@0,2@1");
    EXPECT_EQ(choose_lcores(3, two), "0@0,1@0,2@1,3@0");
    EXPECT_EQ(choose_lcores(3, four), "0@0,1@1,2@4,3@5");
    EXPECT_EQ(choose_lcores(4, four), "0@0,1@0,2@1,3@4,4@5");
}

TEST(eal_arguments, without_hugepages) {
    config c;
    c.eal.args = {"--no-pci"};
    const auto got = complete_eal_arguments(c, host());
    ASSERT_TRUE(got);
    EXPECT_THAT(got->args, ElementsAre("--no-pci", "--no-huge", "--no-shconf", "-m", "512", "--file-prefix=skua-42",
                                       "--log-level=notice", "--log-level=lib.telemetry:error", "--lcores", "0@0,1@1"));
    EXPECT_THAT(got->notes,
                ElementsAre("0 MiB of hugepages are free, 512 are wanted (eal.memory): running without them"));
}

TEST(eal_arguments, with_hugepages) {
    config c;
    const auto got = complete_eal_arguments(c, host(512));
    EXPECT_THAT(got->args, Contains("--in-memory"));
    EXPECT_THAT(got->args, Not(Contains("--no-huge")));
    EXPECT_TRUE(got->notes.empty());
    EXPECT_THAT(completed(c, host(511)), Contains("--no-huge"));
    c.eal.secondary_processes = true;
    EXPECT_THAT(completed(c, host(512)), Not(Contains("--in-memory")));
}

TEST(eal_arguments, hugepages_never_or_always) {
    config c;
    c.eal.hugepages = hugepage_use::never;
    const auto never = complete_eal_arguments(c, host(4096));
    EXPECT_THAT(never->args, Contains("--no-huge"));
    EXPECT_TRUE(never->notes.empty());
    c.eal.hugepages = hugepage_use::always;
    EXPECT_EQ(complete_eal_arguments(c, host(100)).error(),
              "100 MiB of hugepages are free, 512 are wanted (eal.memory)");
    EXPECT_THAT(completed(c, host(512)), Contains("--in-memory"));
}

TEST(eal_arguments, what_is_given_stays) {
    config c;
    c.eal.args = {"--no-huge",     "--in-memory", "-m",    "64",
                  "--file-prefix", "mine",        "-l0,1", "--log-level=lib.eal:debug"};
    EXPECT_THAT(completed(c, host(4096)), ElementsAre("--no-huge", "-m", "64", "--file-prefix", "mine", "-l0,1",
                                                      "--log-level=lib.eal:debug", "--no-shconf"));
    c.eal.args = {"--huge-unlink=always", "--lcores=0@0"};
    EXPECT_THAT(completed(c, host(4096)), Not(Contains("--in-memory")));
    EXPECT_THAT(completed(c, host(4096)), Not(Contains("--lcores")));
}

TEST(eal_arguments, shards_on_named_lcores_have_a_main_one_beside_them) {
    config c;
    c.stack.shards = 2;
    c.stack.lcores = "0,2";
    EXPECT_THAT(completed(c, host(0, {0, 1, 2})), testing::IsSupersetOf({"1@1,0@0,2@2", "--main-lcore"}));
    EXPECT_THAT(completed(c, host(0, {0, 2})), testing::IsSupersetOf({"1@0,0@0,2@2"}));
}

TEST(eal_arguments, say_that_shards_share_cpus) {
    config c;
    c.stack.shards = 3;
    EXPECT_THAT(complete_eal_arguments(c, host(4096))->notes, ElementsAre("3 shards share 2 CPUs"));
}

TEST(host_facts, know_this_process) {
    const auto facts = host_facts::read();
    EXPECT_EQ(facts.pid, getpid());
    EXPECT_FALSE(facts.cpus.empty());
}

TEST(shard_lcores, of_the_running_eal) {
    // The tests' EAL has the main lcore only.
    stack_config c;
    EXPECT_THAT(shard_lcores(c).value(), ElementsAre(rte_get_main_lcore()));
    c.shards = 2;
    EXPECT_EQ(shard_lcores(c).error(), "stack.shards: 2 shards need as many worker lcores, the EAL has 1");
    c.lcores = "0,100";
    EXPECT_THAT(shard_lcores(c).error(), HasSubstr("is not one of the EAL's workers"));
    c = {.shards = 1, .lcores = "0"};
    EXPECT_THAT(shard_lcores(c).value(), ElementsAre(0u));
}

TEST(start, twice_is_refused) {
    const auto again = start_eal("test", config{});
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error(), "DPDK's EAL can be started once in a process only");
}

// ---- in processes of their own ----

struct child_end {
    int status;
    std::string output;
};

/// Runs one of the child_* tests below in this program without its EAL.
child_end run_child(const std::string& name, bool as_nobody = false) {
    int ends[2];
    if (pipe(ends) != 0) return {-1, "pipe"};
    const pid_t child = fork();
    if (child == 0) {
        // /tmp/dpdk belongs to whoever came first.
        std::string directory = testing::TempDir() + "skua-eal-test-XXXXXX";
        if (as_nobody && (setgid(65534) != 0 || setuid(65534) != 0 || mkdtemp(directory.data()) == nullptr)) _exit(3);
        if (as_nobody) setenv("XDG_RUNTIME_DIR", directory.c_str(), 1);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        setenv("SKUA_TEST_CHILD", "1", 1);
        unsetenv("GTEST_OUTPUT");  // the report is ours, and where it goes may be closed to others
        const std::string filter = "--gtest_filter=" + name;
        execl("/proc/self/exe", "unit_control", "--no-eal", filter.c_str(), static_cast<char*>(nullptr));
        _exit(4);
    }
    close(ends[1]);
    child_end out{0, ""};
    std::array<char, 4096> buffer;
    for (ssize_t n; (n = read(ends[0], buffer.data(), buffer.size())) > 0;)
        out.output.append(buffer.data(), static_cast<std::size_t>(n));
    close(ends[0]);
    waitpid(child, &out.status, 0);
    return out;
}

config small() {
    config c;
    c.eal = {{"--no-pci"}, hugepage_use::never, 64, false};
    return c;
}

/// dpdk-telemetry.py's side of the socket.
class telemetry_client {
public:
    telemetry_client() : fd_(socket(AF_UNIX, SOCK_SEQPACKET, 0)) {
        sockaddr_un to{AF_UNIX, {}};
        const std::string path = std::string(rte_eal_get_runtime_dir()) + "/dpdk_telemetry.v2";
        path.copy(to.sun_path, sizeof to.sun_path - 1);
        if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) hello_ = receive();
    }
    ~telemetry_client() { close(fd_); }
    const std::string& hello() const { return hello_; }
    std::string ask(const std::string& command) {
        if (send(fd_, command.data(), command.size(), 0) < 0) return "";
        return receive();
    }

private:
    std::string receive() {
        std::vector<char> buffer(32768);
        const ssize_t n = recv(fd_, buffer.data(), buffer.size(), 0);
        return n < 0 ? "" : std::string(buffer.data(), static_cast<std::size_t>(n));
    }
    int fd_;
    std::string hello_;
};

class some_stack final : public telemetry_source {
public:
    counters_snapshot counters() override {
        counters_snapshot c;
        c.drops[static_cast<std::size_t>(drop_reason::udp_no_port)] = 3;
        c.mibs[static_cast<std::size_t>(mib::udp_in_datagrams)] = 4;
        return c;
    }
    std::vector<shard_report> shards() override { return {{0, 1, 10, 5, 7, 8, 2, 1}, {1, 2}}; }
    std::vector<socket_report> sockets() override {
        std::vector<socket_report> out(100);
        for (std::size_t i = 0; i < out.size(); i++)
            out[i].local = {*ip_address::parse("198.18.0.1"), static_cast<std::uint16_t>(i + 1)};
        out[1].remote = {*ip_address::parse("2001:db8::1"), 53};
        out[1].in_group = true;
        return out;
    }
    std::vector<group_report> groups() override {
        return {{{*ip_address::parse("198.18.0.1"), 53}, "", "flows", 3, 512, 1, {{"assured", 7}}}};
    }
    std::vector<port_report> ports() override { return {{0, "net_null0", "net_null", true, 10000, 2}}; }
    std::vector<interface_report> interfaces() override {
        return {
            {2, "net_null0", *parse_mac("52:54:00:00:00:01"), 1500, 0, {"198.18.0.1/24", "2001:db8::1/64 tentative"}}};
    }
    std::vector<process_report> processes() override { return {{1, 2}, {4, 0}}; }
    std::vector<descriptor_report> descriptors(std::uint64_t process) override {
        if (process != 4) return {};
        return {{3, "socket:[17]", 02, false}, {7, "anon_inode:[eventpoll]", 04002, true}};
    }
    tl::expected<unsigned, std::string> active_shards(std::optional<unsigned> wanted) override {
        if (wanted == 0u) return tl::unexpected(std::string("one at least"));
        return wanted.value_or(2);
    }
    tl::expected<std::vector<std::pair<std::string, std::string>>, std::string> explain(
        std::string_view question) override {
        return std::vector<std::pair<std::string, std::string>>{{"question", std::string(question)}};
    }
    std::vector<std::string> proc_net_udp(ip_family family) override {
        return {family == ip_family::v4 ? "header" : "header 6", "a line"};
    }
    std::vector<neighbour_report> neighbours() override {
        if (broken) throw std::bad_alloc();
        return {{*ip_address::parse("198.18.0.2"), *parse_mac("52:54:00:00:00:02"), "net_null0", "reachable"}};
    }
    bool broken = false;
};

bool is_child() { return std::getenv("SKUA_TEST_CHILD") != nullptr; }

TEST(child, starts_with_shards) {
    if (!is_child()) GTEST_SKIP() << "run by start.*";
    config c = small();
    c.stack.shards = 2;
    const auto running = start_eal("child", c);
    ASSERT_TRUE(running) << running.error();
    EXPECT_EQ(rte_get_main_lcore(), 0u);
    EXPECT_THAT(shard_lcores(c.stack).value(), ElementsAre(1u, 2u));
    ASSERT_GE(packet::meta_offset, 0);
    {
        const auto pool = packet::make_pool("p", 256, 2176, SOCKET_ID_ANY, 0);
        ASSERT_TRUE(pool);
        auto p = packet::allocate(pool->get(), 64);
        ASSERT_TRUE(p);
        p.info().ifindex = 1;
    }
    const std::string directory = rte_eal_get_runtime_dir();
    EXPECT_THAT(directory, testing::EndsWith("/dpdk/skua-" + std::to_string(getpid())));
    std::printf("DIRECTORY %s \n", directory.c_str());
    EXPECT_FALSE(start_eal("child", c));
}

TEST(child, reports_what_eal_refuses) {
    if (!is_child()) GTEST_SKIP() << "run by start.*";
    config c = small();
    c.eal.args = {"--no-such-option"};
    const auto running = start_eal("child", c);
    ASSERT_FALSE(running);
    EXPECT_THAT(running.error(), HasSubstr("with: --no-such-option --no-huge --no-shconf -m 64 --file-prefix=skua-"));
}

TEST(child, answers_telemetry) {
    if (!is_child()) GTEST_SKIP() << "run by telemetry.*";
    const auto running = start_eal("child", small());
    ASSERT_TRUE(running) << running.error();
    std::optional<some_stack> stack(std::in_place);
    std::optional<telemetry_registration> registration(std::in_place, *stack);
    telemetry_client client;
    EXPECT_THAT(client.hello(), HasSubstr("\"max_output_len\""));
    EXPECT_THAT(client.ask("/"), HasSubstr("\"/skua/drops\""));
    const auto drops = client.ask("/skua/drops");
    EXPECT_THAT(drops, testing::StartsWith("{\"/skua/drops\":{\"eth_truncated\":0,"));
    EXPECT_THAT(drops, HasSubstr("\"udp_no_port\":3"));
    EXPECT_THAT(drops, HasSubstr("\"steer_loop\":0}}"));
    EXPECT_THAT(client.ask("/skua/mib"), HasSubstr("\"UdpInDatagrams\":4,\"UdpNoPorts\":0"));
    EXPECT_THAT(client.ask("/skua/mib,Udp"), testing::StartsWith("{\"/skua/mib\":{\"InDatagrams\":4,"));
    EXPECT_THAT(client.ask("/skua/mib,Tcp"), testing::AnyOf("{\"/skua/mib\":null}", "{\"/skua/mib\":[]}"));
    EXPECT_EQ(client.ask("/skua/shards"),
              "{\"/skua/shards\":{\"total\":2,\"0\":{\"shard\":0,\"lcore\":1,\"polls\":10,\"busy_polls\":5,"
              "\"rx_packets\":7,\"tx_packets\":8,\"handed_over\":2,\"fragments_handed_over\":0,"
              "\"reassembled_handed_over\":0,\"marked\":0,\"dropped\":1},\"1\":{\"shard\":1,\"lcore\":2,"
              "\"polls\":0,\"busy_polls\":0,\"rx_packets\":0,\"tx_packets\":0,\"handed_over\":0,"
              "\"fragments_handed_over\":0,\"reassembled_handed_over\":0,\"marked\":0,\"dropped\":0}}}");
    EXPECT_EQ(client.ask("/skua/shards/active"), "{\"/skua/shards/active\":{\"active\":2}}");
    EXPECT_EQ(client.ask("/skua/shards/active,1"), "{\"/skua/shards/active\":{\"active\":1}}");
    EXPECT_EQ(client.ask("/skua/shards/active,0"), "{\"/skua/shards/active\":{\"error\":\"one at least\"}}");
    EXPECT_EQ(client.ask("/skua/explain,a:1,b:2"), "{\"/skua/explain\":{\"question\":\"a:1,b:2\"}}");
    const auto sockets = client.ask("/skua/sockets");
    EXPECT_THAT(sockets, HasSubstr("\"total\":100"));
    EXPECT_THAT(sockets, HasSubstr("\"local\":\"198.18.0.1:2\",\"remote\":\"[2001:db8::1]:53\""));
    EXPECT_THAT(sockets, HasSubstr("\"39\":{"));
    EXPECT_THAT(sockets, Not(HasSubstr("\"40\":{")));
    EXPECT_THAT(client.ask("/skua/sockets,80"), testing::AllOf(HasSubstr("\"99\":{"), testing::EndsWith("}}}")));
    EXPECT_THAT(client.ask("/skua/sockets,x"), Not(HasSubstr("total")));
    EXPECT_EQ(client.ask("/skua/groups"),
              "{\"/skua/groups\":{\"total\":1,\"0\":{\"local\":\"198.18.0.1:53\",\"device\":\"\",\"chooser\":\"flows\","
              "\"members\":3,\"buckets\":512,\"fallbacks\":1,\"assured\":7}}}");
    EXPECT_THAT(client.ask("/skua/ports"), HasSubstr("\"driver\":\"net_null\",\"link\":\"up\",\"speed_mbps\":10000"));
    EXPECT_THAT(client.ask("/skua/interfaces"),
                HasSubstr("\"addresses\":[\"198.18.0.1/24\",\"2001:db8::1/64 tentative\"]"));
    EXPECT_THAT(client.ask("/skua/neighbours"),
                HasSubstr("\"mac\":\"52:54:00:00:00:02\",\"interface\":\"net_null0\",\"state\":\"reachable\""));
    EXPECT_EQ(client.ask("/skua/processes"),
              "{\"/skua/processes\":{\"total\":2,\"0\":{\"process\":1,\"descriptors\":2},"
              "\"1\":{\"process\":4,\"descriptors\":0}}}");
    EXPECT_EQ(client.ask("/skua/descriptors,4,1"),
              "{\"/skua/descriptors\":{\"total\":2,\"1\":{\"fd\":7,\"link\":\"anon_inode:[eventpoll]\","
              "\"flags\":\"04002\",\"close_on_exec\":1}}}");
    EXPECT_EQ(client.ask("/skua/descriptors,5"), "{\"/skua/descriptors\":{\"total\":0}}");
    EXPECT_THAT(client.ask("/skua/descriptors,x"), Not(HasSubstr("total")));
    EXPECT_EQ(client.ask("/skua/proc/net/udp"), "{\"/skua/proc/net/udp\":\"header\\na line\\n\"}");
    EXPECT_EQ(client.ask("/skua/proc/net/udp6,1"), "{\"/skua/proc/net/udp6\":\"a line\\n\"}");
    stack->broken = true;
    EXPECT_THAT(client.ask("/skua/neighbours"), Not(HasSubstr("total")));
    {
        some_stack other;
        const telemetry_registration newer(other);
        EXPECT_THAT(client.ask("/skua/neighbours"), HasSubstr("total"));
    }
    EXPECT_THAT(client.ask("/skua/neighbours"), Not(HasSubstr("total")));
    registration.reset();
    stack.reset();
    EXPECT_THAT(client.ask("/skua/shards"), Not(HasSubstr("total")));
}

void expect_clean_start(bool as_nobody) {
    const auto end = run_child("child.starts_with_shards", as_nobody);
    EXPECT_EQ(end.status, 0) << end.output;
    const auto at = end.output.find("DIRECTORY ");
    ASSERT_NE(at, std::string::npos) << end.output;
    const auto begin = at + 10;
    const std::string directory = end.output.substr(begin, end.output.find(' ', begin) - begin);
    EXPECT_FALSE(std::filesystem::exists(directory)) << directory;
    if (as_nobody) {
        const auto dpdk = std::filesystem::path(directory).parent_path();
        EXPECT_TRUE(std::filesystem::remove(dpdk) && std::filesystem::remove(dpdk.parent_path()));
    }
}

TEST(start, leaves_nothing_behind) { expect_clean_start(false); }

TEST(start, works_for_any_user) {
    if (getuid() != 0) GTEST_SKIP() << "the other test has run as a user";
    expect_clean_start(true);
}

TEST(start, works_for_several_at_once) {
    std::vector<std::thread> threads;
    std::array<child_end, 3> ends;
    for (auto& e : ends) threads.emplace_back([&e] { e = run_child("child.starts_with_shards"); });
    for (auto& t : threads) t.join();
    for (const auto& e : ends) EXPECT_EQ(e.status, 0) << e.output;
}

TEST(start, tells_what_the_eal_refuses) {
    const auto end = run_child("child.reports_what_eal_refuses");
    EXPECT_EQ(end.status, 0) << end.output;
}

TEST(telemetry, answers_over_the_socket) {
    const auto end = run_child("child.answers_telemetry");
    EXPECT_EQ(end.status, 0) << end.output;
}

}  // namespace
}  // namespace skua::control
