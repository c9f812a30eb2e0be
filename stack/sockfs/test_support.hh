// A file whose readiness a test decides.
#pragma once

#include <sys/epoll.h>

#include "sockfs/file.hh"

namespace skua::sockfs {

class some_file final : public file {
public:
    some_file() : file(O_RDWR) {}
    std::uint32_t poll_events() override { return events_.load(); }
    wait::wait_queue& waiters() override { return waiters_; }
    struct stat status() const override {
        return {};
    }
    std::string link_text() const override { return "some"; }

    void become(std::uint32_t events) { events_.store(events); }
    /// Becomes it and wakes who waits for it, as the arrival of a datagram does.
    unsigned happen(std::uint32_t events) {
        become(events);
        return waiters_.active() ? waiters_.wake(events) : 0;
    }

private:
    std::atomic<std::uint32_t> events_{0};
    wait::wait_queue waiters_;
};

}  // namespace skua::sockfs
