// The Toeplitz hash against published vectors and against DPDK's own.
#include "port/toeplitz.hh"

#include <gtest/gtest.h>
#include <rte_thash.h>

#include <stdexcept>
#include <string_view>

#include "base/random.hh"
#include "port/request.hh"

namespace skua::port {
namespace {

// The key of Microsoft's "Verifying the RSS Hash Calculation".
constexpr std::array<std::uint8_t, 40> published_key{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                                     0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                                     0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                                     0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

struct vector_row {
    std::string_view destination;
    std::uint16_t destination_port;
    std::string_view source;
    std::uint16_t source_port;
    std::uint32_t addresses;
    std::uint32_t four_tuple;
};

constexpr vector_row published[] = {
    {"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
    {"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
    {"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
    {"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
    {"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
    {"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
    {"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
    {"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985, 0x02d1feef},
};

TEST(toeplitz, published_vectors) {
    const toeplitz hash(published_key);
    for (const auto& v : published) {
        const flow_key f{*ip_address::parse(v.destination), *ip_address::parse(v.source), v.destination_port,
                         v.source_port};
        EXPECT_EQ(hash.addresses(f), v.addresses) << v.source;
        EXPECT_EQ(hash(f), v.four_tuple) << v.source;
    }
}

flow_key random_flow(random_source& random, bool v4) {
    const auto address = [&]() -> ip_address {
        if (v4) {
            const auto r = static_cast<std::uint32_t>(random.next());
            return ipv4_address(be32(r));
        }
        ipv6_address a;
        for (auto& b : a.bytes) b = static_cast<std::uint8_t>(random.next());
        return a;
    };
    return {address(), address(), static_cast<std::uint16_t>(random.next()), static_cast<std::uint16_t>(random.next())};
}

std::uint32_t reference(const flow_key& f, bool v4, const std::vector<std::uint8_t>& key) {
    // rte_softrss wants host-order words.
    std::vector<std::uint32_t> words;
    const std::size_t n = v4 ? 4 : 16;
    for (const auto* a : {&f.remote, &f.local})
        for (std::size_t i = 16 - n; i < 16; i += 4) {
            const auto& b = a->bytes();
            words.push_back(std::uint32_t(b[i]) << 24 | std::uint32_t(b[i + 1]) << 16 | std::uint32_t(b[i + 2]) << 8 |
                            b[i + 3]);
        }
    words.push_back(std::uint32_t(f.remote_port) << 16 | f.local_port);
    std::vector<std::uint32_t> aligned(16);
    std::memcpy(aligned.data(), key.data(), std::min<std::size_t>(key.size(), 64));
    return rte_softrss(words.data(), static_cast<std::uint32_t>(words.size()),
                       reinterpret_cast<const std::uint8_t*>(aligned.data()));
}

TEST(toeplitz, agrees_with_dpdk_on_random_input) {
    seeded_random random(7);
    for (int round = 0; round < 20; round++) {
        const auto key = make_rss_key({}, round % 2 ? 40 : 52, random);
        const toeplitz hash(key);
        for (int i = 0; i < 100; i++) {
            const bool v4 = i % 2;
            const auto f = random_flow(random, v4);
            ASSERT_EQ(hash(f), reference(f, v4, key)) << f.local.to_string() << " " << f.remote.to_string();
        }
    }
}

TEST(toeplitz, longer_key_with_the_same_beginning_gives_the_same_hash) {
    seeded_random random(3);
    std::vector<std::uint8_t> longer = make_rss_key({}, 52, random);
    const auto beginning = std::span<const std::uint8_t>(longer).first(40);
    const toeplitz a(longer), b(beginning);
    for (int i = 0; i < 100; i++) {
        const auto f = random_flow(random, i % 2);
        ASSERT_EQ(a(f), b(f));
    }
}

TEST(toeplitz, symmetric_key_gives_both_directions_one_hash) {
    seeded_random random(4);
    const toeplitz hash(make_rss_key({.key = rss_options::key_kind::symmetric}, 40, random));
    const toeplitz other(published_key);
    for (int i = 0; i < 100; i++) {
        const auto f = random_flow(random, i % 2);
        const flow_key back{f.remote, f.local, f.remote_port, f.local_port};
        ASSERT_EQ(hash(f), hash(back));
        ASSERT_NE(other(f), other(back));
    }
}

TEST(toeplitz, refuses_a_short_key) {
    const auto shorter = std::span(published_key).first(39);
    EXPECT_THROW(toeplitz{shorter}, std::invalid_argument);
}

}  // namespace
}  // namespace skua::port
