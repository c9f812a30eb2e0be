// libc's calls that wait for descriptors, as a program under the preload finds them.
#include "client/preload/next.hh"
#include "skua/skua.h"

#pragma GCC visibility push(default)

extern "C" {

int poll(pollfd* fds, nfds_t count, int milliseconds) { return skua_poll(fds, count, milliseconds); }

int ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
    return skua_ppoll(fds, count, timeout, mask);
}

int select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
    return skua_select(count, read, write, except, timeout);
}

int pselect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout, const sigset_t* mask) {
    return skua_pselect(count, read, write, except, timeout, mask);
}

int epoll_ctl(int set, int operation, int fd, epoll_event* event) noexcept {
    return skua_epoll_ctl(set, operation, fd, event);
}

int epoll_wait(int set, epoll_event* events, int room, int milliseconds) {
    return skua_epoll_wait(set, events, room, milliseconds);
}

int epoll_pwait(int set, epoll_event* events, int room, int milliseconds, const sigset_t* mask) {
    return skua_epoll_pwait(set, events, room, milliseconds, mask);
}

int epoll_pwait2(int set, epoll_event* events, int room, const timespec* timeout, const sigset_t* mask) {
    return skua_epoll_pwait2(set, events, room, timeout, mask);
}

// ---- _FORTIFY_SOURCE, and libc's other names ----

[[noreturn]] void __chk_fail() noexcept;

int __poll_chk(pollfd* fds, nfds_t count, int milliseconds, size_t room) {
    if (room / sizeof *fds < count) __chk_fail();
    return poll(fds, count, milliseconds);
}

int __ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t room) {
    if (room / sizeof *fds < count) __chk_fail();
    return ppoll(fds, count, timeout, mask);
}

int __poll(pollfd* fds, nfds_t count, int milliseconds) { return poll(fds, count, milliseconds); }

int __select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
    return select(count, read, write, except, timeout);
}
}

#pragma GCC visibility pop
