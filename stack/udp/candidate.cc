// Copying the facts of a socket or a group.
#include "udp/candidate.hh"

namespace skua::udp {

namespace {

constexpr bool for_v4 = true, for_v6 = false;

/// Which packets an address of a socket can be the destination of, and how well the family fits.
void set_local(candidate& c, const ip_address& local, ip_family family, bool v6_only) {
    c.local = local;
    if (!local.is_any()) c.checks |= candidate::local_address;
    if (family == ip_family::v4) {
        c.family_score[for_v4] = 2;
        return;
    }
    const bool any = local == ip_address::v6_any();
    if ((any || local.is_v4()) && !v6_only) c.family_score[for_v4] = 1;
    if (any || !local.is_v4()) c.family_score[for_v6] = 2;
}

}  // namespace

std::unique_ptr<candidate> candidate::of(pcb& p, place_order order) {
    auto c = std::make_unique<candidate>();
    set_local(*c, p.local.address, p.family, p.v6_only);
    c->local_port = p.local.port;
    c->remote = p.remote.address;
    c->remote_port = p.remote.port;
    c->socket = &p;
    c->order = order;
    c->device = p.device;
    c->incoming_shard = p.incoming_shard;
    if (!p.remote.address.is_any()) c->checks |= remote_address;
    if (p.remote.port != 0) c->checks |= remote_port_set;
    if (p.device != 0) c->checks |= device_set;
    if (p.incoming_shard >= 0) c->checks |= shard_hint;
    c->reuse_port = p.reuse_port && (c->checks & (remote_address | remote_port_set)) == 0;
    return c;
}

std::unique_ptr<candidate> candidate::of(group& g, std::uint16_t port) {
    auto c = std::make_unique<candidate>();
    set_local(*c, g.facts().address, g.facts().family, g.facts().v6_only);
    c->local_port = port;
    c->members = &g;
    c->device = g.facts().device;
    if (c->device != 0) c->checks |= device_set;
    if (g.hinted()) c->checks |= members_hint;
    c->reuse_port = true;
    return c;
}

}  // namespace skua::udp
