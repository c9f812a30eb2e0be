// Which sockets the NICs know: rules that bring a flow, or what comes to a port, to the queue of its socket's home, and
// marks that name connected sockets.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
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
    using taker_of = std::function<std::unique_ptr<port::rule_taker>(std::uint16_t port)>;

    /// Tries on ports with several queues what they take, and tells the ports. `taker`: who takes rules instead of a
    /// port; empty: the ports.
    flow_offload(rcu_domain& rcu, const std::vector<std::unique_ptr<port::port>>& ports,
                 const std::vector<port_config>& asked, const taker_of& taker = {});

    /// A socket has got a whole peer, or has none any more; its caller has it to itself.
    void peer_changed(udp::pcb& p, bool connected);
    /// tables::port_watch. Only a socket that named its port gets a rule for it: a port that was chosen is one whose
    /// replies come to the right queue already, and such sockets come and go faster than NICs take rules.
    void port_changed(std::uint16_t local_port, ip_family f, const udp::pcb* alone);
    /// Its home is another. The shard to whose queue rules brought its packets until now; nothing: they came as the
    /// NICs' tables say, and still do.
    std::optional<std::uint16_t> rehomed(udp::pcb& p);

    const udp::marked_flows& marks() const { return marks_; }
    bool takes_ports() const;
    /// For one port by its place; nullptr: it has one queue, or no budget.
    const port::flow_rules* rules(std::size_t port) const { return rules_[port].get(); }
    struct counts {
        std::size_t installed = 0;
        std::uint64_t refused = 0;  // for want of room, or by the device
    };
    counts counted(std::size_t port) const;
    /// Of a socket's flow, on all ports together.
    std::size_t rules_of(const udp::pcb& p) const;
    struct port_rule {
        bool asked_for = false;
        std::optional<std::uint16_t> queue;  // that it names; nothing: it is not installed
    };
    /// On one port by its place, for what comes to a UDP port.
    port_rule rule_for(std::size_t port, ip_family f, std::uint16_t local_port) const;

private:
    using installed = std::vector<std::pair<std::size_t, port::flow_rules::rule>>;  // port by place, and rule
    struct flow {
        flow_key key;
        std::uint32_t device = 0;
        std::uint32_t mark = 0;   // 0: none was left
        std::uint16_t queue = 0;  // that the rules name
        installed rules = {};
    };
    struct open_port {
        const udp::pcb* of;
        std::uint16_t queue = 0;
        installed rules = {};
    };
    using port_name = std::pair<std::uint16_t, ip_family>;
    bool deserves_rule(const udp::pcb& p) const;
    void install(const udp::pcb& p, flow& f);
    void install(const port_name& name, open_port& o);
    void take_out(installed& rules);

    std::vector<std::unique_ptr<port::flow_rules>> rules_;
    std::vector<std::uint16_t> queues_;
    udp::marked_flows marks_;
    mutable std::mutex lock_;
    std::map<const udp::pcb*, flow> flows_;
    std::map<port_name, open_port> ports_;
};

}  // namespace skua::control
