// What the tests of sockets share: a host whose only shard is the thread that calls it, and sockets of the kernel and
// ours behind one face, so that one scenario runs on both.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <rte_mempool.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "packet/pool.hh"
#include "socket/datagram.hh"
#include "socket/udp_socket.hh"
#include "udp/tables.hh"

namespace skua::socket::test {

inline ip_address ip(std::string_view text) { return ip_address::parse(text).value(); }
inline endpoint at(std::string_view address, std::uint16_t port, std::uint32_t scope = 0) {
    return {ip(address), port, scope};
}

/// A sockaddr that any call takes.
struct name {
    sockaddr_storage storage{};
    socklen_t length = 0;
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    std::uint16_t port() const { return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port); }
    name with_length(socklen_t n) const {
        name copy = *this;
        copy.length = n;
        return copy;
    }
    name with_family(sa_family_t f) const {
        name copy = *this;
        copy.storage.ss_family = f;
        return copy;
    }
    /// Address without the port, which differs from run to run.
    std::string host() const {
        char text[INET6_ADDRSTRLEN] = "?";
        if (storage.ss_family == AF_INET)
            inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr, text, sizeof text);
        if (storage.ss_family == AF_INET6)
            inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr, text, sizeof text);
        return text;
    }
};
inline name in4(const char* address, std::uint16_t port) {
    name n;
    auto* in = reinterpret_cast<sockaddr_in*>(&n.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    inet_pton(AF_INET, address, &in->sin_addr);
    n.length = sizeof *in;
    return n;
}
inline name in6(const char* address, std::uint16_t port, std::uint32_t scope = 0) {
    name n;
    auto* in = reinterpret_cast<sockaddr_in6*>(&n.storage);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    in->sin6_scope_id = scope;
    inet_pton(AF_INET6, address, &in->sin6_addr);
    n.length = sizeof *in;
    return n;
}

/// Interfaces: lo, and 2 "p0" with 198.18.0.1/24, 2001:db8::1/64, fe80::1/64, MTU 1500. What is sent to an own address
/// arrives at once, on the sender's thread, or comes back as an error if nobody listens, as on the kernel's loopback.
class fake_host : public host {
public:
    static constexpr std::uint32_t p0 = 2;

    fake_host() : random_(7), tables_(rcu_, random_) {
        static int made = 0;
        pool_ = packet::make_pool("fake-host-" + std::to_string(made++), 4095, 2048 + RTE_PKTMBUF_HEADROOM,
                                  SOCKET_ID_ANY, 0)
                    .value();
        net::topology_builder b;
        net::interface i;
        i.index = p0;
        i.name = "p0";
        i.port = 0;
        b.add_interface(i).value();
        for (const char* a : {"198.18.0.1/24", "2001:db8::1/64", "fe80::1/64"})
            EXPECT_TRUE(b.add_address(p0, ip_prefix::parse(a).value()));
        EXPECT_TRUE(
            b.add_route({.destination = {ip_address::v4_any(), 0}, .gateway = ip("198.18.0.254"), .ifindex = p0}));
        map_ = b.build().value();
    }
    /// Another picture of the network.
    void change(const std::function<void(net::topology_builder&)>& how) {
        net::topology_builder b(*map_);
        how(b);
        map_ = b.build().value();
    }
    virtual ~fake_host() {
        free_held();
        while (rcu_.reclaim() > 0) {
        }
        EXPECT_EQ(rcu_.retired(), 0u);
        EXPECT_EQ(rte_mempool_in_use_count(pool_.get()), 0u);
    }

    rcu_domain& rcu() override { return rcu_; }
    udp::tables& tables() override { return tables_; }
    const net::topology& topology() const override { return *map_; }
    std::uint32_t path_mtu(const ip_address&, const net::path& way) const override {
        return std::min(mtu, way.out->mtu);
    }
    std::uint16_t ipv4_identification(const ip_address&, const ip_address&) override { return 0x1234; }
    unsigned submit(std::uint16_t, std::span<rte_mbuf* const> datagrams) override {
        ++submits;
        if (hold) {
            const std::lock_guard guard(lock_);
            unsigned n = 0;
            for (; n < datagrams.size() && held.size() < ring_size; n++) held.push_back(datagrams[n]);
            return n;
        }
        uncharge(datagrams);
        for (rte_mbuf* m : datagrams) loop(packet::packet(m));
        return static_cast<unsigned>(datagrams.size());
    }
    rte_mempool* pool() override { return pool_.get(); }
    std::uint16_t next_home_shard() override { return 0; }
    const limits& socket_limits() const override { return limits_; }
    time_point now() const override { return clock; }
    void count(mib which) override { counted.push_back(which); }

    /// A datagram with this payload from `from` to `to`, as it comes out of UDP input.
    packet::packet make(const endpoint& from, const endpoint& to, std::string_view payload);
    static packet::rx_info info_of(const packet::packet& p);
    /// Hands it to whom the tables say; false if nobody took it.
    bool arrive(packet::packet p);
    unsigned deliver(udp_socket& s, packet::packet p, time_point now = {}) {
        const rcu_domain::read_guard guard(rcu_);
        const packet::rx_info info = info_of(p);
        const packet::rx_info* infos[] = {&info};
        rte_mbuf* m = p.release();
        const unsigned n = s.deliver(std::span(&m, 1), infos, now);
        if (n == 0) p.reset(m);
        return n;
    }
    /// The shard takes what is held.
    std::vector<packet::packet> take_held() {
        const std::lock_guard guard(lock_);
        uncharge(held);
        std::vector<packet::packet> out;
        for (rte_mbuf* m : held) out.emplace_back(m);
        held.clear();
        return out;
    }
    void free_held() { take_held(); }

    bool hold = false;               // what is submitted waits in `held`
    std::size_t ring_size = 1000;    // of `held`
    std::uint32_t mtu = 0xffffffff;  // learnt path MTU
    time_point clock{};
    std::vector<rte_mbuf*> held;
    std::vector<mib> counted;
    std::atomic<unsigned> submits{0};
    limits limits_;

private:
    void loop(packet::packet p);

    rcu_domain rcu_;
    seeded_random random_;
    packet::pool pool_;
    std::unique_ptr<const net::topology> map_;
    std::mutex lock_;
    udp::tables tables_;
};

inline packet::rx_info fake_host::info_of(const packet::packet& p) {
    packet::rx_info info;
    if (const auto& ip4 = *p.header<wire::ipv4_header>(0); ip4.version() == 4) {
        info.flow = {.local = ip4.destination, .remote = ip4.source};
        info.l4_offset = sizeof ip4;
    } else {
        const auto& ip6 = *p.header<wire::ipv6_header>(0);
        info.family = ip_family::v6;
        info.flow = {.local = ip6.destination, .remote = ip6.source};
        info.l4_offset = sizeof ip6;
    }
    info.l4_length = p.size() - info.l4_offset;
    const auto& udp = *p.header<wire::udp_header>(info.l4_offset);
    info.flow.local_port = udp.destination_port.host();
    info.flow.remote_port = udp.source_port.host();
    info.ifindex = p0;
    return info;
}

inline packet::packet fake_host::make(const endpoint& from, const endpoint& to, std::string_view payload) {
    const std::uint16_t length = static_cast<std::uint16_t>(payload.size() + sizeof(wire::udp_header));
    const wire::udp_header udp{be16(from.port), be16(to.port), be16(length), {}};
    std::string bytes;
    if (to.address.is_v4()) {
        const wire::ipv4_header h{0x45,
                                  7,
                                  be16(static_cast<std::uint16_t>(length + 20)),
                                  {},
                                  {},
                                  61,
                                  IPPROTO_UDP,
                                  {},
                                  from.address.v4(),
                                  to.address.v4()};
        bytes.assign(reinterpret_cast<const char*>(&h), sizeof h);
    } else {
        const wire::ipv6_header h{be32(6u << 28 | 9u << 20), be16(length),   IPPROTO_UDP, 62,
                                  from.address.v6(),         to.address.v6()};
        bytes.assign(reinterpret_cast<const char*>(&h), sizeof h);
    }
    bytes.append(reinterpret_cast<const char*>(&udp), sizeof udp).append(payload);
    packet::packet p = packet::allocate(pool_.get(), static_cast<std::uint32_t>(bytes.size()));
    packet::write(p, 0, std::as_bytes(std::span(bytes)));
    return p;
}

inline bool fake_host::arrive(packet::packet p) {
    const rcu_domain::read_guard guard(rcu_);
    const packet::rx_info info = info_of(p);
    auto* to = static_cast<udp_socket*>(tables_.lookup({.flow = info.flow, .ifindex = info.ifindex}));
    if (to) deliver(*to, std::move(p));
    return to != nullptr;
}

inline void fake_host::loop(packet::packet p) {
    const rcu_domain::read_guard guard(rcu_);
    const packet::rx_info info = info_of(p);
    if (!map_->is_local(info.flow.local) || arrive(std::move(p))) return;
    // Port unreachable, as ICMP input would report it to the sender.
    const flow_key back{info.flow.remote, info.flow.local, info.flow.remote_port, info.flow.local_port};
    if (auto* from = static_cast<udp_socket*>(tables_.lookup({.flow = back}))) from->report(ECONNREFUSED, true);
}

/// One face for both kinds of socket. Numbers are results, or errno values below zero.
class any_socket {
public:
    virtual ~any_socket() = default;
    virtual long bind(name n) = 0;
    virtual long connect(name n) = 0;
    virtual long getsockname(name& n) = 0;
    virtual long getpeername(name& n) = 0;
    virtual long sendmsg(const msghdr& m, int flags) = 0;
    virtual long recvmsg(msghdr& m, int flags) = 0;
    virtual long sendmmsg(std::span<mmsghdr> m, int flags) = 0;
    virtual long recvmmsg(std::span<mmsghdr> m, int flags, timespec* t) = 0;
    virtual long shutdown(int how) = 0;
    virtual long set(int level, int option, const void* value, socklen_t length) = 0;
    virtual long get(int level, int option, void* value, socklen_t* length) = 0;
    virtual unsigned poll() = 0;
    virtual long next_size() = 0;

    long set(int level, int option, int value) { return set(level, option, &value, sizeof value); }
    /// The value, or an errno below zero.
    long get(int level, int option) {
        int v = 0;
        socklen_t n = sizeof v;
        const long r = get(level, option, &v, &n);
        return r < 0 ? r : v;
    }
    long sendto(std::string_view payload, name to, int flags = 0) {
        iovec part{const_cast<char*>(payload.data()), payload.size()};
        msghdr m{};
        m.msg_iov = &part;
        m.msg_iovlen = 1;
        m.msg_name = to.get();
        m.msg_namelen = to.length;
        return sendmsg(m, flags);
    }
    long send(std::string_view payload, int flags = 0) { return sendto(payload, {}, flags); }
    /// `got` is what recvmsg filled in.
    long recv(std::string& got, std::size_t room = 100, int flags = MSG_DONTWAIT, name* from = nullptr,
              int* out_flags = nullptr) {
        got.assign(room, '\0');
        iovec part{got.data(), room};
        msghdr m{};
        m.msg_iov = &part;
        m.msg_iovlen = 1;
        if (from) {
            m.msg_name = &from->storage;
            m.msg_namelen = sizeof from->storage;
        }
        const long n = recvmsg(m, flags);
        if (from) from->length = m.msg_namelen;
        if (out_flags) *out_flags = m.msg_flags;
        got.resize(n < 0 ? 0 : std::min<std::size_t>(static_cast<std::size_t>(n), room));
        return n;
    }
    std::uint16_t port() {
        name n;
        getsockname(n);
        return n.port();
    }
};

class kernel_socket final : public any_socket {
public:
    explicit kernel_socket(int domain) : fd_(::socket(domain, SOCK_DGRAM, 0)) {}
    ~kernel_socket() override { ::close(fd_); }
    long bind(name n) override { return answer(::bind(fd_, n.get(), n.length)); }
    long connect(name n) override { return answer(::connect(fd_, n.get(), n.length)); }
    long getsockname(name& n) override {
        return n.length = sizeof n.storage, answer(::getsockname(fd_, n.get(), &n.length));
    }
    long getpeername(name& n) override {
        return n.length = sizeof n.storage, answer(::getpeername(fd_, n.get(), &n.length));
    }
    long sendmsg(const msghdr& m, int flags) override { return answer(::sendmsg(fd_, &m, flags | MSG_NOSIGNAL)); }
    long recvmsg(msghdr& m, int flags) override { return answer(::recvmsg(fd_, &m, flags)); }
    long sendmmsg(std::span<mmsghdr> m, int flags) override {
        return answer(::sendmmsg(fd_, m.data(), static_cast<unsigned>(m.size()), flags));
    }
    long recvmmsg(std::span<mmsghdr> m, int flags, timespec* t) override {
        return answer(::recvmmsg(fd_, m.data(), static_cast<unsigned>(m.size()), flags, t));
    }
    long shutdown(int how) override { return answer(::shutdown(fd_, how)); }
    long set(int level, int option, const void* value, socklen_t length) override {
        return answer(::setsockopt(fd_, level, option, value, length));
    }
    long get(int level, int option, void* value, socklen_t* length) override {
        return answer(::getsockopt(fd_, level, option, value, length));
    }
    unsigned poll() override {
        pollfd p{fd_, POLLIN | POLLOUT | POLLRDHUP | POLLRDNORM | POLLWRNORM | POLLWRBAND, 0};
        ::poll(&p, 1, 0);
        return static_cast<unsigned short>(p.revents);
    }
    long next_size() override {
        int n = 0;
        return ::ioctl(fd_, FIONREAD, &n) < 0 ? -errno : n;
    }
    using any_socket::get, any_socket::set;

private:
    static long answer(long r) { return r < 0 ? -errno : r; }
    int fd_;
};

class our_socket final : public any_socket {
public:
    our_socket(host& h, int domain, credentials who = {geteuid()})
        : s_(udp_socket::create(h, domain, SOCK_DGRAM, 0, who).value()) {}
    udp_socket* operator->() { return s_.get(); }
    udp_socket& operator*() { return *s_; }
    void close() { s_.reset(); }
    long bind(name n) override { return answer(s_->bind(n.get(), n.length)); }
    long connect(name n) override { return answer(s_->connect(n.get(), n.length)); }
    long getsockname(name& n) override {
        return n.length = sizeof n.storage, answer(s_->getsockname(n.get(), &n.length));
    }
    long getpeername(name& n) override {
        return n.length = sizeof n.storage, answer(s_->getpeername(n.get(), &n.length));
    }
    long sendmsg(const msghdr& m, int flags) override { return answer(s_->sendmsg(m, flags)); }
    long recvmsg(msghdr& m, int flags) override { return answer(s_->recvmsg(m, flags)); }
    long sendmmsg(std::span<mmsghdr> m, int flags) override { return answer(s_->sendmmsg(m, flags)); }
    long recvmmsg(std::span<mmsghdr> m, int flags, timespec* t) override { return answer(s_->recvmmsg(m, flags, t)); }
    long shutdown(int how) override { return answer(s_->shutdown(how)); }
    long set(int level, int option, const void* value, socklen_t length) override {
        return answer(s_->setsockopt(level, option, value, length));
    }
    long get(int level, int option, void* value, socklen_t* length) override {
        return answer(s_->getsockopt(level, option, value, length));
    }
    unsigned poll() override { return s_->poll_events(); }
    long next_size() override { return static_cast<long>(s_->next_size()); }
    using any_socket::get, any_socket::set;

private:
    static long answer(const result<void>& r) { return r ? 0 : -r.error().code; }
    template <class T>
    static long answer(const result<T>& r) {
        return r ? static_cast<long>(*r) : -r.error().code;
    }
    udp_socket_ptr s_;
};

class socket_test : public testing::Test {
protected:
    fake_host host;
    our_socket make(int domain = AF_INET, credentials who = {geteuid()}) { return our_socket(host, domain, who); }
};

}  // namespace skua::socket::test
