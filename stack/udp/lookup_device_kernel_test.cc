// Sockets bound to devices, against the kernel's own: the same sockets on both sides, and datagrams that come in on lo
// and on a TUN device. In a network namespace that the test makes; skipped where it may not.
//
// Left out is where the rule is another than Linux's on purpose. Since 5.0 Linux looks among sockets of the exact
// address first, so that a wildcard socket bound to the device loses to it; with us their scores are equal. And it
// takes the first SO_REUSEPORT group that it meets without comparing it with better ones, on the device.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <list>
#include <random>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "udp/kernel_fixture.hh"

namespace skua::udp {

namespace {

constexpr const char* tun_name = "tun0";
constexpr const char* here = "198.18.0.1";
constexpr const char* there = "198.18.0.2";
constexpr std::uint16_t peer_port = 999;

/// A TUN device: what is written to it comes in on it.
class tun_device {
public:
    /// Empty, or why not. Brings lo up, too.
    std::string open() {
        fd_ = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK);
        if (fd_ < 0) return std::string("/dev/net/tun: ") + std::strerror(errno);
        ifreq r{};
        std::strncpy(r.ifr_name, tun_name, IFNAMSIZ - 1);
        r.ifr_flags = IFF_TUN | IFF_NO_PI;
        if (ioctl(fd_, TUNSETIFF, &r) != 0) return std::string("TUNSETIFF: ") + std::strerror(errno);
        const int s = socket(AF_INET, SOCK_DGRAM, 0);
        auto& a = reinterpret_cast<sockaddr_in&>(r.ifr_addr);
        r.ifr_addr = {};
        a.sin_family = AF_INET;
        inet_pton(AF_INET, here, &a.sin_addr);
        bool done = ioctl(s, SIOCSIFADDR, &r) == 0;
        inet_pton(AF_INET, "255.255.255.0", &a.sin_addr);
        done &= ioctl(s, SIOCSIFNETMASK, &r) == 0;
        for (const char* name : {tun_name, "lo"}) {
            std::strncpy(r.ifr_name, name, IFNAMSIZ - 1);
            r.ifr_flags = IFF_UP;
            done &= ioctl(s, SIOCSIFFLAGS, &r) == 0;
        }
        close(s);
        return done ? "" : std::string("setting up ") + tun_name + ": " + std::strerror(errno);
    }
    ~tun_device() {
        if (fd_ >= 0) close(fd_);
    }
    std::uint32_t index() const { return if_nametoindex(tun_name); }

    /// An IPv4 datagram without UDP checksum (RFC 768 allows it).
    void inject(const char* from, const char* to, std::uint16_t port, std::uint32_t number) const {
        struct {
            iphdr ip{};
            udphdr udp{};
            std::uint32_t payload = 0;
        } d;
        d.ip.version = 4;
        d.ip.ihl = 5;
        d.ip.tot_len = htons(sizeof d);
        d.ip.ttl = 64;
        d.ip.protocol = IPPROTO_UDP;
        inet_pton(AF_INET, from, &d.ip.saddr);
        inet_pton(AF_INET, to, &d.ip.daddr);
        std::uint32_t sum = 0;
        std::uint16_t words[sizeof d.ip / 2];
        std::memcpy(words, &d.ip, sizeof words);
        for (const auto w : words) sum += w;
        sum = (sum & 0xffff) + (sum >> 16);
        d.ip.check = static_cast<std::uint16_t>(~(sum + (sum >> 16)));
        d.udp.source = htons(peer_port);
        d.udp.dest = htons(port);
        d.udp.len = htons(sizeof d.udp + sizeof d.payload);
        d.payload = number;
        EXPECT_EQ(write(fd_, &d, sizeof d), static_cast<ssize_t>(sizeof d)) << errno;
    }

private:
    int fd_ = -1;
};

struct device_step {
    const char* address;
    const char* device;
    bool reuse_port = false;
    bool connects = false;
};

class lookup_device_kernel : public tables_fixture {
protected:
    lookup_device_kernel() : tables_fixture(table_options{.mixed = mixed_rule::group}) {}

