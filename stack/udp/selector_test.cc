// Each way to choose a member, and falling back to the buckets.
#include "udp/selector.hh"

#include <gtest/gtest.h>

#include <map>

#include "udp/selector_fixture.hh"

namespace skua::udp {
namespace {

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

}  // namespace
}  // namespace skua::udp
