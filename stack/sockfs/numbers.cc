// The lowest free number.
#include "sockfs/numbers.hh"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/own_descriptor.hh"

namespace skua::sockfs {

result<int> own_numbers::take(int at_least) {
    if (at_least < 0 || at_least >= limit_) return fail(EINVAL);
    int n = std::max(at_least, lowest_free_);
    while (n < static_cast<int>(used_.size()) && used_[static_cast<std::size_t>(n)]) n++;
    if (n >= limit_) return fail(EMFILE);
    if (n >= static_cast<int>(used_.size())) used_.resize(static_cast<std::size_t>(n) + 1);
    used_[static_cast<std::size_t>(n)] = true;
    if (at_least <= lowest_free_) lowest_free_ = n + 1;
    return n;
}

result<void> own_numbers::take_this(int number) {
    if (number < 0 || number >= limit_) return fail(EBADF);
    if (number >= static_cast<int>(used_.size())) used_.resize(static_cast<std::size_t>(number) + 1);
    used_[static_cast<std::size_t>(number)] = true;
    return {};
}

void own_numbers::give_back(int number) {
    used_[static_cast<std::size_t>(number)] = false;
    lowest_free_ = std::min(lowest_free_, number);
}

kernel_numbers::kernel_numbers() : holder_(out_of_the_way(open("/", O_PATH | O_CLOEXEC))) {
    if (holder_ < 0) throw std::system_error(errno, std::generic_category(), "/");
}

kernel_numbers::~kernel_numbers() { close(holder_); }

result<int> kernel_numbers::take(int at_least) {
    const int n = fcntl(holder_, F_DUPFD_CLOEXEC, at_least);
    if (n < 0) return fail(errno);
    return n;
}

result<void> kernel_numbers::take_this(int number) {
    if (number == holder_ || dup3(holder_, number, O_CLOEXEC) < 0) return fail(EBADF);
    return {};
}

void kernel_numbers::give_back(int number) { close(number); }

}  // namespace skua::sockfs
