// Chains of entries behind an index, and a queue by age.
//
// An entry fills half a cache line and has a version: who reads it without the lock looks at the version before and
// after (odd: it is being written). A chain changes under its readers only when an entry is taken out of it, and
// `moves` tells who found nothing to look again.
//
// The queue by age has 1,024 bins of equal width, together a little more than the timeout. An answer writes its time
// into the entry and leaves it in its bin; only who looks for the oldest finds that it belongs further on, and puts it
// there. A new flow does four steps of that or, when the table is full, as many as it takes: 1,024 at most, and then
// the oldest of these goes.
#include "udp/flow_table.hh"

#include <rte_pause.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

namespace skua::udp {

namespace {

using tick = std::uint32_t;
constexpr unsigned tick_shift = 24;         // 2^24 ns: 16.8 ms
constexpr tick longest_timeout = 1u << 30;  // 208 days: what is older is told from what is to come by the sign
constexpr std::size_t largest_part = 65536;
constexpr std::uint32_t none = 0;  // entries count from 1

tick tick_of(time_point t) {
    return static_cast<tick>(static_cast<std::uint64_t>(t.time_since_epoch().count()) >> tick_shift);
}

tick ticks_of(nanoseconds timeout) {
    const auto ns = static_cast<std::uint64_t>(std::max<nanoseconds::rep>(timeout.count(), 0));
    return static_cast<tick>(std::min<std::uint64_t>((ns >> tick_shift) + 1, longest_timeout));
}

/// Not waited for longer than some microseconds: then its holder does not run.
class brief_lock {
public:
    bool take() {
        for (unsigned tries = 0; tries < 256; tries++) {
            if (!held_.load(std::memory_order_relaxed) && !held_.exchange(true, std::memory_order_acquire)) return true;
            rte_pause();
        }
        return false;
    }
    void give() { held_.store(false, std::memory_order_release); }

private:
    std::atomic<bool> held_{false};
};

}  // namespace

flow_peer flow_peer::on_link(const ip_address& address, std::uint16_t port, std::uint32_t link) {
    ipv6_address with_link = address.v6();
    for (unsigned i = 0; i < 4; i++) with_link.bytes[4 + i] ^= static_cast<std::uint8_t>(link >> (24 - 8 * i));
    return {with_link, port};
}

class flow_table::part {
public:
    part(std::size_t capacity, tick timeout, const keyed_hash& hash)
        : hash_(hash),
          timeout_(timeout),
          bin_width_(timeout / (bins - 8) + 1),
          mask_(static_cast<std::uint32_t>(std::bit_ceil(capacity) - 1)),
          capacity_(static_cast<std::uint32_t>(capacity)),
          index_(new std::atomic<std::uint32_t>[mask_ + std::size_t(1)]()),
          entries_(new entry[capacity]),
          younger_(new std::uint32_t[capacity]) {}

    std::optional<known> find(const flow_peer& peer, std::uint32_t hash, tick now) const;
    answer settle(const flow_peer& peer, std::uint32_t hash, seat_id from, seat_id by, tick now);
    void prefetch(std::uint32_t hash) const { rte_prefetch0(&index_[hash & mask_]); }
    void prefetch_first(std::uint32_t hash) const {
        if (const std::uint32_t i = index_[hash & mask_].load(std::memory_order_relaxed)) rte_prefetch0(&at(i));
    }
    std::size_t size() const { return used_.load(std::memory_order_relaxed); }
    std::uint64_t evicted() const { return evicted_.load(std::memory_order_relaxed); }
    std::size_t memory() const {
        return sizeof *this + (mask_ + std::size_t(1)) * sizeof index_[0] +
               capacity_ * (sizeof entries_[0] + sizeof younger_[0]);
    }

private:
    struct alignas(32) entry {
        std::atomic<std::uint64_t> high{0}, low{0};  // the address
        std::atomic<std::uint32_t> next{none};       // in the chain
        std::atomic<seat_id> seat{0};
        std::atomic<tick> answered{0};
        std::atomic<std::uint16_t> port{0};
        std::atomic<std::uint16_t> version{0};
    };
    static_assert(sizeof(entry) == 32);
    /// What somebody without the lock saw of an entry.
    struct sighting {
        entry* of;
        seat_id seat;
        tick answered;
    };
    /// Entries in the order in which they came, linked by younger_.
    struct queue {
        std::uint32_t first = none, last = none;
    };
    static constexpr std::uint32_t bins = 1024;
    static constexpr unsigned most_looks = 1024;
    static constexpr unsigned most_tries = 64;  // without the lock: who has it may be preempted

