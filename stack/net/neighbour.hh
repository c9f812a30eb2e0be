// The neighbour machine: one for ARP and neighbour discovery (RFC 826, RFC 4861 §7.3), with duplicate address
// detection.
//
// Owned by one shard, which alone changes it; other shards look up MAC addresses under RCU and hand the owner the
// frames and the unresolved datagrams.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "net/address_claims.hh"
#include "net/context.hh"
#include "net/neighbour_cache.hh"
#include "net/sender.hh"
#include "packet/verdict.hh"

namespace skua::net {

struct neighbour_options {
    std::size_t max_entries = 1024;   // both families; static entries may exceed it by a quarter
    unsigned queue_packets = 64;      // parked behind one neighbour
    unsigned multicast_solicits = 3;  // ARP: broadcast
    unsigned unicast_solicits = 3;
    nanoseconds retransmit_time = std::chrono::seconds(1);
    nanoseconds base_reachable_time = std::chrono::seconds(30);  // a random 0.5 to 1.5 of it is used (RFC 4861 §6.3.2)
    nanoseconds delay_first_probe_time = std::chrono::seconds(5);
    /// A stale or failed entry is forgotten when unused for this long.
    nanoseconds gc_stale_time = std::chrono::seconds(60);
    /// ARP: no other MAC address is taken for so long, unless announced (Linux: locktime).
    nanoseconds arp_lock_time = std::chrono::seconds(1);
    claim_options claims;
};

/// A line of a listing.
struct neighbour_info {
    std::uint32_t ifindex = 0;
    ip_address address;
    mac_address mac;
    neighbour_state state = neighbour_state::none;
    bool router = false;
};

class neighbour_table {
public:
    neighbour_table(rcu_domain& rcu, random_source& random, neighbour_options options = {});
    ~neighbour_table();  // frees what is parked
    neighbour_table(const neighbour_table&) = delete;
    neighbour_table& operator=(const neighbour_table&) = delete;

    // ---- any thread, under RCU ----
    /// The MAC address to send to, or false: the datagram must be parked. Wait-free.
    bool resolve(std::uint32_t ifindex, const ip_address& next_hop, mac_address& out) const {
        const neighbour* n = cache_.find(ifindex, next_hop);
        if (!n) return false;
        const auto link = n->link.load(std::memory_order_acquire);
        if (!is_usable(link.state)) return false;
        if (link.state == neighbour_state::stale && !n->used.load(std::memory_order_relaxed)) {
            n->used.store(true, std::memory_order_relaxed);
            stale_used_.store(true, std::memory_order_release);
        }
        out = link.mac;
        return true;
    }
    std::vector<neighbour_info> list() const;

    // ---- any thread; done by the owner's next tick ----
    /// A static entry; it may pass max_entries by a quarter, beyond that it is not made.
    void set_permanent(std::uint32_t ifindex, const ip_address& address, const mac_address& mac);
    void remove(std::uint32_t ifindex, const ip_address& address);
    /// Interfaces that a new topology lacks are forgotten without being told.
    void forget_interface(std::uint32_t ifindex);

    // ---- owner ----
    /// Keeps an IP datagram (IP header first) until its next hop is known, then transmits it as a frame, or drops it:
    /// neigh_queue_full the oldest of too many, neigh_table_full no entry to be had, neigh_failed nobody answered,
    /// tx_no_route no such interface.
    void park(packet::packet datagram, std::uint32_t ifindex, const ip_address& next_hop, const context& c,
              sender& out);
    /// An ARP frame; the ARP header begins at about.l3_offset. held: it was used or answered. Drops: arp_malformed;
    /// arp_ignored it told us nothing.
    packet::verdict arp_input(packet::packet& p, const packet::rx_info& about, const context& c, sender& out);
    /// An ICMPv6 message of neighbour discovery at about.l4_offset; its checksum is good and icmp_input has counted it.
    /// held: it was used or answered.
    /// Drops: nd_malformed RFC 4861 §7.1 says to; nd_ignored it told us nothing (router advertisements and redirects
    /// too).
    packet::verdict nd_input(packet::packet& p, const packet::rx_info& about, const context& c, sender& out);
    /// What is due. Costs a few loads when nothing is.
    void tick(const context& c, sender& out);
    /// When tick() has something to do next, as far as is known now; time_point::max() = nothing.
    time_point next_due() const;
    std::size_t size() const { return cache_.size(); }

private:
    struct request {
        enum class kind : std::uint8_t { set, remove, forget } what;
        std::uint32_t ifindex;
        ip_address address;
        mac_address mac;
    };
    void ask(const request& r);
    void serve_requests(const context& c, sender& out);
    void serve(const request& r, const context& c, sender& out);
    void adopt(const context& c, sender& out);
    void look_for_used(const context& c);

    neighbour* add(std::uint32_t ifindex, const ip_address& a, const context& c, sender& out);
    bool evict(const context& c, sender& out);
    void forget(neighbour& n, drop_reason parked, sender& out);
    void drop_parked(neighbour& n, drop_reason why, sender& out);

    void expire(neighbour& n, const context& c, sender& out);
    void solicit(neighbour& n, const context& c, sender& out);
    void start_delay(neighbour& n, const context& c);
    void fail_to_resolve(neighbour& n, const context& c, sender& out);
    void learn(neighbour& n, const neighbour_link& link, const context& c, sender& out);
    time_point due_in(neighbour_state s, time_point now) const;

    bool heard_arp(const ip_address& from, const mac_address& mac, bool create, bool confirmed, bool announced,
                   const context& c, std::uint32_t ifindex, sender& out);
    packet::verdict answer_arp(packet::packet& p, const packet::rx_info& about, const interface& in, sender& out);
    packet::verdict solicited(packet::packet& p, const packet::rx_info& about, const interface& in,
                              const ip_address& target, const mac_address* link, const context& c, sender& out);
    packet::verdict advertised(packet::packet& p, const interface& in, const ip_address& target, std::uint32_t flags,
                               const mac_address* link, const context& c, sender& out);

    const neighbour_options options_;
    neighbour_cache cache_;
    address_claims claims_;
    nanoseconds reachable_time_;
    time_point next_draw_{};  // of reachable_time_
    mutable std::atomic<bool> stale_used_{false};
    time_point next_look_{};  // for stale entries in use
    std::uint64_t topology_seen_ = 0;

    std::mutex requests_lock_;
    std::vector<request> requests_;
    std::atomic<bool> requested_{false};
};

}  // namespace skua::net
