// Writing flows in rte_flow's words, and trying them.
#include "port/flow_rules.hh"

#include <fmt/format.h>
#include <netinet/in.h>
#include <rte_errno.h>

#include <array>
#include <cstring>

namespace skua::port {

/// What a rule looks for, and where it sends it; in the device's words by parts().
struct flow_rules::match {
    ip_family family = ip_family::v4;
    std::optional<flow_key> flow;  // nothing: any flow to local_port
    std::uint16_t local_port = 0;
    std::uint16_t queue = 0;
    std::uint32_t mark = 0;  // 0: none

    /// rte_flow keeps pointers while a call runs: this holds what they point to.
    struct parts {
        rte_flow_item_ipv4 v4{}, v4_mask{};
        rte_flow_item_ipv6 v6{}, v6_mask{};
        rte_flow_item_udp udp{}, udp_mask{};
        rte_flow_action_mark mark{};
        rte_flow_action_queue queue{};
        std::array<rte_flow_item, 4> pattern{};
        std::array<rte_flow_action, 3> actions{};
    };
    void write(parts& p) const;
};

void flow_rules::match::write(parts& p) const {
    const bool is_v4 = family == ip_family::v4;
    p.pattern[0].type = RTE_FLOW_ITEM_TYPE_ETH;
    p.pattern[1].type = is_v4 ? RTE_FLOW_ITEM_TYPE_IPV4 : RTE_FLOW_ITEM_TYPE_IPV6;
    p.udp.hdr.dst_port = rte_cpu_to_be_16(local_port);
    p.udp_mask.hdr.dst_port = 0xffff;
    if (flow) {
        p.udp.hdr.src_port = rte_cpu_to_be_16(flow->remote_port);
        p.udp_mask.hdr.src_port = 0xffff;
        if (is_v4) {
            p.v4.hdr.src_addr = flow->remote.v4().value.raw();
            p.v4.hdr.dst_addr = flow->local.v4().value.raw();
            p.v4_mask.hdr.src_addr = p.v4_mask.hdr.dst_addr = 0xffffffff;
            p.pattern[1].spec = &p.v4;
            p.pattern[1].mask = &p.v4_mask;
        } else {
            std::memcpy(&p.v6.hdr.src_addr, flow->remote.bytes().data(), 16);
            std::memcpy(&p.v6.hdr.dst_addr, flow->local.bytes().data(), 16);
            std::memset(&p.v6_mask.hdr.src_addr, 0xff, 16);
            std::memset(&p.v6_mask.hdr.dst_addr, 0xff, 16);
            p.pattern[1].spec = &p.v6;
            p.pattern[1].mask = &p.v6_mask;
        }
    }
    p.pattern[2].type = RTE_FLOW_ITEM_TYPE_UDP;
    p.pattern[2].spec = &p.udp;
    p.pattern[2].mask = &p.udp_mask;
    p.pattern[3].type = RTE_FLOW_ITEM_TYPE_END;
    std::size_t n = 0;
    p.mark.id = mark;
    p.queue.index = queue;
    if (mark != 0) p.actions[n++] = {RTE_FLOW_ACTION_TYPE_MARK, &p.mark};
    p.actions[n++] = {RTE_FLOW_ACTION_TYPE_QUEUE, &p.queue};
    p.actions[n] = {RTE_FLOW_ACTION_TYPE_END, nullptr};
}

namespace {

class port_rule_taker final : public rule_taker {
public:
    explicit port_rule_taker(std::uint16_t id) : id_(id) {}
    int validate(const rte_flow_item* pattern, const rte_flow_action* actions, rte_flow_error& why_not) override {
        return rte_flow_validate(id_, &incoming, pattern, actions, &why_not);
    }
    rte_flow* create(const rte_flow_item* pattern, const rte_flow_action* actions, rte_flow_error& why_not) override {
        return rte_flow_create(id_, &incoming, pattern, actions, &why_not);
    }
    void destroy(rte_flow* made) override {
        rte_flow_error ignored{};
        rte_flow_destroy(id_, made, &ignored);
    }

private:
    static constexpr rte_flow_attr incoming{.ingress = 1};
    const std::uint16_t id_;
};

std::string words_of(const rte_flow_error& e, int code) {
    return e.message ? std::string(e.message) : std::string(rte_strerror(code < 0 ? -code : code));
}

}  // namespace

/// Makes a rule and takes it away again: some drivers agree to validate what they cannot make.
bool flow_rules::try_out(const match& m, std::string& why) {
    match::parts p;
    m.write(p);
    rte_flow_error e{};
    if (const int no = device_->validate(p.pattern.data(), p.actions.data(), e); no != 0) {
        why = words_of(e, no);
        return false;
    }
    rte_flow* const made = device_->create(p.pattern.data(), p.actions.data(), e);
    if (made == nullptr) {
        why = words_of(e, rte_errno);
        return false;
    }
    device_->destroy(made);
    return true;
}

std::unique_ptr<rule_taker> rule_taker::of_port(std::uint16_t id) { return std::make_unique<port_rule_taker>(id); }

flow_rules::flow_rules(std::unique_ptr<rule_taker> device, std::size_t budget)
    : device_(std::move(device)), budget_(budget) {
    if (budget == 0) {
        why_no_flows_ = why_no_ports_ = why_no_marks_ = "not asked for";
        return;
    }
    // Addresses for benchmarks (RFC 2544, RFC 3849) that nobody sends from.
    match m{.flow = flow_key{*ip_address::parse("198.18.0.1"), *ip_address::parse("198.18.0.2"), 9, 9},
            .local_port = 9,
            .mark = 1};
    marks_ = try_out(m, why_no_marks_);
    m.mark = 0;
    takes_flows_ = marks_ || try_out(m, why_no_flows_);
    m.flow.reset();
    takes_ports_ = try_out(m, why_no_ports_);
}

flow_rules::~flow_rules() {
    for (const auto& [number, made] : rules_) device_->destroy(made);
}

result<flow_rules::rule> flow_rules::install(const match& m) {
    if (rules_.size() >= budget_) {
        refused_++;
        return fail(ENOSPC);
    }
    match::parts p;
    m.write(p);
    rte_flow_error e{};
    rte_flow* const made = device_->create(p.pattern.data(), p.actions.data(), e);
    if (made == nullptr) {
        refused_++;
        const int code = rte_errno;
        last_refusal_ = words_of(e, code);
        return fail(code != 0 ? code : EIO);
    }
    rules_.emplace(++last_, made);
    return last_;
}

result<flow_rules::rule> flow_rules::add(const flow_key& flow, std::uint16_t queue, std::uint32_t mark) {
    if (!takes_flows_) return fail(ENOTSUP);
    return install({.family = flow.local.family(),
                    .flow = flow,
                    .local_port = flow.local_port,
                    .queue = queue,
                    .mark = marks_ ? mark : 0});
}

result<flow_rules::rule> flow_rules::add_port(ip_family family, std::uint16_t local_port, std::uint16_t queue) {
    if (!takes_ports_) return fail(ENOTSUP);
    return install({.family = family, .local_port = local_port, .queue = queue});
}

void flow_rules::remove(rule r) {
    const auto at = rules_.find(r);
    if (at == rules_.end()) return;
    device_->destroy(at->second);
    rules_.erase(at);
}

std::vector<capability_row> flow_rules::capabilities() const {
    const auto row = [this](const char* what, bool can, const std::string& why) {
        const auto where = can ? place::hardware : place::software;
        return capability_row{what, where, can ? fmt::format("up to {}", budget_) : why};
    };
    return {row("Connected flow to queue", takes_flows_, why_no_flows_),
            row("UDP port to queue", takes_ports_, why_no_ports_), row("Mark to socket", marks_, why_no_marks_)};
}

}  // namespace skua::port
