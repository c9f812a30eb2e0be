// Included before everything else in builds with ThreadSanitizer. In rings of DPDK a producer that is done waits for
// the one before it with a relaxed load, and publishes both: no harm on x86, but by the letter what the first one wrote
// does not come before its reader.
#pragma once

#if __has_include(<rte_pause.h>)
#include <rte_pause.h>

#include <cstdint>

namespace skua::test {

inline void wait_and_acquire(volatile std::uint32_t* word, std::uint32_t expected, int) {
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != expected) rte_pause();
}

}  // namespace skua::test

// The name is DPDK's: its inline functions call it.
#define rte_wait_until_equal_32 skua::test::wait_and_acquire
#endif
