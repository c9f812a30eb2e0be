// Included before everything else in builds with ThreadSanitizer, so that it sees what orders the rings of DPDK.
//
// A producer that is done waits for the one before it with a relaxed load, and publishes both: no harm on x86, but by
// the letter what the first one wrote does not come before its reader. And a ring whose producers need not wait for
// each other (RTS) publishes by one word of eight bytes what the reader takes from half of it, which looks like two
// words: it becomes an ordinary one.
#pragma once

#if __has_include(<rte_ring.h>)
#include <rte_pause.h>

#include <cstdint>

namespace skua::test {

inline void wait_and_acquire(volatile std::uint32_t* word, std::uint32_t expected, int) {
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != expected) rte_pause();
}

}  // namespace skua::test

// The names are DPDK's: its inline functions use them.
#define rte_wait_until_equal_32 skua::test::wait_and_acquire
#include <rte_ring.h>
#undef RING_F_MP_RTS_ENQ
#define RING_F_MP_RTS_ENQ 0
#endif
