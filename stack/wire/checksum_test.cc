// Tests of the Internet checksum against a sum written down as RFC 1071 words it.
#include "wire/checksum.hh"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "base/random.hh"

namespace skua::wire {
namespace {

using bytes = std::vector<std::byte>;

bytes random_bytes(random_source& random, std::size_t n) {
    bytes out(n);
    for (auto& b : out) b = static_cast<std::byte>(random.next());
    return out;
}

/// The 16-bit one's complement sum of big-endian words, an odd last byte padded with zero: folded after each addition.
std::uint16_t reference_sum(std::span<const std::byte> data, std::uint32_t sum = 0) {
    for (std::size_t i = 0; i < data.size(); i++) {
        sum += static_cast<std::uint32_t>(data[i]) << (i % 2 ? 0 : 8);
        if (sum > 0xffff) sum -= 0xffff;
    }
    return static_cast<std::uint16_t>(sum);
}

std::uint16_t sum_of(std::span<const std::byte> data) {
    checksum_sum s;
    s.add(data);
    return s.folded().host();
}

/// Packets cut as a test wants them, from a pool that must be whole again at the end.
class mbuf_checksum : public testing::Test {
protected:
    mbuf_checksum() : pool_(rte_pktmbuf_pool_create("wire-test", 255, 0, 0, 4096, SOCKET_ID_ANY)) {}
    ~mbuf_checksum() override {
        EXPECT_EQ(rte_mempool_in_use_count(pool_), 0u);
        rte_mempool_free(pool_);
    }
    struct free_mbuf {
        void operator()(rte_mbuf* m) const { rte_pktmbuf_free(m); }
    };
    using chain = std::unique_ptr<rte_mbuf, free_mbuf>;

    chain cut(std::span<const std::byte> data, const std::vector<std::size_t>& lengths) {
        chain head;
        for (const std::size_t n : lengths) {
            rte_mbuf* m = rte_pktmbuf_alloc(pool_);
            if (n > 0) std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(n)), data.data(), n);
            data = data.subspan(n);
            if (head) rte_pktmbuf_chain(head.get(), m);
            else head.reset(m);
        }
        EXPECT_TRUE(data.empty());
        return head;
    }
    static std::uint16_t sum_of(const chain& m, std::size_t offset, std::size_t length) {
        checksum_sum s;
        s.add(m.get(), static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(length));
        return s.folded().host();
    }

    rte_mempool* pool_;
};

TEST(checksum, example_of_rfc1071) {
    const std::array<std::uint8_t, 8> data{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};  // §3
    checksum_sum s;
    s.add(std::as_bytes(std::span(data)));
    EXPECT_EQ(s.folded().host(), 0xddf2);
    EXPECT_EQ(s.finish().host(), static_cast<std::uint16_t>(~0xddf2));
}

TEST(checksum, every_length_odd_ones_too) {
    seeded_random random(1);
    const auto data = random_bytes(random, 300);
    for (std::size_t n = 0; n <= data.size(); n++)
        EXPECT_EQ(sum_of(std::span(data).first(n)), reference_sum(std::span(data).first(n))) << n;
}

TEST(checksum, every_alignment) {
    seeded_random random(2);
    const auto data = random_bytes(random, 128);
    for (std::size_t at = 0; at < 64; at++)
        EXPECT_EQ(sum_of(std::span(data).subspan(at, 63)), reference_sum(std::span(data).subspan(at, 63)));
}

TEST(checksum, the_largest_datagram_of_ones_does_not_overflow) {
    const bytes data(65535, std::byte{0xff});
    EXPECT_EQ(sum_of(data), reference_sum(data));
    checksum_sum s;
    for (int i = 0; i < 100; i++) s.add(std::span(data).first(65534));
    EXPECT_EQ(s.folded().host(), 0xffff);
    EXPECT_EQ(s.finish().host(), 0);
}

TEST(checksum, parts_add_up) {
    seeded_random random(3);
    const auto data = random_bytes(random, 101);
    checksum_sum s;
    s.add(std::span(data).first(40));
    s.add(std::span(data).subspan(40, 20));
    s.add(std::span(data).subspan(60));
    s.add_word(0xabcd);
    EXPECT_EQ(s.folded().host(), reference_sum(data, 0xabcd));
}

TEST(checksum, of_nothing) {
    EXPECT_EQ(checksum_sum().folded().host(), 0);
    EXPECT_EQ(checksum_sum().finish().host(), 0xffff);
}

