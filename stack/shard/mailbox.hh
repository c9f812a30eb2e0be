// Rings through which packets come to a shard: one from each other shard, and one that any thread may use.
#pragma once

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

namespace skua::shard {

/// A bounded ring of packets with one consumer. It owns what is in it.
class mailbox {
public:
    enum class producers : std::uint8_t { one, many };
    /// `size` is rounded up to a power of two; one place stays empty. Throws std::bad_alloc.
    mailbox(unsigned size, producers who);
    ~mailbox();
    mailbox(const mailbox&) = delete;
    mailbox& operator=(const mailbox&) = delete;

    /// Takes the first packets, as many as there is room for, and says how many; the rest stay the caller's.
    unsigned push(std::span<rte_mbuf* const> packets) {
        return rte_ring_enqueue_burst(ring_.get(), reinterpret_cast<void* const*>(packets.data()),
                                      static_cast<unsigned>(packets.size()), nullptr);
    }
    unsigned pop(std::span<rte_mbuf*> out) {
        return rte_ring_dequeue_burst(ring_.get(), reinterpret_cast<void**>(out.data()),
                                      static_cast<unsigned>(out.size()), nullptr);
    }
    bool empty() const { return rte_ring_empty(ring_.get()); }
    /// How many have been pushed so far, and whether as many have been popped; they wrap around. Any thread.
    std::uint32_t given() const { return __atomic_load_n(&ring_->prod.tail, __ATOMIC_ACQUIRE); }
    bool taken_up_to(std::uint32_t mark) const {
        return static_cast<std::int32_t>(__atomic_load_n(&ring_->cons.tail, __ATOMIC_ACQUIRE) - mark) >= 0;
    }

private:
    struct free_delete {
        void operator()(rte_ring* r) const { std::free(r); }
    };
    std::unique_ptr<rte_ring, free_delete> ring_;
};

/// All rings between the shards of one stack.
class exchange {
public:
    exchange(unsigned shards, unsigned size);
    /// From one shard to another; from == to is the ring that other threads use.
    mailbox& ring(unsigned from, unsigned to) { return *rings_[from * shards_ + to]; }
    mailbox& inbox(unsigned shard) { return ring(shard, shard); }
    unsigned shards() const { return shards_; }
    /// Nothing waits between two shards.
    bool quiet() const;

private:
    unsigned shards_;
    std::vector<std::unique_ptr<mailbox>> rings_;
};

}  // namespace skua::shard
