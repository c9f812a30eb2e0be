// The manager's end of sd_notify(3).
#include "upgrade/descriptor_store.hh"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <system_error>

namespace skua::upgrade {

namespace {

/// The value of a line "KEY=value" of a notification.
std::string value_of(const std::string& text, const std::string& key) {
    const std::string lines = "\n" + text + "\n";
    const auto at = lines.find("\n" + key + "=");
    if (at == std::string::npos) return {};
    const auto begin = at + key.size() + 2;
    return lines.substr(begin, lines.find('\n', begin) - begin);
}

}  // namespace

descriptor_store::descriptor_store() : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    socklen_t length = sizeof at.sun_family;  // and no more: the kernel chooses an abstract name
    if (fd_ < 0 || bind(fd_, reinterpret_cast<const sockaddr*>(&at), length) != 0)
        throw std::system_error(errno, std::generic_category(), "the socket of the descriptor store");
    length = sizeof at;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &length);
    name_ = "@" + std::string(at.sun_path + 1, length - offsetof(sockaddr_un, sun_path) - 1);
}

descriptor_store::~descriptor_store() {
    clear();
    if (fd_ >= 0) close(fd_);
}

void descriptor_store::receive() {
    for (;;) {
        char text[512];
        iovec part{text, sizeof text};
        alignas(cmsghdr) char control[256];
        msghdr m{};
        m.msg_iov = &part;
        m.msg_iovlen = 1;
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        const ssize_t n = recvmsg(fd_, &m, MSG_CMSG_CLOEXEC);
        if (n < 0) return;
        const std::string said(text, static_cast<std::size_t>(n));
        const bool store = value_of(said, "FDSTORE") == "1";
        for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
            if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
            for (std::size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
                int fd = -1;
                std::memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
                if (store) stored_.emplace_back(value_of(said, "FDNAME"), fd);
                else close(fd);
            }
        }
    }
}

void descriptor_store::clear() {
    for (const auto& [name, fd] : stored_) close(fd);
    stored_.clear();
}

}  // namespace skua::upgrade
