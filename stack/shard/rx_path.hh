// The way of a packet in: Ethernet, IP, UDP, lookup, socket. All of its order stands in rx_path.cc.
#pragma once

#include <span>

#include "net/context.hh"
#include "net/icmp_input.hh"
#include "net/icmp_output.hh"
#include "net/ip_parts.hh"
#include "net/neighbour.hh"
#include "net/path_mtu.hh"
#include "net/reassembly.hh"
#include "packet/packet.hh"
#include "packet/verdict.hh"
#include "port/toeplitz.hh"
#include "shard/attachment.hh"
#include "shard/counters.hh"
#include "shard/tx_path.hh"
#include "socket/udp_socket.hh"
#include "udp/marked_flows.hh"
#include "udp/tables.hh"

namespace skua::shard {

/// Where library mode puts what is not for the stack. Frames keep their bytes from the Ethernet header on.
struct unclaimed_frames {
    rte_mbuf** frames;
    unsigned count = 0;
};

/// One per shard; used by its thread only. Works a burst in three stages: walk every packet up to UDP, look all of them
/// up, deliver them grouped by socket.
class rx_path {
public:
    rx_path(std::uint16_t shard, const attachments& ports, net::neighbour_table& neighbours,
            net::path_mtu_cache& path_mtus, udp::tables& tables, const port::toeplitz& hash,
            net::reassembler& reassembly, const net::fragment_homes& fragments, const udp::marked_flows& marks,
            net::icmp_output& icmp, tx_path& tx, rte_mempool* pool, counters& counts);

    void begin(const net::context& context) { context_ = &context; }

    /// Frames from a NIC: takes all of them. At most burst_size.
    void receive(std::span<rte_mbuf*> frames, unclaimed_frames* unclaimed = nullptr);
    /// Datagrams that this stack sent to itself, IP header first. At most burst_size.
    void receive_looped(std::span<rte_mbuf*> datagrams);
    /// Packets that other shards have handed over to this one. At most burst_size.
    void receive_handed_over(std::span<rte_mbuf*> packets);

private:
    /// What a frame was as it came, before the layers cut off what stands behind its datagram.
    struct extent {
        std::uint32_t length = 0;
        std::uint16_t segments = 0;
    };
    /// What one burst has become on its way.
    struct burst {
        unsigned count = 0;
        rte_mbuf* frames[burst_size];
        extent extents[burst_size];
        packet::rx_info infos[burst_size];
        udp::lookup_key keys[burst_size];
        udp::pcb* sockets[burst_size];
    };

    packet::verdict walk(packet::packet& p, packet::rx_info& info, packet::verdict from);
    void settle(packet::packet p, const extent& was, packet::rx_info& info, packet::verdict verdict, burst& udp,
                unclaimed_frames* unclaimed);
    void pass_whole(packet::packet p, packet::rx_info& info, burst& udp);
    void admit(packet::packet p, const extent& was, const packet::rx_info& info, burst& udp);
    std::uint16_t receiving_shard(const rte_mbuf* m, const packet::rx_info& info) const;
    std::uint32_t flow_hash(const rte_mbuf* m, const packet::rx_info& info) const;
    void look_up(burst& udp);
    void deliver(burst& udp, unclaimed_frames* unclaimed);
    void deliver_group(burst& udp, socket::udp_socket& to, std::uint32_t members);
    std::size_t deliver_copies(const packet::packet& p, const packet::rx_info& info, bool pass_on);
    void report(packet::packet p, const net::icmp_report& about);
    void no_port(packet::packet p, const packet::rx_info& info);
    static void give_back(packet::packet p, const extent& was, unclaimed_frames& to);
    void neighbour_message(packet::packet p, const packet::rx_info& info);
    void drop(packet::packet p, drop_reason why) { tx_.drop(std::move(p), why); }

    const std::uint16_t shard_;
    const attachments& ports_;
    net::neighbour_table& neighbours_;
    net::path_mtu_cache& path_mtus_;
    udp::tables& tables_;
    const port::toeplitz& hash_;
    const udp::marked_flows& marks_;
    net::icmp_output& icmp_;
    net::ip_parts ip_;
    tx_path& tx_;
    rte_mempool* const pool_;
    counters& counts_;
    const net::context* context_ = nullptr;
    net::icmp_report report_;  // filled by ICMP input, used at once
};

}  // namespace skua::shard
