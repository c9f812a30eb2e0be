// Numbers of sockets, and the rings they come by.
#include "attach/session.hh"

#include <unistd.h>

namespace skua::attach {

namespace {

constexpr unsigned sockets_at_once = 32;     // of one session, in one turn of a shard
constexpr unsigned datagrams_at_once = 128;  // of one socket

}  // namespace

result<std::unique_ptr<session>> session::make(int control, uid_t user, unsigned shards) {
    auto memory = region::make("skua-session", shards * sizeof(announcements));
    if (!memory) {
        close(control);
        return fail(memory.error().code);
    }
    for (unsigned i = 0; i < shards; i++) new (&memory->bytes()[i * sizeof(announcements)]) announcements;
    return std::unique_ptr<session>(new session(control, user, std::move(*memory), shards));
}

session::session(int control, uid_t user, region memory, unsigned shards)
    : control_(control),
      user_(user),
      memory_(std::move(memory)),
      readers_(shards),
      sockets_(new std::atomic<attached_socket*>[most_sockets]) {
    for (std::uint32_t i = 0; i < most_sockets; i++) sockets_[i].store(nullptr, std::memory_order_relaxed);
    for (auto& r : readers_) r.later.reserve(most_sockets);
}

session::~session() { close(control_); }

result<std::uint32_t> session::add(attached_socket& s) {
    for (std::uint32_t i = 0; i < used_; i++)
        if (sockets_[i].load(std::memory_order_relaxed) == &s) return i;
    std::uint32_t number = used_;
    if (!free_numbers_.empty()) {
        number = free_numbers_.back();
        free_numbers_.pop_back();
    } else if (used_ == most_sockets) {
        return fail(EMFILE);
    } else {
        used_++;
    }
    sockets_[number].store(&s, std::memory_order_release);
    return number;
}

void session::remove(const attached_socket& s) {
    for (std::uint32_t i = 0; i < used_; i++) {
        if (sockets_[i].load(std::memory_order_relaxed) != &s) continue;
        sockets_[i].store(nullptr, std::memory_order_release);
        free_numbers_.push_back(i);
    }
}

attached_socket* session::find(std::uint64_t id) const {
    for (std::uint32_t i = 0; i < used_; i++) {
        attached_socket* const s = sockets_[i].load(std::memory_order_relaxed);
        if (s != nullptr && s->id() == id) return s;
    }
    return nullptr;
}

std::vector<attached_socket*> session::sockets() const {
    std::vector<attached_socket*> all;
    for (std::uint32_t i = 0; i < used_; i++)
        if (attached_socket* const s = sockets_[i].load(std::memory_order_relaxed)) all.push_back(s);
    return all;
}

unsigned session::serve(shard::shard& on, std::uint32_t number, std::vector<std::uint32_t>& later) {
    if (number >= most_sockets) return 0;
    attached_socket* const s = sockets_[number].load(std::memory_order_acquire);
    if (s == nullptr || s->home() != on.index()) return 0;
    s->announced();
    const unsigned sent = s->transmit(on, datagrams_at_once);
    if (sent == datagrams_at_once && later.size() < most_sockets) later.push_back(number);
    return sent;
}

unsigned session::poll(shard::shard& on) {
    reader& mine = readers_[on.index()];
    auto& ring = memory_.as<announcements>()[on.index()];
    unsigned sent = 0;
    if (!mine.later.empty()) {
        const std::uint32_t number = mine.later.back();
        mine.later.pop_back();
        sent += serve(on, number, mine.later);
    }
    std::uint32_t there = ring.written.load(std::memory_order_acquire) - mine.read;
    if (there == 0) return sent;
    // More than the ring holds: garbage. Its own announcements are lost by it.
    if (there > announcements::room) mine.read += there - announcements::room, there = announcements::room;
    for (unsigned i = 0; i < std::min(there, sockets_at_once); i++) {
        const std::uint32_t number = ring.sockets[mine.read % announcements::room].load(std::memory_order_relaxed);
        mine.read++;
        sent += serve(on, number, mine.later);
    }
    ring.read.store(mine.read, std::memory_order_release);
    return sent;
}

}  // namespace skua::attach
