// Memory in whole cache lines, with large pages where it is large.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace skua {

inline constexpr std::size_t cache_line = 64;

struct free_lines {
    void operator()(void* p) const { std::free(p); }
};
using lines = std::unique_ptr<void, free_lines>;

/// `bytes`, a multiple of the cache line, not cleared. Pages of 2 MiB where they fit, behind the first `small_pages`
/// bytes and if the system allows it (transparent_hugepage): what is looked up at random waits for address translation
/// as long as for memory otherwise. Throws std::bad_alloc.
inline lines allocate_lines(std::size_t bytes, std::size_t small_pages = 0) {
    constexpr std::size_t page = 2u << 20;
    const bool large = bytes >= small_pages + page;
    void* start = nullptr;
    if (posix_memalign(&start, large ? page : cache_line, bytes) != 0) throw std::bad_alloc();
    lines memory(start);
    if (large) madvise(static_cast<std::byte*>(start) + small_pages, bytes - small_pages, MADV_HUGEPAGE);
    return memory;
}

}  // namespace skua
