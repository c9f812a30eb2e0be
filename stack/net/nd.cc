// Neighbour discovery: messages we send, and what the neighbour machine makes of those that come (RFC 4861 §7).
#include "net/nd.hh"

#include <netinet/in.h>

#include "net/ethernet_output.hh"
#include "net/neighbour.hh"
#include "net/topology_tables.hh"
#include "wire/checksum.hh"
#include "wire/ethernet.hh"
#include "wire/ipv6.hh"

namespace skua::net {

const ip_address all_nodes = ip_address::parse("ff02::1").value();

namespace {

constexpr std::uint8_t nd_hop_limit = 255;  // RFC 4861 §7.1: proof that no router forwarded it

struct message {
    wire::ipv6_header ip;
    wire::nd_message nd;
    wire::nd_link_option option;
};

/// An IPv6 datagram with a message in it; empty if there is no packet to be had.
packet::packet make(sender& via, std::uint8_t type, std::uint32_t flags, const ip_address& source,
                    const ip_address& destination, const ip_address& target, const wire::nd_link_option* option) {
    const std::uint32_t icmp_length = sizeof(wire::nd_message) + (option ? sizeof *option : 0);
    packet::packet p = via.allocate(sizeof(wire::ipv6_header) + icmp_length);
    if (!p) return p;
    message m{};
    m.ip.version_class_flow = be32(6u << 28);
    m.ip.payload_length = be16(static_cast<std::uint16_t>(icmp_length));
    m.ip.next_header = IPPROTO_ICMPV6;
    m.ip.hop_limit = nd_hop_limit;
    m.ip.source = source.v6();
    m.ip.destination = destination.v6();
    m.nd.icmp.type = type;
    m.nd.icmp.rest = be32(flags);
    m.nd.target = target.v6();
    if (option) m.option = *option;
    const auto bytes = std::as_bytes(std::span(&m, 1)).first(p.size());
    wire::checksum_sum sum;
    sum.add_pseudo_header(source, destination, IPPROTO_ICMPV6, icmp_length);
    sum.add(bytes.subspan(sizeof(wire::ipv6_header)));
    m.nd.icmp.checksum = sum.finish();
    packet::write(p, 0, bytes);
    return p;
}

void transmit(packet::packet p, const mac_address& to, const interface& out, sender& via) {
    if (prepend_ethernet(p, to, out.mac, wire::ether_type::ipv6)) via.transmit(std::move(p), out);
    else via.drop(std::move(p), drop_reason::no_mbuf);
}

bool is_solicited_node(const ip_address& a) { return a == solicited_node_group(a); }

/// Finds the option that gives a link-layer address; false: the options are broken (RFC 4861 §4.6, 7.1).
bool read_options(std::span<const std::byte> options, std::uint8_t wanted, const mac_address*& link) {
    while (!options.empty()) {
        if (options.size() < 2) return false;
        const auto type = std::to_integer<std::uint8_t>(options[0]);
        const std::size_t length = std::to_integer<std::size_t>(options[1]) * 8;
        if (length == 0 || length > options.size()) return false;
        if (type == wanted) {
            if (length != sizeof(wire::nd_link_option)) return false;
            link = &reinterpret_cast<const wire::nd_link_option*>(options.data())->mac;
            if (link->is_multicast() || link->is_zero()) return false;
        }
        options = options.subspan(length);
    }
    return true;
}

/// Did we send this frame ourselves? Switches and drivers may give multicast back. The MAC address alone does not tell:
/// both ends of a TAP port have the same one.
bool is_echo(const packet::packet& p, const packet::rx_info& about, const interface& in, const context& c) {
    if (about.l3_offset < sizeof(wire::ethernet_header)) return false;
    const auto* eth = p.header<wire::ethernet_header>(0);
    return eth && eth->source == in.mac &&
           (about.flow.remote.is_any() || c.map.find_address(about.flow.remote, in.index));
}

}  // namespace

void send_solicitation(const context& c, sender& via, const interface& out, const ip_address& source,
                       const ip_address& target, const mac_address* to) {
    const wire::nd_link_option own{wire::nd_source_link, 1, out.mac};
    const ip_address destination = to ? target : solicited_node_group(target);
    packet::packet p =
        make(via, wire::icmp6::neighbor_solicitation, 0, source, destination, target, source.is_any() ? nullptr : &own);
    if (!p) return;
    c.mibs.add(mib::ip6_out_requests);
    c.mibs.add(mib::icmp6_out_msgs);
    c.mibs.add(mib::icmp6_out_neighbor_solicits);
    transmit(std::move(p), to ? *to : wire::multicast_mac(destination), out, via);
}

void send_advertisement(const context& c, sender& via, const interface& out, const ip_address& target,
                        const ip_address& destination, std::uint32_t flags, const mac_address* to) {
    const wire::nd_link_option own{wire::nd_target_link, 1, out.mac};
    packet::packet p = make(via, wire::icmp6::neighbor_advertisement, flags, target, destination, target, &own);
    if (!p) return;
    c.mibs.add(mib::icmp6_out_msgs);
    c.mibs.add(mib::icmp6_out_neighbor_advertisements);
    if (!to && !destination.is_multicast()) return via.output(std::move(p), out.index);
    c.mibs.add(mib::ip6_out_requests);
    transmit(std::move(p), to ? *to : wire::multicast_mac(destination), out, via);
}

std::optional<nd_view> read_nd(const packet::packet& p, const packet::rx_info& about) {
    const auto* m = p.header<wire::nd_message>(about.l4_offset);
    const auto front = p.front();
    if (!m || about.l4_length < sizeof *m || about.l4_offset + about.l4_length > front.size()) return {};
    if (about.hop_limit != nd_hop_limit || m->icmp.code != 0) return {};
    nd_view view{.target = m->target};
    if (view.target.is_multicast()) return {};
    const bool solicitation = m->icmp.type == wire::icmp6::neighbor_solicitation;
    const auto options = front.subspan(about.l4_offset + sizeof *m, about.l4_length - sizeof *m);
    if (!read_options(options, solicitation ? wire::nd_source_link : wire::nd_target_link, view.link)) return {};
    if (!solicitation) {
        view.flags = m->icmp.rest.host();
        if (about.flow.local.is_multicast() && view.flags & wire::nd_solicited) return {};
    } else if (about.flow.remote.is_any() && (view.link || !is_solicited_node(about.flow.local))) {
        return {};
    }
    return view;
}

packet::verdict neighbour_table::nd_input(packet::packet& p, const packet::rx_info& about, const context& c,
                                          sender& out) {
    const auto* icmp = p.header<wire::icmp_header>(about.l4_offset);
    if (!icmp) return drop_reason::nd_malformed;
    const bool solicitation = icmp->type == wire::icmp6::neighbor_solicitation;
    if (!solicitation && icmp->type != wire::icmp6::neighbor_advertisement) return drop_reason::nd_ignored;

    const auto view = read_nd(p, about);
    if (!view) return drop_reason::nd_malformed;
    const interface* in = c.map.by_index(about.ifindex);
    if (!in || is_echo(p, about, *in, c)) return drop_reason::nd_ignored;
    return solicitation ? solicited(p, about, *in, view->target, view->link, c, out)
                        : advertised(p, *in, view->target, view->flags, view->link, c, out);
}

packet::verdict neighbour_table::solicited(packet::packet& p, const packet::rx_info& about, const interface& in,
                                           const ip_address& target, const mac_address* link, const context& c,
                                           sender& out) {
    const auto* mine = c.map.find_address(target, in.index);
    if (!mine) return drop_reason::nd_ignored;
    const ip_address from = about.flow.remote;
    if (!mine->usable()) {
        // RFC 4862 §5.4.3: from nowhere, it is another's probe; else the sender resolves whoever has the address.
        if (from.is_any() && mine->state->load(std::memory_order_relaxed) == address_state::tentative)
            mine->state->store(address_state::duplicate, std::memory_order_relaxed);
        return drop_reason::nd_ignored;
    }
    if (from.is_any()) {
        send_advertisement(c, out, in, target, all_nodes, wire::nd_override, nullptr);
    } else {
        if (c.map.find_address(from, in.index)) return drop_reason::nd_ignored;
        const std::optional<mac_address> to = link ? std::optional(*link) : std::nullopt;
        if (to) {
            neighbour* n = cache_.find(in.index, from);
            if (!n) n = add(in.index, from, c, out);
            if (n && n->state() != neighbour_state::permanent && (n->now().mac != *to || !is_usable(n->state())))
                learn(*n, {*to, neighbour_state::stale, n->now().router}, c, out);
        }
        send_advertisement(c, out, in, target, from, wire::nd_solicited | wire::nd_override, to ? &*to : nullptr);
    }
    p.reset();
    return packet::step::held;
}

/// RFC 4861 §7.2.5, step by step.
packet::verdict neighbour_table::advertised(packet::packet& p, const interface& in, const ip_address& target,
                                            std::uint32_t flags, const mac_address* link, const context& c,
                                            sender& out) {
    if (const auto* mine = c.map.find_address(target, in.index)) {
        if (mine->state->load(std::memory_order_relaxed) == address_state::tentative)
            mine->state->store(address_state::duplicate, std::memory_order_relaxed);
        return drop_reason::nd_ignored;
    }
    neighbour* n = cache_.find(in.index, target);
    if (!n) return drop_reason::nd_ignored;
    const auto was = n->now();
    const bool router = flags & wire::nd_router;
    const auto told = flags & wire::nd_solicited ? neighbour_state::reachable : neighbour_state::stale;
    if (was.state == neighbour_state::incomplete) {
        if (!link) return drop_reason::nd_ignored;
        learn(*n, {*link, told, router}, c, out);
    } else if (!is_usable(was.state) || was.state == neighbour_state::permanent) {
        return drop_reason::nd_ignored;
    } else if (const bool other = link && *link != was.mac; other && !(flags & wire::nd_override)) {
        if (was.state != neighbour_state::reachable) return drop_reason::nd_ignored;
        learn(*n, {was.mac, neighbour_state::stale, was.router}, c, out);
    } else if (other || flags & wire::nd_solicited) {
        learn(*n, {link ? *link : was.mac, told, router}, c, out);
    } else if (was.router != router) {
        n->link.store({was.mac, was.state, router}, std::memory_order_release);
    }
    p.reset();
    return packet::step::held;
}

}  // namespace skua::net
