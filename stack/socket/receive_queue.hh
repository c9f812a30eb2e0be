// Received datagrams that wait for a reader: any producer, without a lock, and any number of readers.
#pragma once

#include <rte_mbuf.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>

namespace skua::socket {

/// Producers put a chain of packets on a stack with one compare-exchange. Readers share a lock; the one that finds the
/// ordered list empty takes the whole stack and turns it around. Packets are linked by meta.link and owned by the
/// queue.
class receive_queue {
public:
    receive_queue() = default;
    ~receive_queue() { clear(); }
    receive_queue(const receive_queue&) = delete;
    receive_queue& operator=(const receive_queue&) = delete;

    // ---- producers ----
    /// What the queued packets cost, and what was read but not given back yet (see pop).
    std::int32_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
    /// Appends packets linked from the newest to the oldest. Sequentially consistent, as wait_queue::active() wants it.
    void push(rte_mbuf* newest, rte_mbuf* oldest, std::int32_t cost);

    // ---- anyone ----
    /// No packet is here. Sequentially consistent.
    bool empty() const {
        return arrived_.load(std::memory_order_seq_cst) == nullptr && first_.load(std::memory_order_acquire) == nullptr;
    }

    // ---- readers ----
    /// Takes up to out.size() packets, oldest first. Their cost is given back in portions of limit / 4, or when the
    /// ordered list runs empty, as in udp_rmem_release(): so most reads touch no line that producers write.
    unsigned pop(std::span<rte_mbuf*> out, std::int32_t limit);
    /// Calls `look` with the oldest packet, which stays; false if there is none.
    template <class Look>
    bool peek(Look&& look) {
        const std::lock_guard hold(readers_);
        if (!fill()) return false;
        look(first_.load(std::memory_order_relaxed));
        return true;
    }
    void clear();

private:
    /// Makes the ordered list non-empty if it can be. Under the lock.
    bool fill();

    alignas(64) std::atomic<rte_mbuf*> arrived_{nullptr};  // the newest
    std::atomic<std::int32_t> bytes_{0};
    alignas(64) std::mutex readers_;
    std::atomic<rte_mbuf*> first_{nullptr};  // the oldest; written under the lock
    std::int32_t unreturned_ = 0;            // cost of packets already read, still in bytes_
};

}  // namespace skua::socket
