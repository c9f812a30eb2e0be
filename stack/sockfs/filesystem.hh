// Types of file systems, their mounts, and the inodes of sockets (Linux: fs/filesystems.c, net/socket.c).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.hh"
#include "socket/udp_socket.hh"
#include "sockfs/registry.hh"

namespace skua::sockfs {

class superblock;

/// One socket in its file system. Lives as long as a file shows it; its end closes the socket.
class inode {
public:
    inode(std::shared_ptr<superblock> of, std::uint64_t number, socket::udp_socket_ptr s, uid_t owner);
    ~inode();
    inode(const inode&) = delete;
    inode& operator=(const inode&) = delete;

    std::uint64_t number() const { return number_; }
    uid_t owner() const { return owner_; }
    std::chrono::system_clock::time_point made() const { return made_; }
    const superblock& of() const { return *of_; }
    socket::udp_socket& socket() const { return *socket_; }

private:
    const std::shared_ptr<superblock> of_;
    const std::uint64_t number_;
    const uid_t owner_;
    const std::chrono::system_clock::time_point made_ = std::chrono::system_clock::now();
    socket::udp_socket_ptr socket_;
};

/// A mounted file system: it numbers, counts and lists its inodes.
class superblock : public std::enable_shared_from_this<superblock> {
public:
    superblock(std::string type, dev_t device) : type_(std::move(type)), device_(device) {}

    const std::string& type() const { return type_; }
    dev_t device() const { return device_; }
    std::shared_ptr<inode> make_inode(socket::udp_socket_ptr s, uid_t owner);
    std::size_t inode_count() const { return inodes_.size(); }
    /// In order of their numbers; none that is just ending.
    std::vector<std::shared_ptr<const inode>> inodes() const;

private:
    friend class inode;
    const std::string type_;
    const dev_t device_;
    registry<std::weak_ptr<inode>> inodes_;
};

/// Any thread.
class filesystems {
public:
    /// Errors: EINVAL no name; EBUSY registered already (register_filesystem).
    result<void> register_type(const std::string& name);
    /// Errors: EINVAL unknown (unregister_filesystem); EBUSY mounted.
    result<void> unregister_type(const std::string& name);
    /// Errors: ENODEV unknown type; EBUSY mounted already.
    result<std::shared_ptr<superblock>> mount(const std::string& name);
    /// Errors: EINVAL not mounted; EBUSY inodes live.
    result<void> unmount(const std::string& name);
    std::vector<std::string> types() const;

private:
    mutable std::mutex lock_;
    std::map<std::string, std::shared_ptr<superblock>> types_;  // nullptr: not mounted
    dev_t last_device_ = 0;
};

}  // namespace skua::sockfs
