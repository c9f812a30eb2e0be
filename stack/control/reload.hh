// Which parts of a configuration a running stack can take anew.
#pragma once

#include <string>
#include <vector>

#include "control/config.hh"

namespace skua::control {

/// Sections and ports whose difference only a restart can bring about; empty: stack::apply() can. What can change:
/// addresses of the ports and VLANs that there are, routes, static neighbours, [socket] but for spin_us,
/// stack.unprivileged_port_start, quotas and allowances of [attach], log.level.
std::vector<std::string> needs_restart(const config& now, const config& next);

}  // namespace skua::control
