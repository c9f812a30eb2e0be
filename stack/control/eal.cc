// Completing the EAL's arguments, starting and ending it.
#include "control/eal.hh"

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "packet/packet.hh"

namespace skua::control {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view level_names[] = {"error", "warning", "notice", "info", "debug"};

bool given(const std::vector<std::string>& args, std::initializer_list<std::string_view> options) {
    return std::ranges::any_of(args, [&](const std::string& a) {
        return std::ranges::any_of(options, [&](std::string_view o) {
            // "-l0,1" and "--lcores=0" too
            const bool short_form = o.size() == 2 && a.starts_with(o);
            return a == o || short_form || (a.starts_with(o) && a[o.size()] == '=');
        });
    });
}

std::uint64_t free_hugepages() {
    std::uint64_t bytes = 0;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/sys/kernel/mm/hugepages", ignored)) {
        // hugepages-2048kB
        const std::string name = entry.path().filename();
        const auto dash = name.find('-');
        if (dash == std::string::npos) continue;
        std::uint64_t kib = 0;
        std::from_chars(name.data() + dash + 1, name.data() + name.size(), kib);
        std::uint64_t pages = 0;
        if (std::ifstream(entry.path() / "free_hugepages") >> pages) bytes += pages * kib * 1024;
    }
    return bytes;
}

/// Says how memory is had: hugepages without files, hugepages with files, or none.
tl::expected<void, std::string> choose_memory(const config& c, const host_facts& host, eal_command& out) {
    const std::uint64_t wanted = std::uint64_t(c.eal.memory_mib) << 20;
    const bool enough = host.free_hugepage_bytes >= wanted;
    const auto lacking = fmt::format("{} MiB of hugepages are free, {} are wanted (eal.memory)",
                                     host.free_hugepage_bytes >> 20, c.eal.memory_mib);
    bool huge = !given(out.args, {"--no-huge"});
    if (huge && c.eal.hugepages == hugepage_use::never) huge = false;
    if (huge && c.eal.hugepages == hugepage_use::always && !enough) return tl::unexpected(lacking);
    if (huge && !enough) {
        out.notes.push_back(lacking + ": running without them");
        huge = false;
    }
    if (huge) {
        // Files in hugetlbfs would outlive a process that is killed, and nobody would look for their prefix again.
        if (!c.eal.secondary_processes && !given(out.args, {"--in-memory", "--no-shconf", "--huge-unlink"}))
            out.args.push_back("--in-memory");
        return {};
    }
    // DPDK refuses --in-memory beside --no-huge, which has no files anyway.
    std::erase(out.args, "--in-memory");
    if (!given(out.args, {"--no-huge"})) out.args.push_back("--no-huge");
    if (!given(out.args, {"--no-shconf"})) out.args.push_back("--no-shconf");
    if (!given(out.args, {"-m", "--socket-mem", "--numa-mem"}))
        out.args.insert(out.args.end(), {"-m", fmt::to_string(c.eal.memory_mib)});
    return {};
}

/// Lcores with the numbers of CPUs, and beside them a main one that is none of them: it cannot be given work by DPDK.
std::vector<std::string> named_lcores(const std::vector<unsigned>& named, const std::vector<unsigned>& cpus) {
    const auto is_named = [&](unsigned n) { return std::ranges::find(named, n) != named.end(); };
    unsigned main = 0;
    while (is_named(main)) main++;
    const auto spare = std::ranges::find_if_not(cpus, is_named);
    std::string lcores = fmt::format("{}@{}", main, spare == cpus.end() ? cpus[0] : *spare);
    for (const unsigned n : named) lcores += fmt::format(",{0}@{0}", n);
    return {"--lcores", lcores, "--main-lcore", fmt::to_string(main)};
}

std::string runtime_directory;  // as remove_runtime_directory() needs it after everything else has ended

/// Only DPDK's own exit handler removes the telemetry socket, so this one must be registered before that one.
void remove_runtime_directory() {
    if (!runtime_directory.empty()) rmdir(runtime_directory.c_str());
}

}  // namespace

