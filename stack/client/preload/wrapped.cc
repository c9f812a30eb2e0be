// What the rest of the library means by libc's names: libc's own calls. The linker's --wrap sends them here, so that
// nothing inside comes back to the calls that the preload puts before them.
#include <cstdarg>
#include <cstdint>

#include "client/preload/next.hh"

// The names are the linker's.
extern "C" {

using namespace skua::client;

int __wrap_socket(int domain, int type, int protocol) { return next::socket(domain, type, protocol); }
int __wrap_bind(int fd, const sockaddr* a, socklen_t n) { return next::bind(fd, a, n); }
int __wrap_connect(int fd, const sockaddr* a, socklen_t n) { return next::connect(fd, a, n); }
int __wrap_getsockname(int fd, sockaddr* a, socklen_t* n) { return next::getsockname(fd, a, n); }
int __wrap_getpeername(int fd, sockaddr* a, socklen_t* n) { return next::getpeername(fd, a, n); }
int __wrap_getsockopt(int fd, int level, int name, void* value, socklen_t* n) {
    return next::getsockopt(fd, level, name, value, n);
}
int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t n) {
    return next::setsockopt(fd, level, name, value, n);
}
int __wrap_shutdown(int fd, int how) { return next::shutdown(fd, how); }

ssize_t __wrap_read(int fd, void* to, size_t n) { return next::read(fd, to, n); }
ssize_t __wrap_readv(int fd, const iovec* parts, int n) { return next::readv(fd, parts, n); }
ssize_t __wrap_write(int fd, const void* from, size_t n) { return next::write(fd, from, n); }
ssize_t __wrap_writev(int fd, const iovec* parts, int n) { return next::writev(fd, parts, n); }
ssize_t __wrap_send(int fd, const void* from, size_t n, int flags) { return next::send(fd, from, n, flags); }
ssize_t __wrap_sendto(int fd, const void* from, size_t n, int flags, const sockaddr* to, socklen_t length) {
    return next::sendto(fd, from, n, flags, to, length);
}
ssize_t __wrap_sendmsg(int fd, const msghdr* m, int flags) { return next::sendmsg(fd, m, flags); }
int __wrap_sendmmsg(int fd, mmsghdr* m, unsigned n, int flags) { return next::sendmmsg(fd, m, n, flags); }
ssize_t __wrap_recv(int fd, void* to, size_t n, int flags) { return next::recv(fd, to, n, flags); }
ssize_t __wrap_recvfrom(int fd, void* to, size_t n, int flags, sockaddr* from, socklen_t* length) {
    return next::recvfrom(fd, to, n, flags, from, length);
}
ssize_t __wrap_recvmsg(int fd, msghdr* m, int flags) { return next::recvmsg(fd, m, flags); }
int __wrap_recvmmsg(int fd, mmsghdr* m, unsigned n, int flags, timespec* timeout) {
    return next::recvmmsg(fd, m, n, flags, timeout);
}

int __wrap_close(int fd) { return next::close(fd); }
int __wrap_dup(int fd) { return next::dup(fd); }
int __wrap_dup2(int fd, int to) { return next::dup2(fd, to); }
int __wrap_dup3(int fd, int to, int flags) { return next::dup3(fd, to, flags); }
int __wrap_fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    const auto argument = va_arg(more, std::intptr_t);
    va_end(more);
    return next::fcntl(fd, command, argument);
}
int __wrap_ioctl(int fd, unsigned long request, ...) {
    va_list more;
    va_start(more, request);
    void* const argument = va_arg(more, void*);
    va_end(more);
    return next::ioctl(fd, request, argument);
}
int __wrap_fclose(FILE* f) { return next::fclose(f); }

int __wrap_poll(pollfd* fds, nfds_t n, int ms) { return next::poll(fds, n, ms); }
int __wrap_ppoll(pollfd* fds, nfds_t n, const timespec* t, const sigset_t* mask) {
    return next::ppoll(fds, n, t, mask);
}
int __wrap_select(int n, fd_set* r, fd_set* w, fd_set* e, timeval* t) { return next::select(n, r, w, e, t); }
int __wrap_pselect(int n, fd_set* r, fd_set* w, fd_set* e, const timespec* t, const sigset_t* mask) {
    return next::pselect(n, r, w, e, t, mask);
}
int __wrap_epoll_ctl(int set, int operation, int fd, epoll_event* event) {
    return next::epoll_ctl(set, operation, fd, event);
}
int __wrap_epoll_wait(int set, epoll_event* events, int n, int ms) { return next::epoll_wait(set, events, n, ms); }
int __wrap_epoll_pwait(int set, epoll_event* events, int n, int ms, const sigset_t* mask) {
    return next::epoll_pwait(set, events, n, ms, mask);
}
int __wrap_epoll_pwait2(int set, epoll_event* events, int n, const timespec* t, const sigset_t* mask) {
    return next::epoll_pwait2(set, events, n, t, mask);
}
long __wrap_syscall(long number, ...) {
    va_list more;
    va_start(more, number);
    long a[6];
    for (long& each : a) each = va_arg(more, long);
    va_end(more);
    return next::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
}