    entry& at(std::uint32_t i) const { return entries_[i - 1]; }
    std::uint32_t& younger(std::uint32_t i) { return younger_[i - 1]; }
    bool expired(tick answered, tick now) const {
        return static_cast<std::int32_t>(now - answered) > static_cast<std::int32_t>(timeout_);
    }
    bool is_of(const entry& e, const flow_peer& peer) const {
        return e.low.load(std::memory_order_acquire) == peer.address.low_raw() &&
               e.high.load(std::memory_order_acquire) == peer.address.high() &&
               e.port.load(std::memory_order_acquire) == peer.port;
    }
    std::optional<sighting> look(const flow_peer& peer, std::uint32_t hash) const;

    // ---- with the lock ----
    entry* locate(const flow_peer& peer, std::uint32_t hash) const;
    answer settle_locked(const flow_peer& peer, std::uint32_t hash, seat_id from, seat_id by, tick now);
    void add(const flow_peer& peer, std::uint32_t hash, seat_id by, tick now);
    template <class Write>
    static void rewrite(entry& e, Write&& write);
    std::uint32_t free_entry(tick now);
    std::uint32_t idle_longest();
    void unlink(std::uint32_t i);
    std::uint32_t bin_of(std::uint32_t i) const { return at(i).answered.load(std::memory_order_relaxed) / bin_width_; }
    void enqueue(std::uint32_t i);
    void put_back(std::uint32_t i);
    std::uint32_t dequeue();
    void move_on(std::uint32_t newest);

    const keyed_hash& hash_;
    const tick timeout_;
    const tick bin_width_;
    const std::uint32_t mask_;
    const std::uint32_t capacity_;
    const std::unique_ptr<std::atomic<std::uint32_t>[]> index_;
    const std::unique_ptr<entry[]> entries_;
    std::atomic<std::uint32_t> moves_{0};

