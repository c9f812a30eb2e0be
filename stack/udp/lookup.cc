// Searching: all candidates of a packet, the best score, and what decides between equals.
#include "udp/lookup.hh"

#include <algorithm>
#include <cmath>

#include "udp/explain.hh"
#include "udp/selector.hh"

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
    std::string_view rule(mixed_rule r) const {
        if (tied_ == 1) return "highest score";
        if (mixed() && r == mixed_rule::every) return "equal scores: drawn among all by the hash of the flow";
        if (mixed()) return "equal scores: the group of the one bound last";
        if (!v4_ && best_->reuse_port) return "equal scores, IPv6 with SO_REUSEPORT: the one bound first";
        return "equal scores: the one bound last";
    }

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
void lookup_tables::for_each_connected(const port_slot& slot, const lookup_key& key, const glance& g,
                                       Visit&& visit) const {
    const bool v4 = key.flow.local.is_v4();
    by_flow_.for_each(g.flow_hash, [&](const candidate& c) {
        const int s = c.local_port == key.flow.local_port ? c.score(key, v4) : 0;
        if (s <= 0) return true;
        visit(c, s);
        // Read late: a twin that is not counted yet came after this lookup began.
        return slot.twins.load(std::memory_order_acquire) != 0;
    });
}

template <class Visit>
void lookup_tables::for_each_in_slots(const port_slot& slot, const lookup_key& key, const glance& g,
                                      Visit&& visit) const {
    const bool v4 = key.flow.local.is_v4();
    const port_entries entries = slot.entries.load(std::memory_order_acquire);
    if (!entries.many()) {
        entries.for_each([&](const candidate& c) {
            if (const int s = c.score(key, v4); s > 0) visit(c, s);
        });
        return;
    }
    const auto search = [&](const ip_address& local, std::uint32_t hash) {
        by_address_.for_each(hash, [&](const candidate& c) {
            if (c.local_port == key.flow.local_port && c.local == local)
                if (const int s = c.score(key, v4); s > 0) visit(c, s);
            return true;
        });
    };
    const auto hash_of = [&](const ip_address& local) { return hash_(local, key.flow.local_port); };
    search(key.flow.local, g.many ? g.address_hash : hash_of(key.flow.local));
    if (slot.wildcards.load(std::memory_order_acquire) == 0) return;
    // Both wildcards may take an IPv4 packet.
    if (v4) search(ip_address::v4_any(), hash_of(ip_address::v4_any()));
    search(ip_address::v6_any(), hash_of(ip_address::v6_any()));
}

/// The entry that wins, or nullptr. `watch` hears of each that matches: entry, score, whether by four-tuple.
template <class Watch>
const candidate* lookup_tables::search(const port_slot& slot, const lookup_key& key, const glance& g, contest& c,
                                       Watch&& watch) const {
    const auto offer = [&](bool four_tuple) {
        return [&c, &watch, four_tuple](const candidate& e, int score) {
            watch(e, score, four_tuple);
            c.offer(e, score);
        };
    };
    if (g.connected) for_each_connected(slot, key, g, offer(true));
    // A four-tuple that matches scores 13 at least, what stands in the slots 11 at most, unless it has half a peer.
    if (!c.best() || slot.half_connected.load(std::memory_order_acquire) != 0)
        for_each_in_slots(slot, key, g, offer(false));
    return c.best() && mixed_ == mixed_rule::every && c.mixed() ? draw(slot, key, g, c.score()) : c.best();
}

const candidate* lookup_tables::search(const port_slot& slot, const lookup_key& key, const glance& g) const {
    contest c(key);
    return search(slot, key, g, c, [](const candidate&, int, bool) {});
}

