// What clients and servers of skua-upgrade say to each other: one machine, so in its own byte order.
#pragma once

#include <cstdint>

namespace skua::upgrade {

/// A question, and its answer. A flow begins with sequence 0; the server that takes it gives it a key, and knows it by
/// key and sequence from then on.
struct message {
    std::uint64_t flow = 0;
    std::uint64_t key = 0;
    std::uint32_t sequence = 0;
    std::uint32_t member = 0;  // answer: who answers
    std::uint8_t last = 0;     // question: the flow ends
    std::uint8_t known = 0;    // answer: the member knew the flow
    std::uint8_t reserved[6] = {};
};
static_assert(sizeof(message) == 32);

}  // namespace skua::upgrade
