// Both ways of an attached socket.
#include "attach/attached_socket.hh"

#include <linux/futex.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>

#include "packet/packet.hh"
#include "socket/datagram.hh"
#include "socket/truesize.hh"

namespace skua::attach {

namespace {

constexpr std::size_t least_ring = 1 << 18;  // takes several of the largest datagrams
constexpr unsigned batch = 32;

/// What a buffer of so many bytes (as truesize() counts) can hold in records, which are smaller.
std::uint64_t ring_bytes(std::uint32_t buffer) { return std::bit_ceil(std::max<std::size_t>(buffer, least_ring)); }

constexpr int most_woken = 64;  // at once, by a shard: who is woken sends, and what it sends wakes others

void futex_wake(std::atomic<std::uint32_t>& word, unsigned sleepers) {
    word.fetch_add(1, std::memory_order_seq_cst);
    syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE, sleepers, nullptr, nullptr, 0);
}

void share(pthread_mutex_t& m) {
    pthread_mutexattr_t how;
    pthread_mutexattr_init(&how);
    pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);    // a holder may be killed while it has it
    pthread_mutexattr_settype(&how, PTHREAD_MUTEX_ERRORCHECK);  // or a signal's handler may come to it again
    pthread_mutex_init(&m, &how);
    pthread_mutexattr_destroy(&how);
}

std::span<std::byte> part(const region& r, std::size_t at, std::uint64_t size) { return r.bytes().subspan(at, size); }

}  // namespace

std::size_t attached_socket::region_size(std::uint32_t largest_receive, std::uint32_t largest_send) {
    return socket_page::rx_at + ring_bytes(largest_receive) + ring_bytes(largest_send);
}

void attached_socket::lay_out(const region& memory, std::uint32_t largest_receive, std::uint32_t largest_send) {
    auto* const page = new (memory.bytes().data()) socket_page;
    page->rx_bytes = ring_bytes(largest_receive);
    page->tx_bytes = ring_bytes(largest_send);
    share(page->rx_lock);
    share(page->tx_lock);
}

attached_socket::layout attached_socket::layout_of(const region& memory) {
    const auto& page = *memory.as<socket_page>();
    return {page.rx_bytes, page.tx_bytes};
}

bool attached_socket::layout::fits(const region& memory) const {
    const std::size_t whole = memory.bytes().size();
    return std::has_single_bit(rx) && std::has_single_bit(tx) && rx >= least_ring && tx >= least_ring && rx <= whole &&
           tx <= whole && socket_page::rx_at + rx + tx <= whole;
}

attached_socket::attached_socket(std::uint64_t id, int domain, socket::udp_socket_ptr s, region memory,
                                 const layout& rings, int bell)
    : id_(id),
      region_(std::move(memory)),
      page_(*region_.as<socket_page>()),
      bell_(bell),
      home_(s->home_shard.load()),
      socket_(std::move(s)),
      rx_(page_.rx, part(region_, socket_page::rx_at, rings.rx)),
      tx_(page_.tx, part(region_, socket_page::rx_at + rings.rx, rings.tx)) {
    page_.id = id;
    page_.domain = domain;
    page_.home = home_;
    // What lies unread is charged: it was, by the daemon that put it there.
    ring_reader unread(page_.rx, part(region_, socket_page::rx_at, rings.rx));
    charged_ = page_.rx_returned.load();
    record header;
    std::span<const std::byte> payload;
    // No more than there can be, whatever its holders write meanwhile.
    for (std::uint64_t left = rings.rx; unread.front(header, payload) == ring_reader::found::datagram;) {
        if (header.size > left) break;
        left -= header.size;
        charged_ += header.cost;
        unread.skip(header);
    }
    changed();
    socket_->set_receiver(this);
}

attached_socket::~attached_socket() { close(bell_); }

void attached_socket::begin_serving(std::uint32_t incarnation) {
    page_.tx_announced.store(0, std::memory_order_seq_cst);
    page_.incarnation.store(incarnation, std::memory_order_seq_cst);
    remind();
    if (page_.rx_sleepers.load() != 0) futex_wake(page_.rx_events, INT32_MAX);
    if (page_.tx_sleepers.load() != 0) futex_wake(page_.tx_events, INT32_MAX);
}

void attached_socket::changed() {
    page_.send_buffer = socket_->send_buffer();
    note_bound();
    const auto peer = socket_->remote_endpoint();
    page_.connected = !peer ? 0 : peer->address.is_v4() ? 4 : 6;
    page_.told = socket_->told();
    page_.changes.fetch_add(1, std::memory_order_seq_cst);
}

