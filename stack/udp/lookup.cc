// Searching: all candidates of a packet, the best score, and what decides between equals.
#include "udp/lookup.hh"

#include <algorithm>
#include <cmath>

namespace skua::udp {

namespace {

/// Uniform in (0, 1], the same for the same flow and the same entry.
double lot(std::uint32_t flow_hash, std::uint64_t entry) {
    // The finalizer of splitmix64 (Steele, Lea, Flood 2014).
    std::uint64_t x = (std::uint64_t(flow_hash) << 32 | flow_hash) ^ (entry * 0x9e3779b97f4a7c15ull);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    x ^= x >> 31;
    return static_cast<double>((x >> 11) + 1) * 0x1p-53;
}

void prefetch_entry(const candidate* c) {
    __builtin_prefetch(c);
    __builtin_prefetch(reinterpret_cast<const std::byte*>(c) + 64);
}

}  // namespace

/// The best so far. Among equals the one that stands first in Linux's slots: the one placed last, or, for an IPv6 packet,
/// those with SO_REUSEPORT behind the others and in the order of placing. The packet's family decides, so an IPv4 packet
/// that dual-stack sockets compete for goes by the rule of IPv4.
class lookup_tables::contest {
public:
    explicit contest(const lookup_key& key) : shard_(key.shard), v4_(key.flow.local.is_v4()) {}

