// skua.h in a process that attaches: what a socket does. Descriptors that are not the daemon's go on to the kernel.
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "client/answer.hh"
#include "client/connection.hh"
#include "client/descriptors.hh"
#include "skua/skua.h"

namespace {

using namespace skua;
using attach::request;
using client::answer;
using client::descriptors;
using client::failed;

constexpr int made_of_kernel = SOCK_NONBLOCK | SOCK_CLOEXEC;

std::span<const std::byte> bytes(const void* data, std::size_t length) {
    return {static_cast<const std::byte*>(data), length};
}

/// As skua_sendto and its like see a message.
struct one_part {
    one_part(void* data, std::size_t length) : part{data, length} {
        message.msg_iov = &part;
        message.msg_iovlen = 1;
    }
    iovec part;
    msghdr message{};
};

int named(int fd, request what, sockaddr* address, socklen_t* length, int (*kernel)(int, sockaddr*, socklen_t*)) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return kernel(fd, address, length);
    if (address == nullptr || length == nullptr) return failed(EFAULT);
    if (static_cast<int>(*length) < 0) return failed(EINVAL);
    const auto got = s->call(fd, what);
    if (!got) return failed(got.error().code);
    std::memcpy(address, got->data(), std::min<std::size_t>(*length, got->size()));
    *length = static_cast<socklen_t>(got->size());
    return 0;
}

bool is_locked(int fd, client::remote_socket& s) {
    int locked = 0;
    const auto got = s.call(fd, request::get_option, {SOL_SOCKET, SO_LOCK_FILTER, sizeof locked});
    if (got && got->size() == sizeof locked) std::memcpy(&locked, got->data(), sizeof locked);
    return locked != 0;
}

/// Programs go whole to the daemon: an address or a descriptor in them means something here only.
int attach_program(int fd, client::remote_socket& s, int level, int name, const void* value, socklen_t length) {
    std::vector<std::byte> program;
    if (name == SO_ATTACH_REUSEPORT_CBPF) {
        sock_fprog given;
        if (length != sizeof given) return failed(EINVAL);
        std::memcpy(&given, value, sizeof given);
        if (given.filter == nullptr && given.len != 0) return failed(EFAULT);
        const auto code = bytes(given.filter, given.len * sizeof(sock_filter));
        program.assign(code.begin(), code.end());
    } else if (length == sizeof(int)) {
        int file = -1;
        std::memcpy(&file, value, sizeof file);
        struct stat facts {};
        if (is_locked(fd, s)) return failed(EPERM);  // Linux asks before it looks at the program
        if (fstat(file, &facts) != 0) return -1;
        if (!S_ISREG(facts.st_mode) || facts.st_size == 0 || facts.st_size > off_t(attach::longest_body))
            return failed(EINVAL);
        program.resize(static_cast<std::size_t>(facts.st_size));
        if (pread(file, program.data(), program.size(), 0) != facts.st_size) return failed(EIO);
    } else {
        const auto code = bytes(value, length);
        program.assign(code.begin(), code.end());
    }
    const auto done = s.call(fd, request::set_option, {level, name, 0}, program);
    return done ? 0 : failed(done.error().code);
}

}  // namespace

int skua_socket(int domain, int type, int protocol) {
    if (domain != AF_INET && domain != AF_INET6) return failed(EAFNOSUPPORT);
    attach::request_header h;
    h.what = request::socket;
    h.words[0] = domain;
    h.words[1] = type & ~made_of_kernel;
    h.words[2] = protocol;
    auto got = client::connection::instance().ask_for_socket(h, {});
    if (!got) return failed(got.error().code);
    const int fd = got->fd;
    auto made = client::remote_socket::from(fd, std::move(*got));
    if (!made) {
        close(fd);
        return failed(made.error().code);
    }
    // It came with close-on-exec, and under the lowest free number, as socket(2) gives it.
    if (!(type & SOCK_CLOEXEC)) fcntl(fd, F_SETFD, 0);
    if (type & SOCK_NONBLOCK) fcntl(fd, F_SETFL, O_NONBLOCK);
    descriptors::instance().add(fd, std::move(*made));
    return fd;
}

int skua_bind(int fd, const sockaddr* address, socklen_t length) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return bind(fd, address, length);
    if (address == nullptr && length != 0) return failed(EFAULT);
    const auto done = s->call(fd, request::bind, {}, bytes(address, length));
    return done ? 0 : failed(done.error().code);
}

int skua_connect(int fd, const sockaddr* address, socklen_t length) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return connect(fd, address, length);
    if (address == nullptr && length != 0) return failed(EFAULT);
    const auto done = s->call(fd, request::connect, {}, bytes(address, length));
    return done ? 0 : failed(done.error().code);
}

int skua_getsockname(int fd, sockaddr* address, socklen_t* length) {
    return named(fd, request::local_name, address, length,
                 [](int f, sockaddr* a, socklen_t* n) { return getsockname(f, a, n); });
}

int skua_getpeername(int fd, sockaddr* address, socklen_t* length) {
    return named(fd, request::remote_name, address, length,
                 [](int f, sockaddr* a, socklen_t* n) { return getpeername(f, a, n); });
}

