// What the daemon and the holders of one socket share: its memory, made for it alone.
//
// A socket's holders are the processes that have its descriptor, by fork, passing or exec: they could read each other's
// datagrams on the kernel's sockets too, so they share this region. The daemon takes nothing in it for granted: a
// holder can spoil its own socket, nothing else.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

#include "attach/record_ring.hh"

namespace skua::attach {

inline constexpr std::uint64_t page_magic = 0x65676170'61756b73ull;  // "skuapage"
inline constexpr std::uint32_t protocol_version = 1;
/// How the abstract name of the daemon's end of a descriptor begins.
inline constexpr const char* descriptor_name = "skua/";

struct socket_page {
    std::uint64_t magic = page_magic;
    std::uint32_t version = protocol_version;
    std::int32_t domain = 0;
    std::uint64_t id = 0;
    std::uint64_t rx_bytes = 0;  // of the ring that begins at rx_at, a power of two
    std::uint64_t tx_bytes = 0;  // of the ring behind it

    ring_positions rx;
    ring_positions tx;

    // ---- written by the daemon ----
    alignas(line) std::atomic<std::uint64_t> tx_returned{0};  // cost of all that has left, since the beginning
    std::atomic<std::int32_t> send_buffer{0};                 // bytes, as truesize() counts
    std::atomic<std::int32_t> error{0};                       // for the next call (SO_ERROR); holders put 0
    std::atomic<std::uint32_t> shutdown{0};                   // 1: receiving, 2: sending
    std::atomic<std::uint32_t> connected{0};                  // the peer's family, 4 or 6; 0: none
    std::atomic<std::uint32_t> told{0};                       // what readers want to be told, bits of socket::tell
    std::atomic<std::uint32_t> home{0};                       // the shard that takes what is sent
    std::atomic<std::uint32_t> changes{0};  // of names, options and routes: what was learnt about destinations is old
    std::atomic<std::uint32_t> incarnation{0};  // of the daemon that serves it: a session with an earlier one is over
    std::atomic<std::uint32_t> rx_events{0}, tx_events{0};  // futexes: a datagram came, room was made

    // ---- written by the holders ----
    alignas(line) std::atomic<std::uint64_t> rx_returned{0};  // cost of all that was read
    std::atomic<std::uint32_t> rx_sleepers{0}, tx_sleepers{0};
    std::atomic<std::uint32_t> watch{0};  // who polls the descriptor
    std::atomic<std::uint32_t> tx_announced{0};
    std::atomic<std::uint32_t> cork{0};  // UDP_CORK
    std::atomic<std::int64_t> receive_timeout{-1}, send_timeout{-1};  // nanoseconds; -1: none
    std::uint64_t tx_charged = 0;                                     // under tx_lock
    alignas(line) pthread_mutex_t rx_lock;
    pthread_mutex_t tx_lock;

    static constexpr std::uint32_t watch_level = 1;  // a byte on the descriptor while there is something to read
    static constexpr std::uint32_t watch_edge = 2;   // one for each arrival (EPOLLET)
    static constexpr std::uint32_t watch_room = 4;   // no room to send in a pair that holders filled, until there is
    static constexpr std::uint32_t shut_receive = 1, shut_send = 2, shut_both = 3;
    static constexpr std::size_t rx_at = 4096;
};
static_assert(sizeof(socket_page) <= socket_page::rx_at);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

/// What a process shares with the daemon besides its sockets: for each shard a ring of numbers of sockets that have
/// something to send.
struct announcements {
    static constexpr std::uint32_t room = 512;  // what does not fit waits with its writer for a turn of the shard
    alignas(line) std::atomic<std::uint32_t> written;
    alignas(line) std::atomic<std::uint32_t> read;
    alignas(line) std::atomic<std::uint32_t> sockets[room];
};

}  // namespace skua::attach
