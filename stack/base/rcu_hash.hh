// A hash table that any number of RCU readers walk while one writer at a time changes it. Grows without stopping
// readers.
//
// A node has two links. The table in use goes by one of them; a larger table is threaded through the other and then
// published, so readers of either see whole chains. The next growth waits until readers of the older table are gone.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/rcu.hh"

namespace skua {

/// Base of what is kept in an rcu_hash.
template <class Node>
struct rcu_hash_node {
    std::atomic<Node*> links[2] = {nullptr, nullptr};
    std::uint32_t hash = 0;
};

template <class Node>
class rcu_hash {
public:
    rcu_hash(rcu_domain& rcu, std::size_t expected = 16)
        : rcu_(rcu), current_(new table(std::bit_ceil(std::max<std::size_t>(expected, 16)), 0)) {}
    ~rcu_hash() { delete current_.load(std::memory_order_relaxed); }
    rcu_hash(const rcu_hash&) = delete;
    rcu_hash& operator=(const rcu_hash&) = delete;

    /// Brings the slot of `hash` nearer; for bursts.
    void prefetch(std::uint32_t hash) const {
        __builtin_prefetch(&current_.load(std::memory_order_acquire)->slot(hash));
    }
    /// Brings the slot's first node nearer, once the slot itself is here.
    void prefetch_first(std::uint32_t hash) const {
        const Node* n = current_.load(std::memory_order_acquire)->slot(hash).load(std::memory_order_acquire);
        for (std::size_t at = 0; n && at < sizeof(Node); at += 64)
            __builtin_prefetch(reinterpret_cast<const std::byte*>(n) + at);
    }
    /// Reader: the first node of the slot that `matches`, in the slot's order, or nullptr.
    template <class Matches>
    Node* find(std::uint32_t hash, Matches&& matches) const {
        Node* found = nullptr;
        for_each(hash, [&](Node& n) {
            if (!matches(n)) return true;
            found = &n;
            return false;
        });
        return found;
    }
    /// Reader: every node of `hash`, in the slot's order, as long as `visit` returns true.
    template <class Visit>
    void for_each(std::uint32_t hash, Visit&& visit) const {
        const table* t = current_.load(std::memory_order_acquire);
        for (Node* n = t->slot(hash).load(std::memory_order_acquire); n;
             n = n->links[t->link].load(std::memory_order_acquire))
            if (n->hash == hash && !visit(*n)) return;
    }
    /// Every node, in no order. A reader may miss nodes that come or go meanwhile.
    template <class Visit>
    void for_all(Visit&& visit) const {
        const table* t = current_.load(std::memory_order_acquire);
        for (std::size_t i = 0; i < t->size; i++)
            for (Node* n = t->slots[i].load(std::memory_order_acquire); n;) {
                Node* next = n->links[t->link].load(std::memory_order_acquire);
                visit(*n);
                n = next;
            }
    }

    /// Writer: puts a node (its hash set) at the head of its slot. The table does not own nodes.
    void insert_front(Node& n) {
        grow_if_crowded();
        table& t = *current_.load(std::memory_order_relaxed);
        auto& head = t.slot(n.hash);
        n.links[t.link].store(head.load(std::memory_order_relaxed), std::memory_order_relaxed);
        head.store(&n, std::memory_order_release);
        ++size_;
    }
    /// Writer: puts a node at the tail of its slot.
    void insert_back(Node& n) {
        grow_if_crowded();
        table& t = *current_.load(std::memory_order_relaxed);
        auto* at = &t.slot(n.hash);
        while (Node* next = at->load(std::memory_order_relaxed)) at = &next->links[t.link];
        n.links[t.link].store(nullptr, std::memory_order_relaxed);
        at->store(&n, std::memory_order_release);
        ++size_;
    }
    /// Writer: takes a node out. It may be freed (retire) or linked anew only after readers of this moment are gone.
    void remove(Node& n) {
        table& t = *current_.load(std::memory_order_relaxed);
        auto* at = &t.slot(n.hash);
        while (Node* here = at->load(std::memory_order_relaxed)) {
            if (here == &n) {
                at->store(n.links[t.link].load(std::memory_order_relaxed), std::memory_order_release);
                --size_;
                return;
            }
            at = &here->links[t.link];
        }
    }
    /// Writer's view.
    std::size_t size() const { return size_; }
    std::size_t slots() const { return current_.load(std::memory_order_relaxed)->size; }

private:
    static constexpr std::size_t growth = 4;  // times as many slots, a power of two

    struct table {
        table(std::size_t n, unsigned which) : size(n), link(which), slots(new std::atomic<Node*>[n]) {
            for (std::size_t i = 0; i < n; i++) slots[i].store(nullptr, std::memory_order_relaxed);
        }
        std::atomic<Node*>& slot(std::uint32_t hash) const { return slots[hash & (size - 1)]; }
        const std::size_t size;
        const unsigned link;
        const std::unique_ptr<std::atomic<Node*>[]> slots;
    };

    void grow_if_crowded() {
        table& old = *current_.load(std::memory_order_relaxed);
        // Readers of the last table but one may still walk the links that a new table would use.
        if (size_ < old.size || !rcu_.passed(last_growth_)) return;
        auto* bigger = new table(old.size * growth, 1 - old.link);
        for (std::size_t i = 0; i < old.size; i++) {
            // Slot i parts into slots i, i + old.size, ... of the larger table. Appending keeps the order of each.
            std::atomic<Node*>* tails[growth];
            for (std::size_t part = 0; part < growth; part++) tails[part] = &bigger->slots[i + part * old.size];
            for (Node* n = old.slots[i].load(std::memory_order_relaxed); n;
                 n = n->links[old.link].load(std::memory_order_relaxed)) {
                auto*& tail = tails[n->hash / old.size % growth];
                n->links[bigger->link].store(nullptr, std::memory_order_relaxed);
                tail->store(n, std::memory_order_relaxed);
                tail = &n->links[bigger->link];
            }
        }
        current_.store(bigger, std::memory_order_release);
        rcu_.retire(std::unique_ptr<table>(&old));
        last_growth_ = rcu_.start();
    }

    rcu_domain& rcu_;
    std::atomic<table*> current_;
    std::uint64_t last_growth_ = 0;
    std::size_t size_ = 0;
};

}  // namespace skua
