// The polling loop.
#include "control/workers.hh"

#include <fmt/format.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_pause.h>
#include <sched.h>

#include <thread>

namespace skua::control {

namespace {

constexpr unsigned idle_polls_before_yield = 16;
// What is sent or handed over by others waits as long at most.
constexpr std::chrono::microseconds rest{50};

}  // namespace

tl::expected<void, std::string> workers::start(workers& self, const std::vector<shard::shard*>& shards,
                                               const std::vector<unsigned>& lcores, idle_policy idle,
                                               const tsc_clock& clock) {
    self.idle_ = idle;
    self.clock_ = &clock;
    self.workers_.reserve(shards.size());
    for (std::size_t i = 0; i < shards.size(); i++) {
        self.workers_.push_back({&self, shards[i], lcores[i]});
        if (rte_eal_remote_launch(run, &self.workers_.back(), lcores[i]) != 0) {
            self.workers_.pop_back();
            self.stop();
            return tl::unexpected(
                fmt::format("lcore {} cannot poll shard {}: it is not a worker of this EAL, or busy", lcores[i], i));
        }
    }
    return {};
}

void workers::stop() {
    stopping_.store(true, std::memory_order_relaxed);
    for (const worker& w : workers_) rte_eal_wait_lcore(w.lcore);
    workers_.clear();
}

int workers::run(void* self) {
    const auto* w = static_cast<const worker*>(self);
    w->all->loop(*w->polled);
    return 0;
}

void workers::loop(shard::shard& polled) {
    polled.resume();
    unsigned idle_polls = 0;
    while (!stopping_.load(std::memory_order_relaxed)) {
        const std::uint64_t before = rte_rdtsc();
        if (polled.poll_once(clock_->at(before)) != 0) {
            polled.counts().busy_cycles.add(rte_rdtsc() - before);
            idle_polls = 0;
        } else if (polled.resting()) {
            std::this_thread::sleep_for(rest);
        } else if (idle_ == idle_policy::yield && ++idle_polls >= idle_polls_before_yield) {
            // Somebody else may need this CPU: lcores can share one.
            sched_yield();
        } else {
            rte_pause();
        }
    }
    polled.rest();
}

}  // namespace skua::control
