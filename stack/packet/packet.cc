// Packets over several segments: the paths that are seldom taken.
#include "packet/packet.hh"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace skua::packet {

int meta_offset = -1;

void register_meta() {
    static const rte_mbuf_dynfield field = {"skua_packet_meta", sizeof(meta), alignof(meta), 0};
    meta_offset = rte_mbuf_dynfield_register(&field);
    if (meta_offset < 0) throw std::runtime_error("no room left in the dynamic field area of mbufs");
}

void packet::truncate(std::uint32_t n) {
    std::uint32_t left = n;
    rte_mbuf* last = mbuf_;
    std::uint16_t segments = 1;
    while (left > last->data_len && last->next) {
        left -= last->data_len;
        last = last->next;
        ++segments;
    }
    last->data_len = static_cast<std::uint16_t>(std::min<std::uint32_t>(left, last->data_len));
    rte_pktmbuf_free(std::exchange(last->next, nullptr));
    mbuf_->nb_segs = segments;
    mbuf_->pkt_len = n;
}

bool packet::read(std::uint32_t offset, std::span<std::byte> out) const {
    if (std::uint64_t(offset) + out.size() > size()) return false;
    if (out.empty()) return true;  // rte_pktmbuf_read would walk past the last segment
    const void* at = rte_pktmbuf_read(mbuf_, offset, static_cast<std::uint32_t>(out.size()), out.data());
    if (at == nullptr) return false;
    if (at != out.data()) std::memcpy(out.data(), at, out.size());
    return true;
}

bool make_headers_contiguous(packet& p) {
    rte_mbuf* first = p.get();
    const std::uint32_t want = std::min<std::uint32_t>(first->pkt_len, header_window);
    if (first->data_len >= want) return true;
    const std::uint32_t missing = want - first->data_len;
    // A shared or borrowed buffer must not be written.
    if (!RTE_MBUF_DIRECT(first) || rte_mbuf_refcnt_read(first) != 1 || rte_pktmbuf_tailroom(first) < missing)
        return false;
    std::byte* to = rte_pktmbuf_mtod_offset(first, std::byte*, first->data_len);
    std::uint32_t left = missing;
    while (left > 0) {
        rte_mbuf* next = first->next;
        const auto n = static_cast<std::uint16_t>(std::min<std::uint32_t>(left, next->data_len));
        std::memcpy(to, rte_pktmbuf_mtod(next, std::byte*), n);
        to += n;
        left -= n;
        next->data_off = static_cast<std::uint16_t>(next->data_off + n);
        next->data_len = static_cast<std::uint16_t>(next->data_len - n);
        if (next->data_len == 0) {
            first->next = std::exchange(next->next, nullptr);
            next->nb_segs = 1;
            first->nb_segs--;
            rte_pktmbuf_free_seg(next);
        }
    }
    first->data_len = static_cast<std::uint16_t>(first->data_len + missing);
    return true;
}

packet allocate(rte_mempool* pool, std::uint32_t length, std::uint16_t headroom) {
    packet p(rte_pktmbuf_alloc(pool));
    if (!p) return p;
    rte_mbuf* last = p.get();
    last->data_off = std::min<std::uint16_t>(headroom, last->buf_len);
    for (std::uint32_t left = length;;) {
        const std::uint32_t room = rte_pktmbuf_tailroom(last);
        last->data_len = static_cast<std::uint16_t>(std::min(left, room));
        left -= last->data_len;
        if (left == 0) break;
        rte_mbuf* next = rte_pktmbuf_alloc(pool);
        if (next == nullptr) return packet();
        next->data_off = 0;  // only the first segment carries headers
        last->next = next;
        p.get()->nb_segs++;
        last = next;
    }
    p.get()->pkt_len = length;
    return p;
}

void write(packet& p, std::uint32_t offset, std::span<const std::byte> data) {
    for (rte_mbuf* m = p.get(); m && !data.empty(); m = m->next) {
        if (offset >= m->data_len) {
            offset -= m->data_len;
            continue;
        }
        const std::size_t n = std::min<std::size_t>(data.size(), m->data_len - offset);
        std::memcpy(rte_pktmbuf_mtod_offset(m, std::byte*, offset), data.data(), n);
        data = data.subspan(n);
        offset = 0;
    }
}

}  // namespace skua::packet
