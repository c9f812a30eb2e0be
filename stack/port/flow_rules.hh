// rte_flow: flows and ports that the NIC itself gives to a queue, within a budget.
#pragma once

#include <rte_flow.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/address.hh"
#include "base/result.hh"
#include "port/options.hh"

namespace skua::port {

/// Who takes rules: a DPDK port, or whoever stands in front of it. As rte_flow_validate, _create and _destroy, for
/// what comes in.
class rule_taker {
public:
    virtual ~rule_taker() = default;
    virtual int validate(const rte_flow_item* pattern, const rte_flow_action* actions, rte_flow_error& why_not) = 0;
    virtual rte_flow* create(const rte_flow_item* pattern, const rte_flow_action* actions, rte_flow_error& why_not) = 0;
    virtual void destroy(rte_flow* made) = 0;

    static std::unique_ptr<rule_taker> of_port(std::uint16_t id);
};

/// Every rule is tried on the device itself, which may refuse any: whoever adds one can do without. One caller at a
/// time. The port must have been started, and outlive it.
class flow_rules {
public:
    using rule = std::uint32_t;  // never 0

    /// Tries on the device what it takes: see capabilities().
    flow_rules(std::unique_ptr<rule_taker> device, std::size_t budget);
    flow_rules(std::uint16_t port, std::size_t budget) : flow_rules(rule_taker::of_port(port), budget) {}
    ~flow_rules();
    flow_rules(const flow_rules&) = delete;
    flow_rules& operator=(const flow_rules&) = delete;

    /// Datagrams of exactly this flow go to the queue, and carry the mark if the device can. Errors: ENOSPC over the
    /// budget; ENOTSUP the device takes no such rules; what the device says.
    result<rule> add(const flow_key& flow, std::uint16_t queue, std::uint32_t mark);
    /// All datagrams to this UDP port. Errors: the same.
    result<rule> add_port(ip_family family, std::uint16_t local_port, std::uint16_t queue);
    void remove(rule r);

    bool takes_flows() const { return takes_flows_; }
    bool takes_ports() const { return takes_ports_; }
    bool marks() const { return marks_; }
    std::size_t budget() const { return budget_; }
    std::size_t installed() const { return rules_.size(); }
    /// Not installed, since there was no room or the device said no.
    std::uint64_t refused() const { return refused_; }
    /// What the device said last when it refused; empty: nothing.
    const std::string& last_refusal() const { return last_refusal_; }
    std::vector<capability_row> capabilities() const;

private:
    struct match;
    bool try_out(const match& m, std::string& why);
    result<rule> install(const match& m);

    const std::unique_ptr<rule_taker> device_;
    const std::size_t budget_;
    bool takes_flows_ = false;
    bool takes_ports_ = false;
    bool marks_ = false;
    std::string why_no_flows_;
    std::string why_no_ports_;
    std::string why_no_marks_;
    std::map<rule, rte_flow*> rules_;
    rule last_ = 0;
    std::uint64_t refused_ = 0;
    std::string last_refusal_;
};

}  // namespace skua::port
