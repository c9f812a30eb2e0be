// Epoll sets (Linux: fs/eventpoll.c): files that watch other files, stack sockets and the kernel's alike.
#pragma once

#include <signal.h>
#include <sys/epoll.h>

#include <list>
#include <map>
#include <mutex>
#include <span>

#include "base/clock.hh"
#include "base/result.hh"
#include "sockfs/file.hh"

namespace skua::sockfs {

class epoll_file;

/// One file watched through one descriptor.
class epoll_item final : public wait::waiter {
public:
    epoll_item(epoll_file& set, file& target, const epoll_event& event);
    bool notify(std::uint32_t events) override;

private:
    friend class epoll_file;
    epoll_file& set_;
    file& target_;        // takes us out of its set before it ends
    epoll_event event_;   // written under changes_ and the set's ready_lock_
    bool ready_ = false;  // under ready_lock_
    // Its node is either here or in the ready list of the set: moving it needs no memory.
    std::list<epoll_item*> parked_;
    const std::list<epoll_item*>::iterator node_;
};

/// Sleeps and wakes as the kernel's: a waiter of its set is woken for an event, one by one.
///
/// Locks, in the order in which they are taken: the one of who watches whom (all sets), changes_ (outer sets before
/// inner ones), a wait queue's, ready_lock_, the wait queues of the set.
class epoll_file final : public file {
public:
    explicit epoll_file(nanoseconds spin) : file(O_RDWR), spin_(spin) {}

    /// epoll_ctl(2) for a file of the stack; `fd` is its number, by which the set knows it. Errors: EEXIST; ENOENT;
    /// EINVAL the set itself, operation unknown, or EPOLLEXCLUSIVE where it may not be; ELOOP sets within each other,
    /// or too deep.
    result<void> control(int operation, int fd, file& target, const epoll_event* event);
    /// The same for a descriptor of the kernel, with the kernel's errors.
    result<void> control_kernel(int operation, int fd, const epoll_event* event);
    /// epoll_pwait2(2). `out` is not empty. Errors: EINTR.
    result<unsigned> wait(std::span<epoll_event> out, time_point deadline, const sigset_t* mask);

    std::uint32_t poll_events() override;
    wait::wait_queue& waiters() override { return pollers_; }
    int kernel_side() override { return kernel_side_.load(std::memory_order_acquire); }
    struct stat status() const override;
    std::string link_text() const override { return "anon_inode:[eventpoll]"; }
    /// What it watches of the stack.
    std::size_t size() const;

private:
    friend class epoll_item;
    friend class file;
    using key = std::pair<file*, int>;

    ~epoll_file() override;
    void release() override;
    static void forget(file& ended);

    result<void> add(int fd, file& target, const epoll_event& event);
    result<void> modify(epoll_item& item, const epoll_event& event);
    void drop(std::map<key, std::unique_ptr<epoll_item>>::iterator at);
    result<void> may_watch(const epoll_file& inner) const;
    unsigned depth_below(const epoll_file& top, unsigned depth) const;
    unsigned depth_above(unsigned depth) const;
    bool watches(const file& f) const;
    result<void> need_kernel_side();
    void follow_kernel_side_of(epoll_file& inner);

    bool make_ready(epoll_item& item);
    epoll_item* take_first();
    void wake();
    void ask_inner_sets();
    unsigned collect(std::span<epoll_event> out);
    unsigned collect_kernel(std::span<epoll_event> out);

    const nanoseconds spin_;
    mutable std::mutex changes_;  // Linux: ep->mtx
    std::map<key, std::unique_ptr<epoll_item>> items_;
    mutable std::mutex ready_lock_;  // Linux: ep->lock
    std::list<epoll_item*> ready_;
    wait::wait_queue sleepers_;  // threads in wait()
    wait::wait_queue pollers_;   // sets and poll calls that watch this set
    // The kernel's descriptors are in a set of the kernel, with the program's own data. It and the sets of inner sets
    // are in another one, which tells that one of them has something.
    int kernel_set_ = -1;
    std::atomic<int> kernel_side_{-1};
    std::atomic<unsigned> turn_{0};
};

}  // namespace skua::sockfs
