// Tests: states, timers, parked datagrams and the limits of the neighbour machine.
#include <gtest/gtest.h>

#include <thread>

#include "net/neighbour_test_support.hh"

namespace skua::net::test {
namespace {

using enum neighbour_state;

class neighbour_states : public neighbour_test {
protected:
    void make_reachable() {
        park(peer4);
        hear_arp_reply();
        out.clear();
    }
    /// Time until the entry is stale; the clock stands there afterwards.
    nanoseconds until_stale() {
        const auto from = now;
        while (state_of(peer4) == reachable && now - from < 100s) pass(100ms);
        EXPECT_EQ(state_of(peer4), stale);
        return now - from;
    }
};

TEST_F(neighbour_states, unknown_is_asked_for) {
    EXPECT_FALSE(resolved(peer4));
    park(peer4);
    EXPECT_EQ(state_of(peer4), incomplete);
    EXPECT_FALSE(resolved(peer4));
    ASSERT_EQ(out.frames.size(), 1u);
    const auto& f = out.frames[0];
    EXPECT_EQ(f.ifindex, p0);
    EXPECT_EQ(f.p.size(), 42u);
    EXPECT_EQ(eth(f).destination, mac_address::broadcast());
    EXPECT_EQ(eth(f).source, own_mac);
    EXPECT_EQ(eth(f).type.host(), 0x0806);
    EXPECT_TRUE(arp(f).is_ipv4_over_ethernet());
    EXPECT_EQ(arp(f).operation.host(), wire::arp_request);
    EXPECT_EQ(arp(f).sender_mac, own_mac);
    EXPECT_EQ(ip_address(arp(f).sender_ip), own4);
    EXPECT_TRUE(arp(f).target_mac.is_zero());
    EXPECT_EQ(ip_address(arp(f).target_ip), peer4);
}

TEST_F(neighbour_states, parked_go_out_in_order_before_readers_may_send) {
    park(peer4, 'a');
    park(peer4, 'b');
    park(peer4, 'c');
    EXPECT_EQ(out.frames.size(), 1u);  // one question for all
    out.clear();
    EXPECT_EQ(hear_arp_reply(), packet::step::held);
    ASSERT_EQ(out.frames.size(), 3u);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(eth(out.frames[i]).destination, peer_mac);
        EXPECT_EQ(eth(out.frames[i]).type.host(), 0x0800);
        EXPECT_EQ(bytes_of(out.frames[i].p).back(), "abc"[i]);
    }
    EXPECT_EQ(state_of(peer4), reachable);
    EXPECT_EQ(resolved(peer4), peer_mac);
    EXPECT_FALSE(resolved(peer4, 99));
}

TEST_F(neighbour_states, asks_three_times_then_fails) {
    park(peer4, 'a');
    park(peer4, 'b');
    EXPECT_EQ(table->next_due(), now + 1s);
    pass(999ms);
    EXPECT_EQ(out.frames.size(), 1u);
    pass(1ms);
    EXPECT_EQ(out.frames.size(), 2u);
    pass(1s);
    EXPECT_EQ(out.frames.size(), 3u);
    pass(999ms);
    EXPECT_EQ(state_of(peer4), incomplete);
    EXPECT_TRUE(out.drops.empty());
    pass(1ms);
    EXPECT_EQ(out.frames.size(), 3u);
    EXPECT_EQ(state_of(peer4), failed);
    ASSERT_EQ(out.drops.size(), 2u);
    for (const auto& d : out.drops) {
        EXPECT_EQ(d.why, drop_reason::neigh_failed);
        EXPECT_EQ(d.p.size(), 21u);  // the datagram as it was parked, for the error to its sender
    }
    EXPECT_FALSE(resolved(peer4));
}

TEST_F(neighbour_states, failed_is_asked_anew_at_once) {
    park(peer4);
    pass(3s);
    ASSERT_EQ(state_of(peer4), failed);
    out.clear();
    park(peer4);
    EXPECT_EQ(state_of(peer4), incomplete);
    EXPECT_EQ(out.frames.size(), 1u);
    pass(2s);
    EXPECT_EQ(out.frames.size(), 3u);
}

TEST_F(neighbour_states, failed_is_forgotten) {
    park(peer4);
    pass(3s);
    pass(60s - 100ms);
    EXPECT_EQ(table->size(), 1u);
    pass(100ms);
    EXPECT_EQ(table->size(), 0u);
    EXPECT_EQ(table->next_due(), time_point::max());
}

TEST_F(neighbour_states, queue_is_bounded_and_pushes_out_the_oldest) {
    for (int i = 0; i < 66; i++) park(peer4, static_cast<char>(i));
    ASSERT_EQ(out.drops.size(), 2u);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(out.drops[i].why, drop_reason::neigh_queue_full);
        EXPECT_EQ(bytes_of(out.drops[i].p).back(), static_cast<char>(i));
    }
    out.clear();
    hear_arp_reply();
    ASSERT_EQ(out.frames.size(), 64u);
    EXPECT_EQ(bytes_of(out.frames[0].p).back(), 2);
    EXPECT_EQ(bytes_of(out.frames[63].p).back(), 65);
}