TEST_F(mbuf_checksum, any_range_of_any_segments) {
    seeded_random random(4);
    const auto data = random_bytes(random, 60);
    for (const auto& lengths : std::vector<std::vector<std::size_t>>{{60},
                                                                     {1, 59},
                                                                     {59, 1},
                                                                     {30, 30},
                                                                     {7, 53},
                                                                     {1, 1, 58},
                                                                     {3, 5, 7, 9, 11, 13, 12},
                                                                     {20, 0, 40},
                                                                     {0, 60},
                                                                     {60, 0},
                                                                     {1, 0, 0, 1, 58}}) {
        const auto m = cut(data, lengths);
        for (std::size_t offset = 0; offset <= data.size(); offset++)
            for (std::size_t length = 0; offset + length <= data.size(); length++)
                ASSERT_EQ(sum_of(m, offset, length), reference_sum(std::span(data).subspan(offset, length)))
                    << offset << '+' << length;
    }
    std::vector<std::size_t> single_bytes(60, 1);
    EXPECT_EQ(sum_of(cut(data, single_bytes), 0, 60), reference_sum(data));
}

// Segments at odd places whose own sums carry: swapping the bytes of such a sum must not lose its carries.
TEST_F(mbuf_checksum, large_segments_at_odd_places) {
    seeded_random random(5);
    for (int round = 0; round < 50; round++) {
        std::vector<std::size_t> lengths{1 + random.below(100)};
        std::size_t total = lengths[0];
        for (int i = 0; i < 4; i++) total += lengths.emplace_back(1 + random.below(2000));
        const auto data = random_bytes(random, total);
        const auto m = cut(data, lengths);
        EXPECT_EQ(sum_of(m, 0, total), reference_sum(data));
        const auto from = random.below(total);
        EXPECT_EQ(sum_of(m, from, total - from), reference_sum(std::span(data).subspan(from)));
    }
    const bytes ones(3001, std::byte{0xff});
    EXPECT_EQ(sum_of(cut(ones, {1001, 1000, 1000}), 0, 3001), reference_sum(ones));
}

TEST(pseudo_header, of_ipv4) {
    // RFC 768: source, destination, zero, protocol, UDP length.
    const std::array<std::uint8_t, 12> wanted{192, 0, 2, 1, 198, 51, 100, 7, 0, 17, 0x12, 0x34};
    checksum_sum s;
    s.add_pseudo_header(ipv4_address(192, 0, 2, 1), ipv4_address(198, 51, 100, 7), IPPROTO_UDP, 0x1234);
    EXPECT_EQ(s.folded().host(), reference_sum(std::as_bytes(std::span(wanted))));
}

TEST(pseudo_header, of_any_ipv4_addresses) {
    seeded_random random(9);
    for (int i = 0; i < 10000; i++) {
        std::array<be16, 6> wanted;
        for (auto& word : wanted) word = be16(i == 0 ? 0 : static_cast<std::uint16_t>(random.next()));
        wanted[4] = be16(IPPROTO_UDP);
        ipv4_address source, destination;
        std::memcpy(static_cast<void*>(&source), &wanted[0], 4);
        std::memcpy(static_cast<void*>(&destination), &wanted[2], 4);
        checksum_sum s;
        s.add_pseudo_header(source, destination, IPPROTO_UDP, wanted[5].host());
        ASSERT_EQ(s.folded().host(), reference_sum(std::as_bytes(std::span(wanted))));
    }
}

TEST(pseudo_header, of_ipv6) {
    // RFC 8200 §8.1: source, destination, 32-bit length, three zero bytes, next header.
    std::array<std::uint8_t, 40> wanted{0x20, 0x01, 0x0d, 0xb8, 1,    2,    3,    4,    5, 6, 7, 8, 9, 10,
                                        11,   12,   0xfe, 0x80, 0,    0,    0,    0,    0, 0, 2, 0, 0, 0,
                                        0,    0,    0,    1,    0x00, 0x01, 0x02, 0x03, 0, 0, 0, 58};
    ipv6_address source, destination;
    std::memcpy(source.bytes.data(), wanted.data(), 16);
    std::memcpy(destination.bytes.data(), wanted.data() + 16, 16);
    checksum_sum s;
    s.add_pseudo_header(source, destination, IPPROTO_ICMPV6, 0x00010203);
    EXPECT_EQ(s.folded().host(), reference_sum(std::as_bytes(std::span(wanted))));
}

TEST(pseudo_header, a_whole_datagram_checks) {
    // A DNS-sized UDP datagram whose checksum was computed byte by byte.
    std::array<std::uint8_t, 13> udp{0x14, 0xe9, 0x00, 0x35, 0x00, 0x0d, 0, 0, 'h', 'e', 'l', 'l', 'o'};
    const std::array<std::uint8_t, 12> pseudo{10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0, 13};
    const auto expected = static_cast<std::uint16_t>(
        ~reference_sum(std::as_bytes(std::span(udp)), reference_sum(std::as_bytes(std::span(pseudo)))));
    const auto sum = [&] {
        checksum_sum s;
        s.add_pseudo_header(ipv4_address(10, 0, 0, 1), ipv4_address(10, 0, 0, 2), IPPROTO_UDP, udp.size());
        s.add(std::as_bytes(std::span(udp)));
        return s.finish();
    };
    const be16 checksum = sum();
    EXPECT_EQ(checksum.host(), expected);
    std::memcpy(&udp[6], &checksum, 2);
    EXPECT_EQ(sum().host(), 0);
    udp[9] ^= 0x10;
    EXPECT_NE(sum().host(), 0);
}

