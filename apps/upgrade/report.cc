// Text and JSON.
#include "upgrade/report.hh"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace skua::upgrade {

namespace {

std::string line(const char* name, const results& r) {
    const auto& t = r.all;
    return fmt::format("{:<16}{:>8}{:>11}{:>11}{:>7}{:>13}{:>10}{:>12}\n", name, r.options.flows, t.sent, t.answered,
                       t.lost, t.misdirected, t.orphaned, t.new_to_old);
}

std::string totals_json(const totals& t) {
    return fmt::format(
        R"("sent": {}, "answered": {}, "lost": {}, "misdirected": {}, "orphaned": {}, "new_to_old": {}, "begun": {})",
        t.sent, t.answered, t.lost, t.misdirected, t.orphaned, t.new_to_old, t.begun);
}

std::string json_of(const results& r) {
    std::vector<std::string> steps, group;
    for (const auto& t : r.after_upgrade) steps.push_back("{" + totals_json(t) + "}");
    for (const auto& [name, count] : r.group) group.push_back(fmt::format("\"{}\": {}", name, count));
    std::string out =
        fmt::format(R"("flows": {}, "upgrades": {}, {})", r.options.flows, r.options.upgrades, totals_json(r.all));
    out += fmt::format(R"(, "left": {}, "put_out": {}, "killed": {}, "seconds": {:.3f})", r.left, r.put_out, r.killed,
                       r.seconds);
    out += fmt::format(R"(, "after_upgrade": [{}], "group": {{{}}})", fmt::join(steps, ", "), fmt::join(group, ", "));
    return out;
}

}  // namespace

std::string report_text(const report& r) {
    const auto& g = r.generations;
    std::string out = fmt::format(
        "{} upgrades in a row, members joining and crashing in between; each flow asks 2 to 8 times\n\n"
        "{:<16}{:>8}{:>11}{:>11}{:>7}{:>13}{:>10}{:>12}\n",
        g.options.upgrades, "", "flows", "sent", "answered", "lost", "misdirected", "orphaned", "new to old");
    out += line("generations", g);
    if (r.processes) out += line("  as processes", *r.processes);
    out += line("plain reuseport", r.plain_reuseport) + line("kernel", r.kernel);
    out += fmt::format(
        "\nwith generations {} old ones left when their last flow had ended, {} with flows; without: {} and {}\n"
        "{:.2f} million datagrams a second, clients and servers on one thread\n",
        g.left, g.put_out, r.plain_reuseport.left, r.plain_reuseport.put_out,
        static_cast<double>(g.all.sent) / g.seconds / 1e6);
    if (r.processes)
        out += fmt::format(
            "\nas processes, which attach to a skuad: {} old ones left when their last flow had ended, {} with flows; {} "
            "was\nkilled by SIGKILL; {:.3f} million datagrams a second over memif, {} in flight\n",
            r.processes->left, r.processes->put_out, r.processes->killed,
            static_cast<double>(r.processes->all.sent) / r.processes->seconds / 1e6, in_flight);
    for (const auto& fault : faults(r)) out += "WRONG: " + fault + "\n";
    return out;
}

std::string report_json(const report& r) {
    std::string out = fmt::format("{{{}, \"plain_reuseport\": {{{}}}, \"kernel\": {{{}}}", json_of(r.generations),
                                  json_of(r.plain_reuseport), json_of(r.kernel));
    if (r.processes) out += fmt::format(", \"processes\": {{{}}}", json_of(*r.processes));
    return out + "}\n";
}

std::vector<std::string> faults(const report& r) {
    auto all = faults(r.generations);
    if (r.processes)
        for (const auto& f : faults(*r.processes)) all.push_back("processes: " + f);
    return all;
}

std::vector<std::string> faults(const results& r) {
    std::vector<std::string> all;
    const auto none = [&](std::uint64_t n, const char* what) {
        if (n != 0) all.push_back(fmt::format("{} {}", n, what));
    };
    none(r.all.lost, "datagrams lost");
    none(r.all.misdirected, "answers by members that did not know the flow");
    none(r.all.new_to_old, "new flows at an old generation");
    none(r.put_out, "old generations stopped with flows");
    if (r.all.sent != r.all.answered + r.all.lost) all.push_back("sent is not answered and lost together");
    for (const auto& [name, count] : r.group)
        if (name == "orphaned" && count != r.all.orphaned)
            all.push_back(fmt::format("the group counts {} orphaned flows, their clients {}", count, r.all.orphaned));
    return all;
}

}  // namespace skua::upgrade
