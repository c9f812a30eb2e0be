// Randomness is an argument: the system's own for production, a seeded one for tests.
#pragma once

#include <array>
#include <cstdint>
#include <random>

namespace skua {

/// A source of uniformly distributed 64-bit numbers; also a UniformRandomBitGenerator. Not thread-safe.
class random_source {
public:
    using result_type = std::uint64_t;
    virtual ~random_source() = default;
    virtual std::uint64_t next() = 0;

    std::uint64_t operator()() { return next(); }
    static constexpr std::uint64_t min() { return 0; }
    static constexpr std::uint64_t max() { return ~0ull; }
    /// Uniform in [0, bound); bound > 0.
    std::uint64_t below(std::uint64_t bound) {
        return std::uniform_int_distribution<std::uint64_t>(0, bound - 1)(*this);
    }
};

/// getrandom(2), read in blocks: nobody outside can predict a port, an identification or a key.
class system_random final : public random_source {
public:
    std::uint64_t next() override;

private:
    std::array<std::uint64_t, 32> block_{};
    std::size_t left_ = 0;
};

class seeded_random final : public random_source {
public:
    explicit seeded_random(std::uint64_t seed) : engine_(seed) {}
    std::uint64_t next() override { return engine_(); }

private:
    std::mt19937_64 engine_;
};

}  // namespace skua
