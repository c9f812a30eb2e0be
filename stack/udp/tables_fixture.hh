// What the tests of the tables share: sockets and packets in one line each.
#pragma once

#include <gtest/gtest.h>

#include <list>
#include <set>
#include <string_view>

#include "udp/tables.hh"

namespace skua::udp {

struct test_socket final : pcb {
    using pcb::pcb;
};

inline ip_address addr(std::string_view text) { return *ip_address::parse(text); }

inline constexpr std::uint16_t test_port = 5000;

/// A packet from 10.0.0.9:999 or fd00::9:999 unless told otherwise.
inline lookup_key packet_to(std::string_view local, std::uint16_t port = test_port, std::uint32_t hash = 0) {
    lookup_key k;
    k.flow.local = addr(local);
    k.flow.remote = k.flow.local.is_v4() ? addr("10.0.0.9") : addr("fd00::9");
    k.flow.local_port = port;
    k.flow.remote_port = 999;
    k.hash = hash;
    k.ifindex = 2;
    return k;
}

struct test_options {
    bool reuse_address = false;
    bool reuse_port = false;
    bool v6_only = false;
    uid_t owner = 0;
    std::uint32_t device = 0;
    std::int32_t incoming_shard = -1;
};

class tables_fixture : public testing::Test {
protected:
    explicit tables_fixture(table_options options = {}) : table(rcu, random, options) {}
    ~tables_fixture() override {
        for (auto& s : sockets) table.unbind(s);
    }

    test_socket& make(ip_family family, const test_options& o) {
        auto& s = sockets.emplace_back(family);
        s.reuse_address = o.reuse_address;
        s.reuse_port = o.reuse_port;
        s.v6_only = o.v6_only;
        s.owner = o.owner;
        s.device = o.device;
        s.incoming_shard = o.incoming_shard;
        return s;
    }
    /// Of the address's family.
    test_socket& bound(std::string_view address, const test_options& o = {}, std::uint16_t port = test_port) {
        auto& s = make(addr(address).family(), o);
        const auto done = table.bind(s, {addr(address), port, 0});
        EXPECT_TRUE(done) << address << ": errno " << (done ? 0 : done.error().code);
        return s;
    }
    test_socket& bound_v6(std::string_view address, const test_options& o = {}, std::uint16_t port = test_port) {
        auto& s = make(ip_family::v6, o);
        EXPECT_TRUE(table.bind(s, {addr(address), port, 0})) << address;
        return s;
    }
    int bind_error(test_socket& s, std::string_view address, std::uint16_t port = test_port) {
        const auto done = table.bind(s, {addr(address), port, 0});
        return done ? 0 : done.error().code;
    }
    /// To the sender of packet_to().
    void connect(test_socket& s, std::string_view local, std::uint16_t remote_port = 999) {
        const auto packet = packet_to(local);
        ASSERT_TRUE(table.connect(s, addr(local), {packet.flow.remote, remote_port, 0}));
    }
    pcb* to(std::string_view local, std::uint16_t port = test_port) const {
        return table.lookup(packet_to(local, port));
    }
    std::set<pcb*> to_many(std::string_view local, std::uint32_t flows = 4096) const {
        std::set<pcb*> found;
        for (std::uint32_t h = 0; h < flows; h++)
            found.insert(table.lookup(packet_to(local, test_port, h * 2654435761u)));
        return found;
    }

    rcu_domain rcu;
    seeded_random random{1};
    std::list<test_socket> sockets;
    tables table;
};

}  // namespace skua::udp
