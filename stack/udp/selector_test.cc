// Each way to choose a member, and falling back to the buckets.
#include "udp/selector.hh"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <cstring>
#include <map>

#include "packet/packet.hh"
#include "packet/pool.hh"
#include "udp/bpf_selector.hh"
#include "udp/tables_fixture.hh"

namespace skua::udp {
namespace {

class selector_test : public testing::Test {
protected:
    selector_test() { SetUpGroup(4); }
    void SetUpGroup(int n) {
        for (int i = 0; i < n; i++) join();
    }
    test_socket& join() {
        auto& s = sockets.emplace_back(ip_family::v4);
        s.reuse_port = true;
        EXPECT_TRUE(bound.bind(s, at("198.18.0.1")));
        return s;
    }
    ~selector_test() override {
        for (auto& s : sockets) bound.unbind(s);
    }
    static endpoint at(std::string_view address) { return {*ip_address::parse(address), test_port, 0}; }
    lookup_key key(std::uint32_t hash = 0) {
        lookup_key k = packet_to("198.18.0.1", test_port, hash);
        k.packet = datagram.get();
        k.payload = 28;
        return k;
    }
    /// A datagram with 28 bytes of headers and this payload.
    void payload(std::string_view bytes) {
        datagram = packet::allocate(pool.get(), static_cast<std::uint32_t>(28 + bytes.size()));
        packet::write(datagram, 28, std::as_bytes(std::span(bytes)));
    }
    std::size_t place(pcb* p) const {
        std::size_t i = 0;
        for (const auto& s : sockets) {
            if (&s == p) return i;
            i++;
        }
        return ~std::size_t(0);
    }
    std::size_t chosen(std::uint32_t hash = 0) { return place(bound.lookup(key(hash))); }
    std::uint64_t fallbacks() { return sockets.front().member_of->fallbacks(); }
    int attach_classic(std::vector<sock_filter> program) {
        auto made = bpf_selector::from_classic(program);
        if (!made) return made.error().code;
        const auto ok = bound.attach(sockets.front(), *made);
        return ok ? 0 : ok.error().code;
    }

