// Joining and leaving: keeping the buckets even while moving as few as can be.
#include "udp/group.hh"

#include <algorithm>

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
void member_table::grow_buckets(std::size_t to) {
    const std::size_t was = bucket_count();
    const buckets* old = buckets_.load(std::memory_order_relaxed);
    auto bigger = std::make_unique<buckets>(to);
    for (std::size_t i = 0; i < to; i++)
        bigger->owner[i].store(old->owner[i & (was - 1)].load(std::memory_order_relaxed), std::memory_order_relaxed);
    loads_.clear();
    for (auto& [who, s] : seats_) {
        const auto before = s.owned;
        for (std::size_t shift = was; shift < to; shift += was)
            for (const auto b : before) s.owned.push_back(static_cast<std::uint32_t>(b + shift));
        loads_.insert(rank(s));
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

void member_table::hand_over(seat& from, seat& to) {
    loads_.erase(rank(from));
    loads_.erase(rank(to));
    const std::uint32_t bucket = from.owned.back();
    from.owned.pop_back();
    to.owned.push_back(bucket);
    loads_.insert(rank(from));
    loads_.insert(rank(to));
    buckets_.load(std::memory_order_relaxed)->owner[bucket].store(to.who, std::memory_order_release);
}

void member_table::note_orders() {
    if (orders_.empty()) return;
    first_placed_.store(*orders_.begin(), std::memory_order_relaxed);
    last_placed_.store(*orders_.rbegin(), std::memory_order_relaxed);
}

void member_table::join(pcb& p, place_order order) {
    const auto at = static_cast<std::uint32_t>(seats_.size());
    seat& s = seats_.emplace(&p, seat{&p, order, at, {}}).first->second;
    orders_.insert(order);
    note_orders();
    if (at == 0) {
        auto one = std::make_unique<buckets>(1);
        one->owner[0].store(&p, std::memory_order_relaxed);
        s.owned.push_back(0);
        if (const buckets* old = buckets_.exchange(one.release(), std::memory_order_release))
            rcu_.retire(std::unique_ptr<const buckets>(old));
    }
    loads_.insert(rank(s));
    roster* r = roster_.load(std::memory_order_relaxed);
    if (r == nullptr || r->capacity == at) {
        grow_roster();
        r = roster_.load(std::memory_order_relaxed);
    }
    r->members[at].store(&p, std::memory_order_relaxed);
    r->count.store(at + 1, std::memory_order_release);
    seat_at_.push_back(&s);
    if (at == 0) return;

    std::size_t want = std::max(bucket_count(), least_buckets);
    while (want < seats_.size() * 2) want *= 2;
    if (want > bucket_count()) grow_buckets(want);
    const std::size_t share = bucket_count() / seats_.size();
    while (s.owned.size() < share) hand_over(*std::get<seat*>(*loads_.rbegin()), s);
}

void member_table::leave(pcb& p) {
    const auto found = seats_.find(&p);
    seat& s = found->second;
    orders_.erase(s.order);
    note_orders();
    if (seats_.size() > 1) {
        while (!s.owned.empty()) {
            // The leaver itself may be among those with fewest.
            auto fewest = loads_.begin();
            if (std::get<seat*>(*fewest) == &s) ++fewest;
            hand_over(s, *std::get<seat*>(*fewest));
        }
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
    loads_.erase(rank(s));
    seats_.erase(found);
}

void group::set_selector(std::shared_ptr<const selector> s) {
    select_.store(s.get(), std::memory_order_release);
    std::swap(selector_, s);
    if (s) rcu_.retire([old = std::move(s)] {});
}

pcb* group::receiver(const lookup_key& key) const {
    const member_table& members = best_for(key.shard);
    if (const selector* const s = select_.load(std::memory_order_acquire)) {
        if (pcb* const p = s->choose(members, key)) return p;
        fallbacks_.fetch_add(1, std::memory_order_relaxed);
    }
    return members.pick(key.hash);
}

void group::join(pcb& p, place_order order, std::int32_t incoming_shard) {
    all_.join(p, order);
    set_hint(p, order, incoming_shard);
}

void group::leave(pcb& p) {
    drop_hint(p);
    all_.leave(p);
}

void group::set_hint(pcb& p, place_order order, std::int32_t incoming_shard) {
    drop_hint(p);
    if (incoming_shard < 0 || incoming_shard >= static_cast<std::int32_t>(hinted_shards)) return;
    const auto shard = static_cast<std::uint8_t>(incoming_shard);
    hints_of_[&p] = shard;
    auto& table = by_hint_[shard];
    if (!table) table = std::make_unique<member_table>(rcu_);
    table->join(p, order);
    if (!hint_tables_) {
        hint_tables_ = std::make_unique<hint_tables>();
        hints_.store(hint_tables_.get(), std::memory_order_release);
    }
    (*hint_tables_)[shard].store(table.get(), std::memory_order_release);
}

void group::drop_hint(pcb& p) {
    const auto hint = hints_of_.find(&p);
    if (hint == hints_of_.end()) return;
    const auto table = by_hint_.find(hint->second);
    if (table->second->size() == 1) {
        (*hint_tables_)[hint->second].store(nullptr, std::memory_order_release);
        rcu_.retire(std::move(table->second));
        by_hint_.erase(table);
    } else {
        table->second->leave(p);
    }
    hints_of_.erase(hint);
}

}  // namespace skua::udp