/// Most packets have one candidate: nothing to compare then. `first`: in the bucket that is looked into first.
const candidate* lookup_tables::only(const port_slot& slot, const lookup_key& key, const glance& g,
                                     const candidate* first) const {
    const auto none = [](const std::atomic<std::uint32_t>& n) { return n.load(std::memory_order_acquire) == 0; };
    if (g.connected)
        return first && first->takes_just(key.flow) && none(slot.twins) && none(slot.half_connected) ? first : nullptr;
    if (g.many) {
        const bool its = first && first->takes_just(key.flow.local, key.flow.local_port);
        return its && none(slot.sharers) && none(slot.wildcards) ? first : nullptr;
    }
    const candidate* const one = slot.entries.load(std::memory_order_acquire).one();
    return one && one->score(key, key.flow.local.is_v4()) > 0 ? one : nullptr;
}

pcb* lookup_tables::find(const port_slot& slot, const lookup_key& key, const glance& g, const candidate* first) const {
    const candidate* c = only(slot, key, g, first);
    if (c == nullptr) c = search(slot, key, g);
    if (slot.moves.load(std::memory_order_acquire) != g.moves) c = search_again(slot, key);
    return c != nullptr ? c->receiver(key) : nullptr;
}

const candidate* lookup_tables::first_of(const glance& g) const {
    if (g.connected) return by_flow_.first(g.flow_hash);
    return g.many ? by_address_.first(g.address_hash) : nullptr;
}

/// Until nothing was taken out meanwhile. A writer that is that quick every time lets through what was found last.
const candidate* lookup_tables::search_again(const port_slot& slot, const lookup_key& key) const {
    for (int round = 1;; round++) {
        glance g;
        look_at(slot, key, g);
        const candidate* const c = search(slot, key, g);
        if (slot.moves.load(std::memory_order_acquire) == g.moves || (c && round >= 16)) return c;
    }
}

/// One of all entries with this score, in proportion to the sockets behind each: the least of -ln(lot)/weight
/// (Efraimidis, Spirakis 2006), which needs no order, and when a socket comes or goes moves no flow between the others.
const candidate* lookup_tables::draw(const port_slot& slot, const lookup_key& key, const glance& g, int score) const {
    const candidate* drawn = nullptr;
    double least = 0;
    for_each_in_slots(slot, key, g, [&](const candidate& c, int s) {
        if (s != score) return;
        const double weight = c.of_group ? c.several->best_for(key.shard).count() : 1;
        const double value = -std::log(lot(key.hash, c.first_placed(key.shard))) / weight;
        if (drawn && value >= least) return;
        drawn = &c;
        least = value;
    });
    return drawn;  // nullptr: what the contest saw is gone
}

pcb* lookup_tables::find(const lookup_key& key) const {
    const port_slot& s = slot(key.flow.local_port);
    glance g;
    look_at(s, key, g);
    return find(s, key, g, first_of(g));
}

/// In stages, so that the memory of the whole burst is fetched at once: the slot, its list or the bucket, the entry. A
/// burst for one short list, the most common of all, has nothing to wait for and goes straight through.
void lookup_tables::find_burst(std::span<const lookup_key> keys, pcb** out) const {
    const port_slot& first = slot(keys[0].flow.local_port);
    bool one_slot = true;
    for (const auto& key : keys) {
        const port_slot& s = slot(key.flow.local_port);
        one_slot &= &s == &first;
        __builtin_prefetch(&s);
    }
    if (one_slot && first.connected.load(std::memory_order_acquire) == 0 &&
        !first.entries.load(std::memory_order_acquire).many()) {
        const candidate* const one = first.entries.load(std::memory_order_acquire).one();
        if (one && one->of_group) one->several->prefetch(keys);
        for (std::size_t i = 0; i < keys.size(); i++) {
            glance g;
            look_at(first, keys[i], g);
            out[i] = find(first, keys[i], g, nullptr);
        }
        return;
    }
    std::array<glance, burst> seen;
    for (std::size_t i = 0; i < keys.size(); i++) {
        const port_slot& s = slot(keys[i].flow.local_port);
        look_at(s, keys[i], seen[i]);
        if (seen[i].connected) by_flow_.prefetch(seen[i].flow_hash);
        else if (seen[i].many) by_address_.prefetch(seen[i].address_hash);
        else s.entries.load(std::memory_order_acquire).prefetch();
    }
    std::array<const candidate*, burst> firsts;
    for (std::size_t i = 0; i < keys.size(); i++) {
        __builtin_prefetch(firsts[i] = first_of(seen[i]));
        if (seen[i].connected || seen[i].many) continue;
        if (const auto* const few = slot(keys[i].flow.local_port).entries.load(std::memory_order_acquire).few())
            for (std::uint32_t k = 0; k < few->count; k++) __builtin_prefetch(few->at[k]);
    }
    for (std::size_t i = 0; i < keys.size(); i++)
        out[i] = find(slot(keys[i].flow.local_port), keys[i], seen[i], firsts[i]);
}