TEST_F(neighbour_states, reachable_for_half_to_one_and_a_half_of_30_seconds) {
    nanoseconds shortest = 100s, longest = 0s;
    for (int i = 0; i < 30; i++) {
        make_table({});
        make_reachable();
        const auto lasted = until_stale();
        shortest = std::min(shortest, lasted);
        longest = std::max(longest, lasted);
    }
    EXPECT_GE(shortest, 15s);
    EXPECT_LE(longest, 45100ms);
    EXPECT_LT(shortest, 22s);
    EXPECT_GT(longest, 38s);
}

TEST_F(neighbour_states, stale_unused_is_forgotten) {
    make_reachable();
    until_stale();
    pass(59900ms);
    EXPECT_EQ(state_of(peer4), stale);
    pass(100ms);
    EXPECT_EQ(state_of(peer4), none);
    EXPECT_TRUE(out.frames.empty());
}

TEST_F(neighbour_states, stale_used_is_delayed_probed_and_reachable_again) {
    make_reachable();
    EXPECT_TRUE(resolved(peer4));  // use while reachable asks for nothing
    until_stale();
    tick();
    EXPECT_EQ(state_of(peer4), stale);
    EXPECT_EQ(resolved(peer4), peer_mac);
    EXPECT_LE(table->next_due(), now + 100ms);
    tick();
    EXPECT_EQ(state_of(peer4), delay);
    EXPECT_EQ(resolved(peer4), peer_mac);
    pass(4900ms);
    EXPECT_EQ(state_of(peer4), delay);
    EXPECT_TRUE(out.frames.empty());
    pass(100ms);
    EXPECT_EQ(state_of(peer4), probe);
    EXPECT_EQ(resolved(peer4), peer_mac);
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(eth(out.frames[0]).destination, peer_mac);  // unicast
    EXPECT_EQ(arp(out.frames[0]).operation.host(), wire::arp_request);
    pass(1s);
    EXPECT_EQ(out.frames.size(), 2u);
    hear_arp_reply();
    EXPECT_EQ(state_of(peer4), reachable);
    pass(10s);
    EXPECT_EQ(out.frames.size(), 2u);
    EXPECT_TRUE(out.drops.empty());
}

TEST_F(neighbour_states, use_of_a_stale_one_is_seen_again_later) {
    make_reachable();
    until_stale();
    for (int round = 0; round < 3; round++) {
        EXPECT_TRUE(resolved(peer4));
        pass(100ms);
        ASSERT_EQ(state_of(peer4), delay);
        hear_arp_reply();
        ASSERT_EQ(state_of(peer4), reachable);
        until_stale();
    }
}

TEST_F(neighbour_states, unanswered_probes_fail) {
    make_reachable();
    until_stale();
    EXPECT_TRUE(resolved(peer4));
    tick();
    pass(5s);
    pass(2900ms);
    EXPECT_EQ(out.frames.size(), 3u);
    EXPECT_EQ(state_of(peer4), probe);
    pass(100ms);
    EXPECT_EQ(out.frames.size(), 3u);
    EXPECT_EQ(state_of(peer4), failed);
    EXPECT_FALSE(resolved(peer4));
}

