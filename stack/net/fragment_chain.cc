// Sorting, joining and repairing headers.
#include "net/fragment_chain.hh"

#include <array>
#include <cstring>

#include "wire/checksum.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"

namespace skua::net {

namespace {

constexpr std::uint8_t ecn_ce = 3;

/// Two sorted lists into one.
rte_mbuf* merge(rte_mbuf* a, rte_mbuf* b) {
    rte_mbuf* first = nullptr;
    rte_mbuf** end = &first;
    while (a && b) {
        rte_mbuf*& smaller = packet::meta_of(a).l4_offset <= packet::meta_of(b).l4_offset ? a : b;
        *end = smaller;
        end = &packet::meta_of(smaller).link;
        smaller = *end;
    }
    *end = a ? a : b;
    return first;
}

}  // namespace

rte_mbuf* sort_fragments(rte_mbuf* first) {
    // runs[i] is nothing or a sorted list of 2^i fragments; a datagram has no more than 2^13.
    std::array<rte_mbuf*, 16> runs{};
    while (first) {
        rte_mbuf* run = std::exchange(first, packet::meta_of(first).link);
        packet::meta_of(run).link = nullptr;
        std::size_t i = 0;
        for (; runs[i]; i++) run = merge(std::exchange(runs[i], nullptr), run);
        runs[i] = run;
    }
    rte_mbuf* all = nullptr;
    for (rte_mbuf* run : runs) all = merge(run, all);
    return all;
}

packet::packet join_fragments(rte_mbuf* first) {
    // rte_pktmbuf_chain looks for the last segment each time: too slow for a thousand fragments.
    rte_mbuf* tail = rte_pktmbuf_lastseg(first);
    for (rte_mbuf* m = std::exchange(packet::meta_of(first).link, nullptr); m;) {
        rte_mbuf* next = packet::meta_of(m).link;
        first->pkt_len += m->pkt_len;
        first->nb_segs = static_cast<std::uint16_t>(first->nb_segs + m->nb_segs);
        tail->next = m;
        tail = rte_pktmbuf_lastseg(m);
        m = next;
    }
    return packet::packet(first);
}

std::optional<std::uint8_t> joint_ecn(std::uint8_t seen, std::uint8_t first) {
    constexpr std::uint8_t not_capable = 1;
    if ((seen & not_capable) && seen != not_capable) return std::nullopt;
    return seen & (1 << ecn_ce) ? ecn_ce : first;
}

void restore_ipv4_header(packet::packet& whole, const packet::rx_info& info, std::uint32_t payload, std::uint8_t ecn) {
    auto* h = whole.header<wire::ipv4_header>(info.l3_offset);
    h->total_length = be16(static_cast<std::uint16_t>(h->header_length() + payload));
    h->flags_fragment = {};
    h->tos = static_cast<std::uint8_t>((h->tos & 0xfc) | ecn);
    wire::set_ipv4_checksum(*h);
}

void restore_ipv6_header(packet::packet& whole, packet::rx_info& info, std::uint32_t payload, std::uint8_t ecn,
                         std::uint16_t named_at) {
    constexpr std::uint16_t gone = sizeof(wire::ipv6_fragment_header);
    std::byte* frame = whole.front().data();
    // The headers move up over the fragment header; counted from the new front, they stay where they were.
    std::memmove(frame + gone, frame, info.l4_offset - gone);
    whole.trim_front(gone);
    info.l4_offset = static_cast<std::uint16_t>(info.l4_offset - gone);
    *whole.header<std::uint8_t>(named_at) = info.protocol;
    auto* h = whole.header<wire::ipv6_header>(info.l3_offset);
    h->payload_length = be16(static_cast<std::uint16_t>(info.l4_offset - info.l3_offset - sizeof *h + payload));
    h->version_class_flow = be32((h->version_class_flow.host() & ~(3u << 20)) | std::uint32_t(ecn) << 20);
}

}  // namespace skua::net
