// Sorting and joining lists of fragments, and the ECN of the whole.
#include "net/fragment_chain.hh"

#include <algorithm>
#include <numeric>

#include "net/ip_test_support.hh"

namespace skua::net::test {
namespace {

class fragment_chain_test : public net_test {
protected:
    /// A list whose fragments hold their own index, in the order given.
    rte_mbuf* list(const std::vector<std::uint16_t>& order) {
        rte_mbuf* first = nullptr;
        for (auto i = order.rbegin(); i != order.rend(); ++i) {
            rte_mbuf* m = make(&*i, sizeof *i).release();
            packet::meta_of(m).link = std::exchange(first, m);
            packet::meta_of(m).l4_offset = static_cast<std::uint16_t>(*i * 8);
        }
        return first;
    }
};

TEST_F(fragment_chain_test, sorts_and_joins) {
    for (std::size_t n : {1, 2, 3, 7, 64, 100, 1000}) {
        std::vector<std::uint16_t> order(n);
        std::iota(order.begin(), order.end(), std::uint16_t(0));
        const std::string expected(reinterpret_cast<const char*>(order.data()), n * 2);
        for (int round = 0; round < 5; round++) {
            packet::packet whole = join_fragments(sort_fragments(list(order)));
            EXPECT_EQ(bytes_of(whole), expected);
            EXPECT_EQ(whole.get()->nb_segs, n);
            const char* why = nullptr;
            EXPECT_EQ(rte_mbuf_check(whole.get(), 1, &why), 0) << why;
            std::shuffle(order.begin(), order.end(), random);
        }
    }
}

TEST_F(fragment_chain_test, joins_fragments_of_several_segments) {
    rte_mbuf* a = make_segments(pool.get(), "abcdef", 2, 2).release();
    rte_mbuf* b = make_segments(pool.get(), "ghi", 1, 1).release();
    packet::meta_of(a).link = b;
    packet::meta_of(b).link = nullptr;
    packet::packet whole = join_fragments(a);
    EXPECT_EQ(bytes_of(whole), "abcdefghi");
    EXPECT_EQ(whole.get()->nb_segs, 6);
}

TEST(fragment_ecn, follows_rfc_3168) {
    constexpr std::uint8_t not_ect = 1, ect1 = 2, ect0 = 4, ce = 8;
    EXPECT_EQ(joint_ecn(not_ect, 0), 0);
    EXPECT_EQ(joint_ecn(ect0, 2), 2);
    EXPECT_EQ(joint_ecn(ect1, 1), 1);
    EXPECT_EQ(joint_ecn(ect0 | ect1, 1), 1);
    EXPECT_EQ(joint_ecn(ce, 3), 3);
    EXPECT_EQ(joint_ecn(ect0 | ce, 2), 3);
    EXPECT_EQ(joint_ecn(ect0 | ect1 | ce, 2), 3);
    for (std::uint8_t capable : {ect1, ect0, ce}) EXPECT_EQ(joint_ecn(not_ect | capable, 0), std::nullopt);
}

}  // namespace
}  // namespace skua::net::test
