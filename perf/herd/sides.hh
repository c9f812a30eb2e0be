// The two sides of the comparison under the same names: the kernel's sockets and skua's.
#pragma once

#include <sched.h>
#include <skua/skua.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <functional>
#include <thread>

namespace skua::herd {

/// A process is one of the operating system.
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

    class process {
    public:
        /// Runs `body` in a fork of this process. Throws std::system_error.
        explicit process(const std::function<void()>& body);
        /// False: `body` threw; what it said stands on stderr.
        bool wait();

    private:
        pid_t pid_;
    };
};

/// A process is a thread with a descriptor table of its own.
struct skua_side {
    static constexpr const char* name = "skua";
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

    /// Starts a stack without ports, with one shard on a thread of its own; stops it. Throws std::system_error.
    class world {
    public:
        world();
        ~world();
        world(const world&) = delete;
        world& operator=(const world&) = delete;

    private:
        cpu_set_t before_;  // CPUs that this thread may use
    };

    class process {
    public:
        explicit process(const std::function<void()>& body);
        bool wait();

    private:
        skua_process* table_;
        bool sound_ = false;
        std::jthread thread_;  // last: it ends before what it uses
    };
};

}  // namespace skua::herd
