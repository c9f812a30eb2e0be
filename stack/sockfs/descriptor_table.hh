// Descriptors of a process: small numbers that stand for open files.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/result.hh"

namespace skua::sockfs {

/// What a descriptor stands for. Shared by every descriptor that was made from it; ends with the last of them and with
/// the last call that still uses it.
class file {
public:
    virtual ~file() = default;
};

/// Any thread. Lookups take no lock.
class descriptor_table {
public:
    explicit descriptor_table(int limit = 1 << 20);

    /// Gives the file the lowest free number. Error: EMFILE.
    result<int> install(std::shared_ptr<file> f);
    /// The file behind a descriptor, or nullptr.
    std::shared_ptr<file> get(int fd) const;
    /// Frees the number and hands out the file. Error: EBADF.
    result<std::shared_ptr<file>> remove(int fd);
    /// Removes all of them, in order.
    std::vector<std::shared_ptr<file>> remove_all();

private:
    using slot = std::atomic<std::shared_ptr<file>>;
    static constexpr int chunk_size = 1024;
    struct chunk {
        slot slots[chunk_size];
    };
    slot* find(int fd) const;

    const int limit_;
    mutable std::mutex lock_;  // writers
    std::unique_ptr<std::atomic<chunk*>[]> chunks_;
    std::vector<std::unique_ptr<chunk>> owned_;
    std::vector<bool> used_;
    int lowest_free_ = 0;  // no number below it is free
};

}  // namespace skua::sockfs
