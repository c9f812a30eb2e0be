// Texts of the herd.
#include "herd/report.hh"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <thread>

#include "herd/sender.hh"

namespace skua::herd {

const char* name_of(mode how) {
    switch (how) {
        case mode::epoll: return "epoll";
        case mode::exclusive: return "exclusive";
        case mode::lock: return "lock";
        case mode::reuseport: return "reuseport";
    }
    return "";
}

std::string table_head(const char* side) {
    return fmt::format("\n{}\n  {:<10} {:>7} {:>10} {:>9} {:>9} {:>9} {:>13} {:>6}\n", side, "mode", "waiters",
                       "wake-ups", "useless", "p50 us", "p99 us", "datagrams/s", "lost");
}

std::string table_line(const result& r) {
    return fmt::format("  {:<10} {:>7} {:>10.2f} {:>9.2f} {:>9.1f} {:>9.1f} {:>13.0f} {:>6}\n", name_of(r.how),
                       r.waiters, r.wakeups, r.useless, r.p50_us, r.p99_us, r.per_second, r.lost);
}

std::string report_json(const std::vector<result>& results, const parameters& p) {
    std::string out = "{\n  \"herd\": [";
    const char* between = "\n";
    for (const auto& r : results) {
        out += fmt::format(
            "{}    {{\"side\": \"{}\", \"mode\": \"{}\", \"waiters\": {}, \"wakeups_per_datagram\": {:.4f}, "
            "\"useless_per_datagram\": {:.4f}, \"datagrams_per_second\": {:.0f}, \"latency_us\": {{\"p50\": {:.2f}, "
            "\"p99\": {:.2f}}}, \"sent\": {}, \"lost\": {}}}",
            between, r.side, name_of(r.how), r.waiters, r.wakeups, r.useless, r.per_second, r.p50_us, r.p99_us, r.sent,
            r.lost);
        between = ",\n";
    }
    return out + fmt::format(
                     "\n  ],\n  \"parameters\": {{\"seconds\": {}, \"waiters\": [{}], \"cpus\": {}, \"flows\": {}, "
                     "\"in_flight\": {}, \"gap_us\": {}, \"tick_ms\": {}}}\n}}\n",
                     p.seconds, fmt::join(p.waiters, ", "), std::thread::hardware_concurrency(), flows, window,
                     gap.count(), tick.count());
}

}  // namespace skua::herd