host_facts host_facts::read() {
    host_facts facts;
    facts.free_hugepage_bytes = free_hugepages();
    facts.pid = getpid();
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        for (unsigned i = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &allowed)) facts.cpus.push_back(i);
    return facts;
}

std::string choose_lcores(unsigned shards, std::span<const unsigned> cpus) {
    const std::size_t first = cpus.size() > shards ? 1 : 0;
    std::string out = fmt::format("0@{}", cpus[0]);
    for (unsigned i = 0; i < shards; i++) out += fmt::format(",{}@{}", i + 1, cpus[(first + i) % cpus.size()]);
    return out;
}

tl::expected<eal_command, std::string> complete_eal_arguments(const config& c, const host_facts& host) {
    eal_command out{c.eal.args, {}};
    if (const auto memory = choose_memory(c, host, out); !memory) return tl::unexpected(memory.error());
    if (!given(out.args, {"--file-prefix"})) out.args.push_back(fmt::format("--file-prefix=skua-{}", host.pid));
    if (!given(out.args, {"--log-level"})) {
        out.args.push_back(fmt::format("--log-level={}", level_names[static_cast<int>(c.log.level)]));
        // It would warn at each start that a socket of DPDK 19 is not there.
        out.args.push_back("--log-level=lib.telemetry:error");
    }
    if (!given(out.args, {"-l", "-c", "--lcores"}) && !host.cpus.empty()) {
        const auto named = c.stack.lcores.empty() ? std::nullopt : parse_lcore_list(c.stack.lcores);
        if (named) {
            std::ranges::move(named_lcores(*named, host.cpus), std::back_inserter(out.args));
        } else {
            out.args.insert(out.args.end(), {"--lcores", choose_lcores(c.stack.shards, host.cpus)});
            if (c.stack.shards > host.cpus.size())
                out.notes.push_back(fmt::format("{} shards share {} CPUs", c.stack.shards, host.cpus.size()));
        }
    }
    return out;
}

eal::~eal() {
    if (running_) rte_eal_cleanup();
}

tl::expected<eal, std::string> start_eal(const std::string& program, const config& c) {
    auto command = complete_eal_arguments(c, host_facts::read());
    if (!command) return tl::unexpected(command.error());
    for (const auto& note : command->notes) fmt::print(stderr, "{}: {}\n", program, note);
    std::vector<std::string> words{program};
    words.insert(words.end(), command->args.begin(), command->args.end());
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    std::atexit(remove_runtime_directory);
    if (rte_eal_init(static_cast<int>(words.size()), argv.data()) < 0)
        return tl::unexpected(rte_errno == EALREADY
                                  ? std::string("DPDK's EAL can be started once in a process only")
                                  : fmt::format("DPDK's EAL did not start ({}) with: {}", rte_strerror(rte_errno),
                                                fmt::join(words.begin() + 1, words.end(), " ")));
    runtime_directory = rte_eal_get_runtime_dir();
    packet::register_meta();
    return eal(true);
}

tl::expected<std::vector<unsigned>, std::string> shard_lcores(const stack_config& c) {
    if (const auto named = parse_lcore_list(c.lcores); !c.lcores.empty() && named) {
        for (const unsigned l : *named)
            if (!rte_lcore_is_enabled(l) || (l == rte_get_main_lcore() && named->size() > 1))
                return tl::unexpected(fmt::format("stack.lcores: lcore {} is not one of the EAL's workers", l));
        return *named;
    }
    std::vector<unsigned> workers;
    unsigned l;
    RTE_LCORE_FOREACH_WORKER(l) workers.push_back(l);
    if (workers.empty()) workers.push_back(rte_get_main_lcore());
    if (workers.size() < c.shards)
        return tl::unexpected(fmt::format("stack.shards: {} shards need as many worker lcores, the EAL has {}",
                                          c.shards, workers.size()));
    workers.resize(c.shards);
    return workers;
}

}  // namespace skua::control
