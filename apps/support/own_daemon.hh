// A skuad for the time of one run: without hugepages, root or NICs, in a directory of its own.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace skua::support {

class own_daemon {
public:
    /// `options` go to skuad after its own. The program is $SKUAD, else program_beside(). From here on SKUA_ATTACH says
    /// to this process and its children where to attach. Returns when it is ready. Throws std::runtime_error with what
    /// it said.
    explicit own_daemon(const std::vector<std::string>& options = {});
    /// Ends it and removes the directory. Processes that are attached should have ended.
    ~own_daemon();
    own_daemon(const own_daemon&) = delete;
    own_daemon& operator=(const own_daemon&) = delete;

    /// What it answers to a command of its telemetry ("/skua/groups"): JSON. Throws std::runtime_error.
    std::string look(const std::string& command) const;

private:
    void wait_until_ready();
    void end();

    std::filesystem::path directory_;
    pid_t id_ = -1;
    int output_ = -1;
};

/// A program of the project: `name` beside this one's, or in ../apps from there.
std::filesystem::path program_beside(const std::string& name);

}  // namespace skua::support
