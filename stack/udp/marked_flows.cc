// Giving marks and taking them back.
#include "udp/marked_flows.hh"

namespace skua::udp {

marked_flows::marked_flows(rcu_domain& rcu, std::uint32_t places)
    : rcu_(rcu), places_(places), entries_(new std::atomic<const entry*>[places]()) {
    for (std::uint32_t mark = places; mark > 0; mark--) free_.push_back(mark);
}

marked_flows::~marked_flows() {
    for (std::uint32_t i = 0; i < places_; i++) delete entries_[i].load(std::memory_order_relaxed);
}

std::optional<std::uint32_t> marked_flows::add(const flow_key& flow, std::uint32_t device, pcb& p) {
    if (free_.empty()) return {};
    const std::uint32_t mark = free_.back();
    free_.pop_back();
    entries_[mark - 1].store(new entry{flow, device, &p}, std::memory_order_release);
    count_.fetch_add(1, std::memory_order_relaxed);
    return mark;
}

void marked_flows::remove(std::uint32_t mark) {
    const entry* const old = entries_[mark - 1].exchange(nullptr, std::memory_order_acq_rel);
    if (old == nullptr) return;
    rcu_.retire(std::unique_ptr<const entry>(old));
    count_.fetch_sub(1, std::memory_order_relaxed);
    free_.push_back(mark);
}

}  // namespace skua::udp