void lookup_tables::find(std::span<const lookup_key> keys, std::span<pcb*> out) const {
    for (std::size_t i = 0; i < keys.size(); i += burst)
        find_burst(keys.subspan(i, std::min(burst, keys.size() - i)), &out[i]);
}

std::size_t lookup_tables::for_each_receiver(const lookup_key& key, const std::function<void(pcb&)>& visit) const {
    const port_slot& s = slot(key.flow.local_port);
    std::size_t visited = 0;
    const auto give = [&](pcb& p) {
        visit(p);
        ++visited;
    };
    const auto give_all = [&](const candidate& c, int) {
        if (c.of_group) c.several->all().for_each(give);
        else give(*c.socket);
    };
    glance g;
    look_at(s, key, g);
    if (g.connected) for_each_connected(s, key, g, give_all);
    for_each_in_slots(s, key, g, give_all);
    return visited;
}

bool lookup_tables::wants_hash(std::uint16_t local_port) const {
    const port_slot& s = slot(local_port);
    if (s.groups.load(std::memory_order_relaxed) != 0) return true;
    return s.reuse_port.load(std::memory_order_relaxed) != 0 && s.count.load(std::memory_order_relaxed) > 1;
}

namespace {

explained_candidate told(const candidate& c, int score, bool four_tuple, const lookup_key& key) {
    return {.local = {c.local, c.local_port, 0},
            .remote = {c.remote, c.remote_port, 0},
            .device = c.device,
            .members = c.of_group ? c.several->size() : 1,
            .reuse_port = c.reuse_port != 0,
            .score = score,
            .placed = c.last_placed(key.shard),
            .four_tuple = four_tuple};
}

void tell_group(explanation& e, const group& g, const lookup_key& key) {
    const member_table& among = g.best_for(key.shard);
    e.buckets = among.bucket_count();
    e.bucket = key.hash & static_cast<std::uint32_t>(e.buckets - 1);
    if (g.chosen_by()) e.selector = g.chosen_by()->name();
    std::uint32_t place = 0;
    g.all().for_each([&](const pcb& p) {
        if (&p == e.socket) e.member = place;
        place++;
    });
}

}  // namespace

std::string_view to_string(explanation::way w) {
    switch (w) {
        case explanation::way::four_tuple: return "four-tuple";
        case explanation::way::port: return "port";
        case explanation::way::address: return "address";
        default: return "none";
    }
}

explanation lookup_tables::explain(const lookup_key& key) const {
    explanation e;
    const port_slot& s = slot(key.flow.local_port);
    e.entries = s.count.load(std::memory_order_relaxed);
    glance g;
    look_at(s, key, g);
    contest c(key);
    std::vector<const candidate*> met;
    const candidate* const won = search(s, key, g, c, [&](const candidate& one, int score, bool four_tuple) {
        met.push_back(&one);
        e.candidates.push_back(told(one, score, four_tuple, key));
    });
    e.searched = g.many ? explanation::way::address : explanation::way::port;
    if (won == nullptr) return e;
    const auto at = static_cast<std::size_t>(std::ranges::find(met, won) - met.begin());
    if (at < met.size()) {
        e.winner = at;
        if (e.candidates[at].four_tuple) e.searched = explanation::way::four_tuple;
    }
    e.rule = c.rule(mixed_);
    e.socket = won->receiver(key);
    if (won->of_group) tell_group(e, *won->several, key);
    return e;
}

}  // namespace skua::udp
