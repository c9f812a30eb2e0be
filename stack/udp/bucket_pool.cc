// Keeping shares even while moving as few buckets as can be.
#include "udp/bucket_pool.hh"

namespace skua::udp {

void bucket_pool::rank(share& s) {
    if (!s.owned.empty()) givers_.insert(load::to_give(s));
    if (s.weight != 0) takers_.insert(load::to_take(s));
}

void bucket_pool::unrank(share& s) {
    if (!s.owned.empty()) givers_.erase(load::to_give(s));
    if (s.weight != 0) takers_.erase(load::to_take(s));
}

void bucket_pool::give(std::uint32_t bucket, share& to, owners of) {
    unrank(to);
    to.owned.push_back(bucket);
    rank(to);
    of[bucket].store(to.who, std::memory_order_release);
}

void bucket_pool::hand_over(share& from, share& to, owners of) {
    unrank(from);
    const std::uint32_t bucket = from.owned.back();
    from.owned.pop_back();
    rank(from);
    give(bucket, to, of);
}

void bucket_pool::quit(share& s, share* heir, owners of) {
    unrank(s);
    count_--;
    for (; !s.owned.empty(); s.owned.pop_back()) give(s.owned.back(), taker(heir), of);
}

void bucket_pool::settle(share& s, owners of) {
    while (s.weight != 0 && !givers_.empty()) {
        const load most = *givers_.rbegin();
        if (most.who == &s || !most.exceeds(load::to_take(s))) break;
        hand_over(*most.who, s, of);
    }
    while (!s.owned.empty() && !takers_.empty()) {
        const load least = *takers_.begin();
        if (least.who == &s || !load::to_give(s).exceeds(least)) break;
        hand_over(s, *least.who, of);
    }
}

void bucket_pool::level(owners of) {
    while (!givers_.empty() && !takers_.empty()) {
        const load most = *givers_.rbegin(), least = *takers_.begin();
        if (most.who == least.who || !most.exceeds(least)) return;
        hand_over(*most.who, *least.who, of);
    }
}

}  // namespace skua::udp
