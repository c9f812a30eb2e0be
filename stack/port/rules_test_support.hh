// A NIC's rte_flow rules, played: what the tests of those who ask for rules share.
#pragma once

#include <netinet/in.h>
#include <rte_errno.h>
#include <rte_flow.h>

#include <cstring>
#include <list>
#include <memory>
#include <optional>

#include "base/address.hh"
#include "port/flow_rules.hh"

namespace skua::test {

/// Which kinds of rules are agreed to, and those that were made. Outlives its takers.
class rule_table {
public:
    bool flows = true;
    bool ports = true;
    bool marks = true;
    std::size_t room = SIZE_MAX;
    bool only_validates = false;

    struct entry {
        ip_family family = ip_family::v4;
        std::optional<flow_key> flow;
        std::uint16_t local_port = 0;
        std::uint16_t queue = 0;
        std::uint32_t mark = 0;
    };
    const std::list<entry>& entries() const { return entries_; }
    /// Of the rule that a datagram meets; nullptr: none. The more exact goes first.
    const entry* find(const flow_key& f) const {
        const entry* by_port = nullptr;
        for (const auto& e : entries_) {
            if (e.flow && *e.flow == f) return &e;
            if (!e.flow && e.family == f.local.family() && e.local_port == f.local_port) by_port = &e;
        }
        return by_port;
    }
    std::unique_ptr<port::rule_taker> taker() { return std::make_unique<taker_of_rules>(*this); }

private:
    class taker_of_rules final : public port::rule_taker {
    public:
        explicit taker_of_rules(rule_table& t) : table_(t) {}
        int validate(const rte_flow_item* pattern, const rte_flow_action* actions, rte_flow_error& why_not) override {
            const auto e = read(pattern, actions);
            if (e && (e->flow ? table_.flows : table_.ports) && (e->mark == 0 || table_.marks)) return 0;
            return rte_flow_error_set(&why_not, ENOTSUP, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr, "no such rules");
        }
        rte_flow* create(const rte_flow_item* pattern, const rte_flow_action* actions,
                         rte_flow_error& why_not) override {
            if (validate(pattern, actions, why_not) != 0) return nullptr;
            if (table_.only_validates || table_.entries_.size() >= table_.room) {
                rte_flow_error_set(&why_not, ENOSPC, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, nullptr, "the device is full");
                return nullptr;
            }
            table_.entries_.push_back(*read(pattern, actions));
            return reinterpret_cast<rte_flow*>(&table_.entries_.back());
        }
        void destroy(rte_flow* made) override {
            table_.entries_.remove_if([&](entry& e) { return reinterpret_cast<rte_flow*>(&e) == made; });
        }

    private:
        static ip_address address_of(std::uint32_t raw) { return ipv4_address(be32(ntohl(raw))); }
        static std::optional<entry> read(const rte_flow_item* pattern, const rte_flow_action* actions);
        rule_table& table_;
    };
    std::list<entry> entries_;
};

/// Exactly eth / ipv4 or ipv6 / udp / end, with whole masks; mark and queue.
inline std::optional<rule_table::entry> rule_table::taker_of_rules::read(const rte_flow_item* pattern,
                                                                         const rte_flow_action* actions) {
    entry e;
    if (pattern[0].type != RTE_FLOW_ITEM_TYPE_ETH || pattern[2].type != RTE_FLOW_ITEM_TYPE_UDP) return {};
    if (pattern[3].type != RTE_FLOW_ITEM_TYPE_END || pattern[0].spec != nullptr) return {};
    const auto* const udp = static_cast<const rte_flow_item_udp*>(pattern[2].spec);
    const auto* const udp_mask = static_cast<const rte_flow_item_udp*>(pattern[2].mask);
    if (udp_mask->hdr.dst_port != 0xffff) return {};
    e.local_port = ntohs(udp->hdr.dst_port);
    ip_address local, remote;
    if (pattern[1].type == RTE_FLOW_ITEM_TYPE_IPV4) {
        if (const auto* const ip = static_cast<const rte_flow_item_ipv4*>(pattern[1].spec)) {
            local = address_of(ip->hdr.dst_addr);
            remote = address_of(ip->hdr.src_addr);
        }
    } else if (pattern[1].type == RTE_FLOW_ITEM_TYPE_IPV6) {
        e.family = ip_family::v6;
        if (const auto* const ip = static_cast<const rte_flow_item_ipv6*>(pattern[1].spec)) {
            ipv6_address to, from;
            std::memcpy(to.bytes.data(), &ip->hdr.dst_addr, 16);
            std::memcpy(from.bytes.data(), &ip->hdr.src_addr, 16);
            local = to;
            remote = from;
        }
    } else {
        return {};
    }
    if (pattern[1].spec != nullptr) {
        if (udp_mask->hdr.src_port != 0xffff || pattern[1].mask == nullptr) return {};
        e.flow = flow_key{local, remote, e.local_port, ntohs(udp->hdr.src_port)};
    }
    if (actions->type == RTE_FLOW_ACTION_TYPE_MARK)
        e.mark = static_cast<const rte_flow_action_mark*>((actions++)->conf)->id;
    if (actions->type != RTE_FLOW_ACTION_TYPE_QUEUE) return {};
    e.queue = static_cast<const rte_flow_action_queue*>(actions->conf)->index;
    return e;
}

}  // namespace skua::test
