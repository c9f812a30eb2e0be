// Tests of the table of buckets: against a model, while it grows, and with readers beside the writer.
#include "base/rcu_buckets.hh"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <latch>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "base/random.hh"

namespace skua {
namespace {

struct item {
    item(std::uint32_t h, int v) : hash(h), value(v) {}
    ~item() { const_cast<volatile int&>(value) = -1; }  // volatile: who looks at a freed one shall see it
    std::uint32_t hash;
    int value;
};
struct hash_of_item {
    std::uint32_t operator()(const item& i) const { return i.hash; }
};
using table = rcu_buckets<item, hash_of_item>;

/// Spreads small numbers over all bits.
std::uint32_t spread(std::uint64_t n) { return static_cast<std::uint32_t>((n * 0x9e3779b97f4a7c15ull) >> 32); }

/// Values of all nodes of this hash, each as often as it is met.
std::multiset<int> values_of(const table& t, std::uint32_t hash) {
    std::multiset<int> out;
    t.for_each(hash, [&](const item& i) {
        if (i.hash == hash) out.insert(i.value);
        return true;
    });
    return out;
}

using values = std::multiset<int>;

TEST(rcu_buckets, finds_what_was_put_in) {
    rcu_domain rcu;
    table t(rcu, {});
    item a(1, 10), b(1 + 16, 20), c(1, 30);  // in one of 16 buckets
    for (item* i : {&a, &b, &c}) t.insert(*i);
    EXPECT_EQ(t.size(), 3u);
    EXPECT_EQ(values_of(t, 1), (values{10, 30}));
    EXPECT_EQ(values_of(t, 17), values{20});
    EXPECT_EQ(values_of(t, 2), values{});
    EXPECT_EQ(t.first(1), &a);
    EXPECT_EQ(t.first(2), nullptr);
    t.prefetch(1);
}

TEST(rcu_buckets, a_tag_of_another_hash_in_the_bucket_is_not_met) {
    rcu_domain rcu;
    table t(rcu, {});
    item a(0x00010005, 1), b(0x00020005, 2), zero(0, 3);
    t.insert(a);
    t.insert(b);
    int met = 0;
    t.for_each(a.hash, [&](const item& i) {
        EXPECT_EQ(&i, &a);
        return ++met > 0;
    });
    EXPECT_EQ(met, 1);
    // Nothing stands in bucket 0: an empty place is no node with a hash of 0.
    EXPECT_EQ(t.first(0), nullptr);
    t.insert(zero);
    EXPECT_EQ(t.first(0), &zero);
}

TEST(rcu_buckets, visits_stop_when_told) {
    rcu_domain rcu;
    table t(rcu, {});
    item a(5, 1), b(5, 2);
    t.insert(a);
    t.insert(b);
    int visits = 0;
    t.for_each(5, [&](const item&) { return ++visits < 1; });
    EXPECT_EQ(visits, 1);
}

TEST(rcu_buckets, what_is_not_in_is_not_removed) {
    rcu_domain rcu;
    table t(rcu, {});
    item a(5, 1), stranger(5, 2);
    t.insert(a);
    t.remove(stranger);
    EXPECT_EQ(t.size(), 1u);
    t.remove(a);
    t.remove(a);
    EXPECT_EQ(t.size(), 0u);
    EXPECT_EQ(values_of(t, 5), values{});
}

TEST(rcu_buckets, starts_as_large_as_expected) {
    rcu_domain rcu;
    EXPECT_EQ(table(rcu, {}).buckets(), 16u);
    EXPECT_EQ(table(rcu, {}, 3 * 17).buckets(), 32u);
    EXPECT_EQ(table(rcu, {}, 1000000).buckets(), 1u << 19);
}

TEST(rcu_buckets, grows_by_one_bucket_for_three_entries) {
    rcu_domain rcu;
    table t(rcu, {});
    std::deque<item> items;
    for (int i = 0; i < 30000; i++) t.insert(items.emplace_back(spread(static_cast<std::uint64_t>(i)), i));
    EXPECT_EQ(t.buckets(), 10000u);
    for (const item& i : items) ASSERT_EQ(values_of(t, i.hash), values{i.value});
    for (item& i : items) t.remove(i);
    for (const item& i : items) ASSERT_EQ(values_of(t, i.hash), values{});
}

// No reader holds anything up here, so no entry stays where it no longer belongs.
TEST(rcu_buckets, a_bucket_is_seldom_longer_than_a_line) {
    rcu_domain rcu;
    table t(rcu, {});
    std::deque<item> items;
    seeded_random random(1);
    std::size_t worst = 0, long_ones = 0;
    for (int i = 0; i < 100000; i++) {
        t.insert(items.emplace_back(static_cast<std::uint32_t>(random()), i));
        const std::size_t lines = t.lines_of(items[random.below(items.size())].hash);
        worst = std::max(worst, lines);
        long_ones += lines > 1;
    }
    EXPECT_LE(worst, 3u);
    EXPECT_LE(long_ones, 15000u);
}

TEST(rcu_buckets, growth_while_readers_stay_leaves_each_entry_to_be_met_once) {
    rcu_domain rcu;
    rcu_domain::poller reader(rcu);
    table t(rcu, {});
    std::deque<item> items;
    const auto each_is_met_once = [&] {
        for (const item& i : items) ASSERT_EQ(values_of(t, i.hash), values{i.value});
    };
    for (int i = 0; i < 2000; i++) t.insert(items.emplace_back(spread(static_cast<std::uint64_t>(i)), i));
    each_is_met_once();
    EXPECT_EQ(t.buckets(), 2000u / 3 + 1);
    // What splits left behind is cleared now, and nothing else.
    reader.quiescent();
    for (int i = 2000; i < 4000; i++) {
        t.insert(items.emplace_back(spread(static_cast<std::uint64_t>(i)), i));
        reader.quiescent();
    }
    each_is_met_once();
}

TEST(rcu_buckets, who_walks_while_it_grows_meets_what_was_there) {
    rcu_domain rcu;
    const rcu_domain::poller reader(rcu);
    table t(rcu, {});
    std::deque<item> items, newer;
    // All in bucket 15 now; a hash bit each decides where they go later.
    for (int i = 0; i < 20; i++) t.insert(items.emplace_back(15, i));
    std::multiset<int> met;
    t.for_each(15, [&](const item& i) {
        if (met.empty())
            for (int n = 0; n < 1000; n++) t.insert(newer.emplace_back(spread(static_cast<std::uint64_t>(n)) << 4, n));
        met.insert(i.value);
        return true;
    });
    std::multiset<int> expected;
    for (int i = 0; i < 20; i++) expected.insert(i);
    EXPECT_EQ(met, expected);
}

TEST(rcu_buckets, removed_while_an_older_bucket_still_shows_it) {
    rcu_domain rcu;
    const rcu_domain::poller reader(rcu);  // never quiescent: nothing that splits left behind is cleared
    table t(rcu, {});
    std::deque<item> items;
    for (int i = 0; i < 1000; i++) t.insert(items.emplace_back(spread(static_cast<std::uint64_t>(i)), i));
    for (std::size_t i = 0; i < items.size(); i += 2) t.remove(items[i]);
    EXPECT_EQ(t.size(), 500u);
    // Splits look at what is left in a bucket: removed nodes must be in none.
    for (std::size_t i = 0; i < items.size(); i += 2) items[i].hash = ~items[i].hash;
    std::deque<item> more;
    for (int i = 0; i < 3000; i++) t.insert(more.emplace_back(spread(static_cast<std::uint64_t>(i) + 5000), i));
    for (std::size_t i = 1; i < items.size(); i += 2) ASSERT_EQ(values_of(t, items[i].hash), values{items[i].value});
}

TEST(rcu_buckets, replaces_in_place) {
    rcu_domain rcu;
    rcu_domain::poller reader(rcu);
    table t(rcu, {});
    std::deque<item> items, later;
    for (int i = 0; i < 500; i++) t.insert(items.emplace_back(spread(static_cast<std::uint64_t>(i)), i));
    for (item& i : items) t.replace(i, later.emplace_back(i.hash, i.value + 1000));
    for (const item& i : items) ASSERT_EQ(values_of(t, i.hash), values{i.value + 1000});
    // Nor does a place that a split left behind show the old one.
    for (item& i : items) i.hash = ~i.hash;
    reader.quiescent();
    std::deque<item> more;
    for (int i = 0; i < 3000; i++) {
        t.insert(more.emplace_back(spread(static_cast<std::uint64_t>(i) + 5000), i));
        reader.quiescent();
    }
    for (const item& i : later) ASSERT_EQ(values_of(t, i.hash), values{i.value});
    EXPECT_EQ(t.size(), 3500u);
}

TEST(rcu_buckets, bears_many_of_one_hash) {
    rcu_domain rcu;
    table t(rcu, {});
    std::deque<item> items;
    values expected;
    for (int i = 0; i < 20000; i++) {
        t.insert(items.emplace_back(77, i));
        expected.insert(i);
    }
    EXPECT_EQ(values_of(t, 77), expected);
    EXPECT_EQ(t.lines_of(77), (20000u + 6) / 7);
    while (!items.empty()) {
        t.remove(items.back());
        items.pop_back();
    }
    EXPECT_EQ(t.size(), 0u);
    EXPECT_EQ(t.lines_of(77), 1u);
    while (rcu.reclaim() != 0) {
    }
    EXPECT_EQ(rcu.retired(), 0u);
}

// Random operations on few hashes, so that chains are long, against a standard map.
TEST(rcu_buckets, does_what_a_model_does) {
    for (std::uint64_t seed = 0; seed < 20; seed++) {
        seeded_random random(seed);
        rcu_domain rcu;
        rcu_domain::poller poller(rcu);
        table t(rcu, {});
        std::map<std::uint32_t, values> model;
        std::vector<item*> live;
        const auto retire = [&](item* i) {
            values& of = model[i->hash];
            of.erase(of.find(i->value));
            rcu.retire(std::unique_ptr<item>(i));
        };
        for (int step = 0; step < 4000; step++) {
            const auto op = random.below(12);
            if (op < 6 || live.empty()) {
                live.push_back(new item(spread(random.below(300)), step));
                t.insert(*live.back());
                model[live.back()->hash].insert(step);
            } else if (op < 11) {
                auto& chosen = live[random.below(live.size())];
                item* const old = chosen;
                if (op < 8) {
                    chosen = new item(old->hash, step);
                    model[old->hash].insert(step);
                    t.replace(*old, *chosen);
                } else {
                    t.remove(*old);
                    std::swap(chosen, live.back());
                    live.pop_back();
                }
                retire(old);
            } else {
                poller.quiescent();
                rcu.reclaim();
            }
            const std::uint32_t hash = spread(random.below(300));
            ASSERT_EQ(values_of(t, hash), model[hash]) << "seed " << seed << ", step " << step;
            ASSERT_EQ(t.size(), live.size());
        }
        for (const auto& [hash, expected] : model) ASSERT_EQ(values_of(t, hash), expected);
        for (item* i : live) delete i;
    }
}

// Pollers and guarded threads look for nodes that stay, while the writer puts others in and out, replaces some, and the
// table grows. A node that stays is met once, no more and no less; a freed one never (its value is -1 then, and the
// sanitizers know it).
TEST(rcu_buckets, readers_meet_what_stays_once_while_it_changes_and_grows) {
    constexpr int stay = 3000;
    for (int round = 0; round < 3; round++) {
        rcu_domain rcu;
        table t(rcu, {});
        std::deque<item> kept;
        for (int i = 0; i < stay; i++) kept.emplace_back(spread(static_cast<std::uint64_t>(i % 1000)), i);
        for (std::size_t i = 0; i < 10; i++) t.insert(kept[i]);
        std::atomic<std::size_t> in{10};
        std::atomic<bool> stop{false};
        std::atomic<std::uint64_t> wrong{0}, freed_seen{0}, looks{0};
        std::latch ready(3);
        const auto look = [&](random_source& random) {
            const item& wanted = kept[random.below(in.load(std::memory_order_acquire))];
            int met = 0;
            t.for_each(wanted.hash, [&](const item& i) {
                if (i.value < 0) freed_seen.fetch_add(1);
                met += &i == &wanted;
                return true;
            });
            if (met != 1) wrong.fetch_add(1);
            looks.fetch_add(1, std::memory_order_relaxed);
        };
        std::thread poller([&] {
            rcu_domain::poller me(rcu);
            seeded_random random(1);
            ready.count_down();
            while (!stop.load()) {
                for (int i = 0; i < 8; i++) look(random);
                me.quiescent();
            }
        });
        std::vector<std::thread> guarded;
        for (std::uint64_t seed = 2; seed < 4; seed++)
            guarded.emplace_back([&, seed] {
                seeded_random random(seed);
                ready.count_down();
                while (!stop.load()) {
                    const rcu_domain::read_guard guard(rcu);
                    look(random);
                }
            });
        ready.wait();

        seeded_random random(static_cast<std::uint64_t>(round));
        std::vector<item*> passing;
        for (std::size_t i = 10; i < stay; i++) {
            t.insert(kept[i]);
            in.store(i + 1, std::memory_order_release);
            for (int k = 0; k < 4; k++) {
                passing.push_back(new item(spread(random.below(1000)), 100000));
                t.insert(*passing.back());
            }
            for (int k = 0; k < 3; k++) {
                auto& chosen = passing[random.below(passing.size())];
                item* const old = chosen;
                if (k == 0) {
                    chosen = new item(old->hash, 100000);
                    t.replace(*old, *chosen);
                } else {
                    t.remove(*old);
                    std::swap(chosen, passing.back());
                    passing.pop_back();
                }
                rcu.retire(std::unique_ptr<item>(old));
            }
            rcu.reclaim();
            if (i % 16 == 0) std::this_thread::yield();
        }
        stop = true;
        poller.join();
        for (auto& g : guarded) g.join();
        EXPECT_EQ(wrong, 0u);
        EXPECT_EQ(freed_seen, 0u);
        EXPECT_GT(looks, 0u);
        for (item* i : passing) delete i;
    }
}

}  // namespace
}  // namespace skua
