// The way in, in the order of its steps.
#include "shard/rx_path.hh"

#include <bit>
#include <functional>

#include "net/ethernet_input.hh"
#include "net/ipv4_input.hh"
#include "net/ipv6_input.hh"
#include "shard/handover.hh"
#include "udp/input.hh"

namespace skua::shard {

using packet::rx_info;
using packet::step;
using packet::verdict;

namespace {

/// Reasons that mean "not for this stack": library mode gives such frames back.
bool is_unclaimed(drop_reason why) {
    switch (why) {
        case drop_reason::eth_not_for_us:
        case drop_reason::eth_unknown_type:
        case drop_reason::vlan_unknown:
        case drop_reason::ipv4_not_local:
        case drop_reason::ipv4_unknown_protocol:
        case drop_reason::ipv6_not_local:
        case drop_reason::ipv6_unknown_next_header:
        case drop_reason::udp_no_port: return true;
        default: return false;
    }
}

/// An answer to a link-local address must leave by the link the question came from.
std::uint32_t way_back(const rx_info& info) { return info.flow.remote.is_link_local() ? info.ifindex : 0; }

bool is_v6(const rx_info& info) { return info.family == ip_family::v6; }

}  // namespace

rx_path::rx_path(std::uint16_t shard, const attachments& ports, net::neighbour_table& neighbours,
                 net::path_mtu_cache& path_mtus, udp::tables& tables, const port::toeplitz& hash,
                 net::reassembler& reassembly, const net::fragment_homes& fragments, const udp::marked_flows& marks,
                 net::icmp_output& icmp, tx_path& tx, rte_mempool* pool, counters& counts)
    : shard_(shard),
      ports_(ports),
      neighbours_(neighbours),
      path_mtus_(path_mtus),
      tables_(tables),
      hash_(hash),
      marks_(marks),
      icmp_(icmp),
      ip_{.fragments = reassembly, .errors = icmp, .homes = tx.shards() > 1 ? &fragments : nullptr, .shard = shard},
      tx_(tx),
      pool_(pool),
      counts_(counts) {}

// The first stage: from layer to layer, until one of them decides.
verdict rx_path::walk(packet::packet& p, rx_info& info, verdict v) {
    for (;;) switch (v.next) {
            case step::ipv4: v = net::ipv4_input(p, info, *context_, ip_); break;
            case step::ipv6: v = net::ipv6_input(p, info, *context_, ip_); break;
            case step::icmp4: v = net::icmp4_input(p, info, *context_, report_); break;
            case step::icmp6: v = net::icmp6_input(p, info, *context_, report_); break;
            case step::udp: v = udp::udp_input(p, info, *context_); break;
            default: return v;
        }
}

void rx_path::receive(std::span<rte_mbuf*> frames, unclaimed_frames* unclaimed) {
    burst udp;
    counts_.frames_in.add(frames.size());
    ip_.refuse_protocols = unclaimed == nullptr;
    for (std::size_t i = 0; i < frames.size(); i++) {
        if (i + 4 < frames.size()) rte_prefetch0(rte_pktmbuf_mtod(frames[i + 4], void*));
        packet::packet p(frames[i]);
        rx_info info;
        info.rx_shard = static_cast<std::uint8_t>(shard_);
        const verdict first = packet::make_headers_contiguous(p) ? net::ethernet_input(p, info, *context_)
                                                                 : verdict(drop_reason::eth_headers_split);
        const extent was{p.size(), p.get()->nb_segs};
        const verdict last = walk(p, info, first);
        settle(std::move(p), was, info, last, udp, unclaimed);
    }
    deliver(udp, unclaimed);
}

void rx_path::receive_looped(std::span<rte_mbuf*> datagrams) {
    burst udp;
    ip_.refuse_protocols = true;
    for (rte_mbuf* m : datagrams) {
        packet::packet p(m);
        rx_info info;
        info.rx_shard = static_cast<std::uint8_t>(shard_);
        const verdict last = walk(p, info, net::loopback_input(p, info, p.info().ifindex));
        settle(std::move(p), {}, info, last, udp, nullptr);
    }
    deliver(udp, nullptr);
}

void rx_path::settle(packet::packet p, const extent& was, rx_info& info, verdict v, burst& udp,
                     unclaimed_frames* unclaimed) {
    switch (v.next) {
        case step::deliver:
            if (info.reassembled && ip_.homes) return pass_whole(std::move(p), info, udp);
            if (!info.to_broadcast && !info.to_multicast) return admit(std::move(p), was, info, udp);
            // Nobody answers what was sent to many, nor counts it as NoPorts (Linux: __udp4_lib_mcast_deliver).
            if (deliver_copies(p, info, true) != 0) return;
            v = drop_reason::udp_no_port;
            break;
        case step::away:
            counts_.fragments_handed_over.add();
            remember(p, info);
            return tx_.hand_over(std::move(p), info.away, packet::errand::reassemble);
        case step::reply: return tx_.output(std::move(p), way_back(info));
        case step::report: return report(std::move(p), report_);
        case step::arp:
        case step::to_first: return neighbour_message(std::move(p), info);
        case step::held: return;
        default: break;
    }
    if (unclaimed && is_unclaimed(v.reason)) give_back(std::move(p), was, *unclaimed);
    else drop(std::move(p), v.reason);
}

/// The shard that the NIC would have given the whole datagram to.
std::uint16_t rx_path::receiving_shard(const rte_mbuf* m, const rx_info& info) const {
    const std::uint32_t hash = flow_hash(m, info);
    const attachment* from = ports_.find(m->port);
    return from && from->device ? from->device->queue_of(hash) : static_cast<std::uint16_t>(hash % tx_.shards());
}

/// From here on it is as if it had come in whole: same shard, same choice of a socket, same order among its flow.
void rx_path::pass_whole(packet::packet p, rx_info& info, burst& udp) {
    const std::uint16_t to = receiving_shard(p.get(), info);
    info.rx_shard = static_cast<std::uint8_t>(to);
    info.crossings = 0;
    info.reassembled = false;
    if (to == shard_) return settle(std::move(p), {}, info, step::deliver, udp, nullptr);
    counts_.reassembled_handed_over.add();
    remember(p, info);
    tx_.hand_over(std::move(p), to, packet::errand::admit);
}

void rx_path::give_back(packet::packet p, const extent& was, unclaimed_frames& to) {
    rte_mbuf* const m = p.release();
    // Padding of a short frame lies behind the datagram in the same segment, and nobody has written over it.
    if (m->nb_segs == was.segments && m->pkt_len < was.length) {
        rte_mbuf* const last = rte_pktmbuf_lastseg(m);
        last->data_len = static_cast<std::uint16_t>(last->data_len + was.length - m->pkt_len);
        m->pkt_len = was.length;
    }
    to.frames[to.count++] = m;
}

void rx_path::admit(packet::packet p, const extent& was, const rx_info& info, burst& udp) {
    tables_.prefetch(info.flow.local_port);
    const unsigned i = udp.count++;
    udp.extents[i] = was;
    udp.infos[i] = info;
    udp.keys[i] = {info.flow,
                   0,  // once the port's entry is here
                   info.ifindex,
                   info.rx_shard,
                   p.get(),
                   static_cast<std::uint16_t>(info.l4_offset + sizeof(wire::udp_header)),
                   static_cast<std::uint16_t>(shard_),
                   context_->now};
    udp.frames[i] = p.release();
}

std::uint32_t rx_path::flow_hash(const rte_mbuf* m, const rx_info& info) const {
    const attachment* from = ports_.find(m->port);
    if (from == nullptr || from->device == nullptr) return hash_(info.flow);
    // NICs differ on packets with options or extension headers.
    const std::size_t shortest = is_v6(info) ? sizeof(wire::ipv6_header) : sizeof(wire::ipv4_header);
    const bool plain = info.l4_offset == info.l3_offset + shortest;
    if (plain && from->device->hash_usable(m, info.family)) return m->hash.rss;
    return from->device->hash()(info.flow);
}

/// What the NIC has marked need not be looked for; most bursts have nothing of the kind.
void rx_path::look_up(burst& udp) {
    std::uint32_t found = 0;
    if (marks_.any()) [[unlikely]]
        for (unsigned i = 0; i < udp.count; i++) {
            const rte_mbuf* m = udp.frames[i];
            if (!(m->ol_flags & RTE_MBUF_F_RX_FDIR_ID)) continue;
            if (!tables_.four_tuple_decides(udp.keys[i].flow.local_port)) continue;
            udp.sockets[i] = marks_.find(m->hash.fdir.hi, udp.keys[i]);
            found |= (udp.sockets[i] != nullptr ? 1u : 0u) << i;
        }
    for (unsigned i = 0; i < udp.count; i++)
        if (tables_.wants_hash(udp.keys[i].flow.local_port)) udp.keys[i].hash = flow_hash(udp.frames[i], udp.infos[i]);
    if (found == 0) return tables_.lookup(std::span(udp.keys, udp.count), std::span(udp.sockets, udp.count));
    counts_.marked.add(static_cast<std::uint64_t>(std::popcount(found)));
    for (unsigned i = 0; i < udp.count; i++)
        if (!(found >> i & 1)) udp.sockets[i] = tables_.lookup(udp.keys[i]);
}

// The second and third stage: look up, then deliver to each socket what is its own.
void rx_path::deliver(burst& udp, unclaimed_frames* unclaimed) {
    if (udp.count == 0) return;
    look_up(udp);
    for (std::uint32_t left = udp.count == 32 ? ~0u : (1u << udp.count) - 1; left != 0;) {
        const unsigned first = static_cast<unsigned>(std::countr_zero(left));
        udp::pcb* const to = udp.sockets[first];
        std::uint32_t members = 0;
        for (std::uint32_t rest = left; rest != 0; rest &= rest - 1) {
            const unsigned i = static_cast<unsigned>(std::countr_zero(rest));
            if (udp.sockets[i] == to) members |= 1u << i;
        }
        left &= ~members;
        if (to != nullptr) {
            deliver_group(udp, static_cast<socket::udp_socket&>(*to), members);
            continue;
        }
        for (; members != 0; members &= members - 1) {
            const unsigned i = static_cast<unsigned>(std::countr_zero(members));
            packet::packet p(udp.frames[i]);
            if (unclaimed) give_back(std::move(p), udp.extents[i], *unclaimed);
            else no_port(std::move(p), udp.infos[i]);
        }
    }
}

void rx_path::deliver_group(burst& udp, socket::udp_socket& to, std::uint32_t members) {
    rte_mbuf* packets[burst_size];
    const rx_info* infos[burst_size];
    unsigned n = 0;
    for (; members != 0; members &= members - 1, n++) {
        const unsigned i = static_cast<unsigned>(std::countr_zero(members));
        packets[n] = udp.frames[i];
        infos[n] = &udp.infos[i];
    }
    if (const std::uint16_t home = to.home_shard.load(std::memory_order_relaxed); home != shard_) {
        for (unsigned i = 0; i < n; i++) {
            packet::packet p(packets[i]);
            // A second crossing means that the tables changed meanwhile; a third would mean that they never rest.
            if (infos[i]->crossings == 2) {
                drop(std::move(p), drop_reason::steer_loop);
                continue;
            }
            remember(p, *infos[i]);
            tx_.hand_over(std::move(p), home, packet::errand::deliver);
        }
        return;
    }
    const unsigned accepted = to.deliver(std::span(packets, n), std::span(infos, n), context_->now);
    counts_.datagrams_in.add(accepted);
    const bool v6 = is_v6(*infos[0]);
    counts_.mibs.add(v6 ? mib::udp6_in_datagrams : mib::udp_in_datagrams, accepted);
    if (accepted == n) return;
    counts_.mibs.add(v6 ? mib::udp6_rcvbuf_errors : mib::udp_rcvbuf_errors, n - accepted);
    counts_.mibs.add(v6 ? mib::udp6_in_errors : mib::udp_in_errors, n - accepted);
    for (unsigned i = accepted; i < n; i++)
        drop(packet::packet(packets[i]),
             to.closed() ? drop_reason::socket_closed : drop_reason::socket_receive_buffer_full);
}

void rx_path::no_port(packet::packet p, const rx_info& info) {
    counts_.mibs.add(is_v6(info) ? mib::udp6_no_ports : mib::udp_no_ports);
    icmp_.send_error(p, info, net::port_unreachable(info.family), *context_);
    drop(std::move(p), drop_reason::udp_no_port);
}

// One datagram for many sockets: each gets a reference to the same bytes; other shards serve their own. Returns how
// many sockets it is for.
std::size_t rx_path::deliver_copies(const packet::packet& p, const rx_info& info, bool pass_on) {
    const udp::lookup_key key{info.flow, 0, info.ifindex, info.rx_shard};
    std::uint64_t elsewhere = 0;
    const auto visit = [&](udp::pcb& pcb) {
        const std::uint16_t home = pcb.home_shard.load(std::memory_order_relaxed);
        if (home != shard_) {
            elsewhere |= 1ull << home;
            return;
        }
        rte_mbuf* copy = rte_pktmbuf_clone(p.get(), pool_);
        if (copy == nullptr) return counts_.drops.add(drop_reason::no_mbuf);
        burst one;
        one.count = 1;
        one.frames[0] = copy;
        one.infos[0] = info;
        deliver_group(one, static_cast<socket::udp_socket&>(pcb), 1);
    };
    const std::size_t receivers = tables_.for_each_receiver(key, std::ref(visit));
    if (!pass_on) return receivers;
    for (; elsewhere != 0; elsewhere &= elsewhere - 1) {
        packet::packet copy(rte_pktmbuf_clone(p.get(), pool_));
        if (!copy) {
            counts_.drops.add(drop_reason::no_mbuf);
            continue;
        }
        remember(copy, info);
        tx_.hand_over(std::move(copy), static_cast<std::uint16_t>(std::countr_zero(elsewhere)),
                      packet::errand::deliver);
    }
    return receivers;
}

// Only an error that quotes a datagram of a live socket is believed (RFC 8899 §4.6.1).
void rx_path::report(packet::packet p, const net::icmp_report& about) {
    rx_info quoted;
    quoted.flow = about.flow;
    quoted.family = about.family;
    const udp::lookup_key key{
        about.flow, flow_hash(p.get(), quoted), about.ifindex, static_cast<std::uint16_t>(shard_), nullptr,
        0,          udp::lookup_key::nobody,    context_->now};
    udp::pcb* const to = tables_.lookup(key);
    if (to == nullptr) {
        counts_.mibs.add(about.family == ip_family::v6 ? mib::icmp6_in_errors : mib::icmp_in_errors);
        return drop(std::move(p), drop_reason::icmp_no_socket);
    }
    if (about.error == EMSGSIZE)
        if (const auto way = context_->map.route_to(about.flow.remote))
            path_mtus_.learn(about.flow.remote, about.mtu, way->out->mtu, context_->now);
    static_cast<socket::udp_socket&>(*to).report(about);
}

void rx_path::neighbour_message(packet::packet p, const rx_info& info) {
    if (shard_ != 0) {
        remember(p, info);
        return tx_.hand_over(std::move(p), 0, packet::errand::neighbour);
    }
    rx_info known = info;
    const verdict v = info.l4_offset == 0 ? neighbours_.arp_input(p, known, *context_, tx_)
                                          : neighbours_.nd_input(p, known, *context_, tx_);
    if (v.next == step::drop) drop(std::move(p), v.reason);
}

void rx_path::receive_handed_over(std::span<rte_mbuf*> packets) {
    burst udp;
    for (rte_mbuf* m : packets) {
        packet::packet p(m);
        const auto& meta = p.info();
        switch (meta.what) {
            case packet::errand::deliver: {
                const rx_info info = recall(p, true);
                if (info.to_broadcast || info.to_multicast) deliver_copies(p, info, false);
                else admit(std::move(p), {}, info, udp);
                break;
            }
            case packet::errand::reassemble: {
                rx_info info = recall(p, false);
                const attachment* from = ports_.find(m->port);
                ip_.refuse_protocols = from && from->device;
                const verdict last = walk(p, info, is_v6(info) ? step::ipv6 : step::ipv4);
                settle(std::move(p), {}, info, last, udp, nullptr);
                break;
            }
            case packet::errand::admit: {
                rx_info info = recall(p, true);
                info.crossings = 0;
                settle(std::move(p), {}, info, step::deliver, udp, nullptr);
                break;
            }
            case packet::errand::neighbour: {
                const rx_info info = recall(p, false);
                neighbour_message(std::move(p), info);
                break;
            }
            case packet::errand::transmit: tx_.output(std::move(p), meta.ifindex); break;
            case packet::errand::resolve: tx_.resolve(std::move(p), meta.ifindex); break;
        }
    }
    deliver(udp, nullptr);
}

}  // namespace skua::shard
