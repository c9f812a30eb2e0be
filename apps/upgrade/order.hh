// What the operator of skua-upgrade says to a server that is a process, over a pair of SOCK_SEQPACKET: each order has
// one answer. The end of the pair ends the server.
#pragma once

#include <cstdint>

#include "upgrade/server.hh"

namespace skua::upgrade {

struct order {
    enum class what : std::uint32_t {
        join,       // `member` of `generation`, with `options`
        close,      // `member`
        work,       // make `generation`, of which the server has members, the working one
        look,       // is `generation` drained?
        leave,      // `generation`'s members close; a server without members ends
        hand_over,  // all sockets and flows to the service manager, and end
    };
    what what = what::look;
    std::uint32_t generation = 0;
    std::uint32_t member = 0;
    std::uint32_t working = 0;  // generation, from here on
    server_options options;
};

struct order_answer {
    std::uint32_t drained = 0;
    std::uint32_t working = 0;  // generation, as a socket of the server tells; 0 if it has none
    std::uint64_t begun_when_old = 0;
};

/// Where a server finds its end of the pair.
inline constexpr int orders_fd = 0;
/// Names in the descriptor store.
inline constexpr const char* flows_name = "flows";
inline constexpr const char* socket_prefix = "socket-";  // and member's number, "-", generation

}  // namespace skua::upgrade
