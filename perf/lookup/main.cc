// skua-lookup: what it costs to find the socket of a datagram, by table and number of sockets.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lookup/clock.hh"
#include "lookup/report.hh"

namespace {

using namespace skua::lookup_perf;
using skua::ip_family;

struct arguments {
    std::vector<std::size_t> sockets{1, 10, 1000, 100000, 1000000};
    std::vector<std::string> tables{"ports", "addresses", "connected"};
    std::vector<int> families{4, 6};
    std::size_t growth = 1000000;
    bool quick = false;
    std::string json;
};

/// The status to exit with, or nothing.
std::optional<int> read_arguments(arguments& a, int argc, char** argv) {
    CLI::App app(
        "What a lookup costs: cycles of the time stamp counter for each packet, single and in bursts of 32, with\n"
        "random packets for 1 to 1,000,000 sockets\n"
        "  ports      on different ports (beyond 60,000 on several addresses too)\n"
        "  addresses  on one port with different addresses\n"
        "  connected  on one address and port with different peers\n"
        "Medians of interleaved samples of 4,096 lookups; what reading the packets costs is taken off (empty),\n"
        "samples of a preempted thread are left out. Then one thread looks up while another connects a million\n"
        "sockets, several times over: the longest burst that came at the same place in every run, and the longest\n"
        "that came once, with the writer and without.",
        "perf/run lookup");
    app.option_defaults()->always_capture_default();
    app.add_option("--sockets", a.sockets, "How many sockets, one case for each number")
        ->delimiter(',')
        ->check(CLI::Range(std::size_t(1), std::size_t(4000000)));
    app.add_option("--tables", a.tables, "Which tables: ports, addresses, connected")
        ->delimiter(',')
        ->check(CLI::IsMember({"ports", "addresses", "connected"}));
    app.add_option("--families", a.families, "IPv4, IPv6: 4, 6")->delimiter(',')->check(CLI::IsMember({4, 6}));
    app.add_option("--growth", a.growth, "Sockets to connect while another thread looks up; 0 leaves it out")
        ->check(CLI::Range(std::size_t(0), std::size_t(4000000)));
    app.add_flag("--quick", a.quick, "Fewer samples, at most 100,000 sockets");
    app.add_option("--json", a.json, "Write the results to this file");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    }
    if (a.quick) {
        std::erase_if(a.sockets, [](std::size_t n) { return n > 100000; });
        a.growth = std::min<std::size_t>(a.growth, 100000);
    }
    return {};
}

int fail(const std::string& why) {
    fmt::print(stderr, "skua-lookup: {}\n", why);
    return 1;
}

void run(const arguments& a, std::vector<figures>& all, std::optional<growth_figures>& growth) {
    fmt::print("{}", table_head());
    for (const table_kind kind : {table_kind::ports, table_kind::addresses, table_kind::connected}) {
        if (std::ranges::find(a.tables, name_of(kind)) == a.tables.end()) continue;
        for (const int family : a.families)
            for (const std::size_t n : a.sockets) {
                all.push_back(measure(kind, family == 4 ? ip_family::v4 : ip_family::v6, n, a.quick));
                fmt::print("{}", table_line(all.back()));
                std::fflush(stdout);
            }
    }
    if (a.growth == 0) return;
    if (std::thread::hardware_concurrency() < 2) {
        fmt::print("\ngrowth is not measured: it takes two CPUs\n");
        return;
    }
    growth = measure_growth(a.growth, a.quick ? 3 : 5);
    fmt::print("{}", growth_text(*growth));
}

}  // namespace

int main(int argc, char** argv) {
    arguments a;
    if (const auto status = read_arguments(a, argc, argv)) return *status;
    std::vector<figures> all;
    std::optional<growth_figures> growth;
    try {
        run(a, all, growth);
    } catch (const std::exception& e) {
        return fail(e.what());
    }
    if (!a.json.empty()) {
        std::ofstream out(a.json);
        out << report_json(all, growth);
        if (!out.flush()) return fail(fmt::format("cannot write {}", a.json));
    }
    return 0;
}
