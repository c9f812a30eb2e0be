// skua-echo: a UDP echo and discard server on the stack, for any port that DPDK can drive.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <optional>
#include <thread>

#include "api/running.hh"
#include "control/command_line.hh"
#include "control/eal.hh"
#include "control/statistics.hh"
#include "echo/server.hh"

namespace {

using namespace skua;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr const char* program = "skua-echo";
constexpr const char* description =
    "A UDP echo and discard server on the stack (RFC 862, RFC 863).\n"
    "For example:  skua-echo --no-pci --vdev=net_tap0,iface=skua0 -- --address 198.18.0.1/24";

struct arguments {
    std::uint16_t echo_port = 7, discard_port = 9;
    double seconds = 0;
    unsigned stats_period = 0;
    bool mib = false;
};

volatile std::sig_atomic_t interrupted = 0;

void add_options(CLI::App& app, arguments& a) {
    app.add_option("--echo", a.echo_port, "UDP port of the echo service, 0: none")->capture_default_str();
    app.add_option("--discard", a.discard_port, "UDP port of the discard service, 0: none")->capture_default_str();
    app.add_option("--seconds", a.seconds, "How long to serve, 0: until a signal")
        ->check(CLI::Range(0.0, 1e9))
        ->capture_default_str();
    app.add_option("--stats-period", a.stats_period, "Statistics every so many seconds, 0: at the end only")
        ->capture_default_str();
    app.add_flag("--mib", a.mib, "Statistics include the MIB counters, as /proc/net/snmp and snmp6 have them");
}

int fail(const std::string& why) {
    fmt::print(stderr, "{}: {}\n", program, why);
    return 1;
}

/// Duplicate address detection takes a second or two; before its end nobody reaches a tentative address.
void wait_for_addresses(control::stack& stack, clock::time_point until) {
    while (stack.any_tentative() && clock::now() < until && !interrupted) std::this_thread::sleep_for(10ms);
}

void show_start(api::running& r) {
    for (const auto& p : r.stack().ports()) fmt::print("{}", p->describe());
    for (const auto& i : r.telemetry().interfaces())
        for (const auto& a : i.addresses)
            if (i.index != net::loopback_ifindex) fmt::print("{} on {}\n", a, i.name);
    fmt::print("ready\n");
    std::fflush(stdout);
}

void show_statistics(api::running& r, const echo::server& s, bool mib) {
    const auto counted = r.telemetry().counters();
    fmt::print("\n{}", s.table());
    const auto drops = control::drops_table(counted);
    fmt::print("{}{}", drops.empty() ? "nothing was dropped\n" : "\n", drops);
    if (mib) fmt::print("\n{}{}", control::proc_net_snmp(counted), control::proc_net_snmp6(counted));
    std::fflush(stdout);
}

void serve(api::running& r, const arguments& a) {
    const auto start = clock::now();
    const auto end = a.seconds > 0
                         ? start + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(a.seconds))
                         : clock::time_point::max();
    const echo::server server(a.echo_port, a.discard_port);
    wait_for_addresses(r.stack(), std::min(end, start + 10s));
    show_start(r);
    auto next_line = start + std::chrono::seconds(a.stats_period);
    while (!interrupted && clock::now() < end) {
        std::this_thread::sleep_for(20ms);
        if (a.stats_period == 0 || clock::now() < next_line) continue;
        show_statistics(r, server, a.mib);
        next_line += std::chrono::seconds(a.stats_period);
    }
    r.stack().stop_threads();
    show_statistics(r, server, a.mib);
}

int run(const arguments& a, const control::config& c) {
    auto eal = control::start_eal(program, c);
    if (!eal) return fail(eal.error());
    if (auto ok = api::running::start(c, control::driving::own, std::move(*eal)); !ok) return fail(ok.error());
    std::optional<std::string> problem;
    try {
        serve(*api::running::current(), a);
    } catch (const api::failure& e) {
        problem = e.what();
    }
    api::running::stop();
    return problem ? fail(*problem) : 0;
}

}  // namespace

int main(int argc, char** argv) {
    arguments a;
    control::command_line line(description);
    add_options(line.app(), a);
    const auto config = line.parse(argc, argv);
    if (!config) return config.error();
    if (a.echo_port != 0 && a.echo_port == a.discard_port) {
        fmt::print(stderr, "{}: echo and discard cannot both have port {}\n", program, a.echo_port);
        return 2;
    }
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });
    return run(a, *config);
}
