// Datagrams longer than a frame: put together on the way in, cut on the way out.
#include <algorithm>
#include <random>

#include "packet/packet_test.hh"

namespace skua::test {

namespace {

constexpr std::size_t piece = 1480 / 8 * 8;

std::vector<std::string> fragmented(const ip_spec& s, std::uint16_t to, const std::string& payload,
                                    std::size_t size = piece - 48, std::uint32_t id = 7) {
    return fragments(s, udp(s, 40000, to, payload), size, id);
}
std::size_t longest(const family_case& f) { return f.us.is_v4() ? 65507 : 65527; }

}  // namespace

class fragments_of : public testing::TestWithParam<family_case> {};
INSTANTIATE_TEST_SUITE_P(families, fragments_of, testing::ValuesIn(both_families),
                         [](const auto& info) { return info.param.us.is_v4() ? "ipv4" : "ipv6"; });

TEST_P(fragments_of, echo_up_to_the_longest_datagram) {
    const auto& f = GetParam();
    tested_world w(1, know_peers);
    auto s = w.open({f.us, 7});
    for (const std::size_t size :
         {std::size_t(1473), std::size_t(3000), std::size_t(16384), longest(f) - 1, longest(f)}) {
        w.inject(fragmented(f.spec, 7, pattern(size)));
        const auto got = w.receive(*s);
        ASSERT_TRUE(got) << size;
        EXPECT_EQ(got->payload, pattern(size));
        ASSERT_TRUE(w.send(*s, got->payload, got->from)) << size;
        const auto out = w.sent();
        for (const auto& frame : out) EXPECT_LE(frame.size(), eth_length + 1500);
        const seen whole = joined(out);
        EXPECT_TRUE(whole.sound) << size;
        EXPECT_EQ(whole.payload, pattern(size));
        EXPECT_EQ(whole.destination, f.peer);
    }
    EXPECT_EQ(w.send(*s, pattern(longest(f) + 1), {f.peer, 9, 0}).error().code, EMSGSIZE);
    EXPECT_EQ(w.all_drops(), 0u);
    const bool v4 = f.us.is_v4();
    EXPECT_EQ(w.count(v4 ? mib::ip_reasm_oks : mib::ip6_reasm_oks), 5u);
    EXPECT_EQ(w.count(v4 ? mib::ip_frag_oks : mib::ip6_frag_oks), 5u);
    EXPECT_GT(w.count(v4 ? mib::ip_frag_creates : mib::ip6_frag_creates), 90u);
}

/// IPV6_MTU; IPv4 has no such option, and each socket its own.
TEST_P(fragments_of, no_longer_than_a_socket_wants) {
    const auto& f = GetParam();
    tested_world w(1, know_peers);
    auto small = w.open({f.us, 7}), usual = w.open({f.us, 8});
    const int least = 1280;
    const auto set = small->setsockopt(IPPROTO_IPV6, IPV6_MTU, &least, sizeof least);
    EXPECT_EQ(bool(set), !f.us.is_v4());
    const std::size_t most = f.us.is_v4() ? 1500 : 1280;
    for (const std::size_t size : {std::size_t(1280 - 48), std::size_t(1280 - 48 + 1), std::size_t(3000)}) {
        ASSERT_TRUE(w.send(*small, pattern(size), {f.peer, 9, 0})) << size;
        const auto out = w.sent();
        for (const auto& frame : out) EXPECT_LE(frame.size(), eth_length + most);
        EXPECT_EQ(joined(out).payload, pattern(size));
    }
    ASSERT_TRUE(w.send(*usual, pattern(1400), {f.peer, 9, 0}));
    EXPECT_EQ(w.sent().size(), 1u);
}

TEST_P(fragments_of, ping_of_the_longest_size) {
    const auto& f = GetParam();
    tested_world w(1, know_peers);
    ip_spec s = f.spec;
    s.protocol = icmp_protocol(s);
    const std::uint8_t request = f.us.is_v4() ? wire::icmp4::echo_request : wire::icmp6::echo_request;
    w.inject(fragments(s, icmp(s, request, 0, 1, pattern(65507)), 1432));
    const seen whole = joined(w.sent());
    EXPECT_TRUE(whole.sound);
    EXPECT_EQ(whole.payload, pattern(65507));
}

TEST_P(fragments_of, any_order_and_mixed) {
    const auto& f = GetParam();
    tested_world w;
    auto s = w.open({f.us, 7});
    std::mt19937 random(1);
    for (int round = 0; round < 20; round++) {
        std::vector<std::string> all;
        for (std::uint32_t id = 0; id < 5; id++)
            for (auto& one : fragmented(f.spec, 7, pattern(2000 + id), 256, id + 1)) all.push_back(std::move(one));
        std::shuffle(all.begin(), all.end(), random);
        w.inject(all);
        auto got = w.receive_all(*s);
        ASSERT_EQ(got.size(), 5u);
        std::sort(got.begin(), got.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
        for (std::size_t id = 0; id < 5; id++) EXPECT_EQ(got[id], pattern(2000 + id));
    }
    EXPECT_EQ(w.shard().reassembly().size(), 0u);
    EXPECT_EQ(w.all_drops(), 0u);
}

TEST_P(fragments_of, smallest_pieces) {
    const auto& f = GetParam();
    tested_world w;
    auto s = w.open({f.us, 7});
    w.inject(fragmented(f.spec, 7, pattern(1000), 8));
    EXPECT_THAT(w.receive_all(*s), ElementsAre(pattern(1000)));
}

TEST_P(fragments_of, overlap_refuses_the_datagram) {
    const auto& f = GetParam();
    tested_world w;
    auto s = w.open({f.us, 7});
    const auto good = fragmented(f.spec, 7, pattern(200), 64);
    const auto coarse = fragmented(f.spec, 7, pattern(200), 80);
    w.inject(std::vector<std::string>{good[0], coarse[1]});
    EXPECT_EQ(w.drops(drop_reason::frag_overlap), 0u);  // there is a gap between them
    w.inject(std::vector{good[1]});
    EXPECT_GE(w.drops(drop_reason::frag_overlap), 3u);
    w.inject(good);
    EXPECT_THAT(w.receive_all(*s), IsEmpty());
    w.advance(61s);
    w.inject(good);
    EXPECT_EQ(w.receive_all(*s).size(), 1u);
}

TEST_P(fragments_of, timeout_is_told_if_the_first_came) {
    const auto& f = GetParam();
    const bool v4 = f.us.is_v4();
    tested_world w(1, know_peers);
    const auto pieces = fragmented(f.spec, 7, pattern(2000), 1000);
    w.inject(pieces[0]);
    w.advance(v4 ? 29s : 59s);
    EXPECT_THAT(w.sent(), IsEmpty());
    w.advance(2s);
    const seen out = w.sent_one();
    EXPECT_TRUE(out.sound);
    ASSERT_TRUE(out.icmp);
    EXPECT_EQ(out.icmp->type, v4 ? wire::icmp4::time_exceeded : wire::icmp6::time_exceeded);
    EXPECT_EQ(out.icmp->code, 1);
    EXPECT_EQ(out.payload.substr(0, 100), pieces[0].substr(eth_length, 100));
    EXPECT_EQ(w.drops(drop_reason::frag_timeout), 1u);
    w.inject(pieces[1]);
    w.advance(61s);
    EXPECT_THAT(w.sent(), IsEmpty());
    EXPECT_EQ(w.drops(drop_reason::frag_timeout), 2u);
    EXPECT_EQ(w.count(v4 ? mib::ip_reasm_timeout : mib::ip6_reasm_timeout), 2u);
}

TEST_P(fragments_of, floods_keep_memory_bounded) {
    const auto& f = GetParam();
    constexpr std::uint32_t most = 256 * 1024;
    tested_world w(1, [](control::config& c) { c.reassembly.max_bytes = most; });
    auto s = w.open({f.us, 7});
    for (std::uint32_t id = 1; id <= 2000; id++) {
        const auto pieces = fragmented(f.spec, 7, pattern(900), 400, id);
        // The same fragments again and again, and never the last.
        w.inject(std::vector<std::string>{pieces[0], pieces[0], pieces[1], pieces[1], pieces[0]});
        ASSERT_LE(w.shard().reassembly().bytes(), most);
        ASSERT_LE(w.packets_in_use(), most / 512);
    }
    EXPECT_GT(w.drops(drop_reason::frag_table_full), 0u);
    EXPECT_EQ(w.drops(drop_reason::frag_overlap), 3u * 2000);
    w.inject(fragmented(f.spec, 7, pattern(900), 400, 99999));
    EXPECT_EQ(w.receive_all(*s).size(), 1u);
}

TEST_P(fragments_of, padding_behind_a_fragment_is_no_payload) {
    const auto& f = GetParam();
    tested_world w;
    auto s = w.open({f.us, 7});
    auto pieces = fragmented(f.spec, 7, "a datagram in two", 16);
    for (auto& one : pieces) one += std::string(20, '\0');
    w.inject(pieces);
    EXPECT_THAT(w.receive_all(*s), ElementsAre("a datagram in two"));
}

TEST(fragments_out, identifications_differ) {
    tested_world w(1, know_peers);
    for (const auto& f : both_families) {
        auto s = w.open({f.us, 7});
        for (int i = 0; i < 2; i++) ASSERT_TRUE(w.send(*s, pattern(2000), {f.peer, 9, 0}));
        const auto out = w.sent();
        ASSERT_EQ(out.size(), 4u);
        EXPECT_EQ(look(out[0]).identification, look(out[1]).identification);
        EXPECT_NE(look(out[0]).identification, look(out[2]).identification);
    }
}

TEST(fragments_in, atomic_fragment_is_a_whole_datagram) {
    tested_world w;
    auto s = w.open({us6, 7});
    w.inject(fragments(spec6, udp(spec6, 40000, 7, "atomic"), 1000));
    EXPECT_THAT(w.receive_all(*s), ElementsAre("atomic"));
    EXPECT_EQ(w.count(mib::ip6_reasm_reqds), 0u);
}

}  // namespace skua::test
