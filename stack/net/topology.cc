// The tables of a topology, and finding one's way in them.
#include "net/topology.hh"

#include <algorithm>
#include <bit>
#include <new>
#include <tuple>

#include "net/topology_tables.hh"

namespace skua::net {

namespace {

/// DPDK takes IPv6 addresses as bytes before 24.11 and as a struct of the same bytes since: this becomes either.
struct rib_address {
    const std::array<std::uint8_t, 16>& bytes;
    template <class T>
    operator const T*() const {
        static_assert(alignof(T) == 1);
        return reinterpret_cast<const T*>(bytes.data());
    }
};

std::uint64_t next_serial() {
    static std::atomic<std::uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::vector<interface> by_ascending_index(std::vector<interface> all) {
    std::ranges::sort(all, {}, &interface::index);
    return all;
}

const ip_address all_hosts = ipv4_address(224, 0, 0, 1);

bool is_all_nodes(const ip_address& group) {  // ff01::1, ff02::1
    const auto& b = group.bytes();
    return b[0] == 0xff && (b[1] == 1 || b[1] == 2) && b[15] == 1 &&
           std::all_of(b.begin() + 2, b.end() - 1, [](auto v) { return v == 0; });
}

}  // namespace

ip_address solicited_node_group(const ip_address& a) {
    ipv6_address group;
    group.bytes = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a.bytes()[13], a.bytes()[14], a.bytes()[15]};
    return group;
}

topology::tables::tables(std::vector<interface> all, std::vector<route> configured_routes)
    : serial(next_serial()),
      interfaces(by_ascending_index(std::move(all))),
      configured(std::move(configured_routes)),
      routes(configured) {
    fill_indices();
    fill_addresses();
    fill_routes();
}

void topology::tables::fill_indices() {
    indices.resize(std::bit_ceil(interfaces.size() * 2));
    for (const auto& i : interfaces) {
        std::size_t at = i.index & (indices.size() - 1);
        while (indices[at]) at = (at + 1) & (indices.size() - 1);
        indices[at] = &i;
        if (i.port == no_port) continue;
        if (ports.size() <= i.port) ports.resize(i.port + 1u);
        auto& vlans = ports[i.port];
        if (vlans.size() <= i.vlan) vlans.resize(i.vlan + 1u);
        vlans[i.vlan] = &i;
    }
}

void topology::tables::learn(const known_address& k) {
    // Several addresses may share a group or a subnet.
    if (k.as != role::own && find(k.address, k.as, k.ifindex)) return;
    std::size_t at = slot_of(k.address);
    while (known[at].ifindex != 0) at = (at + 1) & (known.size() - 1);
    known[at] = k;
}

void topology::tables::fill_addresses() {
    std::size_t addresses = 0;
    for (const auto& i : interfaces) addresses += i.addresses.size();
    // Each brings one entry of its own and one of a broadcast or a group.
    known.resize(std::bit_ceil(std::max<std::size_t>(addresses * 4, 2)));
    for (const auto& i : interfaces)
        for (const auto& a : i.addresses) {
            const auto& own = a.prefix.address;
            learn({own, i.index, role::own, &a});
            if (!own.is_v4()) learn({solicited_node_group(own), i.index, role::group});
            else if (const auto b = a.prefix.broadcast(); b && !i.is_loopback()) learn({*b, i.index, role::broadcast});
        }
}

void topology::tables::fill_routes() {
    for (const auto& i : interfaces) {
        if (i.is_loopback()) continue;
        for (const auto& a : i.addresses) {
            const bool v4 = a.prefix.address.is_v4();
            const ip_prefix net{a.prefix.network(), a.prefix.length};
            if (net.length == (v4 ? 32 : 128)) continue;
            const auto same = [&](const route& r) {
                return r.destination == net && r.ifindex == i.index && !r.gateway;
            };
            // Metrics as the kernel gives them (fib_add_ifaddr, addrconf_prefix_route).
            if (std::ranges::none_of(routes, same)) routes.push_back({net, {}, i.index, {}, v4 ? 0u : 256u});
        }
    }
    std::ranges::stable_sort(
        routes, {}, [](const route& r) { return std::tuple(r.destination.address, r.destination.length, r.metric); });

    const std::string name = "skua-" + std::to_string(serial);
    const int nodes = static_cast<int>(routes.size() * 2 + 1);  // a fork for each, at most
    const rte_rib_conf conf4{.ext_sz = 0, .max_nodes = nodes};
    const rte_rib6_conf conf6{.ext_sz = 0, .max_nodes = nodes};
    rib4.reset(rte_rib_create((name + "-rib4").c_str(), SOCKET_ID_ANY, &conf4));
    rib6.reset(rte_rib6_create((name + "-rib6").c_str(), SOCKET_ID_ANY, &conf6));
    if (!rib4 || !rib6) throw std::bad_alloc();
    for (std::size_t n = 0; n < routes.size(); n++)
        if (n == 0 || routes[n - 1].destination != routes[n].destination) insert(routes[n].destination, n);
}

void topology::tables::insert(const ip_prefix& destination, std::uint64_t first) {
    if (destination.address.is_v4()) {
        rte_rib_node* node = rte_rib_insert(rib4.get(), destination.address.v4().host(), destination.length);
        if (!node) throw std::bad_alloc();
        rte_rib_set_nh(node, first);
    } else {
        rte_rib6_node* node = rte_rib6_insert(rib6.get(), rib_address{destination.address.bytes()}, destination.length);
        if (!node) throw std::bad_alloc();
        rte_rib6_set_nh(node, first);
    }
}

bool topology::tables::usable(const ip_address& a, std::uint32_t ifindex) const {
    bool found = false;
    for_each(a, [&](const known_address& k) {
        found = k.as == role::own && (ifindex == 0 || k.ifindex == ifindex) && k.held->usable();
        return !found;
    });
    return found;
}

const route* topology::tables::find_route(const ip_address& to, std::uint32_t ifindex) const {
    if (to.is_v4())
        return pick<rte_rib_lookup_parent, rte_rib_get_nh>(rte_rib_lookup(rib4.get(), to.v4().host()), ifindex);
    return pick<rte_rib6_lookup_parent, rte_rib6_get_nh>(rte_rib6_lookup(rib6.get(), rib_address{to.bytes()}), ifindex);
}

topology::topology() = default;
topology::~topology() = default;

const interface* topology::by_index(std::uint32_t ifindex) const { return tables_->by_index(ifindex); }

const interface* topology::by_name(std::string_view name) const {
    const auto at = std::ranges::find(tables_->interfaces, name, &interface::name);
    return at == tables_->interfaces.end() ? nullptr : &*at;
}

const interface* topology::by_port(std::uint16_t port, std::uint16_t vlan) const {
    if (port >= tables_->ports.size() || vlan >= tables_->ports[port].size()) return nullptr;
    return tables_->ports[port][vlan];
}

std::span<const interface> topology::interfaces() const { return tables_->interfaces; }
std::span<const route> topology::routes() const { return tables_->routes; }
std::uint64_t topology::serial() const { return tables_->serial; }

bool topology::is_local(const ip_address& a) const {
    return tables_->usable(a) || (a.is_v4() && a.v4().host() >> 24 == 127);
}

const interface* topology::holder(const ip_address& a) const {
    const auto* k = tables_->find(a, tables::role::own, 0);
    return k ? by_index(k->ifindex) : nullptr;
}

const interface_address* topology::find_address(const ip_address& a, std::uint32_t ifindex) const {
    const auto* k = tables_->find(a, tables::role::own, ifindex);
    return k && ifindex != 0 ? k->held : nullptr;
}

bool topology::is_broadcast(const ip_address& a, std::uint32_t ifindex) const {
    return a.is_limited_broadcast() || tables_->find(a, tables::role::broadcast, ifindex);
}

bool topology::is_joined(const ip_address& group, std::uint32_t ifindex) const {
    if (group.is_v4()) return group == all_hosts;
    return is_all_nodes(group) || (ifindex != 0 && tables_->find(group, tables::role::group, ifindex));
}

std::uint8_t topology::alike(const ip_address& a) const {
    static const std::vector<ip_prefix> special = [] {
        std::vector<ip_prefix> all;
        for (const auto* text : {"0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/127",
                                 "::ffff:0:0/96", "fe80::/10", "ff00::/8"})
            all.push_back(*ip_prefix::parse(text));
        return all;
    }();
    const std::uint8_t whole = a.is_v4() ? 32 : 128;
    std::uint8_t bits = 0;
    const auto keep_apart = [&](const ip_prefix& p) {
        if (p.address.is_v4() != a.is_v4()) return;
        std::uint8_t shared = 0;
        while (shared < p.length && ip_prefix{p.address, static_cast<std::uint8_t>(shared + 1)}.contains(a)) shared++;
        // All of a prefix that holds the address, or nothing of one that does not.
        bits = std::max<std::uint8_t>(bits, shared == p.length ? shared : shared + 1);
    };
    for (const ip_prefix& p : special) {
        if (p.contains(a)) return whole;
        keep_apart(p);
    }
    for (const route& r : tables_->routes) keep_apart(r.destination);
    for (const auto& k : tables_->known)
        if (k.ifindex != 0) keep_apart({k.address, static_cast<std::uint8_t>(k.address.is_v4() ? 32 : 128)});
    return bits;
}

result<path> topology::route_to(const ip_address& to, std::uint32_t out_ifindex) const {
    const interface* out = out_ifindex ? by_index(out_ifindex) : nullptr;
    if (out_ifindex && !out) return fail(ENODEV);
    if (to.is_multicast() || to.is_limited_broadcast()) return group_path(to, out);

    if (to.is_any() || is_local(to)) {
        // The same link-local address may be ours on one link and a neighbour's on another.
        const bool elsewhere =
            !to.is_v4() && to.is_link_local() && out && !out->is_loopback() && !tables_->usable(to, out_ifindex);
        if (!elsewhere) {
            const bool v4 = to.is_v4();
            const ip_address self = !to.is_any() ? to : v4 ? loopback_v4 : ip_address::parse("::1").value();
            return path{by_index(loopback_ifindex), self, destination_kind::local,
                        v4 && self.is_loopback() ? loopback_v4 : self};
        }
    }
    if (const auto* b = tables_->find(to, tables::role::broadcast, out_ifindex))
        return path{by_index(b->ifindex), to, destination_kind::broadcast, {}};
    if (out && !to.is_v4() && to.is_link_local()) return path{out, to, destination_kind::unicast, {}};
    if (const route* r = tables_->find_route(to, out_ifindex))
        return path{by_index(r->ifindex), r->gateway.value_or(to), destination_kind::unicast, r->source};
    // Linux: ip_route_output_key_hash_rcu, "apparently, routing tables are wrong".
    if (out && !out->is_loopback() && to.is_v4()) return path{out, to, destination_kind::unicast, {}};
    return fail(ENETUNREACH);
}

result<path> topology::group_path(const ip_address& to, const interface* out) const {
    const auto kind = to.is_multicast() ? destination_kind::multicast : destination_kind::broadcast;
    if (out) return path{out, to, kind, {}};
    const route* r = tables_->find_route(to, 0);
    // Linux has a route for ff00::/8 on each interface; a default route does not come before it.
    if (r && (to.is_v4() || r->destination.length >= 8)) return path{by_index(r->ifindex), to, kind, r->source};
    if (to.is_v4()) return fail(ENETUNREACH);
    for (const auto& i : interfaces())
        if (!i.is_loopback() &&
            std::ranges::any_of(i.addresses, [](const auto& a) { return !a.prefix.address.is_v4(); }))
            return path{&i, to, kind, {}};
    return fail(ENETUNREACH);
}

}  // namespace skua::net
