// Filling the tables of the Toeplitz hash.
#include "port/toeplitz.hh"

#include <bit>
#include <stdexcept>

namespace skua::port {

toeplitz::toeplitz(std::span<const std::uint8_t> key) : rows_(input_bytes) {
    if (key.size() < key_bytes) throw std::invalid_argument("a Toeplitz key has at least 40 bytes");
    for (std::size_t i = 0; i < input_bytes; i++) {
        std::uint64_t window = 0;
        for (std::size_t k = 0; k < 5; k++) window = window << 8 | key[i + k];
        // The hash is linear: the row of a value is that of the value without its lowest bit, and that bit's window of
        // the key.
        rows_[i][0] = 0;
        for (unsigned value = 1; value < 256; value++)
            rows_[i][value] =
                rows_[i][value & (value - 1)] ^ static_cast<std::uint32_t>(window >> (std::countr_zero(value) + 1));
    }
}

}  // namespace skua::port
