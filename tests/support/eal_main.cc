// main() of the test programs: starts an EAL without hugepages, PCI or root, then GoogleTest.
#include <gtest/gtest.h>
#include <rte_eal.h>
#include <sched.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace skua::packet {
void register_meta() __attribute__((weak));
}

/// One lcore that may run on any CPU this process has: EAL pins it to one otherwise, and every thread it starts.
static std::string lcores() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    std::string cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed)) cpus += (cpus.empty() ? "" : ",") + std::to_string(cpu);
    return "0@(" + cpus + ")";
}

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    const bool wants_eal = argc < 2 || std::string(argv[1]) != "--no-eal";
    if (wants_eal) {
        const std::string prefix = "--file-prefix=skua-test-" + std::to_string(getpid());
        std::vector<std::string> args = {"test", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "512",
                                         "--lcores", lcores(), "--log-level=error", prefix};
        std::vector<char*> pointers;
        for (auto& a : args) pointers.push_back(a.data());
        if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0) return 2;
        if (skua::packet::register_meta) skua::packet::register_meta();
    }
    const int failed = RUN_ALL_TESTS();
    if (wants_eal) rte_eal_cleanup();
    return failed;
}
