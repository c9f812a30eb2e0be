// From results to -1 and errno.
#pragma once

#include <cerrno>

#include "base/result.hh"

namespace skua::client {

inline int failed(int code) {
    errno = code;
    return -1;
}
inline int answer(const result<void>& r) { return r ? 0 : failed(r.error().code); }
template <class T>
auto answer(const result<T>& r) -> decltype(static_cast<long>(*r)) {
    return r ? static_cast<long>(*r) : failed(r.error().code);
}

}  // namespace skua::client
