// What may be asked of a port, and how it answers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.hh"

namespace skua::port {

struct rss_options {
    enum class key_kind : std::uint8_t {
        random,     // new with every start: nobody outside can aim at a queue
        symmetric,  // both directions of a flow come to one queue; known to everybody
        given,
    };
    key_kind key = key_kind::random;
    std::vector<std::uint8_t> given_key;  // at least 40 bytes
    bool over_ports = true;               // false: addresses only, so that fragments stay with their flow
};

struct port_options {
    std::uint16_t queues = 1;  // one for each shard
    std::uint16_t rx_descriptors = 1024;
    std::uint16_t tx_descriptors = 1024;
    std::uint16_t mtu = 1500;  // bytes of an IP packet
    bool promiscuous = false;
    bool checksum_offloads = true;
    std::optional<mac_address> mac;  // none: the device's own
    rss_options rss;
};

/// Who does a piece of work.
enum class place : std::uint8_t { hardware, software, off };

/// One line of the table that is printed at start. "Hardware" is the device or its driver.
struct capability_row {
    std::string what;
    place where;
    std::string note;  // why, or with which limits; may be empty
};

/// What the port does for packets on their way out.
struct transmit_facts {
    bool ipv4_checksum = false;
    bool udp_checksum = false;
    bool multi_segment = false;
    std::uint16_t max_segments = 1;  // of one packet
};

struct link_state {
    bool up = false;
    std::uint32_t mbps = 0;  // 0: unknown
    bool full_duplex = false;
};

struct port_stats {
    std::uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
    std::uint64_t rx_missed;  // no free descriptor in the device
    std::uint64_t rx_errors;
    std::uint64_t rx_no_mbuf;
    std::uint64_t tx_errors;
    std::uint64_t tx_refused;  // taken and freed because the driver refused to prepare them
};

}  // namespace skua::port
