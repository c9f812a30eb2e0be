// Rounds over sessions: who was lately busy is looked at in each turn, of the others some.
#include "attach/agent.hh"

#include <algorithm>

namespace skua::attach {

unsigned agent::poll(shard::shard& on) {
    const polled& all = *all_.load(std::memory_order_acquire);
    if (all.number != number_) {
        number_ = all.number;
        next_ = next_tended_ = busy_count_ = 0;
    }
    unsigned moved = all.tended.empty() ? 0 : tend(on, all);
    if (busy_count_ != 0) first_busy_ = (first_busy_ + 1) % busy_count_;  // each is the first one once
    for (std::uint32_t i = 0; i < busy_count_ && moved < datagrams_in_turn; i++) {
        busy& b = busy_[(first_busy_ + i) % busy_count_];
        b.idle = look(on, *all.sessions[b.place], moved) ? 0 : b.idle + 1;
    }
    for (std::uint32_t i = 0; i < busy_count_;)
        if (busy_[i].idle >= patience) busy_[i] = busy_[--busy_count_];
        else i++;
    const auto there = static_cast<std::uint32_t>(all.sessions.size());
    for (std::uint32_t i = std::min(there, looks); i != 0 && moved < datagrams_in_turn; i--) {
        const std::uint32_t place = next_;
        next_ = place + 1 == there ? 0 : place + 1;
        if (look(on, *all.sessions[place], moved) && there > looks) note_busy(place);
    }
    return moved;
}

bool agent::look(shard::shard& on, session& s, unsigned& moved) {
    const auto found = s.poll(on, datagrams_at_once);
    moved += found.sent;
    return found.anything;
}

void agent::note_busy(std::uint32_t place) {
    for (std::uint32_t i = 0; i < busy_count_; i++)
        if (busy_[i].place == place) return;
    if (busy_count_ < busy_.size()) busy_[busy_count_++] = {place, 0};
}

/// Sockets whose holders are gone, or one of them, who may have died with something written but not announced.
unsigned agent::tend(shard::shard& on, const polled& all) {
    unsigned moved = 0;
    const auto there = static_cast<std::uint32_t>(all.tended.size());
    for (std::uint32_t i = std::min(there, looks); i != 0 && moved < datagrams_in_turn; i--) {
        attached_socket& s = *all.tended[next_tended_];
        next_tended_ = next_tended_ + 1 == there ? 0 : next_tended_ + 1;
        if (s.home() != on.index()) continue;
        s.announced();
        moved += s.transmit(on, datagrams_at_once);
    }
    return moved;
}

}  // namespace skua::attach
