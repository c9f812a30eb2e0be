// The four loops, in turn: burst and feed, single and feed; medians of short samples.
#include "lookup/measure.hh"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <span>
#include <stdexcept>

#include "lookup/clock.hh"

namespace skua::lookup_perf {

namespace {

constexpr std::size_t flows_in_all = 1 << 20;  // of 40 bytes each
constexpr std::size_t sample = 4096;           // lookups

double allocated() {
    const auto m = mallinfo2();
    return static_cast<double>(m.uordblks + m.hblkhd);
}

/// Keeps the compiler from leaving out what was computed.
template <class T>
void consume(const T& value) {
    asm volatile("" : : "r"(&value) : "memory");
}

/// One loop over the packets: from where it stopped last, a sample at a time.
class loop {
public:
    explicit loop(std::span<const flow_key> flows) : flows_(flows) {}

    /// `look` gets the keys of a burst and room for what they find. Samples in which the thread was preempted do not
    /// count.
    template <class Look>
    void run(Look&& look) {
        const auto flows = flows_.subspan(at_, sample);
        at_ = (at_ + sample) % flows_.size();
        const long before = preemptions();
        const std::uint64_t start = cycles_now();
        std::array<udp::lookup_key, burst> keys;
        std::array<udp::pcb*, burst> found;
        for (std::size_t i = 0; i < sample; i += burst) {
            for (std::size_t k = 0; k < burst; k++) keys[k].flow = flows[i + k];
            consume(keys);
            look(keys, found);
            consume(found);
        }
        const std::uint64_t end = cycles_now();
        if (preemptions() == before) samples_.push_back(static_cast<double>(end - start) / sample);
    }

    /// Of all samples so far; `part` in [0, 1].
    double quantile(double part) {
        if (samples_.empty()) throw std::runtime_error("the machine is too busy: every sample was preempted");
        const auto nth =
            samples_.begin() + static_cast<std::ptrdiff_t>(part * static_cast<double>(samples_.size() - 1));
        std::ranges::nth_element(samples_, nth);
        return *nth;
    }

private:
    const std::span<const flow_key> flows_;
    std::size_t at_ = 0;
    std::vector<double> samples_;
};

cost cost_of(loop& looked, double feed) {
    return {std::max(0.0, looked.quantile(0.5) - feed), feed, looked.quantile(0.75) - looked.quantile(0.25)};
}

void check_all_found(const udp::tables& tables, std::span<const flow_key> flows) {
    for (std::size_t i = 0; i < flows.size(); i += 64) {
        udp::lookup_key key;
        key.flow = flows[i];
        if (tables.lookup(key) == nullptr) throw std::runtime_error("a packet found no socket");
    }
}

}  // namespace

figures measure(table_kind kind, ip_family family, std::size_t sockets, bool quick) {
    population all(kind, family);
    all.reserve(sockets);
    const double before = allocated();
    all.add_all();
    while (all.rcu.reclaim() != 0) {
    }
    const double taken = allocated() - before;

    const rcu_domain::poller reader(all.rcu);
    const auto flows = all.random_flows(flows_in_all, sockets, 7);
    check_all_found(all.tables, flows);
    loop bursts(flows), single(flows), feed(flows);
    for (int round = 0; round < (quick ? 128 : 768); round++) {
        feed.run([](auto&, auto&) {});
        bursts.run([&](auto& keys, auto& found) { all.tables.lookup(keys, found); });
        single.run([&](auto& keys, auto& found) {
            for (std::size_t k = 0; k < burst; k++) found[k] = all.tables.lookup(keys[k]);
        });
    }
    const double empty = feed.quantile(0.5);
    return {kind,
            family,
            sockets,
            all.ports_for(sockets),
            all.addresses_for(sockets),
            cost_of(single, empty),
            cost_of(bursts, empty),
            taken / static_cast<double>(sockets)};
}

}  // namespace skua::lookup_perf
