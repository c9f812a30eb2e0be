// What the sender and the waiters of one case share, in memory that forked processes share too.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <system_error>

namespace skua::herd {

/// How the waiters share the work.
enum class mode : std::uint8_t {
    epoll,      // one socket; each waiter has it in an epoll set of its own
    exclusive,  // the same with EPOLLEXCLUSIVE
    lock,       // the same, but only the holder of a lock has the socket in its set
    reuseport,  // a socket for each waiter, all in one SO_REUSEPORT group
};

constexpr unsigned max_waiters = 64;
constexpr std::uint32_t max_samples = 1u << 16;
/// A waiter looks up this often, whatever comes: for the end of the case and, in mode lock, for the lock.
constexpr std::chrono::milliseconds tick{100};

struct datagram {
    std::uint64_t sent_ns;   // CLOCK_MONOTONIC
    std::uint32_t sequence;  // no_sample: its latency is not wanted
    static constexpr std::uint32_t no_sample = ~0u;
};

/// Written by its waiter alone.
struct alignas(64) waiter_counts {
    std::atomic<bool> waiting{false};  // in epoll_wait or on the way there
    std::atomic<std::uint64_t> received{0};
    std::atomic<std::uint64_t> wakeups{0};
    std::atomic<std::uint64_t> useless{0};  // of the wake-ups: those without a datagram
};

struct shared_state {
    std::atomic<bool> stop{false};
    std::atomic<bool> counting{true};  // wake-ups; it costs a system call for each
    alignas(64) std::atomic<bool> lock{false};
    waiter_counts waiters[max_waiters];
    std::uint32_t latency_ns[max_samples] = {};  // by sequence number, 0: never came
};

/// One T, which forked processes share.
template <class T>
class shared_memory {
public:
    shared_memory() {
        void* at = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
        object_ = new (at) T;
    }
    ~shared_memory() {
        object_->~T();
        munmap(static_cast<void*>(object_), sizeof(T));
    }
    shared_memory(const shared_memory&) = delete;
    shared_memory& operator=(const shared_memory&) = delete;
    T& operator*() const { return *object_; }
    T* operator->() const { return object_; }

private:
    T* object_;
};

}  // namespace skua::herd
