// A thread that polls as a shard does, alone and beside a writer.
#include "lookup/growth.hh"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "lookup/clock.hh"
#include "lookup/measure.hh"

namespace skua::lookup_perf {

namespace {

constexpr std::size_t steady = 1024;  // sockets that are looked up all the while
constexpr std::size_t stretches =
    65536;  // of one run: so short that the machine seldom disturbs the same one in all runs

/// Times one thing after another, in each stretch of a run; those that took long are looked at twice.
class stopwatch {
public:
    explicit stopwatch(double cycles_per_us)
        : suspicious_(static_cast<std::uint64_t>(2 * cycles_per_us)),
          too_long_(static_cast<std::uint64_t>(10 * cycles_per_us)),
          preemptions_(preemptions()) {}

    void took(std::uint64_t cycles, std::size_t first_stretch, std::size_t last_stretch) {
        ++polls;
        if (cycles >= suspicious_) {
            const long now = preemptions();
            if (now != preemptions_) {
                preemptions_ = now;
                ++preempted;
                return;
            }
            over_10us += cycles > too_long_;
        }
        for (std::size_t s = first_stretch; s <= std::min(last_stretch, stretches - 1); s++)
            longest[s] = std::max(longest[s], cycles);
    }

    std::vector<std::uint64_t> longest = std::vector<std::uint64_t>(stretches);
    std::uint64_t polls = 0, over_10us = 0, preempted = 0;

private:
    const std::uint64_t suspicious_, too_long_;
    long preemptions_;
};

pauses summary(const std::vector<stopwatch>& runs, double cycles_per_us) {
    pauses p;
    std::uint64_t repeated = 0, of_all = 0;
    for (std::size_t s = 0; s < stretches; s++) {
        std::uint64_t least = ~0ull;
        for (const auto& r : runs) {
            least = std::min(least, r.longest[s]);
            of_all = std::max(of_all, r.longest[s]);
        }
        repeated = std::max(repeated, least);
    }
    for (const auto& r : runs) {
        p.polls += r.polls;
        p.over_10us += r.over_10us;
        p.preempted += r.preempted;
    }
    p.longest_us = static_cast<double>(repeated) / cycles_per_us;
    p.longest_of_all_us = static_cast<double>(of_all) / cycles_per_us;
    return p;
}

/// One run: `work` in this thread, and a thread that polls until it is done. `work` moves `stretch` on.
using progress = std::atomic<std::size_t>;
void poll_while(population& all, const std::vector<flow_key>& flows, stopwatch& watch,
                const std::function<void(progress&)>& work) {
    progress stretch{0};
    std::atomic<bool> stop{false};
    std::thread shard([&] {
        stay_on_cpu(0);
        rcu_domain::poller me(all.rcu);
        std::array<udp::lookup_key, burst> keys;
        std::array<udp::pcb*, burst> found;
        for (std::size_t i = 0; !stop.load(std::memory_order_relaxed); i = (i + burst) % flows.size()) {
            for (std::size_t k = 0; k < burst; k++) keys[k].flow = flows[i + k];
            const std::size_t first = stretch.load(std::memory_order_relaxed);
            const std::uint64_t start = cycles_now();
            all.tables.lookup(keys, found);
            me.quiescent();
            if (i == 0) all.rcu.reclaim();
            const std::uint64_t took = cycles_now() - start;
            watch.took(took, first, stretch.load(std::memory_order_relaxed));
        }
    });
    std::exception_ptr problem;
    try {
        work(stretch);
    } catch (...) {
        problem = std::current_exception();
    }
    stop = true;
    shard.join();
    if (problem) std::rethrow_exception(problem);
}

}  // namespace

growth_figures measure_growth(std::size_t sockets, unsigned runs) {
    using seconds = std::chrono::duration<double>;
    const double per_us = cycles_per_us();
    std::vector<stopwatch> growing, idle, inserts;
    std::vector<double> took;
    stay_on_cpu(1);
    for (unsigned r = 0; r < runs; r++) {
        population all(table_kind::connected, ip_family::v4);
        all.reserve(steady + sockets);
        while (all.size() < steady) all.add_next();
        const auto flows = all.random_flows(1 << 14, steady, 3);
        stopwatch& insert = inserts.emplace_back(per_us);
        poll_while(all, flows, growing.emplace_back(per_us), [&](progress& stretch) {
            const auto start = std::chrono::steady_clock::now();
            for (std::size_t i = 0; i < sockets; i++) {
                const std::size_t at = i * stretches / sockets;
                stretch.store(at, std::memory_order_relaxed);
                const std::uint64_t from = cycles_now();
                all.add_next();
                insert.took(cycles_now() - from, at, at);
            }
            took.push_back(seconds(std::chrono::steady_clock::now() - start).count());
        });
        poll_while(all, flows, idle.emplace_back(per_us), [&](progress& stretch) {
            const auto start = std::chrono::steady_clock::now();
            for (std::size_t s = 0; s < stretches; s++) {
                stretch.store(s, std::memory_order_relaxed);
                std::this_thread::sleep_until(start + seconds(took.back() * static_cast<double>(s + 1) / stretches));
            }
        });
    }
    std::ranges::nth_element(took, took.begin() + runs / 2);
    return {sockets,
            runs,
            took[runs / 2],
            summary(inserts, per_us).longest_us,
            summary(growing, per_us),
            summary(idle, per_us)};
}

}  // namespace skua::lookup_perf
