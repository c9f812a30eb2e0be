// Read-copy-update: who reads without locks, and when what they may still see can be freed. Wraps rte_rcu_qsbr.
//
// Two kinds of reader. A shard registers once, stays online and says quiescent() between two polls. Any other thread
// wraps each look at a shared table in a read_guard.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

struct rte_rcu_qsbr;

namespace skua {

class rcu_domain {
public:
    /// Readers at one time, shards included; threads beyond it share one place under a lock (slower, never wrong).
    explicit rcu_domain(unsigned max_readers = 256);
    ~rcu_domain();  // every reader must be gone; frees all that was retired
    rcu_domain(const rcu_domain&) = delete;
    rcu_domain& operator=(const rcu_domain&) = delete;

    /// A polling reader. Throws std::length_error when all places are taken.
    class poller {
    public:
        explicit poller(rcu_domain& domain);
        ~poller();
        poller(const poller&) = delete;
        poller& operator=(const poller&) = delete;
        /// Holds no pointer into any shared table now. Called once per poll.
        void quiescent();
        /// Will not read until online(): a poller that stops polling must say so, or nothing is freed meanwhile.
        void offline();
        void online();

    private:
        rcu_domain& domain_;
        unsigned id_;
    };

    /// A look at shared tables by any thread; nests.
    class read_guard {
    public:
        explicit read_guard(rcu_domain& domain);
        ~read_guard();
        read_guard(const read_guard&) = delete;
        read_guard& operator=(const read_guard&) = delete;

    private:
        rcu_domain& domain_;
        unsigned id_;
    };

    /// Runs `free_it` once no reader of this moment is left and `ready` (if given) says yes. Any thread; never blocks
    /// on readers. `free_it` may retire more; `ready` must not call the domain.
    void retire(std::function<void()> free_it, std::function<bool()> ready = {});
    template <class T>
    void retire(std::unique_ptr<T> object) {
        retire([p = object.release()] { delete p; });
    }
    /// Frees up to `most` of what may be freed; returns how many were. Called by writers and by the first shard's tick.
    std::size_t reclaim(std::size_t most = 64);
    /// What waits to be freed.
    std::size_t retired() const;
    /// Token of this moment; passed(token) tells whether all readers of that moment are gone.
    std::uint64_t start();
    bool passed(std::uint64_t token) const;

private:
    friend struct thread_places;
    struct waiting {
        std::uint64_t token;
        std::function<void()> free_it;
        std::function<bool()> ready;
    };
    bool all_passed(std::uint64_t token) const;  // under retired_lock_
    unsigned take_place();
    void give_place(unsigned id);

    struct qsbr_delete {
        void operator()(rte_rcu_qsbr* v) const;
    };
    std::unique_ptr<rte_rcu_qsbr, qsbr_delete> qsbr_;
    const std::uint64_t serial_;  // tells domains apart even when one is made where another was
    const unsigned shared_place_;
    std::mutex shared_place_lock_;
    std::mutex places_lock_;
    std::vector<unsigned> free_places_;
    mutable std::mutex retired_lock_;  // also of rte_rcu_qsbr_check, which remembers its last answer in a plain word
    std::list<waiting> retired_;
};

}  // namespace skua
