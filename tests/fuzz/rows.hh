// An input of the frame fuzzer: a row of frames, each behind its length in 16 bits, big-endian (see make_corpus.py).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace skua::test {

/// Calls `visit` with each frame (a span of bytes) in order. A length beyond the end takes what is left; a last single
/// byte is no frame.
template <class Visit>
void for_each_frame(const std::uint8_t* data, std::size_t size, Visit&& visit) {
    std::span<const std::uint8_t> left(data, size);
    while (left.size() >= 2) {
        const std::size_t said = static_cast<std::size_t>(left[0]) << 8 | left[1];
        left = left.subspan(2);
        const auto frame = left.first(std::min(said, left.size()));
        left = left.subspan(frame.size());
        visit(frame);
    }
}

}  // namespace skua::test
