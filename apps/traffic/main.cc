// skua-traffic: a generator and an echo server on the stack exchange UDP datagrams over an in-memory port pair.
#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_pause.h>
#include <sched.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <thread>

#include "api/running.hh"
#include "control/eal.hh"
#include "control/statistics.hh"
#include "port/ring_pair.hh"
#include "skua/skua.hpp"
#include "traffic/generator.hh"
#include "traffic/report.hh"

namespace {

using namespace skua;
using namespace skua::traffic;

constexpr unsigned ring_size = 4096;
constexpr std::uint16_t server_port = 10007;  // not echo's own 7: a port below 1024 needs privilege
constexpr mac_address generator_mac{{0x02, 0, 0, 0, 0, 0x02}};

struct arguments {
    double seconds = 5;
    std::uint32_t flows = 1024, size = 64, sockets = 4, shards = 1, window = 256;
    bool ipv6 = false;
    std::string rate, json;
};

volatile std::sig_atomic_t interrupted = 0;

std::string check_rate(const std::string& text) {
    if (text == "max") return {};
    char* end = nullptr;
    const double v = std::strtod(text.c_str(), &end);
    return *end == 0 && v > 0 ? std::string{} : "found " + text + ", expected datagrams a second or \"max\"";
}

/// The status to exit with, or nothing.
std::optional<int> read_arguments(arguments& a, int argc, char** argv) {
    CLI::App app(
        "A traffic run: a generator and an echo server on the stack exchange UDP datagrams over an in-memory port "
        "pair.",
        "apps/run");
    app.option_defaults()->always_capture_default();
    app.add_option("--seconds", a.seconds, "How long to send")->check(CLI::Range(0.1, 86400.0));
    app.add_option("--flows", a.flows, "UDP flows, each with an address and port of its own")
        ->check(CLI::Range(1u, 10'000'000u));
    app.add_option("--size", a.size, "Bytes of a frame without FCS")->check(CLI::Range(64u, 1514u));
    app.add_option("--sockets", a.sockets, "Sockets of the echo server, one SO_REUSEPORT group")
        ->check(CLI::Range(1u, 65535u));
    app.add_option("--shards", a.shards, "Polling shards of the stack")->check(CLI::Range(1u, 16u));
    auto* window =
        app.add_option("--window", a.window, "Datagrams in flight (closed loop)")->check(CLI::Range(1u, 65535u));
    app.add_option("--rate", a.rate, "Open loop: datagrams a second, or max")->check(check_rate)->excludes(window);
    app.add_flag("--ipv6", a.ipv6, "IPv6 instead of IPv4");
    app.add_option("--json", a.json, "Write the results to this file");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    }
    return {};
}

control::config stack_config(const arguments& a) {
    control::config c;
    c.stack.shards = a.shards;
    // The generator is the main lcore; on a machine with few CPUs it shares one with a shard.
    c.stack.idle =
        std::thread::hardware_concurrency() > a.shards ? control::idle_policy::poll : control::idle_policy::yield;
    c.eal.args = {"--no-pci"};
    // A shard answers in the packet that it got; its own pool is for the rest.
    c.eal.memory_mib = 512 + 64 * a.shards;
    c.pool.packets = std::clamp(65536u / a.shards, 4096u, 16384u);
    return c;
}

/// The stack's side of the pair: one subnet with the generator as its gateway to all clients.
void add_port(control::config& c, std::uint16_t port_id, bool ipv6) {
    control::port_config p;
    p.device = std::to_string(port_id);
    p.name = "pair0";
    p.dad = false;
    p.addresses = {*ip_prefix::parse(ipv6 ? "2001:db8::1/64" : "198.18.0.1/24")};
    c.ports.push_back(p);
    const auto gateway = ip_address::parse(ipv6 ? "2001:db8::2" : "198.18.0.2");
    control::route_config r;
    r.to = ip_prefix::parse(ipv6 ? "2001:db8:1::/48" : "198.19.0.0/16");
    r.via = gateway;
    c.routes.push_back(r);
    c.static_neighbours.push_back({"pair0", gateway, generator_mac});
}

