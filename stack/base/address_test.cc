// Tests of addresses, prefixes and endpoints: values, classes and text.
#include "base/address.hh"

#include <gtest/gtest.h>

namespace skua {
namespace {

ip_address ip(std::string_view text) {
    const auto a = ip_address::parse(text);
    EXPECT_TRUE(a) << text;
    return a.value_or(ip_address());
}

ip_prefix prefix(std::string_view text) {
    const auto p = ip_prefix::parse(text);
    EXPECT_TRUE(p) << text;
    return p.value_or(ip_prefix());
}

TEST(mac, text) {
    const mac_address mac{{0x52, 0x54, 0, 0xab, 0xcd, 0xef}};
    EXPECT_EQ(to_string(mac), "52:54:00:ab:cd:ef");
    EXPECT_EQ(parse_mac("52:54:00:ab:cd:ef"), mac);
    EXPECT_EQ(parse_mac("52:54:00:AB:CD:EF"), mac);
}

TEST(mac, refuses_what_is_no_mac) {
    for (const char* text : {"", "52:54:00:00:00", "52:54:00:00:00:0", "52:54:00:00:00:001", "52-54-00-00-00-01",
                             "525400000001", "52:54:00:00:00:0g", " 52:54:00:00:00:1", "52:54:00:00:00:01:",
                             "5:254:00:00:00:01", "0x:54:00:00:00:01", "-1:54:00:00:00:01", "+1:54:00:00:00:01"})
        EXPECT_FALSE(parse_mac(text)) << text;
}

TEST(mac, classes) {
    EXPECT_TRUE(mac_address::broadcast().is_multicast());
    EXPECT_TRUE((mac_address{{0x01, 0, 0x5e, 0, 0, 1}}).is_multicast());
    EXPECT_FALSE((mac_address{{0x52, 0xff, 0xff, 0xff, 0xff, 0xff}}).is_multicast());
    EXPECT_TRUE(mac_address{}.is_zero());
    EXPECT_FALSE((mac_address{{0, 0, 0, 0, 0, 1}}).is_zero());
    EXPECT_LT((mac_address{{1, 2, 3, 4, 5, 6}}), (mac_address{{1, 2, 3, 4, 6, 0}}));
}

TEST(address, ipv4_is_kept_mapped) {
    const ip_address a = ipv4_address(198, 18, 0, 1);
    const std::array<std::uint8_t, 16> bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 18, 0, 1};
    EXPECT_EQ(a.bytes(), bytes);
    EXPECT_TRUE(a.is_v4());
    EXPECT_EQ(a.family(), ip_family::v4);
    EXPECT_EQ(a.v4().host(), 0xc6120001u);
    EXPECT_EQ(a.v4(), ipv4_address(be32(0xc6120001)));
    EXPECT_EQ(ip_address(a.v6()), a);
    EXPECT_EQ(ip("::ffff:198.18.0.1"), a);
}

TEST(address, near_mapped_is_ipv6) {
    for (const char* text : {"::198.18.0.1", "::fffe:198.18.0.1", "::1:ffff:198.18.0.1", "1::ffff:198.18.0.1",
                             "::ff:198.18.0.1", "::ffff:0:198.18.0.1", "::", "::1", "64:ff9b::1"}) {
        EXPECT_FALSE(ip(text).is_v4()) << text;
        EXPECT_EQ(ip(text).family(), ip_family::v6) << text;
    }
}

TEST(address, is_the_same_at_compile_time) {
    constexpr ip_address a = ipv4_address(10, 0, 0, 1);
    static_assert(a.is_v4() && !a.is_any() && a.v4().host() == 0x0a000001);
    static_assert(ip_address::v4_any().is_v4() && ip_address::v4_any().is_any());
    static_assert(!ip_address::v6_any().is_v4() && ip_address::v6_any().is_any());
    static_assert(a == ip_address(ipv4_address(be32(0x0a000001))));
    EXPECT_EQ(ip("10.0.0.1"), a);
    constexpr auto high = ip_address(ipv6_address{{1, 2, 3, 4, 5, 6, 7, 8}}).high();
    EXPECT_EQ(ip("102:304:506:708::").high(), high);
}

TEST(address, any) {
    EXPECT_EQ(ip_address::any(ip_family::v4), ip("0.0.0.0"));
    EXPECT_EQ(ip_address::any(ip_family::v6), ip("::"));
    EXPECT_NE(ip("0.0.0.0"), ip("::"));
    EXPECT_FALSE(ip("0.0.0.1").is_any());
    EXPECT_FALSE(ip("::1").is_any());
    EXPECT_FALSE(ip("8000::").is_any());
}

TEST(address, loopback) {
    for (const char* text : {"127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"})
        EXPECT_TRUE(ip(text).is_loopback()) << text;
    for (const char* text : {"126.255.255.255", "128.0.0.0", "::", "::2", "1::1", "::127.0.0.1"})
        EXPECT_FALSE(ip(text).is_loopback()) << text;
}

TEST(address, multicast) {
    for (const char* text : {"224.0.0.0", "239.255.255.255", "ff00::", "ff02::1", "ffff::"})
        EXPECT_TRUE(ip(text).is_multicast()) << text;
    for (const char* text : {"223.255.255.255", "240.0.0.0", "255.255.255.255", "feff::", "::"})
        EXPECT_FALSE(ip(text).is_multicast()) << text;
}

TEST(address, link_local) {
    for (const char* text : {"169.254.0.0", "169.254.255.255", "fe80::", "fe80::1", "febf:ffff::"})
        EXPECT_TRUE(ip(text).is_link_local()) << text;
    for (const char* text : {"169.253.255.255", "169.255.0.0", "fe7f::", "fec0::", "::1"})
        EXPECT_FALSE(ip(text).is_link_local()) << text;
}

TEST(address, limited_broadcast) {
    EXPECT_TRUE(ip("255.255.255.255").is_limited_broadcast());
    EXPECT_FALSE(ip("255.255.255.254").is_limited_broadcast());
    EXPECT_FALSE(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").is_limited_broadcast());
}

TEST(address, orders_as_numbers) {
    EXPECT_LT(ip("10.0.0.1"), ip("10.0.0.2"));
    EXPECT_LT(ip("9.255.255.255"), ip("10.0.0.0"));
    EXPECT_LT(ip("255.255.255.255"), ip("1::"));
    EXPECT_LT(ip("::"), ip("0.0.0.0"));
}

TEST(address, text_follows_rfc5952) {
    for (const char* text :
         {"0.0.0.0", "198.18.0.1", "255.255.255.255", "::", "::1", "2001:db8::1", "fe80::1:0:0:1", "1:2:3:4:5:6:7:8"})
        EXPECT_EQ(ip(text).to_string(), text);
    EXPECT_EQ(ip("2001:0DB8:0:0:0:0:0:1").to_string(), "2001:db8::1");
    EXPECT_EQ(ip("::ffff:1.2.3.4").to_string(), "1.2.3.4");
    EXPECT_EQ(ip("0000:0000:0000:0000:0000:ffff:255.255.255.255").to_string(), "255.255.255.255");
}

TEST(address, refuses_what_is_no_address) {
    using namespace std::string_view_literals;
    for (const auto text : {""sv, std::string_view(), "1"sv, "1.2.3"sv, "1.2.3.4.5"sv, "256.0.0.1"sv, "1.2.3.4 "sv,
                            " 1.2.3.4"sv, "::1%lo"sv, "1::2::3"sv, ":"sv, "g::"sv, "[::1]"sv, "1.2.3.4\0"sv,
                            "::1\0junk"sv, "\0"sv, "0000:0000:0000:0000:0000:ffff:255.255.255.2555"sv})
        EXPECT_FALSE(ip_address::parse(text)) << text;
}

TEST(prefix, text) {
    for (const char* text : {"198.18.0.1/24", "0.0.0.0/0", "10.0.0.1/32", "2001:db8::1/64", "::/0", "::1/128"})
        EXPECT_EQ(prefix(text).to_string(), text);
    for (const char* text :
         {"", "/", "10.0.0.1", "10.0.0.1/", "/24", "10.0.0.1/33", "::1/129", "10.0.0.1/-1", "10.0.0.1/+1",
          "10.0.0.1/24 ", "10.0.0.1/a", "10.0.0.1/24/1", "10.0.0/24", "10.0.0.1/4294967297", "::ffff:1.2.3.4/120"})
        EXPECT_FALSE(ip_prefix::parse(text)) << text;
}

TEST(prefix, network) {
    EXPECT_EQ(prefix("198.18.77.99/24").network(), ip("198.18.77.0"));
    EXPECT_EQ(prefix("198.18.77.99/17").network(), ip("198.18.0.0"));
    EXPECT_EQ(prefix("198.18.77.99/32").network(), ip("198.18.77.99"));
    EXPECT_EQ(prefix("198.18.77.99/0").network(), ip("0.0.0.0"));
    EXPECT_EQ(prefix("2001:db8:ffff::1/33").network(), ip("2001:db8:8000::"));
    EXPECT_EQ(prefix("2001:db8::1/128").network(), ip("2001:db8::1"));
    EXPECT_EQ(prefix("2001:db8::1/0").network(), ip("::"));
}

TEST(prefix, contains_at_every_length) {
    const std::uint32_t base = 0xa5a5a5a5;
    for (unsigned length = 0; length <= 32; length++) {
        const ip_prefix p{ipv4_address(be32(base)), static_cast<std::uint8_t>(length)};
        for (unsigned bit = 0; bit < 32; bit++) {
            const ip_address other = ipv4_address(be32(base ^ 0x80000000u >> bit));
            EXPECT_EQ(p.contains(other), bit >= length) << length << ' ' << bit;
        }
    }
    for (unsigned length = 0; length <= 128; length++) {
        const ip_prefix p{ip("2001:db8:5555:aaaa:5555:aaaa:5555:aaaa"), static_cast<std::uint8_t>(length)};
        EXPECT_TRUE(p.contains(p.address));
        for (unsigned bit = 0; bit < 128; bit++) {
            auto bytes = p.address.bytes();
            bytes[bit / 8] ^= static_cast<std::uint8_t>(0x80 >> bit % 8);
            EXPECT_EQ(p.contains(ipv6_address{bytes}), bit >= length) << length << ' ' << bit;
        }
    }
}

TEST(prefix, never_contains_the_other_family) {
    EXPECT_FALSE(prefix("0.0.0.0/0").contains(ip("::")));
    EXPECT_FALSE(prefix("::/0").contains(ip("0.0.0.0")));
    EXPECT_FALSE(prefix("::/0").contains(ip("10.0.0.1")));
}

TEST(prefix, broadcast) {
    EXPECT_EQ(prefix("198.18.0.1/24").broadcast(), ip("198.18.0.255"));
    EXPECT_EQ(prefix("198.18.0.1/30").broadcast(), ip("198.18.0.3"));
    EXPECT_EQ(prefix("198.18.0.1/1").broadcast(), ip("255.255.255.255"));
    EXPECT_EQ(prefix("0.0.0.0/0").broadcast(), ip("255.255.255.255"));
    EXPECT_FALSE(prefix("198.18.0.1/31").broadcast());  // RFC 3021
    EXPECT_FALSE(prefix("198.18.0.1/32").broadcast());
    EXPECT_FALSE(prefix("2001:db8::1/64").broadcast());
}

TEST(endpoint, text) {
    EXPECT_EQ((endpoint{ip("198.18.0.1"), 53}.to_string()), "198.18.0.1:53");
    EXPECT_EQ((endpoint{ip("2001:db8::1"), 65535}.to_string()), "[2001:db8::1]:65535");
    EXPECT_EQ((endpoint{}.to_string()), "[::]:0");
}

TEST(endpoint, differs_by_each_field) {
    const endpoint e{ip("fe80::1"), 53, 2};
    EXPECT_EQ(e, (endpoint{ip("fe80::1"), 53, 2}));
    EXPECT_NE(e, (endpoint{ip("fe80::2"), 53, 2}));
    EXPECT_NE(e, (endpoint{ip("fe80::1"), 54, 2}));
    EXPECT_NE(e, (endpoint{ip("fe80::1"), 53, 3}));
}

}  // namespace
}  // namespace skua
