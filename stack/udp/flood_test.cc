// Hash flooding: who knows the code, but not the key, tries to crowd one bucket of the lookup tables.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <vector>

#include "base/hash.hh"
#include "base/rcu_buckets.hh"
#include "support/sanitized.hh"
#include "udp/tables_fixture.hh"

namespace skua::udp {

namespace {

constexpr std::size_t tuples = 100000;
constexpr std::uint64_t keys_tried = test::sanitized ? 1 : 3;

struct node {
    flow_key flow;
};
struct by_flow {
    const keyed_hash& hash;
    std::uint32_t operator()(const node& n) const { return hash(n.flow); }
};
struct by_address {
    const keyed_hash& hash;
    std::uint32_t operator()(const node& n) const { return hash(n.flow.local, n.flow.local_port); }
};

/// How crowded the most crowded bucket of a table is.
struct crowd {
    std::size_t lines = 0;         // as a reader walks them
    std::size_t entries = 0;       // of 32,768 buckets
    std::size_t equal_hashes = 0;  // pairs with one and the same hash
};

template <class HashOf>
crowd fill(const std::vector<flow_key>& flows, HashOf hash_of) {
    rcu_domain rcu;
    rcu_buckets<node, HashOf> table(rcu, hash_of);
    std::deque<node> nodes;
    std::vector<std::uint32_t> hashes;
    std::vector<std::size_t> of_bucket(32768);
    crowd c;
    for (const auto& f : flows) {
        table.insert(nodes.emplace_back(node{f}));
        hashes.push_back(hash_of(nodes.back()));
        c.entries = std::max(c.entries, ++of_bucket[hashes.back() % of_bucket.size()]);
    }
    std::ranges::sort(hashes);
    for (std::size_t i = 0; i < hashes.size(); i += 4) c.lines = std::max(c.lines, table.lines_of(hashes[i]));
    for (std::size_t i = 1; i < hashes.size(); i++) c.equal_hashes += hashes[i] == hashes[i - 1];
    return c;
}

ip_address v6(std::uint64_t high, std::uint64_t low) {
    ipv6_address a;
    for (unsigned i = 0; i < 8; i++) {
        a.bytes[i] = static_cast<std::uint8_t>(high >> (8 * i));
        a.bytes[8 + i] = static_cast<std::uint8_t>(low >> (8 * i));
    }
    return a;
}

/// A peer that the attacker may choose freely, of either family.
flow_key with_peer(const ip_address& remote, std::uint64_t port) {
    flow_key f;
    f.local = remote.is_v4() ? addr("198.18.0.1") : addr("2001:db8::1");
    f.local_port = 443;
    f.remote = remote;
    f.remote_port = static_cast<std::uint16_t>(port);
    return f;
}
flow_key v4_peer(std::uint64_t host, std::uint64_t port) {
    return with_peer(ipv4_address(be32(static_cast<std::uint32_t>(host))), port);
}

using attack = std::function<flow_key(std::uint64_t i)>;

/// The halves of an address are numbers as the machine reads them, as the hash does: the attacker aims at its words.
const std::vector<std::pair<const char*, attack>> attacks = {
    {"ports in turn, then addresses", [](auto i) { return v4_peer(0x0a000001 + i / 60000, 1024 + i % 60000); }},
    {"addresses in turn", [](auto i) { return v4_peer(0x0a000000 + i, 4444); }},
    {"the low bits of address and port the same", [](auto i) { return v4_peer((i % 4096) << 20, (i / 4096) << 10); }},
    {"the high bits the same", [](auto i) { return v4_peer(0x0a0a0000 + i % 512, 50000 + i / 512); }},
    {"address and port move against each other", [](auto i) { return v4_peer(0x0a000000 + i, 65535 - i % 60000); }},
    {"interface identifiers in turn", [](auto i) { return with_peer(v6(0xb80d0120, __builtin_bswap64(i)), 4444); }},
    {"networks in turn", [](auto i) { return with_peer(v6(0xb80d0120 | i << 32, 1), 4444); }},
    {"words that the multiplier of fold() makes small",
     [](auto i) {
         constexpr std::uint64_t inverse = 0xf1de83e19937733dull;  // of 0x9e3779b97f4a7c15, mod 2^64
         static_assert(inverse * 0x9e3779b97f4a7c15ull == 1);
         return with_peer(v6(0xb80d0120, i * inverse), 4444);
     }},
    {"high and low words that swap",
     [](auto i) {
         return with_peer(i % 2 ? v6(0x20 | i << 8, 0x20 | (i / 2) << 24) : v6(0x20 | (i / 2) << 24, 0x20 | i << 8), 1);
     }},
    {"multiples of large powers of two",
     [](auto i) { return with_peer(v6(0x20 | (i % 256) << 56, (i / 256) << 52), 1); }},
    {"two bits set",
     [](auto i) {
         const auto a = 8 + i % 120, b = 8 + i / 120 % 120;
         const auto bit = [](auto n, unsigned half) { return n / 64 == half ? std::uint64_t(1) << n % 64 : 0; };
         return with_peer(v6(0x20 | bit(a, 0) | bit(b, 0), bit(a, 1) | bit(b, 1)), i / 14400);
     }},
};

std::vector<flow_key> attacked(const attack& a) {
    std::vector<flow_key> all;
    for (std::uint64_t i = 0; i < tuples; i++) all.push_back(a(i));
    // "Two bits set" has some twice: those are twins, not collisions.
    const auto order = [](const flow_key& x, const flow_key& y) {
        return std::tie(x.remote, x.remote_port) < std::tie(y.remote, y.remote_port);
    };
    std::ranges::sort(all, order);
    all.erase(std::unique(all.begin(), all.end()), all.end());  // clang 14 cannot compile std::ranges::unique
    EXPECT_GE(all.size(), tuples / 2);
    return all;
}

std::vector<flow_key> at_random(random_source& random) {
    std::vector<flow_key> all;
    for (std::size_t i = 0; i < tuples; i++) all.push_back(with_peer(v6(random() | 0x20, random()), random()));
    return all;
}

/// Chance, for 100,000 entries: 16 or 17 in the fullest bucket, which is up to three lines, and 1.2 pairs of one hash.
void expect_chance(const crowd& c, const crowd& chance) {
    EXPECT_LE(c.entries, chance.entries + 6);
    EXPECT_LE(c.lines, std::max<std::size_t>(chance.lines, 3) + 1);
    EXPECT_LE(c.equal_hashes, 12u);
}

/// The same values as local addresses: the address table is asked for those.
std::vector<flow_key> as_local(std::vector<flow_key> flows) {
    for (auto& f : flows) {
        std::swap(f.local, f.remote);
        std::swap(f.local_port, f.remote_port);
    }
    return flows;
}

}  // namespace

TEST(flood, chosen_peers_crowd_no_bucket_of_the_four_tuple_table) {
    for (std::uint64_t key = 1; key <= keys_tried; key++) {
        seeded_random random(key);
        const keyed_hash hash(random);
        const crowd chance = fill(at_random(random), by_flow{hash});
        for (const auto& [name, how] : attacks) {
            SCOPED_TRACE(name);
            expect_chance(fill(attacked(how), by_flow{hash}), chance);
        }
    }
}

TEST(flood, chosen_addresses_crowd_no_bucket_of_the_address_table) {
    for (std::uint64_t key = 1; key <= keys_tried; key++) {
        seeded_random random(key);
        const keyed_hash hash(random);
        const crowd chance = fill(as_local(at_random(random)), by_address{hash});
        for (const auto& [name, how] : attacks) {
            SCOPED_TRACE(name);
            expect_chance(fill(as_local(attacked(how)), by_address{hash}), chance);
        }
    }
}

// The attacker runs the code with a key of his own and keeps the one tuple in 256 that falls where he wants.
TEST(flood, what_collides_under_another_key_does_not_under_this) {
    seeded_random his_random(99);
    const keyed_hash his(his_random);
    std::vector<flow_key> flows;
    for (std::uint64_t i = 0; flows.size() < tuples; i++) {
        const flow_key f = v4_peer(i >> 16, i & 0xffff);
        if (his(f) % 256 == 5) flows.push_back(f);
    }
    // His own table would be crowded: the test can fail.
    EXPECT_GT(fill(flows, by_flow{his}).lines, 50u);
    for (std::uint64_t key = 1; key <= keys_tried; key++) {
        seeded_random random(key);
        const keyed_hash hash(random);
        expect_chance(fill(flows, by_flow{hash}), fill(at_random(random), by_flow{hash}));
    }
}

}  // namespace skua::udp
