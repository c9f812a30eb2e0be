// The file side of a stack: its sockfs, and the stack processes with their descriptors.
#pragma once

#include <memory>
#include <string>

#include "sockfs/process.hh"
#include "sockfs/registry.hh"

namespace skua::sockfs {

/// Any thread.
class process_table {
public:
    /// Registers and mounts sockfs, makes the first process. Throws std::system_error if the kernel lends no numbers.
    explicit process_table(nanoseconds spin = nanoseconds(0));
    /// Ends all processes; no thread may be inside one.
    ~process_table();

    filesystems& types() { return types_; }
    superblock& sockfs() { return *sockfs_; }
    process& first() { return *first_; }
    /// A copy: the same numbers, the files shared, as after fork(2).
    std::shared_ptr<process> fork(const process& parent);
    /// Without descriptors.
    std::shared_ptr<process> make();
    /// Closes all its descriptors. False if it has ended already, or is the first.
    bool exit(process& p);
    std::shared_ptr<process> find(std::uint64_t id) const { return processes_.find(id); }
    std::vector<std::shared_ptr<process>> all() const;

private:
    const nanoseconds spin_;
    filesystems types_;
    std::shared_ptr<superblock> sockfs_;
    registry<std::shared_ptr<process>> processes_;
    std::shared_ptr<process> first_;
};

}  // namespace skua::sockfs
