// The states of neighbours: timers, parked datagrams, and who must leave when the table is full.
#include "net/neighbour.hh"

#include <algorithm>
#include <optional>

#include "net/arp.hh"
#include "net/ethernet_output.hh"
#include "net/nd.hh"
#include "wire/ethernet.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"

namespace skua::net {

namespace {

using enum neighbour_state;

/// States that end by themselves.
constexpr std::array timed = {incomplete, reachable, stale, delay, probe, failed};

constexpr nanoseconds draw_interval = std::chrono::minutes(5);         // Linux: neigh_periodic_work
constexpr nanoseconds look_interval = std::chrono::milliseconds(100);  // short against delay_first_probe_time
// Incomplete entries may displace stale ones until they are one in this many; then they displace each other. So a scan
// leaves most of the table alone, yet an honest entry is not pushed out by the next address of a scan.
constexpr std::size_t incomplete_share = 4;

wire::ether_type type_of(const ip_address& next_hop) {
    return next_hop.is_v4() ? wire::ether_type::ipv4 : wire::ether_type::ipv6;
}

void send(packet::packet datagram, const mac_address& to, const interface& on, wire::ether_type type, sender& out) {
    if (prepend_ethernet(datagram, to, on.mac, type)) out.transmit(std::move(datagram), on);
    else out.drop(std::move(datagram), drop_reason::no_mbuf);
}

/// Takes the oldest datagram parked behind a neighbour.
packet::packet unpark(neighbour& n) {
    rte_mbuf* m = n.first_parked;
    n.first_parked = packet::meta_of(m).link;
    if (!n.first_parked) n.last_parked = nullptr;
    --n.parked;
    return packet::packet(m);
}

void append(neighbour& n, packet::packet datagram) {
    rte_mbuf* m = datagram.release();
    packet::meta_of(m).link = nullptr;
    (n.last_parked ? packet::meta_of(n.last_parked).link : n.first_parked) = m;
    n.last_parked = m;
    ++n.parked;
}

/// Source address of the datagram that waits longest, if it is one of ours.
std::optional<ip_address> source_of_parked(const neighbour& n, const topology& map) {
    if (!n.first_parked) return {};
    ip_address source;
    if (n.address.is_v4()) {
        if (n.first_parked->data_len < sizeof(wire::ipv4_header)) return {};
        source = rte_pktmbuf_mtod(n.first_parked, const wire::ipv4_header*)->source;
        if (!map.is_local(source) || source.is_loopback()) return {};
    } else {
        if (n.first_parked->data_len < sizeof(wire::ipv6_header)) return {};
        source = rte_pktmbuf_mtod(n.first_parked, const wire::ipv6_header*)->source;
        // RFC 4861 §7.2.2: only an address of this interface.
        if (const auto* held = map.find_address(source, n.ifindex); !held || !held->usable()) return {};
    }
    return source;
}

}  // namespace

neighbour_table::neighbour_table(rcu_domain& rcu, random_source& random, neighbour_options options)
    : options_(options),
      cache_(rcu, random, options.max_entries),
      claims_(options.claims),
      reachable_time_(options.base_reachable_time) {}

neighbour_table::~neighbour_table() {
    cache_.for_all([](neighbour& n) {
        while (n.first_parked) unpark(n);
    });
}

std::vector<neighbour_info> neighbour_table::list() const {
    std::vector<neighbour_info> all;
    cache_.for_all([&](const neighbour& n) {
        const auto link = n.link.load(std::memory_order_acquire);
        all.push_back({n.ifindex, n.address, link.mac, link.state, link.router});
    });
    return all;
}

// ---- requests of the control side ----

void neighbour_table::set_permanent(std::uint32_t ifindex, const ip_address& address, const mac_address& mac) {
    ask({request::kind::set, ifindex, address, mac});
}

void neighbour_table::remove(std::uint32_t ifindex, const ip_address& address) {
    ask({request::kind::remove, ifindex, address, {}});
}

void neighbour_table::forget_interface(std::uint32_t ifindex) { ask({request::kind::forget, ifindex, {}, {}}); }

void neighbour_table::ask(const request& r) {
    const std::lock_guard hold(requests_lock_);
    requests_.push_back(r);
    requested_.store(true, std::memory_order_release);
}

void neighbour_table::serve_requests(const context& c, sender& out) {
    std::vector<request> all;
    {
        const std::lock_guard hold(requests_lock_);
        all.swap(requests_);
        requested_.store(false, std::memory_order_relaxed);
    }
    for (const auto& r : all) serve(r, c, out);
}

void neighbour_table::serve(const request& r, const context& c, sender& out) {
    if (r.what == request::kind::forget) {
        for (const auto s : {incomplete, reachable, stale, delay, probe, failed, permanent})
            for (neighbour* n = cache_.first(s); n;) {
                neighbour* next = n->next;
                if (n->ifindex == r.ifindex) forget(*n, drop_reason::tx_no_route, out);
                n = next;
            }
        return;
    }
    neighbour* n = cache_.find(r.ifindex, r.address);
    if (r.what == request::kind::remove) {
        if (n) forget(*n, drop_reason::neigh_failed, out);
        return;
    }
    if (!n) n = cache_.add(r.ifindex, r.address);
    if (n) learn(*n, {r.mac, permanent, false}, c, out);
}

// ---- who is kept ----

neighbour* neighbour_table::add(std::uint32_t ifindex, const ip_address& a, const context& c, sender& out) {
    if (cache_.full() && !evict(c, out)) return nullptr;
    return cache_.add(ifindex, a);
}

/// Makes a place by giving up who is least likely to be missed: a scan of addresses pushes out its own unanswered
/// entries, and those that nobody sends to any more, but none in use.
bool neighbour_table::evict(const context& c, sender& out) {
    neighbour* victim = cache_.first(failed);
    if (!victim && cache_.count(incomplete) * incomplete_share >= options_.max_entries)
        victim = cache_.first(incomplete);
    if (!victim) {
        while ((victim = cache_.first(stale)) && victim->used.load(std::memory_order_relaxed)) start_delay(*victim, c);
    }
    if (!victim) victim = cache_.first(incomplete);
    if (!victim) return false;
    forget(*victim, drop_reason::neigh_table_full, out);
    return true;
}

void neighbour_table::forget(neighbour& n, drop_reason parked, sender& out) {
    drop_parked(n, parked, out);
    cache_.remove(n);
}

void neighbour_table::drop_parked(neighbour& n, drop_reason why, sender& out) {
    while (n.first_parked) out.drop(unpark(n), why);
}

// ---- states ----

time_point neighbour_table::due_in(neighbour_state s, time_point now) const {
    switch (s) {
        case incomplete:
        case probe: return now + options_.retransmit_time;
        case reachable: return now + reachable_time_;
        case delay: return now + options_.delay_first_probe_time;
        case stale:
        case failed: return now + options_.gc_stale_time;
        default: return time_point::max();
    }
}

void neighbour_table::learn(neighbour& n, const neighbour_link& link, const context& c, sender& out) {
    // Before other shards may send to it: what they send must not overtake what was parked.
    if (const interface* on = c.map.by_index(n.ifindex)) {
        while (n.first_parked) send(unpark(n), link.mac, *on, type_of(n.address), out);
    } else {
        drop_parked(n, drop_reason::tx_no_route, out);
    }
    n.learned = c.now;
    n.used.store(false, std::memory_order_relaxed);
    cache_.enter(n, link, due_in(link.state, c.now));
}

void neighbour_table::start_delay(neighbour& n, const context& c) {
    auto link = n.now();
    link.state = delay;
    cache_.enter(n, link, due_in(delay, c.now));
}

void neighbour_table::fail_to_resolve(neighbour& n, const context& c, sender& out) {
    drop_parked(n, drop_reason::neigh_failed, out);
    cache_.enter(n, {{}, failed, false}, due_in(failed, c.now));
}

/// Asks for its address: everyone, or in state probe only itself.
void neighbour_table::solicit(neighbour& n, const context& c, sender& out) {
    ++n.solicits;
    const interface* on = c.map.by_index(n.ifindex);
    if (!on) return;
    const auto link = n.now();
    const path way{on, n.address, destination_kind::unicast, {}};
    auto source = source_of_parked(n, c.map);
    if (!source) {
        const auto chosen = c.map.source_for(n.address, way);
        if (!chosen) return;
        source = *chosen;
    }
    if (n.address.is_v4())
        send_arp_request(out, *on, link.state == probe ? link.mac : mac_address::broadcast(), source->v4(),
                         n.address.v4());
    else send_solicitation(c, out, *on, *source, n.address, link.state == probe ? &link.mac : nullptr);
}

/// A state has lasted its time.
void neighbour_table::expire(neighbour& n, const context& c, sender& out) {
    auto link = n.now();
    switch (link.state) {
        case incomplete:
        case probe:
            if (n.solicits >= (link.state == probe ? options_.unicast_solicits : options_.multicast_solicits))
                return fail_to_resolve(n, c, out);
            solicit(n, c, out);
            break;
        case reachable:
            link.state = stale;
            n.used.store(false, std::memory_order_relaxed);
            break;
        case stale:
            if (n.used.load(std::memory_order_relaxed)) return start_delay(n, c);
            return forget(n, drop_reason::neigh_failed, out);
        case delay:
            link.state = probe;
            n.solicits = 0;
            cache_.enter(n, link, due_in(probe, c.now));
            return solicit(n, c, out);
        default: return forget(n, drop_reason::neigh_failed, out);
    }
    cache_.enter(n, link, due_in(link.state, c.now));
}

void neighbour_table::park(packet::packet datagram, std::uint32_t ifindex, const ip_address& next_hop, const context& c,
                           sender& out) {
    const interface* on = c.map.by_index(ifindex);
    if (!on) return out.drop(std::move(datagram), drop_reason::tx_no_route);
    neighbour* n = cache_.find(ifindex, next_hop);
    if (n && is_usable(n->state())) {  // became known while the datagram was on its way from another shard
        if (n->state() == stale) start_delay(*n, c);
        return send(std::move(datagram), n->now().mac, *on, type_of(next_hop), out);
    }
    if (!n && !(n = add(ifindex, next_hop, c, out)))
        return out.drop(std::move(datagram), drop_reason::neigh_table_full);
    if (n->parked >= options_.queue_packets && n->parked > 0) out.drop(unpark(*n), drop_reason::neigh_queue_full);
    append(*n, std::move(datagram));
    if (n->state() == incomplete) return;
    n->solicits = 0;
    cache_.enter(*n, {{}, incomplete, false}, due_in(incomplete, c.now));
    solicit(*n, c, out);
}

// ---- time ----

void neighbour_table::tick(const context& c, sender& out) {
    if (requested_.load(std::memory_order_acquire)) serve_requests(c, out);
    if (c.map.serial() != topology_seen_) adopt(c, out);
    if (c.now >= next_draw_) {
        next_draw_ = c.now + draw_interval;
        const auto base = options_.base_reachable_time.count();
        reachable_time_ =
            nanoseconds(base / 2 + static_cast<std::int64_t>(c.random.below(static_cast<std::uint64_t>(base) + 1)));
    }
    if (stale_used_.load(std::memory_order_relaxed) && c.now >= next_look_) look_for_used(c);
    for (const auto s : timed)
        while (cache_.first(s) && cache_.first(s)->due <= c.now) expire(*cache_.first(s), c, out);
    claims_.tick(c, out);
}

time_point neighbour_table::next_due() const {
    if (requested_.load(std::memory_order_relaxed)) return time_point::min();
    time_point due = claims_.next_due();
    if (stale_used_.load(std::memory_order_relaxed)) due = std::min(due, next_look_);
    for (const auto s : timed)
        if (const neighbour* n = cache_.first(s)) due = std::min(due, n->due);
    return due;
}

void neighbour_table::look_for_used(const context& c) {
    stale_used_.exchange(false, std::memory_order_acquire);
    next_look_ = c.now + look_interval;
    for (neighbour* n = cache_.first(stale); n;) {
        neighbour* next = n->next;
        if (n->used.load(std::memory_order_relaxed)) start_delay(*n, c);
        n = next;
    }
}

void neighbour_table::adopt(const context& c, sender& out) {
    topology_seen_ = c.map.serial();
    for (std::size_t s = 0; s < static_cast<std::size_t>(count_); s++)
        for (neighbour* n = cache_.first(static_cast<neighbour_state>(s)); n;) {
            neighbour* next = n->next;
            if (!c.map.by_index(n->ifindex)) forget(*n, drop_reason::tx_no_route, out);
            n = next;
        }
    claims_.adopt(c.map, c.now);
}

}  // namespace skua::net
