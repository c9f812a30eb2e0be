// A hash table for many entries: any number of RCU readers beside one writer at a time. It grows by a bucket at a time,
// while in use, and no operation takes longer for it.
//
// A bucket is a cache line of seven words, each a pointer with 16 bits of its hash; what has no place goes into further
// lines behind it. Linear hashing (Litwin 1980): when there are more than `load` entries for each bucket the next one
// in turn is split, so a bucket's entries are never far from what the hash spreads, and growth copies a few words.
//
// A reader looks into one bucket, the one that its hash belonged to when it began. A split fills the new bucket before
// readers can see it and leaves the words in the old one, which only those match who began before; they are cleared
// when readers of that moment are gone. Words never change place. So a reader meets each entry that stays there exactly
// once, however the table grows meanwhile.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "base/lines.hh"
#include "base/rcu.hh"

namespace skua {

/// `HashOf` tells the hash of a Node; it must not change while the node is in. The table does not own nodes.
template <class Node, class HashOf>
class rcu_buckets {
public:
    /// Entries for each bucket, on average. Four of five have their place in the bucket's own line even just before it
    /// is split.
    static constexpr std::size_t load = 3;

    rcu_buckets(rcu_domain& rcu, HashOf hash_of, std::size_t expected = 0)
        : rcu_(rcu), hash_of_(std::move(hash_of)), settled_(std::bit_ceil(std::max<std::size_t>(expected / load, 16))) {
        for (std::size_t i = 0; i < settled_; i++) add_bucket(i);
        awaited_ = settled_;
        shape_.store(shape_of(settled_), std::memory_order_release);
    }
    ~rcu_buckets() {
        for (std::size_t i = 0; i < buckets(); i++)
            for (bucket* b = at(i).more.load(std::memory_order_relaxed); b != nullptr;)
                delete std::exchange(b, b->more.load(std::memory_order_relaxed));
    }
    rcu_buckets(const rcu_buckets&) = delete;
    rcu_buckets& operator=(const rcu_buckets&) = delete;

    // ---- readers ----
    /// Brings the bucket of `hash` nearer; for bursts.
    void prefetch(std::uint32_t hash) const { __builtin_prefetch(&bucket_of(hash)); }
    /// The first node that may have this hash, of those in the bucket's own line: nearly always the one that is meant.
    /// Or nullptr.
    Node* first(std::uint32_t hash) const {
        const bucket& b = bucket_of(hash);
        const unsigned tagged = b.tagged(tag_of(hash));
        return tagged != 0 ? b.node(static_cast<unsigned>(std::countr_zero(tagged))) : nullptr;
    }
    /// Nodes that may have this hash, in no order, as long as `visit` returns true: all that have it, and one in 32,768
    /// others of the bucket.
    template <class Visit>
    void for_each(std::uint32_t hash, Visit&& visit) const {
        const bucket* b = &bucket_of(hash);
        do {
            for (unsigned left = b->tagged(tag_of(hash)); left != 0; left &= left - 1)
                if (Node* const n = b->node(static_cast<unsigned>(std::countr_zero(left))); n && !visit(*n)) return;
            b = b->more.load(std::memory_order_acquire);
        } while (b != nullptr);
    }

