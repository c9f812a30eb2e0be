// The MAC filter, VLAN tags and frames that end too early.
#include "net/ethernet_input.hh"

#include "net/ip_test_support.hh"

namespace skua::net::test {
namespace {

using packet::step;
using packet::verdict;
using wire::ether_type;

class ethernet_input_test : public net_test {
protected:
    static constexpr std::uint32_t vlan100 = 3;
    ethernet_input_test() {
        change([](topology_builder& b) {
            interface i;
            i.index = vlan100;
            i.name = "p0.100";
            i.port = 0;
            i.vlan = 100;
            i.mac = mac("02:00:00:00:00:64");
            ASSERT_TRUE(b.add_interface(i));
        });
    }
    verdict receive(const std::string& frame, std::uint64_t flags = 0, std::uint16_t tci = 0, std::uint16_t port = 0) {
        packet::packet p = make_exact(pool.get(), frame);
        p.get()->ol_flags |= flags;
        p.get()->vlan_tci = tci;
        p.get()->port = port;
        info = {};
        return ethernet_input(p, info, ctx());
    }
    packet::rx_info info;
};

TEST_F(ethernet_input_test, takes_frames_for_our_mac) {
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv4, "x")), verdict(step::ipv4));
    EXPECT_EQ(info.l3_offset, 14);
    EXPECT_EQ(info.ifindex, p0);
    EXPECT_FALSE(info.link_multicast);
    EXPECT_FALSE(info.to_broadcast);
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv6, "x")), verdict(step::ipv6));
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::arp, "x")), verdict(step::arp));
}

TEST_F(ethernet_input_test, takes_broadcast_and_ip_multicast) {
    EXPECT_EQ(receive(ethernet("ff:ff:ff:ff:ff:ff", ether_type::arp, "")), verdict(step::arp));
    EXPECT_TRUE(info.to_broadcast);
    EXPECT_TRUE(info.link_multicast);
    EXPECT_EQ(receive(ethernet("01:00:5e:00:00:01", ether_type::ipv4, "")), verdict(step::ipv4));
    EXPECT_FALSE(info.to_broadcast);
    EXPECT_TRUE(info.link_multicast);
    EXPECT_EQ(receive(ethernet("33:33:00:00:00:01", ether_type::ipv6, "")), verdict(step::ipv6));
    EXPECT_TRUE(info.link_multicast);
}

TEST_F(ethernet_input_test, refuses_frames_for_others) {
    const verdict no = drop_reason::eth_not_for_us;
    EXPECT_EQ(receive(ethernet("02:00:00:00:00:02", ether_type::ipv4, "")), no);
    EXPECT_EQ(receive(ethernet("01:80:c2:00:00:00", ether_type::ipv4, "")), no);
    EXPECT_EQ(receive(ethernet("01:00:5e:80:00:01", ether_type::ipv4, "")), no);  // beyond the IPv4 block
    EXPECT_EQ(receive(ethernet("02:00:00:00:00:64", ether_type::ipv4, "")), no);  // of the VLAN interface
}

TEST_F(ethernet_input_test, refuses_unknown_types) {
    for (std::uint16_t type : {0x88a8, 0x86dc, 0x0042})
        EXPECT_EQ(receive(ethernet(our_mac, static_cast<ether_type>(type), "xxxx")),
                  verdict(drop_reason::eth_unknown_type));
    // One tag, not two.
    EXPECT_EQ(receive(tagged("02:00:00:00:00:64", 100, ether_type::vlan, std::string(8, 'x'))),
              verdict(drop_reason::eth_unknown_type));
}

TEST_F(ethernet_input_test, reads_tags_in_the_frame_or_from_the_nic) {
    EXPECT_EQ(receive(tagged("02:00:00:00:00:64", 0xe000 | 100, ether_type::ipv6, "x")), verdict(step::ipv6));
    EXPECT_EQ(info.ifindex, vlan100);
    EXPECT_EQ(info.l3_offset, 18);
    EXPECT_EQ(receive(ethernet("02:00:00:00:00:64", ether_type::ipv4, "x"),
                      RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED, 0xe000 | 100),
              verdict(step::ipv4));
    EXPECT_EQ(info.ifindex, vlan100);
    EXPECT_EQ(info.l3_offset, 14);
}

TEST_F(ethernet_input_test, takes_a_priority_tag_for_no_tag) {
    EXPECT_EQ(receive(tagged(our_mac, 0xe000, ether_type::ipv4, "x")), verdict(step::ipv4));
    EXPECT_EQ(info.ifindex, p0);
    EXPECT_EQ(info.l3_offset, 18);
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv4, "x"), RTE_MBUF_F_RX_VLAN_STRIPPED, 0xe000),
              verdict(step::ipv4));
    EXPECT_EQ(info.ifindex, p0);
}

TEST_F(ethernet_input_test, refuses_unknown_vlans_and_ports) {
    const verdict no = drop_reason::vlan_unknown;
    EXPECT_EQ(receive(tagged(our_mac, 101, ether_type::ipv4, "")), no);
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv4, ""), RTE_MBUF_F_RX_VLAN_STRIPPED, 7), no);
    EXPECT_EQ(receive(ethernet(our_mac, ether_type::ipv4, ""), 0, 0, 1), no);
}

TEST_F(ethernet_input_test, refuses_frames_cut_short) {
    const std::string plain = ethernet(our_mac, ether_type::ipv4, "");
    for (std::size_t n = 0; n < 14; n++) EXPECT_EQ(receive(plain.substr(0, n)), verdict(drop_reason::eth_truncated));
    const std::string tag = tagged("02:00:00:00:00:64", 100, ether_type::ipv4, "");
    for (std::size_t n = 14; n < 18; n++) EXPECT_EQ(receive(tag.substr(0, n)), verdict(drop_reason::vlan_truncated));
    EXPECT_EQ(receive(tag), verdict(step::ipv4));
}

TEST_F(ethernet_input_test, loopback_goes_by_the_version) {
    const auto looped = [this](const std::string& bytes) {
        packet::packet p = make_exact(pool.get(), bytes);
        info = {};
        info.l3_offset = 99;
        return loopback_input(p, info);
    };
    EXPECT_EQ(looped("\x45"), verdict(step::ipv4));
    EXPECT_TRUE(info.local_origin);
    EXPECT_EQ(info.ifindex, loopback_ifindex);
    EXPECT_EQ(info.l3_offset, 0);
    EXPECT_EQ(looped("\x60"), verdict(step::ipv6));
    EXPECT_EQ(looped("\x50"), verdict(drop_reason::ipv4_bad_version));
    EXPECT_EQ(looped(""), verdict(drop_reason::ipv4_truncated));
}

}  // namespace
}  // namespace skua::net::test
