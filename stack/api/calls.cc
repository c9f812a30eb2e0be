// The C API: the stack itself, the loop of library mode, and looking in.
#include <cerrno>
#include <cstdio>

#include "api/answer.hh"
#include "api/running.hh"
#include "control/command_line.hh"
#include "control/explain.hh"
#include "skua/skua.h"

using skua::api::failed;
using skua::api::running;

namespace {

int start_failed(const std::string& why, int code) {
    std::fprintf(stderr, "skua: %s\n", why.c_str());
    return failed(code);
}

}  // namespace

int skua_start(int argc, char** argv) {
    if (running::current()) return failed(EALREADY);
    skua::control::command_line line("skua");
    const auto config = line.parse(argc, argv);
    if (!config) return failed(EINVAL);
    auto eal = skua::control::start_eal(argc > 0 ? argv[0] : "skua", *config);
    if (!eal) return start_failed(eal.error(), ENODEV);
    if (auto ok = running::start(*config, skua::control::driving::own, std::move(*eal)); !ok)
        return start_failed(ok.error(), ENODEV);
    return argc;
}

int skua_start_library(unsigned shards, const char* configuration) {
    if (running::current()) return failed(EALREADY);
    auto config = skua::control::parse_config(configuration ? configuration : "", "configuration");
    if (!config) return start_failed(skua::control::to_string(config.error()), EINVAL);
    config->stack.shards = shards;
    config->stack.lcores.clear();
    if (const auto problems = skua::control::check(*config); !problems.empty())
        return start_failed(skua::control::to_string(problems), EINVAL);
    try {
        skua::packet::register_meta();
    } catch (const std::exception& e) {
        return start_failed(e.what(), ENOMEM);
    }
    if (auto ok = running::start(*config, skua::control::driving::library); !ok)
        return start_failed(ok.error(), ENOMEM);
    return 0;
}

void skua_stop(void) { running::stop(); }

int skua_set_active_shards(unsigned n) {
    running* const here = running::current();
    return here ? skua::api::answer(here->stack().set_active_shards(n)) : failed(ENODEV);
}

ssize_t skua_explain(const char* flow, char* text, size_t room) {
    running* const here = running::current();
    if (here == nullptr) return failed(ENODEV);
    const auto told = skua::control::explain(here->stack(), flow);
    if (!told) return failed(EINVAL);
    const std::string all = told->text();
    if (room != 0) text[all.copy(text, room - 1)] = 0;
    return static_cast<ssize_t>(all.size());
}

unsigned skua_shard_input(unsigned shard, rte_mbuf** frames, unsigned n, rte_mbuf** unclaimed) {
    running& r = *running::current();
    return r.stack().shard_at(shard).input(std::span(frames, n), unclaimed, r.stack().now());
}

unsigned skua_shard_output(unsigned shard, rte_mbuf** frames, unsigned max) {
    return running::current()->stack().shard_at(shard).output(std::span(frames, max));
}

unsigned skua_shard_poll(unsigned shard) {
    running& r = *running::current();
    return r.stack().shard_at(shard).poll_once(r.stack().now());
}

uint64_t skua_drops(const char* reason) {
    running* const here = running::current();
    if (here == nullptr) return UINT64_MAX;
    const auto counted = here->telemetry().counters();
    for (const auto& d : skua::drop_reasons)
        if (d.name == reason) return counted[d.reason];
    return UINT64_MAX;
}

uint64_t skua_mib(const char* group, const char* name) {
    running* const here = running::current();
    if (here == nullptr) return UINT64_MAX;
    const auto counted = here->telemetry().counters();
    for (const auto& m : skua::mibs)
        if (m.group == group && m.name == name) return counted[m.id];
    return UINT64_MAX;
}
