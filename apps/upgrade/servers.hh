// The instances of the server program, one of each generation, as who operates them sees them.
#pragma once

#include <cstdint>
#include <memory>

#include "upgrade/server.hh"

namespace skua::upgrade {

/// Single-threaded. Throws what is a std::exception.
class servers {
public:
    virtual ~servers() = default;
    /// The next instance, without members.
    virtual void start(std::uint32_t generation) = 0;
    virtual void join(std::uint32_t generation, std::uint32_t member) = 0;
    /// Closes a member's socket, whatever flows it has.
    virtual void close(std::uint32_t generation, std::uint32_t member) = 0;
    /// Flows begin at this generation from here on; where they begin at another all the same, that is counted.
    virtual void switch_to(std::uint32_t generation) = 0;
    /// Its flows have ended, all of them.
    virtual bool drained(std::uint32_t generation) = 0;
    /// The instance closes its members and ends.
    virtual void leave(std::uint32_t generation) = 0;
    /// The instance ends at once: SIGKILL, if it is a process.
    virtual void kill(std::uint32_t generation) = 0;
    /// Answers what waits, if nobody else does. Returns how many datagrams that was.
    virtual unsigned serve() { return 0; }
    /// Flows that members began while another generation was switched to, so far.
    virtual std::uint64_t begun_when_old() = 0;
};

/// Members are objects of this process. `c` must outlive them.
std::unique_ptr<servers> make_local_servers(const calls& c, const server_options& o);

}  // namespace skua::upgrade
