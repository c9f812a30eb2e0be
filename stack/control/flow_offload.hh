// Which connected sockets the NICs know: a rule that brings the flow to its home's queue, and a mark that names it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/rcu.hh"
#include "control/config.hh"
#include "port/flow_rules.hh"
#include "port/port.hh"
#include "udp/marked_flows.hh"

namespace skua::control {

/// Any thread. What a NIC refuses, or the budget leaves no room for, is done in software as if there were no rules.
class flow_offload {
public:
    /// Tries on ports with several queues what they take, and tells the ports.
    flow_offload(rcu_domain& rcu, const std::vector<std::unique_ptr<port::port>>& ports,
                 const std::vector<port_config>& asked);

    /// A socket has got a whole peer, or has none any more; its caller has it to itself.
    void peer_changed(udp::pcb& p, bool connected);
    /// Its home is another.
    void rehomed(udp::pcb& p);

    const udp::marked_flows& marks() const { return marks_; }
    /// For one port by its place; nullptr: it has one queue, or no budget.
    const port::flow_rules* rules(std::size_t port) const { return rules_[port].get(); }
    /// Of a socket, on all ports together.
    std::size_t rules_of(const udp::pcb& p) const;

private:
    struct flow {
        flow_key key;
        std::uint32_t device = 0;
        std::uint32_t mark = 0;  // 0: none was left
        std::vector<std::pair<std::size_t, port::flow_rules::rule>> rules = {};
    };
    void install(const udp::pcb& p, flow& f);
    void take_out(flow& f);

    std::vector<std::unique_ptr<port::flow_rules>> rules_;
    std::vector<std::uint16_t> queues_;
    udp::marked_flows marks_;
    mutable std::mutex lock_;
    std::map<const udp::pcb*, flow> flows_;
};

}  // namespace skua::control
