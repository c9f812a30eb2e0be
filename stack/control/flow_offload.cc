// Rules come and go with the ports and the peers of sockets.
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
                           const std::vector<port_config>& asked, const taker_of& taker)
    : marks_(rcu, ports.empty() ? 0 : places_for(asked)) {
    for (std::size_t i = 0; i < ports.size(); i++) {
        queues_.push_back(ports[i]->rx_queues());
        auto& rules = rules_.emplace_back();
        if (ports[i]->rx_queues() == 1 || asked[i].flow_rules == 0) continue;
        const auto id = ports[i]->id();
        rules =
            std::make_unique<port::flow_rules>(taker ? taker(id) : port::rule_taker::of_port(id), asked[i].flow_rules);
        ports[i]->tell(rules->capabilities());
    }
}

void flow_offload::install(const udp::pcb& p, flow& f) {
    f.queue = p.home_shard.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < rules_.size(); i++) {
        if (!rules_[i] || f.queue >= queues_[i]) continue;
        if (const auto made = rules_[i]->add(f.key, f.queue, f.mark)) f.rules.emplace_back(i, *made);
    }
}

void flow_offload::install(const port_name& name, open_port& o) {
    o.queue = o.of->home_shard.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < rules_.size(); i++) {
        if (!rules_[i] || o.queue >= queues_[i]) continue;
        if (const auto made = rules_[i]->add_port(name.second, name.first, o.queue)) o.rules.emplace_back(i, *made);
    }
}

void flow_offload::take_out(installed& rules) {
    for (const auto& [port, rule] : rules) rules_[port]->remove(rule);
    rules.clear();
}

void flow_offload::peer_changed(udp::pcb& p, bool connected) {
    if (std::ranges::none_of(rules_, [](const auto& r) { return r && r->takes_flows(); })) return;
    const std::lock_guard hold(lock_);
    if (const auto at = flows_.find(&p); at != flows_.end()) {
        take_out(at->second.rules);
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

bool flow_offload::deserves_rule(const udp::pcb& p) const {
    return p.port_bound && !p.local.address.is_multicast() && takes_ports();
}

void flow_offload::port_changed(std::uint16_t local_port, ip_family f, const udp::pcb* alone) {
    if (alone && !deserves_rule(*alone)) alone = nullptr;
    const std::lock_guard hold(lock_);
    const port_name name{local_port, f};
    if (const auto at = ports_.find(name); at != ports_.end()) {
        if (at->second.of == alone && at->second.queue == alone->home_shard.load(std::memory_order_relaxed)) return;
        take_out(at->second.rules);
        ports_.erase(at);
    }
    if (alone) install(name, ports_.emplace(name, open_port{.of = alone}).first->second);
}

std::optional<std::uint16_t> flow_offload::rehomed(udp::pcb& p) {
    const std::lock_guard hold(lock_);
    std::optional<std::uint16_t> before;
    const auto move = [&](auto& held, auto&& install_again) {
        if (!held.rules.empty()) before = held.queue;
        take_out(held.rules);
        install_again();
    };
    if (const auto at = flows_.find(&p); at != flows_.end()) move(at->second, [&] { install(p, at->second); });
    for (const auto f : {ip_family::v4, ip_family::v6})
        if (const auto at = ports_.find({p.local.port, f}); at != ports_.end() && at->second.of == &p)
            move(at->second, [&] { install(at->first, at->second); });
    return before;
}

bool flow_offload::takes_ports() const {
    return std::ranges::any_of(rules_, [](const auto& r) { return r && r->takes_ports(); });
}

flow_offload::counts flow_offload::counted(std::size_t port) const {
    const std::lock_guard hold(lock_);
    if (!rules_[port]) return {};
    return {rules_[port]->installed(), rules_[port]->refused()};
}

std::size_t flow_offload::rules_of(const udp::pcb& p) const {
    const std::lock_guard hold(lock_);
    const auto at = flows_.find(&p);
    return at == flows_.end() ? 0 : at->second.rules.size();
}

flow_offload::port_rule flow_offload::rule_for(std::size_t port, ip_family f, std::uint16_t local_port) const {
    const std::lock_guard hold(lock_);
    const auto at = ports_.find({local_port, f});
    if (at == ports_.end() || !rules_[port]) return {};
    for (const auto& [where, rule] : at->second.rules)
        if (where == port) return {true, at->second.queue};
    return {true, {}};
}

}  // namespace skua::control
