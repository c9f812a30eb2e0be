// The server that is upgraded: a socket with its own state of every flow. It makes the same calls on the kernel and on
// skua.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <random>
#include <unordered_map>
#include <vector>

#include "upgrade/message.hh"

namespace skua::upgrade {

/// The socket calls of one side, as POSIX has them.
struct calls {
    int (*socket)(int, int, int);
    int (*bind)(int, const sockaddr*, socklen_t);
    int (*set_option)(int, int, int, const void*, socklen_t);
    int (*get_option)(int, int, int, void*, socklen_t*);
    int (*receive)(int, mmsghdr*, unsigned, int, timespec*);
    int (*send)(int, mmsghdr*, unsigned, int);
    int (*close)(int);
};

struct server_options {
    sockaddr_in local{};
    bool generations = false;        // with udpgrm's options; else plain SO_REUSEPORT
    std::uint32_t flow_timeout = 0;  // seconds
    std::uint32_t flow_room = 0;
};

/// What a member knows of a flow, as it is handed on.
struct flow_record {
    std::uint64_t flow = 0;
    std::uint64_t key = 0;
    std::uint32_t next = 0;  // sequence
    std::uint32_t member = 0;
};

/// One socket of one instance of the program. Throws std::system_error if a call fails.
class member {
public:
    member(const calls& c, const server_options& o, std::uint32_t number, std::uint32_t generation);
    /// Goes on with the socket of a member that another process was, which is taken over.
    member(const calls& c, int fd, std::uint32_t number, std::uint32_t generation);
    /// Closes the socket, whatever flows it has: a crash, unless there are none.
    ~member();
    member(const member&) = delete;
    member& operator=(const member&) = delete;

    /// Makes its generation the working one.
    void work();
    /// Answers everything that waits. Returns how many datagrams that was. Counts those that begin a flow while
    /// `working` is another generation.
    unsigned serve(std::uint32_t working, std::mt19937_64& random);

    /// Of the whole group; asked from the socket.
    std::uint32_t working_generation() const;
    void hand_on(std::vector<flow_record>& to) const;
    void take_on(const flow_record& f) { flows_[f.flow] = {f.key, f.next}; }

    int fd() const { return fd_; }
    std::uint32_t number() const { return number_; }
    std::uint32_t generation() const { return generation_; }
    bool drained() const { return flows_.empty(); }
    std::uint64_t begun_when_old() const { return begun_when_old_; }

private:
    struct flow_state {
        std::uint64_t key;
        std::uint32_t next;
    };
    void answer(message& m, std::uint32_t working, std::mt19937_64& random);

    const calls& calls_;
    const std::uint32_t number_;
    const std::uint32_t generation_;
    int fd_ = -1;
    std::unordered_map<std::uint64_t, flow_state> flows_;
    std::uint64_t begun_when_old_ = 0;
};

}  // namespace skua::upgrade
