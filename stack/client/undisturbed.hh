// A stretch in which this thread is neither cancelled nor interrupted by a handler.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace skua::client {

/// For exchanges with the daemon, which hold a lock and must not be left half-way. Two system calls: not for each
/// datagram.
class undisturbed {
public:
    undisturbed() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &mask_);
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_);
    }
    ~undisturbed() {
        int unused = 0;
        pthread_setcancelstate(cancel_, &unused);
        pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
    }
    undisturbed(const undisturbed&) = delete;
    undisturbed& operator=(const undisturbed&) = delete;

private:
    sigset_t mask_{};
    int cancel_ = 0;
};

}  // namespace skua::client
