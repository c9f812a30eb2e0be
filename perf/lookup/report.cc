// Texts of the lookup benchmark.
#include "lookup/report.hh"

#include <fmt/format.h>

namespace skua::lookup_perf {

namespace {

int number_of(ip_family f) { return f == ip_family::v4 ? 4 : 6; }

std::string json_row(const figures& f, std::size_t burst, const cost& c) {
    return fmt::format(
        "    {{\"table\": \"{}\", \"family\": {}, \"sockets\": {}, \"ports\": {}, \"addresses\": {}, \"burst\": {}, "
        "\"cycles\": {:.1f}, \"empty\": {:.1f}, \"spread\": {:.1f}, \"memory_per_socket\": {:.0f}}}",
        name_of(f.kind), number_of(f.family), f.sockets, f.ports, f.addresses, burst, c.cycles, c.empty, c.spread,
        f.memory_per_socket);
}

std::string json_pauses(const pauses& p) {
    return fmt::format("{{\"polls\": {}, \"longest_of_all_us\": {:.2f}, \"over_10us\": {}, \"preempted\": {}}}",
                       p.polls, p.longest_of_all_us, p.over_10us, p.preempted);
}

std::string json_growth(const growth_figures& g) {
    return fmt::format(
        "{{\"sockets\": {}, \"runs\": {}, \"seconds\": {:.2f}, \"longest_us\": {:.2f}, \"longest_idle_us\": {:.2f}, "
        "\"longest_insert_us\": {:.2f}, \"growing\": {}, \"idle\": {}}}",
        g.sockets, g.runs, g.seconds, g.growing.longest_us, g.idle.longest_us, g.longest_insert_us,
        json_pauses(g.growing), json_pauses(g.idle));
}

}  // namespace

std::string table_head() {
    return fmt::format("{:<10} {:>4} {:>8} {:>6} {:>9} {:>9} {:>9} {:>7} {:>13}\n", "table", "IPv", "sockets", "ports",
                       "addresses", "burst 32", "single", "empty", "bytes/socket");
}

std::string table_line(const figures& f) {
    return fmt::format("{:<10} {:>4} {:>8} {:>6} {:>9} {:>9.1f} {:>9.1f} {:>7.1f} {:>13.0f}\n", name_of(f.kind),
                       number_of(f.family), f.sockets, f.ports, f.addresses, f.bursts.cycles, f.single.cycles,
                       f.bursts.empty, f.memory_per_socket);
}

std::string growth_text(const growth_figures& g) {
    const auto line = [](const char* what, const pauses& p) {
        return fmt::format("  {:<18} {:>12.1f} {:>12.1f} {:>12} {:>12} {:>11}\n", what, p.longest_us,
                           p.longest_of_all_us, p.over_10us, p.polls, p.preempted);
    };
    return fmt::format(
               "\na thread polls while {} sockets are connected in {:.2f} s, {} runs\n"
               "  {:<18} {:>12} {:>12} {:>12} {:>12} {:>11}\n",
               g.sockets, g.seconds, g.runs, "polls, us", "longest", "once", "over 10 us", "of", "preempted") +
           line("while they come", g.growing) + line("alone", g.idle) +
           fmt::format("  longest bind and connect {:.1f} us\n", g.longest_insert_us);
}

std::string report_json(const std::vector<figures>& all, const std::optional<growth_figures>& growth) {
    std::string out = "{\n  \"lookup\": [";
    const char* between = "\n";
    for (const auto& f : all) {
        out += between + json_row(f, 1, f.single) + ",\n" + json_row(f, burst, f.bursts);
        between = ",\n";
    }
    out += "\n  ]";
    if (growth) out += ",\n  \"growth\": " + json_growth(*growth);
    return out + "\n}\n";
}

}  // namespace skua::lookup_perf
