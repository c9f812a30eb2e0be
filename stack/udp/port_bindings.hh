// Who is bound to a port: the writers' view, connected sockets included. Shards never look at it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "udp/bind_rules.hh"
#include "udp/candidate.hh"
#include "udp/group.hh"

namespace skua::udp {

/// Sockets that the bind rules cannot tell apart, in the order of binding: a bind looks at each such set once, so a
/// million connected sockets on one port cost it no more than one.
struct bind_set {
    explicit bind_set(const bind_facts& f) : facts(f) {}
    const bind_facts facts;
    std::map<place_order, pcb*> members;

    /// Would Linux meet the first of these sockets before the first of those? New sockets stand at the head of their
    /// slot, but IPv6 ones with SO_REUSEPORT at the tail (sk_add_node_rcu).
    bool stands_before(const bind_set& other) const;
    bool at_tail() const { return facts.family == ip_family::v6 && facts.reuse_port; }
};

/// A group and the entry that stands for it in the lookup tables.
struct placed_group {
    placed_group(rcu_domain& rcu, const bind_facts& facts, const spread& over)
        : sockets(std::make_unique<group>(rcu, facts, &over)) {}
    std::unique_ptr<group> sockets;
    candidate* entry = nullptr;
};

/// What the tables keep of one bound pcb.
struct binding {
    place_order bound_at = 0;      // decides between bind conflicts
    place_order placed_at = 0;     // decides between equal scores; anew when connect() or its end changes the address
    place_order connected_at = 0;  // decides between sockets with one peer
    bind_set* set = nullptr;
    bool with_option = false;    // it had SO_REUSEPORT when it was bound
    candidate* entry = nullptr;  // nullptr: the group's stands for it
};

class port_bindings {
public:
    /// What bind() to this port meets: of the sockets not apart, the one that stands first decides alone
    /// (udp_lib_lport_inuse returns at the first).
    bind_relation first_met(const bind_facts& newcomer) const;
    /// For a port chosen by us: whether any socket conflicts.
    bool has_conflict(const bind_facts& newcomer) const;

    void add(pcb& p, const bind_facts& facts);
    void remove(pcb& p);
    bool empty() const { return by_address_.empty(); }
    /// The only socket that takes packets of the family, or nullptr: there is none, or several.
    pcb* only(ip_family f) const;

    /// The group that a socket of these facts belongs to, or nullptr.
    placed_group* find_group(const bind_facts& facts);
    placed_group& add_group(rcu_domain& rcu, const bind_facts& facts, const spread& over);
    void remove_group(const placed_group& g, const ip_address& address);

    void for_all(const std::function<void(pcb&)>& visit) const;
    void for_all_groups(const std::function<void(group&)>& visit) const;

private:
    struct at_address {
        std::vector<std::unique_ptr<bind_set>> sets;
        std::vector<std::unique_ptr<placed_group>> groups;
        bool empty() const { return sets.empty() && groups.empty(); }
    };
    template <class Visit>
    void for_each_near(const ip_address& a, Visit&& visit) const;

    /// Sockets that take packets of one family: their number, and their addresses in memory combined by XOR, which is
    /// the address of the last one when one is left.
    struct takers {
        std::size_t count = 0;
        std::uintptr_t combined = 0;
    };
    void count_taker(const pcb& p, const bind_facts& facts, std::size_t by);

    std::map<ip_address, at_address> by_address_;
    takers v4_, v6_;
};

}  // namespace skua::udp
