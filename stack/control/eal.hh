// Starting DPDK's environment (EAL) once per process, as any user, with or without hugepages, beside other processes.
//
// Telemetry: the socket that dpdk-telemetry.py speaks to is there whenever the runtime directory can be made, also with
// --no-shconf, --in-memory and without root: `dpdk-telemetry.py -f PREFIX`. The directory is /var/run/dpdk/PREFIX for
// root, else $XDG_RUNTIME_DIR/dpdk/PREFIX or /tmp/dpdk/PREFIX, or under $RUNTIME_DIRECTORY.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "control/config.hh"

namespace skua::control {

/// What the machine offers to this process.
struct host_facts {
    std::uint64_t free_hugepage_bytes = 0;
    std::vector<unsigned> cpus;  // that we may run on, ascending
    pid_t pid = 0;
    static host_facts read();
};

struct eal_command {
    std::vector<std::string> args;   // without the program's name
    std::vector<std::string> notes;  // one line each, for people: what was decided for them
};

/// Value for --lcores: lcore 0 (main) and lcores 1 to `shards`. Each shard has a CPU of its own as long as there are
/// any; main, which mostly sleeps, has one of its own only if one is left over. `cpus` must not be empty.
std::string choose_lcores(unsigned shards, std::span<const unsigned> cpus);

/// Completes the EAL arguments of a configuration: a file prefix of our own, no files shared with others, memory
/// without hugepages if there are not enough, lcores for the shards. What the user has given is left as it is. Error:
/// text, if hugepages must be used and are not there.
tl::expected<eal_command, std::string> complete_eal_arguments(const config& c, const host_facts& host);

/// The running EAL. Its end cleans up; no DPDK object may be left then. A process can start it once only.
class eal {
public:
    eal(eal&& other) noexcept : running_(std::exchange(other.running_, false)) {}
    eal& operator=(eal&&) = delete;
    ~eal();

private:
    friend tl::expected<eal, std::string> start_eal(const std::string&, const config&);
    explicit eal(bool running) : running_(running) {}
    bool running_;
};

/// Starts the EAL and registers the packets' metadata; says the notes of complete_eal_arguments() on stderr. The
/// calling thread becomes the main lcore. Error: text.
tl::expected<eal, std::string> start_eal(const std::string& program, const config& c);

/// The lcores to run the shards on, in their order: those of stack.lcores, else the first workers, else the main lcore
/// for a single shard. Error: text. Needs a running EAL.
tl::expected<std::vector<unsigned>, std::string> shard_lcores(const stack_config& c);

}  // namespace skua::control
