// A socket of other processes with what the daemon knows of it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "attach/attached_socket.hh"

namespace skua::attach {

class session;

struct holding {
    std::unique_ptr<attached_socket> socket;
    uid_t user = 0;
    std::uint64_t cookie = 0;       // of the program's end of the pair, by which a descriptor is known
    std::uint64_t memory = 0;       // charged to the user
    std::vector<session*> openers;  // processes that know it by a number
    std::uint16_t noted_port = 0;   // in the ledger

    // ---- once its last descriptor is closed ----
    std::chrono::steady_clock::time_point until;  // what was written may leave
    bool tended = false;                          // the shards look at it
    bool hidden = false;                          // no shard finds it from `hidden_at` on
    std::uint64_t hidden_at = 0;
};

}  // namespace skua::attach
