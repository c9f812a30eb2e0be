// Fragments by copying. librte_ip_frag is not used: it gives IPv6 fragments the identification 0, which anyone can
// guess (RFC 7739), and wants room for all fragments of a datagram at once.
#include "net/fragmentation.hh"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "net/ip_output.hh"
#include "wire/checksum.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"

namespace skua::net {

namespace {

/// A place in the bytes of a packet that moves on.
class reader {
public:
    reader(const packet::packet& p, std::uint32_t offset) : segment_(p.get()), offset_(offset) {}
    /// Copies the next n bytes to `to`, from `at` on; the packet must have that many left.
    void copy(packet::packet& to, std::uint32_t at, std::uint32_t n) {
        while (n > 0) {
            if (offset_ >= segment_->data_len) {
                offset_ -= segment_->data_len;
                segment_ = segment_->next;
                continue;
            }
            const std::uint32_t here = std::min(n, segment_->data_len - offset_);
            packet::write(to, at, {rte_pktmbuf_mtod_offset(segment_, const std::byte*, offset_), here});
            at += here;
            offset_ += here;
            n -= here;
        }
    }

private:
    const rte_mbuf* segment_;
    std::uint32_t offset_;
};

/// What differs between the families.
struct cutting {
    bool v6;
    std::uint32_t old_header;  // bytes of the datagram's header
    std::uint32_t new_header;  // bytes of a fragment's
    std::uint32_t step;        // payload bytes of all fragments but the last
};

void write_ipv4_header(packet::packet& f, const packet::packet& datagram, const cutting& c, std::uint32_t offset,
                       bool more) {
    std::memcpy(f.front().data(), datagram.front().data(), c.new_header);
    auto* h = f.header<wire::ipv4_header>(0);
    h->total_length = be16(static_cast<std::uint16_t>(f.size()));
    h->flags_fragment = be16(static_cast<std::uint16_t>(offset / 8 | (more ? 0x2000u : 0u)));
    wire::set_ipv4_checksum(*h);
}

void write_ipv6_header(packet::packet& f, const packet::packet& datagram, std::uint32_t offset, bool more,
                       std::uint32_t id) {
    auto* h = f.header<wire::ipv6_header>(0);
    *h = *datagram.header<wire::ipv6_header>(0);
    auto* fragment = f.header<wire::ipv6_fragment_header>(sizeof *h);
    *fragment = {h->next_header, 0, be16(static_cast<std::uint16_t>(offset | (more ? 1u : 0u))), be32(id)};
    h->next_header = IPPROTO_FRAGMENT;
    h->payload_length = be16(static_cast<std::uint16_t>(f.size() - sizeof *h));
}

/// False if the datagram may not be cut so.
bool plan(const packet::packet& datagram, std::uint32_t mtu, cutting& c) {
    const auto* v4 = datagram.header<wire::ipv4_header>(0);
    if (v4 == nullptr) return false;
    if (v4->version() == 4) {
        c.v6 = false;
        c.old_header = c.new_header = v4->header_length();
        if (v4->dont_fragment() || mtu < wire::ipv4_minimum_mtu || datagram.front().size() < c.old_header) return false;
    } else {
        c.v6 = true;
        c.old_header = sizeof(wire::ipv6_header);
        c.new_header = c.old_header + sizeof(wire::ipv6_fragment_header);
        if (mtu < wire::ipv6_minimum_mtu || datagram.front().size() < c.old_header) return false;
    }
    c.step = (mtu - c.new_header) & ~7u;
    return true;
}

}  // namespace

drop_reason fragment(packet::packet& datagram, std::uint32_t mtu, std::uint32_t identification, sender& from,
                     fragment_sink& to, counter_set<mib>& mibs) {
    cutting c{};
    const bool possible = plan(datagram, mtu, c);
    const auto fails = c.v6 ? mib::ip6_frag_fails : mib::ip_frag_fails;
    if (!possible) {
        mibs.add(fails);
        return drop_reason::tx_too_big;
    }
    finish_checksums(datagram, {});

    const std::uint32_t payload = datagram.size() - c.old_header;
    reader bytes(datagram, c.old_header);
    for (std::uint32_t offset = 0; offset < payload;) {
        const std::uint32_t n = std::min(c.step, payload - offset);
        const bool more = offset + n < payload;
        packet::packet f = from.allocate(c.new_header + n);
        if (!f) {
            mibs.add(fails);
            return drop_reason::no_mbuf;
        }
        f.info() = {};
        if (c.v6) write_ipv6_header(f, datagram, offset, more, identification);
        else write_ipv4_header(f, datagram, c, offset, more);
        bytes.copy(f, c.new_header, n);
        mibs.add(c.v6 ? mib::ip6_frag_creates : mib::ip_frag_creates);
        to.take(std::move(f));
        offset += n;
    }
    mibs.add(c.v6 ? mib::ip6_frag_oks : mib::ip_frag_oks);
    return drop_reason::none;
}

}  // namespace skua::net
