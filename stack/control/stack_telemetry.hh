// What a running stack tells about itself: to telemetry, to the programs' reports and to skua_drops().
#pragma once

#include "control/stack.hh"
#include "control/telemetry.hh"

namespace skua::control {

class stack_telemetry final : public telemetry_source {
public:
    explicit stack_telemetry(stack& s) : stack_(s), registration_(*this) {}

    counters_snapshot counters() override;
    std::vector<shard_report> shards() override;
    std::vector<socket_report> sockets() override;
    std::vector<port_report> ports() override;
    std::vector<interface_report> interfaces() override;
    std::vector<neighbour_report> neighbours() override;

private:
    std::string interface_name(std::uint32_t index) const;

    stack& stack_;
    telemetry_registration registration_;
};

}  // namespace skua::control