/// The generator's side is a plain DPDK port.
std::string start_generator_port(std::uint16_t id, std::uint16_t queues, rte_mempool* pool) {
    const rte_eth_conf conf{};
    if (rte_eth_dev_configure(id, queues, queues, &conf) != 0) return "cannot configure the generator's port";
    for (std::uint16_t q = 0; q < queues; q++)
        if (rte_eth_rx_queue_setup(id, q, 512, SOCKET_ID_ANY, nullptr, pool) != 0 ||
            rte_eth_tx_queue_setup(id, q, 512, SOCKET_ID_ANY, nullptr) != 0)
            return "cannot set up the queues of the generator's port";
    return rte_eth_dev_start(id) == 0 ? "" : "cannot start the generator's port";
}

std::vector<api::udp_socket> open_echo_group(const arguments& a) {
    std::vector<api::udp_socket> sockets;
    api::socket_options options;
    options.reuse_port = true;
    const auto local = api::endpoint::parse(fmt::format(fmt::runtime(a.ipv6 ? "[::]:{}" : "0.0.0.0:{}"), server_port));
    for (unsigned i = 0; i < a.sockets; i++)
        sockets.push_back(
            api::shard(i % a.shards).open(local, options, [](api::udp_socket& s, std::span<api::datagram> burst) {
                s.send_burst(burst);
            }));
    return sockets;
}

/// Runs the load and shows a line a second. What it has seen goes into `r`.
void drive(generator& g, const arguments& a, results& r) {
    const bool terminal = isatty(STDOUT_FILENO);
    const bool polite = std::thread::hardware_concurrency() <= a.shards;
    const std::uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc();
    const auto stop = start + static_cast<std::uint64_t>(a.seconds * static_cast<double>(hz));
    const auto patience = stop + hz;  // for the last answers
    std::uint64_t next_line = start + hz, next_sample = start + hz / 10, received_at_line = 0, received_at_sample = 0;
    std::uint64_t ended = 0;
    unsigned idle = 0;
    for (;;) {
        const std::uint64_t tsc = rte_rdtsc();
        const bool sending = tsc < stop && !interrupted;
        if (g.poll(tsc, sending) == 0) {
            if (polite && ++idle > 16) sched_yield();
            else rte_pause();
        } else {
            idle = 0;
            ended = tsc;
        }
        const auto seconds = static_cast<double>(tsc - start) / static_cast<double>(hz);
        if (tsc >= next_sample && sending) {
            const auto interval = static_cast<double>(tsc - (next_sample - hz / 10)) / static_cast<double>(hz);
            r.series.push_back(
                {seconds, static_cast<double>(g.totals().received - received_at_sample) / interval / 1e6});
            received_at_sample = g.totals().received;
            next_sample = tsc + hz / 10;
        }
        if (tsc >= next_line && (sending || (!terminal && next_line <= stop))) {
            show_progress(terminal, seconds, a.seconds,
                          static_cast<double>(g.totals().received - received_at_line) / 1e6, g.totals());
            received_at_line = g.totals().received;
            next_line += hz;
        }
        if (!sending && (g.all_answered() || tsc >= patience)) break;
    }
    g.give_up();
    r.seconds = static_cast<double>((ended ? ended : rte_rdtsc()) - start) / static_cast<double>(hz);
    if (terminal)
        show_progress(true, a.seconds, a.seconds, static_cast<double>(g.totals().received) / r.seconds / 1e6,
                      g.totals());
}