    // ---- writer ----
    void insert(Node& n) {
        tidy();
        if (++size_ > buckets() * load) split();
        const std::uint32_t hash = hash_of_(n);
        put(at(index_of(hash)), word_of(n, hash));
    }
    /// The node may be freed once readers of this moment are gone. One that is not in is left alone.
    void remove(Node& n) {
        tidy();
        const std::uint32_t hash = hash_of_(n);
        std::size_t i = index_of(hash);
        if (!swap(at(i), word_of(n, hash), 0)) return;
        --size_;
        // What a split left behind.
        while (i >= settled_) swap(at(i = parent_of(i)), word_of(n, hash), 0);
    }
    /// Puts `by`, of the same hash, in the place of `n`: a reader meets one of the two, never both.
    void replace(Node& n, Node& by) {
        const std::uint32_t hash = hash_of_(n);
        std::size_t i = index_of(hash);
        swap(at(i), word_of(n, hash), word_of(by, hash));
        while (i >= settled_) swap(at(i = parent_of(i)), word_of(n, hash), word_of(by, hash));
    }
    std::size_t size() const { return size_; }
    std::size_t buckets() const { return shape_.load(std::memory_order_relaxed) & 0xffffffffu; }
    /// Cache lines that hold entries of the bucket of `hash`: what a reader walks who finds nothing.
    std::size_t lines_of(std::uint32_t hash) const {
        std::size_t n = 0;
        for (const bucket* b = &bucket_of(hash); b != nullptr; b = b->more.load(std::memory_order_acquire)) ++n;
        return n;
    }

private:
    static constexpr unsigned tag_shift = 48;                                  // user space ends below 2^48
    static constexpr std::size_t piece = 1u << 17, most_buckets = piece << 8;  // for 100 million entries
    struct alignas(cache_line) bucket {
        std::array<std::atomic<std::uint64_t>, 7> places{};  // 0: empty
        std::atomic<bucket*> more{nullptr};

        /// The places with this tag, as bits. Without a branch: where an entry stands is anybody's guess.
        unsigned tagged(std::uint64_t tag) const {
            unsigned bits = 0;
#pragma GCC unroll 7
            for (unsigned i = 0; i < places.size(); i++)
                bits |= unsigned(places[i].load(std::memory_order_acquire) >> tag_shift == tag) << i;
            return bits;
        }
        /// What stands at a place now; nullptr: nothing any more.
        Node* node(unsigned place) const { return node_of(places[place].load(std::memory_order_acquire)); }
    };
    static_assert(sizeof(bucket) == cache_line);

    static constexpr std::uint64_t tag_of(std::uint32_t hash) {
        return hash >> 16 | 0x8000;
    }  // never that of an empty place
    static std::uint64_t word_of(const Node& n, std::uint32_t hash) {
        return reinterpret_cast<std::uintptr_t>(&n) | tag_of(hash) << tag_shift;
    }
    static Node* node_of(std::uint64_t word) {
        return reinterpret_cast<Node*>(word & ((std::uint64_t(1) << tag_shift) - 1));
    }
    /// The number of buckets, and above it the mask of the hash bits that choose among them; the highest of these
    /// counts for those buckets only that are there already.
    static std::uint64_t shape_of(std::size_t n) { return std::uint64_t(std::bit_ceil(n) - 1) << 32 | n; }
    std::size_t index_of(std::uint32_t hash) const {
        const std::uint64_t shape = shape_.load(std::memory_order_acquire);
        const std::uint32_t n = static_cast<std::uint32_t>(shape), mask = static_cast<std::uint32_t>(shape >> 32);
        const std::uint32_t i = hash & mask;
        return i < n ? i : i & mask >> 1;
    }
    bucket& at(std::size_t i) const { return pieces_[i / piece][i % piece]; }
    const bucket& bucket_of(std::uint32_t hash) const { return at(index_of(hash)); }
    /// The bucket that i was split from.
    static std::size_t parent_of(std::size_t i) { return i ^ std::bit_floor(i); }
    /// Does a node belong into bucket i rather than into the one that i was, or is being, split from?
    bool belongs(std::uint64_t word, std::size_t i) const {
        return (hash_of_(*node_of(word)) & (2 * std::bit_floor(i) - 1)) == i;
    }

