// Where the sockets of this process go: to skua or to the kernel; and why.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "client/preload/rules.hh"

namespace skua::client {

class remote_socket;

/// Any thread. From the environment: SKUA_RULES names a file of rules, SKUA_LOG where to say what goes where ("stderr"
/// or a file), SKUA_FALLBACK what to do without a daemon ("kernel"; else it is an error).
class placement {
public:
    /// Ends the process, with a word on stderr, if the environment asks for what cannot be.
    static placement& instance();

    /// socket(2).
    int make(int domain, int type, int protocol);
    /// Before a call that names an address; the first one decides, where rules go by addresses. False, with errno: the
    /// kernel's socket could not be had.
    bool decide(int fd, rules::when when, const sockaddr* address, socklen_t length);
    /// After an option was set, for the case that the kernel's socket takes the place.
    void option_set(int fd, int level, int name, const void* value, socklen_t length);

private:
    struct option {
        int level, name;
        std::vector<std::byte> value;
    };
    struct undecided {
        int domain;
        std::vector<option> options;
    };

    placement();
    int of_kernel(int domain, int type, int protocol, const std::string& why);
    int without_daemon(int domain, int type, int protocol, int error);
    bool replace(int fd, const undecided& by);
    void say(int fd, const std::string& where) const;

    rules rules_;
    std::string program_;
    bool fall_back_ = false;
    int log_ = -1;
    std::atomic<bool> complained_{false};
    std::atomic<std::size_t> waiting_{0};  // entries of the map
    std::mutex lock_;
    std::map<const remote_socket*, undecided> undecided_;
};

}  // namespace skua::client
