// Comparing two configurations but for what can change.
#include "control/reload.hh"

#include <fmt/format.h>

#include <tuple>

namespace skua::control {

namespace {

bool same_but_addresses(port_config a, port_config b) {
    for (port_config* p : {&a, &b}) {
        p->addresses.clear();
        for (auto& v : p->vlans) v.addresses.clear();
    }
    return a == b;
}

/// What is made once; quotas and allowances can change.
auto attach_socket(const attach_config& a) { return std::tuple(a.path, a.owner, a.group, a.mode); }

}  // namespace

std::vector<std::string> needs_restart(const config& now, const config& next) {
    std::vector<std::string> out;
    const auto compare = [&](const char* name, const auto& a, const auto& b) {
        if (!(a == b)) out.emplace_back(name);
    };
    compare("eal", now.eal, next.eal);
    stack_config changed = next.stack;
    changed.unprivileged_port_start = now.stack.unprivileged_port_start;
    compare("stack", now.stack, changed);
    compare("pool", now.pool, next.pool);
    compare("neighbours", now.neighbours, next.neighbours);
    compare("udp", now.udp, next.udp);
    compare("socket.spin_us", now.socket.spin_us, next.socket.spin_us);
    compare("reassembly", now.reassembly, next.reassembly);
    compare("icmp", now.icmp, next.icmp);
    compare("mailbox", now.mailbox, next.mailbox);
    compare("attach", attach_socket(now.attach), attach_socket(next.attach));
    if (now.ports.size() != next.ports.size()) {
        out.emplace_back("the number of ports");
        return out;
    }
    for (std::size_t i = 0; i < now.ports.size(); i++)
        if (!same_but_addresses(now.ports[i], next.ports[i])) out.push_back(fmt::format("port[{}]", i));
    return out;
}

}  // namespace skua::control
