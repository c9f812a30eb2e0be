// What a topology is made of: lists for people, tables for packets. Private to the sources of topology.
#pragma once

#include <rte_memory.h>
#include <rte_rib.h>
#include <rte_rib6.h>

#include "net/topology.hh"

namespace skua::net {

inline const ip_address loopback_v4 = ipv4_address(127, 0, 0, 1);

/// ff02::1:ff00:0/104 and the low 24 bits of the address (RFC 4291 §2.7.1).
ip_address solicited_node_group(const ip_address& a);

struct topology::tables {
    /// Throws std::bad_alloc.
    tables(std::vector<interface> all, std::vector<route> configured_routes);

    enum class role : std::uint8_t { own, broadcast, group };
    /// An address that packets may carry as their destination, and why we care.
    struct known_address {
        ip_address address;
        std::uint32_t ifindex = 0;  // 0: free slot
        role as = role::own;
        const interface_address* held = nullptr;  // own addresses
    };

    /// Visits the entries of an address in order of ifindex, as long as `visit` returns true.
    template <class Visit>
    void for_each(const ip_address& a, Visit&& visit) const {
        for (std::size_t at = slot_of(a);; at = (at + 1) & (known.size() - 1)) {
            if (known[at].ifindex == 0) return;
            if (known[at].address == a && !visit(known[at])) return;
        }
    }
    /// The first entry in a role; ifindex 0 = of any interface.
    const known_address* find(const ip_address& a, role as, std::uint32_t ifindex) const {
        const known_address* found = nullptr;
        for_each(a, [&](const known_address& k) {
            if (k.as != as || (ifindex != 0 && k.ifindex != ifindex)) return true;
            found = &k;
            return false;
        });
        return found;
    }
    const interface* by_index(std::uint32_t ifindex) const {
        for (std::size_t at = ifindex & (indices.size() - 1); indices[at]; at = (at + 1) & (indices.size() - 1))
            if (indices[at]->index == ifindex) return indices[at];
        return nullptr;
    }
    bool usable(const ip_address& a, std::uint32_t ifindex = 0) const;
    /// Longest prefix, then lowest metric; ifindex 0 = by any interface.
    const route* find_route(const ip_address& to, std::uint32_t ifindex) const;

    const std::uint64_t serial;
    const std::vector<interface> interfaces;  // by index
    const std::vector<route> configured;      // as the builder was told
    std::vector<route> routes;                // and the connected ones; by destination, then metric

private:
    friend class topology;
    std::size_t slot_of(const ip_address& a) const {
        const auto product =
            static_cast<unsigned __int128>(a.high() ^ 0x9e3779b97f4a7c15) * (a.low_raw() ^ 0xd1b54a32d192ed03);
        const auto folded = static_cast<std::uint64_t>(product >> 64) ^ static_cast<std::uint64_t>(product);
        return (folded * 0x9e3779b97f4a7c15 >> 32) & (known.size() - 1);
    }
    void learn(const known_address& k);
    void fill_indices();
    void fill_addresses();
    void fill_routes();

    void insert(const ip_prefix& destination, std::uint64_t first);
    /// Up from a node of a tree to one that has a route by this interface.
    template <auto Parent, auto Value, class Node>
    const route* pick(Node* node, std::uint32_t ifindex) const {
        for (; node; node = Parent(node)) {
            std::uint64_t n;
            Value(node, &n);
            for (const route* r = &routes[n];
                 r != routes.data() + routes.size() && r->destination == routes[n].destination; ++r)
                if (ifindex == 0 || r->ifindex == ifindex) return r;
        }
        return nullptr;
    }

    struct rib_delete {
        void operator()(rte_rib* r) const { rte_rib_free(r); }
        void operator()(rte_rib6* r) const { rte_rib6_free(r); }
    };
    std::vector<known_address> known;                  // open addressing, at most half full
    std::vector<const interface*> indices;             // open addressing by ifindex, at most half full
    std::vector<std::vector<const interface*>> ports;  // [port][vlan]
    // Value of a node: the first of the routes to its prefix.
    std::unique_ptr<rte_rib, rib_delete> rib4;
    std::unique_ptr<rte_rib6, rib_delete> rib6;
};

}  // namespace skua::net
