// Joining and leaving: keeping the buckets even while moving as few as can be.
#include "udp/group.hh"

#include <algorithm>
#include <utility>

#include "udp/selector.hh"
#include "udp/tables.hh"

namespace skua::udp {

member_table::~member_table() {
    delete buckets_.load(std::memory_order_relaxed);
    delete roster_.load(std::memory_order_relaxed);
}

std::size_t member_table::bucket_count() const {
    const buckets* b = buckets_.load(std::memory_order_relaxed);
    return b ? b->mask + std::size_t(1) : 0;
}

/// Bucket i of the larger table has the owner of the bucket that its flows fell into before.
void member_table::grow_buckets() {
    std::size_t to = std::max(bucket_count(), least_buckets);
    const std::uint64_t shares = std::max<std::uint64_t>(seats_.size(), weight_);
    while (to < shares * 2 && to < most_buckets) to *= 2;
    const std::size_t was = bucket_count();
    if (to == was) return;
    const buckets* old = buckets_.load(std::memory_order_relaxed);
    auto bigger = std::make_unique<buckets>(to);
    for (std::size_t i = 0; i < to; i++)
        bigger->owner[i].store(old->owner[i & (was - 1)].load(std::memory_order_relaxed), std::memory_order_relaxed);
    for (auto& [who, s] : seats_) {
        unrank(s);
        const auto before = s.owned;
        for (std::size_t shift = was; shift < to; shift += was)
            for (const auto b : before) s.owned.push_back(static_cast<std::uint32_t>(b + shift));
        rank(s);
    }
    buckets_.store(bigger.release(), std::memory_order_release);
    rcu_.retire(std::unique_ptr<const buckets>(old));
}

void member_table::grow_roster() {
    roster* old = roster_.load(std::memory_order_relaxed);
    auto bigger = std::make_unique<roster>(old ? old->capacity * 2 : 1);
    const std::uint32_t n = old ? old->count.load(std::memory_order_relaxed) : 0;
    for (std::uint32_t i = 0; i < n; i++)
        bigger->members[i].store(old->members[i].load(std::memory_order_relaxed), std::memory_order_relaxed);
    bigger->count.store(n, std::memory_order_relaxed);
    roster_.store(bigger.release(), std::memory_order_release);
    if (old) rcu_.retire(std::unique_ptr<roster>(old));
}

void member_table::rank(seat& s) {
    if (!s.owned.empty()) givers_.insert(load::to_give(s));
    if (s.weight != 0) takers_.insert(load::to_take(s));
}

void member_table::unrank(seat& s) {
    if (!s.owned.empty()) givers_.erase(load::to_give(s));
    if (s.weight != 0) takers_.erase(load::to_take(s));
}

void member_table::hand_over(seat& from, seat& to) {
    unrank(from);
    unrank(to);
    const std::uint32_t bucket = from.owned.back();
    from.owned.pop_back();
    to.owned.push_back(bucket);
    rank(from);
    rank(to);
    buckets_.load(std::memory_order_relaxed)->owner[bucket].store(to.who, std::memory_order_release);
}

/// Moves buckets to one seat, or from it, until no move would make the shares more even. The others' are.
void member_table::settle(seat& s) {
    while (s.weight != 0) {
        const load most = *givers_.rbegin();
        if (most.who == &s || !most.exceeds(load::to_take(s))) break;
        hand_over(*most.who, s);
    }
    while (!s.owned.empty() && !takers_.empty()) {
        const load least = *takers_.begin();
        if (least.who == &s || !load::to_give(s).exceeds(least)) break;
        hand_over(s, *least.who);
    }
}

void member_table::note_orders() {
    if (orders_.empty()) return;
    first_placed_.store(*orders_.begin(), std::memory_order_relaxed);
    last_placed_.store(*orders_.rbegin(), std::memory_order_relaxed);
}

void member_table::join(pcb& p, place_order order, std::uint32_t weight) {
    const auto at = static_cast<std::uint32_t>(seats_.size());
    seat& s = seats_.emplace(&p, seat{&p, order, weight, at, {}}).first->second;
    weight_ += weight;
    orders_.insert(order);
    note_orders();
    if (at == 0) {
        auto one = std::make_unique<buckets>(1);
        one->owner[0].store(&p, std::memory_order_relaxed);
        s.owned.push_back(0);
        if (const buckets* old = buckets_.exchange(one.release(), std::memory_order_release))
            rcu_.retire(std::unique_ptr<const buckets>(old));
    }
    rank(s);
    roster* r = roster_.load(std::memory_order_relaxed);
    if (r == nullptr || r->capacity == at) {
        grow_roster();
        r = roster_.load(std::memory_order_relaxed);
    }
    r->members[at].store(&p, std::memory_order_relaxed);
    r->count.store(at + 1, std::memory_order_release);
    seat_at_.push_back(&s);
    if (at == 0) return;
    grow_buckets();
    settle(s);
}

void member_table::set_weight(pcb& p, std::uint32_t weight) {
    seat& s = seats_.find(&p)->second;
    unrank(s);
    weight_ += weight;
    weight_ -= std::exchange(s.weight, weight);
    rank(s);
    if (seats_.size() == 1) return;
    grow_buckets();
    settle(s);
}

void member_table::leave(pcb& p) {
    const auto found = seats_.find(&p);
    seat& s = found->second;
    orders_.erase(s.order);
    note_orders();
    unrank(s);
    weight_ -= std::exchange(s.weight, 0);
    rank(s);
    if (seats_.size() > 1) {
        // Among members without weight the one that joined first has them all.
        seat& heir = *seat_at_[s.at == 0 ? 1 : 0];
        while (!s.owned.empty()) hand_over(s, takers_.empty() ? heir : *takers_.begin()->who);
        roster* r = roster_.load(std::memory_order_relaxed);
        const auto last = static_cast<std::uint32_t>(seats_.size() - 1);
        // The last takes the free place (reuseport_detach_sock).
        seat_at_[s.at] = seat_at_[last];
        seat_at_[s.at]->at = s.at;
        r->members[s.at].store(seat_at_[s.at]->who, std::memory_order_release);
        r->count.store(last, std::memory_order_release);
        seat_at_.pop_back();
    } else {
        seat_at_.clear();
    }
    unrank(s);
    seats_.erase(found);
}

void shard_tables::put(pcb& p, place_order order, std::int32_t shard) {
    drop(p);
    if (shard < 0 || shard >= static_cast<std::int32_t>(shards)) return;
    const auto to = static_cast<std::uint8_t>(shard);
    shard_of_[&p] = to;
    auto& table = by_shard_[to];
    if (!table) table = std::make_unique<member_table>(rcu_);
    table->join(p, order, p.weight);
    tables_[to].store(table.get(), std::memory_order_release);
}

void shard_tables::drop(pcb& p) {
    const auto found = shard_of_.find(&p);
    if (found == shard_of_.end()) return;
    const auto table = by_shard_.find(found->second);
    if (table->second->size() == 1) {
        tables_[found->second].store(nullptr, std::memory_order_release);
        rcu_.retire(std::move(table->second));
        by_shard_.erase(table);
    } else {
        table->second->leave(p);
    }
    shard_of_.erase(found);
}

void group::set_selector(std::shared_ptr<const selector> s) {
    const bool by_home = s && s->by_home();
    if (by_home && !home_tables_) {
        home_tables_ = std::make_unique<shard_tables>(rcu_);
        all_.for_each([&](pcb& p) { place_by_shard(p, all_.order_of(p)); });
        homes_.store(home_tables_.get(), std::memory_order_release);
    }
    select_.store(s.get(), std::memory_order_release);
    std::swap(selector_, s);
    if (s) rcu_.retire([old = std::move(s)] {});
    if (by_home || !home_tables_) return;
    homes_.store(nullptr, std::memory_order_release);
    rcu_.retire(std::move(home_tables_));
}

pcb* group::receiver(const lookup_key& key) const {
    const member_table& members = best_for(key.shard);
    if (const selector* const s = select_.load(std::memory_order_acquire)) {
        const auto* const homes = homes_.load(std::memory_order_acquire);
        const member_table* const among = homes ? homes->at(key.shard) : &members;
        pcb* const p = among ? s->choose(*among, key) : nullptr;
        if (p != nullptr) return p;
        fallbacks_.fetch_add(1, std::memory_order_relaxed);
    }
    return members.pick(key.hash);
}

void group::place_by_shard(pcb& p, place_order order) {
    if (p.incoming_shard >= 0 && !hint_tables_) {
        hint_tables_ = std::make_unique<shard_tables>(rcu_);
        hints_.store(hint_tables_.get(), std::memory_order_release);
    }
    if (hint_tables_) hint_tables_->put(p, order, p.incoming_shard);
    if (home_tables_) home_tables_->put(p, order, p.home_shard.load(std::memory_order_relaxed));
}

void group::join(pcb& p, place_order order) {
    all_.join(p, order, p.weight);
    place_by_shard(p, order);
}

void group::update(pcb& p, place_order order) {
    all_.set_weight(p, p.weight);
    place_by_shard(p, order);
}

void group::leave(pcb& p) {
    if (hint_tables_) hint_tables_->drop(p);
    if (home_tables_) home_tables_->drop(p);
    all_.leave(p);
}

}  // namespace skua::udp
