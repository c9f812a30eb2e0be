// libc's calls on sockets, as a program under the preload finds them.
//
// Built without _FILE_OFFSET_BITS and _FORTIFY_SOURCE: with them libc's headers give these names other meanings.
#include <errno.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <vector>

#include "client/answer.hh"
#include "client/descriptors.hh"
#include "client/preload/next.hh"
#include "client/preload/placement.hh"
#include "skua/skua.h"

using namespace skua;
using client::descriptors;
using client::failed;
using client::placement;
using client::rules;
namespace next = client::next;

namespace {

bool is_ours(int fd) { return static_cast<bool>(descriptors::instance().find(fd)); }

/// Descriptors that came along: what was known of their numbers is old.
void look_anew(msghdr& m) {
    for (cmsghdr* c = m.msg_controllen != 0 ? CMSG_FIRSTHDR(&m) : nullptr; c != nullptr; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const auto* const fds = reinterpret_cast<const int*>(CMSG_DATA(c));
        for (std::size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
            descriptors::instance().remove(fds[i]);
    }
}

/// A new descriptor of the kernel's.
int fresh(int fd) {
    if (fd >= 0) descriptors::instance().remove(fd);
    return fd;
}

bool decide_by(int fd, const msghdr* m) {
    return m == nullptr || m->msg_name == nullptr ||
           placement::instance().decide(fd, rules::when::sent, static_cast<const sockaddr*>(m->msg_name),
                                        m->msg_namelen);
}

ssize_t length_of(const iovec* parts, int count) {
    ssize_t n = 0;
    for (int i = 0; parts != nullptr && i < count; i++) n += static_cast<ssize_t>(parts[i].iov_len);
    return n;
}

msghdr message_of(const iovec* parts, int count) {
    msghdr m{};
    m.msg_iov = const_cast<iovec*>(parts);
    m.msg_iovlen = static_cast<std::size_t>(count);
    return m;
}

constexpr int most_parts = 1024;          // UIO_MAXIOV
constexpr std::size_t largest = 1 << 16;  // more than any datagram

/// One datagram of what is in a file, as the kernel's UDP makes of sendfile(2).
template <class Read>
ssize_t send_from(int to, std::size_t count, Read&& read_some) {
    if (count == 0) return 0;
    if (count >= largest) return failed(EMSGSIZE);
    std::vector<char> data(count);
    const ssize_t n = read_some(data.data(), count);
    return n <= 0 ? n : skua_send(to, data.data(), static_cast<std::size_t>(n), 0);
}

}  // namespace

#pragma GCC visibility push(default)

extern "C" {

int socket(int domain, int type, int protocol) noexcept {
    return placement::instance().make(domain, type, protocol);
}

int bind(int fd, const sockaddr* address, socklen_t length) noexcept {
    if (!placement::instance().decide(fd, rules::when::bound, address, length)) return -1;
    return skua_bind(fd, address, length);
}

int connect(int fd, const sockaddr* address, socklen_t length) {
    if (!placement::instance().decide(fd, rules::when::sent, address, length)) return -1;
    return skua_connect(fd, address, length);
}

int listen(int fd, int backlog) noexcept { return is_ours(fd) ? failed(EOPNOTSUPP) : next::listen(fd, backlog); }

int accept(int fd, sockaddr* address, socklen_t* length) {
    return is_ours(fd) ? failed(EOPNOTSUPP) : fresh(next::accept(fd, address, length));
}

int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
    return is_ours(fd) ? failed(EOPNOTSUPP) : fresh(next::accept4(fd, address, length, flags));
}

int getsockname(int fd, sockaddr* address, socklen_t* length) noexcept {
    return skua_getsockname(fd, address, length);
}
int getpeername(int fd, sockaddr* address, socklen_t* length) noexcept {
    return skua_getpeername(fd, address, length);
}
int getsockopt(int fd, int level, int name, void* value, socklen_t* length) noexcept {
    return skua_getsockopt(fd, level, name, value, length);
}

int setsockopt(int fd, int level, int name, const void* value, socklen_t length) noexcept {
    const int done = skua_setsockopt(fd, level, name, value, length);
    if (done == 0) placement::instance().option_set(fd, level, name, value, length);
    return done;
}

int shutdown(int fd, int how) noexcept { return skua_shutdown(fd, how); }

ssize_t send(int fd, const void* data, size_t length, int flags) { return skua_send(fd, data, length, flags); }

ssize_t sendto(int fd, const void* data, size_t length, int flags, const sockaddr* to, socklen_t to_length) {
    if (to != nullptr && !placement::instance().decide(fd, rules::when::sent, to, to_length)) return -1;
    return skua_sendto(fd, data, length, flags, to, to_length);
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
    return decide_by(fd, message) ? skua_sendmsg(fd, message, flags) : -1;
}

int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
    if (messages != nullptr && count != 0 && !decide_by(fd, &messages->msg_hdr)) return -1;
    return skua_sendmmsg(fd, messages, count, flags);
}

ssize_t recv(int fd, void* data, size_t length, int flags) { return skua_recv(fd, data, length, flags); }

ssize_t recvfrom(int fd, void* data, size_t length, int flags, sockaddr* from, socklen_t* from_length) {
    return skua_recvfrom(fd, data, length, flags, from, from_length);
}

ssize_t recvmsg(int fd, msghdr* message, int flags) {
    const ssize_t got = skua_recvmsg(fd, message, flags);
    if (got >= 0) look_anew(*message);
    return got;
}

