// The threads that poll the shards: one EAL lcore each.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "control/config.hh"
#include "control/tsc_clock.hh"
#include "shard/shard.hh"

namespace skua::control {

class workers {
public:
    /// Starts polling each shard on the lcore of the same place in the list. The error says which lcore could not be
    /// used.
    static tl::expected<void, std::string> start(workers& self, const std::vector<shard::shard*>& shards,
                                                 const std::vector<unsigned>& lcores, idle_policy idle,
                                                 const tsc_clock& clock);
    /// Ends the loops and waits for them. Called twice, it does nothing the second time.
    void stop();
    ~workers() { stop(); }

private:
    struct worker {
        workers* all;
        shard::shard* polled;
        unsigned lcore;
    };
    static int run(void* self);
    void loop(shard::shard& polled);

    std::atomic<bool> stopping_{false};
    std::vector<worker> workers_;
    idle_policy idle_ = idle_policy::poll;
    const tsc_clock* clock_ = nullptr;
};

}  // namespace skua::control
