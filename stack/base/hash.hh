// Keyed hash of addresses and ports.
//
// The NH family (RFC 4418 §5.2, there with 32-bit words): a sum of products of keyed words. For anyone who does not
// know the key, two different inputs of one length collide with the probability of chance, so nobody outside can aim at
// a slot.
#pragma once

#include <cstdint>

#include "base/address.hh"
#include "base/random.hh"

namespace skua {

class keyed_hash {
public:
    explicit keyed_hash(random_source& random) {
        for (auto& k : key_) k = random.next();
    }

    std::uint32_t operator()(const ip_address& a, std::uint64_t b) const {
        return fold(product(a.high() + key_[0], a.low_raw() + key_[1]) + product(b + key_[2], key_[3] | 1));
    }

    std::uint32_t operator()(const flow_key& f) const {
        const std::uint64_t ports = std::uint64_t(f.local_port) << 16 | f.remote_port;
        return fold(product(f.local.high() + key_[0], f.local.low_raw() + key_[1]) +
                    product(f.remote.high() + key_[2], f.remote.low_raw() + key_[3]) +
                    product(ports + key_[4], key_[5] | 1));
    }

private:
    using wide = unsigned __int128;
    static constexpr wide product(std::uint64_t a, std::uint64_t b) { return static_cast<wide>(a) * b; }
    static constexpr std::uint32_t fold(wide v) {
        // Sums of consecutive inputs lie evenly spaced. Without the multiplication they would stay so in the low bits,
        // and about one key in a hundred would crowd few slots.
        std::uint64_t mixed = static_cast<std::uint64_t>(v >> 64) ^ static_cast<std::uint64_t>(v);
        mixed ^= mixed >> 32;
        mixed *= 0x9e3779b97f4a7c15ull;  // 2^64 over the golden ratio
        return static_cast<std::uint32_t>(mixed >> 32);
    }
    std::uint64_t key_[6];
};

}  // namespace skua
