// Following a flow through the stack, without a packet.
#include "control/explain.hh"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "control/stack.hh"
#include "udp/generations.hh"

namespace skua::control {

namespace {

using failed = tl::unexpected<std::string>;

std::optional<endpoint> parse_endpoint(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return {};
    auto host = text.substr(0, colon);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    const auto address = ip_address::parse(host);
    std::uint16_t port = 0;
    const char* const end = text.data() + text.size();
    const auto [at, problem] = std::from_chars(text.data() + colon + 1, end, port);
    if (!address || problem != std::errc{} || at != end) return {};
    return endpoint{*address, port, 0};
}

/// The port's own words, row by row.
void tell_offloads(explanation& e, const port::port& p) {
    for (const auto& row : p.capabilities()) {
        const auto line = row.note.empty() ? row.what : fmt::format("{} ({})", row.what, row.note);
        (row.where == port::place::hardware ? e.hardware : e.software).push_back(line);
    }
}

/// A rule for the UDP port goes before the table.
void tell_port_rule(explanation& e, const flow_offload::port_rule& rule) {
    if (rule.queue) {
        e.queue = e.shard = *rule.queue;
        e.hardware.push_back(
            fmt::format("rte_flow: all that comes to port {}, to queue {}", e.flow.local_port, e.queue));
    } else if (rule.asked_for) {
        e.software.push_back(fmt::format("no rte_flow rule for port {}: the budget is used up, or the device refused",
                                         e.flow.local_port));
    }
}

/// `place`: of the port among the stack's.
void tell_arrival(explanation& e, const stack& s, std::size_t place) {
    if (place == s.ports().size()) {
        e.hash = s.flow_hash()(e.flow);
        e.queue = e.shard = static_cast<std::uint16_t>(e.hash % s.shard_count());
        e.software.emplace_back("queue and shard are the application's choice (library mode); here as if by hash");
        return;
    }
    const port::port* const p = s.ports()[place].get();
    e.hash = p->hash()(e.flow);
    e.reta_size = p->reta().size();
    if (e.reta_size != 0) e.reta_entry = static_cast<std::uint32_t>(e.hash % e.reta_size);
    e.queue = e.shard = p->queue_of(e.hash);
    if (p->rx_queues() > 1 && !p->spreads(e.flow.local.family()))
        e.software.emplace_back("how the device spreads flows over its queues is not known: the queue is a guess");
    tell_port_rule(e, s.offload().rule_for(place, e.flow.local.family(), e.flow.local_port));
    tell_offloads(e, *p);
}

std::string text_of(const udp::explained_candidate& c) {
    std::string out = c.local.to_string();
    if (c.remote.port != 0) out += fmt::format(" connected to {}", c.remote.to_string());
    if (c.members > 1) out += fmt::format(", group of {}", c.members);
    if (c.device != 0) out += fmt::format(", device {}", c.device);
    return fmt::format("{}: score {}, placed {}", out, c.score, c.placed);
}

}  // namespace

tl::expected<explanation, std::string> explain(const stack& s, const flow_key& flow, std::string_view port) {
    const rcu_domain::read_guard reading(const_cast<stack&>(s).rcu());
    const auto& map = s.topology();
    const net::interface* in = nullptr;
    for (const auto& i : map.interfaces())
        if (i.index != net::loopback_ifindex && (port.empty() || i.name == port) && in == nullptr) in = &i;
    if (in == nullptr) return failed(fmt::format("there is no port \"{}\"", port));
    explanation e;
    e.flow = flow;
    e.port = in->name;
    const auto device = std::ranges::find_if(s.ports(), [&](const auto& p) { return p->id() == in->port; });
    tell_arrival(e, s, static_cast<std::size_t>(device - s.ports().begin()));
    if (!map.is_local(flow.local)) e.software.emplace_back("the address is none of ours: it would be dropped");

    udp::lookup_key key{flow, e.hash, in->index, e.shard};
    key.now = s.now();
    e.lookup = s.tables().explain(key);
    const auto* const to = static_cast<const socket::udp_socket*>(e.lookup.socket);
    if (to == nullptr) return e;
    e.socket = to->local_endpoint().to_string();
    e.home = to->home_shard.load(std::memory_order_relaxed);
    const auto* const known = to->registered.load(std::memory_order_relaxed);
    if (known && known->generation != udp::registration::none) e.generation = known->generation;
    if (const auto rules = s.offload().rules_of(*to)) {
        e.hardware.push_back(fmt::format("rte_flow: {} of the flow's own, to queue {}", rules, e.home));
        e.queue = e.shard = e.home;
    } else if (e.lookup.searched == udp::explanation::way::four_tuple) {
        e.software.emplace_back("no rte_flow rule: the device takes none, or the budget is used up");
    }
    e.crosses = e.home != e.shard;
    const std::string& why = s.steering().not_aligned();
    if (e.lookup.bucket && !why.empty()) e.software.push_back("the group's buckets do not follow the table: " + why);
    return e;
}

tl::expected<explanation, std::string> explain(const stack& s, std::string_view question) {
    constexpr std::string_view form = "LOCAL,REMOTE[,PORT] is expected: 198.18.0.1:7,198.18.0.2:40000,p0";
    const auto first = question.find(',');
    if (first == std::string_view::npos) return failed(std::string(form));
    const auto second = std::min(question.find(',', first + 1), question.size());
    const auto local = parse_endpoint(question.substr(0, first));
    const auto remote = parse_endpoint(question.substr(first + 1, second - first - 1));
    if (!local || !remote || local->address.family() != remote->address.family()) return failed(std::string(form));
    return explain(s, {local->address, remote->address, local->port, remote->port},
                   question.substr(std::min(second + 1, question.size())));
}

std::vector<std::pair<std::string, std::string>> explanation::rows() const {
    std::vector<std::pair<std::string, std::string>> out;
    const auto add = [&out](std::string name, std::string value) {
        out.emplace_back(std::move(name), std::move(value));
    };
    add("local", endpoint{flow.local, flow.local_port, 0}.to_string());
    add("remote", endpoint{flow.remote, flow.remote_port, 0}.to_string());
    add("port", port);
    add("hash", fmt::format("{:#010x}", hash));
    add("reta_entry", reta_size ? fmt::format("{} of {}", reta_entry, reta_size) : "none");
    add("queue", fmt::to_string(queue));
    add("shard", fmt::to_string(shard));
    add("table", fmt::format("{} ({} entries on the port)", to_string(lookup.searched), lookup.entries));
    for (std::size_t i = 0; i < lookup.candidates.size(); i++)
        add(fmt::format("candidate_{}", i), text_of(lookup.candidates[i]));
    if (socket.empty()) {
        add("socket", "none");
    } else {
        if (lookup.winner) add("winner", fmt::format("candidate {}", *lookup.winner));
        add("rule", std::string(lookup.rule));
        if (!lookup.selector.empty()) add("selector", std::string(lookup.selector));
        if (lookup.bucket) add("bucket", fmt::format("{} of {}", *lookup.bucket, lookup.buckets));
        if (lookup.member) add("member", fmt::to_string(*lookup.member));
        if (generation) add("generation", fmt::to_string(*generation));
        add("socket", socket);
        add("home", fmt::to_string(home));
        add("crosses", crosses ? "yes, once, over a ring" : "no");
    }
    for (std::size_t i = 0; i < hardware.size(); i++) add(fmt::format("hardware_{}", i), hardware[i]);
    for (std::size_t i = 0; i < software.size(); i++) add(fmt::format("software_{}", i), software[i]);
    return out;
}

std::string explanation::text() const {
    std::string out;
    for (const auto& [name, value] : rows()) out += fmt::format("{:<14}{}\n", name, value);
    return out;
}

}  // namespace skua::control
