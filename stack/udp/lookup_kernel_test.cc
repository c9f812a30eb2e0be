// Which socket a datagram is for, against the kernel's own sockets: the same sockets and packets on both sides, with
// the rule `group`, which is the kernel's. Loopback only.
//
// Left out is where the rule is another than Linux's on purpose: `every`, hints by shard, and IPv4 packets that several
// IPv6 sockets compete for by SO_REUSEPORT, where Linux goes by the sockets' family and we by the packet's; nor among
// sockets of both families connected to one IPv4 peer, where Linux's table of four-tuples does not look at the family.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <list>
#include <random>
#include <set>
#include <span>
#include <vector>

#include "udp/kernel_fixture.hh"

namespace skua::udp {

namespace {

constexpr std::array targets = {"127.0.0.1", "127.0.0.2", "::1"};
constexpr std::size_t senders_of_each = 12;

/// Sends from a port of its own on 127.0.0.1 and ::1.
class sender {
public:
    sender() {
        for (const auto& [family, address] : {std::pair{AF_INET, "127.0.0.1"}, std::pair{AF_INET6, "::1"}}) {
            const int fd = socket(family, SOCK_DGRAM, 0);
            sockaddr_storage at;
            const socklen_t n = kernel_address(family == AF_INET ? ip_family::v4 : ip_family::v6, addr(address),
                                               fds_.empty() ? 0 : port_, at);
            bound_ &= ::bind(fd, reinterpret_cast<sockaddr*>(&at), n) == 0;
            sockaddr_in got{};
            socklen_t length = sizeof got;
            if (fds_.empty() && getsockname(fd, reinterpret_cast<sockaddr*>(&got), &length) == 0)
                port_ = ntohs(got.sin_port);
            fds_.push_back(fd);
        }
    }
    ~sender() {
        for (const int fd : fds_) close(fd);
    }
    sender(const sender&) = delete;
    sender& operator=(const sender&) = delete;

    bool bound() const { return bound_; }
    std::uint16_t port() const { return port_; }
    /// The bytes tell packets apart.
    void send(const ip_address& to, std::uint16_t port, std::uint32_t number) const {
        sockaddr_storage at;
        const auto family = to.family();
        const socklen_t n = kernel_address(family, to, port, at);
        const int fd = fds_[family == ip_family::v4 ? 0 : 1];
        // What nobody took is reported back to the next call: that one is not sent.
        for (int tries = 0; tries < 3; tries++)
            if (sendto(fd, &number, sizeof number, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&at), n) == sizeof number)
                return;
    }

private:
    std::vector<int> fds_;
    std::uint16_t port_ = 0;
    bool bound_ = true;
};

class lookup_kernel : public tables_fixture {
protected:
    lookup_kernel() : tables_fixture(table_options{.mixed = mixed_rule::group}) {}
    void SetUp() override {
        if (!kernel_has_ipv6()) GTEST_SKIP() << "the host has no IPv6";
        while (senders_.size() < senders_of_each) {
            senders_.emplace_back();
            if (!senders_.back().bound()) senders_.pop_back();
        }
    }
    step connected(const step& s) const {
        step c = s;
        c.connects = true;
        c.peer_port = senders_.front().port();
        return c;
    }

    /// The sockets in turn on both sides, then packets of every sender to every target: the kernel's receiver must be
    /// one that ours may choose.
    void compare(std::span<const step> steps) {
        std::list<kernel_socket> theirs;
        std::vector<test_socket*> ours;
        std::string story;
        for (const auto& s : steps) {
            story += describe(s);
            int refused = 0;
            theirs.emplace_back(s, kernel_port_, refused);
            auto& own = make(s.where.family,
                             {.reuse_address = s.reuse_address, .reuse_port = s.reuse_port, .v6_only = s.v6_only});
            const auto done = table.bind(own, {addr(s.where.address), test_port, 0});
            ASSERT_EQ(done ? 0 : done.error().code, refused) << story;
            if (done && s.connects) {
                ASSERT_TRUE(table.connect(own, source_for(s.where), {source_for(s.where), s.peer_port, 0}));
            }
            ours.push_back(&own);
        }
        for (const char* target : targets) {
            if (addr(target).is_v4() && compete_for_v4(steps)) continue;
            for (const auto& from : senders_) {
                from.send(addr(target), kernel_port_, ++number_);
                const auto allowed = ours_for(target, from.port());
                std::set<pcb*> chosen;
                // At once, unless the kernel is busy.
                for (int tries = 0; chosen.empty() && tries < (allowed.contains(nullptr) ? 1 : 200); tries++) {
                    if (tries > 0) usleep(1000);
                    std::size_t i = 0;
                    for (const auto& s : theirs) {
                        if (received(s, number_)) chosen.insert(ours[i]);
                        i++;
                    }
                }
                if (chosen.empty()) ASSERT_EQ(allowed, std::set<pcb*>{nullptr}) << story << target;
                else ASSERT_TRUE(chosen.size() == 1 && allowed.contains(*chosen.begin())) << story << target;
            }
        }
        for (auto& s : sockets) table.unbind(s);
        sockets.clear();
    }

