// A shard: all the state that one polling lcore owns, and the one function that moves it on.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/clock.hh"
#include "base/random.hh"
#include "base/rcu.hh"
#include "net/icmp_output.hh"
#include "net/network.hh"
#include "net/reassembly.hh"
#include "port/toeplitz.hh"
#include "shard/attachment.hh"
#include "shard/counters.hh"
#include "shard/mailbox.hh"
#include "shard/rx_path.hh"
#include "shard/tx_path.hh"
#include "udp/tables.hh"

namespace skua::shard {

/// What the shards of one stack share. It outlives them.
struct common {
    rcu_domain& rcu;
    net::network& network;
    net::path_mtu_cache& path_mtus;
    udp::tables& tables;
    exchange& mailboxes;
    const port::toeplitz& hash;
    const net::fragment_homes& fragments;
};

struct shard_options {
    std::uint16_t index = 0;
    unsigned burst = burst_size;  // packets taken from an RX queue at once, at most burst_size
    rte_mempool* pool = nullptr;
    attachments ports;
    net::reassembly_options reassembly;
    net::icmp_limits icmp;
};

/// Belongs to one thread at a time. Time comes in as an argument, so a test can step it.
class shard {
public:
    shard(const common& shared, shard_options options, std::unique_ptr<random_source> random);
    ~shard();  // on the thread that polled it, or after that thread has ended

    /// One turn: receive, serve the mailboxes, do what is due, transmit. Returns the packets moved; 0 = idle.
    unsigned poll_once(time_point now);

    /// Library mode: frames that the application received. Takes all of them, but gives back in `unclaimed` (room for
    /// frames.size(); nullptr: none are given back) those that are not for this stack; returns how many.
    unsigned input(std::span<rte_mbuf*> frames, rte_mbuf** unclaimed, time_point now);
    /// Library mode: frames to be transmitted by the application; mbuf->port says where. The caller owns them.
    unsigned output(std::span<rte_mbuf*> out) { return tx_.take_frames(out); }

    /// For sockets on this shard's thread, between polls or in a receiver: an IP datagram to be sent now.
    void send(packet::packet datagram, std::uint32_t out_ifindex);
    /// Before the thread stops polling for a while: shared tables can be freed without it.
    void rest() { reader_.offline(); }
    void resume() { reader_.online(); }

    std::uint16_t index() const { return index_; }
    rte_mempool* pool() const { return pool_; }
    counters& counts() { return counts_; }
    const counters& counts() const { return counts_; }
    const net::reassembler& reassembly() const { return reassembly_; }

private:
    /// Reads the shared pictures for this turn.
    void begin(time_point now);
    unsigned poll_ports();
    unsigned poll_mailboxes();
    unsigned poll_looped();
    void count_sent(std::span<rte_mbuf* const> datagrams);
    void run_timers(time_point now);

    const std::uint16_t index_;
    const unsigned burst_;
    rte_mempool* const pool_;
    rcu_domain& rcu_;
    rcu_domain::poller reader_;
    net::network& network_;
    exchange& mailboxes_;
    const attachments ports_;
    std::unique_ptr<random_source> random_;
    counters counts_;
    tx_path tx_;
    net::icmp_output icmp_;
    net::reassembler reassembly_;
    rx_path rx_;
    std::optional<net::context> context_;
    time_point next_reclaim_{};
};

}  // namespace skua::shard
