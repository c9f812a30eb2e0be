// Publishing topologies.
#include "net/network.hh"

#include <new>

namespace skua::net {

namespace {

const topology* loopback_only() {
    auto built = topology_builder().build();
    if (!built) throw std::bad_alloc();
    return built->release();
}

}  // namespace

network::network(rcu_domain& rcu, random_source& random, neighbour_options options)
    : rcu_(rcu), current_(loopback_only()), neighbours_(rcu, random, options) {}

network::~network() { delete current_.load(std::memory_order_relaxed); }

result<void> network::change(const std::function<result<void>(topology_builder&)>& edit) {
    const std::lock_guard hold(change_lock_);
    // Under the lock only this thread could retire what it copies.
    const topology* old = current_.load(std::memory_order_relaxed);
    topology_builder builder(*old);
    if (auto edited = edit(builder); !edited) return edited;
    auto built = builder.build();
    if (!built) return tl::unexpected(built.error());
    current_.store(built->release(), std::memory_order_release);
    rcu_.retire(std::unique_ptr<const topology>(old));
    rcu_.reclaim();
    return {};
}

}  // namespace skua::net
