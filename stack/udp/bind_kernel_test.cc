// The bind rules against the kernel's own: the same calls on its sockets (loopback only) and on ours.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <random>

#include "udp/tables_fixture.hh"

namespace skua::udp {

namespace {

struct place {
    ip_family family;
    const char* address;
};

constexpr std::array places = {
    place{ip_family::v4, "0.0.0.0"},   place{ip_family::v4, "127.0.0.1"}, place{ip_family::v4, "127.0.0.2"},
    place{ip_family::v6, "::"},        place{ip_family::v6, "::1"},       place{ip_family::v6, "0.0.0.0"},
    place{ip_family::v6, "127.0.0.1"},
};

/// What one socket of a trial does: place, options, and whether it then connects to port 9 of its own address.
struct step {
    place where;
    bool v6_only, reuse_address, reuse_port, connects;
};

std::string describe(const step& s) {
    return std::string(s.where.family == ip_family::v4 ? "v4 " : "v6 ") + s.where.address +
           (s.v6_only ? " v6only" : "") + (s.reuse_address ? " reuseaddr" : "") + (s.reuse_port ? " reuseport" : "") +
           (s.connects ? " connects" : "") + "; ";
}

socklen_t kernel_address(ip_family family, const ip_address& a, std::uint16_t port, sockaddr_storage& out) {
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

/// An address of the socket's that packets to port 9 would be sent from.
ip_address source_for(const place& p) {
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
        sockaddr_storage to;
        socklen_t n = kernel_address(s.where.family, addr(s.where.address), port, to);
        bind_errno = ::bind(fd_, reinterpret_cast<sockaddr*>(&to), n) == 0 ? 0 : errno;
        if (bind_errno != 0 || !s.connects) return;
        n = kernel_address(s.where.family, source_for(s.where), 9, to);
        EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), n), 0) << describe(s) << errno;
    }
    ~kernel_socket() { close(fd_); }
    kernel_socket(const kernel_socket&) = delete;
    kernel_socket& operator=(const kernel_socket&) = delete;

private:
    int fd_;
};

class bind_kernel : public tables_fixture {
protected:
    bind_kernel() {
        // A port that nobody else uses, in either family.
        kernel_port_ = 20000;
        for (int e = EADDRINUSE; e != 0 && kernel_port_ < 30000;) {
            ++kernel_port_;
            kernel_socket probe({places[3], false, false, false, false}, kernel_port_, e);
        }
        const int fd = socket(AF_INET6, SOCK_DGRAM, 0);
        has_ipv6_ = fd >= 0;
        if (fd >= 0) close(fd);
    }
    void SetUp() override {
        if (!has_ipv6_) GTEST_SKIP() << "the host has no IPv6";
    }

    /// Runs the steps in turn on both sides; every bind must end alike.
    void compare(std::span<const step> steps) {
        std::list<kernel_socket> theirs;
        std::string story;
        for (const auto& s : steps) {
            story += describe(s);
            int expected = 0;
            theirs.emplace_back(s, kernel_port_, expected);
            auto& ours = make(s.where.family,
                              {.reuse_address = s.reuse_address, .reuse_port = s.reuse_port, .v6_only = s.v6_only});
            const auto done = table.bind(ours, {addr(s.where.address), test_port, 0});
            ASSERT_EQ(done ? 0 : done.error().code, expected) << story;
            if (done && s.connects) {
                ASSERT_TRUE(table.connect(ours, source_for(s.where), {source_for(s.where), 9, 0}));
            }
        }
        for (auto& s : sockets) table.unbind(s);
        sockets.clear();
    }
    static std::vector<step> variants(bool with_connect) {
        std::vector<step> all;
        for (const auto& p : places)
            for (unsigned bits = 0; bits < (with_connect ? 16u : 8u); bits++) {
                const step s{p, bool(bits & 1), bool(bits & 2), bool(bits & 4), bool(bits & 8)};
                if (s.v6_only && p.family == ip_family::v4) continue;
                all.push_back(s);
            }
        return all;
    }

    std::uint16_t kernel_port_ = 0;
    bool has_ipv6_ = false;
};

}  // namespace

TEST_F(bind_kernel, every_pair_of_sockets) {
    for (const auto& first : variants(true))
        for (const auto& second : variants(false)) ASSERT_NO_FATAL_FAILURE(compare(std::array{first, second}));
}

TEST_F(bind_kernel, random_sequences_of_sockets) {
    const auto all = variants(true);
    std::mt19937 random(7);
    for (int trial = 0; trial < 3000; trial++) {
        std::vector<step> steps;
        // Beyond ten sockets the kernel looks at part of them only (a wildcard no longer meets other addresses): not
        // ours to follow.
        for (std::size_t n = 3 + random() % 6; n > 0; n--) steps.push_back(all[random() % all.size()]);
        ASSERT_NO_FATAL_FAILURE(compare(steps));
    }
}

}  // namespace skua::udp
