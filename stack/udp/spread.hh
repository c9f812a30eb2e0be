// Which shard a packet comes in on, by the low bits of its hash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace skua::udp {

/// What the redirection tables of the NICs say, as long as all of them say the same. The writers of the lookup tables
/// look at it; shards never do.
class spread {
public:
    spread() = default;  // unknown
    /// A shard for each value of the low bits: a power of two of them.
    explicit spread(std::vector<std::uint16_t> shard_of);

    bool known() const { return !shard_of_.empty(); }
    std::size_t size() const { return shard_of_.size(); }
    std::uint16_t shard_of(std::uint32_t hash) const { return shard_of_[hash & (shard_of_.size() - 1)]; }
    /// Each shard that anything comes in on, once, ascending.
    const std::vector<std::uint16_t>& shards() const { return shards_; }
    bool contains(std::uint16_t shard) const;
    friend bool operator==(const spread&, const spread&) = default;

private:
    std::vector<std::uint16_t> shard_of_;
    std::vector<std::uint16_t> shards_;
};

}  // namespace skua::udp