void collect(results& r, control::stack& stack, const std::vector<api::udp_socket>& sockets) {
    std::uint64_t cycles = 0, packets = 0;
    control::counters_snapshot all;
    for (unsigned i = 0; i < stack.shard_count(); i++) {
        const auto& c = stack.shard_at(i).counts();
        const std::uint64_t in = c.datagrams_in.get(), busy = c.busy_cycles.get();
        r.shards.push_back(
            {i, in, c.datagrams_out.get(), in ? static_cast<double>(busy) / static_cast<double>(in) : 0});
        cycles += busy;
        packets += in;
        all.add(c.drops, c.mibs);
    }
    r.cycles_per_packet = packets ? static_cast<double>(cycles) / static_cast<double>(packets) : 0;
    for (unsigned i = 0; i < sockets.size(); i++)
        r.sockets.push_back({i, i % stack.shard_count(), sockets[i].received()});
    for (std::size_t d = 1; d < all.drops.size(); d++)
        if (all.drops[d])
            r.drops.push_back({std::string(drop_reasons[d].name), std::string(drop_reasons[d].meaning), all.drops[d]});
}

int fail(const std::string& why) {
    fmt::print(stderr, "skua-traffic: {}\n", why);
    return 1;
}

int run(const arguments& a) {
    auto config = stack_config(a);
    auto eal = control::start_eal("skua-traffic", config);
    if (!eal) return fail(eal.error());

    const auto queues = static_cast<std::uint16_t>(a.shards);
    auto pool = packet::make_pool("traffic", 65535 + ring_size, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (!pool) return fail("no memory for the generator's packets");
    auto pair = port::ring_pair::make("pair", queues, ring_size);
    if (!pair) return fail(pair.error());
    if (const auto problem = start_generator_port((*pair)->a(), queues, pool->get()); !problem.empty())
        return fail(problem);

    add_port(config, (*pair)->b(), a.ipv6);
    // What is in flight may all wait for one shard.
    config.mailbox.size = std::max(config.mailbox.size, a.rate.empty() ? a.window : ring_size);
    if (auto ok = api::running::start(config, control::driving::own); !ok) return fail(ok.error());
    auto& stack = api::running::current()->stack();

    results r;
    {
        auto sockets = open_echo_group(a);
        generator_options& o = r.options;
        o.flows = a.flows;
        o.frame_size = std::max(a.size, generator::minimum_frame(a.ipv6));
        o.window = a.window;
        o.open_loop = !a.rate.empty();
        o.rate = a.rate.empty() || a.rate == "max" ? 0 : std::strtod(a.rate.c_str(), nullptr);
        o.ipv6 = a.ipv6;
        o.port = (*pair)->a();
        o.queues = queues;
        o.own_mac = generator_mac;
        o.peer_mac = stack.ports().front()->mac();
        o.server = {*ip_address::parse(a.ipv6 ? "2001:db8::1" : "198.18.0.1"), server_port, 0};
        o.clients = *ip_prefix::parse(a.ipv6 ? "2001:db8:1::/64" : "198.19.0.0/16");
        // The pair has no RSS of its own: the generator plays the NIC.
        o.queue_of = [&](const flow_key& f) { return static_cast<std::uint16_t>(stack.flow_hash()(f) % queues); };
        generator g(o, pool->get(), rte_get_tsc_hz());
        drive(g, a, r);
        stack.stop_threads();
        r.totals = g.totals();
        r.round_trips = &g.round_trips();
        r.tsc_hz = static_cast<double>(rte_get_tsc_hz());
        collect(r, stack, sockets);
        fmt::print("{}", report_text(r));
        if (!a.json.empty()) {
            std::ofstream out(a.json);
            out << report_json(r);
            if (!out.flush()) return fail(fmt::format("cannot write {}", a.json));
        }
    }
    api::running::stop();
    rte_eth_dev_stop((*pair)->a());
    rte_eth_dev_close((*pair)->a());
    return r.totals.corrupt ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
    arguments a;
    if (const auto status = read_arguments(a, argc, argv)) return *status;
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });
    try {
        return run(a);
    } catch (const std::exception& e) {
        return fail(e.what());
    }
}
