// The shards of a spread, each once.
#include "udp/spread.hh"

#include <algorithm>

namespace skua::udp {

spread::spread(std::vector<std::uint16_t> shard_of) : shard_of_(std::move(shard_of)), shards_(shard_of_) {
    std::ranges::sort(shards_);
    // Not std::ranges::unique: clang 14 does not compile it with gcc's library.
    shards_.erase(std::unique(shards_.begin(), shards_.end()), shards_.end());
}

bool spread::contains(std::uint16_t shard) const { return std::ranges::binary_search(shards_, shard); }

}  // namespace skua::udp
