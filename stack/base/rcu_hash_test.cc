// Tests of the RCU hash table: against a model, in its order, and with readers beside the writer.
#include "base/rcu_hash.hh"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <latch>
#include <list>
#include <memory>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/random.hh"

namespace skua {
namespace {

struct item : rcu_hash_node<item> {
    item(std::uint32_t h, int v) : value(v) { hash = h; }
    ~item() { const_cast<volatile int&>(value) = -1; }  // volatile: who looks at a freed one shall see it
    int value;
};

using table = rcu_hash<item>;

std::vector<int> values_of(const table& t, std::uint32_t hash) {
    std::vector<int> out;
    t.for_each(hash, [&](item& i) {
        out.push_back(i.value);
        return true;
    });
    return out;
}

TEST(rcu_hash, finds_what_was_put_in) {
    rcu_domain rcu;
    table t(rcu);
    item a(1, 10), b(1 + 16, 20), c(1, 30);  // all in one slot of a table of 16
    for (item* i : {&a, &b, &c}) t.insert_back(*i);
    EXPECT_EQ(t.size(), 3u);
    EXPECT_EQ(t.find(1, [](const item& i) { return i.value == 30; }), &c);
    EXPECT_EQ(t.find(17, [](const item&) { return true; }), &b);
    EXPECT_EQ(t.find(1, [](const item& i) { return i.value == 20; }), nullptr);  // in the slot, but of another hash
    EXPECT_EQ(t.find(33, [](const item&) { return true; }), nullptr);
    t.prefetch(1);
}

TEST(rcu_hash, takes_out_first_middle_and_last) {
    rcu_domain rcu;
    table t(rcu);
    item a(5, 1), b(5, 2), c(5, 3), stranger(5, 4);
    const auto refill = [&] {
        for (item* i : {&a, &b, &c}) t.remove(*i);
        for (item* i : {&a, &b, &c}) t.insert_back(*i);
    };
    refill();
    t.remove(a);
    EXPECT_EQ(values_of(t, 5), (std::vector{2, 3}));
    refill();
    t.remove(b);
    EXPECT_EQ(values_of(t, 5), (std::vector{1, 3}));
    refill();
    t.remove(c);
    EXPECT_EQ(values_of(t, 5), (std::vector{1, 2}));
    t.remove(c);  // no longer in
    t.remove(stranger);
    EXPECT_EQ(t.size(), 2u);
}

TEST(rcu_hash, front_and_back_decide_the_order) {
    rcu_domain rcu;
    table t(rcu);
    std::deque<item> items;
    for (int i = 0; i < 6; i++) {
        items.emplace_back(7, i);
        if (i % 2) t.insert_front(items.back());
        else t.insert_back(items.back());
    }
    EXPECT_EQ(values_of(t, 7), (std::vector{5, 3, 1, 0, 2, 4}));
}

TEST(rcu_hash, visits_stop_when_told) {
    rcu_domain rcu;
    table t(rcu);
    item a(5, 1), b(5, 2);
    t.insert_back(a);
    t.insert_back(b);
    int visits = 0;
    t.for_each(5, [&](item&) { return ++visits < 1; });
    EXPECT_EQ(visits, 1);
}

TEST(rcu_hash, growth_keeps_every_node_and_the_order) {
    rcu_domain rcu;
    table t(rcu, 16);
    std::deque<item> items;
    // Few hashes that share slots while the table is small, many nodes each.
    for (int i = 0; i < 500; i++) {
        items.emplace_back(static_cast<std::uint32_t>(i % 5) << 4, i);
        t.insert_back(items.back());
        rcu.reclaim();
    }
    EXPECT_EQ(t.slots(), 1024u);
    EXPECT_EQ(t.size(), 500u);
    for (int h = 0; h < 5; h++) {
        std::vector<int> expected;
        for (int i = h; i < 500; i += 5) expected.push_back(i);
        EXPECT_EQ(values_of(t, static_cast<std::uint32_t>(h) << 4), expected);
    }
    std::set<int> all;
    t.for_all([&](item& i) { all.insert(i.value); });
    EXPECT_EQ(all.size(), 500u);
}

TEST(rcu_hash, takes_out_all_while_walking_all) {
    rcu_domain rcu;
    table t(rcu);
    std::deque<item> items;
    for (int i = 0; i < 100; i++) t.insert_front(items.emplace_back(static_cast<std::uint32_t>(i * 7), i));
    t.for_all([&](item& i) { t.remove(i); });
    EXPECT_EQ(t.size(), 0u);
    t.for_all([&](item&) { ADD_FAILURE(); });
}

TEST(rcu_hash, starts_as_large_as_expected) {
    rcu_domain rcu;
    EXPECT_EQ(table(rcu, 0).slots(), 16u);
    EXPECT_EQ(table(rcu, 17).slots(), 32u);
    EXPECT_EQ(table(rcu, 1024).slots(), 1024u);
}

TEST(rcu_hash, the_second_growth_waits_for_readers_of_the_first_table) {
    rcu_domain rcu;
    rcu_domain::poller poller(rcu);
    table t(rcu, 16);
    std::deque<item> items;
    const auto insert = [&](int n) {
        for (int i = 0; i < n; i++) t.insert_front(items.emplace_back(static_cast<std::uint32_t>(items.size()), 0));
    };
    insert(17);
    EXPECT_EQ(t.slots(), 64u);
    insert(1000);
    EXPECT_EQ(t.slots(), 64u);
    poller.quiescent();
    insert(1);
    EXPECT_EQ(t.slots(), 256u);
    poller.quiescent();
    insert(1);
    EXPECT_EQ(t.slots(), 1024u);
    EXPECT_EQ(t.size(), 1019u);
    for (std::uint32_t h = 0; h < items.size(); h++) EXPECT_EQ(values_of(t, h).size(), 1u) << h;
}

// A reader that stands on a node while the table grows under it, and its neighbours leave, sees the rest of its chain.
TEST(rcu_hash, a_reader_in_the_middle_of_a_chain_survives_growth_and_removal) {
    rcu_domain rcu;
    const rcu_domain::poller poller(rcu);  // the reader: never quiescent in this test
    table t(rcu, 16);
    std::deque<item> items;
    for (int i = 0; i < 16; i++) t.insert_back(items.emplace_back(static_cast<std::uint32_t>(i) << 4, i));  // one slot
    std::vector<int> seen;
    t.for_each(5u << 4, [&](item&) {
        t.insert_back(items.emplace_back(5u << 4, 100));  // grows
        EXPECT_EQ(t.slots(), 64u);
        t.remove(items[5]);
        t.remove(items[6]);
        return true;
    });
    t.for_all([&](item& i) { seen.push_back(i.value); });
    EXPECT_EQ(seen.size(), 15u);
    EXPECT_EQ(values_of(t, 5u << 4), (std::vector{100}));
}

// Random operations on few hashes, so that chains are long, against lists in a standard map.
TEST(rcu_hash, does_what_a_model_does) {
    for (std::uint64_t seed = 0; seed < 20; seed++) {
        seeded_random random(seed);
        rcu_domain rcu;
        rcu_domain::poller poller(rcu);
        table t(rcu);
        std::unordered_map<std::uint32_t, std::list<item*>> model;
        std::vector<item*> live;
        int next_value = 0;
        for (int step = 0; step < 4000; step++) {
            const auto op = random.below(10);
            if (op < 6 || live.empty()) {
                auto* i = new item(static_cast<std::uint32_t>(random.below(300) * 0x01010101u), next_value++);
                live.push_back(i);
                if (op % 2) {
                    t.insert_front(*i);
                    model[i->hash].push_front(i);
                } else {
                    t.insert_back(*i);
                    model[i->hash].push_back(i);
                }
            } else if (op < 9) {
                std::swap(live[random.below(live.size())], live.back());
                item* i = live.back();
                live.pop_back();
                t.remove(*i);
                model[i->hash].remove(i);
                rcu.retire(std::unique_ptr<item>(i));
            } else {
                poller.quiescent();
                rcu.reclaim();
            }
            const auto hash = static_cast<std::uint32_t>(random.below(300) * 0x01010101u);
            std::vector<int> expected;
            for (const item* i : model[hash]) expected.push_back(i->value);
            ASSERT_EQ(values_of(t, hash), expected) << "seed " << seed << ", step " << step;
            ASSERT_EQ(t.size(), live.size());
        }
        std::size_t all = 0;
        t.for_all([&](item&) { ++all; });
        EXPECT_EQ(all, live.size());
        EXPECT_GE(t.slots(), 256u);
        for (item* i : live) delete i;
    }
}

// Pollers and guarded threads look for nodes that stay, while the writer puts others in and out and the table grows. A
// node that stays is never missed; a freed node is never seen (its value is -1 then, and the sanitizers know it).
TEST(rcu_hash, readers_miss_nothing_while_it_changes_and_grows) {
    constexpr int stay = 512;
    constexpr std::uint32_t hashes = 64;
    for (int round = 0; round < 5; round++) {
        rcu_domain rcu;
        table t(rcu, 16);
        std::vector<std::unique_ptr<item>> kept;
        for (int i = 0; i < stay; i++)
            kept.push_back(std::make_unique<item>(static_cast<std::uint32_t>(i) * 0x9e3779b9u % hashes, i));
        for (int i = 0; i < 10; i++) t.insert_back(*kept[static_cast<std::size_t>(i)]);
        std::atomic<int> in{10};
        std::atomic<bool> stop{false};
        std::atomic<std::uint64_t> missed{0}, freed_seen{0}, looks{0};
        std::latch ready(3);

        const auto look = [&](random_source& random) {
            const int n =
                static_cast<int>(random.below(static_cast<std::uint64_t>(in.load(std::memory_order_acquire))));
            const item& wanted = *kept[static_cast<std::size_t>(n)];
            const item* found = t.find(wanted.hash, [&](const item& i) {
                if (i.value < 0) freed_seen.fetch_add(1);
                return i.value == n;
            });
            if (found != &wanted) missed.fetch_add(1);
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
        for (int i = 10; i < stay; i++) {
            auto& node = *kept[static_cast<std::size_t>(i)];
            if (i % 2) t.insert_front(node);
            else t.insert_back(node);
            in.store(i + 1, std::memory_order_release);
            for (int k = 0; k < 4; k++) {
                passing.push_back(new item(static_cast<std::uint32_t>(random.below(hashes)), 100000));
                t.insert_front(*passing.back());
            }
            for (int k = 0; k < 3; k++) {
                std::swap(passing[random.below(passing.size())], passing.back());
                t.remove(*passing.back());
                rcu.retire(std::unique_ptr<item>(passing.back()));
                passing.pop_back();
            }
            rcu.reclaim();
            if (i % 16 == 0) std::this_thread::yield();
        }
        stop = true;
        poller.join();
        for (auto& g : guarded) g.join();
        EXPECT_EQ(missed, 0u);
        EXPECT_EQ(freed_seen, 0u);
        EXPECT_GT(looks, 0u);
        EXPECT_GT(t.slots(), 16u);
        for (item* i : passing) delete i;
    }
}

}  // namespace
}  // namespace skua
