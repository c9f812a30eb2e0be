// Copying the facts of a socket or a group.
#include "udp/candidate.hh"

namespace skua::udp {

namespace {

/// Which packets an address of a socket can be the destination of, and how well the family fits.
void set_local(candidate& c, const ip_address& local, ip_family family, bool v6_only) {
    c.local = local;
    if (!local.is_any()) c.checks |= candidate::local_address;
    if (family == ip_family::v4) {
        c.v4_score = 2;
        return;
    }
    const bool any = local == ip_address::v6_any();
    if ((any || local.is_v4()) && !v6_only) c.v4_score = 1;
    if (any || !local.is_v4()) c.v6_score = 2;
}

}  // namespace

candidate candidate::of(pcb& p, place_order order) {
    candidate c;
    set_local(c, p.local.address, p.family, p.v6_only);
    c.local_port = p.local.port;
    c.remote = p.remote.address;
    c.remote_port = p.remote.port;
    c.socket = &p;
    c.order = order;
    c.device = p.device;
    if (!p.remote.address.is_any()) c.checks |= remote_address;
    if (p.remote.port != 0) c.checks |= remote_port_set;
    if (p.device != 0) c.checks |= device_set;
    // A hint beyond 16 bits names no shard.
    if (p.incoming_shard >= 0 && p.incoming_shard <= UINT16_MAX) {
        c.checks |= shard_hint;
        c.incoming_shard = static_cast<std::uint16_t>(p.incoming_shard);
    }
    c.reuse_port = p.reuse_port && (c.checks & (remote_address | remote_port_set)) == 0;
    return c;
}

candidate candidate::of(group& g, std::uint16_t port) {
    candidate c;
    set_local(c, g.facts().address, g.facts().family, g.facts().v6_only);
    c.local_port = port;
    c.several = &g;
    c.of_group = true;
    c.device = g.facts().device;
    if (c.device != 0) c.checks |= device_set;
    if (g.hinted()) c.checks |= members_hint;
    c.reuse_port = true;
    return c;
}

}  // namespace skua::udp
