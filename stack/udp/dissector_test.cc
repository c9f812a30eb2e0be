// Cookies, and what dissectors accept and find.
#include "udp/dissector.hh"

#include <gtest/gtest.h>

#include <set>

#include "packet/packet.hh"
#include "packet/pool.hh"
#include "udp/tables_fixture.hh"

namespace skua::udp {
namespace {

using kind = dissection::kind;

TEST(grm_cookie, comes_back_from_its_bits) {
    for (unsigned g = 0; g < grm_cookie::generations; g++)
        for (unsigned i = 0; i < grm_cookie::indexes; i++) {
            const grm_cookie c{static_cast<std::uint8_t>(g), static_cast<std::uint8_t>(i)};
            ASSERT_EQ(grm_cookie::unpack(c.pack()), c);
        }
}

TEST(grm_cookie, stands_as_udpgrm_writes_it) {
    // Generation in the low five bits, the index in the high eight; check = 0xd ^ nibbles, its fourth bit folded in.
    EXPECT_EQ((grm_cookie{0, 0}).pack(), 4 << 5);
    EXPECT_EQ((grm_cookie{1, 0}).pack(), 5 << 5 | 1);
    EXPECT_EQ((grm_cookie{31, 0xab}).pack(), 0xab00 | 2 << 5 | 31);
}

TEST(grm_cookie, one_number_in_eight_passes) {
    unsigned passed = 0;
    for (unsigned v = 0; v <= 0xffff; v++) passed += grm_cookie::unpack(static_cast<std::uint16_t>(v)).has_value();
    EXPECT_EQ(passed, 65536u / 8);
    EXPECT_FALSE(grm_cookie::unpack(0));
}

class dissector_test : public testing::Test {
protected:
    static udp_grm_dissector of(std::uint32_t type) {
        udp_grm_dissector d{};
        d.dissector_type = type;
        return d;
    }
    static udp_grm_dissector with(std::uint32_t type, std::initializer_list<sock_filter> filter,
                                  std::uint32_t apps = 0) {
        auto d = of(type);
        d.filter_len = static_cast<std::uint32_t>(filter.size());
        std::size_t i = 0;
        for (const sock_filter& one : filter) d.filter[i++] = one;
        d.max_apps = apps;
        return d;
    }
    static udp_grm_dissector quic(std::uint32_t length, std::uint32_t offset) {
        auto d = of(DISSECTOR_QUIC);
        d.quic_cid_length = length;
        d.quic_cookie_offset = offset;
        return d;
    }
    static int error(const udp_grm_dissector& d) {
        const auto made = dissector::make(std::as_bytes(std::span(&d, 1)));
        return made ? 0 : made.error().code;
    }
    dissection ask(const udp_grm_dissector& d, std::string_view payload) {
        const auto made = dissector::make(std::as_bytes(std::span(&d, 1)));
        datagram = packet::allocate(pool.get(), static_cast<std::uint32_t>(28 + payload.size()));
        packet::write(datagram, 28, std::as_bytes(std::span(payload)));
        lookup_key k = packet_to("198.18.0.1");
        k.packet = datagram.get();
        k.payload = 28;
        return made->dissect(k);
    }
    static std::string bytes(std::uint16_t cookie) { return {char(cookie >> 8), char(cookie)}; }

