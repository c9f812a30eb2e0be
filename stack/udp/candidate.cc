// Copying the facts of a socket or a group.
#include "udp/candidate.hh"

namespace skua::udp {

namespace {

/// Which packets an address of a socket can be the destination of, and how well the family fits.
void set_local(candidate& c, const ip_address& local, ip_family family, bool v6_only) {
    c.local = local;
    c.local_any = local.is_any();
    if (family == ip_family::v4) {
        c.family_score[0] = 2;
        return;
    }
    const bool any = local == ip_address::v6_any();
    if ((any || local.is_v4()) && !v6_only) c.family_score[0] = 1;
    if (any || !local.is_v4()) c.family_score[1] = 2;
}

}  // namespace

std::unique_ptr<candidate> candidate::of(pcb& p, place_order order) {
    auto c = std::make_unique<candidate>();
    set_local(*c, p.local.address, p.family, p.v6_only);
    c->local_port = p.local.port;
    c->remote = p.remote.address;
    c->remote_any = p.remote.address.is_any();
    c->remote_port = p.remote.port;
    c->socket = &p;
    c->order = order;
    c->device = p.device;
    c->incoming_shard = p.incoming_shard;
    c->reuse_port = p.reuse_port && c->remote_any && c->remote_port == 0;
    return c;
}

std::unique_ptr<candidate> candidate::of(group& g, std::uint16_t port) {
    auto c = std::make_unique<candidate>();
    set_local(*c, g.facts().address, g.facts().family, g.facts().v6_only);
    c->local_port = port;
    c->members = &g;
    c->device = g.facts().device;
    c->reuse_port = true;
    c->hinted = g.hinted();
    return c;
}

}  // namespace skua::udp
