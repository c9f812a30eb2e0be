// Tests of packet pools.
#include "packet/pool.hh"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <cerrno>

namespace skua::packet {
namespace {

TEST(pool, holds_what_was_asked_for) {
    const auto p = make_pool("pool-test", 100, 1000, SOCKET_ID_ANY);
    ASSERT_TRUE(p);
    EXPECT_EQ((*p)->size, 100u);
    EXPECT_EQ(rte_pktmbuf_data_room_size(p->get()), 1000);
    EXPECT_EQ(rte_mempool_in_use_count(p->get()), 0u);
}

TEST(pool, small_ones_get_a_small_cache) {
    for (const unsigned packets : {1u, 2u, 3u, 255u, 383u, 384u, 1000u}) {
        const auto p = make_pool("pool-test", packets, 256, SOCKET_ID_ANY);
        ASSERT_TRUE(p) << packets;
        EXPECT_EQ((*p)->size, packets);
        EXPECT_LE((*p)->cache_size, 256u);
    }
}

TEST(pool, a_name_is_taken_until_its_pool_is_gone) {
    auto first = make_pool("pool-test", 10, 256, SOCKET_ID_ANY);
    ASSERT_TRUE(first);
    const auto second = make_pool("pool-test", 10, 256, SOCKET_ID_ANY);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error(), error{EEXIST});
    first->reset();
    EXPECT_TRUE(make_pool("pool-test", 10, 256, SOCKET_ID_ANY));
}

TEST(pool, errors) {
    EXPECT_EQ(make_pool("pool-test", 0, 256, SOCKET_ID_ANY).error(), error{EINVAL});
    EXPECT_EQ(make_pool("pool-test", 2000, 256, SOCKET_ID_ANY, 1000).error(),
              error{EINVAL});  // a cache beyond DPDK's limit
    EXPECT_EQ(make_pool("pool-test", 10'000'000, 2048, SOCKET_ID_ANY).error(), error{ENOMEM});
    EXPECT_EQ(make_pool("a-name-longer-than-a-pool-may-have", 10, 256, SOCKET_ID_ANY).error(), error{ENAMETOOLONG});
    EXPECT_TRUE(make_pool("pool-test", 10, 256, SOCKET_ID_ANY));  // nothing is left of what failed
}

}  // namespace
}  // namespace skua::packet
