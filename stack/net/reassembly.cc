// The table of datagrams that are not whole yet.
#include "net/reassembly.hh"

#include <algorithm>
#include <bit>
#include <utility>

#include "net/fragment_chain.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"

namespace skua::net {

using packet::step;
using packet::verdict;

namespace {

constexpr std::uint32_t longest = 65535;  // IPv4: total length; IPv6: payload length
constexpr unsigned expired_per_tick = 32;

/// Memory that a packet keeps from being used: a fragment of 8 bytes holds a whole buffer.
std::uint32_t buffers_of(const packet::packet& p) {
    std::uint32_t n = 0;
    for (const rte_mbuf* m = p.get(); m; m = m->next) n += static_cast<std::uint32_t>(sizeof *m) + m->buf_len;
    return n;
}

/// Calls word(index, mask) for each 64-bit word of the bits [from, to).
template <class Word>
void for_words(std::uint32_t from, std::uint32_t to, Word&& word) {
    while (from < to) {
        const std::uint32_t low = from % 64;
        const std::uint32_t n = std::min(64 - low, to - from);
        word(from / 64, (~0ull >> (64 - n)) << low);
        from += n;
    }
}

constexpr std::uint32_t blocks_up_to(std::uint32_t bytes) { return (bytes + 7) / 8; }

/// Bytes that stand before the fragment's payload in the whole datagram and count in its length field.
std::uint32_t counted_headers(const packet::rx_info& info) {
    const std::uint32_t all = info.l4_offset - info.l3_offset;
    if (info.family == ip_family::v4) return all;
    return all - static_cast<std::uint32_t>(sizeof(wire::ipv6_header) + sizeof(wire::ipv6_fragment_header));
}

std::uint8_t ecn_of(const packet::packet& p, const packet::rx_info& info) {
    if (info.family == ip_family::v4) return p.header<wire::ipv4_header>(info.l3_offset)->tos & 3;
    return p.header<wire::ipv6_header>(info.l3_offset)->traffic_class() & 3;
}

drop_reason check_alone(const packet::rx_info& info, const fragment_fields& f) {
    if (info.l4_length == 0 || (f.more && info.l4_length % 8 != 0)) return drop_reason::frag_malformed;
    if (counted_headers(info) + f.offset + info.l4_length > longest) return drop_reason::frag_too_large;
    return drop_reason::none;
}

mib of_family(bool v4, mib four, mib six) { return v4 ? four : six; }

}  // namespace

reassembler::reassembler(sender& out, icmp_output& errors, random_source& random, const reassembly_options& options)
    : options_(options),
      out_(out),
      errors_(errors),
      hash_(random),
      entries_(std::max(options.max_datagrams, 1u)),
      slots_(std::bit_ceil(entries_.size() * 2)) {
    for (entry& e : entries_) e.next_in_slot = std::exchange(free_, &e);
}

reassembler::~reassembler() {
    for (age_list* ages : {&v4_, &v6_})
        for (entry* e = ages->oldest; e; e = e->newer)
            for (rte_mbuf* m = e->first; m;) rte_pktmbuf_free(std::exchange(m, packet::meta_of(m).link));
}

reassembler::entry*& reassembler::slot_of(const ip_address& source, const ip_address& destination,
                                          std::uint32_t identification) {
    const flow_key key{destination, source, static_cast<std::uint16_t>(identification >> 16),
                       static_cast<std::uint16_t>(identification)};
    return slots_[hash_(key) & (slots_.size() - 1)];
}

bool reassembler::same(const entry& e, const packet::rx_info& info, const fragment_fields& f) {
    return e.identification == f.identification && e.source == info.flow.remote && e.destination == info.flow.local &&
           e.ifindex == info.ifindex && (info.family == ip_family::v6 || e.protocol == info.protocol);
}

reassembler::entry* reassembler::find(const packet::rx_info& info, const fragment_fields& f) {
    entry* e = slot_of(info.flow.remote, info.flow.local, f.identification);
    while (e && !same(*e, info, f)) e = e->next_in_slot;
    return e;
}

reassembler::entry& reassembler::begin(const packet::rx_info& info, const fragment_fields& f, const context& ctx) {
    if (free_ == nullptr) evict(*oldest(), ctx);
    entry& e = *std::exchange(free_, free_->next_in_slot);
    e = {};
    e.source = info.flow.remote;
    e.destination = info.flow.local;
    e.identification = f.identification;
    e.ifindex = info.ifindex;
    e.protocol = info.protocol;
    e.in_order = true;
    e.begun = ctx.now;
    entry*& slot = slot_of(e.source, e.destination, e.identification);
    e.next_in_slot = std::exchange(slot, &e);
    age_list& ages = ages_of(e);
    e.older = std::exchange(ages.newest, &e);
    (e.older ? e.older->newer : ages.oldest) = &e;
    ++size_;
    return e;
}

reassembler::entry* reassembler::oldest() const {
    if (!v4_.oldest || !v6_.oldest) return v4_.oldest ? v4_.oldest : v6_.oldest;
    return v4_.oldest->begun <= v6_.oldest->begun ? v4_.oldest : v6_.oldest;
}

/// Takes an entry, which holds no fragments any more, out of the table.
void reassembler::remove(entry& e) {
    entry** at = &slot_of(e.source, e.destination, e.identification);
    while (*at != &e) at = &(*at)->next_in_slot;
    *at = e.next_in_slot;
    age_list& ages = ages_of(e);
    (e.older ? e.older->newer : ages.oldest) = e.newer;
    (e.newer ? e.newer->older : ages.newest) = e.older;
    e.next_in_slot = std::exchange(free_, &e);
    --size_;
}

void reassembler::drop_fragments(entry& e, drop_reason why) {
    for (rte_mbuf* m = std::exchange(e.first, nullptr); m;)
        out_.drop(packet::packet(std::exchange(m, packet::meta_of(m).link)), why);
    e.last = e.head = nullptr;
    bytes_ -= std::exchange(e.held, 0u);
}

verdict reassembler::refuse(entry& e, drop_reason why, const context& ctx) {
    ctx.mibs.add(of_family(e.source.is_v4(), mib::ip_reasm_fails, mib::ip6_reasm_fails));
    drop_fragments(e, why);
    e.refused = why;
    return why;
}

void reassembler::evict(entry& e, const context& ctx) {
    if (e.refused == drop_reason::none) refuse(e, drop_reason::frag_table_full, ctx);
    remove(e);
}

void reassembler::expire(entry& e, const context& ctx) {
    if (e.refused == drop_reason::none) {
        const bool v4 = e.source.is_v4();
        ctx.mibs.add(of_family(v4, mib::ip_reasm_timeout, mib::ip6_reasm_timeout));
        if (e.head) {
            packet::packet first(e.head);
            errors_.send_error(first, e.head_info, reassembly_time_exceeded(e.head_info.family), ctx);
            (void)first.release();
        }
        refuse(e, drop_reason::frag_timeout, ctx);
    }
    remove(e);
}

void reassembler::tick(const context& ctx) {
    unsigned left = expired_per_tick;
    for (age_list* ages : {&v4_, &v6_})
        while (left > 0 && ages->oldest && ctx.now - ages->oldest->begun >= timeout_of(*ages->oldest)) {
            expire(*ages->oldest, ctx);
            --left;
        }
}

/// False if `wanted` itself is the oldest there is.
bool reassembler::make_room(const entry& wanted, std::uint32_t cost, const context& ctx) {
    while (bytes_ + cost > options_.max_bytes) {
        entry* e = oldest();
        if (e == &wanted) return false;
        evict(*e, ctx);
    }
    return true;
}

verdict reassembler::add(packet::packet& p, packet::rx_info& info, const fragment_fields& f, const context& ctx) {
    const bool v4 = info.family == ip_family::v4;
    ctx.mibs.add(of_family(v4, mib::ip_reasm_reqds, mib::ip6_reasm_reqds));
    if (const drop_reason bad = check_alone(info, f); bad != drop_reason::none) {
        ctx.mibs.add(of_family(v4, mib::ip_reasm_fails, mib::ip6_reasm_fails));
        return bad;
    }
    entry* found = find(info, f);
    // Found past its time, but not yet by tick().
    if (found && ctx.now - found->begun >= timeout_of(*found)) {
        expire(*found, ctx);
        found = nullptr;
    }
    entry& e = found ? *found : begin(info, f, ctx);
    if (e.refused != drop_reason::none) return e.refused;

    const std::uint32_t end = f.offset + info.l4_length;
    // Bytes beyond the end, or two ends (Linux: ip_frag_queue).
    if (e.total != 0 ? end > e.total || (!f.more && end != e.total) : !f.more && end < e.end)
        return refuse(e, drop_reason::frag_malformed, ctx);
    const std::uint32_t from_block = f.offset / 8, to_block = blocks_up_to(end);
    std::uint32_t known = 0;
    for_words(from_block, to_block, [&](std::uint32_t i, std::uint64_t mask) {
        known += static_cast<std::uint32_t>(std::popcount(e.arrived[i] & mask));
    });
    if (known == to_block - from_block) return drop_reason::frag_overlap;
    if (known != 0) return refuse(e, drop_reason::frag_overlap, ctx);
    if (e.fragments == options_.max_fragments) return refuse(e, drop_reason::frag_table_full, ctx);
    if (!make_room(e, buffers_of(p), ctx)) {
        evict(e, ctx);
        return drop_reason::frag_table_full;
    }
    take(e, p, info, f);
    if (e.total == 0 || e.blocks != blocks_up_to(e.total)) return step::held;
    return complete(e, p, info, ctx);
}

void reassembler::take(entry& e, packet::packet& p, const packet::rx_info& info, const fragment_fields& f) {
    const std::uint32_t cost = buffers_of(p);
    const std::uint32_t end = f.offset + info.l4_length;
    for_words(f.offset / 8, blocks_up_to(end), [&](std::uint32_t i, std::uint64_t mask) { e.arrived[i] |= mask; });
    e.blocks += blocks_up_to(end) - f.offset / 8;
    e.end = std::max(e.end, end);
    if (!f.more) e.total = end;
    e.ecn_seen = static_cast<std::uint8_t>(e.ecn_seen | 1u << ecn_of(p, info));
    e.in_order = e.in_order && (e.last == nullptr || packet::meta_of(e.last).l4_offset < f.offset);
    ++e.fragments;
    e.held += cost;
    bytes_ += cost;

    if (f.offset == 0) {
        e.head = p.get();
        e.head_info = info;
        e.named_at = f.named_at;
    } else {
        p.trim_front(info.l4_offset);
    }
    rte_mbuf* m = p.release();
    packet::meta_of(m).link = nullptr;
    packet::meta_of(m).l4_offset = static_cast<std::uint16_t>(f.offset);
    (e.last ? packet::meta_of(e.last).link : e.first) = m;
    e.last = m;
}

/// Everything is there. What still stands against the datagram drops it here, so the last fragment counts as held.
verdict reassembler::complete(entry& e, packet::packet& p, packet::rx_info& info, const context& ctx) {
    const bool v4 = e.source.is_v4();
    std::uint32_t segments = 0;
    for (const rte_mbuf* m = e.first; m; m = packet::meta_of(const_cast<rte_mbuf*>(m)).link) segments += m->nb_segs;
    const std::uint32_t length = counted_headers(e.head_info) + e.total;
    packet::packet head(e.head);
    const auto ecn = joint_ecn(e.ecn_seen, ecn_of(head, e.head_info));
    (void)head.release();
    if (length > longest || segments > RTE_MBUF_MAX_NB_SEGS || !ecn) {
        refuse(e, ecn ? drop_reason::frag_too_large : drop_reason::frag_malformed, ctx);
        return step::held;
    }

    p = join_fragments(e.in_order ? e.first : sort_fragments(e.first));
    info = e.head_info;
    info.l4_length = e.total;
    info.reassembled = true;
    bytes_ -= e.held;
    e.first = e.last = nullptr;
    if (v4) restore_ipv4_header(p, info, e.total, *ecn);
    else restore_ipv6_header(p, info, e.total, *ecn, e.named_at);
    remove(e);
    p.get()->ol_flags &= ~(RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_RSS_HASH);
    ctx.mibs.add(of_family(v4, mib::ip_reasm_oks, mib::ip6_reasm_oks));
    if (!packet::make_headers_contiguous(p)) return drop_reason::eth_headers_split;
    return v4 ? step::ipv4 : step::ipv6;
}

}  // namespace skua::net
