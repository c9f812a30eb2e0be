// Sleeping in ppoll(2) on an eventfd that each thread makes once.
#include "wait/doorbell.hh"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/own_descriptor.hh"

namespace skua::wait {

namespace {

class bell {
public:
    bell() : fd_(out_of_the_way(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))) {
        if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    }
    ~bell() { close(fd_); }
    int fd() const { return fd_; }

private:
    const int fd_;
};

int bell_of_this_thread() {
    static thread_local const bell b;
    return b.fd();
}

}  // namespace

doorbell::doorbell(std::vector<pollfd>& kernel, const sigset_t* mask, nanoseconds spin, std::uint32_t interest)
    : sleeper(spin, interest), kernel_(kernel), mask_(mask), bell_(bell_of_this_thread()) {
    kernel_.push_back({bell_, POLLIN, 0});
}

doorbell::~doorbell() { kernel_.pop_back(); }

void doorbell::ring() {
    const std::uint64_t one = 1;
    // It cannot fail: the counter would have to be full.
    [[maybe_unused]] const auto written = write(bell_, &one, sizeof one);
}

sleeper::woken doorbell::block(time_point deadline) {
    timespec left{};
    if (deadline != time_point::max()) {
        const auto duration = std::max(deadline - monotonic_clock::now(), nanoseconds(0));
        const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
        left = {.tv_sec = seconds.count(), .tv_nsec = (duration - seconds).count()};
    }
    const int n = ppoll(kernel_.data(), kernel_.size(), deadline == time_point::max() ? nullptr : &left, mask_);
    if (n < 0) return errno == EINTR ? woken::signal : woken::event;
    if (n == 0) return woken::timeout;
    if (kernel_.back().revents != 0) {
        std::uint64_t rings;
        [[maybe_unused]] const auto got = read(bell_, &rings, sizeof rings);
    }
    // A kernel descriptor, or a ring that was meant for an earlier sleep: whoever asked looks again.
    return woken::event;
}

}  // namespace skua::wait
