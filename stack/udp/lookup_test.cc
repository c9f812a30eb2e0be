// Each rule of the lookup, on its own.
#include <gtest/gtest.h>

#include <array>
#include <map>

#include "udp/tables_fixture.hh"

namespace skua::udp {

namespace {

using found = std::set<pcb*>;

class lookup : public tables_fixture {
protected:
    using tables_fixture::tables_fixture;
    /// Sockets on other addresses of the port, so that its slot is no longer walked.
    void crowd() {
        for (int i = 0; i < 11; i++) bound("10.9.0." + std::to_string(i + 1), {.reuse_address = true});
    }
};

class lookup_group_rule : public lookup {
protected:
    lookup_group_rule() : lookup(table_options{.mixed = mixed_rule::group}) {}
};

}  // namespace

TEST_F(lookup, nothing_bound_finds_nothing) {
    EXPECT_EQ(to("10.0.0.1"), nullptr);
    bound("10.0.0.1");
    EXPECT_EQ(to("10.0.0.1", test_port + 1), nullptr);
    EXPECT_EQ(to("10.0.0.2"), nullptr);
    EXPECT_EQ(to("10.0.0.1", 0), nullptr);
}

TEST_F(lookup, unbound_is_not_found) {
    auto& s = bound("10.0.0.1");
    EXPECT_EQ(to("10.0.0.1"), &s);
    table.unbind(s);
    EXPECT_EQ(to("10.0.0.1"), nullptr);
    EXPECT_EQ(s.local.port, 0);
}

TEST_F(lookup, score_own_family_beats_dual_stack) {
    auto& v4 = bound("0.0.0.0", {.reuse_port = true});
    auto& v6 = bound("::", {.reuse_port = true});
    EXPECT_EQ(to("10.0.0.1"), &v4);
    EXPECT_EQ(to("fd00::1"), &v6);
    table.unbind(v4);
    EXPECT_EQ(to("10.0.0.1"), &v6);
}

TEST_F(lookup, v6_only_takes_no_ipv4) {
    auto& v6 = bound("::", {.v6_only = true});
    EXPECT_EQ(to("10.0.0.1"), nullptr);
    EXPECT_EQ(to("fd00::1"), &v6);
}

TEST_F(lookup, ipv6_socket_on_a_mapped_address_takes_ipv4_only) {
    auto& s = bound_v6("10.0.0.1");
    EXPECT_EQ(to("10.0.0.1"), &s);
    auto& any = bound_v6("0.0.0.0", {}, test_port + 1);
    EXPECT_EQ(to("10.0.0.1", test_port + 1), &any);
    EXPECT_EQ(to("fd00::1", test_port + 1), nullptr);
}

TEST_F(lookup, score_local_address_beats_wildcard) {
    auto& exact = bound("127.0.0.1", {.reuse_address = true});
    auto& any = bound("0.0.0.0", {.reuse_address = true});
    EXPECT_EQ(to("127.0.0.1"), &exact);
    EXPECT_EQ(to("127.0.0.2"), &any);
}

TEST_F(lookup, score_connected_beats_exact_address) {
    auto& any = bound("0.0.0.0", {.reuse_address = true});
    auto& exact = bound("127.0.0.1", {.reuse_address = true});
    auto& peer = bound("127.0.0.1", {.reuse_address = true});
    connect(peer, "127.0.0.1");
    bound("127.0.0.1", {.reuse_address = true});
    EXPECT_EQ(to("127.0.0.1"), &peer);
    auto other = packet_to("127.0.0.1");
    other.flow.remote_port = 1000;
    EXPECT_NE(table.lookup(other), &peer);
    EXPECT_NE(table.lookup(other), &any);
    table.unbind(sockets.back());
    EXPECT_EQ(table.lookup(other), &exact);
}

TEST_F(lookup, score_remote_address_without_port) {
    auto& exact = bound("127.0.0.1", {.reuse_address = true});
    auto& half = bound("127.0.0.1", {.reuse_address = true});
    connect(half, "127.0.0.1", 0);
    bound("127.0.0.1", {.reuse_address = true});
    EXPECT_EQ(to("127.0.0.1"), &half);
    auto other = packet_to("127.0.0.1");
    other.flow.remote = addr("10.0.0.8");
    table.unbind(sockets.back());
    EXPECT_EQ(table.lookup(other), &exact);
}

TEST_F(lookup, score_half_connected_on_a_device_beats_connected_without) {
    auto& half = bound("127.0.0.1", {.reuse_address = true, .device = 2, .incoming_shard = 0});
    connect(half, "127.0.0.1", 0);
    auto& whole = bound("127.0.0.1", {.reuse_address = true});
    connect(whole, "127.0.0.1");
    EXPECT_EQ(to("127.0.0.1"), &half);  // 2 + 4 + 4 + 4 + 1 against 2 + 4 + 4 + 4
}

TEST_F(lookup, score_device_beats_none_and_a_foreign_device_does_not_match) {
    auto& device = bound("0.0.0.0", {.reuse_address = true, .device = 2});
    auto& plain = bound("0.0.0.0", {.reuse_address = true});
    auto packet = packet_to("10.0.0.1");
    EXPECT_EQ(table.lookup(packet), &device);
    packet.ifindex = 3;
    EXPECT_EQ(table.lookup(packet), &plain);
    table.unbind(plain);
    EXPECT_EQ(table.lookup(packet), nullptr);
}

TEST_F(lookup, score_incoming_shard_is_a_hint) {
    auto& hinted = bound("0.0.0.0", {.reuse_address = true, .incoming_shard = 3});
    auto& plain = bound("0.0.0.0", {.reuse_address = true});
    auto packet = packet_to("10.0.0.1");
    EXPECT_EQ(table.lookup(packet), &plain);
    packet.shard = 3;
    EXPECT_EQ(table.lookup(packet), &hinted);
    table.unbind(plain);
    packet.shard = 0;
    EXPECT_EQ(table.lookup(packet), &hinted);
}

TEST_F(lookup, device_of_a_connected_socket_is_checked) {
    auto& s = bound("127.0.0.1", {.device = 2});
    connect(s, "127.0.0.1");
    auto packet = packet_to("127.0.0.1");
    EXPECT_EQ(table.lookup(packet), &s);
    packet.ifindex = 3;
    EXPECT_EQ(table.lookup(packet), nullptr);
}

TEST_F(lookup, equal_without_reuse_port_the_one_bound_last_wins) {
    auto& first = bound("127.0.0.1", {.reuse_address = true});
    auto& second = bound("127.0.0.1", {.reuse_address = true});
    auto& third = bound("127.0.0.1", {.reuse_address = true});
    EXPECT_EQ(to("127.0.0.1"), &third);
    table.unbind(third);
    EXPECT_EQ(to("127.0.0.1"), &second);
    table.unbind(second);
    EXPECT_EQ(to("127.0.0.1"), &first);
}

TEST_F(lookup, equal_with_one_peer_the_one_connected_last_wins) {
    auto& first = bound("127.0.0.1", {.reuse_address = true});
    auto& second = bound("127.0.0.1", {.reuse_address = true});
    connect(second, "127.0.0.1");
    connect(first, "127.0.0.1");
    EXPECT_EQ(to("127.0.0.1"), &first);
}

TEST_F(lookup, equal_all_with_reuse_port_the_group_picks_by_hash) {
    found all;
    for (int i = 0; i < 4; i++) all.insert(&bound("127.0.0.1", {.reuse_port = true}));
    EXPECT_EQ(to_many("127.0.0.1"), all);
    for (std::uint32_t h = 0; h < 100; h++)
        EXPECT_EQ(table.lookup(packet_to("127.0.0.1", test_port, h)),
                  table.lookup(packet_to("127.0.0.1", test_port, h)));
}

TEST_F(lookup, equal_all_with_reuse_port_shares_are_even) {
    for (int i = 0; i < 4; i++) bound("127.0.0.1", {.reuse_port = true});
    std::map<pcb*, int> share;
    for (std::uint32_t h = 0; h < 512; h++) share[table.lookup(packet_to("127.0.0.1", test_port, h))]++;
    for (const auto& [s, n] : share) EXPECT_EQ(n, 128);
}

TEST_F(lookup, group_members_of_this_shard_score_higher) {
    auto& on_one = bound("127.0.0.1", {.reuse_port = true, .incoming_shard = 1});
    auto& on_two = bound("127.0.0.1", {.reuse_port = true, .incoming_shard = 2});
    auto& anywhere = bound("127.0.0.1", {.reuse_port = true});
    const auto on_shard = [&](std::uint16_t shard) {
        found all;
        for (std::uint32_t h = 0; h < 512; h++) {
            auto k = packet_to("127.0.0.1", test_port, h);
            k.shard = shard;
            all.insert(table.lookup(k));
        }
        return all;
    };
    EXPECT_EQ(on_shard(1), found{&on_one});
    EXPECT_EQ(on_shard(2), found{&on_two});
    EXPECT_EQ(on_shard(0), (found{&on_one, &on_two, &anywhere}));
    table.unbind(on_one);
    EXPECT_EQ(on_shard(1), (found{&on_two, &anywhere}));
    {
        const auto hold = table.lock();
        anywhere.incoming_shard = 1;
    }
    table.refresh(anywhere);
    EXPECT_EQ(on_shard(1), found{&anywhere});
}

TEST_F(lookup, equal_some_with_reuse_port_ipv4_bound_last_without_it_wins) {
    bound("127.0.0.1", {.reuse_address = true, .reuse_port = true});
    bound("127.0.0.1", {.reuse_address = true, .reuse_port = true});
    auto& plain = bound("127.0.0.1", {.reuse_address = true});
    EXPECT_EQ(to_many("127.0.0.1"), found{&plain});
}

TEST_F(lookup, equal_some_with_reuse_port_ipv4_rule_every_picks_among_all) {
    auto& plain = bound("127.0.0.1", {.reuse_address = true});
    auto& older = bound("127.0.0.1", {.reuse_address = true});
    auto& a = bound("127.0.0.1", {.reuse_address = true, .reuse_port = true});
    auto& b = bound("127.0.0.1", {.reuse_address = true, .reuse_port = true});
    std::map<pcb*, int> share;
    for (std::uint32_t h = 0; h < 40000; h++) share[table.lookup(packet_to("127.0.0.1", test_port, h * 2654435761u))]++;
    for (auto* s : {&plain, &older, &a, &b}) EXPECT_NEAR(share[s], 10000, 600);
    EXPECT_TRUE(table.wants_hash(test_port));
}

TEST_F(lookup, equal_some_with_reuse_port_ipv4_rule_every_moves_only_the_flows_of_the_leaver) {
    for (int i = 0; i < 3; i++) bound("127.0.0.1", {.reuse_address = true});
    auto& leaver = bound("127.0.0.1", {.reuse_address = true});
    bound("127.0.0.1", {.reuse_address = true, .reuse_port = true});
    std::vector<pcb*> before;
    for (std::uint32_t h = 0; h < 1000; h++) before.push_back(table.lookup(packet_to("127.0.0.1", test_port, h)));
    table.unbind(leaver);
    for (std::uint32_t h = 0; h < 1000; h++)
        if (before[h] != &leaver) {
            EXPECT_EQ(table.lookup(packet_to("127.0.0.1", test_port, h)), before[h]);
        }
}

TEST_F(lookup_group_rule, equal_some_with_reuse_port_ipv4_rule_group_picks_among_the_group) {
    bound("127.0.0.1", {.reuse_address = true});
    auto& a = bound("127.0.0.1", {.reuse_address = true, .reuse_port = true});
    auto& b = bound("127.0.0.1", {.reuse_address = true, .reuse_port = true});
    EXPECT_EQ(to_many("127.0.0.1"), (found{&a, &b}));
    auto& last = bound("127.0.0.1", {.reuse_address = true});
    EXPECT_EQ(to_many("127.0.0.1"), found{&last});
}

TEST_F(lookup, equal_some_with_reuse_port_ipv6_the_last_without_it_wins) {
    bound("::1", {.reuse_address = true});
    auto& plain = bound("::1", {.reuse_address = true});
    bound("::1", {.reuse_address = true, .reuse_port = true});
    EXPECT_EQ(to_many("::1"), found{&plain});
    table.unbind(sockets.front());
    table.unbind(plain);
    EXPECT_EQ(to("::1"), &sockets.back());
}

TEST_F(lookup, equal_ipv6_of_two_groups_the_one_begun_first_wins) {
    auto& dual = bound("::", {.reuse_port = true});
    bound("::", {.reuse_port = true, .v6_only = true});
    EXPECT_EQ(to_many("fd00::1"), found{&dual});
    EXPECT_EQ(to_many("10.0.0.1"), found{&dual});
}

TEST_F(lookup, equal_dual_stack_sockets_follow_the_rule_of_the_packet) {
    auto& plain = bound("::", {.reuse_address = true});
    auto& shared = bound("::", {.reuse_address = true, .reuse_port = true});
    EXPECT_EQ(to_many("fd00::1"), found{&plain});
    EXPECT_EQ(to_many("10.0.0.1"), (found{&plain, &shared}));
}

TEST_F(lookup, group_needs_the_same_owner_and_device) {
    bound("127.0.0.1", {.reuse_address = true, .reuse_port = true, .owner = 1});
    auto& b = bound("127.0.0.1", {.reuse_address = true, .reuse_port = true, .owner = 2});
    EXPECT_NE(sockets.front().member_of, b.member_of);
    bound("127.0.0.1", {.reuse_address = true, .reuse_port = true, .owner = 2, .device = 2});
    EXPECT_NE(sockets.back().member_of, b.member_of);
    auto& mate = bound("127.0.0.1", {.reuse_port = true, .owner = 2}, test_port + 1);
    EXPECT_NE(mate.member_of, b.member_of);
}

TEST_F(lookup, connected_member_leaves_its_group) {
    found rest;
    for (int i = 0; i < 3; i++) rest.insert(&bound("127.0.0.1", {.reuse_port = true}));
    auto& peer = bound("127.0.0.1", {.reuse_port = true});
    connect(peer, "127.0.0.1");
    EXPECT_EQ(peer.member_of, nullptr);
    EXPECT_EQ(to_many("127.0.0.1"), found{&peer});
    found others;
    for (std::uint32_t h = 0; h < 1000; h++) {
        auto k = packet_to("127.0.0.1", test_port, h);
        k.flow.remote_port = 1000;
        others.insert(table.lookup(k));
    }
    EXPECT_EQ(others, rest);
    table.disconnect(peer);
    rest.insert(&peer);
    EXPECT_EQ(to_many("127.0.0.1"), rest);
}

TEST_F(lookup, more_than_ten_are_found_by_address) {
    auto& any = bound("0.0.0.0", {.reuse_address = true});
    auto& v6 = bound("::", {.reuse_address = true});
    crowd();
    EXPECT_EQ(to("10.9.0.11"), &sockets.back());
    EXPECT_EQ(to("10.0.0.1"), &any);
    EXPECT_EQ(to("fd00::1"), &v6);
    table.unbind(any);
    EXPECT_EQ(to("10.0.0.1"), &v6);
}

TEST_F(lookup, more_than_ten_a_device_wildcard_ties_with_an_exact_address_as_in_a_walk) {
    for (const bool crowded : {false, true}) {
        if (crowded) crowd();
        auto& exact = bound("10.0.0.1", {.reuse_address = true});
        auto& device = bound("0.0.0.0", {.reuse_address = true, .device = 2});
        EXPECT_EQ(to("10.0.0.1"), &device) << crowded;
        table.unbind(exact);
        ASSERT_EQ(bind_error(exact, "10.0.0.1"), 0);
        EXPECT_EQ(to("10.0.0.1"), &exact) << crowded;
        table.unbind(exact);
        table.unbind(device);
    }
}

TEST_F(lookup, more_than_ten_a_hinted_dual_stack_socket_ties_with_an_ipv4_one) {
    crowd();
    auto& v4 = bound("0.0.0.0", {.reuse_address = true});
    auto& v6 = bound("::", {.reuse_address = true, .incoming_shard = 0});
    EXPECT_EQ(to("10.0.0.1"), &v6);
    table.unbind(v4);
    ASSERT_EQ(bind_error(v4, "0.0.0.0"), 0);
    EXPECT_EQ(to("10.0.0.1"), &v4);
}

TEST_F(lookup, more_than_ten_on_one_address_are_compared) {
    crowd();
    auto& older = bound("10.0.0.1", {.reuse_address = true});
    auto& newer = bound("10.0.0.1", {.reuse_address = true});
    EXPECT_EQ(to("10.0.0.1"), &newer);
    auto& device = bound("10.0.0.1", {.reuse_address = true, .device = 2});
    EXPECT_EQ(to("10.0.0.1"), &device);
    table.unbind(device);
    table.unbind(newer);
    EXPECT_EQ(to("10.0.0.1"), &older);
    auto& any = bound("0.0.0.0", {.reuse_address = true, .device = 2, .incoming_shard = 0});
    EXPECT_EQ(to("10.0.0.1"), &any);  // 2 + 4 + 1 against 2 + 4
}

TEST_F(lookup, ten_and_eleven_find_the_same) {
    auto& exact = bound("10.0.0.1", {.reuse_address = true});
    auto& any = bound("0.0.0.0", {.reuse_address = true});
    auto& v6 = bound("::", {.reuse_address = true});
    auto& peer = bound("10.0.0.1", {.reuse_address = true});
    connect(peer, "10.0.0.1");
    auto other = packet_to("10.0.0.1");
    other.flow.remote_port = 1000;
    const auto check = [&](unsigned entries) {
        EXPECT_EQ(to("10.0.0.1"), &peer) << entries;
        EXPECT_EQ(table.lookup(other), &exact) << entries;
        EXPECT_EQ(to("10.0.0.2"), &any) << entries;
        EXPECT_EQ(to("fd00::1"), &v6) << entries;
    };
    std::vector<test_socket*> more;
    for (int round = 0; round < 3; round++) {
        for (unsigned entries = 4; entries <= 13; entries++) {
            more.push_back(&bound("10.9.0." + std::to_string(entries), {.reuse_address = true}));
            check(entries);
            EXPECT_EQ(to("10.9.0." + std::to_string(entries)), more.back());
        }
        // From either end, so that the list of many loses its first, its last and one between.
        for (unsigned entries = 13; entries >= 4; entries--) {
            const auto at = entries % 2 ? more.begin() : more.end() - 1;
            table.unbind(**at);
            more.erase(at);
            check(entries);
            for (const auto* s : more) EXPECT_EQ(to(s->local.address.to_string()), s);
        }
    }
}

TEST_F(lookup, more_than_ten_change_no_choice_by_hash) {
    bound("10.0.0.1", {.reuse_address = true});
    for (int i = 0; i < 3; i++) bound("10.0.0.1", {.reuse_address = true, .reuse_port = true});
    for (int i = 0; i < 2; i++) bound("0.0.0.0", {.reuse_address = true, .reuse_port = true, .device = 2});
    const auto picks = [&] {
        std::vector<pcb*> all;
        for (std::uint32_t h = 0; h < 1000; h++)
            for (const char* local : {"10.0.0.1", "10.0.0.2"})
                all.push_back(table.lookup(packet_to(local, test_port, h * 2654435761u)));
        return all;
    };
    const auto before = picks();
    crowd();
    EXPECT_EQ(picks(), before);
}

TEST_F(lookup, an_incoming_shard_beyond_16_bits_is_no_hint) {
    auto& hinted = bound("0.0.0.0", {.reuse_address = true, .incoming_shard = 65536});
    auto& plain = bound("0.0.0.0", {.reuse_address = true});
    EXPECT_EQ(to("10.0.0.1"), &plain);
    table.unbind(plain);
    EXPECT_EQ(to("10.0.0.1"), &hinted);
}

TEST_F(lookup, burst_is_the_same_as_one_by_one) {
    crowd();
    bound("0.0.0.0", {.reuse_address = true});
    bound("10.0.0.1", {.reuse_port = true}, test_port + 1);
    bound("10.0.0.1", {.reuse_port = true}, test_port + 1);
    auto& peer = bound("10.0.0.1", {}, test_port + 2);
    ASSERT_TRUE(table.connect(peer, addr("10.0.0.1"), {addr("10.0.0.9"), 999, 0}));
    for (const std::size_t n : {0, 1, 31, 32, 33, 64, 100}) {
        std::vector<lookup_key> keys;
        for (std::size_t i = 0; i < n; i++)
            keys.push_back(packet_to(i % 3 ? "10.0.0.1" : "10.9.0.4", static_cast<std::uint16_t>(test_port + i % 4),
                                     std::uint32_t(i) * 77));
        std::vector<pcb*> out(n, &peer);
        table.lookup(keys, out);
        for (std::size_t i = 0; i < n; i++) EXPECT_EQ(out[i], table.lookup(keys[i])) << i;
    }
}

TEST_F(lookup, wants_hash_only_where_a_choice_may_be) {
    EXPECT_FALSE(table.wants_hash(test_port));
    auto& a = bound("10.0.0.1", {.reuse_port = true});
    EXPECT_FALSE(table.wants_hash(test_port));
    auto& b = bound("10.0.0.1", {.reuse_port = true});
    EXPECT_TRUE(table.wants_hash(test_port));
    connect(b, "10.0.0.1");
    EXPECT_FALSE(table.wants_hash(test_port));
    table.disconnect(b);
    table.unbind(a);
    EXPECT_FALSE(table.wants_hash(test_port));
    bound("10.0.0.1", {.reuse_address = true}, test_port + 1);
    bound("10.0.0.1", {.reuse_address = true}, test_port + 1);
    EXPECT_FALSE(table.wants_hash(test_port + 1));
}

TEST_F(lookup, refresh_takes_over_changed_options) {
    auto& s = bound("0.0.0.0", {.reuse_address = true});
    {
        const auto hold = table.lock();
        s.device = 3;
    }
    EXPECT_EQ(to("10.0.0.1"), &s);
    table.refresh(s);
    EXPECT_EQ(to("10.0.0.1"), nullptr);
    {
        const auto hold = table.lock();
        s.device = 0;
        s.reuse_address = false;
        s.reuse_port = true;
    }
    table.refresh(s);
    EXPECT_EQ(to("10.0.0.1"), &s);
    auto& mate = bound("0.0.0.0", {.reuse_port = true});
    EXPECT_NE(s.member_of, nullptr);
    EXPECT_EQ(s.member_of, mate.member_of);
    EXPECT_EQ(to_many("10.0.0.1"), (found{&s, &mate}));
    auto& free = make(ip_family::v4, {});
    table.refresh(free);
    EXPECT_EQ(free.local.port, 0);
}

TEST_F(lookup, refresh_keeps_the_order_of_binding) {
    auto& first = bound("0.0.0.0", {.reuse_address = true});
    auto& second = bound("0.0.0.0", {.reuse_address = true});
    table.refresh(first);
    EXPECT_EQ(to("10.0.0.1"), &second);
}

TEST_F(lookup, receivers_are_all_that_match) {
    found expected;
    expected.insert(&bound("0.0.0.0", {.reuse_address = true}));
    expected.insert(&bound("224.1.1.1", {.reuse_address = true}));
    expected.insert(&bound("::", {.reuse_address = true}));
    for (int i = 0; i < 3; i++) expected.insert(&bound("0.0.0.0", {.reuse_address = true, .reuse_port = true}));
    bound("10.0.0.1", {.reuse_address = true});                      // an address proper
    bound("0.0.0.0", {.reuse_address = true, .device = 7});          // another device
    bound("::", {.reuse_address = true, .v6_only = true});           // takes no IPv4
    connect(bound("0.0.0.0", {.reuse_address = true}), "10.0.0.1");  // its address is its own now (fact 68)
    auto& peer = bound("224.1.1.1", {.reuse_address = true});
    connect(peer, "224.1.1.1");
    expected.insert(&peer);
    const auto receivers = [&](const lookup_key& k) {
        found all;
        const std::size_t n = table.for_each_receiver(k, [&](pcb& p) { EXPECT_TRUE(all.insert(&p).second); });
        EXPECT_EQ(n, all.size());
        return all;
    };
    EXPECT_EQ(receivers(packet_to("224.1.1.1")), expected);
    crowd();
    EXPECT_EQ(receivers(packet_to("224.1.1.1")), expected);
    auto other = packet_to("224.1.1.1");
    other.flow.remote_port = 1;
    expected.erase(&peer);
    EXPECT_EQ(receivers(other), expected);
    EXPECT_TRUE(receivers(packet_to("224.1.1.1", test_port + 1)).empty());
}

TEST_F(lookup, for_all_visits_every_bound_socket) {
    std::set<const pcb*> expected;
    expected.insert(&bound("10.0.0.1", {.reuse_port = true}));
    expected.insert(&bound("10.0.0.1", {.reuse_port = true}));
    auto& peer = bound("10.0.0.1", {}, test_port + 1);
    connect(peer, "10.0.0.1");
    expected.insert(&peer);
    make(ip_family::v4, {});
    std::set<const pcb*> seen;
    table.for_all([&](const pcb& p) { EXPECT_TRUE(seen.insert(&p).second); });
    EXPECT_EQ(seen, expected);
}

TEST_F(lookup, ten_thousand_addresses_on_one_port) {
    for (unsigned i = 0; i < 10000; i++) {
        auto& s = make(ip_family::v4, {});
        ASSERT_TRUE(table.bind(s, {ipv4_address(10, 8, std::uint8_t(i >> 8), std::uint8_t(i)), test_port, 0}));
    }
    unsigned i = 0;
    for (auto& s : sockets) {
        auto k = packet_to("10.0.0.1");
        k.flow.local = ipv4_address(10, 8, std::uint8_t(i >> 8), std::uint8_t(i));
        ASSERT_EQ(table.lookup(k), &s);
        i++;
    }
}

TEST_F(lookup, hundred_thousand_connected_sockets_on_one_port) {
    constexpr unsigned n = 100000;
    for (unsigned i = 0; i < n; i++) {
        auto& s = make(ip_family::v4, {.reuse_address = true});
        ASSERT_TRUE(table.bind(s, {ip_address::v4_any(), test_port, 0}));
        ASSERT_TRUE(table.connect(
            s, addr("10.0.0.1"),
            {ipv4_address(10, 7, std::uint8_t(i >> 8), std::uint8_t(i)), std::uint16_t(1 + (i >> 16)), 0}));
    }
    auto& any = bound("0.0.0.0", {.reuse_address = true});
    unsigned i = 0;
    for (auto& s : sockets) {
        if (&s == &any) break;
        auto k = packet_to("10.0.0.1");
        k.flow.remote = ipv4_address(10, 7, std::uint8_t(i >> 8), std::uint8_t(i));
        k.flow.remote_port = std::uint16_t(1 + (i >> 16));
        ASSERT_EQ(table.lookup(k), &s);
        i++;
    }
    EXPECT_EQ(to("10.0.0.1"), &any);
}

}  // namespace skua::udp
