// Places of readers in the quiescent-state variable, and the list of what waits to be freed.
#include "base/rcu.hh"

#include <rte_rcu_qsbr.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <unordered_map>
#include <utility>

namespace skua {

namespace {

/// The domains that places can be given back to.
struct live_domains {
    std::mutex lock;
    std::unordered_map<std::uint64_t, rcu_domain*> by_serial;
    std::uint64_t next_serial = 1;

    /// Never destroyed: threads may end, and static domains go, after the statics of this file.
    static live_domains& get() {
        static auto& all = *new live_domains;
        return all;
    }
};

}  // namespace

/// The places that a thread holds, one per domain; given back when the thread ends, if the domain still lives.
struct thread_places {
    struct place {
        unsigned id;
        unsigned depth;
    };
    std::unordered_map<std::uint64_t, place> by_domain;
    // The last one used: nearly always the only one.
    std::uint64_t last_serial = 0;
    place* last = nullptr;

    place& of(rcu_domain& domain) {
        if (last_serial == domain.serial_) return *last;
        auto [at, made] = by_domain.try_emplace(domain.serial_);
        if (made) at->second = {domain.take_place(), 0};
        last_serial = domain.serial_;
        return *(last = &at->second);
    }
    ~thread_places() {
        auto& live = live_domains::get();
        const std::lock_guard hold(live.lock);
        for (auto& [serial, place] : by_domain)
            if (const auto d = live.by_serial.find(serial); d != live.by_serial.end()) d->second->give_place(place.id);
    }
};

namespace {
thread_local thread_places places;
}

void rcu_domain::qsbr_delete::operator()(rte_rcu_qsbr* v) const { std::free(v); }

rcu_domain::rcu_domain(unsigned max_readers)
    : serial_([] {
          auto& live = live_domains::get();
          const std::lock_guard hold(live.lock);
          return live.next_serial++;
      }()),
      shared_place_(max_readers) {
    const std::size_t size = rte_rcu_qsbr_get_memsize(max_readers + 1);
    void* memory = std::aligned_alloc(RTE_CACHE_LINE_SIZE,
                                      (size + RTE_CACHE_LINE_SIZE - 1) / RTE_CACHE_LINE_SIZE * RTE_CACHE_LINE_SIZE);
    if (memory == nullptr) throw std::bad_alloc();
    qsbr_.reset(static_cast<rte_rcu_qsbr*>(memory));
    rte_rcu_qsbr_init(qsbr_.get(), max_readers + 1);
    for (unsigned id = max_readers; id-- > 0;) free_places_.push_back(id);
    rte_rcu_qsbr_thread_register(qsbr_.get(), shared_place_);
    auto& live = live_domains::get();
    const std::lock_guard hold(live.lock);
    live.by_serial.emplace(serial_, this);
}

rcu_domain::~rcu_domain() {
    {
        auto& live = live_domains::get();
        const std::lock_guard hold(live.lock);
        live.by_serial.erase(serial_);
    }
    // What is freed may retire more.
    while (!retired_.empty()) {
        const auto all = std::exchange(retired_, {});
        for (const auto& w : all) w.free_it();
    }
}

unsigned rcu_domain::take_place() {
    const std::lock_guard hold(places_lock_);
    if (free_places_.empty()) return shared_place_;
    const unsigned id = free_places_.back();
    free_places_.pop_back();
    rte_rcu_qsbr_thread_register(qsbr_.get(), id);  // so that checks look at places in use only
    return id;
}

void rcu_domain::give_place(unsigned id) {
    if (id == shared_place_) return;
    const std::lock_guard hold(places_lock_);
    rte_rcu_qsbr_thread_unregister(qsbr_.get(), id);
    free_places_.push_back(id);
}

rcu_domain::poller::poller(rcu_domain& domain) : domain_(domain), id_(domain.take_place()) {
    if (id_ == domain.shared_place_) throw std::length_error("more shards than places for RCU readers");
    online();
}

rcu_domain::poller::~poller() {
    offline();
    domain_.give_place(id_);
}

void rcu_domain::poller::quiescent() { rte_rcu_qsbr_quiescent(domain_.qsbr_.get(), id_); }
void rcu_domain::poller::offline() { rte_rcu_qsbr_thread_offline(domain_.qsbr_.get(), id_); }
void rcu_domain::poller::online() { rte_rcu_qsbr_thread_online(domain_.qsbr_.get(), id_); }

rcu_domain::read_guard::read_guard(rcu_domain& domain) : domain_(domain) {
    auto& place = places.of(domain);
    id_ = place.id;
    if (place.depth++ > 0) return;
    if (id_ == domain.shared_place_) domain.shared_place_lock_.lock();
    rte_rcu_qsbr_thread_online(domain.qsbr_.get(), id_);
}

rcu_domain::read_guard::~read_guard() {
    auto& place = places.of(domain_);
    if (--place.depth > 0) return;
    rte_rcu_qsbr_thread_offline(domain_.qsbr_.get(), id_);
    if (id_ == domain_.shared_place_) domain_.shared_place_lock_.unlock();
}

std::uint64_t rcu_domain::start() { return rte_rcu_qsbr_start(qsbr_.get()); }

bool rcu_domain::all_passed(std::uint64_t token) const { return rte_rcu_qsbr_check(qsbr_.get(), token, false) == 1; }

bool rcu_domain::passed(std::uint64_t token) const {
    const std::lock_guard hold(retired_lock_);
    return all_passed(token);
}

void rcu_domain::retire(std::function<void()> free_it, std::function<bool()> ready) {
    const std::lock_guard hold(retired_lock_);
    retired_.push_back({start(), std::move(free_it), std::move(ready)});
}

std::size_t rcu_domain::reclaim(std::size_t most) {
    std::list<waiting> due;
    {
        // A shard calls this in its turns: it does not wait for a writer that was preempted with the list in hand.
        const std::unique_lock hold(retired_lock_, std::try_to_lock);
        if (!hold) return 0;
        for (auto next = retired_.begin(); next != retired_.end() && due.size() < most;) {
            const auto w = next++;
            if (!all_passed(w->token)) break;  // tokens rise along the list
            if (!w->ready || w->ready()) due.splice(due.end(), retired_, w);
        }
    }
    for (auto& w : due) w.free_it();
    return due.size();
}

std::size_t rcu_domain::retired() const {
    const std::lock_guard hold(retired_lock_);
    return retired_.size();
}

}  // namespace skua
