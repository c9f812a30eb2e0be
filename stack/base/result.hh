// result<T>: a value, or the errno that Linux would give.
#pragma once

#include <cerrno>
#include <tl/expected.hpp>

namespace skua {

/// An errno value (EINVAL, EADDRINUSE, ...) that travels as a value until api or client sets errno.
struct error {
    int code = 0;
    friend constexpr bool operator==(error, error) = default;
};

template <class T>
using result = tl::expected<T, error>;

/// `return fail(EINVAL);`
[[nodiscard]] constexpr tl::unexpected<error> fail(int code) { return tl::unexpected<error>(error{code}); }

}  // namespace skua
