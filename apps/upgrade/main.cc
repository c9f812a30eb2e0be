// skua-upgrade: a server is upgraded ten times under load, and what became of its flows.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>

#include "upgrade/report.hh"

namespace {

using namespace skua::upgrade;

struct arguments {
    scenario_options load;
    unsigned kernel_flows = 300, shards = 2;
    bool quick = false, processes = false;
    std::string json;
};

/// The status to exit with, or nothing.
std::optional<int> read_arguments(arguments& a, int argc, char** argv) {
    CLI::App app(
        "A server with state of each flow is upgraded several times in a row while its flows come, ask and go: with "
        "generations, with plain SO_REUSEPORT, and on the kernel with plain SO_REUSEPORT over loopback. Counts what "
        "was lost, and answered by a member that did not know the flow.",
        "skua-upgrade");
    app.option_defaults()->always_capture_default();
    auto* flows = app.add_option("--flows", a.load.flows, "Flows at any time")->check(CLI::Range(100u, 1'000'000u));
    app.add_option("--upgrades", a.load.upgrades, "Upgrades in a row")->check(CLI::Range(1u, 1000u));
    app.add_option("--members", a.load.members, "Sockets of an instance of the server")->check(CLI::Range(2u, 64u));
    app.add_option("--kernel-flows", a.kernel_flows, "Flows of the run on the kernel, each with a socket of its own")
        ->check(CLI::Range(10u, 10'000u));
    app.add_option("--shards", a.shards, "Shards of the stack; one thread drives all")->check(CLI::Range(1u, 16u));
    app.add_flag(
        "--processes", a.processes,
        "One more run with generations, in which the instances are processes that attach to a skuad: each started "
        "anew, the last one with the sockets of the one before it from a service manager's descriptor store, and "
        "one killed half-way");
    app.add_flag("--quick", a.quick, "5,000 flows")->excludes(flows);
    app.add_option("--json", a.json, "Write the results to this file");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    }
    if (a.quick) a.load.flows = 5000;
    return {};
}

/// Time is the machine's: a busy one makes a flow's second longer.
results run_as_processes(scenario_options load) {
    load.generations = true;
    load.flow_timeout = 30;
    load.kill_in = (load.upgrades + 1) / 2;
    return run(load, *make_daemon_network(load.upgrades > 1 ? load.upgrades : 0));
}

results run_on(std::unique_ptr<network> net, scenario_options load, bool generations, std::uint32_t flows) {
    load.generations = generations;
    load.flows = flows;
    return run(load, *net);
}

}  // namespace

int main(int argc, char** argv) {
    arguments a;
    if (const auto status = read_arguments(a, argc, argv)) return *status;
    try {
        report r;
        r.generations = run_on(make_skua_network(a.shards), a.load, true, a.load.flows);
        r.plain_reuseport = run_on(make_skua_network(a.shards), a.load, false, a.load.flows);
        r.kernel = run_on(make_kernel_network(), a.load, false, a.kernel_flows);
        if (a.processes) r.processes = run_as_processes(a.load);
        fmt::print("{}", report_text(r));
        if (!a.json.empty()) {
            std::ofstream out(a.json);
            out << report_json(r);
            if (!out.flush()) throw std::runtime_error("cannot write " + a.json);
        }
        return faults(r.generations).empty() ? 0 : 1;
    } catch (const std::exception& e) {
        fmt::print(stderr, "skua-upgrade: {}\n", e.what());
        return 1;
    }
}