    static bool put_in(bucket* b, std::uint64_t word) {
        if (b == nullptr) return false;
        for (auto& place : b->places)
            if (place.load(std::memory_order_relaxed) == 0) {
                place.store(word, std::memory_order_release);
                return true;
            }
        return false;
    }
    /// Into the bucket's own line, or the one behind it: how long the chain is does not matter.
    void put(bucket& first, std::uint64_t word) {
        bucket* const next = first.more.load(std::memory_order_relaxed);
        if (put_in(&first, word) || put_in(next, word)) return;
        auto* const more = new bucket;
        more->places[0].store(word, std::memory_order_relaxed);
        more->more.store(next, std::memory_order_relaxed);
        first.more.store(more, std::memory_order_release);
    }
    /// Writes `to` over `word`, wherever it stands behind `first`; 0 empties the place. Was it there?
    bool swap(bucket& first, std::uint64_t word, std::uint64_t to) {
        bucket* before = nullptr;
        for (bucket* b = &first; b != nullptr; before = std::exchange(b, b->more.load(std::memory_order_relaxed)))
            for (auto& place : b->places)
                if (place.load(std::memory_order_relaxed) == word) {
                    place.store(to, std::memory_order_release);
                    if (to == 0 && before != nullptr) drop_if_empty(*before, *b);
                    return true;
                }
        return false;
    }
    void drop_if_empty(bucket& before, bucket& b) {
        for (const auto& place : b.places)
            if (place.load(std::memory_order_relaxed) != 0) return;
        before.more.store(b.more.load(std::memory_order_relaxed), std::memory_order_release);
        rcu_.retire(std::unique_ptr<bucket>(&b));
    }

    bucket& add_bucket(std::size_t i) {
        if (i % piece == 0) {
            // The first in small pages to begin with, so that a small table takes little.
            memory_[i / piece] = allocate_lines(piece * sizeof(bucket), i == 0 ? 2u << 20 : 0);
            pieces_[i / piece] = static_cast<bucket*>(memory_[i / piece].get());
        }
        return *new (&at(i)) bucket;
    }
    /// Adds a bucket, with what belongs there from its parent.
    void split() {
        const std::size_t n = buckets();
        if (n == most_buckets) return;
        bucket& fresh = add_bucket(n);
        for (bucket* b = &at(parent_of(n)); b != nullptr; b = b->more.load(std::memory_order_relaxed))
            for (auto& place : b->places)
                if (const std::uint64_t word = place.load(std::memory_order_relaxed); word != 0 && belongs(word, n))
                    put(fresh, word);
        shape_.store(shape_of(n + 1), std::memory_order_release);
    }
    /// Clears what splits left behind, once nobody looks for it there; a few at a time.
    void tidy() {
        if (settled_ == buckets()) return;
        if (settled_ == awaited_) {
            awaited_ = buckets();
            readers_ = rcu_.start();
        }
        if (!rcu_.passed(readers_)) return;
        for (unsigned n = 0; n < 4 && settled_ < awaited_; n++, settled_++) {
            bucket& parent = at(parent_of(settled_));
            bucket* before = nullptr;
            for (bucket* b = &parent; b != nullptr;) {
                for (auto& place : b->places)
                    if (const auto word = place.load(std::memory_order_relaxed); word != 0 && belongs(word, settled_))
                        place.store(0, std::memory_order_release);
                bucket* const next = b->more.load(std::memory_order_relaxed);
                if (before != nullptr) drop_if_empty(*before, *b);
                if (before == nullptr || before->more.load(std::memory_order_relaxed) == b) before = b;
                b = next;
            }
        }
    }

    rcu_domain& rcu_;
    const HashOf hash_of_;
    std::array<lines, most_buckets / piece> memory_;
    std::size_t size_ = 0;
    std::size_t settled_;        // all before it have nothing left in their parents
    std::size_t awaited_ = 0;    // all before it were there when `readers_` began to read
    std::uint64_t readers_ = 0;  // token
    // Readers', apart from what each insertion changes.
    alignas(cache_line) std::atomic<std::uint64_t> shape_{0};
    std::array<bucket*, most_buckets / piece> pieces_{};
};

}  // namespace skua
