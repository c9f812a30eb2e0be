// An open socket: the socket itself and the flags that every descriptor of it shares.
#pragma once

#include <sys/socket.h>

#include <atomic>

#include "socket/udp_socket.hh"
#include "sockfs/descriptor_table.hh"

namespace skua::sockfs {

class socket_file final : public file {
public:
    socket_file(socket::udp_socket_ptr s, bool nonblocking) : socket_(std::move(s)), nonblocking_(nonblocking) {}

    socket::udp_socket& socket() { return *socket_; }
    /// The flags of one call, O_NONBLOCK added.
    int call_flags(int flags) const {
        return nonblocking_.load(std::memory_order_relaxed) ? flags | MSG_DONTWAIT : flags;
    }
    void set_nonblocking(bool on) { nonblocking_.store(on, std::memory_order_relaxed); }

private:
    socket::udp_socket_ptr socket_;
    std::atomic<bool> nonblocking_;
};

}  // namespace skua::sockfs