void attached_socket::shut(std::uint32_t ways) {
    const std::uint32_t before = shut_;
    shut_ |= ways;
    page_.shutdown.store(shut_, std::memory_order_seq_cst);
    // Whoever polls sees the end of the stream: EPOLLIN and EPOLLRDHUP, and EPOLLHUP after both ways, as of a UDP
    // socket. A byte that stays unread tells abandoned() the difference between this end and the last close.
    if (ways & ~before & socket_page::shut_receive) ring(1);
    if (shut_ == socket_page::shut_both) ::shutdown(bell_, SHUT_RDWR);
    else if (shut_ & socket_page::shut_receive) ::shutdown(bell_, SHUT_WR);
    futex_wake(page_.rx_events, INT32_MAX);
    futex_wake(page_.tx_events, INT32_MAX);
}

bool attached_socket::abandoned() const {
    if (shut_ != socket_page::shut_both) return true;
    int error = 0;
    socklen_t length = sizeof error;
    // Of a pair that is shut both ways only who closes with something unread is heard (unix_release_sock).
    return getsockopt(bell_, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == ECONNRESET;
}

void attached_socket::remind() {
    if (has_room()) show_room();
    if (page_.rx.written.load(std::memory_order_seq_cst) != page_.rx.read.load(std::memory_order_seq_cst)) ring(1);
    if (page_.error.load(std::memory_order_seq_cst) != 0) ring_error();
}

/// As sock_writeable(): half of the buffer is free.
bool attached_socket::has_room() const {
    const std::uint64_t in_flight = page_.tx_charged - page_.tx_returned.load(std::memory_order_seq_cst);
    return in_flight < static_cast<std::uint64_t>(page_.send_buffer.load(std::memory_order_relaxed)) / 2;
}

/// What holders wrote to make the pair full is read: it is writable again.
void attached_socket::show_room() {
    page_.watch.fetch_and(~socket_page::watch_room, std::memory_order_seq_cst);
    char filling[256];
    while (recv(bell_, filling, sizeof filling, MSG_DONTWAIT) == sizeof filling) {
    }
}

bool attached_socket::drained() const { return broken_ || page_.tx.written.load() == page_.tx.read.load(); }

std::uint64_t attached_socket::memory_in_use() const {
    return region_size(static_cast<std::uint32_t>(socket_->receive_buffer()),
                       static_cast<std::uint32_t>(socket_->send_buffer()));
}

void attached_socket::on_datagrams(socket::udp_socket& s, std::span<socket::received> datagrams) {
    // As __udp_enqueue_schedule_skb: one datagram is taken however large, if nothing else is there.
    const std::int64_t limit = s.receive_buffer();
    rx_.set_enough(ring_bytes(static_cast<std::uint32_t>(limit)));
    const std::uint64_t returned = page_.rx_returned.load(std::memory_order_acquire);
    // More given back than was ever charged is garbage, and hurts those who wrote it.
    std::int64_t used = returned > charged_ ? 0 : static_cast<std::int64_t>(charged_ - returned);
    const std::uint64_t before = rx_.position();
    unsigned accepted = 0;
    for (socket::received& d : datagrams) {
        const auto* udp = d.datagram.header<wire::udp_header>(d.info->l4_offset);
        const std::uint32_t cost = socket::truesize(udp->length.host() - sizeof *udp, d.info->family);
        if ((used + cost > limit && used != 0) || !put(d)) {
            d.refused = true;
            continue;
        }
        used += cost;
        charged_ += cost;
        accepted++;
    }
    if (accepted != 0) wake(accepted, rx_.passed(before));
}

bool attached_socket::put(const socket::received& d) {
    const auto& info = *d.info;
    const std::uint32_t at = info.l4_offset + std::uint32_t(sizeof(wire::udp_header));
    const std::uint32_t length = info.l4_length - std::uint32_t(sizeof(wire::udp_header));
    record* const r = rx_.begin(length);
    if (r == nullptr) return false;
    r->peer = info.flow.remote;
    r->local = info.flow.local;
    r->peer_port = info.flow.remote_port;
    r->ifindex = info.ifindex;
    r->hop_limit = info.hop_limit;
    if (info.family == ip_family::v4) {
        r->traffic_class = d.datagram.header<wire::ipv4_header>(info.l3_offset)->tos;
        const bool to_many = info.to_broadcast || info.to_multicast;
        r->answer_from = socket_->answer_from(info.flow.remote, info.flow.local, info.ifindex, to_many);
    } else {
        r->traffic_class = d.datagram.header<wire::ipv6_header>(info.l3_offset)->traffic_class();
    }
    r->cost = socket::truesize(length, info.family);
    std::byte* const to = ring_writer::payload(r);
    if (const void* from = rte_pktmbuf_read(d.datagram.get(), at, length, to); from != to && from != nullptr)
        std::memcpy(to, from, length);
    rx_.end();
    return true;
}

void attached_socket::wake(unsigned accepted, bool was_read) {
    if (page_.rx_sleepers.load(std::memory_order_seq_cst) != 0) futex_wake(page_.rx_events, accepted);
    const std::uint32_t watch = page_.watch.load(std::memory_order_seq_cst);
    if (watch & socket_page::watch_edge) ring(accepted);
    else if ((watch & socket_page::watch_level) && was_read) ring(1);
}

void attached_socket::ring(unsigned bytes) {
    static constexpr std::array<char, batch> tokens{};
    // A full pair has a byte in it: whoever polls knows.
    [[maybe_unused]] const auto sent =
        send(bell_, tokens.data(), std::min<std::size_t>(bytes, tokens.size()), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/// Out of band, so that it shows as EPOLLPRI: holders make EPOLLERR of it, which cannot be raised on a pair.
void attached_socket::ring_error() {
    if (send(bell_, "", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL) < 0) ring(1);
}

bool attached_socket::on_error(socket::udp_socket&, int error) {
    const bool first = page_.error.exchange(error, std::memory_order_seq_cst) == 0;
    if (page_.rx_sleepers.load(std::memory_order_seq_cst) != 0) futex_wake(page_.rx_events, 1);
    if (first && page_.watch.load(std::memory_order_seq_cst) != 0) ring_error();
    return true;
}

unsigned attached_socket::transmit(shard::shard& on, unsigned most) {
    unsigned done = 0;
    while (done < most && !broken_) {
        socket::outgoing out[batch];
        endpoint to[batch];
        unsigned n = 0, taken = 0;
        while (taken < std::min(batch, most - done)) {
            record header;
            std::span<const std::byte> payload;
            const auto found = tx_.front(header, payload);
            if (found == ring_reader::found::garbage) broken_ = true;
            if (found != ring_reader::found::datagram) break;
            out[n].datagram = packet::allocate(on.pool(), header.length);
            if (!out[n].datagram) break;  // the next turn may find some
            packet::write(out[n].datagram, 0, payload);
            if ((header.flags & record::to_connected) == 0) {
                to[n] = {header.peer, header.peer_port, header.ifindex};
                out[n].to = &to[n];
            }
            out[n].said.source = header.local;
            if (header.flags & record::to_connected || header.local != ip_address())
                out[n].said.ifindex = header.ifindex;
            if (header.flags & record::chosen_hop_limit) out[n].said.hop_limit = header.hop_limit;
            if (header.flags & record::chosen_traffic_class) out[n].said.traffic_class = header.traffic_class;
            // As its holders charged it: what they give here, they give themselves. Before it leaves the ring, so that
            // a daemon that is killed owes them nothing.
            page_.tx_returned.store(page_.tx_returned.load(std::memory_order_relaxed) + header.cost,
                                    std::memory_order_release);
            tx_.pop(header);
            taken++;
            // What request::destination has never let through: another family than the socket's, no port of its own.
            const bool foreign = socket_->family == ip_family::v4 && out[n].to != nullptr && !header.peer.is_v4();
            if (foreign || !bound_.load(std::memory_order_relaxed)) out[n] = {};
            else n++;
        }
        if (taken == 0) break;
        // The program was told of what is wrong with a destination when it asked (request::destination). What has
        // become wrong since is lost, as on a kernel whose route went while the datagram was queued.
        for (unsigned sent = 0; sent < n;) {
            const unsigned framed = socket_->frame(std::span(out).subspan(sent, n - sent), nullptr);
            for (unsigned i = sent; i < sent + framed; i++) {
                const std::uint32_t by = out[i].datagram.info().ifindex;
                on.send(std::move(out[i].datagram), by);
            }
            sent += framed + 1;
        }
        done += taken;
        if (page_.tx_sleepers.load(std::memory_order_seq_cst) != 0) futex_wake(page_.tx_events, most_woken);
        if (page_.watch.load(std::memory_order_seq_cst) & socket_page::watch_room && has_room()) show_room();
    }
    return done;
}

}  // namespace skua::attach
