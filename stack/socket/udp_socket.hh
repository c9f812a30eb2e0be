// A UDP socket: the calls of POSIX with the answers of Linux, and the side that its shard sees.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/counters.hh"
#include "net/icmp_input.hh"
#include "packet/packet.hh"
#include "packet/verdict.hh"
#include "socket/ancillary.hh"
#include "socket/host.hh"
#include "socket/receive_queue.hh"
#include "udp/pcb.hh"
#include "wait/wait_queue.hh"

namespace skua::socket {

class udp_socket;

/// Ranges, first and last.
using port_list = std::vector<std::pair<std::uint16_t, std::uint16_t>>;

/// Who makes a socket, as bind and the options with FORCE want to know it.
struct credentials {
    uid_t effective_uid = 0;
    std::shared_ptr<const port_list> ports;  // privileged ones that it may bind all the same; nullptr: none
    bool privileged() const { return effective_uid == 0; }
    bool may_bind(std::uint16_t port) const {
        return privileged() || (ports && std::ranges::any_of(*ports, [port](const auto& r) {
                                    return r.first <= port && port <= r.second;
                                }));
    }
};

/// A datagram that a receiver may keep: if it moves the packet out, the packet is its own; what is left is freed.
struct received {
    packet::packet datagram;  // headers in front; the payload follows the 8 bytes at info->l4_offset
    const packet::rx_info* info = nullptr;
    bool refused = false;  // set by a receiver that has no room for it: dropped as by a full receive buffer
};

/// Takes datagrams on the shard itself, instead of the receive queue.
class receiver {
public:
    virtual void on_datagrams(udp_socket& socket, std::span<received> datagrams) = 0;
    /// Instead of SO_ERROR: an errno value that the next call would have given. Any shard.
    virtual bool on_error(udp_socket&, int) { return false; }

protected:
    ~receiver() = default;
};

/// A payload that frame() makes a datagram of. `to` nullptr: the connected peer.
struct outgoing {
    packet::packet datagram;
    const endpoint* to = nullptr;
    send_choice said{};
};

/// Closes the socket; it is freed once no shard can see it and its last datagram has left.
struct closer {
    void operator()(udp_socket* s) const;
};
using udp_socket_ptr = std::unique_ptr<udp_socket, closer>;

/// Any thread may make any call, except where "shard" is said. Calls block unless `flags` has MSG_DONTWAIT (O_NONBLOCK
/// lives in the file). Whoever calls holds a reference on the file above, so nobody is inside when the handle is
/// dropped.
class udp_socket final : public udp::pcb {
public:
    /// As socket(2), without SOCK_NONBLOCK and SOCK_CLOEXEC. Errors: EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT,
    /// EINVAL type or protocol out of range.
    static result<udp_socket_ptr> create(host& h, int domain, int type, int protocol, credentials who);

    // ---- names ----
    /// Errors: those of address_to_bind; EADDRNOTAVAIL not ours; EACCES privileged port; EINVAL bound already, or a
    /// link-local address without a scope; ENODEV; EADDRINUSE.
    result<void> bind(const sockaddr* address, socklen_t length);
    result<void> bind(const endpoint& local);
    /// AF_UNSPEC disconnects. Errors: those of address_to_connect; EAGAIN no port left; ENETUNREACH; EACCES broadcast
    /// without SO_BROADCAST; EINVAL link-local without a scope.
    result<void> connect(const sockaddr* address, socklen_t length);
    result<void> connect(const endpoint& remote);
    void disconnect();
    endpoint local_endpoint() const;
    std::optional<endpoint> remote_endpoint() const;
    /// `length`: room, then the whole length of the address, as in getsockname(2). Errors: EINVAL; ENOTCONN.
    result<void> getsockname(sockaddr* address, socklen_t* length) const;
    result<void> getpeername(sockaddr* address, socklen_t* length) const;

    // ---- sending ----
    /// Returns the bytes of payload taken. Errors: those of address_to_send, connect and read_control; EDESTADDRREQ;
    /// EMSGSIZE; EOPNOTSUPP MSG_OOB; EPIPE; an ICMP error that was waiting; EAGAIN; EINTR; ENOBUFS no packets, or the
    /// shard's ring is full.
    result<std::size_t> sendmsg(const msghdr& message, int flags);
    result<std::size_t> sendto(const void* data, std::size_t length, int flags, const sockaddr* to,
                               socklen_t to_length);
    /// Returns how many were sent, at least one; the error is that of the first.
    result<unsigned> sendmmsg(std::span<mmsghdr> messages, int flags);

    // ---- receiving ----
    /// Returns the bytes copied (with MSG_TRUNC: of the whole datagram), 0 after shutdown. Control messages: those of
    /// socket/ancillary.hh that options ask for.
    /// Errors: an ICMP error; EAGAIN; EINTR.
    result<std::size_t> recvmsg(msghdr& message, int flags);
    result<std::size_t> recvfrom(void* data, std::size_t length, int flags, sockaddr* from, socklen_t* from_length);
    /// `timeout` is looked at after each datagram only, as on Linux, and returns what is left. Error besides: EINVAL.
    result<unsigned> recvmmsg(std::span<mmsghdr> messages, int flags, timespec* timeout);
    /// FIONREAD: the payload of the next datagram, 0 if there is none.
    std::size_t next_size();