ipv4_header header_of(random_source& random, std::uint8_t version_ihl) {
    ipv4_header h;
    const auto filling = random_bytes(random, sizeof h);
    std::memcpy(static_cast<void*>(&h), filling.data(), sizeof h);
    h.version_ihl = version_ihl;
    return h;
}

TEST(ipv4_checksum, known_header) {
    const std::array<std::uint8_t, 20> raw{0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                                           0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
    ipv4_header h;
    std::memcpy(static_cast<void*>(&h), raw.data(), sizeof h);
    EXPECT_TRUE(ipv4_checksum_good(h));
    h.checksum = {};
    EXPECT_FALSE(ipv4_checksum_good(h));
    set_ipv4_checksum(h);
    EXPECT_EQ(h.checksum.host(), 0xb861);
}

TEST(ipv4_checksum, what_is_set_is_good_and_one_wrong_bit_is_not) {
    seeded_random random(6);
    for (int i = 0; i < 100; i++) {
        auto h = header_of(random, 0x45);
        set_ipv4_checksum(h);
        ASSERT_TRUE(ipv4_checksum_good(h));
        auto* raw = reinterpret_cast<std::uint8_t*>(&h);
        for (unsigned bit = 8; bit < 160; bit++) {  // the first byte says how long the header is
            raw[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
            EXPECT_FALSE(ipv4_checksum_good(h)) << bit;
            raw[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
        }
    }
}

TEST(ipv4_checksum, options_are_summed_too) {
    seeded_random random(7);
    for (unsigned words = 5; words <= 15; words++) {
        alignas(4) std::array<std::byte, 60> raw;
        const auto filling = random_bytes(random, raw.size());
        std::ranges::copy(filling, raw.begin());
        auto& h = *reinterpret_cast<ipv4_header*>(raw.data());
        h.version_ihl = static_cast<std::uint8_t>(0x40 | words);
        set_ipv4_checksum(h);
        EXPECT_EQ(reference_sum(std::span(raw).first(words * 4)), 0xffff);
        EXPECT_TRUE(ipv4_checksum_good(h));
        raw[words * 4 - 1] ^= std::byte{1};
        EXPECT_FALSE(ipv4_checksum_good(h));
    }
}

TEST(checksum_adjusted, agrees_with_summing_anew) {
    seeded_random random(8);
    for (int i = 0; i < 100000; i++) {
        std::array<be16, 4> words;
        words[0] = be16(0x4500);  // no header is all zero
        for (std::size_t k = 1; k < words.size(); k++) words[k] = be16(static_cast<std::uint16_t>(random.next()));
        const auto sum = [&] {
            return be16(static_cast<std::uint16_t>(~reference_sum(std::as_bytes(std::span(words)))));
        };
        const be16 before = sum(), was = words[2];
        // Every third time a change that meets an edge: to 0, to ffff, or none.
        words[2] = be16(i % 3        ? static_cast<std::uint16_t>(random.next())
                        : i % 9 == 0 ? 0
                        : i % 9 == 3 ? 0xffff
                                     : was.host());
        ASSERT_EQ(checksum_adjusted(before, was, words[2]).host(), sum().host()) << i;
    }
}

TEST(checksum_adjusted, example_of_rfc1624) {
    // §4: a checksum of dd2f and a word that goes from 5555 to 3285 give 0000, not ffff as in RFC 1141.
    EXPECT_EQ(checksum_adjusted(be16(0xdd2f), be16(0x5555), be16(0x3285)).host(), 0x0000);
}

TEST(checksum_adjusted, edges) {
    EXPECT_EQ(checksum_adjusted(be16(0x0000), be16(0), be16(0)).host(), 0x0000);
    EXPECT_EQ(checksum_adjusted(be16(0x0000), be16(0xffff), be16(0)).host(), 0x0000);
    EXPECT_EQ(checksum_adjusted(be16(0x1234), be16(0x0001), be16(0x0001)).host(), 0x1234);
    EXPECT_EQ(checksum_adjusted(be16(0xfffe), be16(0x0000), be16(0xffff)).host(), 0xfffe);
    for (unsigned was = 0; was <= 0xffff; was += 257)  // there and back
        for (unsigned is = 1; is <= 0xffff; is += 509) {
            const be16 w(static_cast<std::uint16_t>(was)), n(static_cast<std::uint16_t>(is));
            ASSERT_EQ(checksum_adjusted(checksum_adjusted(be16(0x4321), w, n), n, w).host(), 0x4321);
        }
}

}  // namespace
}  // namespace skua::wire
