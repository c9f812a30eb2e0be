// Packets through ports in memory.
#include "port/ring_pair.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "port/test_support.hh"

namespace skua::port {
namespace {

using test::counted_pool;
using test::unique_name;

std::unique_ptr<port> started(std::uint16_t id, std::uint16_t queues, const counted_pool& pool,
                              std::uint16_t mtu = 1500) {
    auto p = test::start(id, {.queues = queues, .mtu = mtu}, pool);
    if (!p) ADD_FAILURE() << p.error();
    return p ? std::move(*p) : nullptr;
}

rte_mbuf* frame(const counted_pool& pool, std::uint32_t length, std::byte mark) {
    auto p = packet::allocate(pool.get(), length);
    packet::write(p, 0, std::vector<std::byte>(length, mark));
    return p.release();
}

TEST(ring_pair, each_queue_feeds_its_like_in_both_directions) {
    counted_pool pool;
    auto pair = ring_pair::make(unique_name("p"), 4);
    ASSERT_TRUE(pair) << pair.error();
    auto a = started((*pair)->a(), 4, pool), b = started((*pair)->b(), 4, pool);
    ASSERT_TRUE(a && b);
    EXPECT_NE(a->id(), b->id());
    EXPECT_EQ(a->rx_queues(), 4);
    for (auto [from, to] : {std::pair(a.get(), b.get()), std::pair(b.get(), a.get())})
        for (std::uint16_t q = 0; q < 4; q++) {
            rte_mbuf* out[3];
            for (auto& m : out) m = frame(pool, 100, std::byte(q));
            ASSERT_EQ(from->tx(q, out), 3u);
            rte_mbuf* in[8];
            for (std::uint16_t other = 0; other < 4; other++) {
                const unsigned n = to->rx(other, in);
                ASSERT_EQ(n, other == q ? 3u : 0u);
                for (unsigned i = 0; i < n; i++) {
                    EXPECT_EQ(in[i], out[i]) << "order";
                    EXPECT_EQ(*rte_pktmbuf_mtod(in[i], std::byte*), std::byte(q));
                    rte_pktmbuf_free(in[i]);
                }
            }
        }
    const auto stats = a->stats();
    ASSERT_TRUE(stats);
    EXPECT_EQ(stats->tx_packets, 12u);
    EXPECT_EQ(stats->rx_packets, 12u);
    EXPECT_EQ(stats->tx_refused, 0u);
}

TEST(ring_pair, a_full_ring_leaves_the_rest_with_the_caller) {
    counted_pool pool;
    auto pair = ring_pair::make(unique_name("p"), 1, 8);
    ASSERT_TRUE(pair) << pair.error();
    auto a = started((*pair)->a(), 1, pool);
    ASSERT_TRUE(a);
    rte_mbuf* out[10];
    for (auto& m : out) m = frame(pool, 60, std::byte{1});
    EXPECT_EQ(a->tx(0, out), 7u);
    for (unsigned i = 7; i < 10; i++) rte_pktmbuf_free(out[i]);
    // The seven in the ring are freed with the pair.
}

TEST(ring_pair, jumbo_frames_of_several_segments_pass) {
    counted_pool pool;
    auto pair = ring_pair::make(unique_name("p"), 1);
    ASSERT_TRUE(pair) << pair.error();
    auto a = started((*pair)->a(), 1, pool, 9000), b = started((*pair)->b(), 1, pool, 9000);
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->mtu(), 9000);
    EXPECT_TRUE(a->offloads().multi_segment);
    rte_mbuf* out[] = {frame(pool, 9014, std::byte{5})};
    EXPECT_GT(out[0]->nb_segs, 1);
    ASSERT_EQ(a->tx(0, out), 1u);
    rte_mbuf* in[4];
    ASSERT_EQ(b->rx(0, in), 1u);
    EXPECT_EQ(in[0]->pkt_len, 9014u);
    rte_pktmbuf_free(in[0]);
}

TEST(ring_pair, several_pairs_live_side_by_side_and_names_come_free_again) {
    counted_pool pool;
    const auto name = unique_name("p");
    for (int round = 0; round < 3; round++) {
        auto one = ring_pair::make(name, 2), other = ring_pair::make(name + "x", 2);
        ASSERT_TRUE(one) << one.error();
        ASSERT_TRUE(other) << other.error();
        auto a = started((*one)->a(), 2, pool), b = started((*other)->b(), 2, pool);
        ASSERT_TRUE(a && b);
        EXPECT_FALSE(ring_pair::make(name, 2));
    }
    EXPECT_EQ(rte_eth_dev_count_avail(), 0);
}

TEST(ring_pair, says_what_is_wrong_with_its_arguments) {
    EXPECT_THAT(ring_pair::make("", 1).error(), testing::HasSubstr("name"));
    EXPECT_THAT(ring_pair::make(std::string(ring_name_max + 1, 'n'), 1).error(), testing::HasSubstr("name"));
    EXPECT_THAT(ring_pair::make("p", 0).error(), testing::HasSubstr("queues"));
    EXPECT_THAT(ring_pair::make("p", ring_queues_max + 1).error(), testing::HasSubstr("queues"));
    EXPECT_THAT(ring_wire::make("p", 1, 100).error(), testing::HasSubstr("power of two"));
    EXPECT_TRUE(ring_pair::make(std::string(ring_name_max, 'n'), ring_queues_max));
}

TEST(ring_wire, injects_and_collects) {
    counted_pool pool;
    auto wire = ring_wire::make(unique_name("w"), 2, 8);
    ASSERT_TRUE(wire) << wire.error();
    auto p = started((*wire)->id(), 2, pool);
    ASSERT_TRUE(p);
    rte_mbuf* m = frame(pool, 64, std::byte{9});
    ASSERT_TRUE((*wire)->inject(1, m));
    rte_mbuf* in[4];
    EXPECT_EQ(p->rx(0, in), 0u);
    ASSERT_EQ(p->rx(1, in), 1u);
    EXPECT_EQ(in[0], m);
    EXPECT_EQ((*wire)->collect(0), nullptr);
    EXPECT_EQ(p->tx(0, std::span(in, 1)), 1u);
    EXPECT_EQ((*wire)->collect(1), nullptr);
    EXPECT_EQ((*wire)->collect(0), m);
    for (int i = 0; i < 7; i++) ASSERT_TRUE((*wire)->inject(0, frame(pool, 64, std::byte{1})));
    EXPECT_FALSE((*wire)->inject(0, m)) << "full";
    rte_pktmbuf_free(m);
}

TEST(ring_wire, device_may_be_removed_before_its_port) {
    counted_pool pool;
    auto wire = ring_wire::make(unique_name("w"), 1);
    ASSERT_TRUE(wire) << wire.error();
    auto p = started((*wire)->id(), 1, pool);
    ASSERT_TRUE(p);
    wire->reset();
    EXPECT_TRUE(p->gone());
}

}  // namespace
}  // namespace skua::port
