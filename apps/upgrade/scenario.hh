// An upgrade under load, several times in a row: flows come and go at a steady rate while generations replace each
// other, and members join and crash in between.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "upgrade/network.hh"

namespace skua::upgrade {

constexpr unsigned in_flight = 256;  // less than any queue on the way holds

struct scenario_options {
    std::uint32_t flows = 100'000;
    std::uint32_t upgrades = 10;
    std::uint32_t members = 4;  // sockets of an instance
    bool generations = false;
    std::uint32_t flow_timeout = 10;  // seconds; a flow asks every second of the network's clock
    std::uint32_t kill_in = 0;        // the upgrade in which the instance that is replaced is killed; 0: none
};

struct totals {
    std::uint64_t sent = 0;
    std::uint64_t answered = 0;
    std::uint64_t lost = 0;
    std::uint64_t misdirected = 0;  // answered by a member that did not know the flow, though its own member lives or
                                    // left in order
    std::uint64_t orphaned = 0;     // flows whose member crashed, taken up by another
    std::uint64_t new_to_old = 0;   // flows begun at another generation than the working one
    std::uint64_t begun = 0;        // flows
};

struct results {
    scenario_options options;
    totals all;
    std::vector<totals> after_upgrade;  // all so far
    std::uint32_t left = 0;             // old generations that left, all their flows ended
    std::uint32_t put_out = 0;          // that were stopped with flows they still had
    std::uint32_t killed = 0;
    double seconds = 0;
    std::vector<std::pair<std::string, std::uint64_t>> group;
};

/// A flow asks once a period, 2 to 8 times; a generation works for three periods. Old instances leave when their last
/// flow has ended, or have to after nine periods.
results run(const scenario_options& options, network& net);

}  // namespace skua::upgrade
