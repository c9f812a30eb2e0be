// A histogram of durations with about 3 % resolution over the whole range, in constant memory.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace skua::traffic {

/// Values below 32 are exact; above, each power of two is cut into 32 equal parts.
class histogram {
public:
    void add(std::uint64_t value) {
        counts_[index(value)]++;
        total_++;
        if (value > max_) max_ = value;
    }
    std::uint64_t total() const { return total_; }
    std::uint64_t max() const { return max_; }
    /// The upper bound of the part in which the given share (0..1) of all values is reached; 0 if it is empty.
    std::uint64_t percentile(double share) const {
        const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(total_));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size(); i++) {
            seen += counts_[i];
            if (seen > wanted) return std::min(upper(i), max_);
        }
        return max_;
    }
    /// visit(lower bound, count) for every part from the first to the last that is not empty, in rising order.
    template <class Visit>
    void for_each(Visit&& visit) const {
        const auto used = [](std::uint64_t n) { return n != 0; };
        const auto first = std::find_if(counts_.begin(), counts_.end(), used);
        const auto last = std::find_if(counts_.rbegin(), counts_.rend(), used).base();
        for (auto at = first; at < last; ++at) {
            const auto i = static_cast<std::size_t>(at - counts_.begin());
            visit(i == 0 ? 0 : upper(i - 1) + 1, *at);
        }
    }

private:
    static constexpr unsigned sub_bits = 5, parts = 1u << sub_bits;
    static std::size_t index(std::uint64_t v) {
        if (v < parts) return v;
        const unsigned shift = static_cast<unsigned>(std::bit_width(v)) - sub_bits - 1;
        return (shift + 1) * parts + ((v >> shift) - parts);
    }
    static std::uint64_t upper(std::size_t i) {
        if (i < parts) return i;
        const unsigned shift = static_cast<unsigned>(i / parts) - 1;
        return ((parts + i % parts + 1) << shift) - 1;
    }
    std::array<std::uint64_t, (64 - sub_bits + 1) * parts> counts_{};
    std::uint64_t total_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace skua::traffic
