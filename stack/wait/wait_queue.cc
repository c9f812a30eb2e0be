// The list of waiters, and the sleep of a thread on a futex.
#include "wait/wait_queue.hh"

#include <linux/futex.h>
#include <rte_debug.h>
#include <rte_pause.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

namespace skua::wait {

namespace {

long futex(std::atomic<std::uint32_t>* word, int operation, std::uint32_t value, const timespec* deadline) {
    return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word), operation | FUTEX_PRIVATE_FLAG, value, deadline,
                   nullptr, FUTEX_BITSET_MATCH_ANY);
}

/// The sleepers that a wake-up of this thread has told, until it has let go of all queues: a system call takes longer
/// than the woken thread to come back and leave its queue, and it would have to sleep again for the queue's lock.
class bells {
public:
    void begin() { depth_++; }
    void end() {
        if (--depth_ != 0) return;
        // A sleeper may be gone by now. Then this wakes nobody, or somebody for nothing, which a futex is free to do.
        for (std::size_t i = 0; i < count_; i++) futex(words_[i], FUTEX_WAKE, 1, nullptr);
        count_ = 0;
    }
    /// False: no wake-up is under way, or too many sleepers are in it.
    bool keep(std::atomic<std::uint32_t>& word) {
        if (depth_ == 0 || count_ == words_.size()) return false;
        words_[count_++] = &word;
        return true;
    }

private:
    std::array<std::atomic<std::uint32_t>*, 64> words_;
    std::size_t count_ = 0;
    unsigned depth_ = 0;  // a queue's waiter can wake another queue
};

thread_local bells kept;

}  // namespace

wait_queue::~wait_queue() {
    if (head_ != nullptr) rte_panic("a wait queue died before its waiters left\n");
}

void wait_queue::link(waiter& w, waiter* before) {
    waiter* after = before ? before->prev_ : tail_;
    w.on_ = this;
    w.next_ = before;
    w.prev_ = after;
    (before ? before->prev_ : tail_) = &w;
    (after ? after->next_ : head_) = &w;
    waiting_.fetch_add(1, std::memory_order_seq_cst);
}

void wait_queue::add(waiter& w) {
    const std::lock_guard hold(lock_);
    if (w.on_ != nullptr) return;
    w.exclusive_ = false;
    link(w, head_);
}

void wait_queue::add_exclusive(waiter& w) {
    const std::lock_guard hold(lock_);
    if (w.on_ != nullptr) return;
    w.exclusive_ = true;
    link(w, nullptr);
}

void wait_queue::remove(waiter& w) {
    const std::lock_guard hold(lock_);
    if (w.on_ != this) return;
    (w.prev_ ? w.prev_->next_ : head_) = w.next_;
    (w.next_ ? w.next_->prev_ : tail_) = w.prev_;
    w.on_ = nullptr;
    w.next_ = w.prev_ = nullptr;
    waiting_.fetch_sub(1, std::memory_order_seq_cst);
}

unsigned wait_queue::wake(std::uint32_t events, unsigned exclusive) {
    unsigned took = 0;
    kept.begin();
    {
        const std::lock_guard hold(lock_);
        for (waiter* w = head_; w != nullptr; w = w->next_) {
            if (!w->notify(events)) continue;
            ++took;
            if (w->exclusive_ && exclusive != 0 && --exclusive == 0) break;
        }
    }
    kept.end();
    return took;
}

namespace {

timespec to_timespec(time_point t) {
    const auto since = t.time_since_epoch();
    if (since.count() <= 0) return {};
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    return {.tv_sec = seconds.count(), .tv_nsec = (since - seconds).count()};
}

}  // namespace

bool sleeper::notify(std::uint32_t events) {
    if (events != 0 && (events & interest_) == 0) return false;
    const auto before = state_.exchange(told, std::memory_order_acq_rel);
    if (before == asleep) ring();
    return before != told;
}

void sleeper::ring() {
    if (!kept.keep(state_)) futex(&state_, FUTEX_WAKE, 1, nullptr);
}

void sleeper::rearm() { state_.store(idle, std::memory_order_seq_cst); }

sleeper::woken sleeper::sleep_until(time_point deadline) {
    if (spin_ > nanoseconds(0)) {
        for (const time_point stop = std::min(monotonic_clock::now() + spin_, deadline); monotonic_clock::now() < stop;
             rte_pause())
            if (state_.load(std::memory_order_acquire) == told) return woken::event;
    }
    std::uint32_t expected = idle;
    if (!state_.compare_exchange_strong(expected, asleep, std::memory_order_acq_rel)) return woken::event;
    const woken why = block(deadline);
    // A notification that came together with the end of the sleep counts as the event.
    expected = asleep;
    if (!state_.compare_exchange_strong(expected, idle, std::memory_order_acq_rel)) return woken::event;
    return why;
}

sleeper::woken sleeper::block(time_point deadline) {
    const timespec until = to_timespec(deadline);
    while (is_asleep()) {
        // FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time.
        if (futex(&state_, FUTEX_WAIT_BITSET, asleep, deadline == time_point::max() ? nullptr : &until) == 0) continue;
        if (errno == EINTR) return woken::signal;
        if (errno == ETIMEDOUT) return woken::timeout;
        // EAGAIN: notified in between
    }
    return woken::event;
}

}  // namespace skua::wait
