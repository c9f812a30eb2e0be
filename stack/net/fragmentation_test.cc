// Cutting datagrams, and putting them together again with our own reassembler.
#include "net/fragmentation.hh"

#include <algorithm>

#include "net/ip_output.hh"
#include "net/ip_test_support.hh"

namespace skua::net::test {
namespace {

using packet::step;
using packet::verdict;
using wire::ether_type;

struct keeper final : fragment_sink {
    void take(packet::packet f) override { all.push_back(std::move(f)); }
    std::vector<packet::packet> all;
};

class fragmentation_test : public testing::TestWithParam<bool> {
protected:
    fragmentation_test() {
        topology_builder b;
        interface i;
        i.index = 2;
        i.name = "p0";
        i.port = 0;
        i.mac = mac(our_mac);
        EXPECT_TRUE(b.add_interface(i));
        EXPECT_TRUE(b.add_address(2, prefix("198.18.0.1/24")));
        EXPECT_TRUE(b.add_address(2, prefix("2001:db8::1/64")));
        map = std::move(*b.build());
    }
    void TearDown() override {
        sink.all.clear();
        out.clear();
        EXPECT_EQ(rte_mempool_in_use_count(pool.get()), 0u) << "mbufs are missing";
    }
    bool v4() const { return GetParam(); }
    std::uint32_t header() const { return v4() ? 20 : 40; }
    std::uint32_t fragment_header_length() const { return v4() ? 20 : 48; }

    /// A UDP datagram from the other host to ours, its UDP checksum wanted.
    packet::packet datagram(const std::string& payload, bool dont_fragment = false) {
        const std::string u = udp(1000, 2000, payload);
        packet::packet p = make_packet(pool.get(), u.data(), u.size());
        p.get()->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
        ip_fields f{.source = ip(v4() ? "198.18.0.2" : "2001:db8::2"),
                    .destination = ip(v4() ? "198.18.0.1" : "2001:db8::1")};
        f.protocol = IPPROTO_UDP;
        f.dont_fragment = dont_fragment;
        f.identification = 0xbeef;
        f.traffic_class = 0x28;
        EXPECT_TRUE(prepend_ip(p, f));
        return p;
    }
    drop_reason cut(packet::packet& p, std::uint32_t mtu) { return fragment(p, mtu, 0xcafe1234, out, sink, mibs); }
    /// The fragment as a frame, received.
    verdict receive(packet::packet p) {
        const wire::ethernet_header e{mac(our_mac), mac("02:00:00:00:00:99"),
                                      be16(static_cast<std::uint16_t>(v4() ? ether_type::ipv4 : ether_type::ipv6))};
        std::memcpy(p.prepend(sizeof e), &e, sizeof e);
        p.get()->ol_flags = 0;
        p.get()->port = 0;
        const context c{*map, now, mibs, random};
        info = {};
        verdict v = ethernet_input(p, info, c);
        v = v4() ? ipv4_input(p, info, c, parts) : ipv6_input(p, info, c, parts);
        if (v.next == step::udp) whole = std::move(p);
        return v;
    }

