// Objects by number, registered from any thread and listed now and then.
#pragma once

#include <oneapi/tbb/concurrent_hash_map.h>

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>

namespace skua::sockfs {

/// concurrent_hash_map: programs open and close sockets on many threads at once, and those meet in a bucket only. It
/// cannot be walked while it changes, so a listing, which is rare, keeps the others out for its time.
template <class T>
class registry {
public:
    /// The number of a new object: 1, 2, 3, … never again the same.
    std::uint64_t next_number() { return last_.fetch_add(1, std::memory_order_relaxed) + 1; }
    void add(std::uint64_t number, T object) {
        const std::shared_lock changing(listing_);
        objects_.emplace(number, std::move(object));
    }
    bool remove(std::uint64_t number) {
        const std::shared_lock changing(listing_);
        return objects_.erase(number);
    }
    /// A default-made object if there is none of this number.
    T find(std::uint64_t number) const {
        const std::shared_lock changing(listing_);
        typename map::const_accessor at;
        return objects_.find(at, number) ? at->second : T{};
    }
    std::size_t size() const { return objects_.size(); }
    /// In order of their numbers.
    std::map<std::uint64_t, T> all() const {
        const std::unique_lock nobody_changes(listing_);
        return {objects_.begin(), objects_.end()};
    }

private:
    using map = oneapi::tbb::concurrent_hash_map<std::uint64_t, T>;
    map objects_;
    std::atomic<std::uint64_t> last_{0};
    mutable std::shared_mutex listing_;
};

}  // namespace skua::sockfs
