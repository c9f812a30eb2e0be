// How long a shard waits at most while another thread fills the tables.
#pragma once

#include <cstddef>
#include <cstdint>

namespace skua::lookup_perf {

/// Of the polls of one thread: a burst of lookups, a quiescent state, and now and then what a shard frees.
struct pauses {
    /// A pause that the tables cause comes at the same number of sockets in every run, one of the machine does not. So
    /// for each of many stretches of a run: the longest poll in the run that had the shortest one there; and of these
    /// the longest.
    double longest_us = 0;
    double longest_of_all_us = 0;  // the machine's own included
    std::uint64_t polls = 0;
    std::uint64_t over_10us = 0;
    std::uint64_t preempted = 0;  // longer than 2 us, but the thread was off its CPU meanwhile: not counted above
};

struct growth_figures {
    std::size_t sockets = 0;
    unsigned runs = 0;
    double seconds = 0;            // to connect them all; the median run
    double longest_insert_us = 0;  // one bind and connect, as `longest_us` above
    pauses growing;
    pauses idle;  // the same polls for the same time, without the writer
};

/// Connects `sockets` to one port while a thread looks up some that were there before. Needs two CPUs.
growth_figures measure_growth(std::size_t sockets, unsigned runs);

}  // namespace skua::lookup_perf
