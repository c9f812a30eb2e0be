// What a lookup costs, one at a time and in bursts, and what the sockets' entries take of memory.
#pragma once

#include <cstddef>

#include "lookup/population.hh"

namespace skua::lookup_perf {

inline constexpr std::size_t burst = 32;

/// Cycles of the time stamp counter for each lookup.
struct cost {
    double cycles = 0;  // median, without the feed
    double empty = 0;   // the feed alone: keys read from an array larger than the caches
    double spread = 0;  // between the first and the third quartile of the samples
};

struct figures {
    table_kind kind;
    ip_family family;
    std::size_t sockets, ports, addresses;
    cost single, bursts;
    double memory_per_socket;  // bytes, besides the pcb
};

/// Throws std::runtime_error when a packet finds no socket.
figures measure(table_kind kind, ip_family family, std::size_t sockets, bool quick);

}  // namespace skua::lookup_perf
