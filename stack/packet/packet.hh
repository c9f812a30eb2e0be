// The owning handle of a packet, and the few words that travel with it when it is queued.
#pragma once

#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace skua::packet {

/// What another shard is asked to do with a packet.
enum class errand : std::uint8_t {
    deliver,     // a checked UDP datagram for a socket whose home is there (l2_len and l3_len of the mbuf are set)
    neighbour,   // an ARP or neighbour discovery message, for the owner of the neighbour machine (likewise)
    transmit,    // an IP datagram to be sent
    resolve,     // an IP datagram to be sent, for the owner of the neighbour machine to park
    reassemble,  // a fragment, for the shard that puts its datagram together (l2_len is set)
    admit,       // a datagram put together, for the shard that would have received it whole (likewise)
};

/// Travels in the mbuf's dynamic field area while a packet waits in a queue (socket, mailbox, parked, loopback).
/// Bursts that stay on their shard never touch it.
struct meta {
    rte_mbuf* link;  // next in an intrusive queue
    union {
        std::uint64_t rx_time_ns;  // received: when (monotonic_clock)
        void* owner;               // to be sent: the socket whose send buffer it is charged to, or nullptr
    };
    std::uint32_t ifindex;        // received: the interface it came in on; to be sent: the one it must leave by, or 0
    std::uint16_t l4_offset;      // received: where the UDP header begins
    std::uint16_t rx_shard : 7;   // received: the shard that took it from the NIC
    std::uint16_t flags : 4;      // meta_flag
    std::uint16_t crossings : 2;  // how often it went from shard to shard
    errand what : 3;              // between shards only
};
// Other users of the dynamic field area find room for a word beside it.
static_assert(sizeof(meta) == 24);

enum meta_flag : std::uint8_t {
    meta_ipv6 = 1,
    meta_broadcast = 2,  // was sent to a broadcast address
    meta_multicast = 4,  // was sent to a multicast address
    meta_loopback = 8,   // never left the stack: checksums are good by construction
};

/// Reserves the dynamic field. Call once after EAL start and before any packet; throws std::runtime_error.
void register_meta();

extern int meta_offset;  // set by register_meta

inline meta& meta_of(rte_mbuf* m) { return *RTE_MBUF_DYNFIELD(m, meta_offset, meta*); }

/// Sole owner of an mbuf chain; frees it unless it is released.
class packet {
public:
    packet() = default;
    explicit packet(rte_mbuf* m) : mbuf_(m) {}
    packet(packet&& other) noexcept : mbuf_(std::exchange(other.mbuf_, nullptr)) {}
    packet& operator=(packet&& other) noexcept {
        if (this != &other) reset(std::exchange(other.mbuf_, nullptr));
        return *this;
    }
    ~packet() { reset(); }

    explicit operator bool() const { return mbuf_ != nullptr; }
    rte_mbuf* get() const { return mbuf_; }
    [[nodiscard]] rte_mbuf* release() { return std::exchange(mbuf_, nullptr); }
    void reset(rte_mbuf* m = nullptr) {
        if (mbuf_) rte_pktmbuf_free(mbuf_);
        mbuf_ = m;
    }

    /// Bytes of all segments.
    std::uint32_t size() const { return mbuf_->pkt_len; }
    /// Bytes of the first segment; where headers are read.
    std::span<std::byte> front() const { return {rte_pktmbuf_mtod(mbuf_, std::byte*), mbuf_->data_len}; }
    bool contiguous() const { return mbuf_->nb_segs == 1; }
    meta& info() const { return meta_of(mbuf_); }

    /// A header of type T at `offset` of the first segment, or nullptr if the segment ends before the header does.
    template <class T>
    T* header(std::size_t offset) const {
        static_assert(alignof(T) == 1);
        if (offset + sizeof(T) > mbuf_->data_len) return nullptr;
        return rte_pktmbuf_mtod_offset(mbuf_, T*, offset);
    }
    /// Makes room for n bytes in front; nullptr if there is no headroom. All or nothing.
    std::byte* prepend(std::uint16_t n) { return reinterpret_cast<std::byte*>(rte_pktmbuf_prepend(mbuf_, n)); }
    /// Removes n bytes from the front; n <= data_len of the first segment.
    void trim_front(std::uint16_t n) { rte_pktmbuf_adj(mbuf_, n); }
    /// Cuts the packet down to n bytes over all segments (Ethernet padding); n <= size().
    void truncate(std::uint32_t n);
    /// Copies bytes [offset, offset + out.size()) into out; false (and nothing useful in out) if the packet is shorter.
    bool read(std::uint32_t offset, std::span<std::byte> out) const;

private:
    rte_mbuf* mbuf_ = nullptr;
};

/// Headers are looked for in this many bytes at the front of a frame, and nowhere else.
inline constexpr std::uint16_t header_window = 256;

/// Joins the first min(size, header_window) bytes in the first segment, moving bytes and freeing emptied segments.
/// False if the first segment has not enough room; the packet is then unchanged.
bool make_headers_contiguous(packet& p);

/// A new packet of `length` bytes (several segments where one cannot hold it), `headroom` bytes free in front of the
/// first; empty if the pool is.
packet allocate(rte_mempool* pool, std::uint32_t length, std::uint16_t headroom = RTE_PKTMBUF_HEADROOM);

/// Copies data into the packet from `offset` on, over segments; offset + data.size() <= size().
void write(packet& p, std::uint32_t offset, std::span<const std::byte> data);

}  // namespace skua::packet
