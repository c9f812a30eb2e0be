// Walking over quoted header chains.
#include "net/ipv6_extensions.hh"

#include "net/ip_test_support.hh"

namespace skua::net::test {
namespace {

const std::string dst_then_udp{IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0};

std::optional<ipv6_upper> walk(const std::string& bytes, std::uint8_t next) {
    return skip_ipv6_extensions(as_bytes(bytes), 0, next);
}

TEST(ipv6_extensions, finds_the_upper_layer) {
    auto u = walk("", IPPROTO_UDP);
    ASSERT_TRUE(u);
    EXPECT_EQ(u->offset, 0u);
    u = walk(dst_then_udp, IPPROTO_DSTOPTS);
    ASSERT_TRUE(u);
    EXPECT_EQ(u->protocol, IPPROTO_UDP);
    EXPECT_EQ(u->offset, 8u);
    EXPECT_FALSE(u->later_fragment);
}

TEST(ipv6_extensions, stops_at_a_later_fragment) {
    EXPECT_FALSE(walk(fragment_header(IPPROTO_UDP, 0, true, 1), IPPROTO_FRAGMENT)->later_fragment);
    const auto u = walk(fragment_header(IPPROTO_DSTOPTS, 8, true, 1) + dst_then_udp, IPPROTO_FRAGMENT);
    ASSERT_TRUE(u);
    EXPECT_TRUE(u->later_fragment);
    EXPECT_EQ(u->offset, 8u);
}

TEST(ipv6_extensions, refuses_chains_that_run_out) {
    for (std::size_t n = 0; n < 8; n++) EXPECT_FALSE(walk(dst_then_udp.substr(0, n), IPPROTO_DSTOPTS));
    EXPECT_FALSE(walk({IPPROTO_UDP, 1, 0, 0, 0, 0, 0, 0}, IPPROTO_ROUTING));
}

TEST(ipv6_extensions, refuses_long_chains) {
    std::string chain;
    for (unsigned n = 1; n < max_ipv6_extensions; n++) chain += std::string{IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0};
    EXPECT_TRUE(walk(chain + dst_then_udp, IPPROTO_DSTOPTS));
    chain += std::string{IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0};
    EXPECT_FALSE(walk(chain + dst_then_udp, IPPROTO_DSTOPTS));
}

}  // namespace
}  // namespace skua::net::test
