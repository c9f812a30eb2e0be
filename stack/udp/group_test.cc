// Buckets: even, and moved as little as can be.
#include "udp/group.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "port/toeplitz.hh"
#include "support/sanitized.hh"
#include "udp/selector.hh"
#include "udp/tables_fixture.hh"

namespace skua::udp {

namespace {

std::vector<pcb*> owners(const member_table& t, std::uint32_t flows) {
    std::vector<pcb*> out;
    for (std::uint32_t h = 0; h < flows; h++) out.push_back(t.pick(h));
    return out;
}

class member_table_test : public testing::Test {
protected:
    void expect_even() {
        std::map<pcb*, std::size_t> loads;
        for (auto* p : owners(table, static_cast<std::uint32_t>(table.bucket_count()))) loads[p]++;
        ASSERT_EQ(loads.size(), table.size());
        const std::size_t least = table.bucket_count() / table.size();
        for (const auto& [p, n] : loads) ASSERT_TRUE(n == least || n == least + 1) << n << " of " << least;
    }
    test_socket& join(std::uint32_t weight = 1) {
        auto& s = sockets.emplace_back(ip_family::v4);
        table.join(s, ++order, weight);
        return s;
    }
    std::map<pcb*, std::size_t> loads() {
        std::map<pcb*, std::size_t> out;
        for (auto& s : sockets) out[&s] = 0;
        for (auto* p : owners(table, static_cast<std::uint32_t>(table.bucket_count()))) out[p]++;
        return out;
    }

