// How entries come into the lookup tables and leave them.
#include "udp/lookup.hh"

namespace skua::udp {

namespace {

/// Raised and lowered by the one writer.
void add_to(std::atomic<std::uint32_t>& n, int by) {
    n.store(n.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(by), std::memory_order_release);
}

void count_entry(port_slot& s, const candidate& c, int by) {
    add_to(s.entries, by);
    if (c.wildcard()) add_to(s.wildcards, by);
    if (c.half_connected()) add_to(s.half_connected, by);
    if (c.reuse_port) add_to(s.reuse_port, by);
    if (c.members) add_to(s.groups, by);
}

}  // namespace

lookup_tables::lookup_tables(rcu_domain& rcu, random_source& random, mixed_rule mixed, std::size_t expected_sockets)
    : rcu_(rcu),
      hash_(random),
      mixed_(mixed),
      by_address_(rcu, expected_sockets),
      by_flow_(rcu, 2 * expected_sockets) {}  // half full: fewer chains to follow into memory that is not here yet

lookup_tables::~lookup_tables() {
    for (auto& p : ports_) delete p.load(std::memory_order_relaxed);
}

port_slot& lookup_tables::slot_for_writing(std::uint16_t port) {
    port_slot* s = ports_[port].load(std::memory_order_relaxed);
    if (s == nullptr) {
        s = std::make_unique<port_slot>().release();
        ports_[port].store(s, std::memory_order_release);
    }
    return *s;
}

void lookup_tables::append(port_slot& s, candidate& c) {
    c.previous = s.tail;
    (s.tail ? s.tail->next : s.head).store(&c, std::memory_order_release);
    s.tail = &c;
    c.hash = hash_(c.local, c.local_port);
    by_address_.insert_back(c);
}

void lookup_tables::unlink(port_slot& s, candidate& c) {
    candidate* next = c.next.load(std::memory_order_relaxed);
    (c.previous ? c.previous->next : s.head).store(next, std::memory_order_release);
    (next ? next->previous : s.tail) = c.previous;
    by_address_.remove(c);
}

/// Does another socket have the same peer on the same address and port?
bool lookup_tables::has_twin(const candidate& c) const {
    const flow_key flow = c.flow();
    return by_flow_.find(c.hash, [&](const candidate& other) { return &other != &c && other.flow() == flow; }) !=
           nullptr;
}

candidate* lookup_tables::add(std::unique_ptr<candidate> owned) {
    candidate* c = owned.release();
    port_slot& s = slot_for_writing(c->local_port);
    if (c->connected()) {
        c->hash = hash_(c->flow());
        if (has_twin(*c)) add_to(s.twins, 1);
        by_flow_.insert_back(*c);
        add_to(s.connected, 1);
        return c;
    }
    // Counted before it can be found: a reader that meets it already knows what it calls for.
    count_entry(s, *c, 1);
    append(s, *c);
    return c;
}

void lookup_tables::remove(candidate* c) {
    port_slot& s = slot_for_writing(c->local_port);
    add_to(s.moves, 1);
    if (c->connected()) {
        by_flow_.remove(*c);
        if (has_twin(*c)) add_to(s.twins, -1);
        add_to(s.connected, -1);
    } else {
        unlink(s, *c);
        count_entry(s, *c, -1);
    }
    if (s.entries.load(std::memory_order_relaxed) == 0 && s.connected.load(std::memory_order_relaxed) == 0) {
        ports_[c->local_port].store(nullptr, std::memory_order_release);
        rcu_.retire(std::unique_ptr<port_slot>(&s));
    }
    rcu_.retire(std::unique_ptr<candidate>(c));
}

}  // namespace skua::udp
