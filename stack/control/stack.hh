// One stack: everything that a configuration asks for, put together. Ports, network, tables, shards, and what sockets
// need.
#pragma once

#include <rte_lcore.h>

#include <array>
#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tl/expected.hpp>
#include <vector>

#include "base/random.hh"
#include "base/rcu.hh"
#include "control/config.hh"
#include "control/flow_offload.hh"
#include "control/steering.hh"
#include "control/tsc_clock.hh"
#include "control/workers.hh"
#include "net/network.hh"
#include "net/path_mtu.hh"
#include "packet/pool.hh"
#include "port/port.hh"
#include "port/toeplitz.hh"
#include "shard/mailbox.hh"
#include "shard/shard.hh"
#include "socket/host.hh"
#include "socket/udp_socket.hh"
#include "udp/tables.hh"

namespace skua::control {

/// Who moves packets between the stack and its ports.
enum class driving : std::uint8_t {
    own,      // the stack: it starts the ports and polls their queues
    library,  // the application: ports are only named, frames come and go through shard::input() and output()
};

/// What tests give differently.
struct surroundings {
    std::function<time_point()> now;                              // empty: the time stamp counter
    std::function<std::unique_ptr<random_source>()> make_random;  // empty: the system's
    /// Who spreads the packets of a port instead of its device, by a table of so many entries.
    struct spreader {
        std::size_t entries = 0;  // 0: the devices
        std::function<result<void>(std::uint16_t port, std::span<const std::uint16_t> table)> move;
        /// Who takes the rules of a port instead of its device; empty: the devices.
        flow_offload::taker_of rules;
    };
    spreader spread;
};

class stack final : public socket::host {
public:
    /// Needs a running EAL and a checked config. The error is a text for people; nothing is left behind then.
    static tl::expected<std::unique_ptr<stack>, std::string> make(const config& c, driving how,
                                                                  surroundings around = {});
    /// Stops the threads. Every socket must be closed.
    ~stack();
    stack(const stack&) = delete;
    stack& operator=(const stack&) = delete;

    /// Starts a polling thread per shard on the EAL's lcores (see shard_lcores). The error is a text for people.
    tl::expected<void, std::string> start_threads();
    void stop_threads();
    /// Makes the running stack what `next` says, while packets flow; all or nothing. One thread at a time. The error is
    /// a text for people, also where only a restart would do (see needs_restart).
    tl::expected<void, std::string> apply(const config& next);
    /// Lets packets come in on the first n shards only, while they flow: none is lost, none overtakes another of its
    /// flow; sockets of the other shards move, unless they have a receiver there. Waits until it is done; not for a
    /// shard's own thread. Errors: EINVAL; ENOTSUP steering().obstacle() says why; EAGAIN no threads poll; EDEADLK this
    /// is one of them; EBUSY; ETIMEDOUT a shard did not follow; those of port::steer.
    result<void> set_active_shards(unsigned n);
    /// The same with a weight for each shard.
    result<void> share_flows(std::vector<std::uint32_t> weights);
    unsigned active_shards() const { return steering_->active(); }
    /// For who polls the shards by hand, and to look at.
    control::steering& steering() { return *steering_; }
    const control::steering& steering() const { return *steering_; }
    const flow_offload& offload() const { return *offload_; }
    /// The lcore that polls a shard; LCORE_ID_ANY while there are no threads.
    unsigned lcore_of(unsigned shard) const { return shard < lcores_.size() ? lcores_[shard] : LCORE_ID_ANY; }