    rcu_domain rcu;
    member_table table{rcu};
    std::list<test_socket> sockets;
    place_order order = 0;
};

}  // namespace

TEST_F(member_table_test, one_member_has_all) {
    auto& s = join();
    EXPECT_EQ(table.pick(0), &s);
    EXPECT_EQ(table.pick(0xffffffff), &s);
    EXPECT_EQ(table.count(), 1u);
}

TEST_F(member_table_test, joining_takes_one_nth_and_moves_nothing_else) {
    join();
    join();
    EXPECT_EQ(table.bucket_count(), 512u);
    for (std::size_t n = 3; n <= 60; n++) {
        const auto before = owners(table, 512);
        auto& joiner = join();
        const auto after = owners(table, 512);
        std::size_t moved = 0;
        for (std::size_t b = 0; b < 512; b++) {
            if (before[b] == after[b]) continue;
            ASSERT_EQ(after[b], &joiner);
            moved++;
        }
        ASSERT_EQ(moved, 512 / n);
        expect_even();
    }
}

TEST_F(member_table_test, leaving_moves_only_the_leavers_buckets) {
    for (int i = 0; i < 20; i++) join();
    while (table.size() > 1) {
        auto leaver = std::next(sockets.begin(), static_cast<long>(table.size() / 2));
        const auto before = owners(table, 512);
        table.leave(*leaver);
        const auto after = owners(table, 512);
        for (std::size_t b = 0; b < 512; b++) {
            ASSERT_NE(after[b], &*leaver);
            if (before[b] != &*leaver) {
                ASSERT_EQ(before[b], after[b]);
            }
        }
        expect_even();
        sockets.erase(leaver);
    }
}

TEST_F(member_table_test, beyond_256_members_buckets_double_and_flows_stay) {
    for (int i = 0; i < 256; i++) join();
    EXPECT_EQ(table.bucket_count(), 512u);
    const auto before = owners(table, 8192);
    auto& joiner = join();
    EXPECT_EQ(table.bucket_count(), 1024u);
    const auto after = owners(table, 8192);
    for (std::size_t h = 0; h < before.size(); h++) {
        if (after[h] != &joiner) {
            ASSERT_EQ(before[h], after[h]);
        }
    }
    expect_even();
}

TEST_F(member_table_test, members_can_be_walked) {
    for (int i = 0; i < 9; i++) join();
    table.leave(*std::next(sockets.begin(), 4));
    std::set<pcb*> seen;
    table.for_each([&](pcb& p) { EXPECT_TRUE(seen.insert(&p).second); });
    EXPECT_EQ(seen.size(), 8u);
    EXPECT_FALSE(seen.contains(&*std::next(sockets.begin(), 4)));
    EXPECT_EQ(table.first_placed(), 1u);
    table.leave(sockets.back());
    EXPECT_EQ(table.last_placed(), 8u);
}

TEST_F(member_table_test, an_emptied_table_can_be_filled_again) {
    auto& a = join();
    table.leave(a);
    auto& b = join();
    EXPECT_EQ(table.pick(5), &b);
    EXPECT_EQ(table.count(), 1u);
}

TEST_F(member_table_test, buckets_are_shared_by_weight) {
    auto &one = join(1), &two = join(2), &five = join(5), &none = join(0);
    EXPECT_EQ(loads(), (std::map<pcb*, std::size_t>{{&one, 64}, {&two, 128}, {&five, 320}, {&none, 0}}));
    table.set_weight(two, 10);
    EXPECT_EQ(loads(), (std::map<pcb*, std::size_t>{{&one, 32}, {&two, 320}, {&five, 160}, {&none, 0}}));
    table.leave(two);
    EXPECT_EQ(loads().at(&five), 427u);  // 5/6 of 512
    EXPECT_EQ(loads().at(&one), 85u);
}

TEST_F(member_table_test, a_weight_that_needs_more_buckets_gets_them) {
    auto &light = join(1), &heavy = join(1000);
    EXPECT_EQ(table.bucket_count(), 2048u);
    EXPECT_EQ(loads().at(&light), 2u);
    table.set_weight(light, 1000);
    EXPECT_EQ(table.bucket_count(), 4096u);
    EXPECT_EQ(loads().at(&heavy), 2048u);
}

TEST_F(member_table_test, without_any_weight_the_flows_stay) {
    auto &a = join(), &b = join(0);
    table.set_weight(a, 0);
    EXPECT_EQ(loads().at(&a), 512u);
    table.leave(a);
    EXPECT_EQ(table.pick(77), &b);
    table.leave(b);
    EXPECT_EQ(table.size(), 0u);
}

// Webster's method: no move of one bucket makes the shares more even; and what changes moves nobody else's buckets.
TEST_F(member_table_test, random_weights_stay_in_proportion_and_move_least) {
    seeded_random random{7};
    std::map<pcb*, std::uint64_t> weights;
    for (int step = 0; step < 400; step++) {
        const auto before = owners(table, table.size() ? 4096 : 0);
        pcb* changed = nullptr;
        const auto weight = static_cast<std::uint32_t>(random.next() % 12);
        const auto what = random.next() % 3;
        if (weights.size() < 2 || (what == 0 && weights.size() < 40)) {
            changed = &join(weight);
            weights[changed] = weight;
        } else {
            changed = std::next(weights.begin(), static_cast<long>(random.next() % weights.size()))->first;
            if (what == 1) {
                table.set_weight(*changed, weight);
                weights[changed] = weight;
            } else {
                table.leave(*changed);
                weights.erase(changed);
                sockets.remove_if([&](auto& s) { return &s == changed; });
            }
        }
        if (before.empty()) continue;
        const auto after = owners(table, 4096);
        for (std::size_t h = 0; h < before.size(); h++)
            if (before[h] != after[h]) {
                ASSERT_TRUE(before[h] == changed || after[h] == changed) << step;
            }
        auto has = loads();
        for (const auto& [a, wa] : weights)
            for (const auto& [b, wb] : weights) {
                if (wb != 0 && wa == 0) {
                    ASSERT_EQ(has[a], 0u) << step;
                } else if (wb != 0 && has[a] != 0) {
                    ASSERT_LE((2 * has[a] - 1) * wb, (2 * has[b] + 1) * wa) << step;
                }
            }
    }
}

/// A million flows as a NIC would hash them.
class many_flows : public member_table_test {
protected:
    many_flows() {
        seeded_random random{11};
        std::vector<std::uint8_t> key(port::toeplitz::key_bytes);
        for (auto& b : key) b = static_cast<std::uint8_t>(random.next());
        const port::toeplitz hash(key);
        flow_key flow;
        flow.local = addr("198.18.0.1");
        flow.local_port = test_port;
        constexpr std::size_t flows = test::sanitized ? 200'000 : 1'000'000;
        hashes.reserve(flows);
        while (hashes.size() < flows) {
            const std::uint64_t bits = random.next();
            flow.remote = ipv4_address(be32(static_cast<std::uint32_t>(bits)));
            flow.remote_port = static_cast<std::uint16_t>(bits >> 32 | 1);
            hashes.push_back(hash(flow));
        }
    }
    /// Of the flows that fall to each member, against the buckets that it owns.
    double chi_square() {
        std::map<pcb*, double> got;
        for (const auto h : hashes) got[table.pick(h)]++;
        double sum = 0;
        for (const auto& [p, owned] : loads()) {
            const double expected =
                static_cast<double>(hashes.size() * owned) / static_cast<double>(table.bucket_count());
            sum += (got[p] - expected) * (got[p] - expected) / expected;
        }
        return sum;
    }
    template <class Pick>
    double moved(const std::vector<pcb*>& before, Pick&& pick) {
        std::size_t n = 0;
        for (std::size_t i = 0; i < hashes.size(); i++) n += pick(hashes[i]) != before[i];
        return static_cast<double>(n) / static_cast<double>(hashes.size());
    }
    template <class Pick>
    std::vector<pcb*> picks(Pick&& pick) {
        std::vector<pcb*> out;
        for (const auto h : hashes) out.push_back(pick(h));
        return out;
    }
    std::vector<std::uint32_t> hashes;
};

// Two members differ by one bucket of 512 at most, so what is left to chance is the hash.
TEST_F(many_flows, fall_evenly_on_2_to_64_members) {
    join();
    for (unsigned n = 2; n <= 64; n++) {
        join();
        expect_even();
        const double freedom = n - 1;
        // Beyond this one run in a million would fall by chance (Wilson, Hilferty 1931, at 4.75 standard deviations).
        const double bound = freedom * std::pow(1 - 2 / (9 * freedom) + 4.75 * std::sqrt(2 / (9 * freedom)), 3);
        ASSERT_LT(chi_square(), bound) << n << " members";
    }
}

TEST_F(many_flows, few_move_when_a_member_joins_or_leaves) {
    const modulo_selector modulo;
    const auto by_bucket = [&](std::uint32_t h) { return table.pick(h); };
    const auto by_modulo = [&](std::uint32_t h) {
        lookup_key key;
        key.hash = h;
        return modulo.choose(table, key);
    };
    join();
    for (const unsigned n : {2u, 3u, 4u, 5u, 8u, 13u, 16u, 32u, 48u, 64u}) {
        while (table.size() + 1 < n) join();
        auto buckets = picks(by_bucket), scaled = picks(by_modulo);
        auto& joiner = join();
        const double joined = moved(buckets, by_bucket), joined_modulo = moved(scaled, by_modulo);
        EXPECT_LE(joined, 1.1 / n);
        // Out of the middle, so that the last changes places.
        buckets = picks(by_bucket), scaled = picks(by_modulo);
        auto& leaver = n == 2 ? joiner : *std::next(sockets.begin(), n / 2);
        table.leave(leaver);
        const double left = moved(buckets, by_bucket), left_modulo = moved(scaled, by_modulo);
        EXPECT_LE(left, 1.1 / n);
        sockets.remove_if([&](auto& s) { return &s == &leaver; });
        std::printf("%2u members: a join moves %4.1f %% of the flows (modulo %4.1f %%), a leave %4.1f %% (%4.1f %%)\n",
                    n, 100 * joined, 100 * joined_modulo, 100 * left, 100 * left_modulo);
    }
}

namespace {

/// Flows come in as by a table of 128 entries over two shards or more, one after the other.
class aligned_member_table : public testing::Test {
protected:
    static constexpr std::uint32_t flows = 8192;

