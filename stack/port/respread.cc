// Quotas by the largest remainders, then the fewest moves.
#include "port/respread.hh"

#include <algorithm>
#include <numeric>

namespace skua::port {

namespace {

std::vector<std::size_t> quotas(std::size_t entries, std::span<const std::uint32_t> weights) {
    const std::uint64_t all = std::accumulate(weights.begin(), weights.end(), std::uint64_t(0));
    std::vector<std::size_t> quota(weights.size());
    std::vector<std::size_t> by_remainder;
    std::size_t left = entries;
    for (std::size_t q = 0; q < weights.size(); q++) {
        quota[q] = entries * weights[q] / all;
        left -= quota[q];
        if (weights[q] != 0) by_remainder.push_back(q);
    }
    std::ranges::stable_sort(by_remainder, std::greater<>(), [&](std::size_t q) { return entries * weights[q] % all; });
    for (std::size_t i = 0; i < left; i++) quota[by_remainder[i]]++;
    return quota;
}

}  // namespace

std::vector<std::uint16_t> respread(std::span<const std::uint16_t> now, std::span<const std::uint32_t> weights) {
    auto quota = quotas(now.size(), weights);
    std::vector<std::uint16_t> next(now.begin(), now.end());
    std::vector<std::size_t> moving;
    for (std::size_t i = 0; i < now.size(); i++) {
        if (now[i] < quota.size() && quota[now[i]] > 0) quota[now[i]]--;
        else moving.push_back(i);
    }
    for (const std::size_t i : moving) {
        const auto neediest = std::ranges::max_element(quota);
        next[i] = static_cast<std::uint16_t>(neediest - quota.begin());
        --*neediest;
    }
    return next;
}

}  // namespace skua::port
