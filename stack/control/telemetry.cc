// Telemetry commands: DPDK keeps them for the life of the process, so they go through one settable source.
#include "control/telemetry.hh"

#include <fmt/format.h>
#include <rte_telemetry.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <mutex>
#include <optional>
#include <string_view>

namespace skua::control {

namespace {

// DPDK cuts an answer off at 16 KiB; a row takes up to about 300 bytes.
constexpr std::size_t rows_at_once = 40;

std::mutex source_lock;
std::vector<telemetry_source*> sources;  // the last one answers

/// A dictionary of an answer. DPDK allows only letters, digits, '_' and '/' in names.
class dictionary {
public:
    explicit dictionary(rte_tel_data* d) : d_(d) { rte_tel_data_start_dict(d_); }
    dictionary& add(const char* name, std::string_view text) {
        // Longer ones would be refused.
        rte_tel_data_add_dict_string(d_, name, std::string(text.substr(0, RTE_TEL_MAX_STRING_LEN - 1)).c_str());
        return *this;
    }
    dictionary& add(const char* name, std::uint64_t v) {
        rte_tel_data_add_dict_u64(d_, name, v);
        return *this;
    }
    /// The container is freed by DPDK once the answer is out, or here if there is no room for it.
    void add(const std::string& name, rte_tel_data* container) {
        if (rte_tel_data_add_dict_container(d_, name.c_str(), container, 0) != 0) rte_tel_data_free(container);
    }

private:
    rte_tel_data* d_;
};

void fill(dictionary& d, const shard_report& s) {
    d.add("shard", s.shard).add("lcore", s.lcore).add("polls", s.polls).add("busy_polls", s.busy_polls);
    d.add("rx_packets", s.rx_packets)
        .add("tx_packets", s.tx_packets)
        .add("handed_over", s.handed_over)
        .add("fragments_handed_over", s.fragments_handed_over)
        .add("reassembled_handed_over", s.reassembled_handed_over)
        .add("marked", s.marked)
        .add("dropped", s.dropped);
}

void fill(dictionary& d, const socket_report& s) {
    d.add("local", s.local.to_string())
        .add("remote", s.remote.port ? s.remote.to_string() : "*")
        .add("device", s.device);
    d.add("shard", s.shard).add("rx_queue_bytes", s.rx_queue_bytes).add("rx_queue_packets", s.rx_queue_packets);
    d.add("tx_queue_bytes", s.tx_queue_bytes).add("drops", s.drops).add("owner", s.owner).add("group", s.in_group);
    d.add("weight", s.weight);
}

void fill(dictionary& d, const group_report& g) {
    d.add("local", g.local.to_string()).add("device", g.device).add("chooser", g.chooser);
    d.add("members", g.members).add("buckets", g.buckets).add("fallbacks", g.fallbacks);
    for (const auto& [name, count] : g.counters) d.add(name.c_str(), count);
}

void fill(dictionary& d, const port_report& p) {
    d.add("port", p.port).add("device", p.device).add("driver", p.driver).add("link", p.link_up ? "up" : "down");
    d.add("speed_mbps", p.speed_mbps)
        .add("queues", p.queues)
        .add("rx_packets", p.rx_packets)
        .add("tx_packets", p.tx_packets);
    d.add("rx_bytes", p.rx_bytes)
        .add("tx_bytes", p.tx_bytes)
        .add("rx_missed", p.rx_missed)
        .add("rx_no_mbuf", p.rx_no_mbuf);
    d.add("errors", p.errors).add("rules", p.rules).add("rules_refused", p.rules_refused);
}

void fill(dictionary& d, const interface_report& i) {
    d.add("index", i.index).add("name", i.name).add("mac", to_string(i.mac)).add("mtu", i.mtu).add("vlan", i.vlan);
    rte_tel_data* addresses = rte_tel_data_alloc();
    if (addresses == nullptr) return;
    rte_tel_data_start_array(addresses, RTE_TEL_STRING_VAL);
    for (const auto& a : i.addresses) rte_tel_data_add_array_string(addresses, a.c_str());
    d.add(std::string("addresses"), addresses);
}

void fill(dictionary& d, const neighbour_report& n) {
    d.add("address", n.address.to_string())
        .add("mac", to_string(n.mac))
        .add("interface", n.interface)
        .add("state", n.state);
}

void fill(dictionary& d, const process_report& p) { d.add("process", p.id).add("descriptors", p.descriptors); }

void fill(dictionary& d, const descriptor_report& r) {
    d.add("fd", static_cast<std::uint64_t>(r.fd))
        .add("link", r.link)
        .add("flags", fmt::format("{:#o}", r.flags))
        .add("close_on_exec", r.close_on_exec);
}

/// A number as a parameter; nothing: 0.
std::optional<std::size_t> number_of(std::string_view text) {
    std::size_t n = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (!text.empty() && (problem != std::errc{} || end != text.data() + text.size())) return {};
    return n;
}

int drops(telemetry_source& source, std::string_view, rte_tel_data* out) {
    const auto counters = source.counters();
    dictionary d(out);
    for (const auto& info : drop_reasons)
        if (info.reason != drop_reason::none) d.add(info.name.data(), counters[info.reason]);
    return 0;
}

int mib_group(telemetry_source& source, std::string_view wanted, rte_tel_data* out) {
    if (!wanted.empty() && std::ranges::none_of(mibs, [&](const mib_info& m) { return m.group == wanted; }))
        return -EINVAL;
    const auto counters = source.counters();
    dictionary d(out);
    for (const auto& info : mibs)
        if (wanted.empty()) d.add(fmt::format("{}{}", info.group, info.name).c_str(), counters[info.id]);
        else if (info.group == wanted) d.add(info.name.data(), counters[info.id]);
    return 0;
}

template <class Report>
int show(const std::vector<Report>& all, std::size_t first, rte_tel_data* out) {
    dictionary d(out);
    d.add("total", all.size());
    for (std::size_t i = first; i < all.size() && i - first < rows_at_once; i++) {
        rte_tel_data* row = rte_tel_data_alloc();
        if (row == nullptr) return -ENOMEM;
        dictionary fields(row);
        fill(fields, all[i]);
        d.add(fmt::to_string(i), row);
    }
    return 0;
}

template <auto list>
int rows(telemetry_source& source, std::string_view from, rte_tel_data* out) {
    const auto first = number_of(from);
    return first ? show((source.*list)(), *first, out) : -EINVAL;
}

/// Parameters: process, first row.
int descriptor_rows(telemetry_source& source, std::string_view parameters, rte_tel_data* out) {
    const auto comma = std::min(parameters.find(','), parameters.size());
    const auto process = number_of(parameters.substr(0, comma));
    const auto first = number_of(parameters.substr(std::min(comma + 1, parameters.size())));
    return process && first ? show(source.descriptors(*process), *first, out) : -EINVAL;
}

template <ip_family family>
int proc_net_udp(telemetry_source& source, std::string_view from, rte_tel_data* out) {
    const auto first = number_of(from);
    if (!first) return -EINVAL;
    const auto lines = source.proc_net_udp(family);
    std::string text;
    for (std::size_t i = *first; i < lines.size() && i - *first < rows_at_once; i++) text += lines[i] + "\n";
    return rte_tel_data_string(out, text.c_str());
}

int active_shards(telemetry_source& source, std::string_view wanted, rte_tel_data* out) {
    const auto n = number_of(wanted);
    if (!n) return -EINVAL;
    const auto now = source.active_shards(wanted.empty() ? std::nullopt : std::optional(static_cast<unsigned>(*n)));
    dictionary d(out);
    if (now) d.add("active", std::uint64_t(*now));
    else d.add("error", now.error());
    return 0;
}

int explain(telemetry_source& source, std::string_view question, rte_tel_data* out) {
    const auto rows = source.explain(question);
    dictionary d(out);
    if (!rows) d.add("error", rows.error());
    else
        for (const auto& [name, value] : *rows) d.add(name.c_str(), value);
    return 0;
}

/// What DPDK calls. Nothing may be thrown into it.
template <int (*answer)(telemetry_source&, std::string_view, rte_tel_data*)>
int command(const char*, const char* parameters, rte_tel_data* out) noexcept {
    const std::lock_guard hold(source_lock);
    if (sources.empty()) return -ENODEV;
    try {
        return answer(*sources.back(), parameters ? parameters : "", out);
    } catch (const std::exception&) {
        return -ENOMEM;
    }
}

void register_commands() {
    rte_telemetry_register_cmd("/skua/drops", command<drops>, "Packets dropped, by reason. No parameters");
    rte_telemetry_register_cmd("/skua/mib", command<mib_group>,
                               "Protocol counters. Parameters: Ip, Icmp, Udp, Ip6, Icmp6 or Udp6");
    rte_telemetry_register_cmd("/skua/shards", command<rows<&telemetry_source::shards>>,
                               "Shards. Parameters: first row");
    rte_telemetry_register_cmd("/skua/shards/active", command<active_shards>,
                               "Shards that packets come in on. Parameters: how many from now on");
    rte_telemetry_register_cmd("/skua/explain", command<explain>,
                               "Where a flow goes, and why. Parameters: local and remote address:port, port");
    rte_telemetry_register_cmd("/skua/sockets", command<rows<&telemetry_source::sockets>>,
                               "Sockets. Parameters: first row");
    rte_telemetry_register_cmd("/skua/groups", command<rows<&telemetry_source::groups>>,
                               "SO_REUSEPORT groups. Parameters: first row");
    rte_telemetry_register_cmd("/skua/ports", command<rows<&telemetry_source::ports>>, "Ports. Parameters: first row");
    rte_telemetry_register_cmd("/skua/interfaces", command<rows<&telemetry_source::interfaces>>,
                               "Interfaces. Parameters: first row");
    rte_telemetry_register_cmd("/skua/neighbours", command<rows<&telemetry_source::neighbours>>,
                               "Neighbours. Parameters: first row");
    rte_telemetry_register_cmd("/skua/processes", command<rows<&telemetry_source::processes>>,
                               "Stack processes. Parameters: first row");
    rte_telemetry_register_cmd("/skua/descriptors", command<descriptor_rows>,
                               "Descriptors of a stack process. Parameters: process, first row");
    rte_telemetry_register_cmd("/skua/proc/net/udp", command<proc_net_udp<ip_family::v4>>,
                               "Sockets as in /proc/net/udp. Parameters: first line");
    rte_telemetry_register_cmd("/skua/proc/net/udp6", command<proc_net_udp<ip_family::v6>>,
                               "Sockets as in /proc/net/udp6. Parameters: first line");
}

}  // namespace

telemetry_registration::telemetry_registration(telemetry_source& source) : source_(source) {
    static std::once_flag once;
    std::call_once(once, register_commands);
    const std::lock_guard hold(source_lock);
    sources.push_back(&source);
}

telemetry_registration::~telemetry_registration() {
    const std::lock_guard hold(source_lock);
    sources.erase(std::ranges::find(sources, &source_));
}

}  // namespace skua::control
