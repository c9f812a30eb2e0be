// The network as all shards see it: the current topology, and the neighbours.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>

#include "base/random.hh"
#include "base/rcu.hh"
#include "base/result.hh"
#include "net/neighbour.hh"
#include "net/topology.hh"

namespace skua::net {

class network {
public:
    /// Begins with the loopback alone. Throws std::bad_alloc.
    network(rcu_domain& rcu, random_source& random, neighbour_options options = {});
    ~network();  // every reader must be gone
    network(const network&) = delete;
    network& operator=(const network&) = delete;

    /// Valid until the reader's next quiescent state (shards) or the end of its read_guard.
    const topology& current() const { return *current_.load(std::memory_order_acquire); }
    /// Edits a copy of the topology and publishes it; any thread, one at a time. On an error, of `edit` or of build(),
    /// nothing changes.
    result<void> change(const std::function<result<void>(topology_builder&)>& edit);
    neighbour_table& neighbours() { return neighbours_; }
    const neighbour_table& neighbours() const { return neighbours_; }

private:
    rcu_domain& rcu_;
    std::mutex change_lock_;
    std::atomic<const topology*> current_;
    neighbour_table neighbours_;
};

}  // namespace skua::net
