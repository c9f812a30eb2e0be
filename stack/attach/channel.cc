// sendmsg(2) and recvmsg(2) with SCM_RIGHTS.
#include "attach/channel.hh"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>

namespace skua::attach {

namespace {

constexpr std::size_t longest_message = sizeof(request_header) + longest_body;
constexpr std::size_t most_ever = 253;  // Linux: SCM_MAX_FD

}  // namespace

message::~message() {
    for (const int fd : descriptors)
        if (fd >= 0) close(fd);
}

int message::take(std::size_t i) { return i < descriptors.size() ? std::exchange(descriptors[i], -1) : -1; }

result<void> send_message(int fd, std::span<const std::byte> head, std::span<const std::byte> body,
                          std::span<const int> descriptors, int flags) {
    iovec parts[2] = {{const_cast<std::byte*>(head.data()), head.size()},
                      {const_cast<std::byte*>(body.data()), body.size()}};
    msghdr m{};
    m.msg_iov = parts;
    m.msg_iovlen = 2;
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * most_descriptors)> control{};
    if (!descriptors.empty()) {
        m.msg_control = control.data();
        m.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* const c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(c), descriptors.data(), descriptors.size_bytes());
    }
    ssize_t sent;
    do sent = sendmsg(fd, &m, flags | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) return fail(errno);
    return {};
}

result<void> receive_message(int fd, message& got, int flags) {
    got.bytes.resize(longest_message);
    iovec part{got.bytes.data(), got.bytes.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    // Room for as many as the kernel lets through: what it has to drop it closes in this thread, which may take time.
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * most_ever)> control;
    m.msg_control = control.data();
    m.msg_controllen = control.size();
    ssize_t n;
    do n = recvmsg(fd, &m, flags | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    got.bytes.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    if (n < 0) return fail(errno);
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        const std::size_t before = got.descriptors.size();
        got.descriptors.resize(before + count);
        std::memcpy(&got.descriptors[before], CMSG_DATA(c), count * sizeof(int));
    }
    if (n == 0 && got.descriptors.empty()) return fail(ECONNRESET);
    if (m.msg_flags & MSG_TRUNC) return fail(EMSGSIZE);
    got.cut = (m.msg_flags & MSG_CTRUNC) != 0;
    return {};
}

result<message> receive_message(int fd, int flags) {
    message got;
    if (auto done = receive_message(fd, got, flags); !done) return fail(done.error().code);
    return got;
}

}  // namespace skua::attach
