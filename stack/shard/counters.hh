// What one shard counts. Only its own thread raises these; any thread reads them.
#pragma once

#include "base/counters.hh"
#include "base/drop_reason.hh"
#include "base/mib.hh"

namespace skua::shard {

struct counters {
    counter_set<drop_reason> drops;
    counter_set<mib> mibs;
    counter frames_in;                // taken from ports or given by input()
    counter frames_out;               // given to ports or to output()
    counter datagrams_in;             // UDP datagrams accepted by sockets
    counter datagrams_out;            // UDP datagrams sent by sockets
    counter handed_over;              // packets passed to another shard, for whatever reason
    counter fragments_handed_over;    // of these: fragments, to where their datagram is put together
    counter reassembled_handed_over;  // of these: datagrams put together, to where they would have come in whole
    counter marked;                   // lookups that a mark of the NIC has spared
    counter polls;
    counter busy_polls;   // polls that found something to do
    counter busy_cycles;  // TSC cycles spent in them
};

}  // namespace skua::shard
