// Descriptors of the kernel that the stack opens for itself.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace skua {

/// The same file under a high number: a program expects the lowest free one for what it opens itself (POSIX, file
/// descriptor allocation). `fd` as it is if that cannot be.
inline int out_of_the_way(int fd) {
    constexpr rlim_t high = 2048;  // the kernel's table grows to the highest number in use
    rlimit limit{};
    if (fd < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) return fd;
    const int moved = fcntl(fd, F_DUPFD_CLOEXEC, static_cast<int>(std::min(high, limit.rlim_cur / 2)));
    if (moved < 0) return fd;
    close(fd);
    return moved;
}

}  // namespace skua
