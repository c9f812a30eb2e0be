// Numbers of sockets, and the rings they come by.
#include "attach/session.hh"

#include <algorithm>

namespace skua::attach {

namespace {

constexpr unsigned datagrams_at_once = 32;  // of one socket, before another of the same process has its turn

}  // namespace

result<std::unique_ptr<session>> session::make(int control, pid_t process, uid_t user, unsigned shards) {
    // Zeros are empty rings: no page of it is touched before the process announces something.
    auto memory = region::make("skua-session", shards * sizeof(announcements));
    if (!memory) return fail(memory.error().code);
    return std::unique_ptr<session>(new session(control, process, user, std::move(*memory), shards));
}

session::session(int control, pid_t process, uid_t user, region memory, unsigned shards)
    : control_(control), process_(process), user_(user), memory_(std::move(memory)), readers_(new reader[shards]) {}

session::~session() {
    for (auto& p : pieces_) delete p.load(std::memory_order_relaxed);
}

attached_socket* session::at(std::uint32_t number) const {
    if (number >= most_sockets) return nullptr;
    const piece* const p = pieces_[number / piece_size].load(std::memory_order_acquire);
    return p == nullptr ? nullptr : (*p)[number % piece_size].load(std::memory_order_acquire);
}

void session::put(std::uint32_t number, attached_socket* s) {
    auto& p = pieces_[number / piece_size];
    if (p.load(std::memory_order_relaxed) == nullptr) p.store(new piece{}, std::memory_order_release);
    (*p.load(std::memory_order_relaxed))[number % piece_size].store(s, std::memory_order_release);
}

result<std::uint32_t> session::add(holding& h) {
    const auto known = opened_.find(h.socket->id());
    if (known != opened_.end()) return known->second.number;
    std::uint32_t number = used_;
    if (!free_numbers_.empty()) {
        number = free_numbers_.back();
        free_numbers_.pop_back();
    } else if (used_ == most_sockets) {
        return fail(EMFILE);
    } else {
        used_++;
    }
    put(number, h.socket.get());
    opened_.emplace(h.socket->id(), opened{number, &h});
    h.openers.push_back(this);
    return number;
}

void session::remove(holding& h) {
    const auto known = opened_.find(h.socket->id());
    if (known == opened_.end()) return;
    put(known->second.number, nullptr);
    free_numbers_.push_back(known->second.number);
    opened_.erase(known);
    std::erase(h.openers, this);
}

holding* session::find(std::uint64_t id) const {
    const auto known = opened_.find(id);
    return known == opened_.end() ? nullptr : known->second.what;
}

session::found session::poll(shard::shard& on, unsigned most) {
    reader& mine = readers_[on.index()];
    auto& ring = memory_.as<announcements>()[on.index()];
    std::uint32_t there = ring.written.load(std::memory_order_acquire) - mine.read;
    if (there == 0 && mine.count == 0) return {};
    // More than the ring holds is garbage. What was announced is lost to them by it.
    if (there > announcements::room) mine.read += there - announcements::room, there = announcements::room;
    // The rest waits in the ring, which the process finds full.
    for (; there != 0 && mine.count < reader::room; there--)
        mine.push(ring.sockets[mine.read++ % announcements::room].load(std::memory_order_relaxed));
    ring.read.store(mine.read, std::memory_order_release);
    found out{0, true};
    for (std::uint32_t left = mine.count; left != 0 && out.sent < most; left--) {
        const std::uint32_t number = mine.pop();
        attached_socket* const s = at(number);
        if (s == nullptr || s->home() != on.index()) continue;
        out.sent += s->transmit(on, std::min(datagrams_at_once, most - out.sent));
        if (!s->more()) s->announced();
        // What was written before the holders could see that is not announced.
        if (s->more()) mine.push(number);
    }
    return out;
}

}  // namespace skua::attach