    void spread_over(std::uint16_t shards, std::size_t entries = 128) {
        std::vector<std::uint16_t> of(entries);
        for (std::size_t i = 0; i < entries; i++) of[i] = static_cast<std::uint16_t>(i % shards);
        over = spread(of);
        table.align();
    }
    test_socket& join(std::uint16_t home) {
        auto& s = sockets.emplace_back(ip_family::v4);
        s.home_shard = home;
        table.join(s, ++order);
        return s;
    }
    /// Flows that come in on another shard than their member's.
    std::size_t crossing() const {
        std::size_t n = 0;
        for (std::uint32_t h = 0; h < flows; h++) n += table.pick(h)->home_shard != over.shard_of(h);
        return n;
    }
    std::map<const pcb*, std::size_t> loads() const {
        std::map<const pcb*, std::size_t> found;
        for (std::uint32_t h = 0; h < flows; h++) found[table.pick(h)]++;
        return found;
    }
    void expect_within(std::size_t least, std::size_t most) const {
        const auto all = loads();
        EXPECT_EQ(all.size(), table.size());
        for (const auto& [p, n] : all) {
            EXPECT_GE(n, least);
            EXPECT_LE(n, most);
        }
    }

    rcu_domain rcu;
    spread over;
    member_table table{rcu, &over};
    std::list<test_socket> sockets;
    place_order order = 0;
};

}  // namespace

TEST_F(aligned_member_table, with_equal_members_no_flow_crosses_and_all_are_even) {
    for (const std::uint16_t shards : {2, 4, 8}) {
        spread_over(shards);
        for (std::uint16_t i = 0; i < 3 * shards; i++) join(i % shards);
        EXPECT_EQ(crossing(), 0u) << shards;
        expect_within(flows / table.size() * 9 / 10, flows / table.size() * 11 / 10 + 1);
        for (; table.size() > 0; sockets.pop_back()) table.leave(sockets.back());
    }
}

TEST_F(aligned_member_table, joining_and_leaving_moves_one_nth_at_most) {
    spread_over(4);
    for (std::uint16_t i = 0; i < 4; i++) join(i);
    for (std::uint16_t n = 5; n <= 24; n++) {
        const auto before = owners(table, 512);
        auto& joiner = join(n % 4);
        const auto after = owners(table, 512);
        std::size_t moved = 0;
        for (std::size_t b = 0; b < 512; b++) {
            if (before[b] == after[b]) continue;
            ASSERT_EQ(after[b], &joiner);
            moved++;
        }
        EXPECT_GT(moved, 0u);
        EXPECT_LE(moved, 512u / n + 1);
        EXPECT_EQ(crossing(), 0u);
    }
    while (table.size() > 4) {
        auto& leaver = sockets.back();
        const auto before = owners(table, 512);
        table.leave(leaver);
        const auto after = owners(table, 512);
        for (std::size_t b = 0; b < 512; b++) ASSERT_TRUE(before[b] == &leaver || before[b] == after[b]);
        sockets.pop_back();
        EXPECT_EQ(crossing(), 0u);
    }
}

TEST_F(aligned_member_table, all_share_the_flows_of_shards_without_members) {
    spread_over(4);
    join(1);
    join(1);
    join(2);
    // Half of the flows come in where somebody is at home.
    EXPECT_EQ(crossing(), flows / 2);
    expect_within(flows / 8 + flows / 7, flows / 4 + flows / 6 + 16);
    join(0);
    EXPECT_EQ(crossing(), flows / 4);
    table.leave(*std::next(sockets.begin(), 2));
    EXPECT_EQ(crossing(), flows / 2);
    EXPECT_EQ(loads().size(), 3u);
}

TEST_F(aligned_member_table, a_member_whose_home_receives_nothing_stands_in_where_fewest_are) {
    spread_over(2);
    join(0);
    join(1);
    join(0);
    auto& stranger = join(7);
    EXPECT_EQ(loads()[&stranger], flows / 4);
    for (std::uint32_t h = 0; h < flows; h++) ASSERT_TRUE(table.pick(h) != &stranger || over.shard_of(h) == 1);
    EXPECT_EQ(table.living_on(7), 1u);
}

TEST_F(aligned_member_table, follows_a_changed_spread_and_changed_homes) {
    for (std::uint16_t i = 0; i < 8; i++) join(i % 4);
    const auto even = owners(table, 512);
    spread_over(4);
    EXPECT_EQ(crossing(), 0u);
    const auto aligned = owners(table, 512);
    spread_over(2);
    EXPECT_EQ(loads().size(), 8u);
    std::uint16_t next = 0;
    for (auto& s : sockets) s.home_shard = next++ % 2;
    table.align();
    EXPECT_EQ(crossing(), 0u);
    expect_within(flows / 8, flows / 8);
    // Nothing moves that need not.
    const auto before = owners(table, 512);
    table.align();
    EXPECT_EQ(owners(table, 512), before);
    over = {};
    table.align();
    expect_within(flows / 8, flows / 8);
    EXPECT_EQ(owners(table, 512), before);
}

TEST_F(aligned_member_table, has_a_bucket_for_each_entry_of_a_larger_table) {
    spread_over(8, 2048);
    for (std::uint16_t i = 0; i < 8; i++) join(i);
    EXPECT_EQ(table.bucket_count(), 2048u);
    EXPECT_EQ(crossing(), 0u);
}

TEST_F(aligned_member_table, one_member_alone_then_another_spread) {
    spread_over(2);
    auto& first = join(0);
    join(1);
    table.leave(first);
    spread_over(4);
    join(3);
    EXPECT_EQ(crossing(), flows / 2);
    expect_within(flows / 2, flows / 2);
}

TEST_F(aligned_member_table, members_of_one_shard_share_by_weight) {
    spread_over(2);
    auto& one = join(0);
    join(1);
    auto& three = sockets.emplace_back(ip_family::v4);
    three.home_shard = 0;
    table.join(three, ++order, 3);
    EXPECT_EQ(crossing(), 0u);
    EXPECT_EQ(loads()[&one], flows / 8);
    EXPECT_EQ(loads()[&three], flows * 3 / 8);
    table.set_weight(one, 3);
    EXPECT_EQ(loads()[&one], flows / 4);
    // Without weight nobody is at home.
    table.set_weight(one, 0);
    table.set_weight(three, 0);
    EXPECT_EQ(loads().size(), 1u);
    table.set_weight(three, 1);
    EXPECT_EQ(loads()[&three], flows / 2);
    EXPECT_EQ(crossing(), 0u);
    table.leave(three);
    EXPECT_EQ(loads().size(), 1u);
}

TEST_F(aligned_member_table, random_changes_keep_members_at_home) {
    seeded_random random{3};
    spread_over(4);
    std::vector<test_socket*> in;
    for (int step = 0; step < 600; step++) {
        const auto what = random.below(8);
        if (what < 3 || in.size() < 2) {
            in.push_back(&join(static_cast<std::uint16_t>(random.below(6))));
        } else if (what < 5) {
            const auto at = in.begin() + static_cast<long>(random.below(in.size()));
            table.leave(**at);
            in.erase(at);
        } else if (what == 5) {
            table.set_weight(*in[random.below(in.size())], static_cast<std::uint32_t>(random.below(4)));
        } else if (what == 6) {
            in[random.below(in.size())]->home_shard = static_cast<std::uint16_t>(random.below(6));
            table.align();
        } else {
            spread_over(static_cast<std::uint16_t>(1 + random.below(5)));
        }
        for (std::uint32_t h = 0; h < 2048; h++) {
            auto* const p = static_cast<test_socket*>(table.pick(h));
            ASSERT_TRUE(std::ranges::find(in, p) != in.end()) << step;
        }
    }
}

class group_homes : public tables_fixture {
protected:
    group_homes() : tables_fixture({.shards = 4}) {}
    test_socket& free_member() {
        auto& s = make(ip_family::v4, {.reuse_port = true});
        s.home_fixed = false;
        EXPECT_TRUE(table.bind(s, {addr("10.0.0.1"), test_port, 0}));
        return s;
    }
    std::map<std::uint16_t, std::size_t> homes() const {
        std::map<std::uint16_t, std::size_t> n;
        for (const auto& s : sockets) n[s.home_shard]++;
        return n;
    }
};

TEST_F(group_homes, of_new_members_are_even) {
    make(ip_family::v4, {.reuse_port = true}).home_shard = 3;
    ASSERT_TRUE(table.bind(sockets.front(), {addr("10.0.0.1"), test_port, 0}));
    for (int i = 0; i < 7; i++) free_member();
    EXPECT_EQ(homes(), (std::map<std::uint16_t, std::size_t>{{0, 2}, {1, 2}, {2, 2}, {3, 2}}));
    table.set_spread(spread({1, 3}));
    EXPECT_EQ(table.home_shards(), (std::vector<std::uint16_t>{1, 3}));
    for (int i = 0; i < 2; i++) free_member();
    EXPECT_EQ(homes(), (std::map<std::uint16_t, std::size_t>{{0, 2}, {1, 3}, {2, 2}, {3, 3}}));
}

TEST_F(group_homes, can_be_moved_to_other_shards_but_for_fixed_ones) {
    for (int i = 0; i < 8; i++) free_member();
    sockets.back().home_fixed = true;  // on shard 3
    auto& alone = bound("10.0.0.2", {}, 6000);
    alone.home_shard = 2;
    alone.home_fixed = false;
    std::size_t heard = 0;
    const std::vector<std::uint16_t> two{0, 1}, all{0, 1, 2, 3};
    table.rehome_all(two, [&](pcb&) { heard++; });
    EXPECT_EQ(heard, 4u);  // 3 of the group, and the one alone
    EXPECT_EQ(alone.home_shard, 0);
    table.unbind(alone);
    sockets.pop_back();
    auto now = homes();
    EXPECT_EQ(now[3], 1u);
    EXPECT_EQ(now[0] + now[1], 7u);
    EXPECT_LE(now[0], 4u);
    table.rehome_all(all);
    EXPECT_EQ(homes(), (std::map<std::uint16_t, std::size_t>{{0, 2}, {1, 2}, {2, 2}, {3, 2}}));
}

TEST_F(group_homes, buckets_follow_the_spread_of_the_tables) {
    for (int i = 0; i < 4; i++) free_member();
    table.set_spread(spread({0, 1, 2, 3}));
    for (std::uint32_t h = 0; h < 4096; h++)
        ASSERT_EQ(table.lookup(packet_to("10.0.0.1", test_port, h))->home_shard, h % 4);
}

class group_limit : public tables_fixture {};

TEST_F(group_limit, has_65535_members_and_no_more) {
    for (std::size_t i = 0; i < group::most_members; i++) {
        auto& s = make(ip_family::v4, {.reuse_port = true});
        ASSERT_TRUE(table.bind(s, {addr("10.0.0.1"), test_port, 0}));
    }
    auto& one_more = make(ip_family::v4, {.reuse_port = true});
    EXPECT_EQ(bind_error(one_more, "10.0.0.1"), EADDRINUSE);
    EXPECT_EQ(sockets.front().member_of->bucket_count(), 131072u);
    EXPECT_EQ(to_many("10.0.0.1", 1 << 20).size(), group::most_members);
}

}  // namespace skua::udp
