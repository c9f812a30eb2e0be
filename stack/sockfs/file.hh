// Open files: what a descriptor stands for, and what every kind of file can be asked.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "wait/wait_queue.hh"

namespace skua::sockfs {

class epoll_item;
class inode;

/// An open description (Linux: struct file). Shared by every descriptor that was made from it by dup, fork or passing;
/// ends with the last of them and with the last call that is still inside.
class file {
public:
    file(const file&) = delete;
    file& operator=(const file&) = delete;

    /// Every file is made by this: its end takes it out of the epoll sets first, while it is whole.
    template <class File, class... Args>
    static std::shared_ptr<File> make(Args&&... args) {
        return std::shared_ptr<File>(new File(std::forward<Args>(args)...), [](File* f) {
            f->release();
            delete f;
        });
    }

    /// What F_GETFL says; shared by all descriptors.
    int status_flags() const { return flags_.load(std::memory_order_relaxed); }
    bool nonblocking() const { return status_flags() & O_NONBLOCK; }
    void set_nonblocking(bool on) {
        if (on) flags_.fetch_or(O_NONBLOCK, std::memory_order_relaxed);
        else flags_.fetch_and(~O_NONBLOCK, std::memory_order_relaxed);
    }

    /// What poll(2) says now (EPOLLIN, …), and where to wait for a change of it.
    virtual std::uint32_t poll_events() = 0;
    virtual wait::wait_queue& waiters() = 0;
    /// A descriptor of the kernel that is readable when the file is ready for a reason that only the kernel knows, or
    /// -1.
    virtual int kernel_side() { return -1; }
    virtual struct stat status() const = 0;
    /// What /proc/PID/fd would link to: "socket:[17]".
    virtual std::string link_text() const = 0;

protected:
    explicit file(int status_flags) : flags_(status_flags) {}
    virtual ~file() = default;
    /// Before the end. Who overrides it calls it.
    virtual void release();

private:
    friend class epoll_file;
    std::atomic<int> flags_;
    /// The epoll sets it is in, under their common lock; the flag tells without it.
    std::vector<epoll_item*> watched_by_;
    std::atomic<bool> is_watched_{false};
};

}  // namespace skua::sockfs
