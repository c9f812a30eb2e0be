// A NIC port: made to work with whatever its driver can do, then polled.
#pragma once

#include <rte_ethdev.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "base/counters.hh"
#include "base/random.hh"
#include "base/result.hh"
#include "port/options.hh"
#include "port/request.hh"
#include "port/toeplitz.hh"

namespace skua::port {

/// Owns a started ethdev port; the destructor stops and closes it. rx, tx and hash_usable belong to the shard that
/// polls the queue; everything else to the control side, one caller at a time.
class port {
public:
    /// Configures and starts DPDK port `id`. Queue i takes its packets from pools[i], or from pools[0] if there is one
    /// pool only; the pools must outlive the port. A driver that refuses is asked for less until it agrees: what was
    /// given up stands in notes(). On failure the text says why, and the device is stopped but not closed.
    static tl::expected<std::unique_ptr<port>, std::string> start(std::uint16_t id, const port_options& options,
                                                                  std::span<rte_mempool* const> pools,
                                                                  random_source& random);
    ~port();
    port(const port&) = delete;
    port& operator=(const port&) = delete;

    // ---- shards ----
    /// Fills `out` with received packets, which the caller owns now; returns how many. Nothing from a port that is
    /// gone.
    unsigned rx(std::uint16_t queue, std::span<rte_mbuf*> out) {
        if (gone()) [[unlikely]]
            return 0;
        return rte_eth_rx_burst(id_, queue, out.data(), static_cast<std::uint16_t>(out.size()));
    }
    /// Returns how many packets were taken from the front; the caller keeps the rest. A port that is gone takes none.
    /// Packets that the driver refuses to prepare are taken and freed (port_stats::tx_refused).
    unsigned tx(std::uint16_t queue, std::span<rte_mbuf*> packets) {
        if (gone()) [[unlikely]]
            return 0;
        if (prepare_) return tx_prepared(queue, packets);
        return rte_eth_tx_burst(id_, queue, packets.data(), static_cast<std::uint16_t>(packets.size()));
    }
    /// The packet carries hash()(its flow) in hash.rss. Only to be asked for a whole UDP datagram as it came from the
    /// wire, without IPv4 options and IPv6 extension headers: NICs differ on those, and hash fragments by addresses
    /// alone.
    bool hash_usable(const rte_mbuf* m, ip_family family) const {
        return (family == ip_family::v4 ? hash_v4_ : hash_v6_) && (m->ol_flags & RTE_MBUF_F_RX_RSS_HASH);
    }
    /// The device was removed, or closed by somebody else.
    bool gone() const { return gone_.load(std::memory_order_relaxed); }
    /// As of the last link event or link() call.
    bool up() const { return up_.load(std::memory_order_relaxed); }

    // ---- what it is ----
    std::uint16_t id() const { return id_; }
    const std::string& name() const { return name_; }
    const std::string& driver() const { return driver_; }
    int numa_node() const { return numa_node_; }
    const mac_address& mac() const { return mac_; }
    std::uint16_t mtu() const { return mtu_; }
    /// May be fewer than asked for; shard i has a queue only if i is below.
    std::uint16_t rx_queues() const { return asked_.rx_queues; }
    std::uint16_t tx_queues() const { return asked_.tx_queues; }
    /// Packets that an RX queue holds at most.
    std::uint32_t rx_capacity() const { return asked_.rx_descriptors ? asked_.rx_descriptors : UINT16_MAX; }
    const transmit_facts& offloads() const { return offloads_; }
    std::span<const capability_row> capabilities() const { return capabilities_; }
    /// Sentences about what came out otherwise than asked for.
    std::span<const std::string> notes() const { return notes_; }
    /// More rows for the table.
    void tell(const std::vector<capability_row>& rows) {
        capabilities_.insert(capabilities_.end(), rows.begin(), rows.end());
    }
    /// The table for people.
    std::string describe() const;

