// The system's random numbers.
#include "base/random.hh"

#include <sys/random.h>

#include <stdexcept>

namespace skua {

std::uint64_t system_random::next() {
    if (left_ == 0) {
        // Blocks of up to 256 bytes are never cut short or interrupted (getrandom(2)).
        if (getrandom(block_.data(), sizeof block_, 0) != sizeof block_) throw std::runtime_error("getrandom failed");
        left_ = block_.size();
    }
    return block_[--left_];
}

}  // namespace skua