TEST_F(neighbour_states, parking_behind_a_known_one_sends) {
    make_reachable();
    park(peer4, 'x');
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(bytes_of(out.frames[0].p).back(), 'x');
    EXPECT_EQ(state_of(peer4), reachable);
    until_stale();
    park(peer4);
    EXPECT_EQ(out.frames.size(), 2u);
    EXPECT_EQ(state_of(peer4), delay);
}

TEST_F(neighbour_states, parking_for_no_interface) {
    table->park(datagram(own4, peer4), 99, peer4, ctx(), out);
    ASSERT_EQ(out.drops.size(), 1u);
    EXPECT_EQ(out.drops[0].why, drop_reason::tx_no_route);
}

TEST_F(neighbour_states, parked_without_headroom) {
    packet::packet p = datagram(own4, peer4);
    ASSERT_NE(p.prepend(rte_pktmbuf_headroom(p.get())), nullptr);
    table->park(std::move(p), p0, peer4, ctx(), out);
    hear_arp_reply();
    ASSERT_EQ(out.drops.size(), 1u);
    EXPECT_EQ(out.drops[0].why, drop_reason::no_mbuf);
}

TEST_F(neighbour_states, nothing_to_ask_with) {
    out.out_of_packets = true;
    park(peer4);
    park(peer6);
    EXPECT_TRUE(out.frames.empty());
    out.out_of_packets = false;
    pass(1s);
    EXPECT_EQ(out.frames.size(), 2u);
}

TEST_F(neighbour_states, asks_with_the_address_the_datagram_is_from) {
    change([](topology_builder& b) {
        ASSERT_TRUE(b.add_address(p0, prefix("198.18.0.8/24")));
        ASSERT_TRUE(b.add_address(p0, prefix("2001:db8::8/64")));
    });
    tick();
    out.clear();
    const ip_address from[] = {ip("198.18.0.8"), ip("127.0.0.1"), ip("203.0.113.1")};
    const ip_address asked_with[] = {from[0], own4, own4};
    for (int i = 0; i < 3; i++) {
        table->park(datagram(from[i], ip("198.18.0.10" + std::to_string(i))), p0, ip("198.18.0.10" + std::to_string(i)),
                    ctx(), out);
        EXPECT_EQ(ip_address(arp(out.frames.back()).sender_ip), asked_with[i]);
    }
    table->park(datagram(ip("2001:db8::8"), peer6), p0, peer6, ctx(), out);
    EXPECT_EQ(ip_address(ip6(out.frames.back()).source), ip("2001:db8::8"));
    table->park(datagram(ip("2001:db8:f::8"), ip("2001:db8::9")), p0, ip("2001:db8::9"), ctx(), out);
    EXPECT_EQ(ip_address(ip6(out.frames.back()).source), own6);
}

TEST_F(neighbour_states, no_address_to_ask_with) {
    for (const auto& a : map->by_index(p0)->addresses) a.state->store(address_state::duplicate);
    park(peer4);
    park(peer6);
    EXPECT_TRUE(out.frames.empty());
    pass(3s);
    EXPECT_EQ(out.drops.size(), 2u);
}

// ---- limits ----

ip_address scanned(unsigned n) { return ipv4_address(be32(0x0a000000u + n)); }

TEST_F(neighbour_states, scan_of_100000_addresses) {
    make_table({.max_entries = 256});
    // 100 peers that are used, 100 stale ones of which half are used.
    for (unsigned n = 0; n < 100; n++) {
        table->park(datagram(own4, scanned(n)), p0, scanned(n), ctx(), out);
        hear({.operation = wire::arp_reply, .sender_ip = scanned(n), .target_mac = own_mac, .destination = own_mac});
    }
    for (unsigned n = 100; n < 200; n++) hear({.sender_ip = scanned(n)});
    for (unsigned n = 100; n < 200; n += 2) EXPECT_TRUE(resolved(scanned(n)));
    const ip_address still_asked = scanned(500);
    out.clear();
    for (unsigned n = 0; n < 100000; n++) {
        table->park(datagram(own4, scanned(1000 + n)), p0, scanned(1000 + n), ctx(), out);
        ASSERT_LE(table->size(), 256u);
        if (n == 99990) table->park(datagram(own4, still_asked, 'x'), p0, still_asked, ctx(), out);
        if (out.frames.size() > 400) out.clear();
    }
    for (unsigned n = 0; n < 100; n++) EXPECT_EQ(state_of(scanned(n)), reachable) << n;
    for (unsigned n = 100; n < 200; n += 2) EXPECT_TRUE(resolved(scanned(n))) << n;
    // An honest question among those of the scan is still answered.
    out.clear();
    hear({.operation = wire::arp_reply, .sender_ip = still_asked, .target_mac = own_mac, .destination = own_mac});
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(bytes_of(out.frames[0].p).back(), 'x');
    EXPECT_EQ(table->size(), table->list().size());
}

