// Lines of ours beside those that the kernel writes for sockets with the same names.
#include "sockfs/proc_net.hh"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <regex>

#include "socket/test_support.hh"

namespace skua::sockfs {
namespace {

using namespace socket::test;

struct kernel_line {
    std::string text;
    std::size_t slot = 0;
    ino_t inode = 0;
};

std::vector<std::string> lines_of(const char* path) {
    std::ifstream in(path);
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
}

/// What the kernel says of its socket, without the pointer, which is its own.
kernel_line kernels(const char* path, int fd) {
    struct stat s {};
    fstat(fd, &s);
    for (auto& line : lines_of(path)) {
        std::smatch m;
        if (!std::regex_search(line, m,
                               std::regex("^ *(\\d+): .* " + std::to_string(s.st_ino) + " \\d+ ([0-9a-f]{16}) ")))
            continue;
        line.replace(static_cast<std::size_t>(m.position(2)), 16, 16, '0');
        return {line, std::stoul(m[1]), s.st_ino};
    }
    return {};
}

struct names {
    int domain;
    const char* path;
    name local;
    std::optional<name> remote;
};

class proc_net : public socket_test, public testing::WithParamInterface<names> {};

const names all_names[] = {
    {AF_INET, "/proc/net/udp", in4("127.0.0.1", 0), {}},
    {AF_INET, "/proc/net/udp", in4("0.0.0.0", 0), {}},
    {AF_INET, "/proc/net/udp", in4("127.0.0.1", 0), in4("127.0.0.1", 9)},
    {AF_INET6, "/proc/net/udp6", in6("::", 0), {}},
    {AF_INET6, "/proc/net/udp6", in6("::1", 0), {}},
    {AF_INET6, "/proc/net/udp6", in6("::1", 0), in6("::1", 65535)},
    {AF_INET6, "/proc/net/udp6", in6("::ffff:127.0.0.1", 0), {}},
};
INSTANTIATE_TEST_SUITE_P(names, proc_net, testing::ValuesIn(all_names));

TEST_P(proc_net, a_line_is_the_kernels_byte_for_byte) {
    const auto& p = GetParam();
    const int theirs = ::socket(p.domain, SOCK_DGRAM, 0);
    name at = p.local;
    ASSERT_EQ(::bind(theirs, at.get(), at.length), 0);
    if (p.remote) {
        ASSERT_EQ(::connect(theirs, name(*p.remote).get(), p.remote->length), 0);
    }
    at.length = sizeof at.storage;
    ASSERT_EQ(::getsockname(theirs, at.get(), &at.length), 0);
    const auto expected = kernels(p.path, theirs);
    ::close(theirs);
    ASSERT_FALSE(expected.text.empty());

    auto ours = make(p.domain);
    ASSERT_EQ(ours.bind(at), 0);
    if (p.remote) {
        ASSERT_EQ(ours.connect(*p.remote), 0);
    }
    ours->set_inode_number(expected.inode);
    EXPECT_EQ(proc_net_udp_line(*ours, expected.slot), expected.text);
}

TEST(proc_net, headers_are_the_kernels) {
    EXPECT_EQ(proc_net_udp_header(ip_family::v4), lines_of("/proc/net/udp").at(0));
    EXPECT_EQ(proc_net_udp_header(ip_family::v6), lines_of("/proc/net/udp6").at(0));
}

class proc_net_udp : public socket_test {};

// As net-tools' netstat takes it apart.
TEST_F(proc_net_udp, tools_can_read_it) {
    auto s = make();
    ASSERT_EQ(s.bind(in4("198.18.0.1", 7)), 0);
    ASSERT_EQ(s.connect(in4("198.18.0.2", 9)), 0);
    s->set_inode_number(4711);
    ASSERT_TRUE(host.arrive(host.make(at("198.18.0.2", 9), at("198.18.0.1", 7), "queued")));
    host.hold = true;
    ASSERT_GT(s.send("on its way"), 0);
    char local[128], remote[128], more[513];
    int slot, local_port, remote_port, state, timer, uid, timeout;
    unsigned long rx, tx, when, retransmits, inode;
    const auto line = proc_net_udp_line(*s, 12345);
    ASSERT_EQ(
        std::sscanf(line.c_str(), "%d: %64[0-9A-Fa-f]:%X %64[0-9A-Fa-f]:%X %X %lX:%lX %X:%lX %lX %d %d %lu %512s\n",
                    &slot, local, &local_port, remote, &remote_port, &state, &tx, &rx, &timer, &when, &retransmits,
                    &uid, &timeout, &inode, more),
        15);
    EXPECT_EQ(slot, 12345);
    in_addr address{};
    EXPECT_EQ(std::sscanf(local, "%X", &address.s_addr), 1);
    EXPECT_STREQ(inet_ntoa(address), "198.18.0.1");
    EXPECT_EQ(std::sscanf(remote, "%X", &address.s_addr), 1);
    EXPECT_STREQ(inet_ntoa(address), "198.18.0.2");
    EXPECT_EQ(local_port, 7);
    EXPECT_EQ(remote_port, 9);
    EXPECT_EQ(state, 1);
    EXPECT_EQ(rx, static_cast<unsigned long>(s->receive_queue_bytes()));
    EXPECT_GT(rx, 0u);
    EXPECT_EQ(tx, static_cast<unsigned long>(s->send_queue_bytes()));
    EXPECT_GT(tx, 0u);
    EXPECT_EQ(inode, 4711u);
    EXPECT_EQ(uid, static_cast<int>(geteuid()));
}

TEST_F(proc_net_udp, drops_come_last) {
    auto s = make();
    ASSERT_EQ(s.bind(in4("198.18.0.1", 7)), 0);
    ASSERT_EQ(s.set(SOL_SOCKET, SO_RCVBUF, 1), 0);
    for (int i = 0; i < 20; i++) host.arrive(host.make(at("198.18.0.2", 9), at("198.18.0.1", 7), "queued"));
    ASSERT_GT(s->dropped_count(), 0u);
    EXPECT_TRUE(
        std::regex_search(proc_net_udp_line(*s, 0), std::regex(" " + std::to_string(s->dropped_count()) + " *$")));
}

}  // namespace
}  // namespace skua::sockfs
