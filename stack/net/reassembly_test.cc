// Fragments in any order, overlapping, impossible, too many, too late.
#include "net/reassembly.hh"

#include <algorithm>
#include <numeric>

#include "net/ip_test_support.hh"

namespace skua::net::test {
namespace {

using packet::step;
using packet::verdict;
using std::chrono::seconds;
using wire::ether_type;

/// Every test in both families, which must not differ.
class reassembly_test : public ip_test, public testing::WithParamInterface<bool> {
protected:
    bool v4() const { return GetParam(); }
    static constexpr std::uint32_t id = 77;

    std::string frame(std::size_t offset, const std::string& data, bool more, std::uint32_t identification = id,
                      std::uint8_t tos = 0, const char* source = nullptr) const {
        if (v4()) {
            ipv4_spec s{.tos = tos, .identification = static_cast<std::uint16_t>(identification)};
            s.flags_fragment = static_cast<std::uint16_t>(offset / 8 | (more ? 0x2000 : 0));
            if (source) s.source = source;
            return ethernet(our_mac, ether_type::ipv4, ipv4(s, data));
        }
        ipv6_spec s{.next_header = IPPROTO_FRAGMENT, .traffic_class = tos};
        if (source) s.source = source;
        return ethernet(
            our_mac, ether_type::ipv6,
            ipv6(s, fragment_header(IPPROTO_UDP, static_cast<std::uint32_t>(offset), more, identification) + data));
    }
    verdict give(const std::string& f) {
        last = make(f);
        const verdict v = receive(last);
        EXPECT_EQ(v.next == step::held, !last);
        return v;
    }
    /// To another reassembler than the usual.
    verdict give_to(reassembler& r, const std::string& f) {
        last = make(f);
        info = {};
        info.l3_offset = 14;
        info.ifindex = p0;
        const ip_parts with{r, errors};
        return v4() ? ipv4_input(last, info, ctx(), with) : ipv6_input(last, info, ctx(), with);
    }
    /// Bytes [from, to) of `whole`, which is 8 bytes of UDP header and a pattern.
    verdict piece(std::size_t from, std::size_t to, bool more, std::uint32_t identification = id) {
        return give(frame(from, whole.substr(from, to - from), more, identification));
    }
    std::uint64_t fails() const { return mibs.get(v4() ? mib::ip_reasm_fails : mib::ip6_reasm_fails); }
    std::uint64_t oks() const { return mibs.get(v4() ? mib::ip_reasm_oks : mib::ip6_reasm_oks); }
    std::uint64_t timeouts() const { return mibs.get(v4() ? mib::ip_reasm_timeout : mib::ip6_reasm_timeout); }
    std::size_t dropped(drop_reason why) const {
        return static_cast<std::size_t>(
            std::count_if(out.drops.begin(), out.drops.end(), [why](auto& d) { return d.why == why; }));
    }
    nanoseconds timeout() const { return v4() ? seconds(30) : seconds(60); }
    const std::string whole = udp(1, 2, pattern(292));  // 300 bytes
    const verdict held = step::held;
    const verdict overlap = drop_reason::frag_overlap;
};

TEST_P(reassembly_test, puts_a_datagram_together) {
    EXPECT_EQ(piece(0, 104, true), held);
    EXPECT_EQ(fragments.size(), 1u);
    EXPECT_GT(fragments.bytes(), 0u);
    EXPECT_EQ(piece(104, 200, true), held);
    EXPECT_EQ(piece(200, 300, false), verdict(step::udp));
    EXPECT_EQ(payload_seen(), whole);
    EXPECT_EQ(info.flow.local, ip(v4() ? "198.18.0.1" : "2001:db8::1"));
    EXPECT_EQ(info.protocol, IPPROTO_UDP);
    EXPECT_EQ(info.l4_offset, v4() ? 34 : 54);
    EXPECT_EQ(last.size(), info.l4_offset + 300u);
    if (v4()) {
        const auto h = header_of<wire::ipv4_header>(last, 14);
        EXPECT_EQ(h.total_length.host(), 320);
        EXPECT_FALSE(h.is_fragment());
        EXPECT_TRUE(wire::ipv4_checksum_good(h));
    } else {
        const auto h = header_of<wire::ipv6_header>(last, 14);
        EXPECT_EQ(h.payload_length.host(), 300);
        EXPECT_EQ(h.next_header, IPPROTO_UDP);
    }
    EXPECT_EQ(mibs.get(v4() ? mib::ip_reasm_reqds : mib::ip6_reasm_reqds), 3u);
    EXPECT_EQ(oks(), 1u);
    EXPECT_EQ(fails(), 0u);
    EXPECT_EQ(fragments.size(), 0u);
    EXPECT_EQ(fragments.bytes(), 0u);
}

TEST_P(reassembly_test, every_order_of_arrival_is_the_same) {
    std::vector<std::size_t> order{0, 1, 2, 3, 4};
    do {
        verdict v = held;
        for (std::size_t i : order) {
            EXPECT_EQ(v, held);
            v = piece(i * 64, std::min<std::size_t>((i + 1) * 64, 300), i < 4);
        }
        ASSERT_EQ(v, verdict(step::udp));
        ASSERT_EQ(payload_seen(), whole);
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_P(reassembly_test, datagrams_do_not_mix) {
    const char* other = v4() ? "198.18.0.3" : "2001:db8::3";
    EXPECT_EQ(piece(0, 104, true), held);
    EXPECT_EQ(piece(104, 300, false, id + 1), held);
    EXPECT_EQ(give(frame(104, whole.substr(104), false, id, 0, other)), held);
    EXPECT_EQ(fragments.size(), 3u);
    EXPECT_EQ(piece(104, 300, false), verdict(step::udp));
    EXPECT_EQ(piece(0, 104, true, id + 1), verdict(step::udp));
    EXPECT_EQ(give(frame(0, whole.substr(0, 104), true, id, 0, other)), verdict(step::udp));
}

TEST_P(reassembly_test, forgets_what_the_nic_said) {
    const auto marked = [this](std::size_t from, std::size_t to, bool more) {
        last = make(frame(from, whole.substr(from, to - from), more));
        last.get()->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
        return receive(last);
    };
    EXPECT_EQ(marked(104, 300, false), held);
    EXPECT_EQ(marked(0, 104, true), verdict(step::udp));
    EXPECT_EQ(last.get()->ol_flags, RTE_MBUF_F_RX_IP_CKSUM_GOOD);
}

TEST_P(reassembly_test, a_short_first_fragment_is_filled_up) {
    EXPECT_EQ(piece(8, 300, false), held);
    EXPECT_EQ(piece(0, 8, true), verdict(step::udp));
    EXPECT_GE(last.front().size(), packet::header_window);
    EXPECT_EQ(payload_seen(), whole);
}

TEST_P(reassembly_test, headers_must_find_room_in_the_first_segment) {
    EXPECT_EQ(piece(8, 300, false), held);
    last = make_exact(pool.get(), frame(0, whole.substr(0, 8), true));
    EXPECT_EQ(receive(last), verdict(drop_reason::eth_headers_split));
}

TEST_P(reassembly_test, ignores_duplicates) {
    EXPECT_EQ(piece(0, 104, true), held);
    const std::size_t bytes = fragments.bytes();
    EXPECT_EQ(piece(0, 104, true), overlap);
    EXPECT_EQ(piece(8, 96, true), overlap);  // inside of what is there
    EXPECT_EQ(fragments.bytes(), bytes);
    EXPECT_EQ(piece(200, 300, false), held);
    EXPECT_EQ(piece(200, 300, false), overlap);
    EXPECT_EQ(piece(104, 200, true), verdict(step::udp));
    EXPECT_EQ(payload_seen(), whole);
    EXPECT_EQ(fails(), 0u);
}

TEST_P(reassembly_test, the_first_to_come_stays) {
    EXPECT_EQ(piece(0, 104, true), held);
    EXPECT_EQ(give(frame(0, std::string(104, 'E'), true)), overlap);
    EXPECT_EQ(piece(104, 300, false), verdict(step::udp));
    EXPECT_EQ(payload_seen(), whole);
}

TEST_P(reassembly_test, refuses_a_datagram_with_any_other_overlap) {
    struct range {
        std::size_t from, to;
        bool more;
    };
    std::uint32_t n = id;
    for (const range& r : {range{40, 112, true}, range{160, 208, true}, range{96, 208, true}, range{64, 240, true},
                           range{104, 300, false}, range{0, 104, true}, range{192, 300, false}, range{0, 296, true}}) {
        out.clear();
        EXPECT_EQ(piece(48, 104, true, ++n), held);
        EXPECT_EQ(piece(160, 200, true, n), held);
        const std::uint64_t before = fails();
        EXPECT_EQ(piece(r.from, r.to, r.more, n), overlap) << r.from << ".." << r.to;
        EXPECT_EQ(dropped(drop_reason::frag_overlap), 2u);
        EXPECT_EQ(fails(), before + 1);
        EXPECT_EQ(fragments.bytes(), 0u);
        // Nothing of it is taken any more.
        EXPECT_EQ(piece(0, 48, true, n), overlap);
        EXPECT_EQ(piece(200, 300, false, n), overlap);
        EXPECT_EQ(fragments.bytes(), 0u);
    }
    // Its identification is free again when its time is over.
    advance(timeout());
    EXPECT_EQ(piece(0, 104, true, n), held);
    EXPECT_EQ(piece(104, 300, false, n), verdict(step::udp));
    EXPECT_EQ(timeouts(), 0u);
}

TEST_P(reassembly_test, refuses_fragments_that_cannot_be) {
    const verdict malformed = drop_reason::frag_malformed;
    EXPECT_EQ(give(frame(8, "", true)), malformed);
    EXPECT_EQ(give(frame(8, "", false)), malformed);
    EXPECT_EQ(give(frame(8, std::string(9, 'x'), true)), malformed);
    EXPECT_EQ(fragments.size(), 0u);
    EXPECT_EQ(fails(), 3u);
    // Two ends.
    EXPECT_EQ(piece(104, 300, false, 1), held);
    EXPECT_EQ(piece(104, 296, false, 1), malformed);
    EXPECT_EQ(dropped(drop_reason::frag_malformed), 1u);
    // Bytes beyond the end, told before or after it.
    EXPECT_EQ(piece(104, 200, false, 2), held);
    EXPECT_EQ(piece(200, 296, true, 2), malformed);
    EXPECT_EQ(piece(200, 296, true, 3), held);
    EXPECT_EQ(piece(104, 200, false, 3), malformed);
    EXPECT_EQ(piece(200, 296, true, 3), malformed);
    EXPECT_EQ(fails(), 6u);
}

TEST_P(reassembly_test, refuses_what_is_longer_than_a_datagram) {
    const verdict too_large = drop_reason::frag_too_large;
    EXPECT_EQ(give(frame(65528, std::string(8, 'x'), false)), too_large);
    EXPECT_EQ(give(frame(65000, std::string(1400, 'x'), true)), too_large);
    EXPECT_EQ(fragments.size(), 0u);
    EXPECT_EQ(fails(), 2u);
    const std::size_t most = v4() ? 65515 : 65535;
    EXPECT_EQ(give(frame(65504, std::string(most - 65504 + 1, 'x'), false)), too_large);
    EXPECT_EQ(give(frame(65504, std::string(most - 65504, 'x'), false)), held);
}

TEST_P(reassembly_test, refuses_mixed_ecn_and_keeps_congestion_marks) {
    const auto two = [this](std::uint8_t a, std::uint8_t b) {
        EXPECT_EQ(give(frame(0, whole.substr(0, 104), true, id, a)), held);
        return give(frame(104, whole.substr(104), false, id, b));
    };
    const auto ecn = [this] {
        return v4() ? header_of<wire::ipv4_header>(last, 14).tos
                    : header_of<wire::ipv6_header>(last, 14).traffic_class();
    };
    EXPECT_EQ(two(0xa2, 0xa3), verdict(step::udp));
    EXPECT_EQ(ecn(), 0xa3);
    EXPECT_EQ(two(0xa2, 0xa2), verdict(step::udp));
    EXPECT_EQ(ecn(), 0xa2);
    EXPECT_EQ(two(0, 3), held);  // taken, and dropped with the rest
    EXPECT_EQ(dropped(drop_reason::frag_malformed), 2u);
    EXPECT_EQ(fails(), 1u);
}

TEST_P(reassembly_test, gives_up_in_time_and_says_so) {
    EXPECT_EQ(piece(0, 104, true), held);
    advance(timeout() - nanoseconds(1));
    fragments.tick(ctx());
    EXPECT_EQ(fragments.size(), 1u);
    advance(nanoseconds(1));
    fragments.tick(ctx());
    EXPECT_EQ(fragments.size(), 0u);
    EXPECT_EQ(fragments.bytes(), 0u);
    EXPECT_EQ(dropped(drop_reason::frag_timeout), 1u);
    EXPECT_EQ(timeouts(), 1u);
    EXPECT_EQ(fails(), 1u);
    ASSERT_EQ(out.outputs.size(), 1u);
    const std::size_t header = v4() ? 20 : 40;
    const auto h = header_of<wire::icmp_header>(out.outputs[0].p, header);
    EXPECT_EQ(h.type, v4() ? 11 : 3);
    EXPECT_EQ(h.code, 1);
    EXPECT_EQ(bytes_of(out.outputs[0].p).substr(header + 8), frame(0, whole.substr(0, 104), true).substr(14));
}

TEST_P(reassembly_test, is_silent_without_the_first_fragment) {
    EXPECT_EQ(piece(104, 200, true), held);
    EXPECT_EQ(piece(200, 300, false), held);
    advance(timeout());
    fragments.tick(ctx());
    EXPECT_EQ(dropped(drop_reason::frag_timeout), 2u);
    EXPECT_TRUE(out.outputs.empty());
}

TEST_P(reassembly_test, a_late_fragment_begins_anew_even_before_the_tick) {
    EXPECT_EQ(piece(0, 104, true), held);
    advance(timeout());
    EXPECT_EQ(piece(104, 300, false), held);
    EXPECT_EQ(dropped(drop_reason::frag_timeout), 1u);
    EXPECT_EQ(fragments.size(), 1u);
}

TEST_P(reassembly_test, a_tick_has_bounded_work) {
    for (std::uint32_t n = 0; n < 100; n++) EXPECT_EQ(piece(104, 200, true, n), held);
    advance(timeout());
    fragments.tick(ctx());
    EXPECT_EQ(fragments.size(), 68u);
    for (int i = 0; i < 3; i++) fragments.tick(ctx());
    EXPECT_EQ(fragments.size(), 0u);
    EXPECT_EQ(dropped(drop_reason::frag_timeout), 100u);
}

TEST_P(reassembly_test, a_flood_of_first_fragments_displaces_the_oldest) {
    reassembler few(out, errors, random, {.max_datagrams = 16});
    const auto give_few = [&](const std::string& f) { return give_to(few, f); };
    std::size_t displaced = 0;
    for (std::uint32_t n = 0; n < 1000; n++) {
        EXPECT_EQ(give_few(frame(0, whole.substr(0, 104), true, n)), held);
        EXPECT_LE(few.size(), 16u);
        displaced += dropped(drop_reason::frag_table_full);
        out.clear();
    }
    EXPECT_EQ(few.size(), 16u);
    EXPECT_EQ(displaced, 984u);
    EXPECT_EQ(fails(), 984u);
    // The newest are there, the one before them is not.
    EXPECT_EQ(give_few(frame(104, whole.substr(104), false, 999)), verdict(step::udp));
    EXPECT_EQ(give_few(frame(104, whole.substr(104), false, 983)), held);
}

TEST_P(reassembly_test, memory_is_bounded) {
    const std::uint32_t buffer = 2048 + RTE_PKTMBUF_HEADROOM + sizeof(rte_mbuf);
    reassembler small(out, errors, random, {.max_bytes = 10 * buffer, .max_fragments = 8});
    const auto give_small = [&](std::size_t offset, std::uint32_t n) {
        return give_to(small, frame(offset, std::string(8, 'x'), true, n));
    };
    for (std::uint32_t n = 0; n < 100; n++) {
        EXPECT_EQ(give_small(8, n), held);
        EXPECT_LE(small.bytes(), 10 * buffer);
    }
    EXPECT_EQ(small.size(), 10u);
    EXPECT_EQ(dropped(drop_reason::frag_table_full), 90u);
    // One datagram cannot have more than its number of fragments...
    out.clear();
    for (std::size_t i = 2; i < 9; i++) EXPECT_EQ(give_small(i * 8, 99), held);
    EXPECT_EQ(give_small(9 * 8, 99), verdict(drop_reason::frag_table_full));
    EXPECT_EQ(dropped(drop_reason::frag_table_full), 15u);
    // ...nor, as the oldest of all, push itself out for more.
    reassembler tiny(out, errors, random, {.max_bytes = 2 * buffer});
    for (std::size_t i = 1; i < 4; i++)
        EXPECT_EQ(give_to(tiny, frame(i * 8, std::string(8, 'x'), true)),
                  i < 3 ? held : verdict(drop_reason::frag_table_full));
    EXPECT_EQ(tiny.size(), 0u);
    EXPECT_EQ(tiny.bytes(), 0u);
}

TEST_P(reassembly_test, fragments_may_have_any_segments) {
    for (std::size_t first : {60, 70, 100, 300}) {
        last = make_segments(pool.get(), frame(104, whole.substr(104), false), std::max<std::size_t>(first, 230), 5);
        EXPECT_EQ(receive(last), held);
        last = make_segments(pool.get(), frame(0, whole.substr(0, 104), true), std::max<std::size_t>(first, 166), 3);
        EXPECT_EQ(receive(last), verdict(step::udp));
        EXPECT_EQ(payload_seen(), whole);
    }
}

TEST_P(reassembly_test, frees_what_it_holds_in_the_end) {
    {
        reassembler gone(out, errors, random);
        EXPECT_EQ(give_to(gone, frame(0, whole.substr(0, 104), true)), held);
    }
    EXPECT_EQ(rte_mempool_in_use_count(pool.get()), 0u);
}

INSTANTIATE_TEST_SUITE_P(families, reassembly_test, testing::Bool(),
                         [](const auto& i) { return i.param ? "ipv4" : "ipv6"; });

}  // namespace
}  // namespace skua::net::test
