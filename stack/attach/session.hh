// One attached process: the sockets it has opened, and how it says that they have something to send.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "attach/attached_socket.hh"
#include "attach/region.hh"

namespace skua::attach {

class session {
public:
    static constexpr std::uint32_t most_sockets = 16384;

    /// `control`: taken over. Error: those of region::make.
    static result<std::unique_ptr<session>> make(int control, uid_t user, unsigned shards);
    ~session();
    session(const session&) = delete;
    session& operator=(const session&) = delete;

    int control() const { return control_; }
    uid_t user() const { return user_; }
    int announcements_memory() const { return memory_.fd(); }

    // ---- the server's thread ----
    /// The number by which the process announces the socket; the one it has already, if any. Error: EMFILE.
    result<std::uint32_t> add(attached_socket& s);
    void remove(const attached_socket& s);
    /// The socket of an id, if this process has opened it.
    attached_socket* find(std::uint64_t id) const;
    std::vector<attached_socket*> sockets() const;

    // ---- shards, under RCU ----
    /// Sends what the process has announced for this shard.
    unsigned poll(shard::shard& on);

private:
    session(int control, uid_t user, region memory, unsigned shards);
    unsigned serve(shard::shard& on, std::uint32_t number, std::vector<std::uint32_t>& later);

    struct alignas(line) reader {
        std::uint32_t read = 0;
        std::vector<std::uint32_t> later;  // numbers of sockets that had more than one turn's worth
    };

    const int control_;
    const uid_t user_;
    const region memory_;
    std::vector<reader> readers_;  // one for each shard
    std::unique_ptr<std::atomic<attached_socket*>[]> sockets_;
    std::vector<std::uint32_t> free_numbers_;
    std::uint32_t used_ = 0;
};

}  // namespace skua::attach
