// Slots are never given back to the system, so that who finds one a moment too late still finds a slot.
#include "client/descriptors.hh"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <vector>

#include "client/connection.hh"

namespace skua::client {

struct slot {
    std::atomic<std::uint32_t> users{0};  // descriptors of it, and calls that are inside
    std::unique_ptr<remote_socket> socket;
};

namespace {

constexpr std::size_t most = 1 << 20;  // Linux: the largest RLIMIT_NOFILE without fs.nr_open
std::array<std::atomic<slot*>, most> table;
std::atomic<std::size_t> highest{0};  // number that was ever in the table
std::mutex pool_lock;
std::vector<slot*> pool;

slot* new_slot() {
    const std::lock_guard hold(pool_lock);
    if (pool.empty()) return new slot;
    slot* const s = pool.back();
    pool.pop_back();
    return s;
}

slot not_ours;  // stands in the table for a descriptor of which that is known

/// True: it was the last.
bool leave(slot* s) {
    if (s == &not_ours || s->users.fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
    s->socket.reset();
    const std::lock_guard hold(pool_lock);
    pool.push_back(s);
    return true;
}

void has_been(int fd) {
    const auto number = static_cast<std::size_t>(fd);
    for (std::size_t seen = highest.load(); seen < number && !highest.compare_exchange_weak(seen, number);) {
    }
}

bool in_table(int fd) { return fd >= 0 && static_cast<std::size_t>(fd) < most; }

/// One end of a pair whose other end the daemon has named.
bool looks_like_ours(int fd) {
    sockaddr_un peer{};
    socklen_t length = sizeof peer;
    const std::size_t prefix = std::strlen(attach::descriptor_name);
    return getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0 && peer.sun_family == AF_UNIX &&
           length > offsetof(sockaddr_un, sun_path) + 1 + prefix && peer.sun_path[0] == '\0' &&
           std::memcmp(peer.sun_path + 1, attach::descriptor_name, prefix) == 0;
}

}  // namespace

descriptors& descriptors::instance() {
    // No memory is asked for: an allocator's own calls come here before it is ready (jemalloc reads a file).
    static constinit descriptors one;
    return one;
}

descriptors::use::~use() {
    if (slot_ != nullptr) leave(slot_);
}

remote_socket* descriptors::use::operator->() const { return slot_->socket.get(); }

descriptors::use descriptors::find(int fd) {
    if (!in_table(fd)) return {};
    for (;;) {
        slot* const s = table[static_cast<std::size_t>(fd)].load(std::memory_order_acquire);
        if (s == nullptr) return recognise(fd);
        if (s == &not_ours) return {};
        std::uint32_t n = s->users.load(std::memory_order_relaxed);
        while (n != 0 && !s->users.compare_exchange_weak(n, n + 1, std::memory_order_acq_rel)) {
        }
        if (n == 0) continue;
        if (table[static_cast<std::size_t>(fd)].load(std::memory_order_acquire) == s) return use(s);
        leave(s);
    }
}

descriptors::use descriptors::recognise(int fd) {
    const int before = std::exchange(errno, 0);
    const bool ours = looks_like_ours(fd);
    const bool open = errno != EBADF;
    errno = before;
    if (!ours) {
        slot* unknown = nullptr;
        if (sees_all_ && open) {
            table[static_cast<std::size_t>(fd)].compare_exchange_strong(unknown, &not_ours);
            has_been(fd);
        }
        return {};
    }
    attach::request_header h;
    h.what = attach::request::open;
    auto got = connection::instance().ask_for_socket(h, std::span(&fd, 1));
    if (!got) return {};
    auto made = remote_socket::from(fd, std::move(*got));
    if (!made) return {};
    add(fd, std::move(*made));
    return find(fd);
}

void descriptors::add(int fd, std::unique_ptr<remote_socket> s) {
    if (!in_table(fd)) return;
    slot* const fresh = new_slot();
    fresh->socket = std::move(s);
    fresh->users.store(1, std::memory_order_release);
    if (slot* const old = table[static_cast<std::size_t>(fd)].exchange(fresh, std::memory_order_acq_rel)) leave(old);
    has_been(fd);
}

void descriptors::duplicated(int from, int to) {
    if (!in_table(to)) return;
    use u = find(from);
    slot* const s = std::exchange(u.slot_, nullptr);  // this use becomes the descriptor's
    if (slot* const old = table[static_cast<std::size_t>(to)].exchange(s, std::memory_order_acq_rel)) leave(old);
    has_been(to);
}

bool descriptors::remove(int fd) {
    if (!in_table(fd)) return false;
    slot* const old = table[static_cast<std::size_t>(fd)].exchange(nullptr, std::memory_order_acq_rel);
    return old != nullptr && leave(old);
}

bool descriptors::remove(unsigned first, unsigned last) {
    bool any = false;
    for (std::size_t fd = first; fd <= std::min<std::size_t>(last, highest.load()); fd++)
        any |= remove(static_cast<int>(fd));
    return any;
}

}  // namespace skua::client
