// Time as the benchmark takes it: the time stamp counter, and whether the thread was preempted meanwhile.
#pragma once

#include <sched.h>
#include <sys/resource.h>
#include <x86intrin.h>

#include <chrono>
#include <cstdint>

namespace skua::lookup_perf {

inline std::uint64_t cycles_now() { return __rdtsc(); }

/// Cycles of the time stamp counter in a microsecond, measured over 20 ms.
inline double cycles_per_us() {
    const auto start = std::chrono::steady_clock::now();
    const std::uint64_t from = cycles_now();
    while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(20)) {
    }
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
    return static_cast<double>(cycles_now() - from) / took.count();
}

/// How often this thread was taken off its CPU against its will.
inline long preemptions() {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

/// Keeps this thread on one CPU, if the machine has it.
inline void stay_on_cpu(int cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

}  // namespace skua::lookup_perf
