// A skuad for tests: without ports, hugepages or root, with its attach socket in a directory of its own. It ends with
// the thread that started it, whatever becomes of that.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace skua::test {

class daemon {
public:
    /// Of the program in the environment variable SKUAD, with these options beside; SKUA_ATTACH names its socket from
    /// then on. `telemetry`: it can be looked into. Throws std::runtime_error.
    explicit daemon(const std::vector<std::string>& more = {}, bool telemetry = false);
    /// Says on stderr if it does not end in order.
    ~daemon();
    daemon(const daemon&) = delete;
    daemon& operator=(const daemon&) = delete;

    pid_t id() const { return id_; }
    std::string path() const { return directory_ / "attach"; }
    std::filesystem::path directory() const { return directory_; }
    bool runs() const;
    /// The exit status, as waitpid(2) gives it.
    int stop(int signal);
    /// After stop(): another one in its place. Throws std::runtime_error.
    void start();
    /// Descriptors that it has open.
    std::size_t descriptors() const;
    /// The numbers of a telemetry command's answer, of its rows too ("0.sockets").
    std::map<std::string, std::uint64_t> look(const std::string& command) const;

private:
    pid_t id_ = -1;  // -1: it was stopped
    std::filesystem::path directory_;
    std::string prefix_;
    std::vector<std::string> arguments_;
};

}  // namespace skua::test
