// The bind rules of Linux, one condition after the other.
#include "udp/bind_rules.hh"

namespace skua::udp {

namespace {

enum class address_class : std::uint8_t { any, mapped, other };

address_class class_of(const ip_address& a) {
    if (a == ip_address::v6_any()) return address_class::any;
    return a.is_v4() ? address_class::mapped : address_class::other;
}

/// ipv4_rcv_saddr_equal: the newcomer is an IPv4 socket.
bool overlap_from_v4(const bind_facts& newcomer, const bind_facts& bound) {
    if (bound.v6_only) return false;
    // An IPv6 address proper stands for some IPv4 address there: no wildcard, but inside one.
    if (newcomer.address.is_any() || bound.address.is_any()) return true;
    return newcomer.address == bound.address;
}

/// ipv6_rcv_saddr_equal
bool overlap_from_v6(const bind_facts& newcomer, const bind_facts& bound) {
    const auto a = class_of(newcomer.address);
    const auto b = class_of(bound.address);
    if (a == address_class::mapped && b == address_class::mapped)
        return !bound.v6_only &&
               (newcomer.address == bound.address || newcomer.address.is_any() || bound.address.is_any());
    if (a == address_class::any && b == address_class::any) return true;
    if (b == address_class::any && !(bound.v6_only && a == address_class::mapped)) return true;
    if (a == address_class::any && !(newcomer.v6_only && b == address_class::mapped)) return true;
    return newcomer.address == bound.address;
}

}  // namespace

bind_facts::bind_facts(const pcb& p)
    : address(p.local.address),
      family(p.family),
      v6_only(p.v6_only),
      reuse_address(p.reuse_address),
      reuse_port(p.reuse_port),
      owner(p.owner),
      device(p.device) {}

bind_relation relation(const bind_facts& newcomer, const bind_facts& bound) {
    if (newcomer.reuse_address && bound.reuse_address) return bind_relation::apart;
    if (newcomer.device != 0 && bound.device != 0 && newcomer.device != bound.device) return bind_relation::apart;
    const bool overlap =
        newcomer.family == ip_family::v4 ? overlap_from_v4(newcomer, bound) : overlap_from_v6(newcomer, bound);
    if (!overlap) return bind_relation::apart;
    return newcomer.reuse_port && bound.reuse_port && newcomer.owner == bound.owner ? bind_relation::shares
                                                                                    : bind_relation::conflicts;
}

bool same_group(const bind_facts& a, const bind_facts& b) {
    return a.reuse_port && b.reuse_port && a.family == b.family && a.v6_only == b.v6_only && a.device == b.device &&
           a.owner == b.owner && a.address == b.address;
}

}  // namespace skua::udp
