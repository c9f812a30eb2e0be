// Epoll sets as tests use them.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <utility>
#include <vector>

#include "sockfs/epoll_file.hh"
#include "sockfs/test_support.hh"

namespace skua::sockfs {

inline epoll_event event(std::uint32_t events, std::uint64_t data = 0) {
    return {.events = events, .data = {.u64 = data}};
}

/// A set, and calls that read well.
struct set_of {
    const std::shared_ptr<epoll_file> file = file::make<epoll_file>(nanoseconds(0));

    int control(int operation, int fd, sockfs::file& target, std::uint32_t events) {
        const auto e = event(events, static_cast<std::uint64_t>(fd));
        const auto r = file->control(operation, fd, target, &e);
        return r ? 0 : r.error().code;
    }
    int add(int fd, sockfs::file& target, std::uint32_t events = EPOLLIN) {
        return control(EPOLL_CTL_ADD, fd, target, events);
    }
    int modify(int fd, sockfs::file& target, std::uint32_t events) {
        return control(EPOLL_CTL_MOD, fd, target, events);
    }
    int remove(int fd, sockfs::file& target) { return control(EPOLL_CTL_DEL, fd, target, 0); }
    int add_kernels(int fd, std::uint32_t events = EPOLLIN) {
        const auto e = event(events, static_cast<std::uint64_t>(fd));
        const auto r = file->control_kernel(EPOLL_CTL_ADD, fd, &e);
        return r ? 0 : r.error().code;
    }
    /// Data and events of what is ready.
    using seen = std::vector<std::pair<std::uint64_t, std::uint32_t>>;
    seen look(unsigned room = 16) { return wait(nanoseconds(0), room).value(); }
    result<seen> wait(nanoseconds patience, unsigned room = 16, const sigset_t* mask = nullptr) {
        std::vector<epoll_event> out(room);
        const auto n =
            file->wait(out, patience == nanoseconds(0) ? time_point::min() : monotonic_clock::now() + patience, mask);
        if (!n) return fail(n.error().code);
        seen all;
        for (unsigned i = 0; i < *n; i++) all.push_back({std::uint64_t(out[i].data.u64), std::uint32_t(out[i].events)});
        return all;
    }
    using waiting = waiting_thread<result<seen>>;
    std::unique_ptr<waiting> wait_in_thread(unsigned room = 16) {
        auto t = std::make_unique<waiting>([this, room] { return wait(std::chrono::seconds(20), room); });
        t->until_asleep();
        return t;
    }
};
using event_of = std::pair<std::uint64_t, std::uint32_t>;

/// A descriptor of the kernel.
struct kernels {
    explicit kernels(int f) : fd(f) {}
    ~kernels() { close(fd); }
    void write(std::uint64_t n = 1) const { ASSERT_EQ(::write(fd, &n, sizeof n), 8); }
    void read() const {
        std::uint64_t n;
        ASSERT_EQ(::read(fd, &n, sizeof n), 8);
    }
    const int fd;
};

class epoll_file_test : public testing::Test {
protected:
    std::shared_ptr<some_file> a = file::make<some_file>(), b = file::make<some_file>(), c = file::make<some_file>();
    set_of set;
};

}  // namespace skua::sockfs
