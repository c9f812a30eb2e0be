// Connecting, asking, and what a fork changes.
#include "client/connection.hh"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "base/own_descriptor.hh"
#include "client/own_numbers.hh"
#include "client/undisturbed.hh"

namespace skua::client {

namespace {

constexpr const char* default_path = "/run/skua/attach";
constexpr auto patience = std::chrono::seconds(30);  // with a daemon that starts anew
constexpr auto pause = std::chrono::milliseconds(5);

/// What connecting to a daemon that is not there, or is just going, says.
bool is_absent(int error) { return error == ECONNREFUSED || error == ENOENT || error == ECONNRESET || error == EAGAIN; }

}  // namespace

connection& connection::instance() {
    static connection* const one = new connection;  // of use to the last call of a process
    return *one;
}

connection::connection() {
    // A child has its parent's memory, but the session is the parent's.
    pthread_atfork(
        [] {
            instance().lock_.lock();
            instance().announce_lock_.lock();
        },
        [] {
            instance().announce_lock_.unlock();
            instance().lock_.unlock();
        },
        [] {
            instance().forget();
            instance().announce_lock_.unlock();
            instance().lock_.unlock();
        });
}

void connection::forget() {
    session_.store(0, std::memory_order_release);
    if (fd_ >= 0) {
        own_numbers::remove(fd_);
        close(fd_);
    }
    fd_ = -1;
}

result<void> connection::open() {
    const char* const path = std::getenv("SKUA_ATTACH");
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::strncpy(at.sun_path, path ? path : default_path, sizeof at.sun_path - 1);
    fd_ = out_of_the_way(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (fd_ < 0) return fail(errno);
    own_numbers::add(fd_);
    const auto give_up = [&](int why) {
        forget();
        return fail(why);
    };
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) return give_up(errno);
    attach::request_header hello;
    hello.what = attach::request::hello;
    if (auto sent = attach::send_message(fd_, attach::bytes_of(hello), {}, {}); !sent) return give_up(ECONNRESET);
    auto got = attach::receive_message(fd_);
    attach::reply_header head;
    attach::hello_reply reply;
    if (!got) return give_up(got.error().code);
    if (got->bytes.size() < sizeof head) return give_up(EPROTO);
    std::memcpy(&head, got->bytes.data(), sizeof head);
    if (head.error != 0) return give_up(head.error);  // ENFILE: as many processes of this user as may be
    if (got->bytes.size() != sizeof head + sizeof reply) return give_up(EPROTO);
    std::memcpy(&reply, &got->bytes[sizeof head], sizeof reply);
    auto memory = attach::region::open(got->take(0), reply.shards * sizeof(attach::announcements));
    if (!memory) return give_up(memory.error().code);
    {
        const std::lock_guard announcing(announce_lock_);
        announcements_ = std::move(*memory);
        shards_ = reply.shards;
    }
    incarnation_.store(reply.incarnation, std::memory_order_release);
    session_.store(++sessions_, std::memory_order_release);
    return {};
}

/// Waits without the lock: another thread may fork meanwhile, or find the daemon first.
result<void> connection::open_patiently(std::unique_lock<std::mutex>& hold) {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
        auto made = fd_ < 0 ? open() : result<void>();
        if (made || !is_absent(made.error().code) || std::chrono::steady_clock::now() >= until) return made;
        hold.unlock();
        std::this_thread::sleep_for(pause);
        hold.lock();
    }
}

void connection::expect(std::uint32_t incarnation) {
    const std::lock_guard hold(lock_);
    if (fd_ >= 0 && incarnation_.load() != incarnation) forget();
}

result<attach::message> connection::answer() {
    auto got = attach::receive_message(fd_);
    attach::reply_header head;
    if (!got) {
        forget();
        return fail(ECONNRESET);
    }
    if (got->bytes.size() < sizeof head) return fail(EPROTO);
    std::memcpy(&head, got->bytes.data(), sizeof head);
    if (head.error != 0) return fail(head.error);
    got->bytes.erase(got->bytes.begin(), got->bytes.begin() + sizeof head);
    return got;
}

