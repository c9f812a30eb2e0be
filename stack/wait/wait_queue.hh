// Wait queues in the kernel's manner: normal and exclusive waiters, woken in order (Linux: kernel/sched/wait.c).
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/clock.hh"

namespace skua::wait {

class wait_queue;

/// Something that wants to know. Lives where its owner says; must be removed from its queue before it dies.
class waiter {
public:
    virtual ~waiter() = default;
    /// Called with the queue's lock held, on the waker's thread: short, no locks that a remover of waiters could hold.
    /// `events` is a poll(2) mask, 0 = unspecified. Returns true if this waiter took the event (counts as an exclusive
    /// wake-up).
    virtual bool notify(std::uint32_t events) = 0;

private:
    friend class wait_queue;
    waiter* next_ = nullptr;
    waiter* prev_ = nullptr;
    bool exclusive_ = false;
    wait_queue* on_ = nullptr;
};

class wait_queue {
public:
    wait_queue() = default;
    ~wait_queue();  // nobody may wait any more
    wait_queue(const wait_queue&) = delete;
    wait_queue& operator=(const wait_queue&) = delete;

    /// Normal waiters go to the head and are all woken (add_wait_queue).
    void add(waiter& w);
    /// Exclusive waiters go to the tail; a wake-up stops after the first that takes it (add_wait_queue_exclusive).
    void add_exclusive(waiter& w);
    /// No-op if it is not on the queue. Once it returns, notify() is not running and will not run.
    void remove(waiter& w);

    /// Does anybody wait? Cheap. The waker must have published what it wakes for with a sequentially consistent
    /// read-modify-write or fence before it asks; a waiter must look again (sequentially consistent) after it was
    /// added.
    bool active() const { return waiting_.load(std::memory_order_seq_cst) != 0; }
    /// Wakes every normal waiter and up to `exclusive` exclusive ones (0 = all). Returns how many took it.
    unsigned wake(std::uint32_t events, unsigned exclusive = 1);

private:
    void link(waiter& w, waiter* before);
    std::mutex lock_;
    waiter* head_ = nullptr;
    waiter* tail_ = nullptr;
    std::atomic<std::uint32_t> waiting_{0};
};

/// One sleeping thread. Spins for `spin` first, then sleeps in the kernel (futex) without burning CPU.
class sleeper : public waiter {
public:
    /// `interest`: the poll(2) events it sleeps for.
    explicit sleeper(nanoseconds spin = nanoseconds(0), std::uint32_t interest = ~0u)
        : spin_(spin), interest_(interest) {}
    /// Takes an event of its interest (or unspecified) unless an earlier one still stands: two exclusive wake-ups reach
    /// two sleepers.
    bool notify(std::uint32_t events) override;
    enum class woken : std::uint8_t { event, timeout, signal };
    /// Sleeps until notified, the deadline (CLOCK_MONOTONIC; time_point::max() = never) or a signal handler ran.
    /// Without a deadline a handler installed with SA_RESTART does not end the sleep, as it does not end a blocking
    /// recv(2).
    woken sleep_until(time_point deadline);
    /// Forgets an earlier notification: before looking again.
    void rearm();
    /// A notification came that nobody has slept for. An exclusive waiter that leaves with one must wake the next.
    bool notified() const { return state_.load(std::memory_order_acquire) == told; }

protected:
    bool is_asleep() const { return state_.load(std::memory_order_acquire) == asleep; }

private:
    /// Ends a block() of the thread that is asleep.
    virtual void ring();
    /// Blocks while is_asleep(), or until something else ends it; `event` then means: look again.
    virtual woken block(time_point deadline);

    enum state : std::uint32_t { idle, told, asleep };
    std::atomic<std::uint32_t> state_{idle};  // futex word
    const nanoseconds spin_;
    const std::uint32_t interest_;
};

}  // namespace skua::wait
