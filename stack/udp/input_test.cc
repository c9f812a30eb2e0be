// Every check that a datagram must pass, its drop reason and its counters.
#include "udp/input.hh"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <numeric>
#include <vector>

#include "packet/pool.hh"
#include "udp/output.hh"
#include "wire/checksum.hh"
#include "wire/udp.hh"

namespace skua::udp {

namespace {

using packet::step;
using packet::verdict;

constexpr std::uint16_t l4_offset = 34;

class input : public testing::TestWithParam<ip_family> {
protected:
    void SetUp() override {
        auto made = packet::make_pool("udp_in", 255, 512 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
        ASSERT_TRUE(made);
        pool = std::move(*made);
        info.family = GetParam();
        const bool v4 = info.family == ip_family::v4;
        info.flow.local = *ip_address::parse(v4 ? "10.0.0.1" : "fd00::1");
        info.flow.remote = *ip_address::parse(v4 ? "10.0.0.2" : "fd00::2");
        info.l4_offset = l4_offset;
        info.protocol = IPPROTO_UDP;
    }
    void TearDown() override {
        p.reset();
        EXPECT_EQ(rte_mempool_in_use_count(pool.get()), 0u);
    }
    /// A datagram with a right checksum, `behind` bytes after it within the IP payload.
    void build(std::uint32_t payload, std::uint32_t behind = 0) {
        p = packet::allocate(pool.get(), l4_offset + 8 + payload + behind);
        ASSERT_TRUE(p);
        std::vector<std::byte> bytes(p.size());
        for (std::size_t i = 0; i < bytes.size(); i++) bytes[i] = std::byte(i * 7 + 1);
        packet::write(p, 0, bytes);
        *header() = {be16(4000), be16(53), be16(static_cast<std::uint16_t>(8 + payload)), be16(0)};
        info.l4_length = 8 + payload + behind;
        wire::checksum_sum sum;
        sum.add_pseudo_header(info.flow.remote, info.flow.local, IPPROTO_UDP, 8 + payload);
        sum.add(p.get(), l4_offset, 8 + payload);
        header()->checksum = sum.finish();
        if (header()->checksum == be16(0)) header()->checksum = be16(0xffff);
    }
    wire::udp_header* header() const { return p.header<wire::udp_header>(l4_offset); }
    verdict run() {
        const net::context ctx{*map, time_point{}, mibs, random};
        return udp_input(p, info, ctx);
    }
    std::uint64_t in_errors() const {
        return mibs.get(GetParam() == ip_family::v4 ? mib::udp_in_errors : mib::udp6_in_errors);
    }
    std::uint64_t sum_errors() const {
        return mibs.get(GetParam() == ip_family::v4 ? mib::udp_in_csum_errors : mib::udp6_in_csum_errors);
    }
    void expect_refused(drop_reason why, bool by_sum = false) {
        EXPECT_EQ(run(), verdict(why));
        EXPECT_TRUE(p);
        EXPECT_EQ(in_errors(), 1u);
        EXPECT_EQ(sum_errors(), by_sum ? 1u : 0u);
        EXPECT_EQ(info.flow.local_port, 0);
    }

    std::unique_ptr<const net::topology> map = *net::topology_builder().build();
    packet::pool pool;
    packet::packet p;
    packet::rx_info info;
    counter_set<mib> mibs;
    seeded_random random{1};
};

INSTANTIATE_TEST_SUITE_P(families, input, testing::Values(ip_family::v4, ip_family::v6),
                         [](const auto& i) { return i.param == ip_family::v4 ? "ipv4" : "ipv6"; });

}  // namespace

TEST_P(input, good_datagram_is_delivered_with_its_ports) {
    build(100);
    EXPECT_EQ(run(), verdict(step::deliver));
    EXPECT_EQ(info.flow.local_port, 53);
    EXPECT_EQ(info.flow.remote_port, 4000);
    EXPECT_EQ(info.l4_length, 108u);
    EXPECT_EQ(in_errors(), 0u);
}

TEST_P(input, empty_datagram_is_delivered) {
    build(0);
    EXPECT_EQ(run(), verdict(step::deliver));
}

TEST_P(input, checksum_covers_all_segments_of_any_length) {
    for (const std::uint32_t n : {471u, 600u, 1001u, 1400u}) {
        build(n);
        ASSERT_EQ(p.contiguous(), n < 471);
        EXPECT_EQ(run(), verdict(step::deliver)) << n;
        build(n);
        std::byte last;
        ASSERT_TRUE(p.read(p.size() - 1, {&last, 1}));
        last ^= std::byte(0x10);
        packet::write(p, p.size() - 1, {&last, 1});
        EXPECT_EQ(run(), verdict(drop_reason::udp_bad_checksum)) << n;
    }
}

TEST_P(input, header_cut_off_is_truncated) {
    build(0);
    p.truncate(l4_offset + 7);
    expect_refused(drop_reason::udp_truncated);
}

TEST_P(input, ip_payload_shorter_than_a_header_is_truncated) {
    build(10);
    info.l4_length = 7;
    expect_refused(drop_reason::udp_truncated);
}

TEST_P(input, bytes_missing_at_the_end_are_truncated) {
    build(10);
    p.truncate(p.size() - 1);
    expect_refused(drop_reason::udp_truncated);
}

TEST_P(input, length_below_the_header_is_bad) {
    for (const std::uint16_t n : {0, 1, 7}) {
        build(10);
        header()->length = be16(n);
        EXPECT_EQ(run(), verdict(drop_reason::udp_bad_length)) << n;
    }
    EXPECT_EQ(in_errors(), 3u);
}

TEST_P(input, length_beyond_the_ip_payload_is_bad) {
    build(10);
    header()->length = be16(19);
    expect_refused(drop_reason::udp_bad_length);
}

TEST_P(input, what_stands_behind_the_datagram_is_cut_off) {
    build(10, 5);
    EXPECT_EQ(run(), verdict(step::deliver));
    EXPECT_EQ(p.size(), l4_offset + 18u);
    EXPECT_EQ(info.l4_length, 18u);
    build(10, 1400);
    EXPECT_EQ(run(), verdict(step::deliver));
    EXPECT_TRUE(p.contiguous());
}

TEST_P(input, wrong_checksum_is_refused) {
    build(10);
    header()->checksum = be16(static_cast<std::uint16_t>(header()->checksum.host() ^ 0x0100));
    expect_refused(drop_reason::udp_bad_checksum, true);
}

TEST_P(input, wrong_address_breaks_the_checksum) {
    build(10);
    info.flow.local = info.flow.remote;
    expect_refused(drop_reason::udp_bad_checksum, true);
}

TEST_P(input, nic_says_bad) {
    build(10);
    p.get()->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD;
    expect_refused(drop_reason::udp_bad_checksum, true);
}

TEST_P(input, nic_says_good_or_none) {
    for (const auto flag : {RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_NONE}) {
        build(10);
        header()->checksum = be16(1);
        p.get()->ol_flags |= flag;
        EXPECT_EQ(run(), verdict(step::deliver));
    }
}

TEST_P(input, zero_checksum_is_for_ipv4_only) {
    build(10);
    header()->checksum = be16(0);
    if (GetParam() == ip_family::v4) {
        p.get()->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD;  // some NICs say so of no checksum
        EXPECT_EQ(run(), verdict(step::deliver));
        return;
    }
    p.get()->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    expect_refused(drop_reason::udp_zero_checksum, true);
}

TEST_P(input, own_packets_are_not_summed) {
    build(10);
    header()->checksum = be16(0);
    info.local_origin = true;
    EXPECT_EQ(run(), verdict(step::deliver));
    header()->checksum = be16(77);
    EXPECT_EQ(run(), verdict(step::deliver));
}

TEST_P(input, ports_of_zero_pass) {
    build(10);
    info.local_origin = true;
    header()->source_port = be16(0);
    header()->destination_port = be16(0);
    EXPECT_EQ(run(), verdict(step::deliver));
    EXPECT_EQ(info.flow.local_port, 0);
    EXPECT_EQ(info.flow.remote_port, 0);
}

TEST_P(input, udp_header_beyond_the_first_segment_is_truncated) {
    build(600);
    info.l4_offset = 510;
    expect_refused(drop_reason::udp_truncated);
}

}  // namespace skua::udp
