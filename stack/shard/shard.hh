// A shard: all the state that one polling lcore owns, and the one function that moves it on.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

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
#include "udp/marked_flows.hh"
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
    const udp::marked_flows& marks;
};

/// Work of others in each turn of a shard.
class guest {
public:
    /// On the shard's thread, under RCU. Returns the packets moved.
    virtual unsigned poll(class shard& on) = 0;

protected:
    ~guest() = default;
};

struct shard_options {
    std::uint16_t index = 0;
    unsigned burst = burst_size;  // packets taken from an RX queue at once, at most burst_size
    rte_mempool* pool = nullptr;
    attachments ports;
    net::reassembly_options reassembly;
    net::icmp_limits icmp;
};

/// What a shard takes in from outside: out of its RX queues, from threads that send, and from itself. Other shards are
/// served always.
enum class intake : std::uint8_t {
    open,
    draining,  // as open; reached when all has been taken that its queues held when it was told
    held,      // frames are kept as they came: a number for each port, the rest stays in the queue
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

    // ---- any thread, while it polls ----
    void set_intake(intake how);
    /// What set_intake() said last has been so for a whole turn, or with draining is done.
    bool intake_reached() const {
        return intake_reached_.load(std::memory_order_acquire) == intake_wanted_.load(std::memory_order_relaxed);
    }
    /// No flows come in here for now: its thread may sleep between two polls.
    void set_resting(bool rests) { resting_.store(rests, std::memory_order_relaxed); }
    bool resting() const { return resting_.load(std::memory_order_relaxed); }

    /// Any thread. nullptr: nobody; the one before must not go until the shard has turned once more, or stopped.
    void set_guest(guest* g) { guest_.store(g, std::memory_order_release); }

    std::uint16_t index() const { return index_; }
    rte_mempool* pool() const { return pool_; }
    counters& counts() { return counts_; }
    const counters& counts() const { return counts_; }
    const net::reassembler& reassembly() const { return reassembly_; }

private:
    /// Reads the shared pictures for this turn.
    void begin(time_point now);
    unsigned poll_ports();
    void follow_intake();
    void confirm_intake();
    void keep(std::size_t port, std::span<rte_mbuf*> frames);
    void note_drained(std::size_t port, unsigned taken);
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
    // The number of the order, and the intake in its lowest bits.
    std::atomic<std::uint32_t> intake_wanted_{0};
    std::atomic<std::uint32_t> intake_reached_{0};
    std::atomic<bool> resting_{false};
    intake intake_ = intake::open;
    std::uint32_t intake_order_ = 0;
    /// Of one port, by place in ports_.
    struct queue_state {
        std::vector<rte_mbuf*> kept;  // from `next` on, oldest first
        std::size_t next = 0;
        std::uint32_t to_drain = 0;  // frames that its queue may still hold from before
    };
    std::vector<queue_state> queues_;
    time_point next_reclaim_{};
    std::atomic<guest*> guest_{nullptr};
};

}  // namespace skua::shard
