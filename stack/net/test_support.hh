// What the tests of net share: a sender that keeps what it is given, and the pieces of a context.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/context.hh"
#include "net/sender.hh"
#include "net/topology.hh"
#include "packet/packet.hh"
#include "packet/pool.hh"

namespace skua::net::test {

inline ip_address ip(std::string_view text) { return ip_address::parse(text).value(); }
inline ip_prefix prefix(std::string_view text) { return ip_prefix::parse(text).value(); }
inline mac_address mac(std::string_view text) { return parse_mac(text).value(); }

/// Keeps every packet, in order.
class fake_sender final : public sender {
public:
    struct sent {
        packet::packet p;
        std::uint32_t ifindex;
    };
    struct given_up {
        packet::packet p;
        drop_reason why;
    };
    explicit fake_sender(rte_mempool* pool) : pool_(pool) {}

    void output(packet::packet datagram, std::uint32_t out_ifindex) override {
        outputs.push_back({std::move(datagram), out_ifindex});
    }
    void transmit(packet::packet frame, const interface& out) override {
        frames.push_back({std::move(frame), out.index});
    }
    void drop(packet::packet p, drop_reason why) override { drops.push_back({std::move(p), why}); }
    packet::packet allocate(std::uint32_t length) override {
        return out_of_packets ? packet::packet() : packet::allocate(pool_, length);
    }
    void clear() {
        outputs.clear();
        frames.clear();
        drops.clear();
    }

    std::vector<sent> outputs;  // datagrams, by output()
    std::vector<sent> frames;   // frames, by transmit()
    std::vector<given_up> drops;
    bool out_of_packets = false;

private:
    rte_mempool* pool_;
};

/// A packet of these bytes in one segment (more if they do not fit one).
inline packet::packet make_packet(rte_mempool* pool, const void* bytes, std::size_t length) {
    packet::packet p = packet::allocate(pool, static_cast<std::uint32_t>(length));
    if (p) packet::write(p, 0, {static_cast<const std::byte*>(bytes), length});
    return p;
}

/// All bytes of a packet.
inline std::string bytes_of(const packet::packet& p) {
    std::string out(p.size(), '\0');
    p.read(0, {reinterpret_cast<std::byte*>(out.data()), out.size()});
    return out;
}

/// One host: interface 2 "p0" (port 0, 02:00:00:00:00:01, 198.18.0.1/24, 2001:db8::1/64, fe80::1/64) and whatever a
/// test adds by change(). The clock stands still until advance(). At the end no mbuf may be missing.
class net_test : public testing::Test {
protected:
    static constexpr std::uint32_t p0 = 2;

    net_test() : pool(make_pool()), out(pool.get()) {
        change([](topology_builder& b) {
            interface i;
            i.index = p0;
            i.name = "p0";
            i.port = 0;
            i.mac = mac("02:00:00:00:00:01");
            ASSERT_TRUE(b.add_interface(i));
            ASSERT_TRUE(b.add_address(p0, prefix("198.18.0.1/24")));
            ASSERT_TRUE(b.add_address(p0, prefix("2001:db8::1/64")));
            ASSERT_TRUE(b.add_address(p0, prefix("fe80::1/64")));
        });
    }
    void TearDown() override {
        out.clear();
        EXPECT_EQ(rte_mempool_in_use_count(pool.get()), 0u) << "mbufs are missing";
    }

    /// Replaces the topology by an edited copy. Contexts made before are stale.
    void change(const std::function<void(topology_builder&)>& edit) {
        topology_builder builder = map ? topology_builder(*map) : topology_builder();
        edit(builder);
        auto built = builder.build();
        ASSERT_TRUE(built);
        map = std::move(*built);
    }
    context ctx() { return {*map, now, mibs, random}; }
    void advance(nanoseconds by) { now += by; }
    packet::packet make(const void* bytes, std::size_t length) { return make_packet(pool.get(), bytes, length); }
    packet::packet make(std::string_view bytes) { return make_packet(pool.get(), bytes.data(), bytes.size()); }

    packet::pool pool;
    fake_sender out;
    std::unique_ptr<const topology> map;
    time_point now{std::chrono::seconds(1000)};
    counter_set<mib> mibs;
    seeded_random random{1};

private:
    static packet::pool make_pool() {
        static unsigned serial = 0;
        return std::move(packet::make_pool("net-test-" + std::to_string(serial++), 1023, 2048 + RTE_PKTMBUF_HEADROOM,
                                           SOCKET_ID_ANY, 0)
                             .value());
    }
};

}  // namespace skua::net::test
