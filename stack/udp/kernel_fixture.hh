// Sockets of the kernel beside ours: what the tests that take it as the oracle share. Loopback only, no root.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "udp/tables_fixture.hh"

namespace skua::udp {

struct place {
    ip_family family;
    const char* address;
};

inline constexpr std::array places = {
    place{ip_family::v4, "0.0.0.0"},   place{ip_family::v4, "127.0.0.1"}, place{ip_family::v4, "127.0.0.2"},
    place{ip_family::v6, "::"},        place{ip_family::v6, "::1"},       place{ip_family::v6, "0.0.0.0"},
    place{ip_family::v6, "127.0.0.1"},
};

/// What one socket of a trial does: place, options, and whether it then connects to a port of its own address.
struct step {
    place where;
    bool v6_only, reuse_address, reuse_port, connects;
    std::uint16_t peer_port = 9;
    const char* device = "";  // SO_BINDTODEVICE
};

inline std::string describe(const step& s) {
    return std::string(s.where.family == ip_family::v4 ? "v4 " : "v6 ") + s.where.address +
           (s.v6_only ? " v6only" : "") + (s.reuse_address ? " reuseaddr" : "") + (s.reuse_port ? " reuseport" : "") +
           (s.connects ? " connects" : "") + (*s.device ? std::string(" device ") + s.device : "") + "; ";
}

inline socklen_t kernel_address(ip_family family, const ip_address& a, std::uint16_t port, sockaddr_storage& out) {
    out = {};
    if (family == ip_family::v4) {
        auto& v4 = reinterpret_cast<sockaddr_in&>(out);
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        v4.sin_addr.s_addr = a.v4().value.raw();
        return sizeof v4;
    }
    auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, a.bytes().data(), 16);
    return sizeof v6;
}

/// An address of the socket's that packets to its peer would be sent from.
inline ip_address source_for(const place& p) {
    const auto a = addr(p.address);
    if (p.family == ip_family::v4 || a.is_v4()) return a.is_any() ? addr("127.0.0.1") : a;
    return addr("::1");
}

class kernel_socket {
public:
    kernel_socket(const step& s, std::uint16_t port, int& bind_errno) {
        fd_ = socket(s.where.family == ip_family::v4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
        const auto set = [&](int level, int name, int on) { setsockopt(fd_, level, name, &on, sizeof on); };
        if (s.where.family == ip_family::v6) set(IPPROTO_IPV6, IPV6_V6ONLY, s.v6_only);
        set(SOL_SOCKET, SO_REUSEADDR, s.reuse_address);
        set(SOL_SOCKET, SO_REUSEPORT, s.reuse_port);
        if (*s.device) {
            EXPECT_EQ(setsockopt(fd_, SOL_SOCKET, SO_BINDTODEVICE, s.device, std::strlen(s.device)), 0) << errno;
        }
        sockaddr_storage to;
        socklen_t n = kernel_address(s.where.family, addr(s.where.address), port, to);
        bind_errno = ::bind(fd_, reinterpret_cast<sockaddr*>(&to), n) == 0 ? 0 : errno;
        if (bind_errno != 0 || !s.connects) return;
        n = kernel_address(s.where.family, source_for(s.where), s.peer_port, to);
        EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), n), 0) << describe(s) << errno;
    }
    ~kernel_socket() { close(fd_); }
    kernel_socket(const kernel_socket&) = delete;
    kernel_socket& operator=(const kernel_socket&) = delete;
    int fd() const { return fd_; }

private:
    int fd_;
};

/// A port that nobody else uses, in either family; two processes that look at once look at different ones.
inline std::uint16_t free_kernel_port() {
    auto port = static_cast<std::uint16_t>(20000 + getpid() % 600 * 16);
    for (int e = EADDRINUSE; e != 0 && port < 30000;) {
        ++port;
        kernel_socket probe({places[3], false, false, false, false}, port, e);
    }
    return port;
}

inline bool kernel_has_ipv6() {
    const int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

}  // namespace skua::udp