    packet::pool pool = *packet::make_pool("selector", 63, 2048, SOCKET_ID_ANY, 0);
    rcu_domain rcu;
    seeded_random random{1};
    tables bound{rcu, random};
    std::list<test_socket> sockets;
    packet::packet datagram;
};

TEST_F(selector_test, modulo_scales_the_hash) {
    ASSERT_TRUE(bound.attach(sockets.front(), std::make_shared<modulo_selector>()));
    EXPECT_EQ(chosen(0), 0u);
    EXPECT_EQ(chosen(0x3fffffff), 0u);
    EXPECT_EQ(chosen(0x40000000), 1u);
    EXPECT_EQ(chosen(0x80000000), 2u);
    EXPECT_EQ(chosen(0xffffffff), 3u);
}

TEST_F(selector_test, the_last_takes_the_place_of_one_that_leaves) {
    ASSERT_TRUE(bound.attach(sockets.front(), std::make_shared<modulo_selector>()));
    bound.unbind(*std::next(sockets.begin()));
    EXPECT_EQ(chosen(0x60000000), 3u);
    EXPECT_EQ(chosen(0xffffffff), 2u);
}

TEST_F(selector_test, one_source_has_one_member_whatever_its_ports) {
    ASSERT_TRUE(bound.attach(sockets.front(), std::make_shared<source_selector>(random)));
    std::map<std::size_t, int> hit;
    for (std::uint32_t host = 1; host < 200; host++) {
        auto k = key();
        k.flow.remote = *ip_address::parse("198.19.0." + std::to_string(host));
        const auto first = place(bound.lookup(k));
        for (std::uint32_t port = 1; port < 50; port++) {
            k.flow.remote_port = static_cast<std::uint16_t>(port);
            k.hash = port * 0x9e3779b9u;
            ASSERT_EQ(place(bound.lookup(k)), first);
        }
        hit[first]++;
    }
    EXPECT_EQ(hit.size(), 4u);
}

TEST_F(selector_test, local_members_share_what_their_shard_received) {
    std::uint16_t shard = 0;
    for (auto& s : sockets) s.home_shard = shard++ / 2;
    ASSERT_TRUE(bound.attach(sockets.front(), std::make_shared<local_selector>()));
    auto k = key(0);
    k.shard = 1;
    EXPECT_EQ(place(bound.lookup(k)), 2u);
    k.hash = 0xffffffff;
    EXPECT_EQ(place(bound.lookup(k)), 3u);
    EXPECT_EQ(fallbacks(), 0u);
    k.shard = 2;
    EXPECT_NE(bound.lookup(k), nullptr);
    EXPECT_EQ(fallbacks(), 1u);
}

TEST_F(selector_test, local_follows_members_that_come_go_and_move) {
    ASSERT_TRUE(bound.attach(sockets.front(), std::make_shared<local_selector>()));
    auto k = key(5);
    k.shard = 3;
    bound.lookup(k);
    EXPECT_EQ(fallbacks(), 1u);  // all are at home on shard 0
    auto& late = sockets.emplace_back(ip_family::v4);
    late.reuse_port = true;
    late.home_shard = 3;
    ASSERT_TRUE(bound.bind(late, at("198.18.0.1")));
    EXPECT_EQ(bound.lookup(k), &late);
    late.home_shard = 2;
    bound.refresh(late);
    bound.lookup(k);
    EXPECT_EQ(fallbacks(), 2u);
    k.shard = 2;
    EXPECT_EQ(bound.lookup(k), &late);
    bound.unbind(late);
    bound.lookup(k);
    EXPECT_EQ(fallbacks(), 3u);
    ASSERT_TRUE(bound.attach(sockets.front(), nullptr));
    bound.lookup(k);
    EXPECT_EQ(fallbacks(), 3u);
    sockets.pop_back();
}

TEST_F(selector_test, a_changed_weight_holds_at_once) {
    auto share = [&](std::size_t who) {
        std::size_t n = 0;
        for (std::uint32_t h = 0; h < 512; h++) n += chosen(h) == who;
        return n;
    };
    EXPECT_EQ(share(0), 128u);
    sockets.front().weight = 5;
    bound.refresh(sockets.front());
    EXPECT_EQ(share(0), 320u);
    sockets.front().weight = 0;
    bound.refresh(sockets.front());
    EXPECT_EQ(share(0), 0u);
}

TEST_F(selector_test, a_cookie_names_the_member) {
    ASSERT_TRUE(bound.attach(sockets.front(), std::make_shared<cookie_selector>(1, 2)));
    payload(std::string_view("x\0\2y", 4));
    EXPECT_EQ(chosen(), 2u);
    EXPECT_EQ(fallbacks(), 0u);
    payload(std::string_view("x\0\4y", 4));  // there is no fifth member
    EXPECT_LT(chosen(), 4u);
    payload("x");  // too short
    EXPECT_LT(chosen(), 4u);
    EXPECT_EQ(fallbacks(), 2u);
}

TEST_F(selector_test, a_callable_names_the_member) {
    ASSERT_TRUE(bound.attach(
        sockets.front(), std::make_shared<callable_selector>([](const lookup_key&, std::span<const std::byte> bytes) {
            return bytes.empty() ? std::optional<std::uint32_t>() : std::uint32_t(bytes[0]) - '0';
        })));
    payload("3 is it");
    EXPECT_EQ(chosen(), 3u);
    payload("");
    EXPECT_LT(chosen(), 4u);
    EXPECT_EQ(fallbacks(), 1u);
}

TEST_F(selector_test, detaching_gives_the_buckets_back) {
    EXPECT_EQ(bound.attach(sockets.front(), nullptr).error(), error{ENOENT});
    ASSERT_TRUE(bound.attach(sockets.front(), std::make_shared<cookie_selector>(0, 1)));
    ASSERT_TRUE(bound.attach(sockets.back(), nullptr));  // of the group, whichever member says it
    EXPECT_EQ(bound.attach(sockets.front(), nullptr).error(), error{ENOENT});
    payload(std::string_view("\3", 1));
    std::map<std::size_t, int> hit;
    for (std::uint32_t h = 0; h < 512; h++) hit[chosen(h)]++;
    EXPECT_EQ(hit.size(), 4u);
}

TEST_F(selector_test, is_for_sockets_with_reuse_port) {
    test_socket plain(ip_family::v4), early(ip_family::v4);
    EXPECT_EQ(bound.attach(plain, std::make_shared<modulo_selector>()).error(), error{EINVAL});
    ASSERT_TRUE(bound.bind(plain, {*ip_address::parse("198.18.0.2"), 99, 0}));
    plain.reuse_port = true;  // too late: it was bound without
    EXPECT_EQ(bound.attach(plain, std::make_shared<modulo_selector>()).error(), error{EINVAL});
    plain.reuse_port = false;
    bound.unbind(plain);
    // Attached before bind: for the group that it begins.
    early.reuse_port = true;
    ASSERT_TRUE(bound.attach(early, std::make_shared<modulo_selector>()));
    ASSERT_TRUE(bound.bind(early, {*ip_address::parse("198.18.0.2"), 99, 0}));
    EXPECT_NE(early.member_of->chosen_by(), nullptr);
    bound.unbind(early);
}

TEST_F(selector_test, classic_bpf_returns_a_place) {
    ASSERT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1), BPF_STMT(BPF_RET | BPF_A, 0)}), 0);
    payload(std::string_view("x\3", 2));
    EXPECT_EQ(chosen(), 3u);
    payload(std::string_view("x\1", 2));
    EXPECT_EQ(chosen(), 1u);
    payload("x");  // a load beyond the end ends the program with 0
    EXPECT_EQ(chosen(0xffffffff), 0u);
    EXPECT_EQ(fallbacks(), 0u);
    payload(std::string_view("x\4", 2));
    EXPECT_LT(chosen(), 4u);
    EXPECT_EQ(fallbacks(), 1u);
}

