// A socket of the daemon as a process that holds its descriptor sees it.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "attach/channel.hh"
#include "attach/region.hh"
#include "attach/socket_page.hh"
#include "base/result.hh"
#include "client/connection.hh"
#include "client/tickets.hh"
#include "socket/ancillary.hh"

namespace skua::client {

/// Any thread; calls block unless MSG_DONTWAIT is given or the file has O_NONBLOCK. `fd`: a descriptor of the socket.
class remote_socket {
public:
    /// `fd` stays the caller's. Error: EPROTO.
    static result<std::unique_ptr<remote_socket>> from(int fd, connection::socket_region given);
    ~remote_socket();

    result<std::size_t> send(int fd, const msghdr& message, int flags);
    result<std::size_t> receive(int fd, msghdr& message, int flags);
    /// FIONREAD.
    std::size_t next_size();
    /// TIOCOUTQ: what the datagrams that have not left take of the send buffer.
    std::size_t unsent() const;
    bool readable();
    int domain() const { return page_->domain; }

    result<std::vector<std::byte>> call(int fd, attach::request what, std::array<std::int32_t, 3> words = {},
                                        std::span<const std::byte> body = {});
    void set_timeout(bool receiving, std::int64_t nanoseconds);
    /// UDP_CORK. Off: what was joined so far is sent. Errors: those of send().
    result<void> set_cork(int fd, bool on);
    /// SO_ERROR: the error is told once.
    int take_error();

    /// Somebody polls the descriptor: the daemon shows on it how things are.
    void watch(int fd, bool edge);
    /// What poll(2) says of a UDP socket, from what it said of the descriptor; 0: nothing that was asked for.
    /// An error shows there as POLLPRI.
    short translate(short found, short asked);

private:
    remote_socket(ino_t inode, attach::region memory);
    int own(int fd);
    result<void> join(int fd);
    result<std::uint32_t> longest_to(int fd, const std::optional<endpoint>& to, const msghdr& message,
                                     const socket::send_choice& said);
    result<void> wait(std::atomic<std::uint32_t>& event, std::uint32_t seen, std::atomic<std::uint32_t>& sleepers,
                      std::chrono::steady_clock::time_point until);
    struct direction {
        std::optional<endpoint> to;
        socket::send_choice said;
    };
    /// A datagram in the making; of this process, for who shares the socket joins messages of its own.
    struct parts {
        direction way;
        std::size_t longest;
        std::vector<std::byte> payload;
    };
    result<void> send_whole(int fd, const msghdr& message, int flags, std::size_t length, const direction& way);
    result<std::size_t> join_parts(int fd, const msghdr& message, int flags, const direction& way, bool more);
    bool has_room() const;
    void tell_when_room(int fd);
    void announce(int fd);
    result<void> put(const msghdr& message, std::size_t length, const std::optional<endpoint>& to,
                     const socket::send_choice& said);
    result<std::size_t> take(msghdr& message, int flags);
    void quieten();

    const ino_t inode_;         // of the descriptor
    std::atomic<int> own_{-1};  // one more descriptor of it: calls that wait inside outlive the program's
    const attach::region region_;
    attach::socket_page* const page_;
    const std::uint64_t id_;
    std::atomic<std::uint32_t> number_{0};
    std::atomic<std::uint32_t> session_{0};  // for which `number_` holds
    std::mutex parts_lock_;
    std::unique_ptr<parts> parts_;
    std::atomic<bool> has_parts_{false};
    std::mutex tickets_lock_;
    tickets tickets_;
};

}  // namespace skua::client
