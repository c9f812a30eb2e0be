// Probing for and announcing our addresses.
#include "net/address_claims.hh"

#include <algorithm>

#include "net/arp.hh"
#include "net/nd.hh"

namespace skua::net {

namespace {

constexpr unsigned most_at_once = 64;  // thousands of addresses must not flood the link in one poll

void probe(const ip_address& a, const interface& out, const context& c, sender& via) {
    if (a.is_v4()) send_arp_request(via, out, mac_address::broadcast(), {}, a.v4());
    else send_solicitation(c, via, out, ip_address::v6_any(), a, nullptr);
}

void announce(const ip_address& a, const interface& out, const context& c, sender& via) {
    if (a.is_v4()) send_arp_request(via, out, mac_address::broadcast(), a.v4(), a.v4());
    else send_advertisement(c, via, out, a, all_nodes, wire::nd_override, nullptr);
}

}  // namespace

void address_claims::adopt(const topology& map, time_point now) {
    decltype(known_) seen;
    for (const auto& i : map.interfaces()) {
        if (i.is_loopback()) continue;
        for (const auto& a : i.addresses) {
            seen.emplace(a.state, i.mac);
            if (known_.contains({a.state, i.mac})) continue;
            std::erase_if(pending_, [&](const claim& old) { return old.state == a.state; });
            const bool tentative = a.state->load(std::memory_order_relaxed) == address_state::tentative;
            const unsigned announcements = tentative && a.prefix.address.is_v4() ? options_.arp_announcements : 1;
            pending_.push_back({i.index, a.prefix.address, a.state, 0, announcements, now});
            next_due_ = std::min(next_due_, now);
        }
    }
    known_ = std::move(seen);
}

void address_claims::tick(const context& c, sender& out) {
    if (c.now < next_due_) return;
    unsigned stepped = 0;
    next_due_ = time_point::max();
    std::erase_if(pending_, [&](claim& it) {
        if (it.due <= c.now && stepped < most_at_once) {
            ++stepped;
            if (!step(it, c, out)) return true;
        }
        next_due_ = std::min(next_due_, it.due);
        return false;
    });
}

/// False: nothing is left to be done for it.
bool address_claims::step(claim& it, const context& c, sender& out) const {
    const interface* on = c.map.by_index(it.ifindex);
    const interface_address* held = c.map.find_address(it.address, it.ifindex);
    if (!on || !held || held->state != it.state) return false;  // gone since
    auto state = it.state->load(std::memory_order_relaxed);
    if (state == address_state::tentative) {
        if (it.probes_sent < options_.probes) {
            probe(it.address, *on, c, out);
            ++it.probes_sent;
            it.due = c.now + options_.probe_time;
            return true;
        }
        state = address_state::preferred;
        it.state->store(state, std::memory_order_relaxed);
    }
    if (state == address_state::duplicate || it.announcements_left == 0) return false;
    announce(it.address, *on, c, out);
    it.due = c.now + options_.announce_interval;
    return --it.announcements_left > 0;
}

}  // namespace skua::net
