// Choosing a source address: RFC 6724 for IPv6, the kernel's habits for IPv4.
#include <algorithm>
#include <bit>

#include "net/topology.hh"
#include "net/topology_tables.hh"

namespace skua::net {

namespace {

/// RFC 4291 §2.7, RFC 6724 §3.1: unicast addresses have the scopes of multicast ones.
unsigned scope_of(const ip_address& a) {
    if (a.is_multicast()) return a.bytes()[1] & 0x0f;
    return a.is_link_local() || a.is_loopback() ? 2 : 14;
}

/// RFC 6724 §2.2: not beyond the prefix length of the source.
unsigned common_prefix(const ip_prefix& source, const ip_address& to) {
    unsigned bits = 0;
    for (unsigned i = 0; i < 16; i++, bits += 8)
        if (const auto differ = static_cast<std::uint8_t>(source.address.bytes()[i] ^ to.bytes()[i])) {
            bits += static_cast<unsigned>(std::countl_zero(differ));
            break;
        }
    return std::min<unsigned>(bits, source.length);
}

struct candidate {
    const interface_address* address = nullptr;
    bool on_way_out = false;
};

/// RFC 6724 §5, rules 1, 2, 5, 8. Rule 3 has been applied: only usable addresses are candidates.
bool better(const candidate& a, const candidate& b, const ip_address& to) {
    const auto& x = a.address->prefix;
    const auto& y = b.address->prefix;
    if ((x.address == to) != (y.address == to)) return x.address == to;
    if (const unsigned sx = scope_of(x.address), sy = scope_of(y.address); sx != sy)
        return sx < sy ? sx >= scope_of(to) : sy < scope_of(to);
    if (a.on_way_out != b.on_way_out) return a.on_way_out;
    return common_prefix(x, to) > common_prefix(y, to);
}

result<ip_address> source_v6(const topology& map, const ip_address& to, const interface& out) {
    // RFC 6724 §4: for these the addresses of other interfaces are no candidates.
    const bool only_there = to.is_multicast() || to.is_link_local();
    candidate best;
    for (const auto& i : map.interfaces()) {
        const bool there = i.index == out.index;
        if (only_there && !there) continue;
        for (const auto& a : i.addresses) {
            const auto& own = a.prefix.address;
            if (own.is_v4() || !a.usable() || (own.is_loopback() && !there)) continue;
            if (const candidate c{&a, there}; !best.address || better(c, best, to)) best = c;
        }
    }
    if (!best.address) return fail(EADDRNOTAVAIL);
    return best.address->prefix.address;
}

/// Linux: fib_result_prefsrc, inet_select_addr.
result<ip_address> source_v4(const topology& map, const path& way) {
    const interface_address* first = nullptr;
    for (const auto& a : way.out->addresses) {
        if (!a.prefix.address.is_v4() || !a.usable()) continue;
        if (a.prefix.contains(way.next_hop)) return a.prefix.address;
        if (!first) first = &a;
    }
    if (first) return first->prefix.address;
    for (const auto& i : map.interfaces())
        for (const auto& a : i.addresses)
            if (a.prefix.address.is_v4() && a.usable() && !a.prefix.address.is_loopback()) return a.prefix.address;
    return fail(EADDRNOTAVAIL);
}

}  // namespace

result<ip_address> topology::source_for(const ip_address& to, const path& way) const {
    if (way.source && tables_->usable(*way.source)) return *way.source;
    return to.is_v4() ? source_v4(*this, way) : source_v6(*this, to, *way.out);
}

}  // namespace skua::net
