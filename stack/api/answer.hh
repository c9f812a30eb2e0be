// From results to errno, and from descriptors to files. The only place besides client that sets errno.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <memory>
#include <type_traits>

#include "api/running.hh"
#include "base/result.hh"

namespace skua::api {

inline int failed(int code) {
    errno = code;
    return -1;
}

template <class T>
auto answer(const result<T>& r) {
    using value = std::conditional_t<std::is_same_v<T, std::size_t>, ssize_t, int>;
    if (!r) return static_cast<value>(failed(r.error().code));
    if constexpr (std::is_void_v<T>) return value{0};
    else return static_cast<value>(*r);
}

/// The stack process of the calling thread; nullptr if no stack runs.
sockfs::process* current_process();
/// nullptr: the first one.
void enter_process(std::shared_ptr<sockfs::process> p);

/// Does a number mean a descriptor of the kernel to the calling thread? Then the kernel answers the call.
inline bool is_kernels(int fd) {
    const sockfs::process* const p = current_process();
    return p == nullptr || (p->shares_numbers() && !p->files().get(fd));
}

}  // namespace skua::api
