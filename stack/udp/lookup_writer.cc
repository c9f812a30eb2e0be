// How entries come into the lookup tables and leave them.
#include "udp/lookup.hh"

namespace skua::udp {

namespace {

/// Raised and lowered by the one writer.
void add_to(std::atomic<std::uint32_t>& n, int by) {
    n.store(n.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(by), std::memory_order_release);
}

void count_entry(port_slot& s, const candidate& c, int by) {
    add_to(s.count, by);
    if (c.wildcard()) add_to(s.wildcards, by);
    if (c.half_connected()) add_to(s.half_connected, by);
    if (c.reuse_port) add_to(s.reuse_port, by);
    if (c.of_group) add_to(s.groups, by);
}

/// One of them alone needs no list.
port_entries made_of(const few_entries& few) {
    if (few.count == 0) return {};
    return few.count == 1 ? port_entries(*few.at[0]) : port_entries(*new few_entries(few));
}

}  // namespace

lookup_tables::lookup_tables(rcu_domain& rcu, random_source& random, mixed_rule mixed, std::size_t expected_sockets)
    : rcu_(rcu),
      hash_(random),
      mixed_(mixed),
      by_address_(rcu, {hash_}, expected_sockets),
      by_flow_(rcu, {hash_}, expected_sockets),
      slots_(new port_slot[65536]) {}

lookup_tables::~lookup_tables() {
    for (std::size_t port = 0; port < 65536; port++) {
        const port_entries e = slots_[port].entries.load(std::memory_order_relaxed);
        delete e.few();
        delete e.many();
    }
}

/// Puts the list of the moment in the place of the last one.
void lookup_tables::publish(port_slot& s, const port_entries& now) {
    const port_entries before = s.entries.exchange(now, std::memory_order_acq_rel);
    if (before.few()) rcu_.retire(std::unique_ptr<const few_entries>(before.few()));
    delete before.many();  // no reader looks into it
}

void lookup_tables::enlist(port_slot& s, candidate& c) {
    const port_entries before = s.entries.load(std::memory_order_relaxed);
    if (auto* const many = before.many()) {
        c.place = static_cast<std::uint32_t>(many->size());
        many->push_back(&c);
        return;
    }
    few_entries all;
    before.for_each([&](candidate& each) { all.add(each); });
    if (all.count < longest_walk) {
        all.add(c);
        return publish(s, made_of(all));
    }
    auto many = std::make_unique<port_entries::many_entries>(all.at.begin(), all.at.end());
    many->push_back(&c);
    for (std::uint32_t i = 0; i < many->size(); i++) (*many)[i]->place = i;
    publish(s, port_entries(*many.release()));
}

void lookup_tables::delist(port_slot& s, candidate& c) {
    const port_entries before = s.entries.load(std::memory_order_relaxed);
    few_entries rest;
    if (auto* const many = before.many()) {
        many->back()->place = c.place;
        (*many)[c.place] = many->back();
        many->pop_back();
        if (many->size() > longest_walk) return;
        for (candidate* const each : *many) rest.add(*each);
    } else {
        before.for_each([&](candidate& each) {
            if (&each != &c) rest.add(each);
        });
    }
    publish(s, made_of(rest));
}

/// Puts `by` in the place of `c`.
void lookup_tables::relist(port_slot& s, candidate& c, candidate& by) {
    const port_entries before = s.entries.load(std::memory_order_relaxed);
    if (auto* const many = before.many()) {
        by.place = c.place;
        (*many)[c.place] = &by;
        return;
    }
    few_entries all;
    before.for_each([&](candidate& each) { all.add(&each == &c ? by : each); });
    publish(s, made_of(all));
}

/// Does another socket have the same peer on the same address and port?
bool lookup_tables::has_twin(const candidate& c) const {
    const flow_key flow = c.flow();
    bool found = false;
    by_flow_.for_each(hash_(flow), [&](const candidate& other) {
        found = &other != &c && other.flow() == flow;
        return !found;
    });
    return found;
}

/// Does another entry have the same address and port?
bool lookup_tables::has_sharer(const candidate& c) const {
    bool found = false;
    by_address_.for_each(hash_(c.local, c.local_port), [&](const candidate& other) {
        found = &other != &c && other.local_port == c.local_port && other.local == c.local;
        return !found;
    });
    return found;
}

/// Keeps an entry until readers of this moment are gone, and frees those that have been kept long enough.
void lookup_tables::bury(candidate* c) {
    buried_.push_back({rcu_.start(), c});
    // More than come, so that what slow readers left behind goes too.
    for (int n = 0; n < 4 && rcu_.passed(buried_.front().readers); n++) {
        candidates_.free(buried_.front().entry);
        buried_.pop_front();
        if (buried_.empty()) break;
    }
}

candidate* lookup_tables::add(const candidate& entry) {
    candidate* const c = candidates_.make(entry);
    port_slot& s = slot(c->local_port);
    if (c->connected()) {
        if (has_twin(*c)) add_to(s.twins, 1);
        by_flow_.insert(*c);
        add_to(s.connected, 1);
        return c;
    }
    // Counted before it can be found: a reader that meets it already knows what it calls for.
    count_entry(s, *c, 1);
    if (has_sharer(*c)) add_to(s.sharers, 1);
    by_address_.insert(*c);
    enlist(s, *c);
    return c;
}

void lookup_tables::remove(candidate* c) {
    port_slot& s = slot(c->local_port);
    add_to(s.moves, 1);
    if (c->connected()) {
        by_flow_.remove(*c);
        if (has_twin(*c)) add_to(s.twins, -1);
        add_to(s.connected, -1);
    } else {
        delist(s, *c);
        by_address_.remove(*c);
        if (has_sharer(*c)) add_to(s.sharers, -1);
        count_entry(s, *c, -1);
    }
    bury(c);
}

candidate* lookup_tables::replace(candidate* old, const candidate& entry) {
    const bool in_place = old->connected() ? entry.connected() && entry.flow() == old->flow()
                                           : !entry.connected() && entry.local == old->local;
    if (!in_place || entry.local_port != old->local_port) {
        candidate* const c = add(entry);
        remove(old);
        return c;
    }
    candidate* const c = candidates_.make(entry);
    port_slot& s = slot(c->local_port);
    if (c->connected()) {
        by_flow_.replace(*old, *c);
    } else {
        count_entry(s, *c, 1);
        relist(s, *old, *c);
        by_address_.replace(*old, *c);
        count_entry(s, *old, -1);
    }
    bury(old);
    return c;
}

}  // namespace skua::udp
