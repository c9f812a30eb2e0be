// A stack whose processes make every call on every descriptor, as chance will have it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "control/stack.hh"
#include "sockfs/process_table.hh"

namespace skua::test {

/// In library mode: it moves on when a shard is polled. Made before its callers.
class busy_processes {
public:
    explicit busy_processes(unsigned shards);
    ~busy_processes();

    control::stack& stack() { return *stack_; }
    sockfs::process_table& table() { return table_; }
    /// Processes that stay. Their tables are the ones that everybody uses.
    const std::vector<std::shared_ptr<sockfs::process>>& processes() const { return processes_; }

    /// One turn of a shard; what it wants sent is gone. Returns what it moved.
    unsigned poll(unsigned shard);
    /// Closes everything and polls every shard until nothing moves; nobody else may be in a call or poll.
    void end();
    /// Packets that are not in their pools.
    unsigned packets_in_use();
    /// What came of datagrams: delivered to a socket, or dropped.
    std::uint64_t delivered() const;
    std::uint64_t dropped() const;

private:
    std::unique_ptr<control::stack> stack_;
    sockfs::process_table table_;
    std::vector<std::shared_ptr<sockfs::process>> processes_;
};

/// One thread's calls.
class caller {
public:
    caller(busy_processes& where, unsigned seed) : where_(where), random_(seed) {}

    // Each makes its call on a random descriptor of a random process, which may be the wrong kind or none.
    void open_socket();
    void open_set();
    void duplicate();
    void pass();
    void close();
    void exec();
    /// A child works for some calls, then exits.
    void fork();
    void send();
    void receive();
    void change_set();
    void wait_in_set();
    void poll();
    void list();
    /// A set of the first process with descriptors of the kernel beside a socket.
    void mix_with_kernel();

    std::uint64_t done = 0;  // calls that succeeded
    std::uint64_t sent = 0;

    /// How long a call may block.
    nanoseconds patience{0};

private:
    unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
    sockfs::process& somebody();
    int some_fd() { return static_cast<int>(below(most_descriptors)); }
    std::shared_ptr<sockfs::socket_file> some_socket();
    time_point deadline() const;
    void keep_few(sockfs::process& p, const result<int>& fd);

    static constexpr unsigned most_descriptors = 24;
    busy_processes& where_;
    std::mt19937 random_;
    sockfs::process* in_child_ = nullptr;
};

}  // namespace skua::test
