// The two sides of the comparison under the same names: the kernel's sockets and skua's. What of skua's depends on
// whether it is embedded in the program or in a skuad that processes attach to, is in a source file of its own.
#pragma once

#include <skua/skua.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <functional>
#include <memory>

namespace skua::herd {

/// Runs `body`. False: it threw; what it said stands on stderr.
bool run_and_say(const std::function<void()>& body);

/// A process of the operating system.
class forked {
public:
    /// Runs `body` in a fork of this process. Throws std::system_error.
    explicit forked(const std::function<void()>& body);
    /// False: `body` threw; what it said stands on stderr.
    bool wait();

private:
    pid_t pid_;
};

struct kernel_side {
    static constexpr const char* name = "kernel";
    static constexpr auto* socket = &::socket;
    static constexpr auto* setsockopt = &::setsockopt;
    static constexpr auto* bind = &::bind;
    static constexpr auto* connect = &::connect;
    static constexpr auto* getsockname = &::getsockname;
    static constexpr auto* send = &::send;
    static constexpr auto* recv = &::recv;
    static constexpr auto* close = &::close;
    static constexpr auto* epoll_create1 = &::epoll_create1;
    static constexpr auto* epoll_ctl = &::epoll_ctl;
    static constexpr auto* epoll_wait = &::epoll_wait;

    /// The kernel runs already.
    struct world {};

    using process = forked;
};

struct skua_side {
    static const char* const name;
    static constexpr auto* socket = &::skua_socket;
    static constexpr auto* setsockopt = &::skua_setsockopt;
    static constexpr auto* bind = &::skua_bind;
    static constexpr auto* connect = &::skua_connect;
    static constexpr auto* getsockname = &::skua_getsockname;
    static constexpr auto* send = &::skua_send;
    static constexpr auto* recv = &::skua_recv;
    static constexpr auto* close = &::skua_close;
    static constexpr auto* epoll_create1 = &::skua_epoll_create1;
    static constexpr auto* epoll_ctl = &::skua_epoll_ctl;
    static constexpr auto* epoll_wait = &::skua_epoll_wait;

    /// Starts a stack without ports, with one shard; stops it. Throws.
    class world {
    public:
        world();
        ~world();
        world(const world&) = delete;
        world& operator=(const world&) = delete;

    private:
        struct state;
        std::unique_ptr<state> state_;
    };

    /// As `forked`: in skua's own sense if it is embedded.
    class process {
    public:
        explicit process(const std::function<void()>& body);
        ~process();
        process(const process&) = delete;
        process& operator=(const process&) = delete;
        bool wait();

    private:
        struct state;
        std::unique_ptr<state> state_;
    };
};

}  // namespace skua::herd