    void offer(const candidate& c, int score) {
        if (score < score_) return;
        if (score > score_) {
            best_ = &c;
            score_ = score;
            tied_ = 1;
            return;
        }
        ++tied_;
        if (before(c, *best_)) best_ = &c;
    }
    const candidate* best() const { return best_; }
    int score() const { return score_; }
    /// Some rule other than the order of placing may have to decide.
    bool mixed() const { return tied_ > 1 && best_->reuse_port && v4_; }

private:
    bool before(const candidate& a, const candidate& b) const {
        if (!v4_ && a.reuse_port != b.reuse_port) return b.reuse_port;
        if (!v4_ && a.reuse_port) return a.first_placed(shard_) < b.first_placed(shard_);
        return a.last_placed(shard_) > b.last_placed(shard_);
    }
    const std::uint16_t shard_;
    const bool v4_;
    const candidate* best_ = nullptr;
    int score_ = 0;  // what is offered scores more
    unsigned tied_ = 0;
};

template <class Visit>
void lookup_tables::for_each_connected(const lookup_key& key, std::uint32_t hash, Visit&& visit) const {
    by_flow_.for_each(hash, [&](const candidate& c) {
        if (c.local_port == key.flow.local_port)
            if (const int s = c.score(key)) visit(c, s);
        return true;
    });
}

template <class Visit>
void lookup_tables::for_each_in_slots(const port_slot& slot, const lookup_key& key, Visit&& visit) const {
    if (slot.entries.load(std::memory_order_acquire) <= longest_walk) {
        for (const candidate* c = slot.head.load(std::memory_order_acquire); c; c = c->next.load(std::memory_order_acquire))
            if (const int s = c->score(key)) visit(*c, s);
        return;
    }
    const auto search = [&](const ip_address& local) {
        by_address_.for_each(hash_(local, key.flow.local_port), [&](const candidate& c) {
            if (c.local_port == key.flow.local_port && c.local == local)
                if (const int s = c.score(key)) visit(c, s);
            return true;
        });
    };
    search(key.flow.local);
    // Both wildcards may take an IPv4 packet.
    if (key.flow.local.is_v4()) search(ip_address::v4_any());
    search(ip_address::v6_any());
}

lookup_tables::glance lookup_tables::look_at(const port_slot& slot, const lookup_key& key) const {
    glance g;
    g.moves = slot.moves.load(std::memory_order_acquire);
    g.connected = slot.connected.load(std::memory_order_acquire) != 0;
    if (g.connected) g.flow_hash = hash_(key.flow);
    return g;
}

pcb* lookup_tables::search(const port_slot& slot, const lookup_key& key, const glance& g) const {
    contest c(key);
    const auto offer = [&](const candidate& e, int score) { c.offer(e, score); };
    if (g.connected) for_each_connected(key, g.flow_hash, offer);
    // A four-tuple that matches scores 13 at least, what stands in the slots 11 at most, unless it has half a peer.
    if (!c.best() || slot.half_connected.load(std::memory_order_acquire) != 0) for_each_in_slots(slot, key, offer);
    const candidate* best = c.best();
    if (best == nullptr) return nullptr;
    if (!best->reuse_port) return best->socket;
    if (mixed_ == mixed_rule::every && c.mixed()) return draw(slot, key, c.score());
    return best->members ? best->members->best_for(key.shard).pick(key.hash) : best->socket;
}

pcb* lookup_tables::find(const port_slot& slot, const lookup_key& key, glance g) const {
    for (;;) {
        pcb* p = search(slot, key, g);
        if (p || slot.moves.load(std::memory_order_acquire) == g.moves) return p;
        g = look_at(slot, key);
    }
}

/// One of all entries with this score, in proportion to the sockets behind each: the least of -ln(lot)/weight (Efraimidis,
/// Spirakis 2006), which needs no order, and when a socket comes or goes moves no flow between the others.
pcb* lookup_tables::draw(const port_slot& slot, const lookup_key& key, int score) const {
    const candidate* drawn = nullptr;
    double least = 0;
    for_each_in_slots(slot, key, [&](const candidate& c, int s) {
        if (s != score) return;
        const double weight = c.members ? c.members->best_for(key.shard).count() : 1;
        const double value = -std::log(lot(key.hash, c.first_placed(key.shard))) / weight;
        if (drawn && value >= least) return;
        drawn = &c;
        least = value;
    });
    // What the contest saw may be gone.
    if (drawn == nullptr) return nullptr;
    return drawn->members ? drawn->members->best_for(key.shard).pick(key.hash) : drawn->socket;
}

pcb* lookup_tables::find(const lookup_key& key) const {
    const port_slot* s = slot(key.flow.local_port);
    return s ? find(*s, key, look_at(*s, key)) : nullptr;
}

/// Four stages, so that the memory of the whole burst is fetched at once: the pointer by port, the slot, the head of the
/// list or of the hash slot, the entry.
void lookup_tables::find_burst(std::span<const lookup_key> keys, pcb** out) const {
    struct stage {
        const port_slot* slot;
        glance seen;
        std::uint32_t address_hash;
        bool by_address;
    };
    std::array<stage, burst> stages;
    for (const auto& k : keys) __builtin_prefetch(&ports_[k.flow.local_port]);
    for (std::size_t i = 0; i < keys.size(); i++) {
        stages[i] = {slot(keys[i].flow.local_port), {}, 0, false};
        __builtin_prefetch(stages[i].slot);
    }
    for (std::size_t i = 0; i < keys.size(); i++) {
        stage& s = stages[i];
        if (s.slot == nullptr) continue;
        s.seen = look_at(*s.slot, keys[i]);
        if (s.seen.connected) {
            by_flow_.prefetch(s.seen.flow_hash);
        } else if (s.slot->entries.load(std::memory_order_acquire) <= longest_walk) {
            prefetch_entry(s.slot->head.load(std::memory_order_acquire));
        } else {
            s.address_hash = hash_(keys[i].flow.local, keys[i].flow.local_port);
            s.by_address = true;
            by_address_.prefetch(s.address_hash);
        }
    }
    for (const stage& s : std::span(stages).first(keys.size())) {
        if (s.seen.connected) by_flow_.prefetch_first(s.seen.flow_hash);
        if (s.by_address) by_address_.prefetch_first(s.address_hash);
    }
    for (std::size_t i = 0; i < keys.size(); i++)
        out[i] = stages[i].slot ? find(*stages[i].slot, keys[i], stages[i].seen) : nullptr;
}

void lookup_tables::find(std::span<const lookup_key> keys, std::span<pcb*> out) const {
    for (std::size_t i = 0; i < keys.size(); i += burst)
        find_burst(keys.subspan(i, std::min(burst, keys.size() - i)), &out[i]);
}

std::size_t lookup_tables::for_each_receiver(const lookup_key& key, const std::function<void(pcb&)>& visit) const {
    const port_slot* s = slot(key.flow.local_port);
    if (s == nullptr) return 0;
    std::size_t visited = 0;
    const auto give = [&](pcb& p) {
        visit(p);
        ++visited;
    };
    const auto give_all = [&](const candidate& c, int) {
        if (c.members)
            c.members->all().for_each(give);
        else
            give(*c.socket);
    };
    if (s->connected.load(std::memory_order_acquire) != 0) for_each_connected(key, hash_(key.flow), give_all);
    for_each_in_slots(*s, key, give_all);
    return visited;
}

bool lookup_tables::wants_hash(std::uint16_t local_port) const {
    const port_slot* s = slot(local_port);
    if (s == nullptr) return false;
    if (s->groups.load(std::memory_order_relaxed) != 0) return true;
    return s->reuse_port.load(std::memory_order_relaxed) != 0 && s->entries.load(std::memory_order_relaxed) > 1;
}

}  // namespace skua::udp
