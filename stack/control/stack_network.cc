// The network side of a stack's configuration: interfaces, addresses, routes, neighbours, at the start and anew.
#include <fmt/format.h>
#include <rte_ethdev.h>
#include <rte_log.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "control/reload.hh"
#include "control/stack.hh"

namespace skua::control {

namespace {

using failed = tl::unexpected<std::string>;

const char* reason(error e) { return strerrordesc_np(e.code); }

/// Duplicate address detection is for IPv6 (RFC 4862); IPv4 addresses are announced, as by Linux.
net::address_state first_state(const port_config& p, const ip_prefix& a) {
    return p.dad && !a.address.is_v4() ? net::address_state::tentative : net::address_state::preferred;
}

socket::limits socket_limits_of(const config& c) {
    socket::limits l;
    l.rmem_default = static_cast<std::int32_t>(c.socket.rmem_default);
    l.rmem_max = static_cast<std::int32_t>(c.socket.rmem_max);
    l.wmem_default = static_cast<std::int32_t>(c.socket.wmem_default);
    l.wmem_max = static_cast<std::int32_t>(c.socket.wmem_max);
    l.group_flows = c.udp.group_flows;
    l.spin = std::chrono::microseconds(c.socket.spin_us);
    l.unprivileged_port_start = static_cast<std::uint16_t>(std::min(c.stack.unprivileged_port_start, 65535u));
    return l;
}

/// Who has addresses: an interface's name → what configures it.
struct configured_interface {
    const port_config* port;
    const std::vector<ip_prefix>* addresses;
};
std::map<std::string, configured_interface> interfaces_of(const config& c) {
    std::map<std::string, configured_interface> all;
    for (const port_config& p : c.ports) {
        all[p.interface_name()] = {&p, &p.addresses};
        for (const vlan_config& v : p.vlans) all[p.interface_name(v)] = {&p, &v.addresses};
    }
    return all;
}

bool holds(const std::vector<ip_prefix>& all, const ip_prefix& a) { return std::ranges::find(all, a) != all.end(); }

/// Edits of one change of the topology, all or none.
class network_edit {
public:
    /// What is refused, is told in `problem`.
    network_edit(net::topology_builder& b, const net::topology& before, std::string& problem)
        : b_(b), before_(before), problem_(problem) {}

    result<void> change_addresses(const config& from, const config& to) {
        const auto was = interfaces_of(from), will_be = interfaces_of(to);
        for (const auto& [name, i] : was)
            for (const auto& a : *i.addresses)
                if (!holds(*will_be.at(name).addresses, a))
                    if (auto ok = b_.remove_address(index_of(name), a.address); !ok) return refuse(a.to_string(), ok);
        for (const auto& [name, i] : will_be)
            for (const auto& a : *i.addresses)
                if (!holds(*was.at(name).addresses, a))
                    if (auto ok = b_.add_address(index_of(name), a, first_state(*i.port, a)); !ok)
                        return refuse(a.to_string(), ok);
        return {};
    }

    result<void> remove_routes(const std::vector<route_config>& all) {
        for (const auto& r : all)
            if (auto ok = b_.remove_route(*r.to, r.metric, index_of(r.port)); !ok)
                return refuse("route to " + r.to->to_string(), ok);
        return {};
    }
    result<void> add_routes(const std::vector<route_config>& all) {
        for (const auto& r : all)
            if (auto ok = b_.add_route({*r.to, r.via, index_of(r.port), r.source, r.metric}); !ok)
                return refuse("route to " + r.to->to_string(), ok);
        return {};
    }

private:
    /// 0 for no name: the gateway decides.
    std::uint32_t index_of(const std::string& name) const {
        const auto* i = name.empty() ? nullptr : before_.by_name(name);
        return i ? i->index : 0;
    }
    result<void> refuse(const std::string& what, const result<void>& why) {
        problem_ = fmt::format("{}: {}", what, reason(why.error()));
        return why;
    }

