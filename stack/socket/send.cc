// The way out: from the program's buffers to datagrams in the ring of the home shard.
#include <netinet/in.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

#include "net/ip_output.hh"
#include "socket/sockaddr.hh"
#include "socket/truesize.hh"
#include "socket/udp_socket.hh"
#include "udp/generations.hh"
#include "udp/output.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"
#include "wire/udp.hh"

namespace skua::socket {

namespace {

constexpr std::uint32_t udp_length = sizeof(wire::udp_header);
constexpr std::uint32_t ipv4_headers = sizeof(wire::ipv4_header) + udp_length;
constexpr std::uint32_t ipv6_headers = sizeof(wire::ipv6_header) + udp_length;
constexpr std::uint8_t default_multicast_hops = 1;  // IP_DEFAULT_MULTICAST_TTL, IPV6_DEFAULT_MCASTHOPS
constexpr std::uint32_t passes_everywhere = 552;    // Linux: ipv4.route.min_pmtu; less than IPv6's minimum

std::uint32_t headers_of(const ip_address& to) { return to.is_v4() ? ipv4_headers : ipv6_headers; }

std::uint8_t hops(std::int16_t set, bool multicast) {
    if (multicast) return default_multicast_hops;
    return set < 0 ? net::default_hop_limit : static_cast<std::uint8_t>(set);
}

/// ip_sk_ignore_df, ip6_sk_ignore_df: what is too long is cut into fragments here.
bool may_fragment(std::uint8_t rule) { return rule < IP_PMTUDISC_DO || rule == IP_PMTUDISC_OMIT; }
/// ip_sk_use_pmtu: else the MTU of the interface counts.
bool believes_path_mtu(std::uint8_t rule) { return rule < IP_PMTUDISC_PROBE; }
/// As __ip_make_skb sets it.
bool dont_fragment(std::uint8_t rule, std::uint32_t datagram, std::uint32_t mtu) {
    return rule == IP_PMTUDISC_DO || rule == IP_PMTUDISC_PROBE || (rule == IP_PMTUDISC_WANT && datagram <= mtu);
}

/// Another socket may hold the bytes too (a copy of a broadcast): headers then go into a packet of their own in front.
bool writable(const rte_mbuf* m) { return RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1; }

packet::packet with_room_in_front(packet::packet& payload, rte_mempool* pool) {
    packet::packet front = packet::allocate(pool, 0);
    if (!front) return front;
    rte_mbuf* const tail = payload.release();
    front.get()->next = tail;
    front.get()->nb_segs = static_cast<std::uint16_t>(1 + tail->nb_segs);
    front.get()->pkt_len = tail->pkt_len;
    return front;
}

}  // namespace

std::uint32_t truesize_of_outgoing(const rte_mbuf* m) {
    const bool v4 = rte_pktmbuf_mtod(m, const wire::ipv4_header*)->version() == 4;
    return truesize(m->pkt_len - (v4 ? ipv4_headers : ipv6_headers), v4 ? ip_family::v4 : ip_family::v6);
}

result<udp_socket::send_plan> udp_socket::plan_for(const names& n, const endpoint& asked,
                                                   const send_choice& said) const {
    const net::topology& map = host_.topology();
    send_plan plan{.asked = asked, .said = said, .to = asked, .from_port = n.local.port};
    const ip_address& source = said.source == ip_address() ? n.source : said.source;
    ip_address& to = plan.to.address;
    // The unspecified address means this host.
    if (to.is_any()) {
        const bool v4 = to.is_v4() || source.is_v4();
        to = v4 ? ip_address(ipv4_address(127, 0, 0, 1)) : ip_address::parse("::1").value();
        if (v4 && !source.is_any() && family == ip_family::v4) to = source;
    }
    const bool v4 = to.is_v4();
    if (v4 && (n.v6_only || (!source.is_v4() && !source.is_any()))) return fail(ENETUNREACH);
    if (family == ip_family::v6 && !v4 && n.source.is_v4()) return fail(EAFNOSUPPORT);

    plan.ifindex = asked.scope ? asked.scope : n.device;
    // ip6_datagram_send_ctl is stricter than ip_cmsg_send.
    if (!v4 && said.ifindex != 0 && plan.ifindex != 0 && said.ifindex != plan.ifindex) return fail(EINVAL);
    if (!v4 && !said.source.is_any() && (said.source.is_v4() || !map.is_local(said.source))) return fail(EINVAL);
    if (said.ifindex != 0) plan.ifindex = said.ifindex;
    const auto way = map.route_to(to, plan.ifindex);
    if (!way) return fail(way.error().code);
    if (way->kind == net::destination_kind::broadcast && !settings_.broadcast.load(std::memory_order_relaxed))
        return fail(EACCES);
    if (source.is_any()) {
        const auto from = map.source_for(to, *way);
        if (!from) return fail(from.error().code);
        plan.from = *from;
    } else {
        if (!map.is_local(source)) return fail(ENETUNREACH);
        plan.from = source;
    }

    const bool multicast = way->kind == net::destination_kind::multicast;
    plan.pmtu_rule = (v4 ? settings_.pmtu_v4 : settings_.pmtu_v6).load(std::memory_order_relaxed);
    plan.hop_limit = hops((v4 ? settings_.ttl : settings_.unicast_hops).load(std::memory_order_relaxed), multicast);
    if (said.hop_limit >= 0) plan.hop_limit = static_cast<std::uint8_t>(said.hop_limit);
    plan.traffic_class = (v4 ? settings_.tos : settings_.traffic_class).load(std::memory_order_relaxed);
    if (said.traffic_class >= 0) plan.traffic_class = static_cast<std::uint8_t>(said.traffic_class);
    plan.fragment_size = v4 ? std::uint16_t(0) : settings_.fragment_size.load(std::memory_order_relaxed);
    const std::uint32_t mtu = believes_path_mtu(plan.pmtu_rule) ? host_.path_mtu(to, *way) : way->out->mtu;
    const std::uint32_t most = v4 ? 0xffff : 0xffff + sizeof(wire::ipv6_header);  // IP_MAX_MTU, IP6_MAX_MTU
    plan.mtu = std::min(mtu, most);
    if (plan.fragment_size != 0) plan.mtu = std::min<std::uint32_t>(plan.mtu, plan.fragment_size);
    plan.longest = v4 ? 0xffff - ipv4_headers : 0xffff - udp_length;
    const bool whole = !v4 && settings_.whole_v6.load(std::memory_order_relaxed);
    if (whole || !may_fragment(plan.pmtu_rule)) plan.longest = std::min(plan.longest, plan.mtu - headers_of(to));
    return plan;
}

result<udp_socket::send_plan> udp_socket::plan_for_message(const msghdr& message, const send_plan* last,
                                                           const send_choice* said) const {
    const rcu_domain::read_guard guard(host_.rcu());
    const names& n = current_names();
    const auto plan_to = [&](const endpoint& to) -> result<send_plan> {
        const auto choice = said ? result<send_choice>(*said) : read_control(message, family, to.address.is_v4());
        if (!choice) return fail(choice.error().code);
        return last && last->asked == to && last->said == *choice ? *last : plan_for(n, to, *choice);
    };
    if (message.msg_name != nullptr && message.msg_namelen != 0) {
        const auto to =
            address_to_send(family, n.v6_only, static_cast<const sockaddr*>(message.msg_name), message.msg_namelen);
        if (!to) return fail(to.error().code);
        if (*to) return plan_to(**to);
    }
    if (!n.connected) return fail(EDESTADDRREQ);
    return plan_to(n.remote);
}

/// An address that is no good is told of when the message is planned.
result<void> udp_socket::ensure_bound_to_send(const msghdr& message) {
    std::optional<endpoint> to;
    {
        const rcu_domain::read_guard guard(host_.rcu());
        const names& n = current_names();
        if (n.bound) return {};
        if (message.msg_name != nullptr && message.msg_namelen != 0) {
            const auto said =
                address_to_send(family, n.v6_only, static_cast<const sockaddr*>(message.msg_name), message.msg_namelen);
            if (said) to = *said;
        }
    }
    return ensure_bound(to ? &*to : nullptr);
}

result<udp_socket::destination> udp_socket::prepare_to_send(const sockaddr* to, socklen_t to_length,
                                                            const send_choice& said) {
    msghdr message{};
    message.msg_name = const_cast<sockaddr*>(to);
    message.msg_namelen = to == nullptr ? 0 : to_length;
    if (auto bound = ensure_bound_to_send(message); !bound) return fail(bound.error().code);
    const auto plan = plan_for_message(message, nullptr, &said);
    if (!plan) return fail(plan.error().code);
    const auto& address = plan->to.address;
    // A path MTU is of one address.
    const bool each = !may_fragment(plan->pmtu_rule) || plan->asked.address != address;
    const rcu_domain::read_guard guard(host_.rcu());
    return destination{plan->longest,
                       each ? std::uint8_t(address.is_v4() ? 32 : 128) : host_.topology().alike(address)};
}

result<void> udp_socket::frame_with(const send_plan& plan, packet::packet& p) const {
    if (p.size() > plan.longest) return fail(EMSGSIZE);
    const std::uint32_t headers = headers_of(plan.to.address);
    if (!writable(p.get()) || rte_pktmbuf_headroom(p.get()) < headers) {
        auto front = with_room_in_front(p, host_.pool());
        if (!front) return fail(ENOBUFS);
        p = std::move(front);
    }
    p.get()->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;  // the rest is what a port said of it as it came
    const bool df = dont_fragment(plan.pmtu_rule, p.size() + headers, plan.mtu);
    const bool numbered = plan.to.address.is_v4() && !df;
    const net::ip_fields ip{
        .source = plan.from,
        .destination = plan.to.address,
        .protocol = IPPROTO_UDP,
        .hop_limit = plan.hop_limit,
        .traffic_class = plan.traffic_class,
        .dont_fragment = df,
        .identification = numbered ? host_.ipv4_identification(plan.from, plan.to.address) : std::uint16_t(0),
    };
    if (!udp::prepend_udp(p, plan.from_port, plan.to.port)) return fail(EMSGSIZE);
    if (!net::prepend_ip(p, ip)) return fail(EMSGSIZE);
    p.get()->tso_segsz = plan.fragment_size;  // until tx_path has read it
    auto& meta = p.info();
    meta.owner = nullptr;
    meta.ifindex = plan.ifindex;
    meta.what = packet::errand::transmit;
    meta.crossings = 0;
    if (registered.load(std::memory_order_relaxed) != nullptr)
        note_answer({plan.to.address, plan.to.port, plan.ifindex});
    return {};
}

void udp_socket::note_answer(const endpoint& to) const {
    const rcu_domain::read_guard guard(host_.rcu());
    auto* const member = registered.load(std::memory_order_acquire);
    if (member != nullptr && member->of.flows() != nullptr) member->of.answered(*member, to, host_.now());
}

result<packet::packet> udp_socket::assemble(const send_plan& plan, std::span<const iovec> payload,
                                            std::size_t length) const {
    packet::packet p = packet::allocate(host_.pool(), static_cast<std::uint32_t>(length));
    if (!p) {
        host_.count(plan.to.address.is_v4() ? mib::udp_sndbuf_errors : mib::udp6_sndbuf_errors);
        return fail(ENOBUFS);
    }
    std::uint32_t at = 0;
    for (const iovec& part : payload) {
        packet::write(p, at, {static_cast<const std::byte*>(part.iov_base), part.iov_len});
        at += static_cast<std::uint32_t>(part.iov_len);
    }
    if (auto framed = frame_with(plan, p); !framed) return fail(framed.error().code);
    return p;
}

result<void> udp_socket::charge(std::uint32_t cost, time_point deadline) {
    // As sock_alloc_send_pskb: what exceeds the buffer is let through if anything is free.
    return wait_for(EPOLLOUT, deadline, [&]() -> result<void> {
        if (const int e = take_error()) return fail(e);
        if (shutdown_.load() & shut_send) return fail(EPIPE);
        if (wmem_.load() >= settings_.send_buffer.load(std::memory_order_relaxed)) return fail(EAGAIN);
        wmem_.fetch_add(static_cast<std::int32_t>(cost));
        return {};
    });
}

void udp_socket::sent(std::uint32_t cost) {
    const auto amount = static_cast<std::int32_t>(cost);
    // Pollers saw "not writable" only above one half: the crossing is what they wait for (sock_def_write_space).
    const std::int32_t half = settings_.send_buffer.load(std::memory_order_relaxed) / 2;
    const std::int32_t before = wmem_.fetch_sub(amount);
    if (before >= half && before - amount < half && waiters_.active()) waiters_.wake(writeable_events, 0);
}

void uncharge(std::span<rte_mbuf* const> datagrams) {
    void* owner = nullptr;
    std::uint32_t cost = 0;
    const auto settle = [&] {
        if (owner != nullptr) static_cast<udp_socket*>(owner)->sent(cost);
    };
    for (rte_mbuf* m : datagrams) {
        auto& meta = packet::meta_of(m);
        if (meta.owner != owner) {
            settle();
            owner = meta.owner;
            cost = 0;
        }
        if (owner != nullptr) cost += truesize_of_outgoing(m);
        meta.owner = nullptr;
    }
    settle();
}

unsigned udp_socket::frame(std::span<outgoing> datagrams, int* error) {
    const auto stop = [&](unsigned done, int code) {
        if (error != nullptr) *error = code;
        return done;
    };
    if (!current_names().bound) {
        const endpoint* const first = datagrams.empty() ? nullptr : datagrams[0].to;
        if (auto bound = ensure_bound(first); !bound) return stop(0, bound.error().code);
    }
    if (shutdown_.load(std::memory_order_relaxed) & shut_send) return stop(0, EPIPE);
    if (const int e = take_error()) return stop(0, e);
    const names& n = current_names();
    std::optional<send_plan> plan;
    for (unsigned i = 0; i < datagrams.size(); i++) {
        const endpoint* to = datagrams[i].to;
        if (to == nullptr && !n.connected) return stop(i, EDESTADDRREQ);
        if (to == nullptr) to = &n.remote;
        else if (to->port == 0) return stop(i, EINVAL);
        if (!plan || !(plan->asked == *to) || !(plan->said == datagrams[i].said)) {
            auto fresh = plan_for(n, *to, datagrams[i].said);
            if (!fresh) return stop(i, fresh.error().code);
            plan = *fresh;
        }
        if (auto framed = frame_with(*plan, datagrams[i].datagram); !framed) return stop(i, framed.error().code);
    }
    return static_cast<unsigned>(datagrams.size());
}

result<void> udp_socket::reply(packet::packet& p, const packet::rx_info& info) {
    const auto payload_at = static_cast<std::uint16_t>(info.l4_offset + udp_length);
    const std::uint32_t total = p.size() - payload_at + headers_of(info.flow.remote);
    const endpoint to{info.flow.remote, info.flow.remote_port, info.flow.remote.is_link_local() ? info.ifindex : 0};
    const bool v4 = to.address.is_v4();
    send_plan plan;
    if (total <= passes_everywhere && !info.to_broadcast && !info.to_multicast) {
        plan = {.asked = to,
                .to = to,
                .from = info.flow.local,
                .from_port = info.flow.local_port,
                .mtu = passes_everywhere};
        plan.ifindex = to.scope ? to.scope : current_names().device;
        plan.longest = passes_everywhere;
        plan.pmtu_rule = (v4 ? settings_.pmtu_v4 : settings_.pmtu_v6).load(std::memory_order_relaxed);
        plan.hop_limit = hops((v4 ? settings_.ttl : settings_.unicast_hops).load(std::memory_order_relaxed), false);
        plan.traffic_class = (v4 ? settings_.tos : settings_.traffic_class).load(std::memory_order_relaxed);
    } else {
        names from = current_names();
        if (!info.to_broadcast && !info.to_multicast) from.source = info.flow.local;
        auto found = plan_for(from, to);
        if (!found) return fail(found.error().code);
        plan = *found;
    }
    if (p.size() - payload_at > plan.longest) return fail(EMSGSIZE);
    p.trim_front(payload_at);
    auto framed = frame_with(plan, p);
    if (!framed) p.prepend(payload_at);
    return framed;
}

}  // namespace skua::socket
