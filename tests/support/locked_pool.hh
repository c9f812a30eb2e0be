// A mempool driver for builds with ThreadSanitizer. DPDK's own is not built with it: that whoever takes a packet from a
// pool comes after whoever gave it back would not be seen.
#pragma once

#include <rte_mempool.h>

#include <cerrno>
#include <mutex>
#include <string_view>
#include <vector>

namespace skua::test {

class locked_pool {
public:
    static constexpr const char* name = "skua_locked";

    /// Before the EAL starts. Returns the EAL argument that makes it the driver of packet pools.
    static const char* use() {
        static const rte_mempool_ops ops = [] {
            rte_mempool_ops o{};
            std::string_view(name).copy(o.name, sizeof o.name - 1);
            o.alloc = [](rte_mempool* mp) {
                mp->pool_data = new locked_pool;
                return 0;
            };
            o.free = [](rte_mempool* mp) { delete &of(mp); };
            o.enqueue = [](rte_mempool* mp, void* const* objects, unsigned n) { return of(mp).put(objects, n); };
            o.dequeue = [](rte_mempool* mp, void** objects, unsigned n) { return of(mp).take(objects, n); };
            o.get_count = [](const rte_mempool* mp) { return of(mp).count(); };
            return o;
        }();
        static const int registered = rte_mempool_register_ops(&ops);
        return registered >= 0 ? "--mbuf-pool-ops-name=skua_locked" : "--mbuf-pool-ops-name=ring_mp_mc";
    }

private:
    static locked_pool& of(const rte_mempool* mp) { return *static_cast<locked_pool*>(mp->pool_data); }

    int put(void* const* objects, unsigned n) {
        const std::lock_guard hold(lock_);
        free_.insert(free_.end(), objects, objects + n);
        return 0;
    }
    int take(void** objects, unsigned n) {
        const std::lock_guard hold(lock_);
        if (free_.size() < n) return -ENOBUFS;
        for (unsigned i = 0; i < n; i++) {
            objects[i] = free_.back();
            free_.pop_back();
        }
        return 0;
    }
    unsigned count() {
        const std::lock_guard hold(lock_);
        return static_cast<unsigned>(free_.size());
    }

    std::mutex lock_;
    std::vector<void*> free_;
};

}  // namespace skua::test