    // ---- spreading over queues ----
    /// The function the device hashes with, as far as it tells; else the same function with a key of ours.
    const toeplitz& hash() const { return *hash_; }
    std::span<const std::uint8_t> rss_key() const { return key_; }
    /// The queue a hash goes to: by the device's table if it is known, else as if the table were 0, 1, .. over and
    /// over. Any thread, while the table is changed too.
    std::uint16_t queue_of(std::uint32_t hash) const {
        const std::uint32_t n = reta_size_.load(std::memory_order_acquire);
        return n == 0 ? static_cast<std::uint16_t>(hash % std::max<std::uint16_t>(1, rx_queues()))
                      : reta_[hash % n].load(std::memory_order_relaxed);
    }
    /// Empty if the device has no table or does not tell.
    std::vector<std::uint16_t> reta() const;
    /// Datagrams of the family that are no fragments come to queue_of(hash()(flow)), and there are several queues.
    bool spreads(ip_family family) const {
        return rx_queues() > 1 && reta_size_.load(std::memory_order_acquire) != 0 &&
               (family == ip_family::v4 ? spread_v4_ : spread_v6_);
    }
    /// Spreads over these queues only, evenly. Errors: EINVAL no queue or one that is not there; ENOTSUP; EIO the
    /// device says otherwise afterwards; ENODEV gone.
    result<void> steer_to(std::span<const std::uint16_t> queues) { return steer(queues); }
    /// Entry i of the table becomes table[i % size]. Errors: those of steer_to.
    result<void> steer(std::span<const std::uint16_t> table);
    /// From now on `move` is asked instead of the device, to spread by a table of `entries` (a power of two): for a
    /// device whose packets somebody in front of it spreads, by hash()(flow).
    void spread_by(std::size_t entries, std::function<result<void>(std::span<const std::uint16_t>)> move);

    // ---- while running ----
    /// Asks the device.
    link_state link();
    /// Errors: EINVAL beyond the device's limits, or a frame would not fit into a packet buffer; EBUSY the driver wants
    /// the port stopped; ENODEV gone. A driver that knows no MTU takes any, which is noted.
    result<void> set_mtu(std::uint16_t mtu);
    result<port_stats> stats() const;  // ENODEV
    /// The driver's own names; empty from a port that is gone.
    std::vector<std::pair<std::string, std::uint64_t>> xstats() const;
    /// Ends traffic. No shard may poll any more.
    void stop();

private:
    port(std::uint16_t id, const rte_eth_dev_info& info);

    std::string bring_up(const port_options& options, std::span<rte_mempool* const> pools, std::uint32_t buffer_room,
                         random_source& random);
    std::string try_start(const request& r, std::span<rte_mempool* const> pools);
    std::string set_up_queues(const request& r, std::span<rte_mempool* const> pools);
    void set_mac(const port_options& options, random_source& random);
    void open_filters(bool promiscuous);
    void settle_rss(const port_options& options, random_source& random);
    bool read_rss(outcome& got);
    std::vector<std::uint16_t> read_reta();
    void note_reta(const std::vector<std::uint16_t>& table);
    void settle_reta(outcome& got);
    void settle_mtu(std::uint16_t at_first);
    void note_software_mtu();
    void watch();
    void unwatch();
    unsigned tx_prepared(std::uint16_t queue, std::span<rte_mbuf*> packets);
    static int on_event(std::uint16_t id, rte_eth_event_type type, void* self, void* detail);

    struct alignas(64) refused_counter {
        counter count;
    };

    // Read for every burst.
    const std::uint16_t id_;
    bool prepare_ = false;
    bool hash_v4_ = false;
    bool hash_v6_ = false;
    std::atomic<bool> gone_{false};
    std::atomic<bool> up_{false};
    std::unique_ptr<refused_counter[]> refused_;  // one for each TX queue

    std::atomic<bool> closed_{false};  // the ethdev behind the id is no more; the id may be another's
    bool started_ = false;
    rte_eth_dev_info info_;
    std::string name_;
    std::string driver_;
    int numa_node_;
    request asked_;
    mac_address mac_;
    std::uint16_t mtu_ = 0;
    std::uint32_t buffer_room_ = 0;
    transmit_facts offloads_;
    std::vector<std::uint8_t> key_;
    std::unique_ptr<const toeplitz> hash_;
    bool spread_v4_ = false;
    bool spread_v6_ = false;
    std::unique_ptr<std::atomic<std::uint16_t>[]> reta_;
    std::atomic<std::uint32_t> reta_size_{0};  // 0: not known
    std::size_t reta_room_ = 0;                // entries of the device, or of spread_by()
    std::function<result<void>(std::span<const std::uint16_t>)> move_;
    std::vector<capability_row> capabilities_;
    std::vector<std::string> notes_;
};

}  // namespace skua::port