int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
    const int got = skua_recvmmsg(fd, messages, count, flags, timeout);
    for (int i = 0; i < got; i++) look_anew(messages[i].msg_hdr);
    return got;
}

// sock_read_iter: a read of nothing takes no datagram. new_sync_write: a write of nothing sends an empty one.
ssize_t read(int fd, void* data, size_t length) {
    return length == 0 || !is_ours(fd) ? next::read(fd, data, length) : skua_recv(fd, data, length, 0);
}

ssize_t write(int fd, const void* data, size_t length) {
    return is_ours(fd) ? skua_send(fd, data, length, 0) : next::write(fd, data, length);
}

// vfs_readv and vfs_writev: nothing to do for parts that are empty together.
ssize_t readv(int fd, const iovec* parts, int count) {
    if (count < 0 || count > most_parts || !is_ours(fd)) return next::readv(fd, parts, count);
    if (length_of(parts, count) == 0) return 0;
    msghdr m = message_of(parts, count);
    return skua_recvmsg(fd, &m, 0);
}

ssize_t writev(int fd, const iovec* parts, int count) {
    if (count < 0 || count > most_parts || !is_ours(fd)) return next::writev(fd, parts, count);
    if (length_of(parts, count) == 0) return 0;
    const msghdr m = message_of(parts, count);
    return skua_sendmsg(fd, &m, 0);
}

// Offset -1 is the file's own position: the same as readv and writev.
ssize_t preadv64v2(int fd, const iovec* parts, int count, off64_t offset, int flags) {
    if (offset != -1 || !is_ours(fd)) return next::preadv2(fd, parts, count, offset, flags);
    if (flags & ~RWF_NOWAIT) return failed(EOPNOTSUPP);
    if (count < 0 || count > most_parts) return failed(EINVAL);
    if (length_of(parts, count) == 0) return 0;
    msghdr m = message_of(parts, count);
    return skua_recvmsg(fd, &m, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
}

ssize_t preadv2(int fd, const iovec* parts, int count, off_t offset, int flags) {
    return preadv64v2(fd, parts, count, offset, flags);
}

ssize_t pwritev64v2(int fd, const iovec* parts, int count, off64_t offset, int flags) {
    if (offset != -1 || !is_ours(fd)) return next::pwritev2(fd, parts, count, offset, flags);
    if (flags & ~RWF_NOWAIT) return failed(EOPNOTSUPP);
    if (count < 0 || count > most_parts) return failed(EINVAL);
    if (length_of(parts, count) == 0) return 0;
    const msghdr m = message_of(parts, count);
    return skua_sendmsg(fd, &m, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
}

ssize_t pwritev2(int fd, const iovec* parts, int count, off_t offset, int flags) {
    return pwritev64v2(fd, parts, count, offset, flags);
}

ssize_t sendfile64(int to, int from, off64_t* offset, size_t count) noexcept {
    if (is_ours(from)) return failed(EINVAL);
    if (!is_ours(to)) return next::sendfile(to, from, offset, count);
    const off64_t begin = offset != nullptr ? *offset : 0;
    const ssize_t sent = send_from(to, count, [&](char* data, std::size_t n) {
        return offset != nullptr ? pread64(from, data, n, begin) : next::read(from, data, n);
    });
    if (sent > 0 && offset != nullptr) *offset = begin + sent;
    return sent;
}

ssize_t sendfile(int to, int from, off_t* offset, size_t count) noexcept {
    return sendfile64(to, from, offset, count);
}

ssize_t splice(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t count, unsigned flags) {
    const bool from_us = is_ours(from), to_us = is_ours(to);
    if (!from_us && !to_us) return next::splice(from, from_offset, to, to_offset, count, flags);
    if (from_offset != nullptr || to_offset != nullptr) return failed(ESPIPE);
    if (from_us && to_us) return failed(EINVAL);
    const int wait = flags & SPLICE_F_NONBLOCK ? MSG_DONTWAIT : 0;
    if (to_us) return send_from(to, count, [&](char* data, std::size_t n) { return next::read(from, data, n); });
    std::vector<char> data(std::min(count, largest));
    const ssize_t got = skua_recv(from, data.data(), data.size(), wait);
    return got <= 0 ? got : next::write(to, data.data(), static_cast<std::size_t>(got));
}

// ---- What programs call that were built with _FORTIFY_SOURCE. `room` is what the compiler knows of the buffer. ----

[[noreturn]] void __chk_fail() noexcept;

ssize_t __read_chk(int fd, void* data, size_t length, size_t room) {
    if (length > room) __chk_fail();
    return read(fd, data, length);
}

ssize_t __recv_chk(int fd, void* data, size_t length, size_t room, int flags) {
    if (length > room) __chk_fail();
    return recv(fd, data, length, flags);
}

ssize_t __recvfrom_chk(int fd, void* data, size_t length, size_t room, int flags, sockaddr* from,
                       socklen_t* from_length) {
    if (length > room) __chk_fail();
    return recvfrom(fd, data, length, flags, from, from_length);
}

// ---- Other names that libc exports for the same. ----

ssize_t __read(int fd, void* data, size_t length) { return read(fd, data, length); }
ssize_t __write(int fd, const void* data, size_t length) { return write(fd, data, length); }
ssize_t __send(int fd, const void* data, size_t length, int flags) { return send(fd, data, length, flags); }
int __connect(int fd, const sockaddr* address, socklen_t length) { return connect(fd, address, length); }
}

#pragma GCC visibility pop
