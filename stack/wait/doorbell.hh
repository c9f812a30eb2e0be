// A thread that sleeps for the stack and for the kernel at once.
#pragma once

#include <poll.h>
#include <signal.h>

#include <vector>

#include "wait/wait_queue.hh"

namespace skua::wait {

/// A sleeper that also wakes when one of some kernel descriptors is ready, with a signal mask of its own meanwhile: it
/// sleeps in ppoll(2), and who notifies it writes to an eventfd of its thread. With neither, sleeper is cheaper.
class doorbell final : public sleeper {
public:
    /// `kernel`: what to look for there; revents tells afterwards. `mask` may be nullptr. Throws std::system_error if
    /// the process has no descriptor left for the bell of this thread.
    doorbell(std::vector<pollfd>& kernel, const sigset_t* mask, nanoseconds spin = nanoseconds(0),
             std::uint32_t interest = ~0u);
    ~doorbell();

private:
    void ring() override;
    woken block(time_point deadline) override;

    std::vector<pollfd>& kernel_;
    const sigset_t* const mask_;
    const int bell_;
};

}  // namespace skua::wait
