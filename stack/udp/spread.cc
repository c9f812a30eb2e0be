// The shards of a spread, each once.
#include "udp/spread.hh"

#include <algorithm>

namespace skua::udp {

spread::spread(std::vector<std::uint16_t> shard_of) : shard_of_(std::move(shard_of)), shards_(shard_of_) {
    std::ranges::sort(shards_);
    const auto repeated = std::ranges::unique(shards_);
    shards_.erase(repeated.begin(), repeated.end());
}

bool spread::contains(std::uint16_t shard) const { return std::ranges::binary_search(shards_, shard); }

}  // namespace skua::udp
