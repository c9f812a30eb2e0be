// The steps of a move.
#include "control/steering.hh"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "port/respread.hh"
#include "udp/group.hh"

namespace skua::control {

namespace {

using namespace std::chrono_literals;

/// From a change of the table until nothing comes to the old queue any more: what is inside the NIC meanwhile.
constexpr nanoseconds pipeline = 100us;

bool same_key(const port::port& a, const port::port& b) {
    constexpr auto n = port::toeplitz::key_bytes;
    return std::ranges::equal(a.rss_key().first(n), b.rss_key().first(n));
}

}  // namespace

steering::steering(steering_rule rule, const std::vector<std::unique_ptr<port::port>>& ports,
                   const std::vector<std::unique_ptr<shard::shard>>& shards, shard::exchange& mailboxes,
                   udp::tables& tables, rehomed_call rehomed)
    : rule_(rule),
      ports_(ports),
      shards_(shards),
      mailboxes_(mailboxes),
      tables_(tables),
      rehomed_(std::move(rehomed)),
      weights_(shards.size(), 1) {
    note_active();
}

std::string steering::obstacle() const {
    if (ports_.empty()) return "the application drives the ports";
    for (const auto& p : ports_) {
        if (p->reta().empty()) return fmt::format("port {} has no redirection table that can be set", p->name());
        if (p->rx_queues() < shards_.size())
            return fmt::format("port {} has {} queues for {} shards", p->name(), p->rx_queues(), shards_.size());
    }
    return {};
}

std::uint16_t steering::nth_active(std::size_t n) const {
    std::uint64_t set = active_set_.load(std::memory_order_relaxed);
    for (n %= static_cast<std::size_t>(std::popcount(set)); n > 0; n--) set &= set - 1;
    return static_cast<std::uint16_t>(std::countr_zero(set));
}

void steering::note_active() {
    std::uint64_t set = 0;
    for (std::size_t i = 0; i < weights_.size(); i++) set |= std::uint64_t(weights_[i] != 0) << i;
    active_set_.store(set, std::memory_order_relaxed);
    active_.store(static_cast<unsigned>(std::popcount(set)), std::memory_order_relaxed);
}

// Ports that share one key and say the same, whatever the sizes of their tables.
void steering::align() {
    udp::spread agreed;
    const auto settle = [&](std::string why) {
        not_aligned_ = std::move(why);
        tables_.set_spread(not_aligned_.empty() ? std::move(agreed) : udp::spread());
    };
    if (rule_ == steering_rule::off) return settle("steering is off");
    if (shards_.size() == 1) return settle("there is one shard");
    if (ports_.empty()) return settle("the application drives the ports");
    std::vector<std::uint16_t> largest;
    for (const auto& p : ports_) {
        const auto table = p->reta();
        if (!p->spreads(ip_family::v4) || !p->spreads(ip_family::v6))
            return settle(fmt::format("how port {} spreads flows over its queues is not known", p->name()));
        if (!std::has_single_bit(table.size()))
            return settle(fmt::format("the table of port {} has {} entries", p->name(), table.size()));
        if (!same_key(*p, *ports_.front())) return settle(fmt::format("port {} has a key of its own", p->name()));
        if (table.size() > largest.size()) largest = table;
    }
    for (const auto& p : ports_)
        for (std::uint32_t h = 0; h < largest.size(); h++)
            if (p->queue_of(h) != largest[h])
                return settle(fmt::format("the tables of the ports differ ({})", p->name()));
    agreed = udp::spread(std::move(largest));
    settle({});
}

result<void> steering::begin(std::vector<std::uint32_t> weights) {
    if (weights.size() != shards_.size() || std::ranges::all_of(weights, [](auto w) { return w == 0; }))
        return fail(EINVAL);
    if (phase_ != phase::idle) return fail(EBUSY);
    if (!obstacle().empty()) return fail(ENOTSUP);
    wanted_ = std::move(weights);
    port_ = 0;
    settled_ = false;
    next_port();
    return {};
}

std::vector<unsigned> steering::everyone() const {
    std::vector<unsigned> all(shards_.size());
    for (unsigned i = 0; i < all.size(); i++) all[i] = i;
    return all;
}

void steering::set(const std::vector<unsigned>& shards, shard::intake how) {
    for (const auto i : shards) shards_[i]->set_intake(how);
}

bool steering::reached(const std::vector<unsigned>& shards) const {
    return std::ranges::all_of(shards, [this](unsigned i) { return shards_[i]->intake_reached(); });
}

void steering::note_turns() {
    turns_.clear();
    for (const auto& s : shards_) turns_.push_back(s->counts().polls.get());
}

/// Two turns: the one that was under way, and a whole one.
bool steering::turned() const {
    for (std::size_t i = 0; i < shards_.size(); i++)
        if (shards_[i]->counts().polls.get() < turns_[i] + 2) return false;
    return true;
}

void steering::next_port() {
    for (; port_ < ports_.size(); port_++) {
        const auto now = ports_[port_]->reta();
        table_ = port::respread(now, wanted_);
        std::vector<unsigned> gainers, losers;
        for (std::size_t i = 0; i < now.size(); i++) {
            if (now[i] == table_[i]) continue;
            gainers.push_back(table_[i]);
            losers.push_back(now[i]);
        }
        if (gainers.empty()) continue;
        set_movers(std::move(gainers), std::move(losers));
        set(gainers_, shard::intake::held);
        phase_ = phase::holding;
        return;
    }
    set(everyone(), shard::intake::held);
    phase_ = phase::quieting;
    note_turns();
}

void steering::set_movers(std::vector<unsigned> gainers, std::vector<unsigned> losers) {
    for (auto* of : {&gainers, &losers}) {
        std::ranges::sort(*of);
        of->erase(std::unique(of->begin(), of->end()), of->end());
    }
    gainers_ = std::move(gainers);
    losers_ = std::move(losers);
}

void steering::change_table(time_point now) {
    if (const auto moved = ports_[port_]->steer(table_); !moved) return finish(moved);
    changed_at_ = now;
    phase_ = phase::waiting;
}

void steering::mark_rings() {
    marks_.clear();
    for (const auto from : losers_)
        for (unsigned to = 0; to < shards_.size(); to++)
            if (to != from) marks_.push_back({from, to, mailboxes_.ring(from, to).given()});
}

bool steering::marks_passed() const {
    return std::ranges::all_of(marks_,
                               [this](const mark& m) { return mailboxes_.ring(m.from, m.to).taken_up_to(m.at); });
}

bool steering::advance(time_point now) {
    switch (phase_) {
        case phase::idle: return true;
        case phase::holding:
            if (reached(gainers_)) change_table(now);
            break;
        case phase::waiting:
            if (now - changed_at_ < pipeline) break;
            set(losers_, shard::intake::draining);
            phase_ = phase::draining;
            break;
        case phase::draining:
            if (!reached(losers_)) break;
            mark_rings();
            phase_ = phase::passing;
            turns_.clear();
            break;
        case phase::passing:
            // What was taken out of a ring has arrived when the turn is over.
            if (turns_.empty() && marks_passed()) note_turns();
            if (turns_.empty() || !turned()) break;
            if (settled_) {
                conclude();
                break;
            }
            set(gainers_, shard::intake::open);
            set(losers_, shard::intake::open);
            port_++;
            next_port();
            break;
        case phase::quieting:
            if (!reached(everyone())) break;
            if (!mailboxes_.quiet()) note_turns();
            else if (turned()) settle(now);
            break;
    }
    return phase_ == phase::idle;
}

void steering::settle(time_point now) {
    weights_ = wanted_;
    note_active();
    std::vector<std::uint16_t> homes;
    for (unsigned i = 0; i < active(); i++) homes.push_back(nth_active(i));
    std::vector<unsigned> left;
    tables_.rehome_all(homes, [&](udp::pcb& p) {
        const auto before = rehomed_ ? rehomed_(p) : std::nullopt;
        if (before) left.push_back(*before);
    });
    align();
    if (left.empty()) return conclude();
    settled_ = true;
    set_movers({}, std::move(left));
    changed_at_ = now;
    phase_ = phase::waiting;
}

void steering::conclude() {
    for (std::size_t i = 0; i < shards_.size(); i++) shards_[i]->set_resting(weights_[i] == 0);
    finish({});
}

void steering::finish(result<void> how) {
    outcome_ = how;
    phase_ = phase::idle;
    set(everyone(), shard::intake::open);
}

void steering::abandon() {
    if (phase_ == phase::idle) return;
    finish(fail(ECANCELED));
    align();
}

std::vector<std::uint32_t> steering::weights_of_groups() const {
    std::vector<std::uint32_t> living(shards_.size());
    std::size_t members = 0;
    tables_.for_all_groups([&](const udp::group& g) {
        if (g.size() <= members) return;
        members = g.size();
        for (std::size_t i = 0; i < living.size(); i++)
            living[i] = static_cast<std::uint32_t>(g.all().living_on(static_cast<std::uint16_t>(i)));
    });
    const bool everywhere = std::ranges::find(living, 0u) == living.end();
    return members > 1 && everywhere ? living : std::vector<std::uint32_t>{};
}

}  // namespace skua::control