    packet::pool pool = std::move(packet::make_pool("fragmentation-test", 8191, 2048 + 128, SOCKET_ID_ANY, 0).value());
    fake_sender out{pool.get()};
    keeper sink;
    std::unique_ptr<const topology> map;
    time_point now{std::chrono::seconds(1000)};
    counter_set<mib> mibs;
    seeded_random random{1};
    icmp_output errors{out, random};
    reassembler fragments{out, errors, random};
    ip_parts parts{fragments, errors};
    packet::rx_info info;
    packet::packet whole;
};

TEST_P(fragmentation_test, fragments_have_right_headers) {
    packet::packet p = datagram(pattern(3000));
    ASSERT_EQ(cut(p, 1500), drop_reason::none);
    ASSERT_EQ(sink.all.size(), 3u);
    std::uint32_t offset = 0;
    for (std::size_t i = 0; i < 3; i++) {
        const packet::packet& f = sink.all[i];
        EXPECT_LE(f.size(), 1500u);
        if (v4()) {
            const auto h = header_of<wire::ipv4_header>(f);
            EXPECT_TRUE(wire::ipv4_checksum_good(h));
            EXPECT_EQ(h.total_length.host(), f.size());
            EXPECT_EQ(h.identification.host(), 0xbeef);
            EXPECT_EQ(h.fragment_offset(), offset);
            EXPECT_EQ(h.more_fragments(), i < 2);
            EXPECT_EQ(h.tos, 0x28);
            EXPECT_FALSE(h.dont_fragment());
        } else {
            const auto h = header_of<wire::ipv6_header>(f);
            EXPECT_EQ(h.payload_length.host(), f.size() - 40);
            EXPECT_EQ(h.next_header, IPPROTO_FRAGMENT);
            EXPECT_EQ(h.traffic_class(), 0x28);
            const auto x = header_of<wire::ipv6_fragment_header>(f, 40);
            EXPECT_EQ(x.next_header, IPPROTO_UDP);
            EXPECT_EQ(x.identification.host(), 0xcafe1234u);
            EXPECT_EQ(x.offset(), offset);
            EXPECT_EQ(x.more(), i < 2);
        }
        EXPECT_EQ(f.get()->ol_flags, 0u);
        offset += f.size() - fragment_header_length();
    }
    EXPECT_EQ(offset, 3008u);
    EXPECT_EQ(mibs.get(v4() ? mib::ip_frag_creates : mib::ip6_frag_creates), 3u);
    EXPECT_EQ(mibs.get(v4() ? mib::ip_frag_oks : mib::ip6_frag_oks), 1u);
}

TEST_P(fragmentation_test, the_largest_datagram_survives_any_mtu) {
    const std::string body = pattern(65507);
    for (const std::uint32_t mtu : {68u, 69u, 576u, 1280u, 1281u, 1500u, 4000u, 9000u, 65535u}) {
        if (!v4() && mtu < 1280) continue;
        packet::packet p = datagram(body);
        const std::string sent = bytes_of(p);
        ASSERT_EQ(cut(p, mtu), drop_reason::none);
        p.reset();
        verdict v = step::held;
        for (auto& f : sink.all) {
            EXPECT_EQ(v, verdict(step::held));
            ASSERT_LE(f.size(), mtu);
            v = receive(std::move(f));
        }
        sink.all.clear();
        ASSERT_EQ(v, verdict(step::udp)) << mtu;
        EXPECT_EQ(info.l4_length, 65515u);
        const std::string got = bytes_of(whole).substr(info.l4_offset);
        EXPECT_EQ(got.substr(8), sent.substr(header() + 8));
        // The checksum was made before the cut, and still holds.
        wire::checksum_sum sum;
        sum.add_pseudo_header(info.flow.remote, info.flow.local, IPPROTO_UDP, info.l4_length);
        sum.add(whole.get(), info.l4_offset, info.l4_length);
        EXPECT_EQ(sum.finish(), be16{});
        EXPECT_EQ(fragments.size(), 0u);
        EXPECT_EQ(fragments.bytes(), 0u);
        whole.reset();
    }
}

TEST_P(fragmentation_test, any_length_and_order_survives) {
    for (int round = 0; round < 200; round++) {
        const std::string body = pattern(random.below(20000) + 2300);
        packet::packet p = datagram(body);
        ASSERT_EQ(cut(p, static_cast<std::uint32_t>(1280 + random.below(1000))), drop_reason::none);
        p.reset();
        std::shuffle(sink.all.begin(), sink.all.end(), random);
        verdict v = step::held;
        for (auto& f : sink.all) v = receive(std::move(f));
        sink.all.clear();
        ASSERT_EQ(v, verdict(step::udp));
        ASSERT_EQ(bytes_of(whole).substr(info.l4_offset + 8), body);
        whole.reset();
    }
    EXPECT_EQ(mibs.get(v4() ? mib::ip_reasm_oks : mib::ip6_reasm_oks), 200u);
    EXPECT_EQ(fragments.bytes(), 0u);
}

TEST_P(fragmentation_test, refuses_what_must_not_be_cut) {
    packet::packet p = datagram(pattern(3000), true);
    if (v4()) {
        EXPECT_EQ(cut(p, 1500), drop_reason::tx_too_big);
        EXPECT_EQ(mibs.get(mib::ip_frag_fails), 1u);
    }
    packet::packet q = datagram(pattern(3000));
    EXPECT_EQ(cut(q, v4() ? 67 : 1279), drop_reason::tx_too_big);
    EXPECT_TRUE(sink.all.empty());
}

TEST_P(fragmentation_test, stops_when_there_are_no_packets) {
    packet::packet p = datagram(pattern(3000));
    out.out_of_packets = true;
    EXPECT_EQ(cut(p, 1500), drop_reason::no_mbuf);
    EXPECT_EQ(mibs.get(v4() ? mib::ip_frag_fails : mib::ip6_frag_fails), 1u);
    EXPECT_EQ(mibs.get(v4() ? mib::ip_frag_oks : mib::ip6_frag_oks), 0u);
    EXPECT_TRUE(p);
}

INSTANTIATE_TEST_SUITE_P(families, fragmentation_test, testing::Bool(),
                         [](const auto& i) { return i.param ? "ipv4" : "ipv6"; });

}  // namespace
}  // namespace skua::net::test
