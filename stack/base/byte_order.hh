// Integers in network byte order, as types: nothing crosses between the orders without saying so.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace skua {

/// An unsigned integer as it lies on the wire. Alignment 1, so it may stand anywhere in a header.
template <std::unsigned_integral T>
class big_endian {
public:
    constexpr big_endian() = default;
    constexpr explicit big_endian(T host) : bytes_(std::bit_cast<storage>(swapped(host))) {}

    constexpr T host() const { return swapped(std::bit_cast<T>(bytes_)); }
    /// The bytes as an integer in whatever order the machine reads them: for hashing and comparing only.
    constexpr T raw() const { return std::bit_cast<T>(bytes_); }
    static constexpr big_endian from_raw(T raw) {
        big_endian v;
        v.bytes_ = std::bit_cast<storage>(raw);
        return v;
    }

    friend constexpr bool operator==(const big_endian&, const big_endian&) = default;

private:
    struct storage {
        unsigned char b[sizeof(T)];
        friend constexpr bool operator==(const storage&, const storage&) = default;
    };
    static constexpr T swapped(T v) {
        static_assert(std::endian::native == std::endian::little, "skua runs on little-endian machines only");
        if constexpr (sizeof(T) == 2) return __builtin_bswap16(v);
        else if constexpr (sizeof(T) == 4) return __builtin_bswap32(v);
        else return __builtin_bswap64(v);
    }
    storage bytes_{};
};

using be16 = big_endian<std::uint16_t>;
using be32 = big_endian<std::uint32_t>;
using be64 = big_endian<std::uint64_t>;

static_assert(sizeof(be32) == 4 && alignof(be32) == 1);

}  // namespace skua
