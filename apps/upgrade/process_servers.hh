// Instances of the server as processes that attach to a skuad.
#pragma once

#include <memory>

#include "upgrade/servers.hh"

namespace skua::upgrade {

/// `stored_generation`: see make_daemon_network().
std::unique_ptr<servers> make_process_servers(const server_options& o, std::uint32_t stored_generation);

}  // namespace skua::upgrade
