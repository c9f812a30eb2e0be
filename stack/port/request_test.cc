// Masking of options, on devices that exist only as descriptions.
#include "port/request.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.hh"

namespace skua::port {
namespace {

constexpr std::uint32_t usual_room = 2048;

/// Like an igb: everything that matters here.
rte_eth_dev_info rich_device() {
    static const std::uint32_t flags = RTE_ETH_DEV_INTR_LSC | RTE_ETH_DEV_INTR_RMV;
    rte_eth_dev_info i{};
    i.dev_flags = &flags;
    i.min_mtu = 68;
    i.max_mtu = 9500;
    i.max_rx_pktlen = 9518;
    i.max_rx_queues = i.max_tx_queues = 8;
    i.rx_offload_capa = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_SCATTER |
                        RTE_ETH_RX_OFFLOAD_RSS_HASH | RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
    i.tx_offload_capa = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    i.reta_size = 128;
    i.hash_key_size = 40;
    i.flow_type_rss_offloads = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_IPV6 |
                               RTE_ETH_RSS_NONFRAG_IPV6_UDP | RTE_ETH_RSS_IPV6_UDP_EX;
    return i;
}

/// Like a bare software device.
rte_eth_dev_info poor_device() {
    rte_eth_dev_info i{};
    i.min_mtu = 68;
    i.max_mtu = UINT16_MAX;
    i.max_rx_pktlen = UINT32_MAX;
    i.max_rx_queues = i.max_tx_queues = 1;
    return i;
}

struct asking {
    std::vector<std::string> notes;
    seeded_random random{1};
    request operator()(const rte_eth_dev_info& info, const port_options& o, std::uint32_t room = usual_room) {
        notes.clear();
        return make_request(info, o, room, random, notes);
    }
};

TEST(request, rich_device_gets_what_was_asked_for) {
    asking ask;
    const auto r = ask(rich_device(), {.queues = 4});
    EXPECT_TRUE(ask.notes.empty());
    EXPECT_EQ(r.rx_queues, 4);
    EXPECT_EQ(r.tx_queues, 4);
    EXPECT_EQ(r.mtu, 1500);
    EXPECT_EQ(r.rx_offloads,
              RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_RSS_HASH);
    EXPECT_EQ(r.tx_offloads,
              RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
    EXPECT_EQ(r.rss_fields,
              RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_UDP);
    EXPECT_EQ(r.rss_key.size(), 40u);
    EXPECT_TRUE(r.link_interrupt);
    EXPECT_TRUE(r.removal_interrupt);
}

TEST(request, poor_device_is_asked_for_nothing_it_has_not) {
    asking ask;
    const auto r = ask(poor_device(), {.queues = 4});
    EXPECT_EQ(r, (request{.rx_descriptors = 1024, .tx_descriptors = 1024}));
    EXPECT_THAT(ask.notes,
                testing::UnorderedElementsAre(testing::HasSubstr("RX queues: 4"), testing::HasSubstr("TX queues: 4")));
}

TEST(request, queues_without_rss_are_noted) {
    asking ask;
    auto info = poor_device();
    info.max_rx_queues = info.max_tx_queues = 4;
    EXPECT_EQ(ask(info, {.queues = 4}).rx_queues, 4);
    EXPECT_THAT(ask.notes, testing::ElementsAre(testing::HasSubstr("RSS")));
}

TEST(request, checksums_can_be_left_to_software) {
    asking ask;
    const auto r = ask(rich_device(), {.checksum_offloads = false});
    EXPECT_EQ(r.rx_offloads, RTE_ETH_RX_OFFLOAD_RSS_HASH);
    EXPECT_EQ(r.tx_offloads, RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
}

TEST(request, one_capability_does_not_depend_on_another) {
    asking ask;
    auto info = rich_device();  // vmxnet3: UDP but not IPv4
    info.tx_offload_capa = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    info.rx_offload_capa = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
    const auto r = ask(info, {});
    EXPECT_EQ(r.tx_offloads, RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
    EXPECT_EQ(r.rx_offloads, RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
    EXPECT_EQ(r.rss_fields, 0u) << "one queue and no hash in the mbuf";
}

TEST(request, rss_over_addresses_only) {
    asking ask;
    const auto r = ask(rich_device(), {.queues = 2, .rss = {.over_ports = false}});
    EXPECT_EQ(r.rss_fields, RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6);
}

TEST(request, mtu_is_kept_within_the_device) {
    asking ask;
    EXPECT_EQ(ask(rich_device(), {.mtu = 9600}).mtu, 9500);
    EXPECT_EQ(ask.notes.size(), 1u);
    auto info = rich_device();
    info.min_mtu = 1000;
    EXPECT_EQ(ask(info, {.mtu = 500}).mtu, 1000);
    info.max_mtu = UINT16_MAX;
    info.max_rx_pktlen = 1518;  // the frame limit counts where no MTU limit is told
    EXPECT_EQ(ask(info, {.mtu = 9000}).mtu, 1500);
}

TEST(request, jumbo_frames_scatter_only_when_they_must) {
    asking ask;
    EXPECT_EQ(ask(rich_device(), {.mtu = 2030}).rx_offloads & RTE_ETH_RX_OFFLOAD_SCATTER, 0u);
    EXPECT_EQ(ask(rich_device(), {.mtu = 2031}).rx_offloads & RTE_ETH_RX_OFFLOAD_SCATTER, RTE_ETH_RX_OFFLOAD_SCATTER);
    EXPECT_EQ(ask(rich_device(), {.mtu = 9000}, 9216).rx_offloads & RTE_ETH_RX_OFFLOAD_SCATTER, 0u);
    EXPECT_TRUE(ask.notes.empty());
    EXPECT_EQ(ask(poor_device(), {.mtu = 9000}).mtu, 2030);
    EXPECT_THAT(ask.notes, testing::ElementsAre(testing::HasSubstr("scatter")));
}

TEST(request, key_has_the_length_the_device_wants) {
    asking ask;
    auto info = rich_device();
    for (const std::uint8_t length : {16, 40, 52}) {
        info.hash_key_size = length;
        EXPECT_EQ(ask(info, {.queues = 2}).rss_key.size(), length);
    }
    info.hash_key_size = 0;
    EXPECT_EQ(ask(info, {.queues = 2}).rss_key.size(), 40u);
}

TEST(request, keys) {
    seeded_random random(5);
    const auto a = make_rss_key({}, 40, random), b = make_rss_key({}, 40, random);
    EXPECT_NE(a, b);
    rss_options given{.key = rss_options::key_kind::given, .given_key = a};
    EXPECT_EQ(make_rss_key(given, 40, random), a);
    auto longer = make_rss_key(given, 52, random);
    longer.resize(40);
    EXPECT_EQ(longer, a);
    const auto symmetric = make_rss_key({.key = rss_options::key_kind::symmetric}, 52, random);
    for (std::size_t i = 0; i < symmetric.size(); i++) EXPECT_EQ(symmetric[i], i % 2 ? 0x5a : 0x6d);
}

TEST(request, every_relaxation_asks_for_less_and_all_of_them_for_almost_nothing) {
    asking ask;
    const auto full = ask(rich_device(), {.queues = 4, .mtu = 9000});
    request r = full;
    for (const auto& relax : relaxations()) {
        request one = full;
        relax.apply(one);
        EXPECT_NE(one, full) << relax.what;
        relax.apply(r);
    }
    EXPECT_EQ(r, (request{}));
}

TEST(capability_table, tells_where_and_why) {
    asking ask;
    const port_options options{.queues = 4};
    const auto row_of = [](const std::vector<capability_row>& rows, std::string_view what) {
        for (const auto& r : rows)
            if (r.what == what) return r;
        return capability_row{"missing", place::off, ""};
    };
    const auto rich = rich_device();
    const auto asked = ask(rich, options);
    const auto good = capability_table(
        rich, options, asked,
        {.rss_fields = asked.rss_fields, .hash_v4 = true, .hash_v6 = true, .reta_set = true, .reta_size = 128});
    for (const char* what : {"RX IPv4 checksum", "RX UDP checksum", "TX IPv4 checksum", "TX UDP checksum",
                             "TX multi-segment", "RSS over IPv4 UDP ports", "RSS over IPv6 UDP ports",
                             "Five-tuple hash, IPv4", "Five-tuple hash, IPv6", "RETA"})
        EXPECT_EQ(row_of(good, what).where, place::hardware) << what;
    EXPECT_EQ(row_of(good, "RX scattered").where, place::off);
    EXPECT_EQ(row_of(good, "VLAN strip").where, place::software);

    const auto bad = capability_table(poor_device(), options, ask(poor_device(), options), {});
    EXPECT_EQ(row_of(bad, "RX UDP checksum").where, place::software);
    EXPECT_EQ(row_of(bad, "RX UDP checksum").note, "the device cannot");
    EXPECT_EQ(row_of(bad, "RSS over IPv4 UDP ports").where, place::software);
    EXPECT_EQ(row_of(bad, "RETA").where, place::off);

    const port_options frugal{.queues = 4, .checksum_offloads = false, .rss = {.over_ports = false}};
    const auto off =
        capability_table(rich, frugal, ask(rich, frugal), {.rss_fields = RTE_ETH_RSS_IPV4, .reta_size = 128});
    EXPECT_EQ(row_of(off, "TX UDP checksum").note, "not asked for");
    EXPECT_EQ(row_of(off, "RSS over IPv4 UDP ports").note, "addresses only, as configured");
    EXPECT_EQ(row_of(off, "RETA").where, place::off);

    request refused = asked;
    for (const auto& relax : relaxations()) relax.apply(refused);
    EXPECT_EQ(row_of(capability_table(rich, options, refused, {}), "RX IPv4 checksum").note, "refused by the driver");
}

}  // namespace
}  // namespace skua::port
