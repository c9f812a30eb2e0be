// Datagrams of one socket on their way to its home shard, handed over together.
#pragma once

#include <array>
#include <optional>

#include "socket/udp_socket.hh"

namespace skua::socket {

/// Belongs to one call. What it holds was charged to the socket; what does not get through is uncharged and freed.
class send_batch {
public:
    send_batch(udp_socket& s, int flags);
    ~send_batch() { flush(); }
    send_batch(const send_batch&) = delete;
    send_batch& operator=(const send_batch&) = delete;

    /// Returns the bytes of payload taken. Errors: those of sendmsg. After ENOBUFS or with refused() != 0 nothing may
    /// be added, or datagrams would overtake.
    result<std::size_t> add(const msghdr& message);
    /// What MSG_MORE and UDP_CORK have gathered so far, if anything.
    result<void> add_pending();
    /// Hands over what it holds.
    void flush();
    /// How many datagrams the shard had no room for, always the last ones.
    unsigned refused() const { return refused_; }

private:
    result<void> plan(const msghdr& message);
    result<void> add(const udp_socket::send_plan& plan, std::span<const iovec> parts, std::size_t length);
    result<void> add_corked(const msghdr& message, std::span<const iovec> parts, std::size_t length, bool more);

    udp_socket& socket_;
    const int flags_;
    const time_point deadline_;
    std::optional<udp_socket::send_plan> plan_;  // of the last message: the next one often has the same destination
    std::array<rte_mbuf*, 32> datagrams_;
    unsigned count_ = 0;
    unsigned refused_ = 0;
};

}  // namespace skua::socket
