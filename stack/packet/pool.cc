// Making packet pools.
#include "packet/pool.hh"

#include <rte_errno.h>
#include <rte_mbuf.h>

#include <algorithm>

namespace skua::packet {

result<pool> make_pool(const std::string& name, unsigned packets, std::uint16_t data_room, int socket, unsigned cache) {
    // A cache beyond packets / 1.5 is refused by the library.
    cache = std::min(cache, packets * 2 / 3);
    rte_mempool* p = rte_pktmbuf_pool_create(name.c_str(), packets, cache, 0, data_room, socket);
    if (p == nullptr) return fail(rte_errno);
    return pool(p);
}

}  // namespace skua::packet
