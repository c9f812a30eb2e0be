// Changing interfaces, addresses and routes: each step is checked as the kernel would.
#include <algorithm>
#include <new>

#include "net/topology.hh"
#include "net/topology_tables.hh"

namespace skua::net {

namespace {

constexpr std::uint32_t minimum_mtu = 68;  // RFC 791
constexpr std::uint32_t maximum_mtu = 65535;
constexpr std::uint32_t loopback_mtu = 65536;
constexpr std::size_t maximum_name = 15;  // IFNAMSIZ without the zero
constexpr std::uint16_t maximum_vlan = 4094;

bool mtu_fits(const interface& i) {
    return i.mtu >= minimum_mtu && i.mtu <= (i.is_loopback() ? loopback_mtu : maximum_mtu);
}

bool length_fits(const ip_prefix& p) { return p.length <= (p.address.is_v4() ? 32 : 128); }

interface_address make_address(const ip_prefix& p, address_state state) {
    return {p, std::make_shared<std::atomic<address_state>>(state)};
}

bool holds(const interface& i, const ip_address& a) {
    return std::ranges::any_of(i.addresses, [&](const auto& held) { return held.prefix.address == a; });
}

}  // namespace

topology_builder::topology_builder() {
    interface lo;
    lo.index = loopback_ifindex;
    lo.name = "lo";
    lo.mtu = loopback_mtu;
    lo.addresses.push_back(make_address({loopback_v4, 8}, address_state::preferred));
    lo.addresses.push_back(make_address(ip_prefix::parse("::1/128").value(), address_state::preferred));
    interfaces_.push_back(std::move(lo));
}

topology_builder::topology_builder(const topology& like)
    : interfaces_(like.tables_->interfaces), routes_(like.tables_->configured) {}

interface* topology_builder::find(std::uint32_t ifindex) {
    const auto at = std::ranges::find(interfaces_, ifindex, &interface::index);
    return at == interfaces_.end() ? nullptr : &*at;
}

result<std::uint32_t> topology_builder::add_interface(interface i) {
    if (i.index == 0) i.index = std::ranges::max(interfaces_, {}, &interface::index).index + 1;
    if (!mtu_fits(i) || i.vlan > maximum_vlan || i.name.empty() || i.name.size() > maximum_name || !i.addresses.empty())
        return fail(EINVAL);
    for (const auto& other : interfaces_)
        if (other.index == i.index || other.name == i.name ||
            (i.port != no_port && other.port == i.port && other.vlan == i.vlan))
            return fail(EEXIST);
    interfaces_.push_back(std::move(i));
    return interfaces_.back().index;
}

result<void> topology_builder::remove_interface(std::uint32_t ifindex) {
    if (ifindex == loopback_ifindex) return fail(EINVAL);
    if (std::erase_if(interfaces_, [&](const interface& i) { return i.index == ifindex; }) == 0) return fail(ENODEV);
    std::erase_if(routes_, [&](const route& r) { return r.ifindex == ifindex; });
    return {};
}

result<void> topology_builder::add_address(std::uint32_t ifindex, const ip_prefix& p, address_state state) {
    interface* i = find(ifindex);
    if (!i) return fail(ENODEV);
    const auto& a = p.address;
    if (a.is_any() || a.is_multicast() || a.is_limited_broadcast() || !length_fits(p)) return fail(EINVAL);
    if (holds(*i, a)) return fail(EEXIST);
    i->addresses.push_back(make_address(p, state));
    return {};
}

result<void> topology_builder::remove_address(std::uint32_t ifindex, const ip_address& a) {
    interface* i = find(ifindex);
    if (!i || std::erase_if(i->addresses, [&](const auto& held) { return held.prefix.address == a; }) == 0)
        return fail(EADDRNOTAVAIL);
    if (std::ranges::none_of(interfaces_, [&](const auto& other) { return holds(other, a); }))
        std::erase_if(routes_, [&](const route& r) { return r.source == a; });
    return {};
}

const interface* topology_builder::link_of(const ip_address& gateway, std::uint32_t ifindex) const {
    for (const auto& i : interfaces_) {
        if (i.is_loopback() || (ifindex != 0 && i.index != ifindex)) continue;
        if (ifindex != 0 && !gateway.is_v4() && gateway.is_link_local()) return &i;
        for (const auto& a : i.addresses)
            if (a.prefix.contains(gateway)) return &i;
        for (const auto& r : routes_)
            if (r.ifindex == i.index && !r.gateway && r.destination.contains(gateway)) return &i;
    }
    return nullptr;
}

result<void> topology_builder::add_route(const route& wanted) {
    route r = wanted;
    const auto& d = r.destination.address;
    if (!length_fits(r.destination)) return fail(EINVAL);
    if ((r.gateway && r.gateway->is_v4() != d.is_v4()) || (r.source && r.source->is_v4() != d.is_v4()))
        return fail(EINVAL);
    if ((r.ifindex != 0 || !r.gateway) && !find(r.ifindex)) return fail(ENODEV);
    if (r.gateway) {
        const auto own = [&](const interface& i) { return holds(i, *r.gateway); };
        if (r.gateway->is_any() || r.gateway->is_multicast() || std::ranges::any_of(interfaces_, own))
            return fail(EINVAL);
        const interface* link = link_of(*r.gateway, r.ifindex);
        if (!link) return fail(ENETUNREACH);
        r.ifindex = link->index;
    }
    if (r.source && std::ranges::none_of(interfaces_, [&](const auto& i) { return holds(i, *r.source); }))
        return fail(EINVAL);
    r.destination.address = r.destination.network();
    for (const auto& other : routes_)
        if (other.destination == r.destination && other.metric == r.metric && other.ifindex == r.ifindex)
            return fail(EEXIST);
    routes_.push_back(r);
    return {};
}

result<void> topology_builder::remove_route(const ip_prefix& destination, std::uint32_t metric, std::uint32_t ifindex) {
    const ip_prefix net{destination.network(), destination.length};
    const auto same = [&](const route& r) {
        return r.destination == net && r.metric == metric && (ifindex == 0 || r.ifindex == ifindex);
    };
    if (std::erase_if(routes_, same) == 0) return fail(ESRCH);
    return {};
}

result<std::unique_ptr<const topology>> topology_builder::build() const {
    if (!std::ranges::all_of(interfaces_, mtu_fits)) return fail(EINVAL);
    try {
        std::unique_ptr<topology> made(new topology);
        made->tables_ = std::make_unique<topology::tables>(interfaces_, routes_);
        return std::unique_ptr<const topology>(std::move(made));
    } catch (const std::bad_alloc&) {
        return fail(ENOMEM);
    }
}

}  // namespace skua::net
