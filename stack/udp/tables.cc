// The writers: bind, connect and their ends, each one under the lock.
#include "udp/tables.hh"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <utility>

#include "udp/ephemeral.hh"
#include "udp/explain.hh"
#include "udp/lookup.hh"
#include "udp/port_bindings.hh"

namespace skua::udp {

struct tables::state {
    state(rcu_domain& domain, random_source& source, const table_options& o)
        : rcu(domain),
          random(source),
          range{o.ephemeral_first, o.ephemeral_last},
          reserved(65536, false),
          homes(o.shards),
          search(domain, source, o.mixed, o.expected_sockets),
          ports(65536) {
        if (range.first == 0 || range.first > range.last)
            throw std::invalid_argument("the range of ephemeral ports is empty or begins at 0");
        for (const auto p : o.reserved_ports) reserved[p] = true;
        std::iota(homes.begin(), homes.end(), std::uint16_t(0));
    }

    rcu_domain& rcu;
    random_source& random;
    const port_range range;
    std::vector<bool> reserved;
    std::vector<std::uint16_t> homes;  // while the spread is not known
    spread over;
    mutable std::mutex lock;
    place_order last_order = 0;
    lookup_tables search;
    std::vector<std::unique_ptr<port_bindings>> ports;
    port_watch watch;

