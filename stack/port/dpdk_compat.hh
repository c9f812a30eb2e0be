// What changed in rte_ethdev between DPDK 22.11 and 25.11; the only place that asks for the version.
#pragma once

#include <rte_ethdev.h>
#include <rte_version.h>

namespace skua::port::compat {

#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)

/// Asks for Toeplitz if the device lets one choose; else leaves the driver's default.
inline void choose_toeplitz(rte_eth_rss_conf& conf, const rte_eth_dev_info& info) {
    const auto bit = RTE_ETH_HASH_ALGO_TO_CAPA(RTE_ETH_HASH_FUNCTION_TOEPLITZ);
    conf.algorithm = info.rss_algo_capa & bit ? RTE_ETH_HASH_FUNCTION_TOEPLITZ : RTE_ETH_HASH_FUNCTION_DEFAULT;
}

/// The default of every driver that can tell its key is Toeplitz.
inline bool is_toeplitz(const rte_eth_rss_conf& conf) {
    return conf.algorithm == RTE_ETH_HASH_FUNCTION_TOEPLITZ || conf.algorithm == RTE_ETH_HASH_FUNCTION_DEFAULT;
}

#else

inline void choose_toeplitz(rte_eth_rss_conf&, const rte_eth_dev_info&) {}
inline bool is_toeplitz(const rte_eth_rss_conf&) { return true; }

#endif

}  // namespace skua::port::compat
