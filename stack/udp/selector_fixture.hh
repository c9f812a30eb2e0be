// What the tests of selectors share: a group of four and a datagram for it.
#pragma once

#include <gtest/gtest.h>

#include <list>
#include <span>
#include <string_view>

#include "packet/packet.hh"
#include "packet/pool.hh"
#include "udp/group.hh"
#include "udp/tables_fixture.hh"

namespace skua::udp {

class selector_test : public testing::Test {
protected:
    selector_test() { SetUpGroup(4); }
    void SetUpGroup(int n) {
        for (int i = 0; i < n; i++) join();
    }
    test_socket& join() {
        auto& s = sockets.emplace_back(ip_family::v4);
        s.reuse_port = true;
        EXPECT_TRUE(bound.bind(s, at("198.18.0.1")));
        return s;
    }
    ~selector_test() override {
        for (auto& s : sockets) bound.unbind(s);
    }
    static endpoint at(std::string_view address) { return {*ip_address::parse(address), test_port, 0}; }
    lookup_key key(std::uint32_t hash = 0) {
        lookup_key k = packet_to("198.18.0.1", test_port, hash);
        k.packet = datagram.get();
        k.payload = 28;
        k.looks_on = 0;
        return k;
    }
    /// A datagram with 28 bytes of headers and this payload.
    void payload(std::string_view bytes) {
        datagram = packet::allocate(pool.get(), static_cast<std::uint32_t>(28 + bytes.size()));
        packet::write(datagram, 28, std::as_bytes(std::span(bytes)));
    }
    std::size_t place(pcb* p) const {
        std::size_t i = 0;
        for (const auto& s : sockets) {
            if (&s == p) return i;
            i++;
        }
        return ~std::size_t(0);
    }
    std::size_t chosen(std::uint32_t hash = 0) { return place(bound.lookup(key(hash))); }
    std::uint64_t fallbacks() { return sockets.front().member_of->fallbacks(); }
    packet::pool pool = *packet::make_pool("selector", 63, 2048, SOCKET_ID_ANY, 0);
    rcu_domain rcu;
    seeded_random random{1};
    tables bound{rcu, random};
    std::list<test_socket> sockets;
    packet::packet datagram;
};

}  // namespace skua::udp