int skua_setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return setsockopt(fd, level, name, value, length);
    if (value == nullptr && length != 0) return failed(EFAULT);
    if (level == SOL_SOCKET && (name == SO_ATTACH_REUSEPORT_CBPF || name == SO_ATTACH_REUSEPORT_EBPF))
        return attach_program(fd, *s, level, name, value, length);
    if (length > attach::longest_body) return failed(EINVAL);
    const auto done = s->call(fd, request::set_option, {level, name, 0}, bytes(value, length));
    if (!done) return failed(done.error().code);
    if (level == IPPROTO_UDP && name == UDP_CORK) {
        int on = 0;
        std::memcpy(&on, value, std::min<std::size_t>(sizeof on, length));
        return answer(s->set_cork(fd, on != 0));
    }
    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
        timeval t;
        std::memcpy(&t, value, sizeof t);
        const std::int64_t ns = t.tv_sec * 1'000'000'000LL + t.tv_usec * 1000LL;
        s->set_timeout(name == SO_RCVTIMEO, ns == 0 ? -1 : ns);
    }
    return 0;
}

int skua_getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return getsockopt(fd, level, name, value, length);
    if (value == nullptr || length == nullptr) return failed(EFAULT);
    if (level == SOL_SOCKET && name == SO_ERROR && *length >= sizeof(int)) {
        if (const int e = s->take_error()) {
            std::memcpy(value, &e, sizeof e);
            *length = sizeof e;
            return 0;
        }
    }
    const auto got = s->call(fd, request::get_option, {level, name, static_cast<std::int32_t>(*length)});
    if (!got) return failed(got.error().code);
    std::memcpy(value, got->data(), std::min<std::size_t>(got->size(), *length));
    *length = static_cast<socklen_t>(got->size());
    return 0;
}

int skua_shutdown(int fd, int how) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return shutdown(fd, how);
    const auto done = s->call(fd, request::shutdown, {how, 0, 0});
    return done ? 0 : failed(done.error().code);
}

ssize_t skua_sendmsg(int fd, const msghdr* message, int flags) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return sendmsg(fd, message, flags);
    return message == nullptr ? failed(EFAULT) : answer(s->send(fd, *message, flags));
}

ssize_t skua_sendto(int fd, const void* data, size_t length, int flags, const sockaddr* to, socklen_t to_length) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return sendto(fd, data, length, flags, to, to_length);
    if (data == nullptr && length != 0) return failed(EFAULT);
    one_part m(const_cast<void*>(data), length);
    m.message.msg_name = const_cast<sockaddr*>(to);
    m.message.msg_namelen = to == nullptr ? 0 : to_length;
    return answer(s->send(fd, m.message, flags));
}

ssize_t skua_send(int fd, const void* data, size_t length, int flags) {
    return skua_sendto(fd, data, length, flags, nullptr, 0);
}

ssize_t skua_recvmsg(int fd, msghdr* message, int flags) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return recvmsg(fd, message, flags);
    return message == nullptr ? failed(EFAULT) : answer(s->receive(fd, *message, flags));
}

ssize_t skua_recvfrom(int fd, void* data, size_t length, int flags, sockaddr* from, socklen_t* from_length) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return recvfrom(fd, data, length, flags, from, from_length);
    if (data == nullptr && length != 0) return failed(EFAULT);
    if (from != nullptr && from_length == nullptr) return failed(EFAULT);
    one_part m(data, length);
    m.message.msg_name = from;
    m.message.msg_namelen = from == nullptr ? 0 : *from_length;
    const auto got = answer(s->receive(fd, m.message, flags));
    if (got >= 0 && from != nullptr) *from_length = m.message.msg_namelen;
    return got;
}

ssize_t skua_recv(int fd, void* data, size_t length, int flags) {
    return skua_recvfrom(fd, data, length, flags, nullptr, nullptr);
}

int skua_sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return sendmmsg(fd, messages, count, flags);
    unsigned done = 0;
    for (; done < std::min(count, 1024u); done++) {
        const auto sent = s->send(fd, messages[done].msg_hdr, flags);
        if (!sent) return done != 0 ? static_cast<int>(done) : failed(sent.error().code);
        messages[done].msg_len = static_cast<unsigned>(*sent);
    }
    return static_cast<int>(done);
}

int skua_recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
    const auto s = descriptors::instance().find(fd);
    if (!s) return recvmmsg(fd, messages, count, flags, timeout);
    using clock = std::chrono::steady_clock;
    clock::time_point until = clock::time_point::max();
    if (timeout != nullptr) {
        if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1'000'000'000) return failed(EINVAL);
        until = clock::now() + std::chrono::seconds(timeout->tv_sec) + std::chrono::nanoseconds(timeout->tv_nsec);
    }
    const auto tell_left = [&] {
        if (timeout == nullptr) return;
        const auto left = std::max<std::chrono::nanoseconds>(until - clock::now(), std::chrono::nanoseconds(0)).count();
        *timeout = {left / 1'000'000'000, left % 1'000'000'000};
    };
    unsigned done = 0;
    // Looked at after each datagram only, as on Linux.
    while (done < std::min(count, 1024u) && (done == 0 || timeout == nullptr || clock::now() < until)) {
        const int more = done != 0 && flags & MSG_WAITFORONE ? MSG_DONTWAIT : 0;
        const auto got = s->receive(fd, messages[done].msg_hdr, (flags & ~MSG_WAITFORONE) | more);
        if (!got && done == 0) return failed(got.error().code);
        if (!got) break;
        messages[done++].msg_len = static_cast<unsigned>(*got);
    }
    tell_left();
    return static_cast<int>(done);
}
