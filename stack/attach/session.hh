// One attached process: the sockets it has opened, and how it says that they have something to send.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "attach/holding.hh"
#include "attach/region.hh"

namespace skua::attach {

class session {
public:
    static constexpr std::uint32_t most_sockets = 16384;

    /// `control`: the caller's, closed after the session is gone. Error: those of region::make.
    static result<std::unique_ptr<session>> make(int control, pid_t process, uid_t user, unsigned shards);
    ~session();
    session(const session&) = delete;
    session& operator=(const session&) = delete;

    int control() const { return control_; }
    pid_t process() const { return process_; }
    uid_t user() const { return user_; }
    int announcements_memory() const { return memory_.fd(); }

    // ---- the server's thread ----
    /// The number by which the process announces the socket; the one it has already, if any. Error: EMFILE.
    result<std::uint32_t> add(holding& h);
    void remove(holding& h);
    /// The socket of an id, if this process has opened it.
    holding* find(std::uint64_t id) const;
    std::size_t size() const { return opened_.size(); }
    /// All of them, as remove() for each; what `visit` does with them is up to it.
    template <class Visit>
    void remove_all(Visit&& visit) {
        while (!opened_.empty()) {
            holding& h = *opened_.begin()->second.what;
            remove(h);
            visit(h);
        }
    }

    // ---- shards, under RCU ----
    struct found {
        unsigned sent = 0;
        bool anything = false;  // announced, or left over
    };
    /// Sends up to `most` datagrams of what the process has announced for this shard.
    found poll(shard::shard& on, unsigned most);

private:
    session(int control, pid_t process, uid_t user, region memory, unsigned shards);
    attached_socket* at(std::uint32_t number) const;
    void put(std::uint32_t number, attached_socket* s);

    /// What one shard remembers: numbers of sockets whose turn is still to come, oldest first.
    struct alignas(line) reader {
        static constexpr std::uint32_t room = 64;
        std::uint32_t read = 0;
        std::uint32_t first = 0, count = 0;
        std::array<std::uint32_t, room> waiting{};
        void push(std::uint32_t number) { waiting[(first + count++) % room] = number; }
        std::uint32_t pop() {
            const std::uint32_t number = waiting[first];
            first = (first + 1) % room;
            count--;
            return number;
        }
    };
    struct opened {
        std::uint32_t number;
        holding* what;
    };
    // Numbers of sockets in pieces, since most processes have few.
    static constexpr std::uint32_t piece_size = 128;
    using piece = std::array<std::atomic<attached_socket*>, piece_size>;

    const int control_;
    const pid_t process_;
    const uid_t user_;
    const region memory_;
    const std::unique_ptr<reader[]> readers_;  // one for each shard
    std::array<std::atomic<piece*>, most_sockets / piece_size> pieces_{};
    std::unordered_map<std::uint64_t, opened> opened_;  // by id
    std::vector<std::uint32_t> free_numbers_;
    std::uint32_t used_ = 0;
};

}  // namespace skua::attach
