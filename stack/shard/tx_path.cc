// The way out, in the order of its steps.
#include "shard/tx_path.hh"

#include "net/ethernet_output.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"

namespace skua::shard {

namespace {

constexpr std::size_t loop_limit = 4096;      // datagrams waiting for the rx path
constexpr std::size_t external_limit = 4096;  // frames waiting for the application (library mode)

/// Destination of a datagram that this stack has built: its headers are whole.
ip_address destination_of(const packet::packet& datagram) {
    const auto* ip = datagram.header<wire::ipv4_header>(0);
    return ip->version() == 4 ? ip_address(ip->destination)
                              : ip_address(datagram.header<wire::ipv6_header>(0)->destination);
}

mib out_requests(bool v4) { return v4 ? mib::ip_out_requests : mib::ip6_out_requests; }
mib out_no_routes(bool v4) { return v4 ? mib::ip_out_no_routes : mib::ip6_out_no_routes; }

}  // namespace

tx_path::tx_path(std::uint16_t shard, exchange& peers, const attachments& ports, net::neighbour_table& neighbours,
                 const net::path_mtu_cache& path_mtus, rte_mempool* pool, random_source& random, counters& counts)
    : shard_(shard),
      peers_(peers),
      ports_(ports),
      neighbours_(neighbours),
      path_mtus_(path_mtus),
      pool_(pool),
      counts_(counts),
      identifications_(random) {
    port_batches_.resize(ports.all().size());
    for (auto& b : port_batches_) b.reserve(burst_size);
    shard_batches_.resize(peers.shards());
    for (auto& b : shard_batches_) b.reserve(burst_size);
    looped_.reserve(loop_limit);
}

tx_path::~tx_path() {
    for (auto* batches : {&port_batches_, &shard_batches_})
        for (auto& b : *batches) rte_pktmbuf_free_bulk(b.data(), static_cast<unsigned>(b.size()));
    rte_pktmbuf_free_bulk(looped_.data(), static_cast<unsigned>(looped_.size()));
}

// 1. route
void tx_path::output(packet::packet datagram, std::uint32_t out_ifindex) {
    const auto to = destination_of(datagram);
    const auto way = context_->map.route_to(to, out_ifindex);
    if (!way) {
        counts_.mibs.add(out_no_routes(to.is_v4()));
        return drop(std::move(datagram), drop_reason::tx_no_route);
    }
    if (way->kind == net::destination_kind::local) {
        counts_.mibs.add(out_requests(to.is_v4()));
        // It comes in on the device that has the address (Linux: ip_route_output_key_hash_rcu, ip6_rcv_core).
        const bool there = out_ifindex != 0 && context_->map.find_address(way->next_hop, out_ifindex);
        const net::interface* const holder = context_->map.holder(way->next_hop);
        return loop_back(std::move(datagram), there ? out_ifindex : holder ? holder->index : net::loopback_ifindex);
    }
    if (const attachment* at = ports_.find(way->out->port); at && at->transmitter != shard_) {
        datagram.info().ifindex = out_ifindex;
        return hand_over(std::move(datagram), at->transmitter, packet::errand::transmit);
    }
    if (way->kind == net::destination_kind::broadcast) {
        // As Linux does (ip_mc_output): our own sockets hear our broadcasts too.
        if (rte_mbuf* copy = rte_pktmbuf_copy(datagram.get(), pool_, 0, UINT32_MAX))
            loop_back(packet::packet(copy), way->out->index);
        else counts_.drops.add(drop_reason::no_mbuf);
    }
    counts_.mibs.add(out_requests(to.is_v4()));
    emit(std::move(datagram), *way);
}

// 2. fragment
void tx_path::emit(packet::packet datagram, const net::path& way) {
    std::uint32_t mtu = path_mtus_.lookup(destination_of(datagram), way.out->mtu, context_->now);
    // The sender wants smaller fragments (IPV6_MTU). Drivers do not look at this field for what is no TCP.
    if (const std::uint32_t most = datagram.get()->tso_segsz; most != 0) {
        mtu = std::min(mtu, most);
        datagram.get()->tso_segsz = 0;
    }
    if (datagram.size() <= mtu) {
        net::finish_checksums(datagram, way.out->offloads);
        return frame(std::move(datagram), way);
    }
    // Fragments of one datagram are known by its identification (RFC 791); one that fitted may have come without.
    if (auto* ip = datagram.header<wire::ipv4_header>(0);
        ip->version() == 4 && !ip->dont_fragment() && ip->identification == be16{})
        ip->identification = be16(identifications_.ipv4(ip->source, ip->destination, false));
    struct : net::fragment_sink {
        void take(packet::packet piece) override { path->frame(std::move(piece), *way); }
        tx_path* path;
        const net::path* way;
    } pieces;
    pieces.path = this;
    pieces.way = &way;
    const auto why = net::fragment(datagram, mtu, identifications_.ipv6(), *this, pieces, counts_.mibs);
    if (why != drop_reason::none) drop(std::move(datagram), why);
}

// 3. neighbour and Ethernet header
void tx_path::frame(packet::packet datagram, const net::path& way) {
    switch (net::frame_datagram(datagram, way, neighbours_)) {
        case net::framing::framed: return transmit(std::move(datagram), *way.out);
        case net::framing::unresolved: return unresolved(std::move(datagram), way);
        case net::framing::no_headroom: return drop(std::move(datagram), drop_reason::no_mbuf);
    }
}

// 4. the port's queue
void tx_path::transmit(packet::packet frame, const net::interface& out) {
    if (out.vlan != 0 && !net::insert_vlan(frame, out.vlan)) return drop(std::move(frame), drop_reason::no_mbuf);
    const attachment* at = ports_.find(out.port);
    if (at == nullptr) return drop(std::move(frame), drop_reason::tx_port_down);
    // Some devices send one segment only. A frame larger than a buffer cannot be made one.
    if (at->device && !out.offloads.multi_segment && rte_pktmbuf_linearize(frame.get()) != 0)
        return drop(std::move(frame), drop_reason::tx_too_big);
    const std::size_t index = ports_.index(*at);
    auto& batch = port_batches_[index];
    if (batch.size() >= (at->device ? burst_size : external_limit)) {
        if (at->device) flush_port(index);
        else return drop(std::move(frame), drop_reason::tx_ring_full);
    }
    frame.get()->port = out.port;
    batch.push_back(frame.release());
}

void tx_path::flush_port(std::size_t index) {
    auto& batch = port_batches_[index];
    const attachment& at = ports_.all()[index];
    if (batch.empty() || at.device == nullptr) return;
    const unsigned sent = at.device->tx(at.queue, batch);
    counts_.frames_out.add(sent);
    give_up(batch, sent, at.device->gone() ? drop_reason::tx_port_down : drop_reason::tx_ring_full);
}

void tx_path::flush() {
    for (std::size_t i = 0; i < port_batches_.size(); i++) flush_port(i);
    for (std::uint16_t to = 0; to < shard_batches_.size(); to++) flush_shard(to);
}

void tx_path::flush_shard(std::uint16_t to) {
    auto& batch = shard_batches_[to];
    if (batch.empty()) return;
    const unsigned taken = peers_.ring(shard_, to).push(batch);
    counts_.handed_over.add(taken);
    give_up(batch, taken, drop_reason::mailbox_full);
}

void tx_path::give_up(batch& of, unsigned from, drop_reason why) {
    if (from < of.size()) {
        counts_.drops.add(why, of.size() - from);
        rte_pktmbuf_free_bulk(of.data() + from, static_cast<unsigned>(of.size() - from));
    }
    of.clear();
}

unsigned tx_path::take_frames(std::span<rte_mbuf*> out) {
    unsigned n = 0;
    for (std::size_t i = 0; i < port_batches_.size(); i++) {
        if (ports_.all()[i].device) continue;
        auto& batch = port_batches_[i];
        const auto take = std::min(batch.size(), out.size() - n);
        std::copy_n(batch.begin(), take, out.begin() + n);
        batch.erase(batch.begin(), batch.begin() + static_cast<std::ptrdiff_t>(take));
        n += static_cast<unsigned>(take);
    }
    counts_.frames_out.add(n);
    return n;
}

void tx_path::loop_back(packet::packet datagram, std::uint32_t ifindex) {
    if (looped_.size() >= loop_limit) return drop(std::move(datagram), drop_reason::mailbox_full);
    datagram.info().ifindex = ifindex;
    looped_.push_back(datagram.release());
}

unsigned tx_path::take_looped(std::span<rte_mbuf*> out) {
    const auto n = std::min(out.size(), looped_.size());
    std::copy_n(looped_.begin(), n, out.begin());
    looped_.erase(looped_.begin(), looped_.begin() + static_cast<std::ptrdiff_t>(n));
    return static_cast<unsigned>(n);
}

void tx_path::unresolved(packet::packet datagram, const net::path& way) {
    if (shard_ == 0) return neighbours_.park(std::move(datagram), way.out->index, way.next_hop, *context_, *this);
    datagram.info().ifindex = way.out->index;
    hand_over(std::move(datagram), 0, packet::errand::resolve);
}

void tx_path::resolve(packet::packet datagram, std::uint32_t out_ifindex) {
    const auto way = context_->map.route_to(destination_of(datagram), out_ifindex);
    if (!way || way->kind != net::destination_kind::unicast) return drop(std::move(datagram), drop_reason::tx_no_route);
    frame(std::move(datagram), *way);
}

void tx_path::hand_over(packet::packet p, std::uint16_t to, packet::errand what) {
    p.info().what = what;
    auto& batch = shard_batches_[to];
    batch.push_back(p.release());
    if (batch.size() == burst_size) flush_shard(to);
}

void tx_path::drop(packet::packet p, drop_reason why) {
    counts_.drops.add(why);
    p.reset();
}

}  // namespace skua::shard
