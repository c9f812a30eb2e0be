// Why a packet goes to the socket it goes to.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "udp/tables.hh"

namespace skua::udp {

/// A socket, or a group of two members or more, that the packet matches.
struct explained_candidate {
    endpoint local;
    endpoint remote;  // port 0: any
    std::uint32_t device = 0;
    std::size_t members = 1;
    bool reuse_port = false;
    int score = 0;
    std::uint64_t placed = 0;  // the larger was placed later
    bool four_tuple = false;   // found by four-tuple, not in the slots
};

struct explanation {
    enum class way : std::uint8_t { nothing, four_tuple, port, address };
    way searched = way::nothing;  // the last table that was looked at
    std::uint32_t entries = 0;    // in the port's slot; a group is one
    std::vector<explained_candidate> candidates;
    std::optional<std::size_t> winner;  // of the candidates
    std::string_view rule;              // by which it won
    pcb* socket = nullptr;              // that gets the packet
    // of a group:
    std::optional<std::uint32_t> bucket;
    std::size_t buckets = 0;
    std::optional<std::uint32_t> member;  // its place in the group
    std::string_view selector;            // that may choose before the buckets; empty: none
};

std::string_view to_string(explanation::way w);

}  // namespace skua::udp
