// An attached process without the library: it can say and write what it likes.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attach/channel.hh"
#include "attach/region.hh"

namespace skua::test {

class raw_process {
public:
    struct socket {
        std::uint64_t id = 0;
        std::uint32_t number = 0;
        int fd = -1;
        attach::region memory;
        attach::socket_page& page() const { return *memory.as<attach::socket_page>(); }
    };

    /// Connected, and nothing said. Throws std::runtime_error.
    explicit raw_process(const std::string& path);
    ~raw_process();
    raw_process(raw_process&& other) noexcept : fd_(std::exchange(other.fd_, -1)), shared_(std::move(other.shared_)) {}

    int fd() const { return fd_; }
    attach::announcements& ring() const { return *shared_.as<attach::announcements>(); }
    bool hello();
    /// Sends bytes as they are, with these descriptors. False: the daemon has hung up.
    bool say(std::span<const std::byte> bytes, std::span<const int> descriptors = {}) const;
    /// An answer; nothing: the daemon has hung up.
    std::optional<attach::message> hear() const;
    /// A request in order. Its error; -1: the daemon has hung up.
    int ask(attach::request what, std::uint64_t of = 0, std::array<std::int32_t, 3> words = {},
            std::span<const std::byte> body = {}, std::span<const int> descriptors = {});
    /// What the last answer brought beside its head.
    attach::message& answer() { return answer_; }
    /// IPv4, bound to a free port of 127.0.0.1. Throws std::runtime_error.
    socket open_socket(std::uint16_t port = 0);

private:
    int fd_ = -1;
    attach::region shared_;
    attach::message answer_;
};

/// 127.0.0.1.
sockaddr_in at_home(std::uint16_t port);

}  // namespace skua::test
