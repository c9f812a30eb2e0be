// skua-herd: who wakes when a datagram comes to many waiters, on the kernel's sockets and on skua's.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "herd/report.hh"
#include "herd/sender.hh"
#include "herd/shared.hh"
#include "herd/sides.hh"
#include "herd/waiter.hh"

namespace {

using namespace skua::herd;

struct arguments {
    double seconds = 2;
    std::vector<unsigned> waiters{1, 2, 4, 8, 16};
    std::vector<std::string> sides{kernel_side::name, skua_side::name};
    std::string json;
};

/// A socket of the waiters on the loopback address; `at.sin_port` 0 becomes the port it got.
template <class Side>
descriptor<Side> bound_socket(bool in_group, sockaddr_in& at) {
    descriptor<Side> s(Side::socket(AF_INET, SOCK_DGRAM, 0), "socket");
    const int on = 1;
    if (in_group) checked(Side::setsockopt(s.fd(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), "setsockopt");
    checked(Side::bind(s.fd(), reinterpret_cast<const sockaddr*>(&at), sizeof at), "bind");
    socklen_t length = sizeof at;
    checked(Side::getsockname(s.fd(), reinterpret_cast<sockaddr*>(&at), &length), "getsockname");
    return s;
}

template <class Side>
void send_phases(result& r, shared_state& shared, const sockaddr_in& to, double seconds) {
    sender<Side> from(shared, r.waiters, to);
    r.sent = from.send_singly(seconds / 2);
    shared.counting = false;
    double wakeups = 0, useless = 0;
    for (unsigned i = 0; i < r.waiters; i++) {
        wakeups += static_cast<double>(shared.waiters[i].wakeups);
        useless += static_cast<double>(shared.waiters[i].useless);
    }
    r.wakeups = r.sent ? wakeups / r.sent : 0;
    r.useless = r.sent ? useless / r.sent : 0;
    r.per_second = from.send_fast(seconds / 2);
}

void read_latencies(result& r, const shared_state& shared) {
    std::vector<std::uint32_t> ns;
    std::copy_if(shared.latency_ns, shared.latency_ns + r.sent, std::back_inserter(ns), [](auto t) { return t != 0; });
    std::sort(ns.begin(), ns.end());
    const auto percentile = [&](double share) {
        return ns.empty() ? 0 : ns[static_cast<std::size_t>(share * static_cast<double>(ns.size() - 1))] / 1e3;
    };
    r.p50_us = percentile(0.5);
    r.p99_us = percentile(0.99);
    r.lost = r.sent - static_cast<std::uint32_t>(ns.size());
}

template <class Side>
result run_case(mode how, unsigned waiters, double seconds) {
    shared_memory<shared_state> shared;
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool group = how == mode::reuseport;
    std::vector<descriptor<Side>> sockets;
    for (unsigned i = 0; i < (group ? waiters : 1); i++) sockets.push_back(bound_socket<Side>(group, at));

    std::vector<std::unique_ptr<typename Side::process>> processes;
    for (unsigned i = 0; i < waiters; i++)
        processes.push_back(std::make_unique<typename Side::process>(
            [&shared, &sockets, i, how, group] { waiter<Side>(*shared, i, how, sockets[group ? i : 0].fd()).run(); }));

    result r{};
    r.side = Side::name;
    r.how = how;
    r.waiters = waiters;
    std::exception_ptr problem;
    try {
        send_phases<Side>(r, *shared, at, seconds);
    } catch (...) {
        problem = std::current_exception();
    }
    shared->stop = true;
    bool sound = true;
    for (auto& p : processes) sound &= p->wait();
    if (problem) std::rethrow_exception(problem);
    if (!sound) throw std::runtime_error("a waiter failed");
    read_latencies(r, *shared);
    return r;
}

template <class Side>
void run_side(const arguments& a, std::vector<result>& results) {
    if (std::ranges::find(a.sides, Side::name) == a.sides.end()) return;
    [[maybe_unused]] const typename Side::world world;
    fmt::print("{}", table_head(Side::name));
    for (const mode how : {mode::epoll, mode::exclusive, mode::lock, mode::reuseport})
        for (const unsigned n : a.waiters) {
            results.push_back(run_case<Side>(how, n, a.seconds));
            fmt::print("{}", table_line(results.back()));
            std::fflush(stdout);
        }
}

/// The status to exit with, or nothing.
std::optional<int> read_arguments(arguments& a, int argc, char** argv) {
    CLI::App app(
        "The thundering herd, shown. N waiters, each a process, wait for datagrams in epoll in four ways:\n"
        "  epoll      one socket, in an epoll set of each waiter\n"
        "  exclusive  the same with EPOLLEXCLUSIVE\n"
        "  lock       the same, but only the holder of a lock has the socket in its set (as nginx's accept_mutex)\n"
        "  reuseport  a socket for each waiter, all in one SO_REUSEPORT group\n"
        "once on the kernel's sockets and once on skua's: embedded in this program, where waiters are processes in its\n"
        "own sense (threads), or with --processes of a skuad that real processes attach to. Half of the time the sender waits until all waiters sleep\n"
        "before it sends a datagram: wake-ups, useless wake-ups (without a datagram) and latency (send to return of\n"
        "recv) are of that half. In the other half it keeps 128 datagrams in flight: datagrams a second.\n"
        "A wake-up is a sleep of the waiter's thread that ended otherwise than by its timer (ru_nvcsw), even if\n"
        "epoll_wait found nothing any more and went back to sleep without returning.",
        "perf/run herd");
    app.option_defaults()->always_capture_default();
    app.add_option("--seconds", a.seconds, "Time for each case")->check(CLI::Range(0.1, 3600.0));
    app.add_option("--waiters", a.waiters, "How many waiters, one case for each number")
        ->delimiter(',')
        ->check(CLI::Range(1u, max_waiters));
    app.add_option("--sides", a.sides, fmt::format("Whose sockets: {}, {}", kernel_side::name, skua_side::name))
        ->delimiter(',')
        ->check(CLI::IsMember({kernel_side::name, skua_side::name}));
    app.add_option("--json", a.json, "Write the results to this file");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    }
    return {};
}

int fail(const std::string& why) {
    fmt::print(stderr, "skua-herd: {}\n", why);
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    arguments a;
    if (const auto status = read_arguments(a, argc, argv)) return *status;
    std::vector<result> results;
    try {
        // The kernel's side first: it forks, and an embedded stack has threads.
        run_side<kernel_side>(a, results);
        run_side<skua_side>(a, results);
    } catch (const std::exception& e) {
        return fail(e.what());
    }
    if (!a.json.empty()) {
        std::ofstream out(a.json);
        out << report_json(results, {a.seconds, a.waiters});
        if (!out.flush()) return fail(fmt::format("cannot write {}", a.json));
    }
    return 0;
}
