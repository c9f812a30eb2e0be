// A neighbour table, and frames for it, for the tests of the neighbour machine.
#pragma once

#include <netinet/in.h>

#include <optional>

#include "base/rcu.hh"
#include "net/neighbour.hh"
#include "net/test_support.hh"
#include "wire/arp.hh"
#include "wire/checksum.hh"
#include "wire/ethernet.hh"
#include "wire/icmp.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"

namespace skua::net::test {

using namespace std::chrono_literals;

inline const mac_address own_mac = mac("02:00:00:00:00:01");
inline const mac_address peer_mac = mac("02:00:00:00:00:02");
inline const mac_address other_mac = mac("02:00:00:00:00:03");
inline const ip_address own4 = ip("198.18.0.1");
inline const ip_address peer4 = ip("198.18.0.2");
inline const ip_address own6 = ip("2001:db8::1");
inline const ip_address peer6 = ip("2001:db8::2");

struct arp_frame {
    std::uint16_t operation = wire::arp_request;
    mac_address sender_mac = peer_mac;
    ip_address sender_ip = peer4;
    mac_address target_mac = {};
    ip_address target_ip = own4;
    mac_address destination = mac_address::broadcast();
};

struct nd_frame {
    std::uint8_t type = wire::icmp6::neighbor_advertisement;
    ip_address source = peer6;
    ip_address destination = own6;
    ip_address target = peer6;
    std::uint32_t flags = wire::nd_solicited | wire::nd_override;
    std::optional<mac_address> link = peer_mac;
    mac_address ethernet_source = peer_mac;
    std::uint8_t code = 0;
    std::uint8_t hop_limit = 255;
    std::string more_options = {};
    std::uint32_t cut = 0;  // bytes
};

class neighbour_test : public net_test {
protected:
    neighbour_test() { make_table({}); }
    void TearDown() override {
        table.reset();
        net_test::TearDown();
    }
    void make_table(neighbour_options options) {
        table.reset();
        table.emplace(rcu, random, options);
        tick();
        out.clear();  // announcements
    }
    void tick() { table->tick(ctx(), out); }
    /// Ticks every 100 ms.
    void pass(nanoseconds time) {
        for (const time_point end = now + time; now < end;) {
            now += std::min<nanoseconds>(100ms, end - now);
            tick();
        }
    }

    neighbour_state state_of(const ip_address& a, std::uint32_t ifindex = p0) const {
        for (const auto& n : table->list())
            if (n.address == a && n.ifindex == ifindex) return n.state;
        return neighbour_state::none;
    }
    std::optional<mac_address> resolved(const ip_address& a, std::uint32_t ifindex = p0) const {
        mac_address found;
        if (!table->resolve(ifindex, a, found)) return {};
        return found;
    }

    /// An IP datagram with `tag` as its last byte.
    packet::packet datagram(const ip_address& from, const ip_address& to, char tag = 0) {
        std::string bytes;
        if (to.is_v4()) {
            wire::ipv4_header h{};
            h.version_ihl = 0x45;
            h.source = from.v4();
            h.destination = to.v4();
            bytes.assign(reinterpret_cast<const char*>(&h), sizeof h);
        } else {
            wire::ipv6_header h{};
            h.version_class_flow = be32(6u << 28);
            h.source = from.v6();
            h.destination = to.v6();
            bytes.assign(reinterpret_cast<const char*>(&h), sizeof h);
        }
        return make(bytes + tag);
    }
    void park(const ip_address& to, char tag = 0) {
        table->park(datagram(to.is_v4() ? own4 : own6, to, tag), p0, to, ctx(), out);
    }

    packet::packet frame_of(const arp_frame& f) {
        const wire::ethernet_header eth{f.destination, f.sender_mac, be16(0x0806)};
        const wire::arp_packet arp{
            be16(1),      be16(0x0800),    6, 4, be16(f.operation), f.sender_mac, f.sender_ip.v4(),
            f.target_mac, f.target_ip.v4()};
        std::string bytes(reinterpret_cast<const char*>(&eth), sizeof eth);
        bytes.append(reinterpret_cast<const char*>(&arp), sizeof arp);
        bytes.resize(60);  // as Ethernet pads it
        return make(bytes);
    }
    packet::verdict hear(packet::packet p, const arp_frame& f = {}) {
        packet::rx_info about;
        about.ifindex = p0;
        about.l3_offset = 14;
        about.link_multicast = f.destination.is_multicast();
        const auto v = table->arp_input(p, about, ctx(), out);
        EXPECT_EQ(v.next == packet::step::held, !p);
        return v;
    }
    packet::verdict hear(const arp_frame& f) { return hear(frame_of(f), f); }
    packet::verdict hear_arp_reply(const mac_address& from = peer_mac) {
        return hear({.operation = wire::arp_reply, .sender_mac = from, .target_mac = own_mac, .destination = own_mac});
    }

    packet::verdict hear(const nd_frame& f) {
        const bool solicitation = f.type == wire::icmp6::neighbor_solicitation;
        const wire::ethernet_header eth{own_mac, f.ethernet_source, be16(0x86dd)};
        wire::nd_message m{};
        m.icmp.type = f.type;
        m.icmp.code = f.code;
        m.icmp.rest = be32(solicitation ? 0 : f.flags);
        m.target = f.target.v6();
        std::string bytes(reinterpret_cast<const char*>(&eth), sizeof eth);
        bytes.append(sizeof(wire::ipv6_header), '\0');
        bytes.append(reinterpret_cast<const char*>(&m), sizeof m);
        if (f.link) {
            const wire::nd_link_option o{solicitation ? wire::nd_source_link : wire::nd_target_link, 1, *f.link};
            bytes.append(reinterpret_cast<const char*>(&o), sizeof o);
        }
        bytes += f.more_options;
        bytes.resize(bytes.size() - f.cut);
        packet::packet p = make(bytes);
        packet::rx_info about;
        about.ifindex = p0;
        about.l3_offset = 14;
        about.l4_offset = 54;
        about.l4_length = p.size() - 54;
        about.hop_limit = f.hop_limit;
        about.family = ip_family::v6;
        about.flow.remote = f.source;
        about.flow.local = f.destination;
        const auto v = table->nd_input(p, about, ctx(), out);
        EXPECT_EQ(v.next == packet::step::held, !p);
        return v;
    }
    /// A solicitation from the peer for our address.
    static nd_frame solicitation() {
        return {.type = wire::icmp6::neighbor_solicitation, .destination = ip("ff02::1:ff00:1"), .target = own6};
    }

    template <class Header>
    static const Header& at(const fake_sender::sent& s, std::size_t offset) {
        return *s.p.header<Header>(offset);
    }
    static const wire::ethernet_header& eth(const fake_sender::sent& s) { return at<wire::ethernet_header>(s, 0); }
    static const wire::arp_packet& arp(const fake_sender::sent& s) { return at<wire::arp_packet>(s, 14); }
    static const wire::ipv6_header& ip6(const fake_sender::sent& s) { return at<wire::ipv6_header>(s, 14); }
    static const wire::nd_message& nd(const fake_sender::sent& s) { return at<wire::nd_message>(s, 54); }
    static const wire::nd_link_option& option(const fake_sender::sent& s) { return at<wire::nd_link_option>(s, 78); }

    rcu_domain rcu;
    std::optional<neighbour_table> table;
};

}  // namespace skua::net::test