TEST_F(neighbour_states, evicts_failed_before_others) {
    make_table({.max_entries = 16});
    for (unsigned n = 0; n < 14; n++) hear({.sender_ip = scanned(n)});  // stale
    park(peer4);
    pass(3s);
    ASSERT_EQ(state_of(peer4), failed);
    for (unsigned n = 14; n < 17; n++) park(scanned(n));
    EXPECT_EQ(state_of(peer4), none);
    EXPECT_EQ(state_of(scanned(0)), none);  // the one longest stale went next
    EXPECT_EQ(state_of(scanned(1)), stale);
}

TEST_F(neighbour_states, evicted_incomplete_drops_its_parked) {
    make_table({.max_entries = 1});
    park(scanned(0), 'a');
    park(scanned(1), 'b');
    ASSERT_EQ(out.drops.size(), 1u);
    EXPECT_EQ(out.drops[0].why, drop_reason::neigh_table_full);
    EXPECT_EQ(bytes_of(out.drops[0].p).back(), 'a');
    EXPECT_EQ(state_of(scanned(1)), incomplete);
}

TEST_F(neighbour_states, full_of_entries_in_use) {
    make_table({.max_entries = 4});
    for (unsigned n = 0; n < 4; n++) {
        park(scanned(n));
        hear({.operation = wire::arp_reply, .sender_ip = scanned(n), .target_mac = own_mac, .destination = own_mac});
    }
    out.clear();
    park(scanned(9), 'x');
    ASSERT_EQ(out.drops.size(), 1u);
    EXPECT_EQ(out.drops[0].why, drop_reason::neigh_table_full);
    EXPECT_EQ(bytes_of(out.drops[0].p).back(), 'x');
    EXPECT_TRUE(out.frames.empty());
    // Who asks us is answered all the same.
    EXPECT_EQ(hear(arp_frame{}), packet::step::held);
    EXPECT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(table->size(), 4u);
}

TEST_F(neighbour_states, places_wait_for_readers) {
    make_table({.max_entries = 1});
    rcu_domain::poller shard(rcu);  // polls, but never says that it is done
    unsigned n = 0;
    while (out.drops.empty() || out.drops.back().p.size() != 0) {
        park(scanned(n++), 'x');
        if (!out.drops.empty() && bytes_of(out.drops.back().p).back() == 'x' && state_of(scanned(n - 1)) == none) break;
        ASSERT_LT(n, 100u);
    }
    EXPECT_EQ(n, 18u);  // 1 + 16 in reserve, and the one that found none
    EXPECT_EQ(out.drops.back().why, drop_reason::neigh_table_full);
    shard.quiescent();
    park(scanned(n), 'x');
    EXPECT_EQ(state_of(scanned(n)), incomplete);
}

// ---- the control side ----

TEST_F(neighbour_states, permanent) {
    park(peer4, 'a');
    out.clear();
    table->set_permanent(p0, peer4, other_mac);
    EXPECT_LE(table->next_due(), now);
    tick();
    EXPECT_EQ(state_of(peer4), permanent);
    ASSERT_EQ(out.frames.size(), 1u);
    EXPECT_EQ(eth(out.frames[0]).destination, other_mac);
    EXPECT_EQ(resolved(peer4), other_mac);
    hear({.sender_mac = peer_mac, .sender_ip = peer4, .target_ip = peer4});  // an announcement
    hear_arp_reply();
    pass(200s);
    EXPECT_EQ(resolved(peer4), other_mac);
    table->set_permanent(p0, peer4, peer_mac);
    tick();
    EXPECT_EQ(resolved(peer4), peer_mac);
    table->remove(p0, peer4);
    table->remove(p0, peer6);  // is not there
    tick();
    EXPECT_EQ(state_of(peer4), none);
}

