// A bit for each number that a process can have.
#include "client/own_numbers.hh"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace skua::client::own_numbers {

namespace {

constexpr std::size_t most = 1 << 20;  // Linux: the largest RLIMIT_NOFILE without fs.nr_open
std::array<std::atomic<std::uint64_t>, most / 64> bits;

bool in_range(int fd) { return fd >= 0 && static_cast<std::size_t>(fd) < most; }
std::uint64_t bit(int fd) { return std::uint64_t(1) << (fd % 64); }
std::atomic<std::uint64_t>& word(int fd) { return bits[static_cast<std::size_t>(fd) / 64]; }

}  // namespace

void add(int fd) {
    if (in_range(fd)) word(fd).fetch_or(bit(fd), std::memory_order_relaxed);
}

void remove(int fd) {
    if (in_range(fd)) word(fd).fetch_and(~bit(fd), std::memory_order_relaxed);
}

bool has(int fd) { return in_range(fd) && (word(fd).load(std::memory_order_relaxed) & bit(fd)) != 0; }

std::optional<int> next(int first) {
    for (int at = first < 0 ? 0 : first; in_range(at); at = (at | 63) + 1) {
        const std::uint64_t rest = word(at).load(std::memory_order_relaxed) & ~(bit(at) - 1);
        if (rest != 0) return (at & ~63) + std::countr_zero(rest);
    }
    return {};
}

}  // namespace skua::client::own_numbers
