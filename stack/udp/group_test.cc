// Buckets: even, and moved as little as can be.
#include "udp/group.hh"

#include <gtest/gtest.h>

#include <map>

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
    test_socket& join() {
        auto& s = sockets.emplace_back(ip_family::v4);
        table.join(s, ++order);
        return s;
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
