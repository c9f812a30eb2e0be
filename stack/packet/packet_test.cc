// Tests of packets over segments. Every mbuf must be back in its pool at the end of each.
#include "packet/packet.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "packet/pool.hh"

namespace skua::packet {
namespace {

using bytes = std::vector<std::byte>;
using cuts = std::vector<std::size_t>;  // lengths of the segments

constexpr std::uint16_t room = 2048;

bytes pattern(std::size_t n) {
    bytes out(n);
    for (std::size_t i = 0; i < n; i++) out[i] = static_cast<std::byte>(i * 7 + i / 256);
    return out;
}

bytes content(const packet& p) {
    bytes out(p.size());
    EXPECT_TRUE(p.read(0, out));
    return out;
}

/// What every packet must be: lengths and number of segments as the chain says.
void expect_sound(const packet& p) {
    std::uint32_t length = 0;
    unsigned segments = 0;
    for (const rte_mbuf* m = p.get(); m; m = m->next) {
        length += m->data_len;
        segments++;
        EXPECT_LE(m->data_off + m->data_len, m->buf_len);
    }
    EXPECT_EQ(p.size(), length);
    EXPECT_EQ(p.get()->nb_segs, segments);
    const char* reason = nullptr;
    EXPECT_EQ(rte_mbuf_check(p.get(), 1, &reason), 0) << reason;
}

class packets : public testing::Test {
protected:
    packets() : pool_(*make_pool("packet-test", 300, room, SOCKET_ID_ANY, 0)) {}
    ~packets() override { EXPECT_EQ(in_use(), 0u); }
    unsigned in_use() const { return rte_mempool_in_use_count(pool_.get()); }

    /// A packet of the pattern, cut as said; the headroom is that of the first segment.
    packet cut(const cuts& lengths, std::uint16_t headroom = RTE_PKTMBUF_HEADROOM) {
        const bytes all = pattern(std::reduce(lengths.begin(), lengths.end()));
        std::size_t at = 0;
        packet p;
        for (const std::size_t n : lengths) {
            rte_mbuf* m = rte_pktmbuf_alloc(pool_.get());
            if (!p) m->data_off = headroom;
            if (n > 0) std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(n)), all.data() + at, n);
            at += n;
            if (!p) p.reset(m);
            else rte_pktmbuf_chain(p.get(), m);
        }
        return p;
    }
    /// The same packet by clones of its segments, which share its buffers.
    packet clone(const packet& p) { return packet(rte_pktmbuf_clone(p.get(), pool_.get())); }

    const pool pool_;
};

TEST_F(packets, own_and_free) {
    packet empty;
    EXPECT_FALSE(empty);
    {
        packet p(rte_pktmbuf_alloc(pool_.get()));
        EXPECT_TRUE(p);
        EXPECT_EQ(in_use(), 1u);
    }
    EXPECT_EQ(in_use(), 0u);
}

TEST_F(packets, move) {
    packet a = allocate(pool_.get(), 5000);
    rte_mbuf* const m = a.get();
    EXPECT_EQ(in_use(), 3u);
    packet b(std::move(a));
    EXPECT_FALSE(a);  // NOLINT: a moved-from packet is empty
    EXPECT_EQ(b.get(), m);
    packet c = allocate(pool_.get(), 10);
    c = std::move(b);
    EXPECT_EQ(c.get(), m);
    EXPECT_EQ(in_use(), 3u);  // what c held is freed
    packet& same = c;
    c = std::move(same);
    EXPECT_EQ(c.get(), m);
    EXPECT_EQ(in_use(), 3u);
}

TEST_F(packets, release_and_reset) {
    packet p = allocate(pool_.get(), 10);
    rte_mbuf* m = p.release();
    EXPECT_FALSE(p);
    EXPECT_EQ(in_use(), 1u);
    p.reset(m);
    p.reset(rte_pktmbuf_alloc(pool_.get()));
    EXPECT_EQ(in_use(), 1u);
    p.reset();
    EXPECT_FALSE(p);
    EXPECT_EQ(in_use(), 0u);
}

TEST_F(packets, allocate_every_size_of_interest) {
    constexpr std::uint32_t first = room - RTE_PKTMBUF_HEADROOM;
    for (const std::uint32_t length :
         {0u, 1u, first - 1, first, first + 1, first + room, first + room + 1, 9000u, 65535u}) {
        const packet p = allocate(pool_.get(), length);
        ASSERT_TRUE(p);
        EXPECT_EQ(p.size(), length);
        EXPECT_EQ(rte_pktmbuf_headroom(p.get()), RTE_PKTMBUF_HEADROOM);
        EXPECT_EQ(p.get()->nb_segs, length <= first ? 1u : 1 + (length - first + room - 1) / room);
        EXPECT_EQ(p.contiguous(), length <= first);
        expect_sound(p);
    }
}

