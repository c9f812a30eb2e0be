// Looked into only where an event tells of an error: a search is good enough.
#include "client/interests.hh"

#include <pthread.h>

#include <atomic>

namespace skua::client {

namespace {
std::atomic<bool> any{false};  // was ever registered
}

interests& interests::instance() {
    static interests* const one = new interests;  // of use to the last call of a process
    return *one;
}

interests::interests() {
    pthread_atfork([] { instance().lock_.lock(); }, [] { instance().lock_.unlock(); },
                   [] { instance().lock_.unlock(); });
}

void interests::set(int epfd, int fd, const epoll_event& event) {
    const std::lock_guard hold(lock_);
    any.store(true, std::memory_order_relaxed);
    known_[{epfd, fd}] = {fd, event.events, event.data.u64};
}

void interests::drop(int epfd, int fd) {
    const std::lock_guard hold(lock_);
    known_.erase({epfd, fd});
}

void interests::closed(int fd) {
    // As in descriptors::instance(), no memory is asked for by who has none.
    if (!any.load(std::memory_order_relaxed)) return;
    interests& all = instance();
    const std::lock_guard hold(all.lock_);
    // Of a socket's descriptor nothing is forgotten: its registration lives on with a duplicate.
    all.known_.erase(all.known_.lower_bound({fd, 0}), all.known_.lower_bound({fd + 1, 0}));
}

std::optional<interests::interest> interests::find(int epfd, std::uint64_t data) {
    const std::lock_guard hold(lock_);
    for (auto i = known_.lower_bound({epfd, 0}); i != known_.end() && i->first.first == epfd; ++i)
        if (i->second.data == data) return i->second;
    return {};
}

}  // namespace skua::client
