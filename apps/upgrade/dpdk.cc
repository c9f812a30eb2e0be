// The EAL, once, and ports.
#include "upgrade/dpdk.hh"

#include <rte_ethdev.h>

#include <optional>

#include "control/eal.hh"

namespace skua::upgrade {

void start_eal(const control::config& c) {
    static std::optional<control::eal> one;
    if (!one) one.emplace(must(control::start_eal("skua-upgrade", c)));
}

packet::pool make_frame_pool(const std::string& name) {
    auto pool = packet::make_pool(name, 8191, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (!pool) throw std::runtime_error("no memory for packets");
    return std::move(*pool);
}

void start_port(std::uint16_t id, std::uint16_t queues, std::uint16_t descriptors, rte_mempool* pool) {
    const rte_eth_conf conf{};
    bool ok = rte_eth_dev_configure(id, queues, queues, &conf) == 0;
    for (std::uint16_t q = 0; ok && q < queues; q++)
        ok = rte_eth_rx_queue_setup(id, q, descriptors, SOCKET_ID_ANY, nullptr, pool) == 0 &&
             rte_eth_tx_queue_setup(id, q, descriptors, SOCKET_ID_ANY, nullptr) == 0;
    if (!ok || rte_eth_dev_start(id) != 0) throw std::runtime_error("a port of the clients does not start");
}

}  // namespace skua::upgrade