    unsigned shard_count() const { return static_cast<unsigned>(shards_.size()); }
    shard::shard& shard_at(unsigned i) { return *shards_[i]; }
    const shard::shard& shard_at(unsigned i) const { return *shards_[i]; }
    const std::vector<std::unique_ptr<port::port>>& ports() const { return ports_; }
    /// Duplicate address detection is going on.
    bool any_tentative();
    /// Nothing waits to be sent that other threads have handed in.
    bool drained();
    /// For the thread that may call apply().
    const config& configuration() const { return config_; }
    net::network& network() { return network_; }
    const net::network& network() const { return network_; }
    const net::path_mtu_cache& path_mtus() const { return path_mtus_; }
    const udp::tables& tables() const { return tables_; }
    const port::toeplitz& flow_hash() const { return hash_; }
    /// Counters of calls, which belong to no shard.
    std::uint64_t call_count(mib which) const {
        return call_counts_[static_cast<std::size_t>(which)].load(std::memory_order_relaxed);
    }

    // ---- socket::host ----
    rcu_domain& rcu() override { return rcu_; }
    udp::tables& tables() override { return tables_; }
    const net::topology& topology() const override { return network_.current(); }
    std::uint32_t path_mtu(const ip_address& to, const net::path& way) const override;
    std::uint16_t ipv4_identification(const ip_address& source, const ip_address& destination) override;
    unsigned submit(std::uint16_t shard, std::span<rte_mbuf* const> datagrams) override;
    rte_mempool* pool() override { return pools_.front().get(); }
    std::uint16_t next_home_shard() override;
    void peer_changed(udp::pcb& p, bool connected) override { offload_->peer_changed(p, connected); }
    std::function<bool(std::uint16_t)> fitting_port(const flow_key& reply, std::uint16_t port,
                                                    std::uint16_t shard) const override;
    const socket::limits& socket_limits() const override { return *limits_.load(std::memory_order_acquire); }
    void count(mib which) override;
    time_point now() const override { return around_.now ? around_.now() : clock_.now(); }

private:
    stack(const config& c, surroundings around);

    tl::expected<void, std::string> make_pools();
    tl::expected<void, std::string> make_network(driving how);
    tl::expected<void, std::string> start_port(const port_config& p, std::uint16_t id);
    tl::expected<void, std::string> add_port_interfaces(const port_config& p, std::uint16_t id,
                                                        const port::port* device);
    tl::expected<void, std::string> add_routes();
    tl::expected<void, std::string> add_static_neighbours();
    std::uint32_t interface_of(const std::string& name, const ip_address& on_link) const;
    void make_shards(driving how);
    void set_limits();
    void follow_groups(std::stop_token stop);
    std::unique_ptr<random_source> new_random() const;

    config config_;
    const surroundings around_;
    const tsc_clock clock_;
    std::list<socket::limits> all_limits_;  // those in force are the last; others may still be read
    std::atomic<const socket::limits*> limits_{nullptr};
    std::unique_ptr<random_source> random_;  // of the tables and the neighbour machine's owner
    std::unique_ptr<random_source> tables_random_;
    rcu_domain rcu_;
    const keyed_hash identification_hash_;
    std::array<std::atomic<std::uint16_t>, 4096> identifications_{};
    std::vector<std::uint8_t> rss_key_;
    const port::toeplitz hash_;
    net::path_mtu_cache path_mtus_;
    std::vector<packet::pool> pools_;  // one per shard, after the one of other threads
    std::vector<std::unique_ptr<port::port>> ports_;
    std::vector<std::uint16_t> port_ids_;  // by place in the configuration
    net::network network_;
    udp::tables tables_;
    const net::fragment_homes fragment_homes_;
    shard::exchange mailboxes_;
    std::vector<std::unique_ptr<shard::shard>> shards_;
    std::unique_ptr<flow_offload> offload_;
    std::unique_ptr<control::steering> steering_;
    std::atomic<bool> polling_{false};
    std::mutex steering_lock_;  // of moves
    workers workers_;
    std::vector<unsigned> lcores_;
    std::atomic<std::uint16_t> next_home_{0};
    std::array<std::atomic<std::uint64_t>, counter_set<mib>::size> call_counts_{};
    std::jthread follower_;  // last: it uses all of the above
};

}  // namespace skua::control
