// Descriptors of a process: small numbers that stand for open files.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/result.hh"
#include "sockfs/file.hh"
#include "sockfs/numbers.hh"

namespace skua::sockfs {

/// Any thread. Lookups take no lock: chunks of the table are added and never moved.
class descriptor_table {
public:
    explicit descriptor_table(std::unique_ptr<numbers> from);
    ~descriptor_table();

    /// Gives the file the lowest free number from `at_least` on. Errors: EMFILE; EINVAL at_least out of range.
    result<int> install(std::shared_ptr<file> f, bool close_on_exec = false, int at_least = 0);
    /// Gives it this number and hands out the file that had it. Error: EBADF out of range.
    result<std::shared_ptr<file>> install_at(int fd, std::shared_ptr<file> f, bool close_on_exec);
    /// The file behind a descriptor, or nullptr.
    std::shared_ptr<file> get(int fd) const;
    /// Frees the number and hands out the file. Error: EBADF.
    result<std::shared_ptr<file>> remove(int fd);
    /// The same for a number that somebody else has put to another use.
    std::shared_ptr<file> forget(int fd);
    /// Error: EBADF.
    result<bool> close_on_exec(int fd) const;
    result<void> set_close_on_exec(int fd, bool on);

    struct entry {
        std::shared_ptr<file> what;
        bool close_on_exec = false;
    };
    /// All of one moment, by number.
    std::map<int, entry> entries() const;
    /// For an empty table: the same numbers for the same files.
    void copy(const std::map<int, entry>& from);

private:
    using slot = std::atomic<std::shared_ptr<file>>;
    static constexpr int chunk_size = 1024;
    static constexpr int most = 1 << 20;
    struct chunk {
        slot slots[chunk_size];
    };
    slot* find(int fd) const;
    void put(int fd, std::shared_ptr<file> f, bool close_on_exec);

    const std::unique_ptr<numbers> numbers_;
    mutable std::mutex lock_;  // writers
    std::unique_ptr<std::atomic<chunk*>[]> chunks_;
    std::vector<std::unique_ptr<chunk>> owned_;
    std::map<int, bool> used_;  // number -> FD_CLOEXEC
};

}  // namespace skua::sockfs
