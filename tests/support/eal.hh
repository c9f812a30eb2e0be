// An EAL for tests: without hugepages, PCI, or root.
#pragma once

#include <rte_eal.h>
#include <sched.h>
#include <unistd.h>

#include <string>
#include <vector>

#ifdef __SANITIZE_THREAD__
#include "support/locked_pool.hh"
#endif

namespace skua::packet {
void register_meta() __attribute__((weak));
}

namespace skua::test {

/// One lcore that may run on any CPU this process has: EAL pins it to one otherwise, and every thread it starts.
inline std::string lcores() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    std::string cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed)) cpus += (cpus.empty() ? "" : ",") + std::to_string(cpu);
    return "0@(" + cpus + ")";
}

/// Once per process. False if the EAL does not start; it has said why on stderr.
inline bool start_eal() {
    const std::string prefix = "--file-prefix=skua-test-" + std::to_string(getpid());
    std::vector<std::string> args = {"test", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
                                     "-m",   "512",       "--lcores",    lcores(),   "--log-level=error",
                                     prefix};
#ifdef __SANITIZE_THREAD__
    args.emplace_back(locked_pool::use());
#endif
    std::vector<char*> pointers;
    for (auto& a : args) pointers.push_back(a.data());
    if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0) return false;
    if (packet::register_meta) packet::register_meta();
    return true;
}

}  // namespace skua::test
