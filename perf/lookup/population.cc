// Addresses, ports and peers of the benchmark's sockets.
#include "lookup/population.hh"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <stdexcept>

namespace skua::lookup_perf {

namespace {

constexpr std::uint16_t one_port = 7;
constexpr std::uint16_t first_port = 1024;
// Peers: as many addresses as fit into a /17 beside the local ones, then the next source port of each.
constexpr std::size_t peer_addresses = 32768;

std::uint16_t port(std::size_t from, std::size_t i) { return static_cast<std::uint16_t>(from + i); }

}  // namespace

const char* name_of(table_kind kind) {
    switch (kind) {
        case table_kind::ports: return "ports";
        case table_kind::addresses: return "addresses";
        case table_kind::connected: return "connected";
    }
    return "";
}

population::population(table_kind kind, ip_family family) : kind_(kind), family_(family) {}

population::~population() {
    for (auto& s : sockets_) tables.unbind(s);
}

void population::reserve(std::size_t n) {
    while (sockets_.size() < n) {
        auto& s = sockets_.emplace_back(family_);
        s.reuse_address = true;
        s.v6_only = family_ == ip_family::v6;
    }
}

std::size_t population::ports_for(std::size_t n) const {
    return kind_ == table_kind::ports ? (n + addresses_for(n) - 1) / addresses_for(n) : 1;
}

std::size_t population::addresses_for(std::size_t n) const {
    if (kind_ == table_kind::addresses) return n;
    return kind_ == table_kind::ports ? (n + most_ports - 1) / most_ports : 1;
}

/// 198.18.0.0/15 holds 131,072 addresses, too few for a million: IPv4 goes on into 10.0.0.0/8, which the tables do not
/// tell from it and no packet leaves this program.
ip_address population::local_address(std::size_t i) const {
    if (family_ == ip_family::v4) {
        const auto host = static_cast<std::uint32_t>(i < 65536 ? 0xc6120001u + i : 0x0a000000u + i);
        return ipv4_address(be32(host));
    }
    ipv6_address a;
    a.bytes = {0x20, 0x01, 0x0d, 0xb8};
    for (std::size_t at = 0; at < 4; at++) a.bytes[15 - at] = static_cast<std::uint8_t>((i + 1) >> (8 * at));
    return a;
}

ip_address population::remote_address(std::size_t i) const {
    const std::size_t n = i % peer_addresses;
    if (family_ == ip_family::v4) return ipv4_address(be32(static_cast<std::uint32_t>(0xc6138000u + n)));
    ipv6_address a;
    a.bytes = {0x20, 0x01, 0x0d, 0xb8, 0, 1};
    a.bytes[14] = static_cast<std::uint8_t>(n >> 8);
    a.bytes[15] = static_cast<std::uint8_t>(n);
    return a;
}

flow_key population::flow_to(std::size_t i, std::size_t n) const {
    flow_key f;
    f.remote = remote_address(i * 7919);
    f.remote_port = port(first_port, i % 40000);
    switch (kind_) {
        case table_kind::ports:
            f.local = local_address(i / ports_for(n));
            f.local_port = port(first_port, i % ports_for(n));
            break;
        case table_kind::addresses:
            f.local = local_address(i);
            f.local_port = one_port;
            break;
        case table_kind::connected:
            f.local = local_address(0);
            f.local_port = one_port;
            f.remote = remote_address(i);
            f.remote_port = port(first_port, i / peer_addresses);
            break;
    }
    return f;
}

void population::add_next() {
    const flow_key f = flow_to(added_, sockets_.size());
    bench_socket& s = sockets_[added_];
    const bool any = kind_ == table_kind::ports && addresses_for(sockets_.size()) == 1;
    auto done = tables.bind(s, {any ? ip_address::any(family_) : f.local, f.local_port, 0});
    if (done && kind_ == table_kind::connected) done = tables.connect(s, f.local, {f.remote, f.remote_port, 0});
    if (!done) throw std::runtime_error(fmt::format("socket {} was refused: errno {}", added_, done.error().code));
    ++added_;
}

std::vector<flow_key> population::random_flows(std::size_t count, std::size_t n, std::uint64_t seed) const {
    seeded_random dice(seed);
    std::vector<flow_key> flows;
    flows.reserve(count);
    for (std::size_t i = 0; i < count; i++) flows.push_back(flow_to(dice.below(n), n));
    return flows;
}

}  // namespace skua::lookup_perf
