// Many sockets in the lookup tables, and the packets that look for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "udp/tables.hh"

namespace skua::lookup_perf {

/// What tells the sockets apart, and so by which table they are found.
enum class table_kind : std::uint8_t {
    ports,      // wildcard sockets on different ports; beyond most_ports on several addresses of each
    addresses,  // on different addresses of one port
    connected,  // on one address and port, with different peers
};
const char* name_of(table_kind kind);

inline constexpr std::size_t most_ports = 60000;

struct bench_socket final : udp::pcb {
    using pcb::pcb;
};

class population {
public:
    population(table_kind kind, ip_family family);
    ~population();
    population(const population&) = delete;
    population& operator=(const population&) = delete;

    /// Makes the pcbs, and nothing else, of `n` sockets in all.
    void reserve(std::size_t n);
    /// Binds and connects the next one. Throws std::runtime_error when the tables refuse.
    void add_next();
    void add_all() {
        while (added_ < sockets_.size()) add_next();
    }
    std::size_t size() const { return added_; }
    /// How many ports and local addresses `n` sockets take.
    std::size_t ports_for(std::size_t n) const;
    std::size_t addresses_for(std::size_t n) const;

    /// A packet for socket i of `n`.
    flow_key flow_to(std::size_t i, std::size_t n) const;
    /// Packets for random ones of the first `n`.
    std::vector<flow_key> random_flows(std::size_t count, std::size_t n, std::uint64_t seed) const;

    rcu_domain rcu;
    seeded_random random{1};
    udp::tables tables{rcu, random};

private:
    ip_address local_address(std::size_t i) const;
    ip_address remote_address(std::size_t i) const;

    const table_kind kind_;
    const ip_family family_;
    std::deque<bench_socket> sockets_;
    std::size_t added_ = 0;
};

}  // namespace skua::lookup_perf
