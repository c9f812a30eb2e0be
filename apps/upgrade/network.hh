// Between clients and servers: skua with frames in memory, or to a daemon, or the kernel's loopback.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "upgrade/servers.hh"

namespace skua::upgrade {

/// Single-threaded. Throws std::runtime_error.
class network {
public:
    virtual ~network() = default;
    virtual std::unique_ptr<servers> make_servers(server_options o) = 0;
    /// The n-th client, whose address and port nobody had before and nobody gets after.
    virtual void open_client(std::uint64_t n) = 0;
    virtual void close_client(std::uint64_t n) = 0;
    virtual void send(std::uint64_t client, const message& question) = 0;
    /// Moves what is there, once round: questions to the servers, who are asked by `serve`, answers to `answered`.
    /// Returns 0 when no answer will come any more.
    virtual unsigned move(const std::function<unsigned()>& serve,
                          const std::function<void(const message&)>& answered) = 0;
    /// Time goes on by this much, where the network has a clock of its own.
    virtual void pass(std::chrono::nanoseconds) {}
    /// What the group of the server has counted, by name.
    virtual std::vector<std::pair<std::string, std::uint64_t>> group_counters() const { return {}; }
};

std::unique_ptr<network> make_kernel_network();
/// The stack of this process, on a clock that only pass() turns.
std::unique_ptr<network> make_skua_network(unsigned shards);
/// A skuad, to which servers attach as processes; clients reach it over a memif port. The instance of generation
/// `stored_generation` (0: none) gets the sockets of the one before it from a service manager's descriptor store.
std::unique_ptr<network> make_daemon_network(std::uint32_t stored_generation);

}  // namespace skua::upgrade