    // ---- state ----
    /// Takes effect on unconnected sockets too, though it then says ENOTCONN. Error: EINVAL.
    result<void> shutdown(int how);
    /// Errors: ENOPROTOOPT, EOPNOTSUPP, EINVAL and what the option says.
    result<void> setsockopt(int level, int name, const void* value, socklen_t length);
    result<void> getsockopt(int level, int name, void* value, socklen_t* length);
    /// For datagrams to this address (nullptr: to the peer), or why there can be none: as sendto(2), which binds too.
    struct destination {
        std::uint32_t longest;  // bytes of payload that one may have
        std::uint8_t alike;     // bits of the address that all this depends on
    };
    result<destination> prepare_to_send(const sockaddr* to, socklen_t to_length, const send_choice& said = {});
    /// What readers want to be told, bits of socket::tell.
    std::uint32_t told() const { return settings_.tell.load(std::memory_order_relaxed); }
    /// Our address by which a datagram over IPv4 is answered (fib_compute_spec_dst): where it was sent to, unless that
    /// was to many. Any thread.
    ipv4_address answer_from(const ip_address& source, const ip_address& destination, std::uint32_t ifindex,
                             bool to_many) const;
    /// SO_RCVBUF and SO_SNDBUF, as truesize() counts.
    std::int32_t receive_buffer() const { return settings_.receive_buffer.load(std::memory_order_relaxed); }
    std::int32_t send_buffer() const { return settings_.send_buffer.load(std::memory_order_relaxed); }
    /// What poll(2) would report (EPOLLIN, ...).
    std::uint32_t poll_events() const;
    wait::wait_queue& waiters() { return waiters_; }
    bool closed() const { return closed_.load(std::memory_order_relaxed); }
    /// The file system's number for it (Linux: sock_i_ino); 0: it has no file.
    std::uint64_t inode_number() const { return inode_number_.load(std::memory_order_relaxed); }
    void set_inode_number(std::uint64_t n) { inode_number_.store(n, std::memory_order_relaxed); }
    /// Datagrams accepted, and refused because the receive buffer was full.
    std::uint64_t received_count() const { return received_.get(); }
    std::int32_t receive_queue_bytes() const { return queue_.bytes(); }
    std::int32_t send_queue_bytes() const { return wmem_.load(std::memory_order_relaxed); }
    std::uint64_t dropped_count() const { return dropped_.load(std::memory_order_relaxed); }

    // ---- shard: the caller polls under RCU ----
    /// Takes datagrams of this socket in order of arrival. Returns how many; the refused ones stay the caller's and
    /// stand, in any order, at the end of `packets`: socket_closed if closed(), else socket_receive_buffer_full.
    /// Several shards may deliver at once, but for a socket with a receiver only its home may.
    unsigned deliver(std::span<rte_mbuf*> packets, std::span<const packet::rx_info* const> infos, time_point now);
    /// Instead of the receive queue. Before datagrams can arrive, or on the home shard. nullptr: the queue again.
    void set_receiver(receiver* r) { receiver_ = r; }
    /// Takes datagrams out of the receive queue without a copy; datagram_view reads them. The caller owns them.
    unsigned recv_burst(std::span<packet::packet> out);
    /// An ICMP error about one of our datagrams. Only a connected socket hears of it, and only of fatal ones.
    void report(int error, bool fatal);
    void report(const net::icmp_report& about) { report(about.error, about.fatal); }
    /// The shard has taken datagrams of this cost out of its ring.
    void sent(std::uint32_t cost);
    /// Makes payloads (headroom in front) into datagrams for shard::send() with meta.ifindex, without charging them.
    /// Returns how many, from the front; `error` says why not the next, which is unchanged. Errors: those of sendmsg
    /// except EAGAIN, EINTR.
    unsigned frame(std::span<outgoing> datagrams, int* error);
    /// Makes a received datagram into one that goes back to its sender, with whatever its payload says now; no look at
    /// the routes if it is small enough for every way. On failure the packet is unchanged. Errors: EMSGSIZE,
    /// ENETUNREACH, ENOBUFS.
    result<void> reply(packet::packet& p, const packet::rx_info& info);

private:
    friend struct option_access;
    friend struct closer;
    friend class send_batch;

