// What every layer function of net is handed: the shard's own state and the shared pictures, for one burst.
#pragma once

#include "base/clock.hh"
#include "base/counters.hh"
#include "base/mib.hh"
#include "base/random.hh"
#include "net/topology.hh"

namespace skua::net {

/// Lives as long as a burst; no pointer in it outlives the poll.
struct context {
    const topology& map;
    time_point now;
    counter_set<mib>& mibs;  // this shard's
    random_source& random;   // this shard's
};

}  // namespace skua::net