TEST_F(selector_test, classic_bpf_sees_shard_length_and_hash) {
    payload("abc");
    ASSERT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_CPU)),
                              BPF_STMT(BPF_RET | BPF_A, 0)}),
              0);
    auto k = key();
    k.shard = 2;
    EXPECT_EQ(place(bound.lookup(k)), 2u);
    ASSERT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_STMT(BPF_RET | BPF_A, 0)}), 0);
    EXPECT_EQ(chosen(), 3u);
    ASSERT_EQ(
        attach_classic({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_RXHASH)),
                        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 4), BPF_STMT(BPF_RET | BPF_A, 0)}),
        0);
    EXPECT_EQ(chosen(1001), 1u);
    // Indirect: the byte at the offset that the first byte gives.
    payload(std::string_view("\2x\3", 3));
    ASSERT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_STMT(BPF_MISC | BPF_TAX, 0),
                              BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0), BPF_STMT(BPF_RET | BPF_A, 0)}),
              0);
    EXPECT_EQ(chosen(), 3u);
}

TEST_F(selector_test, unsound_programs_are_refused) {
    EXPECT_EQ(attach_classic({}), EINVAL);
    EXPECT_EQ(attach_classic(std::vector<sock_filter>(4097, BPF_STMT(BPF_RET | BPF_K, 0))), EINVAL);
    EXPECT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_IMM, 1)}), EINVAL) << "no end";
    EXPECT_EQ(attach_classic({BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
    EXPECT_EQ(attach_classic({BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
    EXPECT_EQ(attach_classic({BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
    EXPECT_EQ(attach_classic({BPF_STMT(BPF_ST, BPF_MEMWORDS), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
    EXPECT_EQ(attach_classic({BPF_STMT(0xffff, 0), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
}

}  // namespace
}  // namespace skua::udp
