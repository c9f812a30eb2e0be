// What a service manager keeps for a service that is to be restarted: descriptors, by name. As systemd does it, the
// service sends them with FDSTORE=1 to the socket that NOTIFY_SOCKET names.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace skua::upgrade {

class descriptor_store {
public:
    /// Throws std::system_error.
    descriptor_store();
    ~descriptor_store();
    descriptor_store(const descriptor_store&) = delete;
    descriptor_store& operator=(const descriptor_store&) = delete;

    /// The value of NOTIFY_SOCKET.
    const std::string& name() const { return name_; }
    /// Readable when something was sent.
    int fd() const { return fd_; }
    /// Takes what was sent.
    void receive();
    using entries = std::vector<std::pair<std::string, int>>;
    const entries& stored() const { return stored_; }
    /// Closes all.
    void clear();

private:
    int fd_;
    std::string name_;
    entries stored_;
};

}  // namespace skua::upgrade
