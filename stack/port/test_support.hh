// What the tests of this room share: a pool that must be full again at the end, and devices made while running.
#pragma once

#include <gtest/gtest.h>
#include <rte_dev.h>

#include <string>

#include "base/random.hh"
#include "packet/packet.hh"
#include "packet/pool.hh"
#include "port/port.hh"

namespace skua::port::test {

inline std::string unique_name(const std::string& stem) {
    static int count = 0;
    return stem + std::to_string(count++);
}

struct counted_pool {
    explicit counted_pool(std::uint16_t room = RTE_MBUF_DEFAULT_BUF_SIZE)
        : pool(*packet::make_pool(unique_name("port_test"), 2047, room, SOCKET_ID_ANY)) {}
    ~counted_pool() { EXPECT_EQ(rte_mempool_in_use_count(pool.get()), 0u); }
    rte_mempool* get() const { return pool.get(); }
    packet::pool pool;
};

/// A device of the vdev bus, gone at the end.
struct vdev {
    vdev(const std::string& driver, const std::string& arguments = "") : name(unique_name(driver)) {
        if (rte_eal_hotplug_add("vdev", name.c_str(), arguments.c_str()) != 0) return;
        if (rte_eth_dev_get_port_by_name(name.c_str(), &id) != 0) id = RTE_MAX_ETHPORTS;
    }
    ~vdev() { unplug(); }
    int unplug() { return rte_eal_hotplug_remove("vdev", name.c_str()); }
    bool made() const { return id != RTE_MAX_ETHPORTS; }
    std::string name;
    std::uint16_t id = RTE_MAX_ETHPORTS;
};

inline auto start(std::uint16_t id, const port_options& options, const counted_pool& pool) {
    static seeded_random random(11);
    rte_mempool* pools[] = {pool.get()};
    return port::start(id, options, pools, random);
}

}  // namespace skua::port::test
