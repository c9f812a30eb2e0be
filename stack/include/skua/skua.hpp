// The C++ API of skua: sockets on a shard's own thread, without copies and without locks.
//
// A shard is polled by one thread. Everything here that is not said to be for any thread belongs to that thread. For
// calls from other threads there is skua.h.
#pragma once

#include <rte_mbuf.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace skua::api {

/// What a call reports when it fails: `code` is an errno value.
class failure : public std::runtime_error {
public:
    failure(int code, const std::string& what) : std::runtime_error(what), code(code) {}
    const int code;
};

/// An address and a UDP port. IPv4 addresses stand in their mapped form (::ffff:a.b.c.d).
struct endpoint {
    std::array<std::uint8_t, 16> address{};
    std::uint16_t port = 0;   // host order
    std::uint32_t scope = 0;  // interface index of a link-local address, else 0

    /// "198.18.0.1:53", "[2001:db8::1]:53", "0.0.0.0:53", "[::]:53". Throws failure(EINVAL).
    static endpoint parse(const std::string& text);
    std::string to_string() const;
    friend bool operator==(const endpoint&, const endpoint&) = default;
};

/// A datagram on loan: the packet itself, as it came from the NIC or as it will go to it. Freed when it dies.
class datagram {
public:
    datagram() = default;
    datagram(rte_mbuf* packet, std::uint16_t payload_offset) : packet_(packet), offset_(payload_offset) {}
    datagram(datagram&& o) noexcept : peer(o.peer), packet_(std::exchange(o.packet_, nullptr)), offset_(o.offset_) {}
    datagram& operator=(datagram&& o) noexcept {
        std::swap(packet_, o.packet_);
        std::swap(offset_, o.offset_);
        peer = o.peer;
        return *this;
    }
    ~datagram() {
        if (packet_) rte_pktmbuf_free(packet_);
    }

    /// Received: who sent it. To be sent: where it goes.
    endpoint peer;

    explicit operator bool() const { return packet_ != nullptr; }
    /// Bytes of the payload, over all segments.
    std::uint32_t size() const { return packet_->pkt_len - offset_; }
    /// The payload as far as it lies in the first segment: all of it unless it is larger than a segment.
    std::span<std::byte> data() const {
        return {rte_pktmbuf_mtod_offset(packet_, std::byte*, offset_), std::size_t(packet_->data_len - offset_)};
    }
    /// Copies [from, from + out.size()) of the payload, over segments; false if the payload is shorter.
    bool copy(std::uint32_t from, std::span<std::byte> out) const;
    /// The packet and what it owns; the payload begins at payload_offset().
    rte_mbuf* release() { return std::exchange(packet_, nullptr); }
    rte_mbuf* packet() const { return packet_; }
    std::uint16_t payload_offset() const { return offset_; }

private:
    rte_mbuf* packet_ = nullptr;
    std::uint16_t offset_ = 0;
};

class shard;

/// A UDP socket that lives on one shard.
class udp_socket {
public:
    udp_socket(udp_socket&&) noexcept;
    udp_socket& operator=(udp_socket&&) noexcept;
    ~udp_socket();  // closes it

    /// Called on the shard with every burst for this socket. The callback may move datagrams out, send them on, or
    /// leave them; what is left is freed. With a callback there is no receive queue.
    using receiver = std::function<void(udp_socket&, std::span<datagram>)>;
    /// On the shard's thread only; from others, give the callback to shard::open().
    void on_receive(receiver callback);
    /// Without a callback: takes up to out.size() datagrams from the receive queue; returns how many.
    unsigned recv_burst(std::span<datagram> out);
    /// Sends each datagram to its `peer`, or to the connected one where `peer` is empty. Returns how many were taken,
    /// from the front; the rest stay with the caller, and `error` (if given) says why the first of them was not taken.
    unsigned send_burst(std::span<datagram> datagrams, int* error = nullptr);
    /// An empty datagram with `length` bytes of payload to fill; false as a bool when the pool is empty.
    datagram allocate(std::uint32_t length);

    /// Throws failure with Linux's errno.
    void connect(const endpoint& to);
    void set_option(int level, int name, int value);
    /// The SO_REUSEPORT group of the socket asks `choose` for the place of the member that gets a datagram: members
    /// count from 0 in the order of joining, the last takes the place of one that leaves. It is called by every shard,
    /// at once with others, for each datagram; `payload` is its part in the first segment. Nothing, or a place that
    /// nobody has: the five-tuple decides. Throws failure.
    using chooser =
        std::function<std::optional<std::uint32_t>(const endpoint& peer, std::span<const std::byte> payload)>;
    void choose_by(chooser choose);
    endpoint local() const;
    /// Datagrams accepted, and datagrams dropped for want of buffer space. Any thread.
    std::uint64_t received() const;
    std::uint64_t dropped() const;

    struct impl;
    explicit udp_socket(std::unique_ptr<impl> i);

private:
    std::unique_ptr<impl> impl_;
};

struct socket_options {
    bool reuse_address = false;
    bool reuse_port = false;
    bool v6_only = false;
};

/// One shard of the running stack.
class shard {
public:
    explicit shard(unsigned index) : index_(index) {}
    unsigned index() const { return index_; }
    /// A socket bound to `local` (port 0: any) whose datagrams arrive on this shard. Any thread. Throws failure.
    udp_socket open(const endpoint& local, const socket_options& options = {},
                    udp_socket::receiver callback = {}) const;

private:
    unsigned index_;
};

/// The stack of this process (see skua_start, skua_start_library, skua_stop): how many shards it has.
unsigned shard_count();

// ---- Views. Any thread. ----

/// As skua_explain. Throws failure: EINVAL with what is wrong.
std::string explain(const std::string& flow);

/// The lines of Linux's /proc/net/udp (AF_INET) or /proc/net/udp6 (AF_INET6), the header first.
std::vector<std::string> proc_net_udp(int family);

/// A descriptor of a stack process, as /proc/PID/fd and fdinfo show them.
struct descriptor_info {
    int fd = 0;
    std::string link;  // "socket:[17]", "anon_inode:[eventpoll]"
    int flags = 0;     // O_RDWR, O_NONBLOCK
    bool close_on_exec = false;
};
/// Numbers of the stack processes; the first is 1.
std::vector<std::uint64_t> processes();
/// None if there is no such process.
std::vector<descriptor_info> descriptors(std::uint64_t process);

}  // namespace skua::api
