// The load side of a traffic run: builds UDP frames for many flows, sends them, and takes the time of each answer.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/address.hh"
#include "traffic/histogram.hh"

namespace skua::traffic {

struct generator_options {
    std::uint32_t flows = 1024;
    std::uint32_t frame_size = 64;  // bytes without FCS, Ethernet header included
    std::uint32_t window = 256;     // closed loop: datagrams in flight
    bool open_loop = false;
    double rate = 0;  // open loop: datagrams per second, 0 = as fast as it goes
    bool ipv6 = false;
    std::uint16_t port = 0;  // the DPDK port it sends and receives on
    std::uint16_t queues = 1;
    mac_address own_mac, peer_mac;
    endpoint server;
    ip_prefix clients;  // flow addresses come out of this prefix
    /// The RX queue that the peer's NIC would choose for a flow (as its RSS does).
    std::function<std::uint16_t(const flow_key& as_server_sees_it)> queue_of;
};

struct generator_totals {
    std::uint64_t sent = 0;
    std::uint64_t refused = 0;  // more than the ring had room for: not sent
    std::uint64_t received = 0;
    std::uint64_t lost = 0;
    std::uint64_t corrupt = 0;  // answers whose bytes are not those that were sent
    std::uint64_t strange = 0;  // frames that are no answer to anything in flight
};

/// Lives on one thread. Every datagram carries the number of a slot; a slot is in flight until its answer comes or a
/// second has gone by.
class generator {
public:
    /// Throws std::invalid_argument if the frame size cannot hold the headers and a slot number.
    generator(const generator_options& options, rte_mempool* pool, std::uint64_t tsc_hz);
    ~generator();

    /// Receives answers and, if `may_send`, sends what the window or the rate allows. Returns packets moved.
    unsigned poll(std::uint64_t tsc, bool may_send);
    bool all_answered() const { return in_flight_ == 0; }
    /// Gives up on everything in flight: counts it as lost.
    void give_up();

    const generator_totals& totals() const { return totals_; }
    const histogram& round_trips() const { return round_trips_; }  // in TSC cycles
    static std::uint32_t minimum_frame(bool ipv6);

private:
    struct flow {
        std::uint32_t header;  // index into headers_
        std::uint16_t queue;
        std::uint16_t partial_sum;  // complement of the UDP checksum with slot number 0
    };
    struct slot {
        std::uint64_t sent_at = 0;  // TSC; 0 = free
        std::uint32_t flow = 0;
    };
    unsigned receive(std::uint64_t tsc);
    void receive_one(const rte_mbuf* m, std::uint64_t tsc);
    unsigned send(std::uint64_t tsc);
    void take_back(std::span<rte_mbuf*> refused);
    std::uint16_t slot_of(const rte_mbuf* frame) const;
    unsigned allowance(std::uint64_t tsc);
    void expire(std::uint64_t tsc);
    void fill(rte_mbuf* m, std::uint32_t slot_number);
    bool intact(const std::byte* frame, std::uint32_t length, const flow& f) const;

    const generator_options options_;
    rte_mempool* pool_;
    const std::uint64_t hz_;
    std::uint32_t header_length_;  // Ethernet + IP + UDP
    std::vector<flow> flows_;
    std::vector<std::byte> headers_;  // header_length_ bytes per flow
    std::vector<std::byte> pattern_;  // payload behind the slot number
    std::vector<slot> slots_;
    std::vector<std::uint16_t> free_slots_;
    std::vector<std::vector<rte_mbuf*>> batches_;  // per queue
    std::uint32_t next_flow_ = 0;
    std::uint32_t in_flight_ = 0;
    std::uint32_t expire_at_ = 0;  // slot that is looked at next for its time-out
    std::uint64_t started_ = 0;
    std::uint64_t scheduled_ = 0;  // open loop with a rate: sent or given up by now
    generator_totals totals_;
    histogram round_trips_;
};

}  // namespace skua::traffic
