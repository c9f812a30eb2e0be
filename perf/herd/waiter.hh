// One waiter: a process that sleeps in epoll_wait and takes one datagram each time it returns.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "herd/calls.hh"
#include "herd/shared.hh"
#include "herd/sides.hh"

namespace skua::herd {

template <class Side>
class waiter {
public:
    /// `fd`: a bound socket that does not block.
    waiter(shared_state& shared, unsigned index, mode how, int fd)
        : shared_(shared),
          counts_(shared.waiters[index]),
          how_(how),
          socket_(fd),
          set_(Side::epoll_create1(0), "epoll_create1") {
        if (how_ != mode::lock) watch();
    }

    void run() {
        sleeps_ = sleeps();
        while (!shared_.stop.load(std::memory_order_relaxed)) {
            if (how_ == mode::lock) try_lock();
            turn();
        }
    }

private:
    void turn() {
        counts_.waiting.store(true, std::memory_order_relaxed);
        epoll_event event;
        const int ready = Side::epoll_wait(set_.fd(), &event, 1, static_cast<int>(tick.count()));
        counts_.waiting.store(false, std::memory_order_relaxed);
        if (ready < 0 && errno != EINTR) checked(ready, "epoll_wait");
        const bool received = ready > 0 && receive();
        if (holds_lock_) unlock();
        if (shared_.counting.load(std::memory_order_relaxed)) count(ready > 0, received);
        if (received) add(counts_.received, 1);
    }

    bool receive() {
        datagram d;
        const auto n = Side::recv(socket_, &d, sizeof d, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) return false;
        checked(static_cast<int>(n), "recv");
        if (d.sequence < max_samples)
            shared_.latency_ns[d.sequence] = static_cast<std::uint32_t>(std::min(now_ns() - d.sent_ns, longest));
        return true;
    }

    /// A wake-up is a sleep that ended. epoll_wait may sleep more than once in one call: when the herd's last is up,
    /// the datagram is gone, and it returns to sleep without returning to its caller.
    void count(bool event, bool received) {
        const std::uint64_t slept = sleeps() - sleeps_;
        sleeps_ += slept;
        const std::uint64_t wakeups =
            event ? std::max<std::uint64_t>(slept, 1) : slept - std::min<std::uint64_t>(slept, 1);
        add(counts_.wakeups, wakeups);
        add(counts_.useless, wakeups - (received ? 1 : 0));
    }

    /// As nginx does with its accept_mutex: nobody waits for the lock. Who gets it watches the socket, releases it
    /// after each event and mostly gets it again; the others sleep until their tick and try then.
    void try_lock() {
        holds_lock_ = !shared_.lock.exchange(true, std::memory_order_acquire);
        if (holds_lock_ && !watching_) watch();
        if (!holds_lock_ && watching_) {
            checked(Side::epoll_ctl(set_.fd(), EPOLL_CTL_DEL, socket_, nullptr), "epoll_ctl");
            watching_ = false;
        }
    }

    void unlock() {
        holds_lock_ = false;
        shared_.lock.store(false, std::memory_order_release);
    }

    void watch() {
        epoll_event event{};
        event.events = EPOLLIN;
        if (how_ == mode::exclusive) event.events |= EPOLLEXCLUSIVE;
        checked(Side::epoll_ctl(set_.fd(), EPOLL_CTL_ADD, socket_, &event), "epoll_ctl");
        watching_ = true;
    }

    static void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) {
        counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }

    /// How often this thread has given up its CPU because it had to wait.
    static std::uint64_t sleeps() {
        rusage usage;
        getrusage(RUSAGE_THREAD, &usage);
        return static_cast<std::uint64_t>(usage.ru_nvcsw);
    }

    static constexpr std::uint64_t longest = UINT32_MAX;
    shared_state& shared_;
    waiter_counts& counts_;
    const mode how_;
    const int socket_;
    const descriptor<Side> set_;
    bool watching_ = false, holds_lock_ = false;
    std::uint64_t sleeps_ = 0;
};

}  // namespace skua::herd