TEST_F(packets, allocate_leaves_the_headroom_asked_for) {
    for (const std::uint16_t headroom :
         {std::uint16_t(0), std::uint16_t(14), std::uint16_t(1000), std::uint16_t(room - 1), room}) {
        const packet p = allocate(pool_.get(), 100, headroom);
        ASSERT_TRUE(p);
        EXPECT_EQ(rte_pktmbuf_headroom(p.get()), headroom);
        expect_sound(p);
    }
    const packet p = allocate(pool_.get(), 100, 60000);  // more than there is: all there is
    EXPECT_EQ(rte_pktmbuf_headroom(p.get()), room);
    EXPECT_EQ(p.front().size(), 0u);
    expect_sound(p);
}

TEST_F(packets, allocate_gives_all_back_when_the_pool_ends) {
    std::vector<packet> held;
    while (in_use() < 299) held.emplace_back(rte_pktmbuf_alloc(pool_.get()));
    EXPECT_FALSE(allocate(pool_.get(), 5000));
    EXPECT_EQ(in_use(), 299u);
    held.push_back(allocate(pool_.get(), 100));
    EXPECT_TRUE(held.back());
    EXPECT_FALSE(allocate(pool_.get(), 0));
}

TEST_F(packets, read_every_range) {
    const bytes all = pattern(40);
    for (const auto& lengths :
         {cuts{40}, cuts{1, 39}, cuts{10, 10, 10, 10}, cuts{7, 0, 33}, cuts{0, 40}, cuts{40, 0}, cuts(40, 1)}) {
        const packet p = cut(lengths);
        expect_sound(p);
        for (std::uint32_t offset = 0; offset <= 40; offset++)
            for (std::size_t n = 0; offset + n <= 40; n++) {
                bytes out(n);
                ASSERT_TRUE(p.read(offset, out)) << offset << '+' << n;
                EXPECT_TRUE(std::equal(out.begin(), out.end(), all.begin() + offset)) << offset << '+' << n;
            }
    }
}

TEST_F(packets, read_refuses_what_is_not_there) {
    const packet p = cut({10, 30});
    bytes out(41);
    EXPECT_FALSE(p.read(0, out));
    EXPECT_FALSE(p.read(40, std::span(out).first(1)));
    EXPECT_FALSE(p.read(41, {}));
    EXPECT_FALSE(p.read(0xffffffff, std::span(out).first(1)));
    EXPECT_FALSE(p.read(0xfffffff0, std::span(out).first(32)));  // the sum does not fit 32 bits
    EXPECT_TRUE(p.read(40, {}));
    EXPECT_TRUE(p.read(0, {}));
}

TEST_F(packets, write_every_range) {
    const bytes all = pattern(24);
    for (const auto& lengths : {cuts{24}, cuts{1, 23}, cuts{8, 8, 8}, cuts{5, 0, 19}, cuts{0, 24}, cuts(24, 1)})
        for (std::uint32_t offset = 0; offset <= 24; offset++)
            for (std::size_t n = 0; offset + n <= 24; n++) {
                packet p = cut(lengths);
                write(p, offset, bytes(n, std::byte{0xee}));
                bytes expected = all;
                std::fill_n(expected.begin() + offset, n, std::byte{0xee});
                ASSERT_EQ(content(p), expected) << offset << '+' << n;
                expect_sound(p);
            }
}

TEST_F(packets, write_then_read_a_large_one) {
    packet p = allocate(pool_.get(), 65507);
    const bytes all = pattern(65507);
    write(p, 0, all);
    EXPECT_EQ(content(p), all);
}

TEST_F(packets, truncate_to_every_length) {
    for (const auto& lengths :
         {cuts{30}, cuts{10, 10, 10}, cuts(30, 1), cuts{10, 0, 20}, cuts{0, 30}, cuts{30, 0, 0}}) {
        for (std::uint32_t n = 0; n <= 30; n++) {
            packet p = cut(lengths);
            p.truncate(n);
            EXPECT_EQ(p.size(), n);
            EXPECT_EQ(content(p), pattern(n));
            expect_sound(p);
        }
        EXPECT_EQ(in_use(), 0u);
    }
    packet p = cut({10, 10, 10});
    p.truncate(10);
    EXPECT_EQ(in_use(), 1u);  // what was cut off is freed
}

TEST_F(packets, header_within_the_first_segment_only) {
    struct four {
        std::uint8_t bytes[4];
    };
    const packet p = cut({10, 30});
    ASSERT_NE(p.header<four>(6), nullptr);
    EXPECT_EQ(std::memcmp(p.header<four>(6), pattern(10).data() + 6, 4), 0);
    EXPECT_EQ(p.header<four>(7), nullptr);
    EXPECT_EQ(p.header<four>(40), nullptr);
    EXPECT_NE(cut({4}).header<four>(0), nullptr);
    EXPECT_EQ(cut({3}).header<four>(0), nullptr);
}

TEST_F(packets, prepend_and_trim) {
    packet p = cut({10, 30}, 20);
    EXPECT_EQ(p.prepend(21), nullptr);
    EXPECT_EQ(p.size(), 40u);
    std::byte* const front = p.prepend(20);
    ASSERT_NE(front, nullptr);
    EXPECT_EQ(front, p.front().data());
    EXPECT_EQ(p.size(), 60u);
    EXPECT_EQ(p.front().size(), 30u);
    EXPECT_EQ(p.prepend(1), nullptr);
    p.trim_front(20);
    EXPECT_EQ(content(p), pattern(40));
    p.trim_front(10);  // the whole first segment
    EXPECT_EQ(p.size(), 30u);
    EXPECT_EQ(p.front().size(), 0u);
    expect_sound(p);
}

