// The stack's side of the POSIX tests: one shard without ports, that leaves the CPU to others when it has no work.
#include <rte_eal.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "posix/posix.hh"
#include "skua/skua.h"

namespace skua::test {

namespace {

/// Main and the shard, each on any CPU that this process may use.
std::string lcores() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    std::string cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed)) cpus += (cpus.empty() ? "" : ",") + std::to_string(cpu);
    return "0@(" + cpus + "),1@(" + cpus + ")";
}

std::string runtime_dir;

}  // namespace

bool numbers_are_the_stacks() { return true; }

bool start_side(const char* program) {
    const std::string prefix = "--file-prefix=skua-test-" + std::to_string(getpid());
    std::vector<std::string> args = {program,  "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",    "-m",
                                     "512",    "--lcores",  lcores(),      prefix,     "--log-level=error", "--",
                                     "--idle", "yield"};
    std::vector<char*> pointers;
    for (auto& a : args) pointers.push_back(a.data());
    if (skua_start(static_cast<int>(pointers.size()), pointers.data()) < 0) return false;
    runtime_dir = rte_eal_get_runtime_dir();
    return true;
}

void stop_side() {
    skua_stop();
    std::error_code left_alone;
    std::filesystem::remove_all(runtime_dir, left_alone);
}

}  // namespace skua::test
