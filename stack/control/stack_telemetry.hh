// What a running stack tells about itself: to telemetry, to the programs' reports and to skua_drops().
#pragma once

#include "control/stack.hh"
#include "control/telemetry.hh"
#include "sockfs/process_table.hh"

namespace skua::control {

class stack_telemetry final : public telemetry_source {
public:
    stack_telemetry(stack& s, sockfs::process_table& processes)
        : stack_(s), processes_(processes), registration_(*this) {}

    counters_snapshot counters() override;
    std::vector<shard_report> shards() override;
    std::vector<socket_report> sockets() override;
    std::vector<group_report> groups() override;
    std::vector<port_report> ports() override;
    std::vector<interface_report> interfaces() override;
    std::vector<neighbour_report> neighbours() override;
    std::vector<process_report> processes() override;
    std::vector<descriptor_report> descriptors(std::uint64_t process) override;
    std::vector<std::string> proc_net_udp(ip_family family) override;

    tl::expected<unsigned, std::string> active_shards(std::optional<unsigned> wanted) override;
    tl::expected<std::vector<std::pair<std::string, std::string>>, std::string> explain(
        std::string_view question) override;

private:
    std::string interface_name(std::uint32_t index) const;

    stack& stack_;
    sockfs::process_table& processes_;
    telemetry_registration registration_;
};

}  // namespace skua::control