    /// The names as any thread may read them: one picture, replaced under RCU.
    struct names {
        endpoint local;
        endpoint remote;
        ip_address source;         // of what is sent; unspecified: chosen by route
        std::uint32_t device = 0;  // SO_BINDTODEVICE
        bool bound = false;
        bool connected = false;  // even to port 0
        bool v6_only = false;
    };
    /// Everything that the headers of a datagram need. Valid as long as routes and options do not change: for one
    /// batch.
    struct send_plan {
        endpoint asked;
        send_choice said;
        endpoint to;
        ip_address from;
        std::uint16_t from_port = 0;
        std::uint32_t ifindex = 0;  // must leave by it, or 0
        std::uint32_t mtu = 0;
        std::uint32_t longest = 0;   // bytes of payload
        std::uint8_t pmtu_rule = 0;  // IP_PMTUDISC_*
        std::uint8_t hop_limit = 0;
        std::uint8_t traffic_class = 0;
        std::uint16_t fragment_size = 0;  // of IPv6, at most; 0: as the way allows
    };
    /// Options that one call reads and another may write at any time.
    struct settings {
        std::atomic<std::int32_t> receive_buffer, send_buffer;                // bytes
        std::atomic<nanoseconds::rep> receive_timeout{-1}, send_timeout{-1};  // -1: none
        std::atomic<bool> broadcast{false}, cork{false}, filter_locked{false}, whole_v6{false};
        std::atomic<std::uint32_t> tell{0};
        std::atomic<std::uint16_t> fragment_size{0};
        std::atomic<std::uint8_t> tos{0}, traffic_class{0};
        std::atomic<std::int16_t> ttl{-1}, unicast_hops{-1};  // -1: the default
        std::atomic<std::uint8_t> pmtu_v4, pmtu_v6;           // IP_PMTUDISC_*
        settings(const limits& l);
    };
    /// A datagram in the making, joined from several sends (MSG_MORE).
    struct corked {
        explicit corked(const send_plan& p) : plan(p) {}
        const send_plan plan;
        std::vector<std::byte> payload;
    };

    udp_socket(host& h, ip_family f, credentials who);
    ~udp_socket();
    void close();

    // names (udp_socket.cc); the first four under names_lock_
    result<void> bind_locked(const endpoint& local);
    result<void> connect_locked(endpoint remote);
    void publish(const ip_address& source, bool connected);
    void publish_again();
    /// `to`: what it is bound for, which the choice of a port may heed.
    result<void> ensure_bound(const endpoint* to = nullptr);
    result<void> ensure_bound_to_send(const msghdr& message);
    std::function<bool(std::uint16_t)> fitting_port(const endpoint& to) const;
    void change_device(std::uint32_t ifindex);
    std::uint32_t current_device() const;
    const names& current_names() const { return *names_.load(std::memory_order_acquire); }  // under RCU

    // sending (send.cc)
    result<send_plan> plan_for(const names& n, const endpoint& to, const send_choice& said = {}) const;
    /// `last`: a plan that serves if the destination is the same. `said`: instead of the message's control data.
    result<send_plan> plan_for_message(const msghdr& message, const send_plan* last,
                                       const send_choice* said = nullptr) const;
    result<void> frame_with(const send_plan& plan, packet::packet& p) const;
    void note_answer(const endpoint& to) const;
    result<packet::packet> assemble(const send_plan& plan, std::span<const iovec> payload, std::size_t length) const;
    result<void> charge(std::uint32_t cost, time_point deadline);
    result<void> push_corked();

    // receiving (receive.cc)
    std::size_t fill(const rte_mbuf* m, msghdr& message, int flags) const;
    result<std::size_t> receive_now(msghdr& message, int flags, bool may_wait);
    unsigned deliver_to_receiver(std::span<rte_mbuf*> packets, std::span<const packet::rx_info* const> infos);

    int take_error() {
        return error_.load(std::memory_order_relaxed) == 0 ? 0 : error_.exchange(0, std::memory_order_acq_rel);
    }
    bool writeable() const {
        return wmem_.load(std::memory_order_seq_cst) < settings_.send_buffer.load(std::memory_order_relaxed) / 2;
    }
    /// Repeats attempt() until it gives something else than EAGAIN, asleep meanwhile. The deadline may be `at_once`.
    template <class Attempt>
    auto wait_for(std::uint32_t events, time_point deadline, Attempt&& attempt) -> decltype(attempt());
    static constexpr time_point at_once = time_point::min();
    static time_point deadline_of(const std::atomic<nanoseconds::rep>& timeout, int flags);

    // What a delivery touches comes first.
    receiver* receiver_ = nullptr;
    std::atomic<bool> closed_{false};
    counter received_;  // exact as long as only the home shard delivers
    std::atomic<std::uint64_t> dropped_{0};
    settings settings_;
    wait::wait_queue waiters_;
    receive_queue queue_;

    host& host_;
    const credentials who_;
    std::atomic<const names*> names_;
    std::atomic<int> error_{0};          // sk_err
    std::atomic<unsigned> shutdown_{0};  // shut_receive | shut_send
    std::atomic<std::int32_t> wmem_{0};
    std::atomic<std::uint64_t> inode_number_{0};
    mutable std::mutex names_lock_;  // of calls that change names or control fields
    std::mutex cork_lock_;
    std::unique_ptr<corked> cork_;
    std::atomic<bool> has_cork_{false};

    static constexpr unsigned shut_receive = 1, shut_send = 2;
};

/// For a shard that has taken datagrams out of its ring: gives their cost back to the sockets that sent them.
void uncharge(std::span<rte_mbuf* const> datagrams);

}  // namespace skua::socket

#include "socket/blocking.hh"
