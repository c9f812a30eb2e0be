// skua.h in a process that attaches: descriptors and waiting are the kernel's own.
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdint>

#include "client/answer.hh"
#include "client/descriptors.hh"
#include "skua/skua.h"

namespace {

using skua::client::descriptors;
using skua::client::failed;

int duplicated(int from, int to) {
    if (to >= 0 && to != from) descriptors::instance().duplicated(from, to);
    return to;
}

/// The daemon keeps a byte on what is polled.
void watch(int fd, bool edge = false) {
    if (const auto s = descriptors::instance().find(fd)) s->watch(edge);
}

void watch(int count, const fd_set* set) {
    for (int fd = 0; set != nullptr && fd < std::min(count, FD_SETSIZE); fd++)
        if (FD_ISSET(fd, set)) watch(fd);
}

}  // namespace

int skua_close(int fd) {
    descriptors::instance().remove(fd);
    return close(fd);
}

int skua_dup(int fd) { return duplicated(fd, dup(fd)); }
int skua_dup2(int fd, int to) { return duplicated(fd, dup2(fd, to)); }
int skua_dup3(int fd, int to, int flags) { return duplicated(fd, dup3(fd, to, flags)); }

int skua_fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    const auto argument = va_arg(more, std::intptr_t);
    va_end(more);
    const int done = fcntl(fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, done) : done;
}

int skua_ioctl(int fd, unsigned long request, ...) {
    va_list more;
    va_start(more, request);
    void* const argument = va_arg(more, void*);
    va_end(more);
    const auto s = request == FIONREAD ? descriptors::instance().find(fd) : descriptors::use();
    if (!s) return ioctl(fd, request, argument);
    if (argument == nullptr) return failed(EFAULT);
    *static_cast<int*>(argument) = static_cast<int>(s->next_size());
    return 0;
}

int skua_fstat(int fd, struct stat* status) { return fstat(fd, status); }

int skua_poll(pollfd* fds, nfds_t count, int milliseconds) {
    for (nfds_t i = 0; fds != nullptr && i < count; i++) watch(fds[i].fd);
    return poll(fds, count, milliseconds);
}

int skua_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
    for (nfds_t i = 0; fds != nullptr && i < count; i++) watch(fds[i].fd);
    return ppoll(fds, count, timeout, mask);
}

int skua_select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
    watch(count, read);
    return select(count, read, write, except, timeout);
}

int skua_pselect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout,
                 const sigset_t* mask) {
    watch(count, read);
    return pselect(count, read, write, except, timeout, mask);
}

int skua_epoll_create(int size) { return epoll_create(size); }
int skua_epoll_create1(int flags) { return epoll_create1(flags); }

int skua_epoll_ctl(int epfd, int operation, int fd, epoll_event* event) {
    if (operation != EPOLL_CTL_DEL && event != nullptr) watch(fd, (event->events & EPOLLET) != 0);
    return epoll_ctl(epfd, operation, fd, event);
}

int skua_epoll_wait(int epfd, epoll_event* events, int room, int milliseconds) {
    return epoll_wait(epfd, events, room, milliseconds);
}
int skua_epoll_pwait(int epfd, epoll_event* events, int room, int milliseconds, const sigset_t* mask) {
    return epoll_pwait(epfd, events, room, milliseconds, mask);
}
int skua_epoll_pwait2(int epfd, epoll_event* events, int room, const timespec* timeout, const sigset_t* mask) {
    return epoll_pwait2(epfd, events, room, timeout, mask);
}
