// The calls on descriptors.
#include "sockfs/process.hh"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

namespace skua::sockfs {

process::process(std::uint64_t id, std::unique_ptr<numbers> from, bool shares_numbers, nanoseconds spin)
    : id_(id), shares_numbers_(shares_numbers), spin_(spin), files_(std::move(from)) {}

result<int> process::socket(socket::host& on, superblock& in, int domain, int type, int protocol,
                            socket::credentials who) {
    // As __sys_socket: unknown flags are refused before anything else.
    constexpr int type_mask = 0xf;
    if (type & ~(type_mask | SOCK_NONBLOCK | SOCK_CLOEXEC)) return fail(EINVAL);
    auto made = socket::udp_socket::create(on, domain, type & type_mask, protocol, who);
    if (!made) return fail(made.error().code);
    auto node = in.make_inode(std::move(*made), who.effective_uid);
    return files_.install(file::make<socket_file>(std::move(node), O_RDWR | (type & SOCK_NONBLOCK)),
                          (type & SOCK_CLOEXEC) != 0);
}

result<int> process::epoll_create(int flags) {
    if (flags & ~EPOLL_CLOEXEC) return fail(EINVAL);
    return files_.install(file::make<epoll_file>(spin_), (flags & EPOLL_CLOEXEC) != 0);
}

result<void> process::close(int fd) {
    auto f = files_.remove(fd);
    if (!f) return fail(f.error().code);
    return {};
}

void process::exec() {
    for (const auto& [fd, e] : files_.entries())
        if (e.close_on_exec) (void)files_.remove(fd);
}

void process::close_all() {
    for (const auto& [fd, e] : files_.entries()) (void)files_.remove(fd);
}

result<int> process::dup(int fd) {
    auto f = files_.get(fd);
    return f ? files_.install(std::move(f)) : fail(EBADF);
}

result<int> process::dup2(int fd, int to) {
    if (fd == to) return files_.get(fd) ? result<int>(fd) : fail(EBADF);
    return dup3(fd, to, 0);
}

result<int> process::dup3(int fd, int to, int flags) {
    if ((flags & ~O_CLOEXEC) || fd == to) return fail(EINVAL);
    auto f = files_.get(fd);
    if (!f) return fail(EBADF);
    // What `to` was is closed with the result, after the number has its new meaning.
    const auto before = files_.install_at(to, std::move(f), (flags & O_CLOEXEC) != 0);
    if (!before) return fail(before.error().code);
    return to;
}

result<int> process::fcntl(int fd, int command, long argument) {
    auto f = files_.get(fd);
    if (!f) return fail(EBADF);
    switch (command) {
        case F_DUPFD:
        case F_DUPFD_CLOEXEC:
            return files_.install(std::move(f), command == F_DUPFD_CLOEXEC, static_cast<int>(argument));
        case F_GETFD: return files_.close_on_exec(fd).map([](bool on) { return on ? FD_CLOEXEC : 0; });
        case F_SETFD: return files_.set_close_on_exec(fd, (argument & FD_CLOEXEC) != 0).map([] { return 0; });
        case F_GETFL: return f->status_flags();
        case F_SETFL: f->set_nonblocking((argument & O_NONBLOCK) != 0); return 0;
        default: return fail(EINVAL);
    }
}

result<int> process::ioctl(int fd, unsigned long request, int* argument) {
    const auto f = files_.get(fd);
    if (!f) return fail(EBADF);
    if (request == FIONBIO) {
        if (argument == nullptr) return fail(EFAULT);
        f->set_nonblocking(*argument != 0);
        return 0;
    }
    if (request == FIOCLEX || request == FIONCLEX)
        return files_.set_close_on_exec(fd, request == FIOCLEX).map([] { return 0; });
    auto* const s = dynamic_cast<socket_file*>(f.get());
    if (s == nullptr || (request != FIONREAD && request != SIOCOUTQ)) return fail(ENOTTY);
    if (argument == nullptr) return fail(EFAULT);
    *argument = request == FIONREAD ? static_cast<int>(s->socket().next_size()) : s->socket().send_queue_bytes();
    return 0;
}

result<struct stat> process::fstat(int fd) const {
    const auto f = files_.get(fd);
    if (!f) return fail(EBADF);
    return f->status();
}

result<int> process::pass(int fd, process& to, bool close_on_exec) const {
    auto f = files_.get(fd);
    return f ? to.files_.install(std::move(f), close_on_exec) : fail(EBADF);
}

result<std::shared_ptr<epoll_file>> process::epoll_set(int epfd) const {
    auto f = files_.get(epfd);
    if (!f) return fail(EBADF);
    auto set = std::dynamic_pointer_cast<epoll_file>(std::move(f));
    if (!set) return fail(EINVAL);
    return set;
}

result<void> process::epoll_control(int epfd, int operation, int fd, const epoll_event* event) {
    if (event == nullptr && operation != EPOLL_CTL_DEL) return fail(EFAULT);
    if (!files_.get(epfd)) return fail(shares_numbers_ && ::fcntl(epfd, F_GETFD) >= 0 ? EINVAL : EBADF);
    const auto target = files_.get(fd);
    if (!target && !shares_numbers_) return fail(EBADF);
    const auto set = epoll_set(epfd);
    if (!set) {
        if (!target && ::fcntl(fd, F_GETFD) < 0) return fail(EBADF);
        return fail(set.error().code);
    }
    return target ? (*set)->control(operation, fd, *target, event) : (*set)->control_kernel(operation, fd, event);
}

result<unsigned> process::epoll_wait(int epfd, std::span<epoll_event> out, time_point deadline, const sigset_t* mask) {
    const auto set = epoll_set(epfd);
    if (!set) return fail(set.error().code);
    return (*set)->wait(out, deadline, mask);
}

std::vector<process::descriptor> process::descriptors() const {
    std::vector<descriptor> all;
    for (const auto& [fd, e] : files_.entries())
        all.push_back({fd, e.what->link_text(), e.what->status_flags(), e.close_on_exec});
    return all;
}

}  // namespace skua::sockfs
