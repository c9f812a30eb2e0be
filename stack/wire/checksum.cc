// Checksums; the summing of what lies in one piece is DPDK's.
#include "wire/checksum.hh"

#include <rte_ip.h>
#include <rte_mbuf.h>

#include <algorithm>

namespace skua::wire {

namespace {

std::uint16_t fold(std::uint64_t sum) {
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

}  // namespace

void checksum_sum::add(std::span<const std::byte> bytes) { sum_ += rte_raw_cksum(bytes.data(), bytes.size()); }

void checksum_sum::add(const rte_mbuf* m, std::uint32_t offset, std::uint32_t length) {
    // Not rte_raw_cksum_mbuf: for a segment at an odd place it drops the carries of the segment's sum.
    for (bool odd = false; length > 0; m = m->next) {
        if (offset >= m->data_len) {
            offset -= m->data_len;
            continue;
        }
        const std::uint32_t n = std::min<std::uint32_t>(length, m->data_len - offset);
        const std::uint16_t part = rte_raw_cksum(rte_pktmbuf_mtod_offset(m, const char*, offset), n);
        sum_ += odd ? __builtin_bswap16(part) : part;  // RFC 1071 §2(B)
        odd ^= n & 1;
        length -= n;
        offset = 0;
    }
}

void checksum_sum::add_pseudo_header(const ip_address& source, const ip_address& destination, std::uint8_t protocol,
                                     std::uint32_t length) {
    // One case for both families: the ffff before a mapped address is the other zero of one's complement.
    for (const ip_address* a : {&source, &destination})
        for (const std::uint64_t half : {a->high(), a->low_raw()}) sum_ += (half >> 32) + (half & 0xffffffff);
    add_word(protocol);
    add_word(static_cast<std::uint16_t>(length >> 16));
    add_word(static_cast<std::uint16_t>(length));
}

be16 checksum_sum::finish() const { return be16::from_raw(static_cast<std::uint16_t>(~fold(sum_))); }
be16 checksum_sum::folded() const { return be16::from_raw(fold(sum_)); }

bool ipv4_checksum_good(const ipv4_header& h) { return rte_raw_cksum(&h, h.header_length()) == 0xffff; }

void set_ipv4_checksum(ipv4_header& h) {
    h.checksum = {};
    h.checksum = be16::from_raw(static_cast<std::uint16_t>(~rte_raw_cksum(&h, h.header_length())));
}

be16 checksum_adjusted(be16 checksum, be16 was, be16 is) {
    const std::uint32_t sum =
        static_cast<std::uint16_t>(~checksum.raw()) + static_cast<std::uint16_t>(~was.raw()) + std::uint32_t(is.raw());
    return be16::from_raw(static_cast<std::uint16_t>(~fold(sum)));
}

}  // namespace skua::wire
