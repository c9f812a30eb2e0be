// Reassembly of IPv4 and IPv6 fragments (RFC 791, 8200 §4.5, 5722, 6946), one reassembler per shard.
//
// Our own, since librte_ip_frag of many builds allows 8 fragments per datagram and does not see overlaps. What has
// arrived of a datagram is a bit per 8 bytes, so that a fragment costs the same in whatever order it comes (fragments
// that had to be found in a list were CVE-2018-5391); the order is made once, when the datagram is whole.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/hash.hh"
#include "net/context.hh"
#include "net/icmp_output.hh"
#include "net/sender.hh"
#include "packet/packet.hh"
#include "packet/verdict.hh"

namespace skua::net {

struct reassembly_options {
    std::uint32_t max_datagrams = 1024;  // at a time
    std::uint32_t max_bytes = 4u << 20;  // of packet buffers held, not of payload. Linux: ipfrag_high_thresh
    std::uint32_t max_fragments = 2048;  // of one datagram; 1365 make up 65,535 bytes at MTU 68
    nanoseconds timeout_v4 = std::chrono::seconds(30);  // Linux: ipfrag_time
    nanoseconds timeout_v6 = std::chrono::seconds(60);  // RFC 8200 §4.5; Linux: ip6frag_time
};

/// What the fragment fields of a packet say. Addresses, payload (l4_offset, l4_length) and protocol stand in rx_info.
struct fragment_fields {
    std::uint32_t identification = 0;
    std::uint32_t offset = 0;  // bytes, a multiple of 8
    bool more = false;
    // IPv6: offset in the frame of the byte that names the fragment header; the header itself ends at l4_offset.
    std::uint16_t named_at = 0;
};

class reassembler {
public:
    reassembler(sender& out, icmp_output& errors, random_source& random, const reassembly_options& options = {});
    ~reassembler();  // frees what it holds, uncounted
    reassembler(const reassembler&) = delete;
    reassembler& operator=(const reassembler&) = delete;

    /// Adds a fragment whose Ethernet padding was cut off. Returns
    /// - step::ipv4 or ipv6: the datagram is whole. `p` holds it, headers first as in its first fragment (the IPv6
    ///   fragment header taken out), lengths and IPv4 checksum set right, and `info` describes it. What the NIC said
    ///   about UDP checksum and RSS hash is forgotten;
    /// - step::held: taken, `p` is empty;
    /// - a drop: `p` stays with the caller.
    ///
    /// A fragment that lies wholly in bytes that have arrived is a duplicate: it is dropped (frag_overlap) and the
    /// first to come stays (Linux: inet_frag_queue_insert). Any other overlap refuses the whole datagram, and its later
    /// fragments too until its time is over. When memory is full the oldest datagrams give way (frag_table_full).
    packet::verdict add(packet::packet& p, packet::rx_info& info, const fragment_fields& f, const context& ctx);

    /// Gives up datagrams whose time is over, up to 32 per call; sends "time exceeded" about those whose first fragment
    /// came.
    void tick(const context& ctx);

    /// Datagrams begun and not whole, refused ones included.
    std::size_t size() const { return size_; }
    /// Of packet buffers held.
    std::size_t bytes() const { return bytes_; }

private:
    static constexpr std::size_t bits = 65536 / 8;

    struct entry {
        // key; the family is that of the addresses
        ip_address source;
        ip_address destination;
        std::uint32_t identification;
        std::uint32_t ifindex;
        std::uint8_t protocol;  // IPv4 only: RFC 8200 leaves it out
        // what is known of the datagram
        drop_reason refused;    // none: still collecting
        std::uint8_t ecn_seen;  // a bit per ECN codepoint (RFC 3168 §5.3)
        bool in_order;
        std::uint16_t named_at;  // of the fragment at offset 0
        std::uint32_t fragments;
        std::uint32_t blocks;  // of 8 bytes, arrived
        std::uint32_t end;     // of the furthest byte that arrived
        std::uint32_t total;   // bytes of payload, 0 until the last fragment came
        std::uint32_t held;    // bytes of packet buffers
        rte_mbuf* first;       // fragments in order of arrival, by meta::link
        rte_mbuf* last;
        rte_mbuf* head;  // the one at offset 0, with its headers, once it came
        packet::rx_info head_info;
        time_point begun;
        // places
        entry* next_in_slot;
        entry* older;
        entry* newer;
        std::array<std::uint64_t, bits / 64> arrived;
    };
    /// By age. One per family, since their times differ: the head is always the next whose time is over.
    struct age_list {
        entry* oldest = nullptr;
        entry* newest = nullptr;
    };

    static bool same(const entry& e, const packet::rx_info& info, const fragment_fields& f);
    age_list& ages_of(const entry& e) { return e.source.is_v4() ? v4_ : v6_; }
    entry*& slot_of(const ip_address& source, const ip_address& destination, std::uint32_t identification);
    entry* find(const packet::rx_info& info, const fragment_fields& f);
    entry& begin(const packet::rx_info& info, const fragment_fields& f, const context& ctx);
    entry* oldest() const;
    void remove(entry& e);
    void drop_fragments(entry& e, drop_reason why);
    packet::verdict refuse(entry& e, drop_reason why, const context& ctx);
    void evict(entry& e, const context& ctx);
    void expire(entry& e, const context& ctx);
    bool make_room(const entry& wanted, std::uint32_t cost, const context& ctx);
    void take(entry& e, packet::packet& p, const packet::rx_info& info, const fragment_fields& f);
    packet::verdict complete(entry& e, packet::packet& p, packet::rx_info& info, const context& ctx);
    nanoseconds timeout_of(const entry& e) const {
        return e.source.is_v4() ? options_.timeout_v4 : options_.timeout_v6;
    }

    const reassembly_options options_;
    sender& out_;
    icmp_output& errors_;
    const keyed_hash hash_;
    std::vector<entry> entries_;
    std::vector<entry*> slots_;
    entry* free_ = nullptr;  // by next_in_slot
    age_list v4_;
    age_list v6_;
    std::size_t size_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace skua::net
