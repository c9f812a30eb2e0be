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

    /// One question, one answer; any thread. Descriptors of the question stay the caller's. Errors: the daemon's, and
    /// those of connecting: ECONNREFUSED, ENOENT, EACCES; EPROTO it speaks another version; ECONNRESET it went.
    result<attach::message> ask(attach::request_header question, std::span<const std::byte> body = {},
                                std::span<const int> descriptors = {});
    /// What an answer with a socket's region gives.
    struct socket_region {
        attach::socket_reply reply;
        attach::region memory;
        int fd = -1;  // the caller's from here on
    };
    /// request::socket or request::open; the latter has a descriptor. Errors: those of ask(); EMFILE.
    result<socket_region> ask_for_socket(const attach::request_header& question, std::span<const int> descriptors);
    /// What this process has closed is gone for everybody, if the daemon is there.
    void settle();
    /// Tells a shard that a socket (by its number in this session) has something to send.
    void announce(std::uint32_t shard, std::uint32_t number);
    /// Counts the sessions of this process: numbers of sockets hold for one of them.
    std::uint32_t session() const { return session_.load(std::memory_order_acquire); }

private:
    connection();
    result<void> open();
    result<attach::message> exchange(attach::request_header question, std::span<const std::byte> body,
                                     std::span<const int> descriptors);
    result<attach::message> answer();
    void forget();

    std::mutex lock_;
    std::mutex announce_lock_;
    int fd_ = -1;
    attach::region announcements_;
    std::uint32_t shards_ = 0;
    std::atomic<std::uint32_t> session_{0};
};

}  // namespace skua::client