TEST_F(neighbour_states, permanent_ones_are_never_evicted_and_have_a_reserve) {
    make_table({.max_entries = 4});
    for (unsigned n = 0; n < 6; n++) table->set_permanent(p0, scanned(n), peer_mac);
    tick();
    EXPECT_EQ(table->size(), 6u);
    park(scanned(9));
    EXPECT_EQ(out.drops.size(), 1u);
    for (unsigned n = 0; n < 6; n++) EXPECT_TRUE(resolved(scanned(n)));
    for (unsigned n = 0; n < 100; n++) table->set_permanent(p0, scanned(n), peer_mac);
    tick();
    EXPECT_EQ(table->size(), 21u);
}

TEST_F(neighbour_states, removing_drops_what_is_parked) {
    park(peer4);
    table->remove(p0, peer4);
    tick();
    ASSERT_EQ(out.drops.size(), 1u);
    EXPECT_EQ(out.drops[0].why, drop_reason::neigh_failed);
    EXPECT_EQ(table->size(), 0u);
}

TEST_F(neighbour_states, forgetting_an_interface) {
    change([](topology_builder& b) { ASSERT_TRUE(b.add_interface({.index = 3, .name = "p1", .port = 1})); });
    table->set_permanent(3, peer4, other_mac);
    table->set_permanent(p0, peer6, other_mac);
    tick();
    make_reachable();
    table->park(datagram(own4, scanned(1)), p0, scanned(1), ctx(), out);
    EXPECT_EQ(table->size(), 4u);
    table->forget_interface(p0);
    tick();
    EXPECT_EQ(table->size(), 1u);
    EXPECT_EQ(resolved(peer4, 3), other_mac);
    ASSERT_EQ(out.drops.size(), 1u);
    EXPECT_EQ(out.drops[0].why, drop_reason::tx_no_route);
}

TEST_F(neighbour_states, interface_that_the_topology_lost) {
    make_reachable();
    park(scanned(1));
    change([](topology_builder& b) { ASSERT_TRUE(b.remove_interface(p0)); });
    // What comes before the tick meets entries without an interface.
    EXPECT_EQ(hear_arp_reply(), drop_reason::arp_ignored);
    tick();
    EXPECT_EQ(table->size(), 0u);
    ASSERT_EQ(out.drops.size(), 1u);
    EXPECT_EQ(out.drops[0].why, drop_reason::tx_no_route);
}

TEST_F(neighbour_states, listing) {
    make_reachable();
    park(peer6);
    const auto all = table->list();
    ASSERT_EQ(all.size(), 2u);
    const auto& four = all[0].address == peer4 ? all[0] : all[1];
    EXPECT_EQ(four.ifindex, p0);
    EXPECT_EQ(four.mac, peer_mac);
    EXPECT_EQ(four.state, reachable);
    EXPECT_FALSE(four.router);
}

TEST_F(neighbour_states, what_is_parked_dies_with_the_table) {
    park(peer4);
    park(peer6);
    out.clear();
    EXPECT_GT(rte_mempool_in_use_count(pool.get()), 0u);
    table.reset();
    EXPECT_EQ(rte_mempool_in_use_count(pool.get()), 0u);
}

TEST_F(neighbour_states, readers_see_whole_addresses) {
    // The owner flips an address between two; readers must see one or the other.
    make_reachable();
    const auto one = mac("02:11:11:11:11:11"), two = mac("02:22:22:22:22:22");
    hear({.sender_mac = one, .target_ip = peer4});
    std::atomic<bool> stop{false};
    std::atomic<unsigned> torn{0}, seen{0};
    std::thread reader([&] {
        while (!stop) {
            const rcu_domain::read_guard guard(rcu);
            mac_address got;
            if (!table->resolve(p0, peer4, got)) continue;
            seen++;
            if (got != one && got != two) torn++;
        }
    });
    for (int i = 0; i < 20000 || (seen < 1000 && i < 10000000); i++) {
        hear({.sender_mac = i % 2 ? one : two, .target_ip = peer4});
        if (i % 100 == 0) {
            advance(100ms);
            tick();
            out.clear();
        }
    }
    stop = true;
    reader.join();
    EXPECT_GT(seen, 0u);
    EXPECT_EQ(torn, 0u);
}

}  // namespace
}  // namespace skua::net::test
