// The way of a packet out: route, fragment, neighbour, frame, transmit. All of its order stands in tx_path.cc.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "net/context.hh"
#include "net/fragmentation.hh"
#include "net/ip_output.hh"
#include "net/neighbour.hh"
#include "net/path_mtu.hh"
#include "net/sender.hh"
#include "packet/packet.hh"
#include "shard/attachment.hh"
#include "shard/counters.hh"
#include "shard/mailbox.hh"

namespace skua::shard {

inline constexpr unsigned burst_size = 32;

/// One per shard; used by its thread only.
class tx_path final : public net::sender {
public:
    tx_path(std::uint16_t shard, exchange& peers, const attachments& ports, net::neighbour_table& neighbours,
            const net::path_mtu_cache& path_mtus, rte_mempool* pool, random_source& random, counters& counts);
    ~tx_path();

    /// The pictures of this poll; they must outlive every call until the next begin().
    void begin(const net::context& context) { context_ = &context; }

    void output(packet::packet datagram, std::uint32_t out_ifindex) override;
    void transmit(packet::packet frame, const net::interface& out) override;
    void drop(packet::packet p, drop_reason why) override;
    packet::packet allocate(std::uint32_t length) override { return packet::allocate(pool_, length); }

    /// For shard 0: a datagram that another shard could not resolve.
    void resolve(packet::packet datagram, std::uint32_t out_ifindex);
    /// Hands what was gathered to the ports and to other shards. What a port does not take is dropped and counted.
    void flush();
    /// Datagrams for our own addresses, for the rx path; IP header first.
    unsigned take_looped(std::span<rte_mbuf*> out);
    /// Library mode: frames for ports without a device.
    unsigned take_frames(std::span<rte_mbuf*> out);
    /// To another shard with an errand; dropped and counted if its ring is full.
    void hand_over(packet::packet p, std::uint16_t to, packet::errand what);
    unsigned shards() const { return peers_.shards(); }

private:
    void emit(packet::packet datagram, const net::path& way);
    void frame(packet::packet datagram, const net::path& way);
    void loop_back(packet::packet datagram, std::uint32_t ifindex);
    void unresolved(packet::packet datagram, const net::path& way);
    using batch = std::vector<rte_mbuf*>;
    void flush_port(std::size_t index);
    void flush_shard(std::uint16_t to);
    /// Drops and counts a batch from place `from` on, and empties it.
    void give_up(batch& of, unsigned from, drop_reason why);

    const std::uint16_t shard_;
    exchange& peers_;
    const attachments& ports_;
    net::neighbour_table& neighbours_;
    const net::path_mtu_cache& path_mtus_;
    rte_mempool* const pool_;
    counters& counts_;
    net::identifications identifications_;
    const net::context* context_ = nullptr;
    std::vector<batch> port_batches_;   // by attachment
    std::vector<batch> shard_batches_;  // by shard
    batch looped_;
};

}  // namespace skua::shard
