// What this process has registered with the kernel's epoll about sockets of the daemon.
#pragma once

#include <sys/epoll.h>

#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace skua::client {

/// An event carries the program's own word, not a descriptor: here is which socket it is about. Any thread.
class interests {
public:
    struct interest {
        int fd = -1;
        std::uint32_t events = 0;  // as the program asked
        std::uint64_t data = 0;
    };

    static interests& instance();

    void set(int epfd, int fd, const epoll_event& event);
    void drop(int epfd, int fd);
    /// A descriptor of either kind was closed.
    static void closed(int fd);
    std::optional<interest> find(int epfd, std::uint64_t data);

private:
    interests();
    std::mutex lock_;
    std::map<std::pair<int, int>, interest> known_;  // by epoll set and descriptor
};

}  // namespace skua::client