    std::uint16_t kernel_port_ = free_kernel_port();
    std::list<sender> senders_;
    std::uint32_t number_ = 0;

private:
    static bool compete_for_v4(std::span<const step> steps) {
        const auto dual = [](const step& s) { return s.where.family == ip_family::v6 && !s.v6_only; };
        return std::ranges::count_if(steps, dual) > 1 &&
               std::ranges::any_of(steps, [&](const step& s) { return dual(s) && s.reuse_port; });
    }
    static bool received(const kernel_socket& s, std::uint32_t number) {
        std::uint32_t read = 0;
        bool found = false;
        while (recv(s.fd(), &read, sizeof read, MSG_DONTWAIT) == sizeof read) found |= read == number;
        return found;
    }
    /// Every socket that our tables choose for some hash of the packet.
    std::set<pcb*> ours_for(const char* target, std::uint16_t from_port) const {
        lookup_key k = packet_to(target);
        k.flow.remote = k.flow.local.is_v4() ? addr("127.0.0.1") : addr("::1");
        k.flow.remote_port = from_port;
        std::set<pcb*> all;
        for (std::uint32_t h = 0; h < 512; h++) {
            k.hash = h;
            all.insert(table.lookup(k));
        }
        return all;
    }
};

constexpr place v4_any = places[0], v4_one = places[1], v6_any = places[3], v6_one = places[4];

constexpr step plain(const place& p) { return {p, false, true, false, false}; }
constexpr step with_option(const place& p) { return {p, false, true, true, false}; }

}  // namespace

TEST_F(lookup_kernel, score_local_address) { compare(std::array{plain(v4_one), plain(v4_any)}); }
TEST_F(lookup_kernel, score_family) {
    compare(std::array{with_option(v6_any), with_option(v4_any)});
    compare(std::array{with_option(v4_any), with_option(v6_any)});
}
TEST_F(lookup_kernel, score_peer) {
    compare(std::array{plain(v4_any), connected(plain(v4_one)), plain(v4_one)});
    compare(std::array{connected(plain(v6_one)), plain(v6_one), plain(v6_any)});
}
TEST_F(lookup_kernel, dual_stack_takes_both_and_v6_only_one) {
    compare(std::array{plain(v6_any)});
    compare(std::array{step{v6_any, true, true, false, false}});
}
TEST_F(lookup_kernel, equal_none_with_the_option) {
    compare(std::array{plain(v4_one), plain(v4_one), plain(v4_one)});
    compare(std::array{plain(v6_one), plain(v6_one)});
}
TEST_F(lookup_kernel, equal_all_with_the_option) {
    compare(std::array{with_option(v4_one), with_option(v4_one), with_option(v4_one)});
    compare(std::array{with_option(v6_any), with_option(v6_any)});
}
TEST_F(lookup_kernel, equal_some_with_the_option_ipv4) {
    compare(std::array{with_option(v4_one), with_option(v4_one), plain(v4_one)});
    compare(std::array{plain(v4_one), with_option(v4_one), with_option(v4_one)});
    compare(std::array{with_option(v4_any), plain(v4_any), with_option(v4_any)});
}
TEST_F(lookup_kernel, equal_some_with_the_option_ipv6) {
    compare(std::array{with_option(v6_one), with_option(v6_one), plain(v6_one)});
    compare(std::array{plain(v6_one), plain(v6_one), with_option(v6_one), with_option(v6_one)});
}
TEST_F(lookup_kernel, connected_member_of_a_group) {
    compare(std::array{with_option(v4_one), with_option(v4_one), connected(with_option(v4_one))});
}
TEST_F(lookup_kernel, more_than_ten_sockets) {
    std::vector<step> many(12, plain(v4_any));
    many.push_back(plain(v4_one));
    many.push_back(connected(plain(v4_one)));
    compare(many);
    for (auto& s : many) s.reuse_port = true;
    compare(many);
}

TEST_F(lookup_kernel, random_sets_of_sockets) {
    std::mt19937 random(11);
    for (int trial = 0; trial < 500; trial++) {
        std::vector<step> steps;
        for (std::size_t n = 2 + random() % 5; n > 0; n--) {
            const place& where = places[random() % places.size()];
            step s{where, where.family == ip_family::v6 && random() % 4 == 0, true, random() % 2 == 0, false};
            if (addr(where.address).is_v4()) s.v6_only = false;
            const bool mapped = where.family == ip_family::v6 && addr(where.address).is_v4();
            steps.push_back(!mapped && random() % 4 == 0 ? connected(s) : s);
        }
        ASSERT_NO_FATAL_FAILURE(compare(steps));
    }
}

}  // namespace skua::udp
