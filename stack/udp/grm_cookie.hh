// The 16-bit cookie of udpgrm: which socket a packet asks for.
//
// Bits 0 to 4: the generation; 5 to 7: a check, so that most of what is no cookie is known as such; 8 to 15: the
// socket's index in its generation.
#pragma once

#include <cstdint>
#include <optional>

namespace skua::udp {

struct grm_cookie {
    static constexpr std::uint32_t generations = 32, indexes = 256;

    std::uint8_t generation = 0;
    std::uint8_t index = 0;

    constexpr std::uint16_t pack() const {
        return static_cast<std::uint16_t>(index << 8 | check() << 5 | (generation & 0x1f));
    }
    static constexpr std::optional<grm_cookie> unpack(std::uint16_t v) {
        const grm_cookie c{static_cast<std::uint8_t>(v & 0x1f), static_cast<std::uint8_t>(v >> 8)};
        if (c.pack() != v) return {};
        return c;
    }
    friend constexpr bool operator==(const grm_cookie&, const grm_cookie&) = default;

private:
    /// The nibbles of both and a constant, folded to three bits.
    constexpr unsigned check() const {
        const unsigned g = generation & 0x1f;
        const unsigned mixed = (0xdu ^ index ^ index >> 4 ^ g ^ g >> 4) & 0xf;
        return (mixed & 7) ^ mixed >> 3;
    }
};

}  // namespace skua::udp
