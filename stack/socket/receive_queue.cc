// The reader's side of the receive queue.
#include "socket/receive_queue.hh"

#include "socket/datagram.hh"
#include "socket/truesize.hh"

namespace skua::socket {

void receive_queue::push(rte_mbuf* newest, rte_mbuf* oldest, std::int32_t cost) {
    bytes_.fetch_add(cost, std::memory_order_relaxed);
    auto& tail = packet::meta_of(oldest).link;
    tail = arrived_.load(std::memory_order_relaxed);
    while (!arrived_.compare_exchange_weak(tail, newest, std::memory_order_seq_cst, std::memory_order_relaxed)) {
    }
}

bool receive_queue::fill() {
    if (first_.load(std::memory_order_relaxed) != nullptr) return true;
    rte_mbuf* const stack = arrived_.load(std::memory_order_acquire);
    if (stack == nullptr) return false;
    // Whoever asks empty() meanwhile must not find both lists empty.
    first_.store(stack, std::memory_order_relaxed);
    rte_mbuf* ordered = nullptr;
    for (rte_mbuf* m = arrived_.exchange(nullptr, std::memory_order_acq_rel); m != nullptr;) {
        rte_mbuf* const older = packet::meta_of(m).link;
        packet::meta_of(m).link = ordered;
        ordered = m;
        m = older;
    }
    first_.store(ordered, std::memory_order_release);
    return true;
}

unsigned receive_queue::pop(std::span<rte_mbuf*> out, std::int32_t limit) {
    const std::lock_guard hold(readers_);
    unsigned n = 0;
    while (n < out.size() && fill()) {
        rte_mbuf* m = first_.load(std::memory_order_relaxed);
        first_.store(packet::meta_of(m).link, std::memory_order_release);
        const datagram_view d(m);
        unreturned_ += static_cast<std::int32_t>(truesize(d.payload_length(), d.family()));
        out[n++] = m;
    }
    if (unreturned_ >= limit / 4 || first_.load(std::memory_order_relaxed) == nullptr) {
        if (unreturned_ != 0) bytes_.fetch_sub(unreturned_, std::memory_order_relaxed);
        unreturned_ = 0;
    }
    return n;
}

void receive_queue::clear() {
    rte_mbuf* burst[32];
    while (const unsigned n = pop(burst, 0)) rte_pktmbuf_free_bulk(burst, n);
}

}  // namespace skua::socket
