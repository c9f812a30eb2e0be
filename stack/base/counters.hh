// Counters that one thread raises and any thread reads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace skua {

/// Raised by one owner only, so it needs no locked instruction; readers on other threads see a recent value.
class counter {
public:
    void add(std::uint64_t n = 1) {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// One counter per value of an enumeration whose last value is `count_`.
template <class Enum>
class counter_set {
public:
    static constexpr std::size_t size = static_cast<std::size_t>(Enum::count_);
    void add(Enum e, std::uint64_t n = 1) { counters_[static_cast<std::size_t>(e)].add(n); }
    std::uint64_t get(Enum e) const { return counters_[static_cast<std::size_t>(e)].get(); }

private:
    std::array<counter, size> counters_;
};

}  // namespace skua
