// Answered flows: exact keys, ageing, the oldest gives way; against a plain map, and with threads.
#include "udp/flow_table.hh"

#include <gtest/gtest.h>
#include <malloc.h>

#include <map>
#include <thread>

#include "base/random.hh"
#include "support/sanitized.hh"

namespace skua::udp {
namespace {

using test::sanitized;

using namespace std::chrono_literals;
using outcome = flow_table::outcome;

constexpr nanoseconds timeout = 125s, grace = 34ms;
constexpr time_point start{1000s};

flow_peer peer(std::uint32_t n) {
    return {ipv4_address(10, 0, static_cast<std::uint8_t>(n >> 22), static_cast<std::uint8_t>(n >> 14)),
            static_cast<std::uint16_t>(1024 + (n & 0x3fff))};
}
flow_peer peer6(std::uint32_t n) {
    auto a = *ip_address::parse("2001:db8::");
    auto v6 = a.v6();
    for (unsigned i = 0; i < 4; i++) v6.bytes[12 + i] = static_cast<std::uint8_t>(n >> (24 - 8 * i));
    return {v6, 443};
}

class flow_table_test : public testing::Test {
protected:
    std::uint32_t holder(const flow_table& t, const flow_peer& p, time_point now = start) {
        const auto found = t.find(p, now);
        return found && !found->expired ? found->seat : 0;
    }
    seeded_random random{1};
};

TEST_F(flow_table_test, a_flow_is_whose_answered_first) {
    flow_table t(100, timeout, random);
    EXPECT_FALSE(t.find(peer(1), start));
    EXPECT_EQ(t.note(peer(1), 7, start).what, outcome::created);
    EXPECT_EQ(t.note(peer(1), 7, start + 1s).what, outcome::updated);
    const auto refused = t.note(peer(1), 8, start + 2s);
    EXPECT_EQ(refused.what, outcome::conflict);
    EXPECT_EQ(refused.holder, 7u);
    EXPECT_EQ(holder(t, peer(1)), 7u);
    EXPECT_EQ(t.size(), 1u);
}

TEST_F(flow_table_test, prefetching_changes_nothing) {
    flow_table t(200000, timeout, random);
    flow_peer all[flow_table::burst];
    for (std::uint32_t i = 0; i < flow_table::burst; i++) all[i] = i % 2 ? peer(i) : peer6(i);
    t.prefetch(all);
    for (std::uint32_t i = 0; i < flow_table::burst; i++) t.note(all[i], i + 1, start);
    t.prefetch(all);
    t.prefetch({});
    for (std::uint32_t i = 0; i < flow_table::burst; i++) EXPECT_EQ(holder(t, all[i]), i + 1);
}

TEST_F(flow_table_test, who_left_is_followed_by_who_answers) {
    flow_table t(100, timeout, random);
    t.note(peer(1), 7, start);
    EXPECT_EQ(t.take_over(peer(1), 6, 8, start).what, outcome::conflict);
    EXPECT_EQ(t.take_over(peer(1), 7, 8, start).what, outcome::taken_over);
    EXPECT_EQ(holder(t, peer(1)), 8u);
    EXPECT_EQ(t.take_over(peer(2), 7, 8, start).what, outcome::created);
}

TEST_F(flow_table_test, keys_are_exact) {
    flow_table t(100, timeout, random);
    const ip_address link_local = *ip_address::parse("fe80::1");
    const flow_peer all[] = {{*ip_address::parse("10.0.0.1"), 1},
                             {*ip_address::parse("10.0.0.1"), 2},
                             {*ip_address::parse("10.0.0.2"), 1},
                             {*ip_address::parse("::10.0.0.1"), 1},
                             {*ip_address::parse("2001:db8::a00:1"), 1},
                             {*ip_address::parse("2001:db9::a00:1"), 1},
                             flow_peer::of(link_local, 1, 2),
                             flow_peer::of(link_local, 1, 3),
                             flow_peer::of(link_local, 1, 0x300)};
    std::uint32_t seat = 1;
    for (const auto& p : all) EXPECT_EQ(t.note(p, seat++, start).what, outcome::created);
    seat = 1;
    for (const auto& p : all) EXPECT_EQ(holder(t, p), seat++);
    // Only where an address does not say it itself.
    EXPECT_EQ(flow_peer::of(*ip_address::parse("2001:db8::1"), 1, 2),
              flow_peer::of(*ip_address::parse("2001:db8::1"), 1, 3));
    EXPECT_EQ(flow_peer::of(*ip_address::parse("169.254.0.1"), 1, 2).address, *ip_address::parse("169.254.0.1"));
}

TEST_F(flow_table_test, a_flow_lives_for_its_timeout_after_the_last_answer) {
    for (const nanoseconds life : {1ns, nanoseconds(10ms), nanoseconds(1s), timeout, nanoseconds(24h)}) {
        flow_table t(100, life, random);
        t.note(peer(1), 7, start);
        t.note(peer(1), 7, start + life);
        EXPECT_FALSE(t.find(peer(1), start + 2 * life)->expired) << life.count();
        EXPECT_TRUE(t.find(peer(1), start + 2 * life + grace)->expired) << life.count();
        EXPECT_EQ(t.note(peer(1), 8, start + 2 * life + grace).what, outcome::renewed);
        EXPECT_EQ(holder(t, peer(1), start + 2 * life + grace), 8u);
    }
}

TEST_F(flow_table_test, holds_as_many_as_it_was_made_for) {
    for (const std::uint32_t room : {1u, 2u, 1000u, 65536u, 65537u, 200000u}) {
        flow_table t(room, timeout, random);
        for (std::uint32_t i = 0; i < room; i++) t.note(peer(i), i + 1, start);
        EXPECT_EQ(t.size(), room);
        EXPECT_EQ(t.evicted(), 0u);
        for (std::uint32_t i = 0; i < room; i++) ASSERT_EQ(holder(t, peer(i)), i + 1);
    }
}

TEST_F(flow_table_test, when_it_is_full_the_one_idle_longest_goes) {
    constexpr std::uint32_t room = 600;
    flow_table t(room, timeout, random);
    time_point now = start;
    for (std::uint32_t i = 0; i < room; i++) t.note(peer(i), 1, now += 200ms);
    // Now all but one of four are answered again, the last ones first.
    for (std::uint32_t i = room; i-- > 0;)
        if (i % 4 != 0) t.note(peer(i), 1, now += 10ms);
    std::uint32_t extra = room;
    for (std::uint32_t i = 0; i < room; i += 4) {
        ASSERT_EQ(holder(t, peer(i), now), 1u);
        t.note(peer(extra++), 2, now);
        ASSERT_EQ(holder(t, peer(i), now), 0u) << i;
    }
    EXPECT_EQ(t.evicted(), room / 4);
    EXPECT_EQ(t.size(), room);
    for (std::uint32_t i = 0; i < room; i++) EXPECT_EQ(holder(t, peer(i), now), i % 4 != 0 ? 1u : 0u);
}

TEST_F(flow_table_test, those_whose_time_ran_out_make_room_uncounted) {
    flow_table t(1000, timeout, random);
    for (std::uint32_t i = 0; i < 1000; i++) t.note(peer(i), 1, start);
    for (std::uint32_t i = 1000; i < 3000; i++) t.note(peer(i), 1, start + (i / 1000) * (timeout + grace));
    EXPECT_EQ(t.evicted(), 0u);
    EXPECT_EQ(t.size(), 1000u);
    EXPECT_FALSE(t.find(peer(0), start));
}

TEST_F(flow_table_test, takes_at_most_48_bytes_a_flow_and_says_how_many) {
    if (sanitized) GTEST_SKIP() << "the sanitizer has an allocator of its own";
    for (const std::size_t room : {65536ul, 100000ul, 1000000ul, flow_table::most_flows}) {
        const auto before = mallinfo2();
        const flow_table t(room, timeout, random);
        const auto after = mallinfo2();
        const auto taken = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
        const double each = static_cast<double>(taken) / static_cast<double>(room);
        RecordProperty("bytes_each_of_" + std::to_string(room), std::to_string(each));
        EXPECT_LE(each, 48.5) << room;
        EXPECT_NEAR(static_cast<double>(t.memory()), static_cast<double>(taken), 0.01 * static_cast<double>(taken));
    }
}

/// The same said of every flow, in the simplest way.
class plain_table {
public:
    outcome note(std::uint32_t n, std::uint32_t by, time_point now) {
        const auto at = flows_.find(n);
        if (at == flows_.end()) {
            flows_[n] = {by, now};
            return outcome::created;
        }
        if (now - at->second.second > timeout + grace) {
            at->second = {by, now};
            return outcome::renewed;
        }
        if (at->second.first != by) return outcome::conflict;
        at->second.second = now;
        return outcome::updated;
    }
    /// Neither surely alive nor surely dead.
    bool between(std::uint32_t n, time_point now) const {
        const auto at = flows_.find(n);
        return at != flows_.end() && now - at->second.second > timeout && now - at->second.second <= timeout + grace;
    }
    std::uint32_t holder(std::uint32_t n, time_point now) const {
        const auto at = flows_.find(n);
        return at == flows_.end() || now - at->second.second > timeout ? 0 : at->second.first;
    }

private:
    std::map<std::uint32_t, std::pair<std::uint32_t, time_point>> flows_;
};

TEST_F(flow_table_test, agrees_with_a_map) {
    constexpr std::uint32_t flows = 3000;
    flow_table t(flows, timeout, random);
    plain_table plain;
    time_point now = start;
    for (int i = 0; i < 300000; i++) {
        now += nanoseconds(random.below(i % 1000 == 0 ? 40'000'000'000 : 30'000'000));
        const auto n = static_cast<std::uint32_t>(random.below(flows)),
                   by = static_cast<std::uint32_t>(1 + random.below(3));
        const flow_peer p = n % 2 ? peer(n) : peer6(n);
        if (plain.between(n, now)) continue;
        ASSERT_EQ(holder(t, p, now), plain.holder(n, now)) << i;
        const auto done = t.note(p, by, now).what;
        const auto should = plain.note(n, by, now);
        // An entry whose time ran out may be gone already.
        if (should == outcome::renewed) ASSERT_TRUE(done == outcome::renewed || done == outcome::created);
        else ASSERT_EQ(done, should) << i;
    }
    EXPECT_EQ(t.evicted(), 0u);
}

TEST_F(flow_table_test, a_long_silence_ends_well) {
    flow_table t(100, timeout, random);
    time_point now = start;
    for (int i = 0; i < 50; i++) {
        for (std::uint32_t n = 0; n < 150; n++) t.note(peer(n), 1, now += 1ms);
        EXPECT_EQ(t.size(), 100u);
        EXPECT_EQ(holder(t, peer(149), now), 1u);
        now += i % 2 ? nanoseconds(24h) : nanoseconds(50s);
    }
}

// Some threads answer flows of a table that is too small for them, others look: whatever is found belongs to the flow.
TEST_F(flow_table_test, threads_never_see_another_flow) {
    constexpr std::uint32_t flows = 512, room = 384;
    flow_table t(room, timeout, random);
    std::atomic<bool> stop{false};
    std::atomic<nanoseconds::rep> clock{start.time_since_epoch().count()};
    std::atomic<std::uint64_t> found{0}, wrong{0}, lost{0};
    // These are answered all the time, so they are never the oldest.
    const auto keep_fresh = [&](time_point now) {
        for (std::uint32_t n = 0; n < 8; n++) t.note(peer(n), n + 1, now);
    };
    keep_fresh(start);
    std::vector<std::thread> threads;
    for (unsigned w = 0; w < 2; w++)
        threads.emplace_back([&, w] {
            seeded_random mine(w);
            while (!stop) {
                const time_point now(nanoseconds(clock += 20'000'000));
                keep_fresh(now);
                for (int i = 0; i < 16; i++) {
                    const auto n = static_cast<std::uint32_t>(8 + mine.below(flows - 8));
                    t.note(peer(n), n + 1, now);
                }
            }
        });
    for (unsigned r = 0; r < 2; r++)
        threads.emplace_back([&, r] {
            seeded_random mine(10 + r);
            while (!stop) {
                const auto n = static_cast<std::uint32_t>(mine.below(r ? flows : 8));
                const auto seen = t.find(peer(n), start);
                if (!seen && n < 8) lost++;
                if (!seen) continue;
                found++;
                if (seen->seat != n + 1) wrong++;
            }
        });
    std::this_thread::sleep_for(sanitized ? 2s : 500ms);
    stop = true;
    for (auto& one : threads) one.join();
    EXPECT_GT(found, 0u);
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(lost, 0u);
    EXPECT_EQ(t.size(), room);
}

}  // namespace
}  // namespace skua::udp
