// Masking options by capabilities, and telling what came of it.
#include "port/request.hh"

#include <fmt/format.h>
#include <rte_ether.h>

#include <algorithm>
#include <array>

namespace skua::port {

namespace {

constexpr std::uint64_t rss_v4_udp = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
constexpr std::uint64_t rss_v6_udp = RTE_ETH_RSS_NONFRAG_IPV6_UDP;
// Never the _EX kinds: they hash addresses out of extension headers, which the software hash does not see.
constexpr std::uint64_t rss_addresses = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER |
                                        RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_OTHER;
constexpr std::uint64_t rx_checksums = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
constexpr std::uint64_t tx_checksums = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;

std::uint16_t clamped(std::string_view what, std::uint16_t wanted, std::uint16_t limit,
                      std::vector<std::string>& notes) {
    if (wanted <= limit) return wanted;
    notes.push_back(fmt::format("{}: {} asked for, the device has {}", what, wanted, limit));
    return limit;
}

std::uint16_t fitting_mtu(const rte_eth_dev_info& info, std::uint32_t wanted, std::vector<std::string>& notes) {
    const std::uint32_t overhead = frame_overhead(info);
    std::uint32_t most = info.max_mtu ? info.max_mtu : UINT16_MAX;
    if (info.max_rx_pktlen > overhead) most = std::min(most, info.max_rx_pktlen - overhead);
    const std::uint32_t mtu =
        std::max<std::uint32_t>(std::min(wanted, most), std::min<std::uint32_t>(info.min_mtu, most));
    if (mtu != wanted)
        notes.push_back(fmt::format("MTU: {} asked for, the device allows {} to {}", wanted, info.min_mtu, most));
    return static_cast<std::uint16_t>(mtu);
}

/// Scattered receive if a frame does not fit into one mbuf; a smaller MTU where the device has none.
void fit_buffers(request& r, const rte_eth_dev_info& info, std::uint32_t buffer_room, std::vector<std::string>& notes) {
    const std::uint32_t overhead = frame_overhead(info);
    if (r.mtu + overhead <= buffer_room) return;
    if (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER) {
        r.rx_offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
        return;
    }
    const std::uint32_t fits = buffer_room > overhead ? buffer_room - overhead : 0;
    notes.push_back(
        fmt::format("MTU: {} asked for, {} fits into a packet buffer and the device cannot scatter", r.mtu, fits));
    r.mtu = static_cast<std::uint16_t>(std::max<std::uint32_t>(fits, info.min_mtu));
}

}  // namespace

std::uint32_t frame_overhead(const rte_eth_dev_info& info) {
    // Drivers that know no limit say the largest number in either field.
    if (info.max_mtu != 0 && info.max_mtu != UINT16_MAX && info.max_rx_pktlen > info.max_mtu &&
        info.max_rx_pktlen - info.max_mtu <= 64)
        return info.max_rx_pktlen - info.max_mtu;
    return RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
}

std::vector<std::uint8_t> make_rss_key(const rss_options& options, std::size_t length, random_source& random) {
    std::vector<std::uint8_t> key(std::max<std::size_t>(length, 40));
    for (std::size_t i = 0; i < key.size(); i++) switch (options.key) {
            case rss_options::key_kind::random: key[i] = static_cast<std::uint8_t>(random.next() >> 32); break;
            case rss_options::key_kind::symmetric: key[i] = i % 2 ? 0x5a : 0x6d; break;
            case rss_options::key_kind::given: key[i] = options.given_key[i % options.given_key.size()]; break;
        }
    return key;
}

request make_request(const rte_eth_dev_info& info, const port_options& options, std::uint32_t buffer_room,
                     random_source& random, std::vector<std::string>& notes) {
    request r;
    r.rx_queues = clamped("RX queues", options.queues, info.max_rx_queues, notes);
    r.tx_queues = clamped("TX queues", options.queues, info.max_tx_queues, notes);
    r.rx_descriptors = options.rx_descriptors;
    r.tx_descriptors = options.tx_descriptors;
    r.mtu = fitting_mtu(info, options.mtu, notes);
    fit_buffers(r, info, buffer_room, notes);
    if (options.checksum_offloads) {
        r.rx_offloads |= info.rx_offload_capa & rx_checksums;
        r.tx_offloads |= info.tx_offload_capa & tx_checksums;
    }
    r.tx_offloads |= info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

    const bool hash_delivered = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH;
    // With one queue RSS is worth its while only for the hash.
    if (r.rx_queues > 1 || hash_delivered) {
        const std::uint64_t wanted = rss_addresses | (options.rss.over_ports ? rss_v4_udp | rss_v6_udp : 0);
        r.rss_fields = wanted & info.flow_type_rss_offloads;
    }
    if (r.rss_fields) {
        if (hash_delivered) r.rx_offloads |= RTE_ETH_RX_OFFLOAD_RSS_HASH;
        r.rss_key = make_rss_key(options.rss, info.hash_key_size, random);
        if (info.hash_key_size != 0) r.rss_key.resize(info.hash_key_size);
    } else if (r.rx_queues > 1) {
        notes.push_back("RSS: the device has none; how it spreads packets over queues is its own business");
    }
    if (info.dev_flags) {
        r.link_interrupt = *info.dev_flags & RTE_ETH_DEV_INTR_LSC;
        r.removal_interrupt = *info.dev_flags & RTE_ETH_DEV_INTR_RMV;
    }
    return r;
}

std::span<const relaxation> relaxations() {
    static constexpr std::array<relaxation, 8> list{{
        {"interrupts", [](request& r) { r.link_interrupt = r.removal_interrupt = false; }},
        {"the RSS key", [](request& r) { r.rss_key.clear(); }},
        {"chosen descriptor numbers", [](request& r) { r.rx_descriptors = r.tx_descriptors = 0; }},
        {"checksum offloads", [](request& r) { r.rx_offloads &= ~rx_checksums, r.tx_offloads &= ~tx_checksums; }},
        {"RSS",
         [](request& r) {
             r.rss_fields = 0;
             r.rss_key.clear();
             r.rx_offloads &= ~RTE_ETH_RX_OFFLOAD_RSS_HASH;
         }},
        {"any offload", [](request& r) { r.rx_offloads &= RTE_ETH_RX_OFFLOAD_SCATTER, r.tx_offloads = 0; }},
        {"an MTU above 1500",
         [](request& r) {
             r.mtu = std::min<std::uint16_t>(r.mtu, 1500);
             r.rx_offloads &= ~RTE_ETH_RX_OFFLOAD_SCATTER;
         }},
        {"more than one queue",
         [](request& r) {
             r.rx_queues = std::min<std::uint16_t>(r.rx_queues, 1);
             r.tx_queues = std::min<std::uint16_t>(r.tx_queues, 1);
         }},
    }};
    return list;
}

namespace {

/// A row about an offload bit.
capability_row offload_row(std::string what, std::uint64_t bit, std::uint64_t able, std::uint64_t asked, bool wanted,
                           place otherwise) {
    if (asked & bit) return {std::move(what), place::hardware, ""};
    std::string why = !(able & bit) ? "the device cannot" : !wanted ? "not asked for" : "refused by the driver";
    return {std::move(what), otherwise, std::move(why)};
}

capability_row rss_row(std::string what, std::uint64_t field, const rte_eth_dev_info& info, const port_options& options,
                       const request& asked, const outcome& got) {
    if (got.rss_fields & field) return {std::move(what), place::hardware, ""};
    std::string why = !(info.flow_type_rss_offloads & field) ? "the device cannot"
                      : !options.rss.over_ports              ? "addresses only, as configured"
                      : asked.rss_fields & field             ? "the driver left it out"
                      : asked.rx_queues < 2                  ? "one queue"
                                                             : "refused by the driver";
    return {std::move(what), place::software, std::move(why)};
}

}  // namespace

std::vector<capability_row> capability_table(const rte_eth_dev_info& info, const port_options& options,
                                             const request& asked, const outcome& got) {
    const bool sums = options.checksum_offloads;
    std::vector<capability_row> rows;
    const auto rx = [&](std::string what, std::uint64_t bit, bool wanted, place otherwise) {
        rows.push_back(offload_row(std::move(what), bit, info.rx_offload_capa, asked.rx_offloads, wanted, otherwise));
    };
    const auto tx = [&](std::string what, std::uint64_t bit, bool wanted, place otherwise) {
        rows.push_back(offload_row(std::move(what), bit, info.tx_offload_capa, asked.tx_offloads, wanted, otherwise));
    };
    rx("RX IPv4 checksum", RTE_ETH_RX_OFFLOAD_IPV4_CKSUM, sums, place::software);
    rx("RX UDP checksum", RTE_ETH_RX_OFFLOAD_UDP_CKSUM, sums, place::software);
    tx("TX IPv4 checksum", RTE_ETH_TX_OFFLOAD_IPV4_CKSUM, sums, place::software);
    tx("TX UDP checksum", RTE_ETH_TX_OFFLOAD_UDP_CKSUM, sums, place::software);
    tx("TX multi-segment", RTE_ETH_TX_OFFLOAD_MULTI_SEGS, true, place::software);
    rx("RX scattered", RTE_ETH_RX_OFFLOAD_SCATTER, false, place::off);
    rows.push_back({"VLAN strip", place::software, "tags are read where they stand"});
    rows.push_back(rss_row("RSS over IPv4 UDP ports", rss_v4_udp, info, options, asked, got));
    rows.push_back(rss_row("RSS over IPv6 UDP ports", rss_v6_udp, info, options, asked, got));

    const bool delivered = asked.rx_offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH;
    rows.push_back({"Five-tuple hash, IPv4", got.hash_v4 ? place::hardware : place::software,
                    got.hash_v4 ? ""
                    : delivered ? "key or fields of the device's hash differ"
                                : "the device does not tell its hash"});
    rows.push_back({"Five-tuple hash, IPv6", got.hash_v6 ? place::hardware : place::software,
                    got.hash_v6 ? ""
                    : delivered ? "key or fields of the device's hash differ"
                                : "the device does not tell its hash"});
    if (got.reta_size == 0) rows.push_back({"RETA", place::off, "the device has none"});
    else
        rows.push_back({"RETA", got.reta_set ? place::hardware : place::off,
                        fmt::format("{} entries{}", got.reta_size, got.reta_set ? "" : ", not ours")});
    return rows;
}

}  // namespace skua::port