    /// In a namespace of its own, which ends with the thread.
    void in_namespace(const std::function<void()>& body) {
        std::string obstacle;
        std::thread([&] {
            if (unshare(CLONE_NEWNET) != 0) obstacle = std::string("unshare: ") + std::strerror(errno);
            else obstacle = tun_.open();
            if (obstacle.empty()) body();
        }).join();
        if (!obstacle.empty()) GTEST_SKIP() << obstacle;
    }

    /// See the head of this file.
    static bool of_another_rule(std::span<const device_step> steps) {
        const auto wildcard = [](const device_step& s) { return s.address == std::string("0.0.0.0"); };
        const auto any = [&](auto&& is) { return std::ranges::any_of(steps, is); };
        const bool exact = any([&](const auto& s) { return !wildcard(s); });
        const bool device_alone = any([&](const auto& s) { return wildcard(s) && *s.device != 0; });
        const auto grouped_elsewhere = [&](const device_step& a) {
            return a.reuse_port && any([&](const device_step& b) {
                       return std::string(a.address) == b.address && std::string(a.device) != b.device;
                   });
        };
        return (exact && device_alone) || any(grouped_elsewhere);
    }

    void compare(std::span<const device_step> steps) {
        std::list<kernel_socket> theirs;
        std::vector<test_socket*> ours;
        std::string story;
        for (const auto& d : steps) {
            step s{{ip_family::v4, d.address}, false, true, d.reuse_port, false};
            s.device = d.device;
            story += describe(s) + (d.connects ? "connects; " : "");
            int refused = 0;
            theirs.emplace_back(s, test_port, refused);
            auto& own = make(ip_family::v4, {.reuse_address = true,
                                             .reuse_port = d.reuse_port,
                                             .device = *d.device ? if_nametoindex(d.device) : 0});
            const auto done = table.bind(own, {addr(d.address), test_port, 0});
            ASSERT_EQ(done ? 0 : done.error().code, refused) << story;
            ours.push_back(&own);
            if (!done || !d.connects) continue;
            sockaddr_storage to;
            const auto n = kernel_address(ip_family::v4, addr(there), peer_port, to);
            // A route by another device, or none: then neither side connects.
            if (::connect(theirs.back().fd(), reinterpret_cast<sockaddr*>(&to), n) != 0) continue;
            ASSERT_TRUE(table.connect(own, addr(here), {addr(there), peer_port, 0}));
        }
        // From the other host by the device; from ourselves by lo, whatever the address.
        for (const char* to : {here, "127.0.0.1"})
            for (const bool by_tun : {true, false}) {
                if (by_tun && to != here) continue;
                number_++;
                if (by_tun) tun_.inject(there, to, test_port, number_);
                else send_locally(to);
                expect_ours(theirs, ours, to, by_tun, story);
            }
        for (auto& s : sockets) table.unbind(s);
        sockets.clear();
    }

