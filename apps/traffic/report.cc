// Texts of a traffic run.
#include "traffic/report.hh"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace skua::traffic {

namespace {

struct quantile {
    const char* name;
    double share;
};
constexpr quantile quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

double microseconds(const results& r, std::uint64_t cycles) { return static_cast<double>(cycles) / r.tsc_hz * 1e6; }
double mpps(const results& r) { return r.seconds > 0 ? static_cast<double>(r.totals.received) / r.seconds / 1e6 : 0; }

std::string loop_text(const results& r) {
    if (!r.options.open_loop) return fmt::format("{} in flight", r.options.window);
    return r.options.rate > 0 ? fmt::format("{:.0f} datagrams a second", r.options.rate) : "as fast as it goes";
}

/// Commas between the items of a JSON list or object.
class comma {
public:
    const char* operator()() { return std::exchange(first_, false) ? "" : ", "; }

private:
    bool first_ = true;
};

std::string rtt_json(const results& r) {
    std::string out = "{";
    for (const auto& q : quantiles)
        out += fmt::format("\"{}\": {:.3f}, ", q.name, microseconds(r, r.round_trips->percentile(q.share)));
    return out + fmt::format("\"max\": {:.3f}}}", microseconds(r, r.round_trips->max()));
}

}  // namespace

void show_progress(bool terminal, double seconds, double of_seconds, double mpps, const generator_totals& totals) {
    const auto line = fmt::format("{:4.0f} s  {:7.3f} Mpps  sent {:>12}  echoed {:>12}  lost {}", seconds, mpps,
                                  totals.sent, totals.received, totals.lost);
    if (terminal) {
        constexpr int width = 24;
        const int filled = std::clamp(static_cast<int>(width * seconds / of_seconds), 0, width);
        fmt::print("\r[{}{}] {}", std::string(static_cast<std::size_t>(filled), '#'),
                   std::string(static_cast<std::size_t>(width - filled), '.'), line);
        if (seconds >= of_seconds) fmt::print("\n");
    } else {
        fmt::print("{}\n", line);
    }
    std::fflush(stdout);
}

std::string report_text(const results& r) {
    std::string out;
    const auto add = [&]<class... Args>(fmt::format_string<Args...> format, Args&&... args) {
        out += fmt::format(format, std::forward<Args>(args)...);
    };
    add("\nTraffic run: {} flows, {}-byte {} frames, {} shard{}, {} socket{}, {}\n", r.options.flows,
        r.options.frame_size, r.options.ipv6 ? "IPv6" : "IPv4", r.shards.size(), r.shards.size() == 1 ? "" : "s",
        r.sockets.size(), r.sockets.size() == 1 ? "" : "s", loop_text(r));
    add("  sent {}   echoed {}   lost {}   in {:.3f} s\n", r.totals.sent, r.totals.received, r.totals.lost, r.seconds);
    if (r.totals.refused) add("  not sent, for the ring was full: {}\n", r.totals.refused);
    if (r.totals.corrupt || r.totals.strange)
        add("  answers with wrong bytes {}   frames that answer nothing {}\n", r.totals.corrupt, r.totals.strange);
    add("  {:.3f} Mpps echoed   {:.0f} cycles per packet on the shards ({:.2f} GHz TSC)\n", mpps(r),
        r.cycles_per_packet, r.tsc_hz / 1e9);
    add("  RTT us: ");
    for (const auto& q : quantiles)
        add("{} {:.1f}   ", q.share == 0.999 ? "p99.9" : q.name, microseconds(r, r.round_trips->percentile(q.share)));
    add("max {:.1f}\n\n", microseconds(r, r.round_trips->max()));
    add("  {:<6} {:>14} {:>14} {:>14}\n", "shard", "received", "sent", "cycles/packet");
    for (const auto& s : r.shards)
        add("  {:<6} {:>14} {:>14} {:>14.0f}\n", s.index, s.received, s.sent, s.cycles_per_packet);
    add("\n  {:<6} {:<6} {:>14} {:>8}\n", "socket", "shard", "received", "share");
    std::uint64_t all = 0;
    for (const auto& s : r.sockets) all += s.received;
    for (const auto& s : r.sockets)
        add("  {:<6} {:<6} {:>14} {:>7.1f}%\n", s.index, s.shard, s.received,
            all ? 100.0 * static_cast<double>(s.received) / static_cast<double>(all) : 0.0);
    if (r.drops.empty()) {
        add("\n  nothing was dropped\n");
    } else {
        add("\n  {:<28} {:>14}\n", "dropped for", "packets");
        for (const auto& d : r.drops) add("  {:<28} {:>14}  {}\n", d.name, d.count, d.meaning);
    }
    return out;
}

std::string report_json(const results& r) {
    std::string out = fmt::format(
        "{{\n  \"sent\": {}, \"refused\": {}, \"received\": {}, \"lost\": {}, \"corrupt\": {}, \"strange\": {},\n"
        "  \"seconds\": {:.6f}, \"mpps\": {:.6f}, \"cycles_per_packet\": {:.1f},\n  \"rtt_us\": {}",
        r.totals.sent, r.totals.refused, r.totals.received, r.totals.lost, r.totals.corrupt, r.totals.strange,
        r.seconds, mpps(r), r.cycles_per_packet, rtt_json(r));
    out += ",\n  \"shards\": [";
    for (comma next; const auto& s : r.shards)
        out += fmt::format("{}{{\"index\": {}, \"received\": {}, \"sent\": {}, \"cycles_per_packet\": {:.1f}}}", next(),
                           s.index, s.received, s.sent, s.cycles_per_packet);
    out += "],\n  \"sockets\": [";
    for (comma next; const auto& s : r.sockets)
        out +=
            fmt::format("{}{{\"index\": {}, \"shard\": {}, \"received\": {}}}", next(), s.index, s.shard, s.received);
    out += "],\n  \"drops\": {";
    for (comma next; const auto& d : r.drops) out += fmt::format("{}\"{}\": {}", next(), d.name, d.count);
    out += "},\n  \"series\": [";
    for (comma next; const auto& s : r.series)
        out += fmt::format("{}{{\"t\": {:.3f}, \"mpps\": {:.6f}}}", next(), s.seconds, s.mpps);
    out += "],\n  \"rtt_histogram\": [";
    comma next;
    r.round_trips->for_each([&](std::uint64_t cycles, std::uint64_t count) {
        out += fmt::format("{}{{\"us\": {:.3f}, \"count\": {}}}", next(), microseconds(r, cycles), count);
    });
    return out +
           fmt::format(
               "],\n  \"parameters\": {{\"flows\": {}, \"size\": {}, \"ipv6\": {}, \"shards\": {}, \"sockets\": {}, "
               "\"loop\": \"{}\"}}\n}}\n",
               r.options.flows, r.options.frame_size, r.options.ipv6, r.shards.size(), r.sockets.size(), loop_text(r));
}

}  // namespace skua::traffic
