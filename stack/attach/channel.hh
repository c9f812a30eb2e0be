// Messages with descriptors over a UNIX socket of type SOCK_SEQPACKET, and what they say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "attach/socket_page.hh"
#include "base/result.hh"

namespace skua::attach {

enum class request : std::uint32_t {
    hello = 1,    // → hello_reply, the region of announcements
    socket,       // words: domain, type, protocol → socket_reply, the socket's region; then another message: its
                  // descriptor. One at a time, since a process may have room for no more.
    open,         // a descriptor that came from elsewhere → socket_reply, the socket's region
    bind,         // sockaddr
    connect,      // sockaddr
    local_name,   // → sockaddr
    remote_name,  // → sockaddr
    set_option,   // words: level, name; the value
    get_option,   // words: level, name, room → the value
    shutdown,     // words: how
    destination,  // words: length of the sockaddr, 0 for the connected peer; it, and perhaps a chosen_source
                  // → destination_reply
    remind,       // what is there to read, to tell or to write to shows on the descriptor when this is answered
    settle,       // of no socket: what was closed before is gone when this is answered
};

struct request_header {
    std::uint32_t version = protocol_version;
    request what{};
    std::uint64_t socket = 0;
    std::int32_t words[3] = {0, 0, 0};
    std::uint32_t length = 0;  // of what follows
};

struct reply_header {
    std::int32_t error = 0;    // an errno value
    std::uint32_t length = 0;  // of what follows
};

struct hello_reply {
    std::uint32_t shards = 0;
    std::uint32_t incarnation = 0;  // of the daemon, as in socket_page
};

struct socket_reply {
    std::uint64_t id = 0;
    std::uint32_t number = 0;  // in announcements of this session
    std::uint32_t padding = 0;
};

/// What a message says of its own source (socket::send_choice).
struct chosen_source {
    ip_address source;
    std::uint32_t ifindex = 0;
    std::uint32_t padding = 0;
};

struct destination_reply {
    std::uint32_t longest = 0;  // bytes of payload
    std::uint32_t changes = 0;  // socket_page::changes when this was true
    std::uint32_t alike = 0;    // bits of the address on which it depends: true of all that share them
    std::uint32_t padding = 0;
};

inline constexpr std::size_t longest_body = 1 << 16;  // the longest BPF program
inline constexpr std::size_t most_descriptors = 1;    // of a message that keeps to the protocol

/// A message with its descriptors, which it owns.
struct message {
    std::vector<std::byte> bytes;
    std::vector<int> descriptors;
    bool cut = false;  // descriptors were lost: this process may not have as many
    message() = default;
    message(message&& other) noexcept { swap(other); }
    message& operator=(message&& other) noexcept {
        swap(other);
        return *this;
    }
    ~message();
    /// Gives one away; -1 if there is none.
    int take(std::size_t i);

private:
    void swap(message& other) {
        bytes.swap(other.bytes);
        descriptors.swap(other.descriptors);
        std::swap(cut, other.cut);
    }
};

/// Whole, or not at all. Descriptors stay the caller's. Errors of sendmsg(2); EPIPE without a signal.
result<void> send_message(int fd, std::span<const std::byte> head, std::span<const std::byte> body,
                          std::span<const int> descriptors, int flags = 0);
/// Errors of recvmsg(2); ECONNRESET the other side is gone; EMSGSIZE longer than any message. Descriptors that came are
/// in `got` even then.
result<void> receive_message(int fd, message& got, int flags);
result<message> receive_message(int fd, int flags = 0);

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span(&value, 1));
}

}  // namespace skua::attach