result<attach::message> connection::exchange(std::unique_lock<std::mutex>& hold, attach::request_header question,
                                             std::span<const std::byte> body, std::span<const int> descriptors) {
    if (fd_ < 0) {
        // Whoever has a socket of the daemon's knows that there was one.
        const bool known = sessions_ != 0 || question.what == attach::request::open;
        if (auto made = known ? open_patiently(hold) : open(); !made) return fail(made.error().code);
    }
    question.length = static_cast<std::uint32_t>(body.size());
    auto sent = attach::send_message(fd_, attach::bytes_of(question), body, descriptors);
    if (!sent) {
        forget();
        return fail(ECONNRESET);
    }
    return answer();
}

result<attach::message> connection::ask(attach::request_header question, std::span<const std::byte> body,
                                        std::span<const int> descriptors) {
    const undisturbed calm;
    std::unique_lock hold(lock_);
    return exchange(hold, question, body, descriptors);
}

result<connection::socket_region> connection::ask_for_socket(const attach::request_header& question,
                                                             std::span<const int> descriptors) {
    const undisturbed calm;
    std::unique_lock hold(lock_);
    // Of a daemon that went before it answered nothing is left, so the next can be asked the same.
    for (int tries = 1;; tries++) {
        auto made = try_for_socket(hold, question, descriptors);
        if (made || made.error().code != ECONNRESET || tries == most_tries) return made;
    }
}

result<connection::socket_region> connection::try_for_socket(std::unique_lock<std::mutex>& hold,
                                                             const attach::request_header& question,
                                                             std::span<const int> descriptors) {
    auto got = exchange(hold, question, {}, descriptors);
    if (!got) return fail(got.error().code);
    socket_region made;
    made.session = session_.load(std::memory_order_relaxed);
    // Mapped, and its descriptor closed, before the next one comes: this process may have room for one only.
    result<attach::region> memory = fail(got->cut ? EMFILE : EPROTO);
    if (!got->cut && got->bytes.size() == sizeof made.reply) {
        std::memcpy(&made.reply, got->bytes.data(), sizeof made.reply);
        memory = attach::region::open(got->take(0), attach::socket_page::rx_at);
    }
    if (memory) {
        made.memory = std::move(*memory);
        made.memory.forget_descriptor();
    }
    if (question.what == attach::request::socket) {
        auto second = answer();
        if (!second) return fail(second.error().code);
        made.fd = second->take(0);
        if (made.fd < 0) return fail(EMFILE);
    }
    if (memory) return made;
    if (made.fd >= 0) close(made.fd);
    return fail(memory.error().code);
}

void connection::settle() {
    attach::request_header h;
    h.what = attach::request::settle;
    const undisturbed calm;
    std::unique_lock hold(lock_);
    if (fd_ >= 0) (void)exchange(hold, h, {}, {});
}

bool connection::announce(std::uint32_t shard, std::uint32_t number, const std::atomic<std::uint32_t>& incarnation) {
    static thread_local bool inside = false;
    if (std::exchange(inside, true)) return false;
    announce_locked(shard, number, incarnation);
    inside = false;
    return true;
}

void connection::announce_locked(std::uint32_t shard, std::uint32_t number,
                                 const std::atomic<std::uint32_t>& incarnation) {
    const std::lock_guard hold(announce_lock_);
    if (shard >= shards_) return;
    auto& ring = announcements_.as<attach::announcements>()[shard];
    const std::uint32_t at = ring.written.load(std::memory_order_relaxed);
    // The shard takes them in each of its turns; the next daemon asks nobody for what the last one was told.
    while (at - ring.read.load(std::memory_order_acquire) >= attach::announcements::room) {
        if (incarnation.load(std::memory_order_acquire) != incarnation_.load(std::memory_order_relaxed)) return;
        std::this_thread::yield();
    }
    ring.sockets[at % attach::announcements::room].store(number, std::memory_order_relaxed);
    ring.written.store(at + 1, std::memory_order_release);
}

}  // namespace skua::client
