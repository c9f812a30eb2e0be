// libc's calls on descriptors of any kind, as a program under the preload finds them; and those that copy the process.
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdio.h>

#include <cstdarg>
#include <cstdint>
#include <memory>

#include "client/answer.hh"
#include "client/connection.hh"
#include "client/descriptors.hh"
#include "client/own_numbers.hh"
#include "client/preload/next.hh"
#include "skua/skua.h"

using namespace skua;
using client::connection;
using client::descriptors;
using client::failed;
namespace next = client::next;
namespace own_numbers = client::own_numbers;

namespace {

/// Those that take a struct ifreq or its like (man netdevice, arp, rtnetlink): of the host's network, whatever socket
/// they are asked of.
bool asks_about_host(unsigned long request) { return request >= 0x890b && request <= 0x89ff; }

int ask_host(int domain, unsigned long request, void* argument) {
    const int helper = next::socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (helper < 0) return -1;
    const int done = next::ioctl(helper, request, argument);
    const int error = errno;
    next::close(helper);
    errno = error;
    return done;
}

int close_some(unsigned first, unsigned last, int flags) {
    if (first > last) return 0;
    const bool ours = !(flags & CLOSE_RANGE_CLOEXEC) && descriptors::instance().remove(first, last);
    const int done = next::close_range(first, last, flags);
    if (ours) connection::instance().settle();
    return done;
}

int closed_by_kernel(int to) {
    if (own_numbers::has(to)) return failed(EBUSY);
    return 0;
}

using body_of_clone = int (*)(void*);
struct clone_start {
    body_of_clone body;
    void* argument;
};

int start_clone(void* given) {
    const clone_start s = *static_cast<clone_start*>(given);
    delete static_cast<clone_start*>(given);
    connection::instance().forked();
    return s.body(s.argument);
}

}  // namespace

#pragma GCC visibility push(default)

extern "C" {

int close(int fd) {
    if (own_numbers::has(fd)) return failed(EBADF);
    return skua_close(fd);
}

int close_range(unsigned first, unsigned last, int flags) noexcept {
    if (first > last) return failed(EINVAL);
    for (auto ours = own_numbers::next(static_cast<int>(std::min<unsigned>(first, INT32_MAX)));
         ours && static_cast<unsigned>(*ours) <= last; ours = own_numbers::next(*ours + 1)) {
        const auto at = static_cast<unsigned>(*ours);
        if (at > first && close_some(first, at - 1, flags) != 0) return -1;
        first = at + 1;
        if (at == last) return 0;
    }
    return close_some(first, last, flags);
}

void closefrom(int lowest) noexcept { close_range(lowest < 0 ? 0 : static_cast<unsigned>(lowest), ~0u, 0); }

int fclose(FILE* file) {
    const int before = errno;
    const int fd = file != nullptr ? fileno(file) : -1;
    errno = before;
    const bool last = fd >= 0 && descriptors::instance().remove(fd);
    const int done = next::fclose(file);
    if (last) connection::instance().settle();
    return done;
}

int dup(int fd) noexcept { return skua_dup(fd); }
int dup2(int fd, int to) noexcept { return closed_by_kernel(to) != 0 ? -1 : skua_dup2(fd, to); }
int dup3(int fd, int to, int flags) noexcept { return closed_by_kernel(to) != 0 ? -1 : skua_dup3(fd, to, flags); }

int fcntl64(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    const auto argument = va_arg(more, std::intptr_t);
    va_end(more);
    return skua_fcntl(fd, command, argument);
}

int fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    const auto argument = va_arg(more, std::intptr_t);
    va_end(more);
    return skua_fcntl(fd, command, argument);
}

int ioctl(int fd, unsigned long request, ...) noexcept {
    va_list more;
    va_start(more, request);
    void* const argument = va_arg(more, void*);
    va_end(more);
    if (asks_about_host(request)) {
        int domain = 0;
        if (const auto s = descriptors::instance().find(fd)) domain = s->domain();
        if (domain != 0) return ask_host(domain, request, argument);
    }
    return skua_ioctl(fd, request, argument);
}

// The child has memory of its own, as POSIX allows: what a child of vfork(2) does to descriptors would spoil what this
// library knows of its parent's.
pid_t vfork() noexcept { return fork(); }
pid_t __vfork() noexcept { return fork(); }

pid_t _Fork() noexcept {
    const pid_t child = next::_Fork();
    if (child == 0) connection::instance().forked();
    return child;
}

int clone(body_of_clone body, void* stack, int flags, void* argument, ...) noexcept {
    va_list more;
    va_start(more, argument);
    void* const parent_id = va_arg(more, void*);
    void* const storage = va_arg(more, void*);
    void* const child_id = va_arg(more, void*);
    va_end(more);
    if (flags & CLONE_VM) return next::clone(body, stack, flags, argument, parent_id, storage, child_id);
    auto start = std::make_unique<clone_start>(clone_start{body, argument});
    return next::clone(start_clone, stack, flags, start.get(), parent_id, storage, child_id);
}

// It puts /dev/null there by calls of its own.
int daemon(int keep_directory, int keep_standard) noexcept {
    const int done = next::daemon(keep_directory, keep_standard);
    for (int fd = 0; done == 0 && fd <= 2; fd++) descriptors::instance().remove(fd);
    return done;
}

// ---- Other names that libc exports for the same. ----

int __close(int fd) { return close(fd); }
int __dup2(int fd, int to) noexcept { return dup2(fd, to); }
int __fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    const auto argument = va_arg(more, std::intptr_t);
    va_end(more);
    return skua_fcntl(fd, command, argument);
}
}

#pragma GCC visibility pop
