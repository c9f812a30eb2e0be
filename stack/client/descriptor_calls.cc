// skua.h in a process that attaches: descriptors are the kernel's own.
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdint>

#include "client/answer.hh"
#include "client/connection.hh"
#include "client/descriptors.hh"
#include "client/interests.hh"
#include "skua/skua.h"

namespace {

using skua::client::descriptors;
using skua::client::failed;

int duplicated(int from, int to) {
    if (to >= 0 && to != from) descriptors::instance().duplicated(from, to);
    return to;
}

}  // namespace

int skua_close(int fd) {
    const bool last = descriptors::instance().remove(fd);
    skua::client::interests::closed(fd);
    const int done = close(fd);
    // Whoever binds or sends next finds the socket gone, as after the kernel's close.
    if (last) skua::client::connection::instance().settle();
    return done;
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
    const bool ours = request == FIONREAD || request == TIOCOUTQ;
    const auto s = ours ? descriptors::instance().find(fd) : descriptors::use();
    if (!s) return ioctl(fd, request, argument);
    if (argument == nullptr) return failed(EFAULT);
    *static_cast<int*>(argument) = static_cast<int>(request == FIONREAD ? s->next_size() : s->unsent());
    return 0;
}

int skua_fstat(int fd, struct stat* status) { return fstat(fd, status); }
