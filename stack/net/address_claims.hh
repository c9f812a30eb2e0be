// Making our addresses known: duplicate address detection (RFC 4862 §5.4, RFC 5227) and announcements.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "net/context.hh"
#include "net/sender.hh"

namespace skua::net {

struct claim_options {
    unsigned probes = 1;  // 0: tentative addresses are taken at once
    nanoseconds probe_time = std::chrono::seconds(1);
    unsigned arp_announcements = 2;  // after detection (RFC 5227 §1.1); an address that needed none is announced once
    nanoseconds announce_interval = std::chrono::seconds(2);
};

/// Part of the neighbour machine: the owner's only. A conflict is told by setting the address's state to duplicate.
class address_claims {
public:
    explicit address_claims(const claim_options& options) : options_(options) {}
    /// Looks for addresses that came, went, or changed their interface's MAC address. At every new topology.
    void adopt(const topology& map, time_point now);
    void tick(const context& c, sender& out);
    time_point next_due() const { return next_due_; }

private:
    using shared_state = std::shared_ptr<std::atomic<address_state>>;
    struct claim {
        std::uint32_t ifindex;
        ip_address address;
        shared_state state;
        unsigned probes_sent;
        unsigned announcements_left;
        time_point due;
    };
    bool step(claim& it, const context& c, sender& out) const;

    const claim_options options_;
    std::set<std::pair<shared_state, mac_address>> known_;
    std::vector<claim> pending_;
    time_point next_due_ = time_point::max();
};

}  // namespace skua::net