    tun_device tun_;

private:
    void send_locally(const char* to) const {
        const int fd = socket(AF_INET, SOCK_DGRAM, 0);
        sockaddr_storage at;
        socklen_t n = kernel_address(ip_family::v4, addr(to), peer_port, at);
        EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&at), n), 0) << errno;
        n = kernel_address(ip_family::v4, addr(to), test_port, at);
        EXPECT_EQ(sendto(fd, &number_, sizeof number_, 0, reinterpret_cast<sockaddr*>(&at), n),
                  ssize_t(sizeof number_));
        close(fd);
    }
    void expect_ours(const std::list<kernel_socket>& theirs, const std::vector<test_socket*>& ours, const char* to,
                     bool by_tun, const std::string& story) const {
        std::set<pcb*> allowed, chosen;
        lookup_key k = packet_to(to);
        k.flow.remote = addr(by_tun ? there : to);
        k.flow.remote_port = peer_port;
        // What we send ourselves comes in on the device that has the address (ip_route_output_key_hash_rcu).
        k.ifindex = to == std::string(here) ? tun_.index() : if_nametoindex("lo");
        for (k.hash = 0; k.hash < 512; k.hash++) allowed.insert(table.lookup(k));
        for (int tries = 0; chosen.empty() && tries < (allowed.contains(nullptr) ? 1 : 200); tries++) {
            if (tries > 0) usleep(1000);
            std::size_t i = 0;
            for (const auto& s : theirs) {
                std::uint32_t read = 0;
                while (recv(s.fd(), &read, sizeof read, MSG_DONTWAIT) == sizeof read)
                    if (read == number_) chosen.insert(ours[i]);
                i++;
            }
        }
        if (chosen.empty()) chosen.insert(nullptr);
        ASSERT_EQ(chosen.size(), 1u) << story;
        const auto place = [&](pcb* p) { return std::ranges::find(ours, p) - ours.begin(); };
        ASSERT_TRUE(allowed.contains(*chosen.begin()))
            << story << to << (by_tun ? " by the device" : " by lo") << ": the kernel chose " << place(*chosen.begin())
            << ", we " << place(*allowed.begin());
    }
    std::uint32_t number_ = 0;
};

}  // namespace

TEST_F(lookup_device_kernel, a_bound_socket_takes_what_comes_in_on_its_device_only) {
    in_namespace([&] {
        compare(std::array{device_step{"0.0.0.0", tun_name}});
        compare(std::array{device_step{"0.0.0.0", "lo"}});
        compare(std::array{device_step{here, tun_name}, device_step{here, "lo"}});
    });
}

TEST_F(lookup_device_kernel, the_device_scores_as_much_as_the_address) {
    in_namespace([&] {
        compare(std::array{device_step{"0.0.0.0", tun_name}, device_step{"0.0.0.0", ""}});
        compare(std::array{device_step{here, ""}, device_step{here, tun_name}, device_step{here, ""}});
        compare(std::array{device_step{here, tun_name}, device_step{"0.0.0.0", tun_name}, device_step{here, ""}});
        compare(std::array{device_step{here, "lo"}, device_step{"0.0.0.0", tun_name}, device_step{"0.0.0.0", ""}});
    });
}

TEST_F(lookup_device_kernel, groups_on_devices_are_groups_of_their_own) {
    in_namespace([&] {
        compare(std::array{device_step{"0.0.0.0", tun_name, true}, device_step{"0.0.0.0", tun_name, true},
                           device_step{"0.0.0.0", "lo", true}, device_step{"0.0.0.0", "lo", true}});
    });
}

TEST_F(lookup_device_kernel, more_than_ten_sockets) {
    in_namespace([&] {
        std::vector<device_step> many(12, device_step{"0.0.0.0", ""});
        many.push_back({"0.0.0.0", tun_name});
        compare(many);
        many.push_back({here, "lo"});
        many.push_back({here, ""});
        compare(many);
        many.push_back({here, tun_name, false, true});
        compare(many);
    });
}

TEST_F(lookup_device_kernel, random_sets_of_sockets) {
    in_namespace([&] {
        std::mt19937 random(3);
        constexpr std::array addresses = {"0.0.0.0", here, "127.0.0.1"};
        constexpr std::array devices = {"", tun_name, "lo"};
        int compared = 0;
        for (int trial = 0; trial < 1500; trial++) {
            std::vector<device_step> steps;
            for (std::size_t n = 2 + random() % 5; n > 0; n--) {
                const char* const at = addresses[random() % addresses.size()];
                const char* const device = devices[random() % devices.size()];
                const bool connects = at != addresses[2] && device != devices[2] && random() % 4 == 0;
                steps.push_back({at, device, random() % 2 == 0, connects});
            }
            if (of_another_rule(steps)) continue;
            ASSERT_NO_FATAL_FAILURE(compare(steps));
            compared++;
        }
        EXPECT_GT(compared, 200);
    });
}

}  // namespace skua::udp
