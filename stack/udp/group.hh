// SO_REUSEPORT groups: the sockets that share one local address and port, and which of them a flow belongs to.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "base/rcu.hh"
#include "udp/bind_rules.hh"
#include "udp/bucket_pool.hh"
#include "udp/spread.hh"

namespace skua::udp {

class selector;
class generations;
struct lookup_key;

/// Sockets and the buckets that flows fall into, shared out by weight (Webster's method: with equal weights no two
/// differ by more than one bucket). A join takes buckets from those that have most for their weight and touches no
/// other; a leave gives the leaver's to those that have least: the joiner's or leaver's share of the flows moves.
///
/// Where it is known on which shard a bucket's flows come in, the bucket belongs to a member that is at home there, so
/// that its datagrams cross no core: the members of one shard share its buckets, and all members those of the shards
/// where nobody is at home. The shares are then as even as the members' weights are over the shards.
///
/// One writer, any number of RCU readers.
class member_table {
public:
    /// `over` is followed by align(); nullptr: not known.
    explicit member_table(rcu_domain& rcu, const spread* over = nullptr) : rcu_(rcu), spread_(over) {}
    ~member_table();
    member_table(const member_table&) = delete;
    member_table& operator=(const member_table&) = delete;

    /// 512 from the second member on; doubled, which moves no flow, whenever there would be fewer than two for each
    /// unit of weight, up to the largest.
    static constexpr std::size_t least_buckets = 512, most_buckets = 131072;

    // ---- writer ----
    void join(pcb& p, place_order order, std::uint32_t weight = 1);
    /// A member of weight 0 has no buckets while another has weight.
    void set_weight(pcb& p, std::uint32_t weight);
    /// A reader may still pick the leaver until readers of this moment are gone.
    void leave(pcb& p);
    /// After the spread, or the home of members, was changed: moves the buckets that it must.
    void align();
    const spread* over() const { return spread_; }
    std::size_t size() const { return seats_.size(); }
    std::size_t bucket_count() const;
    /// Members at home on a shard.
    std::size_t living_on(std::uint16_t shard) const { return shard < living_.size() ? living_[shard] : 0; }
    place_order order_of(pcb& p) const { return seats_.at(&p).common.order; }

    // ---- readers; only while there are members ----
    /// The low bits choose, as a NIC's redirection table does, so that bucket and receive queue can be made to agree.
    pcb* pick(std::uint32_t hash) const {
        const buckets* b = buckets_.load(std::memory_order_acquire);
        return b->owner[hash & b->mask].load(std::memory_order_acquire);
    }
    /// The member at a place: in the order of joining, the last takes the place of one that leaves. nullptr: none
    /// there.
    pcb* at(std::uint32_t place) const {
        const roster* r = roster_.load(std::memory_order_acquire);
        return place < r->count.load(std::memory_order_acquire) ? r->members[place].load(std::memory_order_acquire)
                                                                : nullptr;
    }
    /// A leave meanwhile may hide one member from this walk.
    template <class Visit>
    void for_each(Visit&& visit) const {
        const roster* r = roster_.load(std::memory_order_acquire);
        const std::uint32_t n = r->count.load(std::memory_order_acquire);
        for (std::uint32_t i = 0; i < n; i++) visit(*r->members[i].load(std::memory_order_acquire));
    }
    std::uint32_t count() const {
        return roster_.load(std::memory_order_acquire)->count.load(std::memory_order_acquire);
    }
    /// Of the member placed first, and of the one placed last.
    place_order first_placed() const { return first_placed_.load(std::memory_order_relaxed); }
    place_order last_placed() const { return last_placed_.load(std::memory_order_relaxed); }

private:
    struct buckets {
        explicit buckets(std::size_t n) : mask(static_cast<std::uint32_t>(n - 1)), owner(new std::atomic<pcb*>[n]) {}
        const std::uint32_t mask;
        const std::unique_ptr<std::atomic<pcb*>[]> owner;
    };
    struct roster {
        explicit roster(std::size_t n) : capacity(n), members(new std::atomic<pcb*>[n]) {}
        const std::size_t capacity;
        std::atomic<std::uint32_t> count{0};
        const std::unique_ptr<std::atomic<pcb*>[]> members;
    };
    struct seat {
        std::uint32_t at;                // in the roster
        std::uint16_t lives = 0;         // its home as living_ counts it
        std::uint16_t home = 0;          // the shard whose buckets it shares in
        bucket_pool::share own = {};     // of its home
        bucket_pool::share common = {};  // of shards where nobody is at home
    };

    void grow_buckets(std::size_t to);
    void grow_roster();
    void note_orders();
    std::size_t wanted_buckets() const;
    bucket_pool::owners owners() const { return buckets_.load(std::memory_order_relaxed)->owner.get(); }
    bool aligned() const { return spread_ && spread_->known(); }
    std::uint16_t home_of(const pcb& p) const;
    void count_home(seat& s);
    bucket_pool& pool_of(std::uint32_t bucket);
    void deal();

