// A redirection table for other shares, as near to the one before as can be.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace skua::port {

/// Each queue q gets weights[q] parts of the entries, rounded so that all are given (largest remainders first; a queue
/// of weight 0 none). Only queues that had too many lose entries, only those that had too few gain some. At least one
/// weight is not 0.
std::vector<std::uint16_t> respread(std::span<const std::uint16_t> now, std::span<const std::uint32_t> weights);

}  // namespace skua::port
