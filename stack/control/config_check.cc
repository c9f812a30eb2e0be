// Checks that look at several keys at once.
#include <fmt/format.h>

#include <map>
#include <set>

#include "control/config.hh"

namespace skua::control {

namespace {

constexpr std::uint32_t least_ipv6_mtu = 1280;  // RFC 8200 §5

/// An interface as the other tables name it.
struct named_interface {
    std::string path;
    const std::vector<ip_prefix>* addresses;
};

class checker {
public:
    explicit checker(const config& c) : config_(c) {}

    std::vector<config_problem> run() {
        shards();
        pool();
        sockets();
        for (std::size_t i = 0; i < config_.ports.size(); i++) port(config_.ports[i], fmt::format("port[{}]", i));
        for (std::size_t i = 0; i < config_.routes.size(); i++) route(config_.routes[i], fmt::format("route[{}]", i));
        for (std::size_t i = 0; i < config_.static_neighbours.size(); i++)
            neighbour(config_.static_neighbours[i], fmt::format("neighbour[{}]", i));
        return std::move(problems_);
    }

private:
    void wrong(std::string key, std::string found, std::string expected) {
        problems_.push_back({"", 0, 0, std::move(key), std::move(found), std::move(expected)});
    }

    void shards() {
        const auto& s = config_.stack;
        if (s.lcores.empty()) return;
        const auto lcores = parse_lcore_list(s.lcores);
        if (!lcores || lcores->size() != s.shards)
            wrong("stack.lcores", fmt::format("\"{}\"", s.lcores),
                  fmt::format("as many lcores as there are shards ({})", s.shards));
    }

    void pool() {
        // Descriptors hold packets while the NIC has them; below that, queues starve each other.
        std::uint64_t needed = 2 * config_.stack.burst;
        for (const auto& p : config_.ports) needed += p.rx_descriptors + p.tx_descriptors;
        if (config_.pool.packets < needed)
            wrong("pool.packets", fmt::to_string(config_.pool.packets),
                  fmt::format("at least {}: a shard's descriptors on every port, and two bursts", needed));
    }

    void sockets() {
        const auto& s = config_.socket;
        if (s.rmem_default > s.rmem_max)
            wrong("socket.rmem_default", fmt::to_string(s.rmem_default),
                  fmt::format("at most rmem_max ({})", s.rmem_max));
        if (s.wmem_default > s.wmem_max)
            wrong("socket.wmem_default", fmt::to_string(s.wmem_default),
                  fmt::format("at most wmem_max ({})", s.wmem_max));
    }

    void port(const port_config& p, const std::string& path) {
        if (p.device.empty()) wrong(path + ".device", "\"\"", "the name of a device");
        else if (const auto [at, fresh] = devices_.emplace(p.device, path); !fresh)
            wrong(path + ".device", fmt::format("\"{}\"", p.device),
                  "a device that no other port has: " + at->second + " has it");
        interface(p.interface_name(), path + (p.name.empty() ? ".device" : ".name"), path, p.addresses, p.mtu);
        std::map<std::uint16_t, std::string> ids;
        for (std::size_t i = 0; i < p.vlans.size(); i++) {
            const auto& v = p.vlans[i];
            const std::string at = fmt::format("{}.vlan[{}]", path, i);
            if (const auto [other, fresh] = ids.emplace(v.id, at); !fresh)
                wrong(at + ".id", fmt::to_string(v.id),
                      "an id that no other VLAN of the port has: " + other->second + " has it");
            else
                interface(p.interface_name(v), at + (v.name.empty() ? ".id" : ".name"), at, v.addresses,
                          v.mtu.value_or(p.mtu));
            if (v.mtu && *v.mtu > p.mtu)
                wrong(at + ".mtu", fmt::to_string(*v.mtu), fmt::format("at most the port's mtu ({})", p.mtu));
        }
    }

    void interface(const std::string& name, const std::string& name_path, const std::string& path,
                   const std::vector<ip_prefix>& addresses, std::uint32_t mtu) {
        if (name == "lo") wrong(name_path, "\"lo\"", "another name: this is the loopback's");
        else if (const auto [at, fresh] = interfaces_.emplace(name, named_interface{path, &addresses});
                 !fresh && !name.empty())
            wrong(name_path, fmt::format("\"{}\"", name),
                  "a name that no other interface has: " + at->second.path + " has it");
        for (std::size_t i = 0; i < addresses.size(); i++) {
            const ip_prefix& a = addresses[i];
            const std::string at = fmt::format("{}.addresses[{}]", path, i);
            const std::string found = fmt::format("\"{}\"", a.to_string());
            if (!assignable(a.address) || a.broadcast() == a.address) wrong(at, found, "a unicast address");
            else if (const auto [other, fresh] = addresses_.emplace(a.address, at); !fresh)
                wrong(at, found, "an address that is nowhere else: " + other->second + " has it");
            else if (!a.address.is_v4() && mtu < least_ipv6_mtu)
                wrong(at, found, fmt::format("no IPv6 address where the mtu ({}) is below {}", mtu, least_ipv6_mtu));
        }
    }

