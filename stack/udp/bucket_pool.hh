// Buckets that some members of a group share by weight.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace skua::udp {

struct pcb;

/// Numbers every placing of a socket in the tables: the larger was placed later.
using place_order = std::uint64_t;

/// Webster's method: no move of one bucket makes the shares more even. Who comes or goes moves no bucket between the
/// others. Used by the one writer; the array that readers look at is given along.
class bucket_pool {
public:
    using owners = std::atomic<pcb*>*;

    /// What one member has of it. Belongs to the member; in the pool between enter() and quit().
    struct share {
        pcb* who = nullptr;
        place_order order = 0;
        std::uint32_t weight = 0;  // 0: no buckets while another has weight
        std::vector<std::uint32_t> owned = {};
    };

    /// It may own buckets already.
    void enter(share& s) {
        count_++;
        rank(s);
    }
    /// Gives its buckets to those that have least for their weight; if nobody has any, to `heir`.
    void quit(share& s, share* heir, owners of);
    /// Adds a bucket to a share.
    void give(std::uint32_t bucket, share& to, owners of);
    /// Adds a bucket to the share that should have it.
    void give(std::uint32_t bucket, share* heir, owners of) { give(bucket, taker(heir), of); }
    /// Moves buckets to this share, or from it, until no move would make the shares more even. The others' are.
    void settle(share& s, owners of);
    /// The same for all.
    void level(owners of);
    template <class Change>
    void change(share& s, Change&& how) {
        unrank(s);
        how(s);
        rank(s);
    }
    std::size_t count() const { return count_; }

private:
    /// What a share has for its weight: twice its buckets, less one (what it has to give) or more one (what it may
    /// take), over the weight. A move from a to b is right while a has more to give than b may take.
    struct load {
        std::uint64_t buckets;
        std::uint32_t weight;
        place_order order;
        share* who;
        static load to_give(share& s) { return {2 * s.owned.size() - 1, s.weight, s.order, &s}; }
        static load to_take(share& s) { return {2 * s.owned.size() + 1, s.weight, s.order, &s}; }
        bool exceeds(const load& b) const { return buckets * b.weight > b.buckets * weight; }
        friend bool operator<(const load& a, const load& b) {
            if (a.exceeds(b) != b.exceeds(a)) return b.exceeds(a);
            return a.order < b.order;
        }
    };
    void rank(share& s);
    void unrank(share& s);
    void hand_over(share& from, share& to, owners of);
    share& taker(share* heir) const { return takers_.empty() ? *heir : *takers_.begin()->who; }

    std::set<load> givers_;  // with buckets; the last has most to give
    std::set<load> takers_;  // with weight; the first may take first
    std::size_t count_ = 0;
};

}  // namespace skua::udp
