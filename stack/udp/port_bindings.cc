// Sets of bound sockets, by address.
#include "udp/port_bindings.hh"

#include <algorithm>

namespace skua::udp {

bool bind_set::stands_before(const bind_set& other) const {
    if (at_tail() != other.at_tail()) return other.at_tail();
    return at_tail() ? members.begin()->first < other.members.begin()->first
                     : members.rbegin()->first > other.members.rbegin()->first;
}

/// Every set that a socket on this address may overlap with. Linux lets an IPv6 socket that connect() gave an IPv6
/// address pass for 127.0.0.6 (LOOPBACK4_IPV6); that one accident is not followed.
template <class Visit>
void port_bindings::for_each_near(const ip_address& a, Visit&& visit) const {
    if (a.is_any()) {
        for (const auto& [address, at] : by_address_)
            for (const auto& s : at.sets) visit(*s);
        return;
    }
    for (const auto& near : {a, ip_address::v4_any(), ip_address::v6_any()})
        if (const auto at = by_address_.find(near); at != by_address_.end())
            for (const auto& s : at->second.sets) visit(*s);
}

bind_relation port_bindings::first_met(const bind_facts& newcomer) const {
    const bind_set* first = nullptr;
    for_each_near(newcomer.address, [&](const bind_set& s) {
        if (relation(newcomer, s.facts) != bind_relation::apart && (!first || s.stands_before(*first))) first = &s;
    });
    return first ? relation(newcomer, first->facts) : bind_relation::apart;
}

bool port_bindings::has_conflict(const bind_facts& newcomer) const {
    bool found = false;
    for_each_near(newcomer.address,
                  [&](const bind_set& s) { found |= relation(newcomer, s.facts) == bind_relation::conflicts; });
    return found;
}

void port_bindings::add(pcb& p, const bind_facts& facts) {
    auto& sets = by_address_[facts.address].sets;
    auto at = std::ranges::find_if(sets, [&](const auto& s) { return s->facts == facts; });
    if (at == sets.end()) at = sets.insert(at, std::make_unique<bind_set>(facts));
    (*at)->members.emplace(p.bound->bound_at, &p);
    p.bound->set = at->get();
    count_taker(p, facts, 1);
}

void port_bindings::remove(pcb& p) {
    bind_set& s = *p.bound->set;
    p.bound->set = nullptr;
    count_taker(p, s.facts, ~std::size_t(0));
    s.members.erase(p.bound->bound_at);
    if (!s.members.empty()) return;
    const auto at = by_address_.find(s.facts.address);
    std::erase_if(at->second.sets, [&](const auto& each) { return each.get() == &s; });
    if (at->second.empty()) by_address_.erase(at);
}

pcb* port_bindings::only(ip_family f) const {
    const takers& all = f == ip_family::v4 ? v4_ : v6_;
    return all.count == 1 ? reinterpret_cast<pcb*>(all.combined) : nullptr;
}

void port_bindings::count_taker(const pcb& p, const bind_facts& facts, std::size_t by) {
    const auto note = [&](takers& all) {
        all.count += by;
        all.combined ^= reinterpret_cast<std::uintptr_t>(&p);
    };
    const bool both = facts.address == ip_address::v6_any() && !facts.v6_only;
    if (both || facts.address.is_v4()) note(v4_);
    if (!facts.address.is_v4()) note(v6_);
}

placed_group* port_bindings::find_group(const bind_facts& facts) {
    const auto at = by_address_.find(facts.address);
    if (at == by_address_.end()) return nullptr;
    for (const auto& g : at->second.groups)
        if (same_group(g->sockets->facts(), facts)) return g.get();
    return nullptr;
}

placed_group& port_bindings::add_group(rcu_domain& rcu, const bind_facts& facts, const spread& over) {
    return *by_address_[facts.address].groups.emplace_back(std::make_unique<placed_group>(rcu, facts, over));
}

void port_bindings::remove_group(const placed_group& g, const ip_address& address) {
    const auto at = by_address_.find(address);
    std::erase_if(at->second.groups, [&](const auto& each) { return each.get() == &g; });
    if (at->second.empty()) by_address_.erase(at);
}

void port_bindings::for_all(const std::function<void(pcb&)>& visit) const {
    for (const auto& [address, at] : by_address_)
        for (const auto& s : at.sets)
            for (const auto& [order, p] : s->members) visit(*p);
}

void port_bindings::for_all_groups(const std::function<void(group&)>& visit) const {
    for (const auto& [address, at] : by_address_)
        for (const auto& g : at.groups) visit(*g->sockets);
}

}  // namespace skua::udp
