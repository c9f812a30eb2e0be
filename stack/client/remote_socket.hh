// A socket of the daemon as a process that holds its descriptor sees it.
#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "attach/channel.hh"
#include "attach/region.hh"
#include "attach/socket_page.hh"
#include "base/result.hh"

namespace skua::client {

/// Any thread; calls block unless MSG_DONTWAIT is given or the file has O_NONBLOCK.
class remote_socket {
public:
    /// From an answer of the daemon that carries a socket's region; `fd` stays the caller's. Errors: EPROTO; EMFILE.
    static result<std::unique_ptr<remote_socket>> from(int fd, attach::message& answer, std::size_t region_at);
    ~remote_socket();

    result<std::size_t> send(const msghdr& message, int flags);
    result<std::size_t> receive(msghdr& message, int flags);
    /// FIONREAD.
    std::size_t next_size();
    bool readable();

    result<std::vector<std::byte>> call(attach::request what, std::array<std::int32_t, 3> words = {},
                                        std::span<const std::byte> body = {});
    /// Somebody polls the descriptor: the daemon keeps a byte on it while there is something to read.
    void watch(bool edge);
    void set_timeout(bool receiving, std::int64_t nanoseconds);
    int domain() const { return page_->domain; }
    int take_error() { return page_->error.load() == 0 ? 0 : page_->error.exchange(0); }

private:
    struct ticket {
        endpoint to;
        std::uint32_t changes = 0;
        std::uint32_t longest = 0;
        bool valid = false;
    };

    remote_socket(int own, attach::region memory);
    result<void> join();
    result<std::uint32_t> longest_to(const std::optional<endpoint>& to, const msghdr& message);
    result<void> wait(std::atomic<std::uint32_t>& event, std::uint32_t seen, std::atomic<std::uint32_t>& sleepers,
                      std::int64_t timeout);
    bool never_waits(int flags) const;
    result<void> put(const msghdr& message, std::size_t length, const std::optional<endpoint>& to);
    std::optional<std::size_t> take(msghdr& message, int flags);
    void quieten();

    const int own_;  // one more descriptor of it: calls that are inside outlive the program's
    const attach::region region_;
    attach::socket_page* const page_;
    const std::uint64_t id_;
    std::atomic<std::uint32_t> number_{0};
    std::atomic<std::uint32_t> session_{0};  // for which `number_` holds
    std::mutex tickets_lock_;
    std::array<ticket, 16> tickets_;
};

}  // namespace skua::client