    net::topology_builder& b_;
    const net::topology& before_;
    std::string& problem_;
};

}  // namespace

tl::expected<void, std::string> stack::add_port_interfaces(const port_config& p, std::uint16_t id,
                                                           const port::port* device) {
    net::interface base;
    base.port = id;
    if (device) {
        const auto& facts = device->offloads();
        base.mac = device->mac();
        base.mtu = device->mtu();
        base.offloads = {facts.ipv4_checksum, facts.udp_checksum, facts.multi_segment};
    } else {
        rte_ether_addr mac{};
        rte_eth_macaddr_get(id, &mac);
        std::memcpy(base.mac.bytes.data(), mac.addr_bytes, sizeof mac.addr_bytes);
        if (p.mac) base.mac = *p.mac;
        base.mtu = p.mtu;
    }
    const auto add = [&](net::topology_builder& b, net::interface i,
                         const std::vector<ip_prefix>& addresses) -> result<void> {
        const auto index = b.add_interface(std::move(i));
        if (!index) return fail(index.error().code);
        for (const auto& a : addresses)
            if (auto ok = b.add_address(*index, a, first_state(p, a)); !ok) return ok;
        return {};
    };
    const auto changed = network_.change([&](net::topology_builder& b) -> result<void> {
        net::interface plain = base;
        plain.name = p.interface_name();
        if (auto ok = add(b, plain, p.addresses); !ok) return ok;
        for (const vlan_config& v : p.vlans) {
            net::interface tagged = base;
            tagged.name = p.interface_name(v);
            tagged.vlan = v.id;
            if (v.mtu) tagged.mtu = std::min(*v.mtu, base.mtu);
            if (auto ok = add(b, tagged, v.addresses); !ok) return ok;
        }
        return {};
    });
    if (!changed)
        return failed(
            fmt::format("port \"{}\": an interface or address was refused: {}", p.device, reason(changed.error())));
    return {};
}

std::uint32_t stack::interface_of(const std::string& name, const ip_address& on_link) const {
    const auto& map = network_.current();
    if (!name.empty()) {
        const auto* named = map.by_name(name);
        return named ? named->index : 0;
    }
    for (const auto& i : map.interfaces())
        for (const auto& a : i.addresses)
            if (a.prefix.contains(on_link)) return i.index;
    return 0;
}

tl::expected<void, std::string> stack::add_routes() {
    std::string problem;
    const auto done = network_.change([&](net::topology_builder& b) {
        network_edit edit(b, network_.current(), problem);
        return edit.add_routes(config_.routes);
    });
    return done ? tl::expected<void, std::string>{} : failed(problem);
}

tl::expected<void, std::string> stack::add_static_neighbours() {
    for (const neighbour_config& n : config_.static_neighbours) {
        const std::uint32_t on = interface_of(n.port, *n.address);
        if (on == 0) return failed(fmt::format("neighbour {}: it is on the subnet of no port", n.address->to_string()));
        network_.neighbours().set_permanent(on, *n.address, *n.mac);
    }
    return {};
}

bool stack::any_tentative() {
    const rcu_domain::read_guard reading(rcu_);
    for (const auto& i : network_.current().interfaces())
        for (const auto& a : i.addresses)
            if (a.state->load() == net::address_state::tentative) return true;
    return false;
}

void stack::set_limits() {
    all_limits_.push_back(socket_limits_of(config_));
    limits_.store(&all_limits_.back(), std::memory_order_release);
}

tl::expected<void, std::string> stack::apply(const config& next) {
    if (const auto fixed = needs_restart(config_, next); !fixed.empty())
        return failed(fmt::format("only a restart can change {}", fmt::join(fixed, ", ")));
    std::string problem;
    const auto done = network_.change([&](net::topology_builder& b) -> result<void> {
        network_edit edit(b, network_.current(), problem);
        // Routes lean on addresses: they come back last.
        if (auto ok = edit.remove_routes(config_.routes); !ok) return ok;
        if (auto ok = edit.change_addresses(config_, next); !ok) return ok;
        return edit.add_routes(next.routes);
    });
    if (!done) return failed(problem.empty() ? reason(done.error()) : problem);
    const auto drop = [&](const neighbour_config& n) {
        network_.neighbours().remove(interface_of(n.port, *n.address), *n.address);
    };
    for (const auto& n : config_.static_neighbours)
        if (std::ranges::find(next.static_neighbours, n) == next.static_neighbours.end()) drop(n);
    config_ = next;
    rte_log_set_global_level(RTE_LOG_ERR + static_cast<std::uint32_t>(next.log.level));
    set_limits();
    return add_static_neighbours();
}

}  // namespace skua::control
