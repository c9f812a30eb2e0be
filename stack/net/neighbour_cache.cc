// Places and lists of neighbours.
#include "net/neighbour_cache.hh"

namespace skua::net {

namespace {

std::size_t places_for(std::size_t limit) { return limit + limit / 4 + 16; }

}  // namespace

void neighbour_cache::list::append(neighbour& n) {
    n.next = nullptr;
    n.previous = last;
    (last ? last->next : first) = &n;
    last = &n;
    ++count;
}

void neighbour_cache::list::take(neighbour& n) {
    (n.previous ? n.previous->next : first) = n.next;
    (n.next ? n.next->previous : last) = n.previous;
    --count;
}

neighbour_cache::neighbour_cache(rcu_domain& rcu, random_source& random, std::size_t limit)
    : rcu_(rcu),
      hash_(random),
      limit_(limit),
      places_(new neighbour[places_for(limit)]),
      // Large enough for all: it never grows, which would allocate.
      table_(rcu, places_for(limit) + 1) {
    for (std::size_t i = 0; i < places_for(limit); i++) free_.append(places_[i]);
}

neighbour* neighbour_cache::add(std::uint32_t ifindex, const ip_address& a) {
    neighbour* n = free_.first;
    if (!n || !rcu_.passed(n->token)) return nullptr;
    free_.take(*n);
    n->address = a;
    n->ifindex = ifindex;
    n->hash = hash_(a, ifindex);
    n->link.store({}, std::memory_order_relaxed);
    n->used.store(false, std::memory_order_relaxed);
    n->learned = {};
    n->solicits = 0;
    list_of(*n).append(*n);
    table_.insert_front(*n);
    return n;
}

void neighbour_cache::remove(neighbour& n) {
    table_.remove(n);
    list_of(n).take(n);
    n.token = rcu_.start();
    free_.append(n);
}

void neighbour_cache::enter(neighbour& n, const neighbour_link& link, time_point due) {
    list_of(n).take(n);
    n.link.store(link, std::memory_order_release);
    n.due = due;
    list_of(n).append(n);
}

}  // namespace skua::net
