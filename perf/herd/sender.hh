// The sender: datagrams one by one to sleeping waiters, then as many as they can take.
#pragma once

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "herd/calls.hh"
#include "herd/shared.hh"
#include "herd/sides.hh"

namespace skua::herd {

using std::chrono::microseconds;

/// Source ports: enough that a group of sockets gets a share each.
constexpr unsigned flows = 256;
/// Datagrams in flight: fewer than one socket's buffer holds.
constexpr std::uint64_t window = 128;
/// Time for the waiters to fall asleep again.
constexpr microseconds gap{500};

template <class Side>
class sender {
public:
    sender(shared_state& shared, unsigned waiters, const sockaddr_in& to) : shared_(shared), waiters_(waiters) {
        for (unsigned i = 0; i < flows; i++) {
            sockets_.emplace_back(Side::socket(AF_INET, SOCK_DGRAM, 0), "socket");
            checked(Side::connect(sockets_.back().fd(), reinterpret_cast<const sockaddr*>(&to), sizeof to), "connect");
        }
    }

    /// Sends the next datagram when the last has come and all waiters sleep. Returns how many it sent.
    std::uint32_t send_singly(double seconds) {
        const std::uint64_t end = now_ns() + static_cast<std::uint64_t>(seconds * 1e9);
        std::uint32_t sequence = 0;
        settle(0);
        while (sequence < max_samples && now_ns() < end) {
            const std::uint64_t before = received();
            if (!send(sequence)) continue;
            sequence++;
            settle(before + 1);
        }
        // What epoll_wait does inside one call is seen when it returns, at the latest with the tick.
        std::this_thread::sleep_for(2 * tick);
        return sequence;
    }

    /// Keeps the window full. Returns the datagrams received in each second.
    double send_fast(double seconds) {
        const std::uint64_t start = now_ns(), end = start + static_cast<std::uint64_t>(seconds * 1e9);
        const std::uint64_t first = received();
        std::uint64_t came = 0, gone = 0;  // gone: sent or known to be lost, less those received
        std::uint64_t last_progress = start, now = start;
        for (; now < end; now = now_ns()) {
            const std::uint64_t fresh = received() - first - came;
            came += fresh;
            gone -= std::min(gone, fresh);
            if (fresh > 0) last_progress = now;
            if (now - last_progress > patience_ns) gone = 0;
            while (gone < window && send(datagram::no_sample)) gone++;
            std::this_thread::sleep_for(nap);
        }
        return static_cast<double>(came) / (static_cast<double>(now - start) / 1e9);
    }

private:
    /// False: there is no room for it now.
    bool send(std::uint32_t sequence) {
        const datagram d{now_ns(), sequence};
        const auto n = Side::send(sockets_[next_].fd(), &d, sizeof d, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS)) return false;
        checked(static_cast<int>(n), "send");
        next_ = (next_ + 1) % flows;
        return true;
    }

    std::uint64_t received() const {
        std::uint64_t sum = 0;
        for (unsigned i = 0; i < waiters_; i++) sum += shared_.waiters[i].received.load(std::memory_order_relaxed);
        return sum;
    }

    /// Until so many have been received and all waiters are in epoll_wait; not for ever, for a datagram may be lost.
    void settle(std::uint64_t wanted) const {
        const std::uint64_t patience = now_ns() + patience_ns;
        do {
            std::this_thread::sleep_for(gap);
        } while ((received() < wanted || !all_wait()) && now_ns() < patience);
    }

    bool all_wait() const {
        return std::all_of(shared_.waiters, shared_.waiters + waiters_,
                           [](const waiter_counts& w) { return w.waiting.load(std::memory_order_relaxed); });
    }

    static constexpr std::uint64_t patience_ns = 200'000'000;
    static constexpr microseconds nap{20};
    shared_state& shared_;
    const unsigned waiters_;
    std::vector<descriptor<Side>> sockets_;
    unsigned next_ = 0;
};

}  // namespace skua::herd