    rcu_domain& rcu_;
    const spread* const spread_;
    std::atomic<buckets*> buckets_{nullptr};
    std::atomic<roster*> roster_{nullptr};
    std::atomic<place_order> first_placed_{0};
    std::atomic<place_order> last_placed_{0};
    // writer
    std::map<pcb*, seat> seats_;
    std::vector<seat*> seat_at_;                  // as the roster
    std::vector<std::uint32_t> living_;           // by shard
    std::map<std::uint16_t, bucket_pool> homes_;  // of the shards where somebody of weight is at home
    bucket_pool common_;
    std::uint64_t weight_ = 0;
    std::set<place_order> orders_;
};

/// Members by a shard of theirs.
class shard_tables {
public:
    /// Higher ones name no shard: a packet's is kept in 8 bits.
    static constexpr std::size_t shards = 256;

    explicit shard_tables(rcu_domain& rcu) : rcu_(rcu) {}

    // ---- writer ----
    /// From wherever it was; beyond the shards: nowhere.
    void put(pcb& p, place_order order, std::int32_t shard);
    void drop(pcb& p);
    bool empty() const { return shard_of_.empty(); }

    // ---- readers ----
    /// nullptr: nobody is there.
    const member_table* at(std::uint16_t shard) const {
        return shard < shards ? tables_[shard].load(std::memory_order_acquire) : nullptr;
    }

private:
    rcu_domain& rcu_;
    std::array<std::atomic<member_table*>, shards> tables_{};
    // writer
    std::map<std::uint8_t, std::unique_ptr<member_table>> by_shard_;
    std::map<pcb*, std::uint8_t> shard_of_;
};

/// A group. It has one entry in the lookup tables, however many members.
class group {
public:
    /// Linux: num_socks is 16 bits.
    static constexpr std::size_t most_members = 65535;

    group(rcu_domain& rcu, const bind_facts& facts, const spread* over = nullptr)
        : facts_(facts), rcu_(rcu), all_(rcu, over) {}
    group(const group&) = delete;
    group& operator=(const group&) = delete;

    // ---- writer: reads the (control) fields of its members ----
    void join(pcb& p, place_order order);
    void leave(pcb& p);
    /// After a member's hint or weight was changed.
    void update(pcb& p, place_order order);
    /// After the spread, or the homes of these members, were changed.
    void align(const std::vector<pcb*>& moved = {});
    std::size_t size() const { return all_.size(); }
    std::size_t bucket_count() const { return all_.bucket_count(); }
    /// Of these shards, the one where fewest members are at home.
    std::uint16_t emptiest(const std::vector<std::uint16_t>& shards) const;
    bool hinted() const { return hint_tables_ && !hint_tables_->empty(); }
    const bind_facts& facts() const { return facts_; }
    /// nullptr: the buckets choose.
    void set_selector(std::shared_ptr<const selector> s);
    const std::shared_ptr<const selector>& chosen_by() const { return selector_; }
    /// Its members' flows outlive upgrades from now on: `g` chooses, and knows every member as long as the group lives.
    void set_generations(std::shared_ptr<generations> g);
    const std::shared_ptr<generations>& by_generation() const { return generations_; }

    // ---- readers ----
    /// Of a packet that the group won.
    pcb* receiver(const lookup_key& key) const;
    /// Before receiver(), of a burst.
    void prefetch(std::span<const lookup_key> keys) const;
    /// Packets that the selector had no answer for; the buckets chose. Counted where they are delivered
    /// (lookup_key::looks_on).
    std::uint64_t fallbacks() const { return fallbacks_.load(std::memory_order_relaxed); }
    /// Those that score best for a packet on this shard: the members that asked for it (SO_INCOMING_CPU), or all.
    const member_table& best_for(std::uint16_t shard) const {
        const auto* h = hints_.load(std::memory_order_acquire);
        const auto* t = h ? h->at(shard) : nullptr;
        return t ? *t : all_;
    }
    bool prefers(std::uint16_t shard) const { return &best_for(shard) != &all_; }
    const member_table& all() const { return all_; }

private:
    void place_by_shard(pcb& p, place_order order);

    const bind_facts facts_;
    rcu_domain& rcu_;
    member_table all_;
    std::atomic<const shard_tables*> hints_{nullptr};
    std::atomic<const shard_tables*> homes_{nullptr};  // while the selector wants them
    std::atomic<const selector*> select_{nullptr};
    mutable std::atomic<std::uint64_t> fallbacks_{0};  // raised by any shard
    // writer
    std::shared_ptr<const selector> selector_;
    std::shared_ptr<generations> generations_;
    std::unique_ptr<shard_tables> hint_tables_;
    std::unique_ptr<shard_tables> home_tables_;
};

}  // namespace skua::udp
