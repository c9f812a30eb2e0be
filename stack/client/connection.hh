// This process's session with the daemon: made at the first need, and anew in the child of a fork.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "attach/channel.hh"
#include "attach/region.hh"

namespace skua::client {

class connection {
public:
    static connection& instance();
    static constexpr int most_tries = 8;  // of a question, with daemons that go before they answer

    /// One question, one answer; any thread. Descriptors of the question stay the caller's. Errors: the daemon's, and
    /// those of connecting: ECONNREFUSED, ENOENT, EACCES; EPROTO it speaks another version; ECONNRESET it went before
    /// it answered. A daemon that has been there is waited for: it may be starting anew.
    result<attach::message> ask(attach::request_header question, std::span<const std::byte> body = {},
                                std::span<const int> descriptors = {});
    /// What an answer with a socket's region gives.
    struct socket_region {
        attach::socket_reply reply;
        attach::region memory;
        int fd = -1;                // the caller's from here on
        std::uint32_t session = 0;  // in which reply.number holds
    };
    /// request::socket or request::open; the latter has a descriptor. Errors: those of ask(); EMFILE.
    result<socket_region> ask_for_socket(const attach::request_header& question, std::span<const int> descriptors);
    /// What this process has closed is gone for everybody, if the daemon is there.
    void settle();
    /// Tells a shard that a socket (by its number in this session) has something to send.
    /// False in a signal's handler that came while its thread was doing the same: the next to send says it.
    bool announce(std::uint32_t shard, std::uint32_t number, const std::atomic<std::uint32_t>& incarnation);
    /// In a child that has a copy of this memory and came without fork(3)'s handlers.
    void forked() { forget(); }
    /// Of the sessions that this process has had; numbers of sockets hold for one of them. 0: there is none now.
    std::uint32_t session() const { return session_.load(std::memory_order_acquire); }
    /// Of the daemon of this session.
    std::uint32_t incarnation() const { return incarnation_.load(std::memory_order_acquire); }
    /// A session with any other daemon is over.
    void expect(std::uint32_t incarnation);

private:
    connection();
    result<void> open();
    void announce_locked(std::uint32_t shard, std::uint32_t number, const std::atomic<std::uint32_t>& incarnation);
    result<void> open_patiently(std::unique_lock<std::mutex>& hold);
    result<attach::message> exchange(std::unique_lock<std::mutex>& hold, attach::request_header question,
                                     std::span<const std::byte> body, std::span<const int> descriptors);
    result<attach::message> answer();
    result<socket_region> try_for_socket(std::unique_lock<std::mutex>& hold, const attach::request_header& question,
                                         std::span<const int> descriptors);
    void forget();

    std::mutex lock_;
    std::mutex announce_lock_;
    int fd_ = -1;
    attach::region announcements_;
    std::uint32_t shards_ = 0;
    std::atomic<std::uint32_t> session_{0}, incarnation_{0};
    std::uint32_t sessions_ = 0;  // so far
};

}  // namespace skua::client
