// The C API: sockets. What is no descriptor of the stack is the kernel's, and so is the answer.
#include <sys/socket.h>
#include <unistd.h>

#include "api/answer.hh"
#include "skua/skua.h"
#include "sockfs/socket_file.hh"

namespace {

using namespace skua;
using api::answer;
using api::failed;

/// `use` with the open socket behind a descriptor, which stays open as long as the call lasts; or `kernels`.
template <class Use, class Kernels>
auto with(int fd, Use&& use, Kernels&& kernels) -> decltype(kernels()) {
    sockfs::process* const p = api::current_process();
    const auto f = p ? p->files().get(fd) : nullptr;
    if (f == nullptr) return p && !p->shares_numbers() ? failed(EBADF) : kernels();
    auto* const s = dynamic_cast<sockfs::socket_file*>(f.get());
    if (s == nullptr) return failed(ENOTSOCK);
    return answer(use(*s));
}

/// For pointers that a call must follow. Linux finds bad ones of every kind; here null alone is seen.
const result<void> missing = fail(EFAULT);

}  // namespace

int skua_socket(int domain, int type, int protocol) {
    api::running* const here = api::running::current();
    if (here == nullptr) return failed(ENETDOWN);
    return answer(
        api::current_process()->socket(here->stack(), here->processes().sockfs(), domain, type, protocol, {geteuid()}));
}

int skua_bind(int fd, const sockaddr* address, socklen_t length) {
    return with(
        fd, [&](auto& f) { return address == nullptr && length > 0 ? missing : f.socket().bind(address, length); },
        [&] { return bind(fd, address, length); });
}

int skua_connect(int fd, const sockaddr* address, socklen_t length) {
    return with(
        fd, [&](auto& f) { return address == nullptr && length > 0 ? missing : f.socket().connect(address, length); },
        [&] { return connect(fd, address, length); });
}

int skua_getsockname(int fd, sockaddr* address, socklen_t* length) {
    return with(
        fd,
        [&](auto& f) {
            return address == nullptr || length == nullptr ? missing : f.socket().getsockname(address, length);
        },
        [&] { return getsockname(fd, address, length); });
}

int skua_getpeername(int fd, sockaddr* address, socklen_t* length) {
    return with(
        fd,
        [&](auto& f) {
            return address == nullptr || length == nullptr ? missing : f.socket().getpeername(address, length);
        },
        [&] { return getpeername(fd, address, length); });
}

int skua_setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
    return with(
        fd,
        [&](auto& f) {
            return value == nullptr && length > 0 ? missing : f.socket().setsockopt(level, name, value, length);
        },
        [&] { return setsockopt(fd, level, name, value, length); });
}

int skua_getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
    return with(
        fd,
        [&](auto& f) {
            return value == nullptr || length == nullptr ? missing : f.socket().getsockopt(level, name, value, length);
        },
        [&] { return getsockopt(fd, level, name, value, length); });
}

int skua_shutdown(int fd, int how) {
    return with(
        fd, [&](auto& f) { return f.socket().shutdown(how); }, [&] { return shutdown(fd, how); });
}

ssize_t skua_send(int fd, const void* data, size_t length, int flags) {
    return skua_sendto(fd, data, length, flags, nullptr, 0);
}

ssize_t skua_sendto(int fd, const void* data, size_t length, int flags, const sockaddr* to, socklen_t to_length) {
    return with(
        fd, [&](auto& f) { return f.socket().sendto(data, length, f.call_flags(flags), to, to_length); },
        [&] { return sendto(fd, data, length, flags, to, to_length); });
}

ssize_t skua_sendmsg(int fd, const msghdr* message, int flags) {
    return with(
        fd, [&](auto& f) { return f.socket().sendmsg(*message, f.call_flags(flags)); },
        [&] { return sendmsg(fd, message, flags); });
}

ssize_t skua_recv(int fd, void* data, size_t length, int flags) {
    return skua_recvfrom(fd, data, length, flags, nullptr, nullptr);
}

ssize_t skua_recvfrom(int fd, void* data, size_t length, int flags, sockaddr* from, socklen_t* from_length) {
    return with(
        fd, [&](auto& f) { return f.socket().recvfrom(data, length, f.call_flags(flags), from, from_length); },
        [&] { return recvfrom(fd, data, length, flags, from, from_length); });
}

ssize_t skua_recvmsg(int fd, msghdr* message, int flags) {
    return with(
        fd, [&](auto& f) { return f.socket().recvmsg(*message, f.call_flags(flags)); },
        [&] { return recvmsg(fd, message, flags); });
}

int skua_sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
    return with(
        fd, [&](auto& f) { return f.socket().sendmmsg(std::span(messages, count), f.call_flags(flags)); },
        [&] { return sendmmsg(fd, messages, count, flags); });
}

int skua_recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
    return with(
        fd, [&](auto& f) { return f.socket().recvmmsg(std::span(messages, count), f.call_flags(flags), timeout); },
        [&] { return recvmmsg(fd, messages, count, flags, timeout); });
}