TEST_F(packets, headers_become_contiguous_however_they_are_cut) {
    for (const auto& lengths :
         {cuts{300}, cuts{256, 44}, cuts{255, 45}, cuts{1, 299}, cuts(260, 1), cuts{14, 20, 8, 258}, cuts{0, 300},
          cuts{100, 0, 0, 156, 44}, cuts{100, 155, 1, 44}, cuts{10, 246}, cuts{10, 20, 30}, cuts{60}, cuts{1, 1},
          cuts{1, 0, 0}, cuts{255, 0, 1, 0}}) {
        packet p = cut(lengths);
        const std::uint32_t size = p.size();
        ASSERT_TRUE(make_headers_contiguous(p));
        EXPECT_GE(p.front().size(), std::min<std::uint32_t>(size, header_window));
        EXPECT_EQ(p.size(), size);
        EXPECT_EQ(content(p), pattern(size));
        expect_sound(p);
        p.reset();
        EXPECT_EQ(in_use(), 0u);
    }
}

TEST_F(packets, emptied_segments_are_freed) {
    packet p = cut({10, 20, 30, 300});
    ASSERT_TRUE(make_headers_contiguous(p));
    EXPECT_EQ(p.get()->nb_segs, 2);
    EXPECT_EQ(in_use(), 2u);
}

TEST_F(packets, headers_stay_split_without_tailroom) {
    packet p = cut({16, 300}, room - 16);
    EXPECT_FALSE(make_headers_contiguous(p));
    EXPECT_EQ(content(p), pattern(316));
    EXPECT_EQ(p.front().size(), 16u);
    expect_sound(p);
    packet one_short = cut({100, 300}, room - 255);
    EXPECT_FALSE(make_headers_contiguous(one_short));
    packet just_enough = cut({100, 300}, room - 256);
    EXPECT_TRUE(make_headers_contiguous(just_enough));
    EXPECT_EQ(content(just_enough), pattern(400));
}

TEST_F(packets, headers_stay_split_in_shared_buffers) {
    packet p = cut({16, 300});
    packet copy = clone(p);
    EXPECT_FALSE(make_headers_contiguous(p));     // others read its buffer
    EXPECT_FALSE(make_headers_contiguous(copy));  // it reads another's
    EXPECT_EQ(content(p), pattern(316));
    EXPECT_EQ(content(copy), pattern(316));
    copy.reset();
    EXPECT_TRUE(make_headers_contiguous(p));
    EXPECT_EQ(content(p), pattern(316));
}

TEST_F(packets, headers_come_out_of_shared_later_segments) {
    packet p = cut({16, 100, 300});
    packet tail = clone(cut({500}));
    p.truncate(16);
    ASSERT_EQ(rte_pktmbuf_chain(p.get(), tail.release()), 0);
    ASSERT_TRUE(make_headers_contiguous(p));
    EXPECT_EQ(p.size(), 516u);
    bytes rest(500);
    ASSERT_TRUE(p.read(16, rest));
    EXPECT_EQ(rest, pattern(500));
    expect_sound(p);
}

TEST_F(packets, headers_in_one_piece_are_left_alone_even_if_shared) {
    packet p = cut({256, 100});
    packet copy = clone(p);
    EXPECT_TRUE(make_headers_contiguous(p));
    EXPECT_TRUE(make_headers_contiguous(copy));
    EXPECT_EQ(p.get()->nb_segs, 2);
}

TEST_F(packets, meta_travels_with_the_packet) {
    const int offset = meta_offset;
    register_meta();  // a second time: the same field
    EXPECT_EQ(meta_offset, offset);
    EXPECT_EQ(meta_offset % alignof(meta), 0u);
    packet a = allocate(pool_.get(), 10), b = allocate(pool_.get(), 10);
    a.info() = meta{.link = b.get(),
                    .rx_time_ns = 0x1122334455667788,
                    .ifindex = 7,
                    .l4_offset = 42,
                    .rx_shard = 3,
                    .flags = meta_ipv6 | meta_loopback};
    rte_mbuf* const m = a.release();
    EXPECT_EQ(meta_of(m).link, b.get());
    EXPECT_EQ(meta_of(m).rx_time_ns, 0x1122334455667788u);
    EXPECT_EQ(meta_of(m).ifindex, 7u);
    EXPECT_EQ(meta_of(m).l4_offset, 42);
    EXPECT_EQ(meta_of(m).rx_shard, 3);
    EXPECT_EQ(meta_of(m).flags, meta_ipv6 | meta_loopback);
    a.reset(m);
    expect_sound(a);  // no field of the mbuf itself was touched
    EXPECT_EQ(content(a).size(), 10u);
}

}  // namespace
}  // namespace skua::packet
