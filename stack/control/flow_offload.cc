// Rules come and go with the peers of sockets.
#include "control/flow_offload.hh"

#include <algorithm>

namespace skua::control {

namespace {

std::uint32_t places_for(const std::vector<port_config>& asked) {
    std::uint32_t most = 0;
    for (const auto& p : asked) most = std::max(most, p.flow_rules);
    return most;
}

}  // namespace

flow_offload::flow_offload(rcu_domain& rcu, const std::vector<std::unique_ptr<port::port>>& ports,
                           const std::vector<port_config>& asked)
    : marks_(rcu, ports.empty() ? 0 : places_for(asked)) {
    for (std::size_t i = 0; i < ports.size(); i++) {
        queues_.push_back(ports[i]->rx_queues());
        const bool wanted = ports[i]->rx_queues() > 1 && asked[i].flow_rules != 0;
        rules_.push_back(wanted ? std::make_unique<port::flow_rules>(ports[i]->id(), asked[i].flow_rules) : nullptr);
        if (wanted) ports[i]->tell(rules_.back()->capabilities());
    }
}

void flow_offload::install(const udp::pcb& p, flow& f) {
    const std::uint16_t home = p.home_shard.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < rules_.size(); i++) {
        if (!rules_[i] || home >= queues_[i]) continue;
        if (const auto made = rules_[i]->add(f.key, home, f.mark)) f.rules.emplace_back(i, *made);
    }
}

void flow_offload::take_out(flow& f) {
    for (const auto& [port, rule] : f.rules) rules_[port]->remove(rule);
    f.rules.clear();
}

void flow_offload::peer_changed(udp::pcb& p, bool connected) {
    if (std::ranges::none_of(rules_, [](const auto& r) { return r && r->takes_flows(); })) return;
    const std::lock_guard hold(lock_);
    if (const auto at = flows_.find(&p); at != flows_.end()) {
        take_out(at->second);
        if (at->second.mark != 0) marks_.remove(at->second.mark);
        flows_.erase(at);
    }
    if (!connected) return;
    flow f{.key = {p.local.address, p.remote.address, p.local.port, p.remote.port}, .device = p.device};
    f.mark = marks_.add(f.key, f.device, p).value_or(0);
    install(p, f);
    if (f.rules.empty() && f.mark != 0) marks_.remove(f.mark);
    else flows_.emplace(&p, std::move(f));
}

void flow_offload::rehomed(udp::pcb& p) {
    const std::lock_guard hold(lock_);
    const auto at = flows_.find(&p);
    if (at == flows_.end()) return;
    take_out(at->second);
    install(p, at->second);
}

std::size_t flow_offload::rules_of(const udp::pcb& p) const {
    const std::lock_guard hold(lock_);
    const auto at = flows_.find(&p);
    return at == flows_.end() ? 0 : at->second.rules.size();
}

}  // namespace skua::control