    const sock_filter first_half = BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0);
    const sock_filter give = BPF_STMT(BPF_RET | BPF_A, 0);
    packet::pool pool = *packet::make_pool("dissector", 63, 2048, SOCKET_ID_ANY, 0);
    packet::packet datagram;
};

TEST_F(dissector_test, begins_as_flow_with_125_seconds) {
    const dissector d;
    EXPECT_TRUE(d.is_flow());
    EXPECT_FALSE(d.has_cookies());
    EXPECT_EQ(d.flow_timeout(), std::chrono::seconds(125));
    std::uint32_t begun[] = {DISSECTOR_FLOW, 7};
    const auto other = dissector::make(std::as_bytes(std::span(begun)));
    EXPECT_EQ(other->flow_timeout(), std::chrono::seconds(7));
    EXPECT_FALSE(other->is_same(d));
    begun[1] = 0;
    EXPECT_TRUE(dissector::make(std::as_bytes(std::span(begun)))->is_same(d));
}

TEST_F(dissector_test, the_verbose_flag_makes_no_difference) {
    std::uint32_t type = DISSECTOR_NOOP | DISSECTOR_FLAG_VERBOSE;
    const auto loud = dissector::make(std::as_bytes(std::span(&type, 1)));
    type = DISSECTOR_NOOP;
    EXPECT_TRUE(loud->is_same(*dissector::make(std::as_bytes(std::span(&type, 1)))));
    EXPECT_EQ(loud->asked().dissector_type, std::uint32_t(DISSECTOR_NOOP));
}

TEST_F(dissector_test, refuses_what_udpgrm_refuses) {
    EXPECT_EQ(error(of(DISSECTOR_FLOW)), 0);
    EXPECT_EQ(error(of(DISSECTOR_NOOP)), 0);
    for (const std::uint32_t unknown : {2u, 5u, 0xffu, 0x101u, 0x10000u}) EXPECT_EQ(error(of(unknown)), EPERM);
    for (const auto type : {DISSECTOR_FLOW, DISSECTOR_NOOP}) {
        EXPECT_EQ(error(with(type, {give})), EPERM);
        EXPECT_EQ(error(with(type, {}, 1)), EPERM);
        auto digest = of(type);
        digest.bespoke_digest = 1;
        EXPECT_EQ(error(digest), EPERM);
    }
    for (const auto type : {DISSECTOR_CBPF, DISSECTOR_BESPOKE}) {
        EXPECT_EQ(error(with(type, {first_half, give}, 4)), 0);
        EXPECT_EQ(error(with(type, {})), EPERM);
        EXPECT_EQ(error(with(type, {give}, 5)), EPERM);
        EXPECT_EQ(error(with(type, {first_half})), EINVAL);  // it does not end
        auto digest = with(type, {give});
        digest.bespoke_digest = 0xdead;
        EXPECT_EQ(error(digest), EPERM);
        auto longest = with(type, {});
        longest.filter_len = 64;
        for (int i = 0; i < 64; i++) longest.filter[i] = i < 63 ? first_half : give;
        EXPECT_EQ(error(longest), 0);
        longest.filter_len = 65;
        EXPECT_EQ(error(longest), EPERM);
    }
}

TEST_F(dissector_test, quic_takes_ids_that_hold_a_cookie) {
    EXPECT_EQ(error(quic(2, 0)), 0);
    EXPECT_EQ(error(quic(20, 18)), 0);
    EXPECT_EQ(error(quic(1, 0)), EPERM);
    EXPECT_EQ(error(quic(21, 0)), EPERM);
    EXPECT_EQ(error(quic(8, 7)), EPERM);
    EXPECT_EQ(error(quic(8, 0xfffffffe)), EPERM);
}

TEST_F(dissector_test, a_filter_finds_the_cookie) {
    const auto d = with(DISSECTOR_CBPF, {first_half, give});
    const grm_cookie c{3, 17};
    const auto said = ask(d, bytes(c.pack()) + " hello");
    EXPECT_EQ(said.what, kind::cookie);
    EXPECT_EQ(said.cookie, c);
    EXPECT_EQ(ask(d, bytes(c.pack() ^ 0x20)).what, kind::bad_cookie);
    EXPECT_EQ(ask(d, "").what, kind::bad_cookie);  // a load beyond the end makes it return 0
}

TEST_F(dissector_test, a_filter_says_that_a_flow_is_new) {
    const auto returns = [&](std::uint32_t value, std::uint32_t apps) {
        return ask(with(DISSECTOR_BESPOKE, {BPF_STMT(BPF_RET | BPF_K, value)}, apps), "x");
    };
    for (const std::uint32_t value : {0x10000u, 0xffffffffu, 0x80000004u, 0x7fffffffu}) {
        const auto said = returns(value, 4);
        EXPECT_EQ(said.what, kind::unseen);
        EXPECT_EQ(said.app, 0);
    }
    for (std::uint32_t app = 0; app < 4; app++) {
        EXPECT_EQ(returns(0x80000000 + app, 4).what, kind::unseen);
        EXPECT_EQ(returns(0x80000000 + app, 4).app, app);
        EXPECT_EQ(returns(0x80000000 + app, app).app, 0);  // one too many
    }
}

TEST_F(dissector_test, quic_cookies_stand_in_the_destination_id) {
    const grm_cookie c{1, 2};
    const auto d = quic(9, 3);
    const std::string id = "abc" + bytes(c.pack()) + "defg";
    const std::string long_header = std::string("\xc3\0\0\0\1", 5);
    // RFC 8999 §5.2: the ID follows its first byte; §5.1: and its length.
    EXPECT_EQ(ask(d, "\x43" + id + "rest").cookie, c);
    EXPECT_EQ(ask(d, long_header + "\x09" + id + "rest").cookie, c);
    // A client's own first ID has another length.
    EXPECT_EQ(ask(d, long_header + "\x08" + id).what, kind::unseen);
    EXPECT_EQ(ask(d, "\x43" + std::string(9, 'x')).what, kind::bad_cookie);
    const std::string short_packet = "\x43" + id, long_packet = long_header + "\x09" + id;
    for (std::size_t n = 0; n < 6; n++) EXPECT_EQ(ask(d, short_packet.substr(0, n)).what, kind::too_short) << n;
    for (std::size_t n = 0; n < 11; n++) EXPECT_EQ(ask(d, long_packet.substr(0, n)).what, kind::too_short) << n;
    EXPECT_EQ(ask(d, short_packet.substr(0, 6)).what, kind::cookie);
}

TEST_F(dissector_test, noop_knows_no_flows) {
    EXPECT_EQ(ask(of(DISSECTOR_NOOP), "anything").what, kind::unseen);
    EXPECT_EQ(dissector().dissect(packet_to("198.18.0.1")).what, kind::unseen);
}

}  // namespace
}  // namespace skua::udp
