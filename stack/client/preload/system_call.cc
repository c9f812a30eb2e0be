// syscall(2) by number: the calls that the preload knows go the way of their functions.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include <array>
#include <cstdarg>
#include <optional>

#include "client/answer.hh"
#include "client/connection.hh"
#include "client/preload/next.hh"

// Elsewhere in the library libc's names mean libc's own calls; to the linker's --wrap these are the preload's.
extern "C" {
decltype(::socket) __real_socket;
decltype(::bind) __real_bind;
decltype(::connect) __real_connect;
decltype(::getsockname) __real_getsockname;
decltype(::getpeername) __real_getpeername;
decltype(::getsockopt) __real_getsockopt;
decltype(::setsockopt) __real_setsockopt;
decltype(::shutdown) __real_shutdown;
decltype(::read) __real_read;
decltype(::readv) __real_readv;
decltype(::write) __real_write;
decltype(::writev) __real_writev;
decltype(::sendto) __real_sendto;
decltype(::sendmsg) __real_sendmsg;
decltype(::sendmmsg) __real_sendmmsg;
decltype(::recvfrom) __real_recvfrom;
decltype(::recvmsg) __real_recvmsg;
decltype(::recvmmsg) __real_recvmmsg;
decltype(::close) __real_close;
decltype(::dup) __real_dup;
decltype(::dup2) __real_dup2;
decltype(::dup3) __real_dup3;
decltype(::fcntl) __real_fcntl;
decltype(::ioctl) __real_ioctl;
decltype(::poll) __real_poll;
decltype(::ppoll) __real_ppoll;
decltype(::select) __real_select;
decltype(::pselect) __real_pselect;
decltype(::epoll_ctl) __real_epoll_ctl;
decltype(::epoll_wait) __real_epoll_wait;
decltype(::epoll_pwait) __real_epoll_pwait;
decltype(::epoll_pwait2) __real_epoll_pwait2;
}

namespace {

using namespace skua::client;
using words = std::array<long, 6>;

template <class T>
T as(long word) {
    if constexpr (std::is_pointer_v<T>) return reinterpret_cast<T>(word);
    else return static_cast<T>(word);
}

/// A function's arguments from words.
template <class Result, class... Parameters>
long with(Result (*function)(Parameters...), const words& w) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
        return static_cast<long>(function(as<Parameters>(w[I])...));
    }(std::index_sequence_for<Parameters...>());
}
template <class Result, class... Parameters>
long with(Result (*function)(Parameters...) noexcept, const words& w) {
    return with(static_cast<Result (*)(Parameters...)>(function), w);
}

/// The kernel's pselect6 has a pointer to the mask and its size.
struct mask_and_size {
    const sigset_t* mask;
    std::size_t size;
};

std::optional<long> on_sockets(long number, const words& w) {
    switch (number) {
        case SYS_socket: return with(__real_socket, w);
        case SYS_bind: return with(__real_bind, w);
        case SYS_connect: return with(__real_connect, w);
        case SYS_listen: return with(listen, w);
        case SYS_accept: return with(accept, w);
        case SYS_accept4: return with(accept4, w);
        case SYS_getsockname: return with(__real_getsockname, w);
        case SYS_getpeername: return with(__real_getpeername, w);
        case SYS_getsockopt: return with(__real_getsockopt, w);
        case SYS_setsockopt: return with(__real_setsockopt, w);
        case SYS_shutdown: return with(__real_shutdown, w);
        case SYS_sendto: return with(__real_sendto, w);
        case SYS_sendmsg: return with(__real_sendmsg, w);
        case SYS_sendmmsg: return with(__real_sendmmsg, w);
        case SYS_recvfrom: return with(__real_recvfrom, w);
        case SYS_recvmsg: return with(__real_recvmsg, w);
        case SYS_recvmmsg: return with(__real_recvmmsg, w);
        case SYS_read: return with(__real_read, w);
        case SYS_readv: return with(__real_readv, w);
        case SYS_write: return with(__real_write, w);
        case SYS_writev: return with(__real_writev, w);
        case SYS_sendfile: return with(sendfile64, w);
        case SYS_splice: return with(splice, w);
        default: return {};
    }
}

std::optional<long> on_descriptors(long number, const words& w) {
    switch (number) {
        case SYS_close: return with(__real_close, w);
        case SYS_close_range: return with(close_range, w);
        case SYS_dup: return with(__real_dup, w);
        case SYS_dup3: return with(__real_dup3, w);
        case SYS_fcntl: return __real_fcntl(as<int>(w[0]), as<int>(w[1]), w[2]);
        case SYS_ioctl: return __real_ioctl(as<int>(w[0]), as<unsigned long>(w[1]), as<void*>(w[2]));
#ifdef SYS_dup2
        case SYS_dup2: return with(__real_dup2, w);
#endif
#ifdef SYS_fork
        case SYS_fork: return with(fork, w);
        case SYS_vfork: return with(fork, w);
#endif
        // libuv adds descriptors to epoll by a ring, which nothing but the kernel sees; without rings it falls back.
        case SYS_io_uring_setup: return failed(ENOSYS);
        default: return {};
    }
}

std::optional<long> on_waiting(long number, const words& w) {
    switch (number) {
        case SYS_ppoll: return with(__real_ppoll, w);
        case SYS_pselect6: {
            const auto* const m = as<mask_and_size*>(w[5]);
            words other = w;
            other[5] = reinterpret_cast<long>(m != nullptr ? m->mask : nullptr);
            return with(__real_pselect, other);
        }
        case SYS_epoll_ctl: return with(__real_epoll_ctl, w);
        case SYS_epoll_pwait: return with(__real_epoll_pwait, w);
        case SYS_epoll_pwait2: return with(__real_epoll_pwait2, w);
#ifdef SYS_poll
        case SYS_poll: return with(__real_poll, w);
        case SYS_select: return with(__real_select, w);
        case SYS_epoll_wait: return with(__real_epoll_wait, w);
#endif
        default: return {};
    }
}

/// In a child that has memory of its own the session is its parent's still.
bool copies_memory(long number, const words& w) {
    if (number == SYS_clone) return (w[0] & CLONE_VM) == 0;
    return number == SYS_clone3 && w[0] != 0 && (*as<const std::uint64_t*>(w[0]) & CLONE_VM) == 0;
}

}  // namespace

#pragma GCC visibility push(default)

extern "C" long syscall(long number, ...) noexcept(noexcept(::syscall(0L))) {
    va_list more;
    va_start(more, number);
    words w;
    for (long& each : w) each = va_arg(more, long);
    va_end(more);
    if (const auto done = on_sockets(number, w)) return *done;
    if (const auto done = on_descriptors(number, w)) return *done;
    if (const auto done = on_waiting(number, w)) return *done;
    const long done = next::syscall(number, w[0], w[1], w[2], w[3], w[4], w[5]);
    if (done == 0 && copies_memory(number, w)) connection::instance().forked();
    return done;
}

#pragma GCC visibility pop