    /// A port that the pcb may be bound to, or nothing.
    std::optional<std::uint16_t> choose(const pcb& p, const bind_facts& facts,
                                        const std::function<bool(std::uint16_t)>& preferred = {});
    /// Gives an unbound pcb its place; its fields say where.
    void put(pcb& p, std::uint16_t port);
    void take_out(pcb& p);
    result<void> autobind(pcb& p, const std::function<bool(std::uint16_t)>& preferred = {});
    template <class Change>
    void move(pcb& p, Change&& change);
    std::vector<std::uint16_t> home_shards() const;
    /// At the end of what was done to a port.
    void tell(std::uint16_t port) const;
    void rehome(group& g, std::span<const std::uint16_t> to, const std::function<void(pcb&)>& moved);

private:
    candidate* enter(pcb& p, const group* known_in, candidate* old);
    void leave(std::uint16_t port, candidate* entry, group* was_in, pcb& p);
    void publish(placed_group& g, std::uint16_t port);
};

/// One that nobody has, if there is any: found without a look at who has the others, however full the range.
std::optional<std::uint16_t> tables::state::choose(const pcb& p, const bind_facts& facts,
                                                   const std::function<bool(std::uint16_t)>& preferred) {
    const port_range own = range.narrowed(p.ephemeral_first, p.ephemeral_last);
    if (preferred)
        if (const auto port =
                draw_port(random, own, reserved, [&](std::uint16_t one) { return !ports[one] && preferred(one); }))
            return port;
    if (const auto unused = choose_port(random, own, reserved, [&](std::uint16_t port) { return !ports[port]; }))
        return unused;
    return choose_port(random, own, reserved, [&](std::uint16_t port) { return !ports[port]->has_conflict(facts); });
}

/// Makes the group's entry what its members call for.
void tables::state::publish(placed_group& g, std::uint16_t port) {
    const auto enter = [&](const candidate& c) { g.entry = g.entry ? search.replace(g.entry, c) : search.add(c); };
    if (g.sockets->size() == 0) {
        if (g.entry) search.remove(std::exchange(g.entry, nullptr));
    } else if (g.sockets->size() == 1 && !g.sockets->by_generation()) {
        g.sockets->all().for_each([&](pcb& only) { enter(candidate::of(only, only.bound->placed_at)); });
    } else if (!g.entry || !g.entry->of_group || g.entry->hinted() != g.sockets->hinted()) {
        // Generations count what comes, and know flows, even while there is one member.
        enter(candidate::of(*g.sockets, port));
    }
}

/// Puts the pcb where it belongs: into a group, or under an entry of its own. `known_in`: a group that it is a member
/// of already; `old`: its own entry so far. Returns that of them which is still there.
candidate* tables::state::enter(pcb& p, const group* known_in, candidate* old) {
    const bind_facts facts(p);
    port_bindings& all = *ports[p.local.port];
    all.add(p, facts);
    if (p.reuse_port && p.remote.port == 0 && p.remote.address.is_any()) {
        placed_group* g = all.find_group(facts);
        if (g == nullptr) {
            g = &all.add_group(rcu, facts, over);
            g->sockets->set_selector(p.selects);
        }
        const bool stays = g->sockets.get() == known_in;
        if (stays || g->sockets->size() < group::most_members) {
            if (stays) g->sockets->update(p, p.bound->placed_at);
            else {
                if (!p.home_fixed) p.home_shard.store(g->sockets->emptiest(home_shards()), std::memory_order_relaxed);
                g->sockets->join(p, p.bound->placed_at);
            }
            p.member_of = g->sockets.get();
            publish(*g, p.local.port);
            return old;
        }
    }
    auto c = candidate::of(p, p.bound->placed_at);
    // Among sockets with one and the same peer the one connected last wins (udp_hash4).
    if (c.connected()) c.order = p.bound->connected_at;
    p.bound->entry = old ? search.replace(old, c) : search.add(c);
    return nullptr;
}

/// Leaves the place that `entry` or `was_in` stands for. The pcb's fields may speak of another place by now.
void tables::state::leave(std::uint16_t port, candidate* entry, group* was_in, pcb& p) {
    if (entry) search.remove(entry);
    if (was_in == nullptr) return;
    port_bindings& all = *ports[port];
    placed_group* g = all.find_group(was_in->facts());
    was_in->leave(p);
    publish(*g, port);
    if (was_in->size() > 0) return;
    auto gone = std::move(g->sockets);
    all.remove_group(*g, gone->facts().address);
    rcu.retire(std::move(gone));  // last: another thread may free it at once
}

void tables::state::put(pcb& p, std::uint16_t port) {
    p.local.port = port;
    p.bound = new binding{.bound_at = last_order + 1, .placed_at = last_order + 1, .with_option = p.reuse_port};
    ++last_order;
    if (!ports[port]) ports[port] = std::make_unique<port_bindings>();
    enter(p, nullptr, nullptr);
    rcu.reclaim();
}

void tables::state::take_out(pcb& p) {
    auto& all = ports[p.local.port];
    leave(p.local.port, p.bound->entry, std::exchange(p.member_of, nullptr), p);
    all->remove(p);
    if (all->empty()) all.reset();
    delete std::exchange(p.bound, nullptr);
    p.local.port = 0;
    rcu.reclaim();
}

/// Changes fields of a bound pcb, but for its port. Readers find it in its old place until they can find it in the new.
template <class Change>
void tables::state::move(pcb& p, Change&& change) {
    candidate* const entry = std::exchange(p.bound->entry, nullptr);
    group* const was_in = std::exchange(p.member_of, nullptr);
    ports[p.local.port]->remove(p);
    change();
    candidate* const left = enter(p, was_in, entry);
    leave(p.local.port, left, p.member_of == was_in ? nullptr : was_in, p);
    rcu.reclaim();
}

void tables::state::tell(std::uint16_t port) const {
    if (!watch) return;
    for (const auto f : {ip_family::v4, ip_family::v6}) {
        pcb* const only = ports[port] ? ports[port]->only(f) : nullptr;
        const bool has_peer = only && (only->remote.port != 0 || !only->remote.address.is_any());
        watch(port, f, has_peer ? nullptr : only);
    }
}

result<void> tables::state::autobind(pcb& p, const std::function<bool(std::uint16_t)>& preferred) {
    if (p.bound) return {};
    const auto port = choose(p, bind_facts(p), preferred);
    if (!port) return fail(EAGAIN);
    put(p, *port);
    return {};
}

tables::tables(rcu_domain& rcu, random_source& random, table_options options)
    : state_(std::make_unique<state>(rcu, random, options)) {}

tables::~tables() = default;

result<void> tables::bind(pcb& p, const endpoint& local) {
    const std::lock_guard hold(state_->lock);
    if (p.bound || (p.v6_only && local.address.is_v4())) return fail(EINVAL);
    const bool v6_proper = !local.address.is_v4() && !local.address.is_any();
    bind_facts facts(p);
    facts.address = local.address;
    facts.v6_only = p.v6_only || v6_proper;
    std::uint16_t port = local.port;
    if (port == 0) {
        const auto chosen = state_->choose(p, facts);
        if (!chosen) return fail(EADDRINUSE);
        port = *chosen;
    } else if (auto& all = state_->ports[port]) {
        if (all->first_met(facts) == bind_relation::conflicts) return fail(EADDRINUSE);
    }
    if (auto& all = state_->ports[port]; all && facts.reuse_port) {
        const placed_group* g = all->find_group(facts);
        if (g && g->sockets->size() >= group::most_members) return fail(EADDRINUSE);
    }
    p.local = local;
    p.v6_only = facts.v6_only;
    p.address_bound = p.family == ip_family::v6 ? local.address != ip_address::v6_any() : !local.address.is_any();
    p.port_bound = local.port != 0;
    state_->put(p, port);
    state_->tell(port);
    return {};
}

result<void> tables::autobind(pcb& p, const std::function<bool(std::uint16_t)>& preferred) {
    const std::lock_guard hold(state_->lock);
    const auto bound = state_->autobind(p, preferred);
    if (bound) state_->tell(p.local.port);
    return bound;
}

result<void> tables::connect(pcb& p, const ip_address& local, const endpoint& remote) {
    const std::lock_guard hold(state_->lock);
    if (const auto bound = state_->autobind(p); !bound) return bound;
    state_->move(p, [&] {
        p.remote = remote;
        p.bound->connected_at = ++state_->last_order;
        if (!p.local.address.is_any()) return;
        p.local.address = local;
        p.bound->placed_at = ++state_->last_order;
    });
    state_->tell(p.local.port);
    return {};
}

void tables::disconnect(pcb& p) {
    const std::lock_guard hold(state_->lock);
    const auto forget = [&] {
        p.remote = {ip_address::any(p.family), 0, 0};
        p.device = 0;  // __udp_disconnect
        const auto any = ip_address::any(p.family);
        if (p.address_bound || p.local.address == any) return;
        p.local.address = any;
        p.local.scope = 0;
        if (p.bound) p.bound->placed_at = ++state_->last_order;
    };
    const std::uint16_t port = p.local.port;
    if (p.bound && p.port_bound) {
        state_->move(p, forget);
    } else {
        if (p.bound) state_->take_out(p);
        forget();
    }
    state_->tell(port);
}

void tables::unbind(pcb& p) {
    const std::lock_guard hold(state_->lock);
    if (!p.bound) return;
    const std::uint16_t port = p.local.port;
    state_->take_out(p);
    state_->tell(port);
}

void tables::refresh(pcb& p) {
    const std::lock_guard hold(state_->lock);
    if (!p.bound) return;
    state_->move(p, [] {});
    state_->tell(p.local.port);
}

result<void> tables::attach(pcb& p, std::shared_ptr<const selector> s) {
    const std::lock_guard hold(state_->lock);
    if (p.bound != nullptr && p.member_of == nullptr) return fail(EINVAL);
    // Who got the option after it was bound begins no group: the next to come does (reuseport_attach_prog).
    if (p.bound != nullptr && !p.bound->with_option && p.member_of->size() == 1) return fail(EINVAL);
    if (p.bound == nullptr && !p.reuse_port) return fail(EINVAL);
    const auto& before = p.member_of ? p.member_of->chosen_by() : p.selects;
    if (!s && !before) return fail(ENOENT);
    if (p.member_of) p.member_of->set_selector(std::move(s));
    else p.selects = std::move(s);
    return {};
}

std::vector<std::uint16_t> tables::state::home_shards() const { return over.known() ? over.shards() : homes; }

/// As few as must: first those that may not stay, then from where most are to where fewest are.
void tables::state::rehome(group& g, std::span<const std::uint16_t> to, const std::function<void(pcb&)>& moved) {
    std::map<std::uint16_t, std::size_t> living;
    for (const auto shard : to) living[shard] = g.all().living_on(shard);
    const auto fewest = [&] {
        return std::ranges::min_element(living, {}, [](const auto& each) { return each.second; });
    };
    std::vector<pcb*> rehomed;
    g.all().for_each([&](pcb& p) {
        if (p.home_fixed) return;
        const auto at = living.find(p.home_shard.load(std::memory_order_relaxed));
        const auto best = fewest();
        if (at != living.end() && at->second <= best->second + 1) return;
        if (at != living.end()) at->second--;
        best->second++;
        p.home_shard.store(best->first, std::memory_order_relaxed);
        rehomed.push_back(&p);
        if (moved) moved(p);
    });
    if (!rehomed.empty()) g.align(rehomed);
}

void tables::set_spread(spread s) {
    const std::lock_guard hold(state_->lock);
    if (s == state_->over) return;
    state_->over = std::move(s);
    for (const auto& at : state_->ports)
        if (at) at->for_all_groups([](group& g) { g.align(); });
    state_->rcu.reclaim();
}

std::vector<std::uint16_t> tables::home_shards() const {
    const std::lock_guard hold(state_->lock);
    return state_->home_shards();
}

void tables::rehome_all(std::span<const std::uint16_t> shards, const std::function<void(pcb&)>& moved) {
    const std::lock_guard hold(state_->lock);
    state_->homes.assign(shards.begin(), shards.end());
    std::size_t next = 0;
    for (const auto& at : state_->ports) {
        if (!at) continue;
        at->for_all_groups([&](group& g) { state_->rehome(g, shards, moved); });
        at->for_all([&](pcb& p) {
            if (p.member_of || p.home_fixed || std::ranges::find(shards, p.home_shard.load()) != shards.end()) return;
            p.home_shard.store(shards[next++ % shards.size()], std::memory_order_relaxed);
            if (moved) moved(p);
        });
    }
    state_->rcu.reclaim();
}

void tables::watch_ports(port_watch watch) {
    const std::lock_guard hold(state_->lock);
    state_->watch = std::move(watch);
}

void tables::for_all_groups(const std::function<void(const group&)>& visit) const {
    const std::lock_guard hold(state_->lock);
    for (const auto& at : state_->ports)
        if (at) at->for_all_groups(visit);
}

std::unique_lock<std::mutex> tables::lock() const { return std::unique_lock(state_->lock); }

void tables::for_all(const std::function<void(const pcb&)>& visit) const {
    const std::lock_guard hold(state_->lock);
    for (const auto& at : state_->ports)
        if (at) at->for_all(visit);
}

void tables::prefetch(std::uint16_t local_port) const { state_->search.prefetch(local_port); }
pcb* tables::lookup(const lookup_key& key) const { return state_->search.find(key); }
void tables::lookup(std::span<const lookup_key> keys, std::span<pcb*> out) const { state_->search.find(keys, out); }

std::size_t tables::for_each_receiver(const lookup_key& key, const std::function<void(pcb&)>& visit) const {
    return state_->search.for_each_receiver(key, visit);
}

explanation tables::explain(const lookup_key& key) const { return state_->search.explain(key); }

bool tables::four_tuple_decides(std::uint16_t local_port) const {
    return state_->search.four_tuple_decides(local_port);
}

bool tables::wants_hash(std::uint16_t local_port) const { return state_->search.wants_hash(local_port); }

}  // namespace skua::udp
