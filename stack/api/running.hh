// The one stack of this process, behind both APIs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "control/config.hh"
#include "control/eal.hh"
#include "control/stack.hh"
#include "control/stack_telemetry.hh"
#include "sockfs/process_table.hh"

namespace skua::api {

class running {
public:
    /// Makes the stack of this process. `eal` is kept as long as the stack. The error is a text for people.
    static tl::expected<void, std::string> start(const control::config& c, control::driving how,
                                                 std::optional<control::eal> eal = {},
                                                 control::surroundings around = {});
    /// Closes every descriptor and ends it; nothing if none runs.
    static void stop();
    /// nullptr if none runs.
    static running* current();

    control::stack& stack() { return *stack_; }
    sockfs::process_table& processes() { return processes_; }
    control::stack_telemetry& telemetry() { return telemetry_; }

    ~running();

private:
    running(std::optional<control::eal> eal, std::unique_ptr<control::stack> s);

    std::optional<control::eal> eal_;
    std::unique_ptr<control::stack> stack_;
    sockfs::process_table processes_;
    control::stack_telemetry telemetry_;
};

}  // namespace skua::api
