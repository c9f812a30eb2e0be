// The echo and discard services (RFC 862, RFC 863): on each shard a socket for each family and service.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "skua/skua.hpp"

namespace skua::echo {

/// One socket and what it does. Stays where it is: its shard calls it from the moment it is open.
class service {
public:
    enum class kind : std::uint8_t { echo, discard };
    /// Throws api::failure.
    service(kind what, unsigned shard, const api::endpoint& local);
    service(const service&) = delete;
    service& operator=(const service&) = delete;

    kind what() const { return what_; }
    unsigned shard() const { return shard_; }
    api::endpoint local() const { return socket_.local(); }
    std::uint64_t received() const { return socket_.received(); }
    std::uint64_t dropped() const { return socket_.dropped(); }
    std::uint64_t sent() const { return sent_.load(std::memory_order_relaxed); }
    /// Datagrams that could not be sent back, or must not be.
    std::uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

private:
    void send_back(api::udp_socket& socket, std::span<api::datagram> burst);

    const kind what_;
    const unsigned shard_;
    const std::uint16_t port_;
    // Written by the shard alone, read by the one that prints.
    std::atomic<std::uint64_t> sent_{0};
    std::atomic<std::uint64_t> refused_{0};
    api::udp_socket socket_;  // last: open only when the rest is there
};

/// All sockets of the server; closed when it dies.
class server {
public:
    /// A port of 0: without this service. Needs a running stack. Throws api::failure.
    server(std::uint16_t echo_port, std::uint16_t discard_port);
    const std::vector<std::unique_ptr<service>>& services() const { return services_; }
    /// A line for each socket.
    std::string table() const;

private:
    std::vector<std::unique_ptr<service>> services_;
};

}  // namespace skua::echo
