// A server of skua-upgrade in a process of its own.
#pragma once

#include <sys/types.h>

#include "upgrade/descriptor_store.hh"
#include "upgrade/order.hh"

namespace skua::upgrade {

class server_process {
public:
    /// Starts skua-upgrade-server as a service manager would, with what `store` holds. Throws std::system_error.
    explicit server_process(descriptor_store& store);
    /// Ends it with its sockets, if it has not ended.
    ~server_process();
    server_process(const server_process&) = delete;
    server_process& operator=(const server_process&) = delete;

    /// Carried out when it returns. Throws std::runtime_error if the server fails.
    order_answer tell(const order& o);
    /// Waits for its end after the last order. Throws if it does not end well.
    void expect_end();
    /// By SIGKILL; it has ended when this returns.
    void kill();

private:
    descriptor_store& store_;
    int orders_ = -1;
    pid_t id_ = -1;
};

}  // namespace skua::upgrade