    void route(const route_config& r, const std::string& path) {
        if (!r.to) return wrong(path + ".to", "nothing", "an address with its prefix length");
        const ip_prefix network{r.to->network(), r.to->length};
        if (network.address != r.to->address)
            wrong(path + ".to", fmt::format("\"{}\"", r.to->to_string()),
                  fmt::format("\"{}\": no bits beyond the prefix", network.to_string()));
        if (!routes_.emplace(network.to_string(), r.metric).second)
            wrong(path, fmt::format("\"{}\" with metric {}", network.to_string(), r.metric),
                  "another metric: there is a route like this");
        if (!r.via && r.port.empty()) wrong(path, "neither via nor port", "one of them");
        const bool port_known = known_port(r.port, path);
        if (r.via) gateway(r, path, port_known);
        if (r.source && !addresses_.contains(*r.source))
            wrong(path + ".source", fmt::format("\"{}\"", r.source->to_string()), "one of our addresses");
        else if (r.source && r.source->is_v4() != r.to->address.is_v4())
            wrong(path + ".source", fmt::format("\"{}\"", r.source->to_string()), "an address of the family of `to`");
    }

    void gateway(const route_config& r, const std::string& path, bool port_known) {
        const std::string found = fmt::format("\"{}\"", r.via->to_string());
        if (r.via->is_v4() != r.to->address.is_v4()) wrong(path + ".via", found, "an address of the family of `to`");
        else if (!assignable(*r.via)) wrong(path + ".via", found, "a unicast address");
        else if (addresses_.contains(*r.via))
            wrong(path + ".via", found, "the address of a neighbour: this is our own");
        else if (port_known) on_link(*r.via, r.port, path + ".via");
    }

    void neighbour(const neighbour_config& n, const std::string& path) {
        if (!n.address) return wrong(path + ".address", "nothing", "an IPv4 or IPv6 address");
        if (!n.mac) wrong(path + ".mac", "nothing", "a unicast MAC address");
        const std::string found = fmt::format("\"{}\"", n.address->to_string());
        const bool port_known = known_port(n.port, path);
        if (!assignable(*n.address)) wrong(path + ".address", found, "a unicast address");
        else if (addresses_.contains(*n.address))
            wrong(path + ".address", found, "the address of a neighbour: this is our own");
        else if (!neighbours_.emplace(n.port, *n.address).second)
            wrong(path + ".address", found, "each neighbour once");
        else if (port_known) on_link(*n.address, n.port, path + ".address");
    }

    bool known_port(const std::string& name, const std::string& path) {
        if (name.empty() || interfaces_.contains(name)) return true;
        std::string names;
        for (const auto& [known, unused] : interfaces_) names += (names.empty() ? "" : ", ") + known;
        wrong(path + ".port", fmt::format("\"{}\"", name),
              names.empty() ? "the name of an interface: there is none" : "the name of an interface: " + names);
        return false;
    }

    /// Is the address on a subnet of the interface, or of any if it has no name? Link-local IPv6 needs one.
    void on_link(const ip_address& a, const std::string& name, const std::string& path) {
        const std::string found = fmt::format("\"{}\"", a.to_string());
        if (!a.is_v4() && a.is_link_local()) {
            if (name.empty()) wrong(path, found, "a port beside a link-local address");
            return;
        }
        for (const auto& [known, i] : interfaces_)
            if (name.empty() || name == known)
                for (const auto& own : *i.addresses)
                    if (own.contains(a)) return;
        wrong(path, found, name.empty() ? "an address on one of our subnets" : "an address on a subnet of " + name);
    }

    static bool assignable(const ip_address& a) {
        return !a.is_any() && !a.is_multicast() && !a.is_loopback() && !a.is_limited_broadcast();
    }

    const config& config_;
    std::vector<config_problem> problems_;
    std::map<std::string, std::string> devices_;  // → path
    std::map<std::string, named_interface> interfaces_;
    std::map<ip_address, std::string> addresses_;  // → path
    std::set<std::pair<std::string, std::uint32_t>> routes_;
    std::set<std::pair<std::string, ip_address>> neighbours_;
};

}  // namespace

std::string port_config::interface_name(const vlan_config& vlan) const {
    return vlan.name.empty() ? fmt::format("{}.{}", interface_name(), vlan.id) : vlan.name;
}

std::vector<config_problem> check(const config& c) { return checker(c).run(); }

}  // namespace skua::control
