// The Toeplitz hash, as NICs compute it for receive-side scaling.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/address.hh"

namespace skua::port {

/// One table row per byte of input: a hash is as many loads and exclusive-ors as there are bytes. Immutable; any
/// thread.
class toeplitz {
public:
    /// Bytes of key that an IPv6 four-tuple needs; what a longer key has beyond them changes nothing.
    static constexpr std::size_t key_bytes = 40;

    /// Throws std::invalid_argument if the key has fewer than key_bytes.
    explicit toeplitz(std::span<const std::uint8_t> key);

    /// Over source address, destination address, source port, destination port of the received packet.
    std::uint32_t operator()(const flow_key& f) const {
        return f.local.is_v4() ? addresses_of<4>(f) ^ ports_at(8, f) : addresses_of<16>(f) ^ ports_at(32, f);
    }
    /// Over the addresses alone: what NICs give for fragments and for protocols without ports.
    std::uint32_t addresses(const flow_key& f) const {
        return f.local.is_v4() ? addresses_of<4>(f) : addresses_of<16>(f);
    }

private:
    static constexpr std::size_t input_bytes = 36;
    /// The last `N` bytes of both addresses. Words are loaded whole and taken apart: half the loads.
    template <std::size_t N>
    std::uint32_t addresses_of(const flow_key& f) const {
        std::uint32_t hash = 0;
#pragma GCC unroll 4
        for (std::size_t i = 0; i < N; i += 4)
            hash ^= word_at(i, word(f.remote, 16 - N + i)) ^ word_at(N + i, word(f.local, 16 - N + i));
        return hash;
    }
    std::uint32_t ports_at(std::size_t at, const flow_key& f) const {
        return rows_[at][f.remote_port >> 8] ^ rows_[at + 1][f.remote_port & 0xff] ^ rows_[at + 2][f.local_port >> 8] ^
               rows_[at + 3][f.local_port & 0xff];
    }
    static std::uint32_t word(const ip_address& a, std::size_t at) {
        std::uint32_t w;
        std::memcpy(&w, a.bytes().data() + at, 4);
        return w;
    }
    /// Four bytes of input from byte `at` on; the first is the lowest of `w`, as the machine loads it.
    std::uint32_t word_at(std::size_t at, std::uint32_t w) const {
        return rows_[at][w & 0xff] ^ rows_[at + 1][w >> 8 & 0xff] ^ rows_[at + 2][w >> 16 & 0xff] ^
               rows_[at + 3][w >> 24];
    }

    std::vector<std::array<std::uint32_t, 256>> rows_;
};

}  // namespace skua::port
