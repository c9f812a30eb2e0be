// Telemetry commands: DPDK keeps them for the life of the process, so they go through one settable server.
#include "attach/attach_telemetry.hh"

#include <fmt/format.h>
#include <rte_telemetry.h>

#include <cstdlib>
#include <mutex>

namespace skua::attach {

namespace {

constexpr std::size_t rows_at_once = 40;

std::mutex server_lock;
const server* the_server = nullptr;

using fields = std::vector<std::pair<const char*, std::uint64_t>>;

void put(rte_tel_data* d, const fields& all) {
    for (const auto& [name, value] : all) rte_tel_data_add_dict_u64(d, name, value);
}

template <class Row>
void rows(rte_tel_data* out, const std::vector<Row>& all, const char* from, fields (*of)(const Row&)) {
    put(out, {{"total", all.size()}});
    const std::size_t first = from == nullptr ? 0 : std::strtoul(from, nullptr, 10);
    for (std::size_t i = first; i < all.size() && i - first < rows_at_once; i++) {
        rte_tel_data* const row = rte_tel_data_alloc();
        if (row == nullptr) return;
        rte_tel_data_start_dict(row);
        put(row, of(all[i]));
        if (rte_tel_data_add_dict_container(out, fmt::to_string(i).c_str(), row, 0) != 0) rte_tel_data_free(row);
    }
}

void totals(const server& s, const char*, rte_tel_data* out) {
    const report now = s.look();
    put(out, {{"sessions", now.sessions.size()},
              {"sockets", now.sockets},
              {"sockets_leaving", now.leaving},
              {"memory", now.memory},
              {"users", now.users.size()}});
    for (std::size_t i = 0; i < event_names.size(); i++)
        put(out, {{event_names[i].data(), s.counts()[static_cast<event>(i)]}});
}

void users(const server& s, const char* from, rte_tel_data* out) {
    rows<report::user>(out, s.look().users, from, [](const report::user& u) -> fields {
        return {{"user", u.id},           {"sessions", u.has.sessions}, {"sockets", u.has.sockets},
                {"memory", u.has.memory}, {"delayed", u.has.delayed},   {"refused", u.has.refused}};
    });
}

void processes(const server& s, const char* from, rte_tel_data* out) {
    rows<report::process>(out, s.look().sessions, from, [](const report::process& p) -> fields {
        return {{"process", static_cast<std::uint64_t>(p.id)}, {"user", p.user}, {"sockets", p.sockets}};
    });
}

/// What DPDK calls. Nothing may be thrown into it.
template <void (*answer)(const server&, const char*, rte_tel_data*)>
int command(const char*, const char* parameters, rte_tel_data* out) noexcept {
    const std::lock_guard hold(server_lock);
    if (the_server == nullptr) return -ENODEV;
    rte_tel_data_start_dict(out);
    try {
        answer(*the_server, parameters, out);
    } catch (const std::exception&) {
        return -ENOMEM;
    }
    return 0;
}

void register_commands() {
    rte_telemetry_register_cmd("/skua/attach", command<totals>, "Other processes, together. No parameters");
    rte_telemetry_register_cmd("/skua/attach/users", command<users>,
                               "What users have of their quotas. Parameters: first row");
    rte_telemetry_register_cmd("/skua/attach/processes", command<processes>,
                               "Attached processes. Parameters: first row");
}

}  // namespace

attach_telemetry::attach_telemetry(const server& s) {
    static std::once_flag once;
    std::call_once(once, register_commands);
    const std::lock_guard hold(server_lock);
    the_server = &s;
}

attach_telemetry::~attach_telemetry() {
    const std::lock_guard hold(server_lock);
    the_server = nullptr;
}

}  // namespace skua::attach
