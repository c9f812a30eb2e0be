// Tests of the keyed hash: spread over slots for the inputs that real traffic and attackers bring.
#include "base/hash.hh"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>
#include <vector>

namespace skua {
namespace {

ipv4_address v4(std::uint32_t host) { return ipv4_address(be32(host)); }

ip_address v6(std::uint16_t subnet, std::uint16_t host) {
    ipv6_address a{{0x20, 0x01, 0x0d, 0xb8}};
    a.bytes[6] = static_cast<std::uint8_t>(subnet >> 8);
    a.bytes[7] = static_cast<std::uint8_t>(subnet);
    a.bytes[14] = static_cast<std::uint8_t>(host >> 8);
    a.bytes[15] = static_cast<std::uint8_t>(host);
    return a;
}

/// How far the load of the slots is from chance, in standard deviations of chi-square.
double deviation(std::size_t slots, std::size_t items, const std::function<std::uint32_t(std::uint32_t)>& hash_of) {
    std::vector<unsigned> load(slots);
    for (std::uint32_t i = 0; i < items; i++) load[hash_of(i) & (slots - 1)]++;
    const double expected = double(items) / double(slots);
    double chi = 0;
    for (const unsigned n : load) chi += (n - expected) * (n - expected) / expected;
    return (chi - double(slots - 1)) / std::sqrt(2.0 * double(slots - 1));
}

struct series {
    const char* name;
    std::uint32_t (*hash)(const keyed_hash&, std::uint32_t i);
};

const series all_series[] = {
    {"ports of an address", [](const keyed_hash& h, std::uint32_t i) { return h(v4(0xc6120001), i); }},
    {"neighbouring IPv4 addresses", [](const keyed_hash& h, std::uint32_t i) { return h(v4(0xc6120000 + i), 53); }},
    {"IPv4 subnets", [](const keyed_hash& h, std::uint32_t i) { return h(v4(0x0a000001 + (i << 8)), 53); }},
    {"neighbouring IPv6 addresses",
     [](const keyed_hash& h, std::uint32_t i) { return h(v6(1, std::uint16_t(i)), 53); }},
    {"IPv6 subnets", [](const keyed_hash& h, std::uint32_t i) { return h(v6(std::uint16_t(i), 1), 53); }},
    {"remote ports",
     [](const keyed_hash& h, std::uint32_t i) {
         return h(flow_key{v4(0xc6120001), v4(0xc6130001), 53, std::uint16_t(i)});
     }},
    {"remote addresses",
     [](const keyed_hash& h, std::uint32_t i) {
         return h(flow_key{v4(0xc6120001), v4(0xc6130000 + i), 53, 1024});
     }},
    {"remote addresses and ports",
     [](const keyed_hash& h, std::uint32_t i) {
         return h(flow_key{v4(0xc6120001), v4(0xc6130000 + i % 64), 53, std::uint16_t(1024 + i / 64)});
     }},
};

// Many keys, since it is the unlucky key that hurts. Six deviations are passed by chance about once in 10^6 or less.
TEST(keyed_hash, spreads_every_series_evenly_under_every_key) {
    for (std::uint64_t seed = 0; seed < 300; seed++) {
        seeded_random random(seed);
        const keyed_hash hash(random);
        for (const auto& s : all_series)
            EXPECT_LT(deviation(1024, 4096, [&](std::uint32_t i) { return s.hash(hash, i); }), 6)
                << s.name << ", seed " << seed;
    }
}

TEST(keyed_hash, uses_all_32_bits) {
    seeded_random random(1);
    const keyed_hash hash(random);
    for (const auto& s : all_series)
        for (const unsigned shift : {10u, 22u})
            EXPECT_LT(deviation(1024, 4096, [&](std::uint32_t i) { return s.hash(hash, i) >> shift; }), 6) << s.name;
}

TEST(keyed_hash, each_field_counts) {
    seeded_random random(1);
    const keyed_hash hash(random);
    const flow_key base{v4(1), v4(2), 3, 4};
    std::set<std::uint32_t> seen{hash(base)};
    seen.insert(hash(flow_key{v4(9), v4(2), 3, 4}));
    seen.insert(hash(flow_key{v4(1), v4(9), 3, 4}));
    seen.insert(hash(flow_key{v4(1), v4(2), 9, 4}));
    seen.insert(hash(flow_key{v4(1), v4(2), 3, 9}));
    seen.insert(hash(flow_key{v4(2), v4(1), 4, 3}));
    seen.insert(hash(flow_key{v4(2), v4(1), 3, 4}));
    seen.insert(hash(flow_key{v4(1), v4(2), 4, 3}));
    EXPECT_EQ(seen.size(), 8u);
    EXPECT_NE(hash(v4(1), 1), hash(v4(1), 1ull << 32));
    EXPECT_NE(hash(ip_address::v4_any(), 1), hash(ip_address::v6_any(), 1));
}

TEST(keyed_hash, same_key_same_hash_other_key_other_hash) {
    seeded_random one(1), again(1), two(2);
    const keyed_hash a(one), b(again), c(two);
    unsigned same = 0;
    for (std::uint16_t port = 0; port < 1000; port++) {
        const flow_key f{v4(1), v4(2), 53, port};
        EXPECT_EQ(a(f), b(f));
        EXPECT_EQ(a(v4(1), port), b(v4(1), port));
        same += a(f) == c(f);
    }
    EXPECT_LE(same, 1u);
}

// What collides under one key is of no use under another: a set aimed at one slot spreads once the key is changed.
TEST(keyed_hash, a_set_aimed_at_one_slot_under_another_key_spreads) {
    seeded_random known(1), secret(2);
    const keyed_hash theirs(known), ours(secret);
    std::vector<flow_key> aimed;
    for (std::uint32_t i = 0; aimed.size() < 2048; i++) {
        const flow_key f{v4(0xc6120001), v4(0x0a000000 + i), 53, 1024};
        if (theirs(f) % 64 == 0) aimed.push_back(f);
    }
    EXPECT_LT(deviation(64, aimed.size(), [&](std::uint32_t i) { return ours(aimed[i]); }), 6);
}

}  // namespace
}  // namespace skua
