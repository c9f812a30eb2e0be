// The UDP header as it is put in front of a payload.
#include "udp/output.hh"

#include <gtest/gtest.h>

#include "packet/pool.hh"
#include "wire/udp.hh"

namespace skua::udp {

namespace {

class output : public testing::Test {
protected:
    void SetUp() override {
        auto made = packet::make_pool("udp_out", 255, 2048 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
        ASSERT_TRUE(made);
        pool = std::move(*made);
    }
    void TearDown() override { EXPECT_EQ(rte_mempool_in_use_count(pool.get()), 0u); }
    packet::pool pool;
};

}  // namespace

TEST_F(output, header_has_ports_and_length_and_wants_a_checksum) {
    auto p = packet::allocate(pool.get(), 100);
    ASSERT_TRUE(prepend_udp(p, 5000, 53));
    const auto* h = p.header<wire::udp_header>(0);
    EXPECT_EQ(p.size(), 108u);
    EXPECT_EQ(h->source_port.host(), 5000);
    EXPECT_EQ(h->destination_port.host(), 53);
    EXPECT_EQ(h->length.host(), 108);
    EXPECT_EQ(h->checksum.host(), 0);
    EXPECT_EQ(p.get()->ol_flags & RTE_MBUF_F_TX_L4_MASK, RTE_MBUF_F_TX_UDP_CKSUM);
}

TEST_F(output, length_counts_all_segments) {
    auto p = packet::allocate(pool.get(), 5000);
    ASSERT_FALSE(p.contiguous());
    ASSERT_TRUE(prepend_udp(p, 1, 2));
    EXPECT_EQ(p.header<wire::udp_header>(0)->length.host(), 5008);
}

TEST_F(output, checksum_can_be_left_out) {
    auto p = packet::allocate(pool.get(), 0);
    p.get()->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    ASSERT_TRUE(prepend_udp(p, 1, 2, false));
    EXPECT_EQ(p.get()->ol_flags & RTE_MBUF_F_TX_L4_MASK, 0u);
    EXPECT_EQ(p.header<wire::udp_header>(0)->length.host(), 8);
}

TEST_F(output, longest_payload_fits_and_one_more_does_not) {
    auto p = packet::allocate(pool.get(), most_payload);
    ASSERT_TRUE(p);
    ASSERT_TRUE(prepend_udp(p, 1, 2));
    EXPECT_EQ(p.header<wire::udp_header>(0)->length.host(), 65535);
    auto longer = packet::allocate(pool.get(), most_payload + 1);
    ASSERT_TRUE(longer);
    EXPECT_FALSE(prepend_udp(longer, 1, 2));
    EXPECT_EQ(longer.size(), most_payload + 1);
}

TEST_F(output, without_headroom_the_packet_is_unchanged) {
    auto p = packet::allocate(pool.get(), 10, 7);
    EXPECT_FALSE(prepend_udp(p, 1, 2));
    EXPECT_EQ(p.size(), 10u);
}

}  // namespace skua::udp
