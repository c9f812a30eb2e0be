// Packet pools.
#pragma once

#include <rte_mempool.h>

#include <memory>
#include <string>

#include "base/result.hh"

namespace skua::packet {

struct pool_delete {
    void operator()(rte_mempool* p) const { rte_mempool_free(p); }
};
using pool = std::unique_ptr<rte_mempool, pool_delete>;

/// Makes a pool of `packets` mbufs with `data_room` bytes each (headroom included) near `socket` (NUMA node or
/// SOCKET_ID_ANY). Errors: EEXIST name taken, ENOMEM, EINVAL.
result<pool> make_pool(const std::string& name, unsigned packets, std::uint16_t data_room, int socket,
                       unsigned cache = 256);

}  // namespace skua::packet
