// An open socket: the inode, and the flags that every descriptor of it shares.
#pragma once

#include <sys/socket.h>

#include "base/result.hh"
#include "sockfs/file.hh"
#include "sockfs/filesystem.hh"

namespace skua::sockfs {

class socket_file final : public file {
public:
    /// `status_flags`: O_RDWR, with O_NONBLOCK or without.
    socket_file(std::shared_ptr<inode> shows, int status_flags) : file(status_flags), inode_(std::move(shows)) {}

    socket::udp_socket& socket() { return inode_->socket(); }
    const inode& node() const { return *inode_; }
    /// The flags of one call, O_NONBLOCK added.
    int call_flags(int flags) const { return nonblocking() ? flags | MSG_DONTWAIT : flags; }

    std::uint32_t poll_events() override { return inode_->socket().poll_events(); }
    wait::wait_queue& waiters() override { return inode_->socket().waiters(); }
    struct stat status() const override;
    std::string link_text() const override;

private:
    const std::shared_ptr<inode> inode_;
};

}  // namespace skua::sockfs
