// What is asked of a device: options masked by capabilities. No device is touched here.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.hh"
#include "port/options.hh"

namespace skua::port {

struct request {
    std::uint16_t rx_queues = 1;
    std::uint16_t tx_queues = 1;
    std::uint16_t rx_descriptors = 0;  // 0: the driver's choice
    std::uint16_t tx_descriptors = 0;
    std::uint16_t mtu = 1500;
    std::uint64_t rx_offloads = 0;      // RTE_ETH_RX_OFFLOAD_*
    std::uint64_t tx_offloads = 0;      // RTE_ETH_TX_OFFLOAD_*
    std::uint64_t rss_fields = 0;       // RTE_ETH_RSS_*; 0: no RSS
    std::vector<std::uint8_t> rss_key;  // empty: the driver's
    bool link_interrupt = false;
    bool removal_interrupt = false;
    friend bool operator==(const request&, const request&) = default;
};

/// Masks the options by what the device says it can do. `buffer_room`: bytes of frame that one mbuf of the smallest
/// pool holds. Whatever is less than asked for adds a sentence to `notes`.
request make_request(const rte_eth_dev_info& info, const port_options& options, std::uint32_t buffer_room,
                     random_source& random, std::vector<std::string>& notes);

/// Bytes of a frame beyond its IP packet that the device counts.
std::uint32_t frame_overhead(const rte_eth_dev_info& info);

/// A key of `length` bytes (at least 40). Keys of different lengths from one given key agree in what they hash.
std::vector<std::uint8_t> make_rss_key(const rss_options& options, std::size_t length, random_source& random);

/// Something to give up when a driver refuses a request that its own capabilities allow.
struct relaxation {
    std::string_view what;
    void (*apply)(request&);
};
/// What can be done without, the least important first.
std::span<const relaxation> relaxations();

/// What came of a request.
struct outcome {
    std::uint64_t rss_fields = 0;  // in force
    bool hash_v4 = false;          // the mbuf's hash is the four-tuple's, with a known key
    bool hash_v6 = false;
    bool reta_set = false;
    std::uint16_t reta_size = 0;
};
std::vector<capability_row> capability_table(const rte_eth_dev_info& info, const port_options& options,
                                             const request& asked, const outcome& got);

}  // namespace skua::port