    alignas(64) mutable brief_lock lock_;
    const std::unique_ptr<std::uint32_t[]> younger_;
    std::array<queue, bins> queues_{};
    std::uint32_t oldest_ = 0, newest_ = 0;  // bins
    std::uint32_t never_used_ = 1;           // entries from here on
    std::uint32_t free_ = none;
    std::atomic<std::uint32_t> used_{0};
    std::atomic<std::uint64_t> evicted_{0};
};

std::optional<flow_table::part::sighting> flow_table::part::look(const flow_peer& peer, std::uint32_t hash) const {
    for (unsigned tries = 0; tries < most_tries; tries++) {
        const std::uint32_t moves = moves_.load(std::memory_order_acquire);
        std::uint32_t i = index_[hash & mask_].load(std::memory_order_acquire);
        for (; i != none; i = at(i).next.load(std::memory_order_acquire)) {
            entry& e = at(i);
            const std::uint16_t version = e.version.load(std::memory_order_acquire);
            if (!is_of(e, peer)) continue;
            const sighting seen{&e, e.seat.load(std::memory_order_acquire), e.answered.load(std::memory_order_acquire)};
            if ((version & 1) == 0 && e.version.load(std::memory_order_relaxed) == version) return seen;
            break;
        }
        if (i == none && moves_.load(std::memory_order_relaxed) == moves) return {};
    }
    // It never rests here. The lock makes it.
    if (!lock_.take()) return {};
    entry* const e = locate(peer, hash);
    std::optional<sighting> seen;
    if (e) seen = {e, e->seat.load(std::memory_order_relaxed), e->answered.load(std::memory_order_relaxed)};
    lock_.give();
    return seen;
}

std::optional<flow_table::known> flow_table::part::find(const flow_peer& peer, std::uint32_t hash, tick now) const {
    const auto seen = look(peer, hash);
    if (!seen) return {};
    return known{seen->seat, expired(seen->answered, now)};
}

flow_table::answer flow_table::part::settle(const flow_peer& peer, std::uint32_t hash, seat_id from, seat_id by,
                                            tick now) {
    const auto seen = look(peer, hash);
    if (seen && !expired(seen->answered, now)) {
        if (seen->seat == by) {
            // A thread that was preempted brings an old time, and the entry may be another flow's by now: neither may
            // make a flow older than others know it.
            tick was = seen->answered;
            if (static_cast<std::int32_t>(now - was) > 0)
                seen->of->answered.compare_exchange_strong(was, now, std::memory_order_relaxed);
            return {outcome::updated, by};
        }
        if (seen->seat != from) return {outcome::conflict, seen->seat};
    }
    if (!lock_.take()) return {outcome::busy, 0};
    const answer done = settle_locked(peer, hash, from, by, now);
    lock_.give();
    return done;
}

flow_table::answer flow_table::part::settle_locked(const flow_peer& peer, std::uint32_t hash, seat_id from, seat_id by,
                                                   tick now) {
    entry* const e = locate(peer, hash);
    if (e == nullptr) {
        add(peer, hash, by, now);
        return {outcome::created, by};
    }
    const seat_id holder = e->seat.load(std::memory_order_relaxed);
    const bool late = expired(e->answered.load(std::memory_order_relaxed), now);
    if (!late && holder != by && holder != from) return {outcome::conflict, holder};
    rewrite(*e, [&] {
        e->seat.store(by, std::memory_order_release);
        e->answered.store(now, std::memory_order_release);
    });
    return {late ? outcome::renewed : holder == by ? outcome::updated : outcome::taken_over, by};
}

flow_table::part::entry* flow_table::part::locate(const flow_peer& peer, std::uint32_t hash) const {
    std::uint32_t i = index_[hash & mask_].load(std::memory_order_relaxed);
    while (i != none && !is_of(at(i), peer)) i = at(i).next.load(std::memory_order_relaxed);
    return i == none ? nullptr : &at(i);
}

/// `write` stores with release, so that who sees any of it sees the odd version too.
template <class Write>
void flow_table::part::rewrite(entry& e, Write&& write) {
    const std::uint16_t version = e.version.load(std::memory_order_relaxed);
    e.version.store(static_cast<std::uint16_t>(version + 1), std::memory_order_relaxed);
    write();
    e.version.store(static_cast<std::uint16_t>(version + 2), std::memory_order_release);
}

void flow_table::part::add(const flow_peer& peer, std::uint32_t hash, seat_id by, tick now) {
    move_on(now / bin_width_);
    const std::uint32_t i = free_entry(now);
    entry& e = at(i);
    auto& chain = index_[hash & mask_];
    rewrite(e, [&] {
        e.high.store(peer.address.high(), std::memory_order_release);
        e.low.store(peer.address.low_raw(), std::memory_order_release);
        e.port.store(peer.port, std::memory_order_release);
        e.seat.store(by, std::memory_order_release);
        e.answered.store(now, std::memory_order_release);
        e.next.store(chain.load(std::memory_order_relaxed), std::memory_order_release);
    });
    chain.store(i, std::memory_order_release);
    enqueue(i);
    used_.fetch_add(1, std::memory_order_relaxed);
}

std::uint32_t flow_table::part::free_entry(tick now) {
    for (unsigned looks = 0; looks < 4; looks++) {
        const std::uint32_t i = dequeue();
        if (i == none) break;
        if (expired(at(i).answered.load(std::memory_order_relaxed), now)) {
            unlink(i);
            younger(i) = std::exchange(free_, i);
        } else if (bin_of(i) <= oldest_) {
            put_back(i);
            break;
        } else {
            enqueue(i);
        }
    }
    if (free_ != none) return std::exchange(free_, younger(free_));
    if (never_used_ <= capacity_) return never_used_++;
    const std::uint32_t i = idle_longest();
    if (!expired(at(i).answered.load(std::memory_order_relaxed), now)) evicted_.fetch_add(1, std::memory_order_relaxed);
    unlink(i);
    return i;
}

std::uint32_t flow_table::part::idle_longest() {
    std::uint32_t oldest = dequeue();
    for (unsigned looks = 1; bin_of(oldest) > oldest_ && looks < most_looks; looks++) {
        std::uint32_t other = dequeue();
        if (other == none) break;
        if (bin_of(other) < bin_of(oldest)) std::swap(other, oldest);
        enqueue(other);
    }
    return oldest;
}

void flow_table::part::unlink(std::uint32_t i) {
    const entry& e = at(i);
    ipv6_address address;
    const std::uint64_t halves[2] = {e.high.load(std::memory_order_relaxed), e.low.load(std::memory_order_relaxed)};
    std::memcpy(address.bytes.data(), halves, sizeof halves);
    auto* link = &index_[hash_(address, e.port.load(std::memory_order_relaxed)) & mask_];
    while (link->load(std::memory_order_relaxed) != i) link = &at(link->load(std::memory_order_relaxed)).next;
    link->store(e.next.load(std::memory_order_relaxed), std::memory_order_release);
    // Not before: who begins with the new count must not come by this entry, which may be another chain's at once.
    moves_.fetch_add(1, std::memory_order_release);
    used_.fetch_sub(1, std::memory_order_relaxed);
}

// ---- the queue by age ----

void flow_table::part::enqueue(std::uint32_t i) {
    const std::uint32_t bin = std::clamp(bin_of(i), oldest_, newest_);
    queue& q = queues_[bin % bins];
    younger(i) = none;
    if (q.first == none) q.first = i;
    else younger(q.last) = i;
    q.last = i;
}

/// To the front, where dequeue() took it.
void flow_table::part::put_back(std::uint32_t i) {
    queue& q = queues_[oldest_ % bins];
    younger(i) = q.first;
    if (q.first == none) q.last = i;
    q.first = i;
}

std::uint32_t flow_table::part::dequeue() {
    while (queues_[oldest_ % bins].first == none && oldest_ < newest_) oldest_++;
    queue& q = queues_[oldest_ % bins];
    const std::uint32_t i = q.first;
    if (i != none) q.first = younger(i);
    return i;
}

/// Makes room for a bin. What would fall off the other end goes to the front of the last that stays.
void flow_table::part::move_on(std::uint32_t newest) {
    if (newest <= newest_) return;
    newest_ = newest;
    if (newest - oldest_ < bins) return;
    const std::uint32_t last = newest - bins + 1;
    queue all;
    for (std::uint32_t bin = oldest_, n = 0; bin <= last && n < bins; bin++, n++) {
        queue& q = queues_[bin % bins];
        if (q.first == none) continue;
        if (all.first == none) all = q;
        else {
            younger(all.last) = q.first;
            all.last = q.last;
        }
        q = {};
    }
    oldest_ = last;
    queues_[last % bins] = all;
}

// ---- the table ----

flow_table::flow_table(std::size_t capacity, nanoseconds timeout, random_source& random)
    : capacity_(std::clamp<std::size_t>(capacity, 1, most_flows)), hash_(random) {
    const std::size_t parts = std::bit_ceil((capacity_ + largest_part - 1) / largest_part);
    std::size_t each = (capacity_ + parts - 1) / parts;
    // Chance gives some parts more than others: six standard deviations.
    if (parts > 1) each += static_cast<std::size_t>(6 * std::sqrt(static_cast<double>(each)));
    for (std::size_t i = 0; i < parts; i++) parts_.push_back(std::make_unique<part>(each, ticks_of(timeout), hash_));
}

flow_table::~flow_table() = default;

flow_table::place flow_table::place_of(const flow_peer& peer) const {
    const std::uint32_t hash = hash_(peer.address, peer.port);
    // The chain is chosen by the low bits.
    return {*parts_[(hash >> 24) & (parts_.size() - 1)], hash};
}

std::optional<flow_table::known> flow_table::find(const flow_peer& peer, time_point now) const {
    const place p = place_of(peer);
    return p.in.find(peer, p.hash, tick_of(now));
}

void flow_table::prefetch(std::span<const flow_peer> peers) const {
    struct {
        const part* in;
        std::uint32_t hash;
    } all[burst];
    for (std::size_t i = 0; i < peers.size(); i++) {
        const place p = place_of(peers[i]);
        all[i] = {&p.in, p.hash};
        p.in.prefetch(p.hash);
    }
    for (std::size_t i = 0; i < peers.size(); i++) all[i].in->prefetch_first(all[i].hash);
}

flow_table::answer flow_table::note(const flow_peer& peer, seat_id by, time_point now) {
    return take_over(peer, 0, by, now);
}

flow_table::answer flow_table::take_over(const flow_peer& peer, seat_id from, seat_id by, time_point now) {
    const place p = place_of(peer);
    return p.in.settle(peer, p.hash, from, by, tick_of(now));
}

std::size_t flow_table::size() const {
    std::size_t all = 0;
    for (const auto& p : parts_) all += p->size();
    return all;
}

std::uint64_t flow_table::evicted() const {
    std::uint64_t all = 0;
    for (const auto& p : parts_) all += p->evicted();
    return all;
}

std::size_t flow_table::memory() const {
    std::size_t all = sizeof *this;
    for (const auto& p : parts_) all += p->memory() + sizeof p;
    return all;
}

}  // namespace skua::udp
