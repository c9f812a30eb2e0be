// Reading a stack while it runs.
#include "control/stack_telemetry.hh"

#include <rte_ethdev.h>

#include <cstring>

#include <set>

#include "control/explain.hh"
#include "sockfs/proc_net.hh"
#include "udp/selector.hh"

namespace skua::control {

namespace {

const char* state_name(net::neighbour_state s) {
    switch (s) {
        case net::neighbour_state::none: return "none";
        case net::neighbour_state::incomplete: return "incomplete";
        case net::neighbour_state::reachable: return "reachable";
        case net::neighbour_state::stale: return "stale";
        case net::neighbour_state::delay: return "delay";
        case net::neighbour_state::probe: return "probe";
        case net::neighbour_state::failed: return "failed";
        case net::neighbour_state::permanent: return "permanent";
        case net::neighbour_state::count_: break;
    }
    return "unknown";
}

std::string address_text(const net::interface_address& a) {
    const auto text = a.prefix.to_string();
    switch (a.state->load(std::memory_order_relaxed)) {
        case net::address_state::tentative: return text + " tentative";
        case net::address_state::duplicate: return text + " duplicate";
        case net::address_state::preferred: break;
    }
    return text;
}

}  // namespace

counters_snapshot stack_telemetry::counters() {
    counters_snapshot all;
    for (unsigned i = 0; i < stack_.shard_count(); i++) {
        const auto& c = stack_.shard_at(i).counts();
        all.add(c.drops, c.mibs);
    }
    for (std::size_t m = 0; m < all.mibs.size(); m++) all.mibs[m] += stack_.call_count(static_cast<mib>(m));
    return all;
}

std::vector<shard_report> stack_telemetry::shards() {
    std::vector<shard_report> all;
    for (unsigned i = 0; i < stack_.shard_count(); i++) {
        const auto& c = stack_.shard_at(i).counts();
        shard_report r;
        r.shard = i;
        r.lcore = stack_.lcore_of(i);
        r.polls = c.polls.get();
        r.busy_polls = c.busy_polls.get();
        r.rx_packets = c.frames_in.get();
        r.tx_packets = c.frames_out.get();
        r.handed_over = c.handed_over.get();
        r.fragments_handed_over = c.fragments_handed_over.get();
        r.reassembled_handed_over = c.reassembled_handed_over.get();
        r.marked = c.marked.get();
        counters_snapshot own;
        own.add(c.drops, c.mibs);
        r.dropped = own.dropped();
        all.push_back(r);
    }
    return all;
}

std::string stack_telemetry::interface_name(std::uint32_t index) const {
    const auto* i = index ? stack_.network().current().by_index(index) : nullptr;
    return i ? i->name : "";
}

std::vector<socket_report> stack_telemetry::sockets() {
    std::vector<socket_report> all;
    const rcu_domain::read_guard reading(stack_.rcu());
    stack_.tables().for_all([&](const udp::pcb& p) {
        const auto& s = static_cast<const socket::udp_socket&>(p);
        socket_report r;
        r.local = p.local;
        r.remote = p.remote;
        r.device = interface_name(p.device);
        r.shard = p.home_shard.load(std::memory_order_relaxed);
        r.rx_queue_bytes = static_cast<std::uint64_t>(s.receive_queue_bytes());
        r.tx_queue_bytes = static_cast<std::uint64_t>(s.send_queue_bytes());
        r.drops = s.dropped_count();
        r.owner = p.owner;
        r.in_group = p.reuse_port;
        r.weight = p.weight;
        all.push_back(r);
    });
    return all;
}

std::vector<group_report> stack_telemetry::groups() {
    std::vector<group_report> all;
    std::set<const udp::group*> seen;
    const rcu_domain::read_guard reading(stack_.rcu());
    stack_.tables().for_all([&](const udp::pcb& p) {
        if (p.member_of == nullptr || !seen.insert(p.member_of).second) return;
        const udp::group& g = *p.member_of;
        const auto& selector = g.chosen_by();
        group_report r;
        r.local = p.local;
        r.device = interface_name(g.facts().device);
        r.chooser = selector ? selector->name() : "buckets";
        r.members = g.size();
        r.buckets = g.bucket_count();
        r.fallbacks = g.fallbacks();
        if (selector)
            for (const auto& [name, count] : selector->counters()) r.counters.emplace_back(name, count);
        all.push_back(std::move(r));
    });
    return all;
}

std::vector<port_report> stack_telemetry::ports() {
    std::vector<port_report> all;
    for (const auto& p : stack_.ports()) {
        port_report r;
        r.port = p->id();
        r.device = p->name();
        r.driver = p->driver();
        r.link_up = p->up();
        r.queues = p->rx_queues();
        if (!p->gone()) r.speed_mbps = p->link().mbps;
        if (const auto s = p->stats()) {
            r.rx_packets = s->rx_packets;
            r.tx_packets = s->tx_packets;
            r.rx_bytes = s->rx_bytes;
            r.tx_bytes = s->tx_bytes;
            r.rx_missed = s->rx_missed;
            r.rx_no_mbuf = s->rx_no_mbuf;
            r.errors = s->rx_errors + s->tx_errors + s->tx_refused;
        }
        const auto rules = stack_.offload().counted(all.size());
        r.rules = rules.installed;
        r.rules_refused = rules.refused;
        all.push_back(r);
    }
    return all;
}

std::vector<interface_report> stack_telemetry::interfaces() {
    std::vector<interface_report> all;
    const rcu_domain::read_guard reading(stack_.rcu());
    for (const auto& i : stack_.network().current().interfaces()) {
        interface_report r{i.index, i.name, i.mac, i.mtu, i.vlan, {}};
        for (const auto& a : i.addresses) r.addresses.push_back(address_text(a));
        all.push_back(std::move(r));
    }
    return all;
}

std::vector<neighbour_report> stack_telemetry::neighbours() {
    std::vector<neighbour_report> all;
    const rcu_domain::read_guard reading(stack_.rcu());
    for (const auto& n : stack_.network().neighbours().list())
        all.push_back({n.address, n.mac, interface_name(n.ifindex), state_name(n.state)});
    return all;
}

std::vector<process_report> stack_telemetry::processes() {
    std::vector<process_report> all;
    for (const auto& p : processes_.all()) all.push_back({p->id(), p->files().entries().size()});
    return all;
}

std::vector<descriptor_report> stack_telemetry::descriptors(std::uint64_t process) {
    std::vector<descriptor_report> all;
    if (const auto p = processes_.find(process))
        for (const auto& d : p->descriptors()) all.push_back({d.fd, d.link, d.status_flags, d.close_on_exec});
    return all;
}

tl::expected<unsigned, std::string> stack_telemetry::active_shards(std::optional<unsigned> wanted) {
    if (wanted)
        if (const auto done = stack_.set_active_shards(*wanted); !done) {
            const auto why = done.error().code == ENOTSUP ? stack_.steering().obstacle() : "";
            return tl::unexpected(why.empty() ? std::string(strerrordesc_np(done.error().code)) : why);
        }
    return stack_.active_shards();
}

tl::expected<std::vector<std::pair<std::string, std::string>>, std::string> stack_telemetry::explain(
    std::string_view question) {
    const auto told = control::explain(stack_, question);
    if (!told) return tl::unexpected(told.error());
    return told->rows();
}

std::vector<std::string> stack_telemetry::proc_net_udp(ip_family family) {
    std::vector<std::string> lines{sockfs::proc_net_udp_header(family)};
    const rcu_domain::read_guard reading(stack_.rcu());
    stack_.tables().for_all([&](const udp::pcb& p) {
        if (p.family == family)
            lines.push_back(sockfs::proc_net_udp_line(static_cast<const socket::udp_socket&>(p), p.local.port));
    });
    return lines;
}

}  // namespace skua::control
