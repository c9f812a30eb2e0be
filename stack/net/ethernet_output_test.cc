// Tests: framing.
#include <gtest/gtest.h>

#include "net/ethernet_output.hh"
#include "net/neighbour_test_support.hh"

namespace skua::net::test {
namespace {

class ethernet_output_test : public neighbour_test {
protected:
    framing frame(packet::packet& p, const ip_address& to, std::uint32_t out_ifindex = 0) {
        return frame_datagram(p, map->route_to(to, out_ifindex).value(), *table);
    }
    static void use_headroom(packet::packet& p, std::uint16_t left) {
        ASSERT_NE(p.prepend(static_cast<std::uint16_t>(rte_pktmbuf_headroom(p.get()) - left)), nullptr);
    }
};

TEST_F(ethernet_output_test, header) {
    packet::packet p = make("payload");
    ASSERT_TRUE(prepend_ethernet(p, peer_mac, own_mac, wire::ether_type::ipv6));
    EXPECT_EQ(bytes_of(p), std::string("\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x86\xddpayload", 21));
    EXPECT_EQ(p.get()->l2_len, 14);
}

TEST_F(ethernet_output_test, tag) {
    packet::packet p = make("payload");
    ASSERT_TRUE(prepend_ethernet(p, peer_mac, own_mac, wire::ether_type::ipv4));
    ASSERT_TRUE(insert_vlan(p, 0xfabc));
    EXPECT_EQ(bytes_of(p), std::string("\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x81\0\x0a\xbc\x08\0payload", 25));
    EXPECT_EQ(p.get()->l2_len, 18);
}

TEST_F(ethernet_output_test, no_headroom) {
    packet::packet p = make("payload");
    use_headroom(p, 13);
    const auto size = p.size();
    EXPECT_FALSE(prepend_ethernet(p, peer_mac, own_mac, wire::ether_type::ipv4));
    EXPECT_EQ(p.size(), size);
    EXPECT_EQ(frame(p, ip("198.18.0.255")), framing::no_headroom);
    use_headroom(p, 3);
    EXPECT_FALSE(insert_vlan(p, 1));
    EXPECT_EQ(p.size(), size + 10);
}

TEST_F(ethernet_output_test, neighbours) {
    packet::packet p = datagram(own4, peer4);
    EXPECT_EQ(frame(p, peer4), framing::unresolved);
    EXPECT_EQ(p.size(), 21u);
    hear(arp_frame{});
    EXPECT_EQ(frame(p, peer4), framing::framed);
    const auto* eth = p.header<wire::ethernet_header>(0);
    EXPECT_EQ(eth->destination, peer_mac);
    EXPECT_EQ(eth->source, own_mac);
    EXPECT_EQ(eth->type.host(), 0x0800);
    EXPECT_EQ(p.size(), 35u);
}

TEST_F(ethernet_output_test, gateway) {
    change([](topology_builder& b) { ASSERT_TRUE(b.add_route({prefix("::/0"), peer6})); });
    hear(solicitation());
    packet::packet p = datagram(own6, ip("2001:db8:f::1"));
    EXPECT_EQ(frame(p, ip("2001:db8:f::1")), framing::framed);
    EXPECT_EQ(p.header<wire::ethernet_header>(0)->destination, peer_mac);
    EXPECT_EQ(p.header<wire::ethernet_header>(0)->type.host(), 0x86dd);
}

TEST_F(ethernet_output_test, groups_and_broadcast) {
    const std::pair<const char*, const char*> ways[] = {{"224.129.2.3", "01:00:5e:01:02:03"},
                                                        {"ff02::1:ff00:2", "33:33:ff:00:00:02"},
                                                        {"255.255.255.255", "ff:ff:ff:ff:ff:ff"},
                                                        {"198.18.0.255", "ff:ff:ff:ff:ff:ff"}};
    for (const auto& [to, link] : ways) {
        packet::packet p = datagram(own4, ip(to));
        EXPECT_EQ(frame(p, ip(to), p0), framing::framed);
        EXPECT_EQ(p.header<wire::ethernet_header>(0)->destination, mac(link)) << to;
        EXPECT_EQ(p.header<wire::ethernet_header>(0)->type.host(), ip(to).is_v4() ? 0x0800 : 0x86dd);
    }
}

}  // namespace
}  // namespace skua::net::test
