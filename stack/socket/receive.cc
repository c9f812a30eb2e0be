// The way in: from the shard into the queue, and from the queue to the program.
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

#include "socket/datagram.hh"
#include "socket/sockaddr.hh"
#include "socket/truesize.hh"
#include "socket/udp_socket.hh"

namespace skua::socket {

namespace {

constexpr std::size_t batch = 32;

std::uint64_t nanoseconds_of(time_point t) { return static_cast<std::uint64_t>(t.time_since_epoch().count()); }

/// Copies the payload into the message's buffers; returns how much.
std::size_t copy_payload(const rte_mbuf* m, const datagram_view& d, const msghdr& message) {
    std::uint32_t offset = d.payload_offset();
    std::size_t left = d.payload_length();
    const std::size_t whole = left;
    for (std::size_t i = 0; i < message.msg_iovlen && left > 0; i++) {
        const auto n = static_cast<std::uint32_t>(std::min(left, message.msg_iov[i].iov_len));
        if (n == 0) continue;
        void* const to = message.msg_iov[i].iov_base;
        if (const void* at = rte_pktmbuf_read(m, offset, n, to); at != to) std::memcpy(to, at, n);
        offset += n;
        left -= n;
    }
    return whole - left;
}

}  // namespace

/// Fills the message from a datagram; returns what recvmsg returns.
std::size_t udp_socket::fill(const rte_mbuf* m, msghdr& message, int flags) const {
    const datagram_view d(m);
    const std::size_t copied = copy_payload(m, d, message);
    if (message.msg_name)
        message.msg_namelen =
            write_sockaddr(family, d.source(), static_cast<sockaddr*>(message.msg_name), message.msg_namelen);
    else message.msg_namelen = 0;
    message.msg_flags = copied < d.payload_length() ? MSG_TRUNC : 0;
    if (const std::uint32_t wanted = told(); wanted != 0) {
        arrival of{d.destination().address, {}, d.ifindex(), d.hop_limit(), d.traffic_class()};
        if (wanted & tell::ipv4_packet_info && of.destination.is_v4())
            of.answer_from = answer_from(d.source().address, of.destination, of.ifindex, d.to_many());
        write_control(message, wanted, of);
    } else {
        message.msg_controllen = 0;
    }
    return flags & MSG_TRUNC ? d.payload_length() : copied;
}

ipv4_address udp_socket::answer_from(const ip_address& source, const ip_address& destination, std::uint32_t ifindex,
                                     bool to_many) const {
    if (!to_many) return destination.v4();
    const rcu_domain::read_guard guard(host_.rcu());
    const auto& map = host_.topology();
    const auto way = map.route_to(source, ifindex);
    const auto from = way ? map.source_for(source, *way) : fail(ENETUNREACH);
    return from ? from->v4() : ipv4_address();
}

unsigned udp_socket::deliver(std::span<rte_mbuf*> packets, std::span<const packet::rx_info* const> infos,
                             time_point now) {
    if (closed()) return 0;
    if (receiver_ != nullptr) return deliver_to_receiver(packets, infos);
    // As __udp_enqueue_schedule_skb: one datagram is taken however large, if nothing else is there.
    const std::int64_t limit = settings_.receive_buffer.load(std::memory_order_relaxed);
    const std::int64_t before = queue_.bytes();
    std::int64_t cost = 0;
    rte_mbuf* newest = nullptr;
    unsigned accepted = 0;
    for (std::size_t i = 0; i < packets.size(); i++) {
        rte_mbuf* const m = packets[i];
        note_arrival(m, *infos[i], nanoseconds_of(now));
        const datagram_view d(m);
        const std::int64_t size = truesize(d.payload_length(), d.family());
        if (before + cost + size > limit && before + cost != 0) continue;
        cost += size;
        packet::meta_of(m).link = newest;
        newest = m;
        std::swap(packets[accepted++], packets[i]);
    }
    if (accepted < packets.size()) dropped_.fetch_add(packets.size() - accepted, std::memory_order_relaxed);
    if (accepted == 0) return 0;
    received_.add(accepted);
    queue_.push(newest, packets[0], static_cast<std::int32_t>(cost));
    if (waiters_.active()) waiters_.wake(readable_events, accepted);
    return accepted;
}

unsigned udp_socket::deliver_to_receiver(std::span<rte_mbuf*> packets, std::span<const packet::rx_info* const> infos) {
    std::size_t refused = 0;
    for (std::size_t done = 0; done < packets.size();) {
        std::array<received, batch> burst;
        const std::size_t n = std::min(batch, packets.size() - done);
        for (std::size_t i = 0; i < n; i++) burst[i] = {packet::packet(packets[done + i]), infos[done + i]};
        receiver_->on_datagrams(*this, std::span(burst).first(n));
        done += n;
        // What was taken is gone from `packets`: its places at the front hold what was refused, for now.
        for (std::size_t i = 0; i < n; i++)
            if (burst[i].refused) packets[refused++] = burst[i].datagram.release();
    }
    const std::size_t accepted = packets.size() - refused;
    std::copy_backward(packets.begin(), packets.begin() + static_cast<std::ptrdiff_t>(refused), packets.end());
    received_.add(accepted);
    if (refused != 0) dropped_.fetch_add(refused, std::memory_order_relaxed);
    return static_cast<unsigned>(accepted);
}

unsigned udp_socket::recv_burst(std::span<packet::packet> out) {
    unsigned taken = 0;
    while (taken < out.size()) {
        rte_mbuf* burst[batch];
        const unsigned n =
            queue_.pop(std::span(burst).first(std::min(batch, out.size() - taken)), settings_.receive_buffer);
        for (unsigned i = 0; i < n; i++) out[taken++].reset(burst[i]);
        if (n < batch) break;
    }
    return taken;
}

result<std::size_t> udp_socket::receive_now(msghdr& message, int flags, bool may_wait) {
    if (const int e = take_error()) return fail(e);
    if (flags & MSG_PEEK) {
        std::size_t length = 0;
        if (queue_.peek([&](const rte_mbuf* m) { length = fill(m, message, flags); })) return length;
    } else if (rte_mbuf * m; queue_.pop(std::span(&m, 1), settings_.receive_buffer) == 1) {
        const packet::packet taken(m);
        return fill(m, message, flags);
    }
    // Only who would sleep is told of the end (__skb_wait_for_more_packets); others see EAGAIN.
    if (!may_wait || !(shutdown_.load() & shut_receive)) return fail(EAGAIN);
    message.msg_namelen = 0;
    message.msg_controllen = 0;
    message.msg_flags = 0;
    return 0;
}

result<std::size_t> udp_socket::recvmsg(msghdr& message, int flags) {
    if (flags & MSG_ERRQUEUE) return fail(EAGAIN);  // empty, and reading it never blocks
    const time_point deadline = deadline_of(settings_.receive_timeout, flags);
    return wait_for(EPOLLIN, deadline, [&] { return receive_now(message, flags, deadline != at_once); });
}

result<std::size_t> udp_socket::recvfrom(void* data, std::size_t length, int flags, sockaddr* from,
                                         socklen_t* from_length) {
    iovec part{data, length};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (from != nullptr && from_length != nullptr) {
        if (static_cast<int>(*from_length) < 0) return fail(EINVAL);
        message.msg_name = from;
        message.msg_namelen = *from_length;
    }
    auto got = recvmsg(message, flags);
    if (got && from_length != nullptr) *from_length = message.msg_namelen;
    return got;
}

namespace {

/// The time that a recvmmsg may take; says what is left of it.
class time_left {
public:
    explicit time_left(timespec* given) : given_(given) {
        if (given) until_ = monotonic_clock::now() + std::chrono::seconds(given->tv_sec) + nanoseconds(given->tv_nsec);
    }
    static bool valid(const timespec* t) {
        return t == nullptr || (t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000);
    }
    /// Writes down what is left; true if nothing is.
    bool over() {
        if (given_ == nullptr) return false;
        const auto left = std::max(until_ - monotonic_clock::now(), nanoseconds(0));
        given_->tv_sec = left.count() / 1000000000;
        given_->tv_nsec = left.count() % 1000000000;
        return left.count() == 0;
    }

private:
    timespec* given_;
    time_point until_{};
};

}  // namespace

result<unsigned> udp_socket::recvmmsg(std::span<mmsghdr> messages, int flags, timespec* timeout) {
    if (!time_left::valid(timeout)) return fail(EINVAL);
    time_left left(timeout);
    if (const int e = take_error()) return fail(e);
    unsigned done = 0;
    while (done < messages.size()) {
        const int how = flags & ~MSG_WAITFORONE;
        const bool wait = done == 0 || !(flags & MSG_WAITFORONE);
        auto one = recvmsg(messages[done].msg_hdr, wait ? how : how | MSG_DONTWAIT);
        if (!one) {
            if (done == 0) return fail(one.error().code);
            // What was received counts; the error waits for the next call (do_recvmmsg).
            if (one.error().code != EAGAIN) error_.store(one.error().code);
            break;
        }
        messages[done++].msg_len = static_cast<unsigned>(*one);
        if (left.over()) break;
        if (flags & (MSG_PEEK | MSG_ERRQUEUE)) continue;
        // More that is already here comes under one lock.
        rte_mbuf* burst[batch];
        const unsigned n =
            queue_.pop(std::span(burst).first(std::min(batch, messages.size() - done)), settings_.receive_buffer);
        for (unsigned i = 0; i < n; i++) {
            const packet::packet taken(burst[i]);
            mmsghdr& to = messages[done++];
            to.msg_len = static_cast<unsigned>(fill(burst[i], to.msg_hdr, flags));
        }
        if (n != 0 && left.over()) break;
    }
    return done;
}

std::size_t udp_socket::next_size() {
    std::size_t size = 0;
    queue_.peek([&](const rte_mbuf* m) { size = datagram_view(m).payload_length(); });
    return size;
}

}  // namespace skua::socket
