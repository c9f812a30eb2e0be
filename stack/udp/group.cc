// Joining and leaving: keeping the buckets even while moving as few as can be.
#include "udp/group.hh"

#include <algorithm>
#include <utility>

#include "udp/generations.hh"
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

/// No fewer than the spread has entries: else a bucket would have flows of several shards.
std::size_t member_table::wanted_buckets() const {
    std::size_t want = std::max(bucket_count(), least_buckets);
    const std::uint64_t shares = std::max<std::uint64_t>(seats_.size(), weight_);
    while (want < shares * 2 && want < most_buckets) want *= 2;
    while (aligned() && want < spread_->size()) want *= 2;
    return want;
}

/// Bucket i of the larger table has the owner of the bucket that its flows fell into before.
void member_table::grow_buckets(std::size_t to) {
    const std::size_t was = bucket_count();
    if (to == was) return;
    const buckets* old = buckets_.load(std::memory_order_relaxed);
    auto bigger = std::make_unique<buckets>(to);
    for (std::size_t i = 0; i < to; i++)
        bigger->owner[i].store(old->owner[i & (was - 1)].load(std::memory_order_relaxed), std::memory_order_relaxed);
    const auto repeat = [&](bucket_pool::share& s) {
        const auto before = s.owned;
        for (std::size_t shift = was; shift < to; shift += was)
            for (const auto b : before) s.owned.push_back(static_cast<std::uint32_t>(b + shift));
    };
    for (auto& [who, s] : seats_) {
        common_.change(s.common, repeat);
        if (const auto home = homes_.find(s.home); home != homes_.end()) home->second.change(s.own, repeat);
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

/// A member whose home nothing comes in on stands in for one at home where fewest are.
std::uint16_t member_table::home_of(const pcb& p) const {
    if (!aligned()) return 0;
    const std::uint16_t home = p.home_shard.load(std::memory_order_relaxed);
    if (spread_->contains(home)) return home;
    const auto sharing = [this](std::uint16_t shard) {
        const auto at = homes_.find(shard);
        return at == homes_.end() ? 0 : at->second.count();
    };
    return *std::ranges::min_element(spread_->shards(), {}, sharing);
}

void member_table::count_home(seat& s) {
    s.lives = s.common.who->home_shard.load(std::memory_order_relaxed);
    if (s.lives >= living_.size()) living_.resize(s.lives + 1u);
    living_[s.lives]++;
}

bucket_pool& member_table::pool_of(std::uint32_t bucket) {
    if (!aligned()) return common_;
    const auto at = homes_.find(spread_->shard_of(bucket));
    return at == homes_.end() ? common_ : at->second;
}

/// All buckets anew. Each stays with its owner if that one still shares in it and has no more than others.
void member_table::deal() {
    homes_.clear();
    common_ = {};
    living_.clear();
    for (seat* s : seat_at_) {
        count_home(*s);
        s->own.owned.clear();
        s->common.owned.clear();
        common_.enter(s->common);
        if (!aligned() || s->own.weight == 0) continue;
        s->home = home_of(*s->own.who);
        homes_[s->home].enter(s->own);
    }
    const auto owner = owners();
    const auto share_in = [this](seat& s, std::uint32_t bucket) -> bucket_pool::share* {
        if (&pool_of(bucket) == &common_) return &s.common;
        return s.own.weight != 0 && s.home == spread_->shard_of(bucket) ? &s.own : nullptr;
    };
    std::vector<std::uint32_t> left;
    for (std::uint32_t b = 0; b < bucket_count(); b++) {
        const auto had = seats_.find(owner[b].load(std::memory_order_relaxed));
        auto* const keeps = had == seats_.end() ? nullptr : share_in(had->second, b);
        if (keeps) pool_of(b).give(b, *keeps, owner);
        else left.push_back(b);
    }
    for (const auto b : left) pool_of(b).give(b, &seat_at_.front()->common, owner);
    for (auto& [shard, home] : homes_) home.level(owner);
    common_.level(owner);
}

void member_table::align() {
    if (seats_.empty()) return;
    if (seats_.size() > 1) grow_buckets(wanted_buckets());
    deal();
}

void member_table::note_orders() {
    if (orders_.empty()) return;
    first_placed_.store(*orders_.begin(), std::memory_order_relaxed);
    last_placed_.store(*orders_.rbegin(), std::memory_order_relaxed);
}

void member_table::join(pcb& p, place_order order, std::uint32_t weight) {
    const auto at = static_cast<std::uint32_t>(seats_.size());
    const bucket_pool::share nothing{&p, order, weight};
    seat& s = seats_.emplace(&p, seat{.at = at, .own = nothing, .common = nothing}).first->second;
    weight_ += weight;
    orders_.insert(order);
    note_orders();
    if (at == 0) {
        auto one = std::make_unique<buckets>(1);
        one->owner[0].store(&p, std::memory_order_relaxed);
        if (const buckets* old = buckets_.exchange(one.release(), std::memory_order_release))
            rcu_.retire(std::unique_ptr<const buckets>(old));
    }
    roster* r = roster_.load(std::memory_order_relaxed);
    if (r == nullptr || r->capacity == at) {
        grow_roster();
        r = roster_.load(std::memory_order_relaxed);
    }
    r->members[at].store(&p, std::memory_order_relaxed);
    r->count.store(at + 1, std::memory_order_release);
    seat_at_.push_back(&s);
    if (at == 0) return deal();

    s.home = home_of(p);
    const bool at_home = aligned() && weight != 0;
    if (at_home && !homes_.contains(s.home)) return align();
    count_home(s);
    common_.enter(s.common);
    if (at_home) homes_.at(s.home).enter(s.own);
    grow_buckets(wanted_buckets());
    common_.settle(s.common, owners());
    if (at_home) homes_.at(s.home).settle(s.own, owners());
}

void member_table::set_weight(pcb& p, std::uint32_t weight) {
    seat& s = seats_.find(&p)->second;
    const auto set = [weight](bucket_pool::share& part) { part.weight = weight; };
    const std::uint32_t before = s.common.weight;
    if (before == weight) return;
    weight_ += weight;
    weight_ -= before;
    if (aligned() && (before == 0 || weight == 0)) {
        s.own.weight = s.common.weight = weight;
        return align();
    }
    common_.change(s.common, set);
    if (aligned()) homes_.at(s.home).change(s.own, set);
    else s.own.weight = weight;
    if (seats_.size() == 1) return;
    grow_buckets(wanted_buckets());
    common_.settle(s.common, owners());
    if (aligned()) homes_.at(s.home).settle(s.own, owners());
}

void member_table::leave(pcb& p) {
    const auto found = seats_.find(&p);
    seat& s = found->second;
    orders_.erase(s.common.order);
    note_orders();
    weight_ -= s.common.weight;
    living_[s.lives]--;
    const auto home = aligned() && s.own.weight != 0 ? homes_.find(s.home) : homes_.end();
    const bool last_at_home = home != homes_.end() && home->second.count() == 1;
    if (seats_.size() > 1) {
        // Among members without weight the one that joined first has them all.
        common_.quit(s.common, &seat_at_[s.at == 0 ? 1 : 0]->common, owners());
        if (home != homes_.end() && !last_at_home) home->second.quit(s.own, nullptr, owners());
        roster* r = roster_.load(std::memory_order_relaxed);
        const auto last = static_cast<std::uint32_t>(seats_.size() - 1);
        // The last takes the free place (reuseport_detach_sock).
        seat_at_[s.at] = seat_at_[last];
        seat_at_[s.at]->at = s.at;
        r->members[s.at].store(seat_at_[s.at]->common.who, std::memory_order_release);
        r->count.store(last, std::memory_order_release);
        seat_at_.pop_back();
    } else {
        seat_at_.clear();
        homes_.clear();
        common_ = {};
    }
    seats_.erase(found);
    if (last_at_home && !seats_.empty()) deal();
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

void group::set_generations(std::shared_ptr<generations> g) {
    if (generations_ != g) {
        g->follow(all_.over());
        all_.for_each([&](pcb& p) { g->enter(p); });
    }
    generations_ = g;
    set_selector(std::move(g));
}

pcb* group::receiver(const lookup_key& key) const {
    const member_table& members = best_for(key.shard);
    if (const selector* const s = select_.load(std::memory_order_acquire)) {
        const auto* const homes = homes_.load(std::memory_order_acquire);
        const member_table* const among = homes ? homes->at(key.shard) : &members;
        pcb* const p = among ? s->choose(*among, key) : nullptr;
        if (p != nullptr) return p;
        pcb* const instead = members.pick(key.hash);
        // Another shard's member is found once more there; who only asks is nobody.
        if (instead != nullptr && key.looks_on == instead->home_shard.load(std::memory_order_relaxed))
            fallbacks_.fetch_add(1, std::memory_order_relaxed);
        return instead;
    }
    return members.pick(key.hash);
}

void group::prefetch(std::span<const lookup_key> keys) const {
    if (const selector* const s = select_.load(std::memory_order_acquire)) s->prefetch(keys);
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
    if (generations_) generations_->enter(p);
}

void group::update(pcb& p, place_order order) {
    all_.set_weight(p, p.weight);
    place_by_shard(p, order);
    if (generations_) generations_->update(p);
}

std::uint16_t group::emptiest(const std::vector<std::uint16_t>& shards) const {
    return *std::ranges::min_element(shards, {}, [this](std::uint16_t s) { return all_.living_on(s); });
}

void group::align(const std::vector<pcb*>& moved) {
    all_.align();
    if (generations_) generations_->align();
    for (pcb* p : moved) place_by_shard(*p, all_.order_of(*p));
}

void group::leave(pcb& p) {
    if (generations_) generations_->leave(p);
    if (hint_tables_) hint_tables_->drop(p);
    if (home_tables_) home_tables_->drop(p);
    all_.leave(p);
}

}  // namespace skua::udp
