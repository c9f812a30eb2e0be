// Stack processes: descriptor tables, and what a process does with its descriptors.
#pragma once

#include <poll.h>
#include <signal.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hh"
#include "base/result.hh"
#include "socket/udp_socket.hh"
#include "sockfs/descriptor_table.hh"
#include "sockfs/epoll_file.hh"
#include "sockfs/filesystem.hh"
#include "sockfs/socket_file.hh"

namespace skua::sockfs {

/// Any thread may make any call. Errors are those of Linux's call of the same name; EBADF everywhere: no such
/// descriptor.
class process {
public:
    /// `shares_numbers`: its numbers are the kernel's, and a number that it does not know is the kernel's own. `spin`:
    /// how long a waiting call looks before it sleeps.
    process(std::uint64_t id, std::unique_ptr<numbers> from, bool shares_numbers, nanoseconds spin);

    std::uint64_t id() const { return id_; }
    descriptor_table& files() { return files_; }
    const descriptor_table& files() const { return files_; }
    bool shares_numbers() const { return shares_numbers_; }

    // ---- making and ending ----
    /// socket(2). Errors: those of udp_socket::create; EMFILE.
    result<int> socket(socket::host& on, superblock& in, int domain, int type, int protocol, socket::credentials who);
    /// epoll_create1(2).
    result<int> epoll_create(int flags);
    result<void> close(int fd);
    void exec();  // closes what is FD_CLOEXEC
    void close_all();

    // ---- descriptors ----
    result<int> dup(int fd);
    result<int> dup2(int fd, int to);
    result<int> dup3(int fd, int to, int flags);
    result<int> fcntl(int fd, int command, long argument);
    /// `argument`: an int, as FIONREAD, SIOCOUTQ and FIONBIO have it.
    result<int> ioctl(int fd, unsigned long request, int* argument);
    result<struct stat> fstat(int fd) const;
    /// Puts the file of a descriptor into another process, as SCM_RIGHTS does.
    result<int> pass(int fd, process& to, bool close_on_exec = false) const;

    // ---- waiting ----
    /// epoll_ctl(2). `event` may be nullptr for EPOLL_CTL_DEL only.
    result<void> epoll_control(int epfd, int operation, int fd, const epoll_event* event);
    result<unsigned> epoll_wait(int epfd, std::span<epoll_event> out, time_point deadline, const sigset_t* mask);
    /// ppoll(2). time_point::min(): looks only.
    result<unsigned> poll(std::span<pollfd> fds, time_point deadline, const sigset_t* mask);

    struct descriptor {
        int fd;
        std::string link;  // as in /proc/PID/fd
        int status_flags;
        bool close_on_exec;
    };
    std::vector<descriptor> descriptors() const;

private:
    result<std::shared_ptr<epoll_file>> epoll_set(int epfd) const;

    const std::uint64_t id_;
    const bool shares_numbers_;
    const nanoseconds spin_;
    descriptor_table files_;
};

}  // namespace skua::sockfs
