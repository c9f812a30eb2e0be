// What a traffic run shows: the live line, the report at the end, and the JSON file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "traffic/generator.hh"

namespace skua::traffic {

struct shard_result {
    unsigned index;
    std::uint64_t received;  // datagrams
    std::uint64_t sent;
    double cycles_per_packet;  // busy TSC cycles of the shard per datagram received
};

struct socket_result {
    unsigned index;
    unsigned shard;
    std::uint64_t received;
};

struct drop_result {
    std::string name, meaning;
    std::uint64_t count;
};

struct sample {
    double seconds;  // since the start
    double mpps;     // answers in the interval before it
};

struct results {
    generator_options options;
    std::uint32_t sockets_asked = 0;
    double seconds = 0;
    generator_totals totals;
    double cycles_per_packet = 0;
    double tsc_hz = 0;
    const histogram* round_trips = nullptr;
    std::vector<shard_result> shards;
    std::vector<socket_result> sockets;
    std::vector<drop_result> drops;
    std::vector<sample> series;
};

/// One line: a bar that redraws itself on a terminal, a plain line elsewhere.
void show_progress(bool terminal, double seconds, double of_seconds, double mpps, const generator_totals& totals);
std::string report_text(const results& r);
std::string report_json(const results& r);

}  // namespace skua::traffic
