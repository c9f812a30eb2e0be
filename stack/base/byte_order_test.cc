// Tests of integers in network byte order.
#include "base/byte_order.hh"

#include <gtest/gtest.h>

#include <cstring>

namespace skua {
namespace {

TEST(big_endian, lies_in_memory_most_significant_byte_first) {
    const be16 two(0x0102);
    const be32 four(0x01020304);
    const be64 eight(0x0102030405060708);
    EXPECT_EQ(0, std::memcmp(&two, "\1\2", 2));
    EXPECT_EQ(0, std::memcmp(&four, "\1\2\3\4", 4));
    EXPECT_EQ(0, std::memcmp(&eight, "\1\2\3\4\5\6\7\10", 8));
}

TEST(big_endian, gives_back_what_it_was_made_of) {
    for (const std::uint32_t v : {0u, 1u, 0x80000000u, 0xdeadbeefu, 0xffffffffu}) {
        EXPECT_EQ(be32(v).host(), v);
        EXPECT_EQ(be16(static_cast<std::uint16_t>(v)).host(), static_cast<std::uint16_t>(v));
        EXPECT_EQ(be64(std::uint64_t(v) << 16).host(), std::uint64_t(v) << 16);
        EXPECT_EQ(be32::from_raw(v).raw(), v);
    }
}

TEST(big_endian, raw_is_what_the_machine_reads) {
    EXPECT_EQ(be16(0x0102).raw(), 0x0201);
    EXPECT_EQ(be32::from_raw(0x04030201).host(), 0x01020304u);
}

TEST(big_endian, may_stand_anywhere) {
    struct odd {
        std::uint8_t first;
        be32 middle;
        be16 last;
    };
    static_assert(sizeof(odd) == 7 && alignof(odd) == 1 && alignof(be64) == 1);
    unsigned char bytes[] = {9, 0, 0, 1, 0, 2, 3};
    odd o;
    std::memcpy(&o, bytes, sizeof o);
    EXPECT_EQ(o.middle.host(), 256u);
    EXPECT_EQ(o.last.host(), 0x0203);
}

TEST(big_endian, is_zero_by_default_and_compares_by_value) {
    static_assert(be32{}.host() == 0);
    static_assert(be32(7) == be32(7) && be32(7) != be32(8));
    static_assert(be16(0x1234).host() == 0x1234);
}

}  // namespace
}  // namespace skua
