// A skuad with a memif port whose other end is this process: no root, no NIC, no hugepages.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <sched.h>
#include <unistd.h>

#include <regex>

#include "support/own_daemon.hh"
#include "upgrade/dpdk.hh"
#include "upgrade/frames.hh"
#include "upgrade/network.hh"
#include "upgrade/process_servers.hh"

namespace skua::upgrade {

namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto patience = 1s;  // until an answer counts as lost
constexpr auto connect_time = 20s;
constexpr std::uint16_t descriptors = 1024;
constexpr const char* device = "net_memif0";

std::string memif(const char* role) { return fmt::format("role={},id=0,socket=skua-upgrade-{}", role, getpid()); }

std::vector<std::string> daemon_options() {
    const auto ip = [](const ipv4_address& a) { return ip_address(a).to_string(); };
    return {fmt::format("--vdev={},{}", device, memif("server")),
            "--port",
            fmt::format("{},name=memif0", device),
            "--port-mac",
            to_string(server_mac),
            "--port-dad",
            "false",
            "--address",
            ip(server_ip) + "/24",
            "--neighbour",
            fmt::format("{},mac={}", ip(gateway_ip), to_string(client_mac)),
            "--route",
            fmt::format("{},via={}", clients_prefix, ip(gateway_ip))};
}

control::config own_config() {
    control::config c;
    c.eal.args = {"--no-pci"};
    c.eal.memory_mib = 512;
    return c;
}

class daemon_network final : public network {
public:
    explicit daemon_network(std::uint32_t stored_generation)
        : stored_generation_(stored_generation), daemon_(daemon_options()) {
        start_eal(own_config());
        pool_ = make_frame_pool("memif");
        // It says that other DPDK processes could not share the port, as nobody wants to.
        rte_log_set_level_pattern("pmd.net.memif*", RTE_LOG_CRIT);
        if (rte_eal_hotplug_add("vdev", device, memif("client").c_str()) != 0 ||
            rte_eth_dev_get_port_by_name(device, &port_) != 0)
            throw std::runtime_error("no memif port: is librte-net-memif there?");
        start_port(port_, 1, descriptors, pool_.get());
        wait_for_link();
    }
    ~daemon_network() override {
        rte_eth_dev_stop(port_);
        rte_eal_hotplug_remove("vdev", device);
    }

    std::unique_ptr<servers> make_servers(server_options o) override {
        o.local.sin_family = AF_INET;
        o.local.sin_port = htons(server_port);
        return make_process_servers(o, stored_generation_);
    }
    void open_client(std::uint64_t) override {}
    void close_client(std::uint64_t) override {}
    void send(std::uint64_t client, const message& question) override {
        waiting_.push_back(question_frame(pool_.get(), client, question));
        expected_++;
        last_progress_ = clock::now();
    }
    unsigned move(const std::function<unsigned()>& serve, const std::function<void(const message&)>& answered) override;
    std::vector<std::pair<std::string, std::uint64_t>> group_counters() const override;

private:
    void wait_for_link() const;

    const std::uint32_t stored_generation_;
    const support::own_daemon daemon_;
    packet::pool pool_;
    std::uint16_t port_ = 0;
    std::vector<rte_mbuf*> waiting_;  // for a place on the wire
    unsigned expected_ = 0;           // answers
    clock::time_point last_progress_;
};

void daemon_network::wait_for_link() const {
    rte_eth_link link{};
    for (const auto until = clock::now() + connect_time; link.link_status != RTE_ETH_LINK_UP; usleep(1000)) {
        if (rte_eth_link_get_nowait(port_, &link) != 0 || clock::now() > until)
            throw std::runtime_error("the memif port of skuad does not connect");
    }
}

unsigned daemon_network::move(const std::function<unsigned()>& serve,
                              const std::function<void(const message&)>& answered) {
    unsigned moved = serve();
    const unsigned sent = rte_eth_tx_burst(port_, 0, waiting_.data(),
                                           static_cast<std::uint16_t>(std::min<std::size_t>(waiting_.size(), burst)));
    waiting_.erase(waiting_.begin(), waiting_.begin() + sent);
    moved += sent;
    rte_mbuf* frames[burst];
    while (const unsigned n = rte_eth_rx_burst(port_, 0, frames, burst)) {
        read_answers(frames, n, [&](const message& m) {
            answered(m);
            if (expected_ > 0) expected_--;
        });
        moved += n;
    }
    if (moved != 0) last_progress_ = clock::now();
    else sched_yield();
    if (expected_ != 0 && clock::now() - last_progress_ > patience) expected_ = 0;
    return expected_;
}

/// There is one group, and these stand at the end of its row.
std::vector<std::pair<std::string, std::uint64_t>> daemon_network::group_counters() const {
    const std::string row = daemon_.look("/skua/groups");
    const auto begin = row.find("\"rx_processed_total\"");
    if (begin == std::string::npos) throw std::runtime_error("skuad shows no group with generations: " + row);
    const std::string counters = row.substr(begin, row.find('}', begin) - begin);
    std::vector<std::pair<std::string, std::uint64_t>> all;
    const std::regex counter("\"(\\w+)\": ?(\\d+)");
    for (std::sregex_iterator i(counters.begin(), counters.end(), counter), end; i != end; ++i)
        all.emplace_back((*i)[1], std::stoull((*i)[2]));
    return all;
}

}  // namespace

std::unique_ptr<network> make_daemon_network(std::uint32_t stored_generation) {
    return std::make_unique<daemon_network>(stored_generation);
}

}  // namespace skua::upgrade
