// Where flows come in and where sockets are at home, and how both move while packets flow.
//
// A move never lets a datagram overtake an older one of its flow:
//   1. for each port, shards that will gain entries of the redirection table are held: what they receive is kept as it
//      came. The table is changed. Shards that lost entries take what their queues still hold, and what they hand to
//      others is waited for. Then the held ones go on, with what they kept first;
//   2. all shards are held, until no packet is on its way between two of them. Sockets get their new homes and groups
//      their new buckets;
//   3. where rte_flow rules brought packets to a home that is left, they go to the new one now. So, as in step 1, the
//      old homes take what their queues still hold and hand it on, before all go on.
// Fragmented datagrams are not part of the promise: NICs themselves let them be overtaken.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hh"
#include "base/result.hh"
#include "control/config.hh"
#include "port/port.hh"
#include "shard/mailbox.hh"
#include "shard/shard.hh"
#include "udp/tables.hh"

namespace skua::control {

/// Everything but active() by one thread at a time.
class steering {
public:
    /// Hears of each socket that moves, under the tables' lock; gives the shard to which rules brought its packets.
    using rehomed_call = std::function<std::optional<std::uint16_t>(udp::pcb&)>;

    steering(steering_rule rule, const std::vector<std::unique_ptr<port::port>>& ports,
             const std::vector<std::unique_ptr<shard::shard>>& shards, shard::exchange& mailboxes, udp::tables& tables,
             rehomed_call rehomed = {});

    /// Begins to give each shard `weights[i]` parts of the flows; 0: none, its sockets move to others and it rests.
    /// Errors: EINVAL as many weights as shards are needed, one of them not 0; EBUSY a move is under way; ENOTSUP see
    /// obstacle().
    result<void> begin(std::vector<std::uint32_t> weights);
    /// One step; never waits. True: nothing is under way. How the last move ended stands in outcome(): an error of
    /// port::steer() leaves the ports before it moved, and homes and groups as they were.
    bool advance(time_point now);
    result<void> outcome() const { return outcome_; }
    /// Gives up a move: all shards go on.
    void abandon();

    /// The first port that cannot move, and why; empty: all can.
    std::string obstacle() const;
    /// Shards with flows.
    unsigned active() const { return active_.load(std::memory_order_relaxed); }
    std::uint16_t nth_active(std::size_t n) const;
    /// Tells the groups where flows come in, as far as all ports agree.
    void align();
    /// The shares that the largest group would have: its members at home on each shard. Empty: there is no group,
    /// or a shard where it has none (which would rest, and then get no new members either).
    std::vector<std::uint32_t> weights_of_groups() const;
    steering_rule rule() const { return rule_; }
    const std::vector<std::uint32_t>& weights() const { return weights_; }
    /// Why groups do not follow the table; empty: they do.
    const std::string& not_aligned() const { return not_aligned_; }

private:
    enum class phase : std::uint8_t { idle, holding, waiting, draining, passing, quieting };
    struct mark {
        unsigned from, to;
        std::uint32_t at;
    };

    bool reached(const std::vector<unsigned>& shards) const;
    void set(const std::vector<unsigned>& shards, shard::intake how);
    void note_turns();
    bool turned() const;
    void next_port();
    void change_table(time_point now);
    void mark_rings();
    bool marks_passed() const;
    void set_movers(std::vector<unsigned> gainers, std::vector<unsigned> losers);
    void settle(time_point now);
    void conclude();
    void finish(result<void> how);
    std::vector<unsigned> everyone() const;
    void note_active();

    const steering_rule rule_;
    const std::vector<std::unique_ptr<port::port>>& ports_;
    const std::vector<std::unique_ptr<shard::shard>>& shards_;
    shard::exchange& mailboxes_;
    udp::tables& tables_;
    const rehomed_call rehomed_;

    std::vector<std::uint32_t> weights_;  // of the last move
    std::vector<std::uint32_t> wanted_;   // of the one under way
    std::atomic<std::uint64_t> active_set_{0};
    std::atomic<unsigned> active_{0};
    phase phase_ = phase::idle;
    result<void> outcome_;
    std::string not_aligned_;
    std::size_t port_ = 0;  // its place, in step 1
    bool settled_ = false;  // step 3
    std::vector<std::uint16_t> table_;
    std::vector<unsigned> gainers_;
    std::vector<unsigned> losers_;
    std::vector<mark> marks_;
    std::vector<std::uint64_t> turns_;
    time_point changed_at_{};
};

}  // namespace skua::control
