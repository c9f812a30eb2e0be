// What both the sender and the waiters need around calls: errors as exceptions, descriptors that close themselves,
// time.
#pragma once

#include <time.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace skua::herd {

/// The result of a call; throws std::system_error for -1.
inline int checked(int result, const char* call) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), call);
    return result;
}

/// CLOCK_MONOTONIC.
inline std::uint64_t now_ns() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

template <class Side>
class descriptor {
public:
    descriptor(int fd, const char* call) : fd_(checked(fd, call)) {}
    ~descriptor() {
        if (fd_ >= 0) Side::close(fd_);
    }
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor& operator=(descriptor&&) = delete;
    int fd() const { return fd_; }

private:
    int fd_;
};

}  // namespace skua::herd
