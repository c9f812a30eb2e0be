// Memory of the rings. They lie in ordinary memory: no other process looks at them.
#include "shard/mailbox.hh"

#include <algorithm>
#include <bit>
#include <new>

namespace skua::shard {

mailbox::mailbox(unsigned size, producers who) {
    const unsigned places = std::bit_ceil(std::max(size, 2u));
    const auto bytes = static_cast<std::size_t>(rte_ring_get_memsize(places));
    const std::size_t rounded = (bytes + RTE_CACHE_LINE_SIZE - 1) / RTE_CACHE_LINE_SIZE * RTE_CACHE_LINE_SIZE;
    ring_.reset(static_cast<rte_ring*>(std::aligned_alloc(RTE_CACHE_LINE_SIZE, rounded)));
    const unsigned flags = RING_F_SC_DEQ | (who == producers::one ? RING_F_SP_ENQ : RING_F_MP_RTS_ENQ);
    if (!ring_ || rte_ring_init(ring_.get(), "skua mailbox", places, flags) != 0) throw std::bad_alloc();
}

mailbox::~mailbox() {
    rte_mbuf* left[32];
    while (const unsigned n = pop(left)) rte_pktmbuf_free_bulk(left, n);
}

exchange::exchange(unsigned shards, unsigned size) : shards_(shards) {
    rings_.reserve(std::size_t(shards) * shards);
    for (unsigned from = 0; from < shards; from++)
        for (unsigned to = 0; to < shards; to++)
            rings_.push_back(
                std::make_unique<mailbox>(size, from == to ? mailbox::producers::many : mailbox::producers::one));
}

bool exchange::quiet() const {
    for (unsigned from = 0; from < shards_; from++)
        for (unsigned to = 0; to < shards_; to++)
            if (from != to && !rings_[from * shards_ + to]->empty()) return false;
    return true;
}

}  // namespace skua::shard
