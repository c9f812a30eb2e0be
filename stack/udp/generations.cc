// Finding the member of a packet; members, their generations and their cookies.
#include "udp/generations.hh"

#include <algorithm>
#include <utility>

#include "udp/tables.hh"

namespace skua::udp {

namespace {

constexpr unsigned place_bits = 16;
constexpr std::uint32_t most_places = 1u << place_bits;
constexpr std::uint32_t first_places = 16;

flow_peer peer_of(const lookup_key& key) { return flow_peer::of(key.flow.remote, key.flow.remote_port, key.ifindex); }

std::uint32_t place_in(flow_table::seat_id seat) { return seat & (most_places - 1); }

}  // namespace

generations::generations(rcu_domain& rcu, dissector d, std::size_t flows, random_source& random)
    : rcu_(rcu),
      dissector_(std::move(d)),
      flows_(dissector_.is_flow() ? std::make_unique<flow_table>(flows, dissector_.flow_timeout(), random) : nullptr),
      cookies_(dissector_.has_cookies()
                   ? new std::atomic<flow_table::seat_id>[grm_cookie::generations * grm_cookie::indexes]()
                   : nullptr),
      places_(new places(first_places)),
      lanes_(new lane[lanes]) {
    for (std::uint32_t i = first_places; i-- > 0;) free_places_.push_back(i);
}

generations::~generations() { delete places_.load(std::memory_order_relaxed); }

// ---- readers ----

pcb* generations::member(flow_table::seat_id seat) const {
    const places* all = places_.load(std::memory_order_acquire);
    const std::uint32_t at = place_in(seat);
    if (at >= all->count) return nullptr;
    const place& p = all->all[at];
    // Whoever takes the place is named after its number was changed.
    pcb* const who = p.who.load(std::memory_order_acquire);
    return p.seat.load(std::memory_order_relaxed) == seat ? who : nullptr;
}

generations::finding generations::find_by_cookie(const grm_cookie& c) const {
    const flow_table::seat_id seat = cookie_seat(c.generation, c.index).load(std::memory_order_acquire);
    if (seat == 0) return {way::unseen};
    pcb* const who = member(seat);
    return {who ? way::established : way::left, who};
}

generations::finding generations::find(const lookup_key& key) const {
    if (flows_) {
        const auto known = flows_->find(peer_of(key), key.now);
        if (!known) return {way::unseen};
        if (known->expired) return {way::expired};
        pcb* const who = member(known->seat);
        return {who ? way::established : way::left, who};
    }
    const dissection said = dissector_.dissect(key);
    switch (said.what) {
        case dissection::kind::cookie: return find_by_cookie(said.cookie);
        case dissection::kind::bad_cookie: return {way::bad_cookie};
        case dissection::kind::too_short: return {way::too_short};
        case dissection::kind::unseen: break;
    }
    return {way::unseen, nullptr, said.app};
}

void generations::prefetch(std::span<const lookup_key> keys) const {
    if (!flows_) return;
    std::array<flow_peer, flow_table::burst> peers;
    for (std::size_t i = 0; i < keys.size(); i++) peers[i] = peer_of(keys[i]);
    flows_->prefetch(std::span(peers.data(), keys.size()));
}

pcb* generations::choose(const member_table& among, const lookup_key& key) const {
    const finding found = find(key);
    pcb* who = found.who;
    const member_table* working = nullptr;
    if (who == nullptr) {
        working = working_[found.app].load(std::memory_order_acquire);
        who = (working ? *working : among).pick(key.hash);
    }
    // Another shard's member is found once more there.
    if (key.looks_on != who->home_shard.load(std::memory_order_relaxed)) return who;
    lane& mine = lanes_[key.looks_on % lanes];
    mine.ways[static_cast<std::size_t>(found.how)].add();
    if (found.who == nullptr && working == nullptr) mine.no_working.add();
    return who;
}

flow_table::outcome generations::answered(registration& by, const endpoint& to, time_point now) {
    const flow_peer peer = flow_peer::of(to.address, to.port, to.scope);
    auto done = flows_->note(peer, by.seat, now);
    if (done.what == flow_table::outcome::conflict && member(done.holder) == nullptr)
        done = flows_->take_over(peer, done.holder, by.seat, now);
    by.answers[static_cast<std::size_t>(done.what)].fetch_add(1, std::memory_order_relaxed);
    return done.what;
}

// ---- members ----

/// A place whose numbers are used up is not free.
std::optional<std::uint32_t> generations::take_place() {
    if (free_places_.empty()) {
        const places* old = places_.load(std::memory_order_relaxed);
        if (old->count == most_places) return {};
        auto more = std::make_unique<places>(old->count * 2);
        for (std::uint32_t i = 0; i < old->count; i++) {
            more->all[i].seat.store(old->all[i].seat.load(std::memory_order_relaxed), std::memory_order_relaxed);
            more->all[i].who.store(old->all[i].who.load(std::memory_order_relaxed), std::memory_order_relaxed);
        }
        for (std::uint32_t i = more->count; i-- > old->count;) free_places_.push_back(i);
        places_.store(more.release(), std::memory_order_release);
        rcu_.retire(std::unique_ptr<const places>(old));
    }
    const std::uint32_t at = free_places_.back();
    free_places_.pop_back();
    return at;
}

void generations::enter(pcb& p) {
    const auto at = take_place();
    if (!at) return;
    place& there = places_.load(std::memory_order_relaxed)->all[*at];
    const flow_table::seat_id before = there.seat.load(std::memory_order_relaxed);
    const flow_table::seat_id seat = ((before >> place_bits) + 1) << place_bits | *at;
    there.seat.store(seat, std::memory_order_release);
    there.who.store(&p, std::memory_order_release);
    auto* r = new registration(*this, seat);
    registered_.insert(r);
    p.registered.store(r, std::memory_order_release);
}

void generations::leave(pcb& p) {
    registration* const r = p.registered.exchange(nullptr, std::memory_order_acq_rel);
    if (r == nullptr) return;
    if (r->generation != registration::none) leave_instance(p, *r);
    place& there = places_.load(std::memory_order_relaxed)->all[place_in(r->seat)];
    there.who.store(nullptr, std::memory_order_release);
    if (r->seat >> place_bits != most_places - 1) free_places_.push_back(place_in(r->seat));
    registered_.erase(r);
    take_answers(*r);
    rcu_.retire([this, r] {
        take_answers(*r);  // of who was still sending
        delete r;
    });
}

void generations::update(pcb& p) {
    const registration* r = p.registered.load(std::memory_order_relaxed);
    if (r == nullptr || r->generation == registration::none) return;
    instances_.at({r->app, r->generation})->set_weight(p, p.weight);
}

void generations::align() {
    for (auto& [which, table] : instances_) table->align();
}

// ---- generations ----

/// udpgrm shares the 32 out among the applications.
std::uint32_t generations::cookie_generation(std::uint32_t app, std::uint32_t generation) const {
    const std::uint32_t each = grm_cookie::generations / std::max(dissector_.max_apps(), 1u);
    return app * each + generation % each;
}

void generations::index_pool::take(std::uint32_t i) {
    if (i == next) next++;
    else given_back.erase(i);
}

result<void> generations::set_generation(pcb& p, std::uint32_t generation) {
    registration* const r = p.registered.load(std::memory_order_relaxed);
    if (r == nullptr) return fail(EAGAIN);
    if (generation == r->generation) return {};
    if (generation != registration::none && cookies_ &&
        indexes_[cookie_generation(r->app, generation)].first() >= grm_cookie::indexes)
        return fail(ENOSPC);
    if (r->generation != registration::none) leave_instance(p, *r);
    if (generation != registration::none) join_instance(p, *r, generation);
    return {};
}

void generations::join_instance(pcb& p, registration& r, std::uint32_t generation) {
    const std::uint32_t named = cookie_generation(r.app, generation);
    r.generation = generation;
    r.index = indexes_[named].first();
    indexes_[named].take(r.index);
    if (cookies_) cookie_seat(named, r.index).store(r.seat, std::memory_order_release);
    auto& table = instances_[{r.app, generation}];
    if (!table) table = std::make_unique<member_table>(rcu_, spread_);
    table->join(p, ++last_order_, p.weight);
    publish(r.app);
}

void generations::leave_instance(pcb& p, registration& r) {
    // The cookie goes on naming who left, until somebody else gets the index.
    indexes_[cookie_generation(r.app, r.generation)].given_back.insert(r.index);
    const auto at = instances_.find({r.app, r.generation});
    if (at->second->size() > 1) {
        at->second->leave(p);
    } else {
        auto last = std::move(at->second);
        instances_.erase(at);
        publish(r.app);
        rcu_.retire(std::move(last));
    }
    r.generation = r.index = registration::none;
}

result<void> generations::set_app(pcb& p, std::uint32_t app) {
    registration* const r = p.registered.load(std::memory_order_relaxed);
    if (r == nullptr) return fail(EAGAIN);
    if (app == r->app) return {};
    if (r->generation != registration::none) return fail(EEXIST);
    if (app >= dissector_.max_apps()) return fail(EOVERFLOW);
    r->app = app;
    return {};
}

void generations::set_working(const pcb& p, std::uint32_t generation) {
    working_number_[app_of(p)] = generation;
    publish(app_of(p));
}

void generations::publish(std::uint32_t app) {
    const auto at = instances_.find({app, working_number_[app]});
    working_[app].store(at == instances_.end() ? nullptr : at->second.get(), std::memory_order_release);
}

std::uint32_t generations::app_of(const pcb& p) const {
    const registration* r = p.registered.load(std::memory_order_relaxed);
    return r ? r->app : 0;
}

std::uint16_t generations::cookie_of(const pcb& p) const {
    const registration* r = p.registered.load(std::memory_order_relaxed);
    if (r == nullptr || r->index >= grm_cookie::indexes) return 0;
    return grm_cookie{static_cast<std::uint8_t>(cookie_generation(r->app, r->generation)),
                      static_cast<std::uint8_t>(r->index)}
        .pack();
}

// ---- counters ----

void generations::take_answers(registration& r) {
    for (std::size_t i = 0; i < past_answers_.size(); i++)
        past_answers_[i].fetch_add(r.answers[i].exchange(0, std::memory_order_relaxed), std::memory_order_relaxed);
}

generation_counters generations::counted() const {
    std::array<std::uint64_t, std::size_t(way::count_)> ways{};
    std::uint64_t no_working = 0;
    for (std::size_t i = 0; i < lanes; i++) {
        for (std::size_t w = 0; w < ways.size(); w++) ways[w] += lanes_[i].ways[w].get();
        no_working += lanes_[i].no_working.get();
    }
    const auto came = [&](way w) { return ways[static_cast<std::size_t>(w)]; };
    generation_counters c;
    for (const auto n : ways) c.rx_processed_total += n;
    c.rx_packet_too_short_error = came(way::too_short);
    c.rx_dissected_ok_total = c.rx_processed_total - c.rx_packet_too_short_error;
    c.rx_flow_ok = came(way::established);
    c.rx_flow_other_error = came(way::left);
    c.rx_flow_new_had_expired = came(way::expired);
    c.rx_flow_new_bad_cookie = came(way::bad_cookie);
    c.rx_flow_new_unseen = came(way::unseen) + came(way::expired) + came(way::bad_cookie);
    c.rx_new_flow_total = c.rx_processed_total - c.rx_flow_ok;
    c.rx_new_flow_working_gen_dispatch_error = no_working;
    c.rx_new_flow_working_gen_dispatch_ok = c.rx_new_flow_total - no_working;

    std::array<std::uint64_t, std::size_t(flow_table::outcome::count_)> answers{};
    for (std::size_t i = 0; i < answers.size(); i++) {
        answers[i] = past_answers_[i].load(std::memory_order_relaxed);
        for (const registration* r : registered_) answers[i] += r->answers[i].load(std::memory_order_relaxed);
    }
    const auto was = [&](flow_table::outcome o) { return answers[static_cast<std::size_t>(o)]; };
    using enum flow_table::outcome;
    for (const auto n : answers) c.tx_total += n;
    c.tx_flow_create_ok = was(created) + was(renewed);
    c.tx_flow_create_from_expired_ok = was(renewed);
    c.tx_flow_create_error = was(busy);
    c.tx_flow_update_ok = was(updated) + was(taken_over);
    c.tx_flow_update_conflict = was(conflict);
    c.orphaned = was(taken_over);
    if (flows_) c.evicted = flows_->evicted();
    return c;
}

std::vector<std::pair<std::string_view, std::uint64_t>> generations::counters() const {
    const auto c = counted();
    return {
        {"rx_processed_total", c.rx_processed_total},
        {"rx_packet_too_short_error", c.rx_packet_too_short_error},
        {"rx_dissected_ok_total", c.rx_dissected_ok_total},
        {"rx_flow_ok", c.rx_flow_ok},
        {"rx_flow_other_error", c.rx_flow_other_error},
        {"rx_flow_new_unseen", c.rx_flow_new_unseen},
        {"rx_flow_new_had_expired", c.rx_flow_new_had_expired},
        {"rx_flow_new_bad_cookie", c.rx_flow_new_bad_cookie},
        {"rx_new_flow_total", c.rx_new_flow_total},
        {"rx_new_flow_working_gen_dispatch_ok", c.rx_new_flow_working_gen_dispatch_ok},
        {"rx_new_flow_working_gen_dispatch_error", c.rx_new_flow_working_gen_dispatch_error},
        {"tx_total", c.tx_total},
        {"tx_flow_create_ok", c.tx_flow_create_ok},
        {"tx_flow_create_from_expired_ok", c.tx_flow_create_from_expired_ok},
        {"tx_flow_create_error", c.tx_flow_create_error},
        {"tx_flow_update_ok", c.tx_flow_update_ok},
        {"tx_flow_update_conflict", c.tx_flow_update_conflict},
        {"orphaned", c.orphaned},
        {"evicted", c.evicted},
        {"flows", flows_ ? flows_->size() : 0},
        {"flow_room", flows_ ? flows_->capacity() : 0},
        {"working_gen", working_number_[0]},
    };
}

}  // namespace skua::udp
