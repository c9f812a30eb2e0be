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
    if (c == nullptr) return;
    __builtin_prefetch(c);
    __builtin_prefetch(reinterpret_cast<const std::byte*>(c) + 64);
}

}  // namespace

/// The best so far. Among equals the one that stands first in Linux's slots: the one placed last, or, for an IPv6
/// packet, those with SO_REUSEPORT behind the others and in the order of placing. The packet's family decides, so an
/// IPv4 packet that dual-stack sockets compete for goes by the rule of IPv4.
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
void lookup_tables::for_each_connected(const port_slot& slot, const lookup_key& key, std::uint32_t hash,
                                       Visit&& visit) const {
    const bool v4 = key.flow.local.is_v4();
    by_flow_.for_each(hash, [&](const candidate& c) {
        const int s = c.local_port == key.flow.local_port ? c.score(key, v4) : 0;
        if (s <= 0) return true;
        visit(c, s);
        // Read late: a twin that is not counted yet came after this lookup began.
        return slot.twins.load(std::memory_order_acquire) != 0;
    });
}

template <class Visit>
void lookup_tables::for_each_in_slots(const port_slot& slot, const lookup_key& key, Visit&& visit) const {
    const bool v4 = key.flow.local.is_v4();
    if (slot.walked()) {
        for (const candidate* c = slot.head.load(std::memory_order_acquire); c;
             c = c->next.load(std::memory_order_acquire))
            if (const int s = c->score(key, v4); s > 0) visit(*c, s);
        return;
    }
    const auto search = [&](const ip_address& local) {
        by_address_.for_each(hash_(local, key.flow.local_port), [&](const candidate& c) {
            if (c.local_port == key.flow.local_port && c.local == local)
                if (const int s = c.score(key, v4); s > 0) visit(c, s);
            return true;
        });
    };
    search(key.flow.local);
    if (slot.wildcards.load(std::memory_order_acquire) == 0) return;
    // Both wildcards may take an IPv4 packet.
    if (v4) search(ip_address::v4_any());
    search(ip_address::v6_any());
}

pcb* lookup_tables::search(const port_slot& slot, const lookup_key& key, const glance& g) const {
    contest c(key);
    const auto offer = [&](const candidate& e, int score) { c.offer(e, score); };
    if (g.connected) for_each_connected(slot, key, g.hash, offer);
    // A four-tuple that matches scores 13 at least, what stands in the slots 11 at most, unless it has half a peer.
    if (!c.best() || slot.half_connected.load(std::memory_order_acquire) != 0) for_each_in_slots(slot, key, offer);
    if (!c.best()) return nullptr;
    return mixed_ == mixed_rule::every && c.mixed() ? draw(slot, key, c.score()) : c.best()->receiver(key);
}

pcb* lookup_tables::find(const port_slot& slot, const lookup_key& key, const glance& g) const {
    // Most ports have one entry: nothing to compare then.
    const candidate* only = slot.head.load(std::memory_order_acquire);
    if (!g.connected && only && !only->next.load(std::memory_order_acquire) &&
        only->score(key, key.flow.local.is_v4()) > 0)
        return only->receiver(key);
    pcb* p = search(slot, key, g);
    return p || slot.moves.load(std::memory_order_acquire) == g.moves ? p : find_again(slot, key);
}

pcb* lookup_tables::find_again(const port_slot& slot, const lookup_key& key) const {
    for (;;) {
        const glance g = look_at(slot, key);
        pcb* p = search(slot, key, g);
        if (p || slot.moves.load(std::memory_order_acquire) == g.moves) return p;
    }
}

/// One of all entries with this score, in proportion to the sockets behind each: the least of -ln(lot)/weight
/// (Efraimidis, Spirakis 2006), which needs no order, and when a socket comes or goes moves no flow between the others.
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
    return drawn->receiver(key);
}

pcb* lookup_tables::find(const lookup_key& key) const {
    const port_slot* s = slot(key.flow.local_port);
    return s ? find(*s, key, look_at(*s, key)) : nullptr;
}

/// In stages, so that the memory of the whole burst is fetched at once: the slot, the head of the list or of the hash
/// slot, the entry. A burst for one short list, the most common of all, has nothing to wait for and goes straight
/// through.
void lookup_tables::find_burst(std::span<const lookup_key> keys, pcb** out) const {
    std::array<const port_slot*, burst> slots;
    slots[0] = nullptr;
    bool one_slot = true;
    for (std::size_t i = 0; i < keys.size(); i++) {
        slots[i] = slot(keys[i].flow.local_port);
        one_slot &= slots[i] == slots[0];
        __builtin_prefetch(slots[i]);
    }
    if (one_slot && slots[0] && slots[0]->connected.load(std::memory_order_acquire) == 0 && slots[0]->walked()) {
        for (std::size_t i = 0; i < keys.size(); i++) out[i] = find(*slots[0], keys[i], look_at(*slots[0], keys[i]));
        return;
    }
    std::array<glance, burst> seen;
    for (std::size_t i = 0; i < keys.size(); i++) {
        if (slots[i] == nullptr) continue;
        seen[i] = look_at(*slots[i], keys[i]);
        if (seen[i].connected) by_flow_.prefetch(seen[i].hash);
        else if (slots[i]->walked()) prefetch_entry(slots[i]->head.load(std::memory_order_acquire));
        else by_address_.prefetch(hash_(keys[i].flow.local, keys[i].flow.local_port));
    }
    for (std::size_t i = 0; i < keys.size(); i++) {
        if (slots[i] == nullptr) continue;
        if (seen[i].connected) by_flow_.prefetch_first(seen[i].hash);
        else if (!slots[i]->walked()) by_address_.prefetch_first(hash_(keys[i].flow.local, keys[i].flow.local_port));
    }
    for (std::size_t i = 0; i < keys.size(); i++) out[i] = slots[i] ? find(*slots[i], keys[i], seen[i]) : nullptr;
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
        if (c.members) c.members->all().for_each(give);
        else give(*c.socket);
    };
    if (s->connected.load(std::memory_order_acquire) != 0) for_each_connected(*s, key, hash_(key.flow), give_all);
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
