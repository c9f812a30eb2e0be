// What a shard does for attached processes in each of its turns, so that neither many idle ones nor a few loud ones
// make a turn long.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "attach/session.hh"

namespace skua::attach {

/// A picture for the shards, replaced under RCU.
struct polled {
    std::uint64_t number = 0;  // of the picture
    std::vector<session*> sessions;
    std::vector<attached_socket*> tended;  // with something to send that no session announces
};

class agent final : public shard::guest {
public:
    explicit agent(const std::atomic<const polled*>& all) : all_(all) {}
    unsigned poll(shard::shard& on) override;

    static constexpr std::uint32_t looks = 64;           // at sessions that were idle, in one turn
    static constexpr unsigned datagrams_at_once = 128;   // of one session
    static constexpr unsigned datagrams_in_turn = 1024;  // of all of them

private:
    unsigned tend(shard::shard& on, const polled& all);
    bool look(shard::shard& on, session& s, unsigned& moved);
    void note_busy(std::uint32_t place);

    struct busy {
        std::uint32_t place = 0;  // in the picture
        std::uint32_t idle = 0;   // turns
    };
    static constexpr std::uint32_t patience = 1024;  // turns

    const std::atomic<const polled*>& all_;
    std::uint64_t number_ = 0;
    std::uint32_t next_ = 0, next_tended_ = 0;
    std::array<busy, looks> busy_{};
    std::uint32_t busy_count_ = 0, first_busy_ = 0;
};

}  // namespace skua::attach
