// Making packet pools.
#include "packet/pool.hh"

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>

#include <algorithm>

namespace skua::packet {

namespace {

/// Threads of the application that are no lcores have no cache: each of their packets goes through the pool's ring,
/// and one that is preempted there must not hold up the others, as it does in DPDK's default (rte_ring, RTS mode).
const char* ring_ops() {
    if (const char* asked = rte_mbuf_user_mempool_ops()) return asked;
    if (const char* platforms = rte_mbuf_platform_mempool_ops()) return platforms;
    return "ring_mt_rts";
}

}  // namespace

result<pool> make_pool(const std::string& name, unsigned packets, std::uint16_t data_room, int socket, unsigned cache) {
    // A cache beyond packets / 1.5 is refused by the library.
    cache = std::min(cache, packets * 2 / 3);
    rte_mempool* p = rte_pktmbuf_pool_create_by_ops(name.c_str(), packets, cache, 0, data_room, socket, ring_ops());
    if (p == nullptr) return fail(rte_errno);
    return pool(p);
}

}  // namespace skua::packet
