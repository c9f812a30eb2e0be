// Ports on every device that can be made without root.
#include "port/port.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "port/ring_pair.hh"
#include "port/test_support.hh"

namespace skua::port {
namespace {

using test::counted_pool;
using test::vdev;
using testing::Contains;
using testing::HasSubstr;

capability_row row_of(const port& p, std::string_view what) {
    for (const auto& r : p.capabilities())
        if (r.what == what) return r;
    ADD_FAILURE() << "no row " << what;
    return {};
}

class temporary_folder {
public:
    temporary_folder() {
        std::string name = std::filesystem::temp_directory_path() / "skua-port-XXXXXX";
        path_ = mkdtemp(name.data());
    }
    ~temporary_folder() { std::filesystem::remove_all(path_); }
    std::string file(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

TEST(port, refuses_with_a_sentence) {
    counted_pool pool;
    EXPECT_THAT(test::start(RTE_MAX_ETHPORTS - 1, {}, pool).error(), HasSubstr("no such device"));
    vdev device("net_null");
    ASSERT_TRUE(device.made());
    EXPECT_THAT(test::start(device.id, {.queues = 0}, pool).error(), HasSubstr("queues"));
    EXPECT_THAT(
        test::start(device.id, {.rss = {.key = rss_options::key_kind::given, .given_key = {1, 2, 3}}}, pool).error(),
        HasSubstr("at least 40 bytes"));
    seeded_random random(1);
    EXPECT_THAT(port::start(device.id, {}, {}, random).error(), HasSubstr("pool"));
    rte_mempool* two[] = {pool.get(), pool.get()};
    EXPECT_THAT(port::start(device.id, {.queues = 3}, two, random).error(), HasSubstr("pool"));
    counted_pool roomless(RTE_PKTMBUF_HEADROOM);
    EXPECT_THAT(test::start(device.id, {}, roomless).error(), HasSubstr("room"));
    EXPECT_TRUE(test::start(device.id, {}, pool)) << "a refusal leaves the device usable";
}

TEST(port, null_device_spreads_over_its_queues) {
    counted_pool pool;
    vdev device("net_null");
    auto p = test::start(device.id, {.queues = 3}, pool);
    ASSERT_TRUE(p) << p.error();
    EXPECT_EQ((*p)->rx_queues(), 3);
    EXPECT_EQ((*p)->driver(), "net_null");
    EXPECT_EQ((*p)->name(), device.name);
    ASSERT_EQ((*p)->reta().size(), 128u);
    for (std::uint32_t h = 0; h < 300; h++) EXPECT_EQ((*p)->queue_of(h), h % 128 % 3);
    EXPECT_EQ(row_of(**p, "RETA").where, place::hardware);
    EXPECT_EQ(row_of(**p, "RSS over IPv4 UDP ports").where, place::hardware);

    const std::uint16_t some[] = {2, 0};
    EXPECT_TRUE((*p)->steer_to(some));
    for (std::uint32_t h = 0; h < 128; h++) EXPECT_EQ((*p)->queue_of(h), h % 2 ? 0 : 2);
    const std::uint16_t beyond[] = {0, 3};
    EXPECT_EQ((*p)->steer_to(beyond), fail(EINVAL));
    EXPECT_EQ((*p)->steer_to({}), fail(EINVAL));
}

TEST(port, takes_any_table_of_its_queues) {
    counted_pool pool;
    vdev device("net_null");
    ASSERT_TRUE(device.made());
    auto p = test::start(device.id, {.queues = 3}, pool);
    ASSERT_TRUE(p) << p.error();
    const std::vector<std::uint16_t> one_in_four{1, 1, 2, 1};
    EXPECT_TRUE((*p)->steer(one_in_four));
    const auto now = (*p)->reta();
    for (std::size_t i = 0; i < 128; i++) EXPECT_EQ(now[i], one_in_four[i % 4]);
}

TEST(port, somebody_in_front_of_the_device_may_spread) {
    counted_pool pool;
    const auto wire = ring_wire::make(test::unique_name("wire"), 3);
    ASSERT_TRUE(wire) << wire.error();
    auto p = test::start((*wire)->id(), {.queues = 3}, pool);
    ASSERT_TRUE(p) << p.error();
    EXPECT_FALSE((*p)->spreads(ip_family::v4));
    std::vector<std::uint16_t> told;
    (*p)->spread_by(8, [&](std::span<const std::uint16_t> table) -> result<void> {
        if (table[0] == 2) return fail(EBUSY);
        told.assign(table.begin(), table.end());
        return {};
    });
    EXPECT_EQ(told, (std::vector<std::uint16_t>{0, 1, 2, 0, 1, 2, 0, 1}));
    EXPECT_TRUE((*p)->spreads(ip_family::v4));
    EXPECT_TRUE((*p)->steer(std::vector<std::uint16_t>{1, 0}));
    EXPECT_EQ((*p)->reta(), told);
    EXPECT_EQ((*p)->queue_of(9), 0);
    EXPECT_EQ((*p)->steer(std::vector<std::uint16_t>{2}), fail(EBUSY));
    EXPECT_EQ((*p)->queue_of(9), 0);
}

TEST(port, rss_key_is_the_one_asked_for_and_hashes_with_it) {
    counted_pool pool;
    vdev device("net_null");
    std::vector<std::uint8_t> key(40);
    for (std::size_t i = 0; i < key.size(); i++) key[i] = static_cast<std::uint8_t>(i * 7 + 1);
    auto p =
        test::start(device.id, {.queues = 2, .rss = {.key = rss_options::key_kind::given, .given_key = key}}, pool);
    ASSERT_TRUE(p) << p.error();
    EXPECT_TRUE(std::equal(key.begin(), key.end(), (*p)->rss_key().begin(), (*p)->rss_key().end()));
    const flow_key f{ipv4_address(10, 0, 0, 1), ipv4_address(10, 0, 0, 2), 53, 4242};
    EXPECT_EQ((*p)->hash()(f), toeplitz(key)(f));
    // net_null delivers no hash, whatever flag a packet carries.
    rte_mbuf m{};
    m.ol_flags = RTE_MBUF_F_RX_RSS_HASH;
    EXPECT_FALSE((*p)->hash_usable(&m, ip_family::v4));
    EXPECT_EQ(row_of(**p, "Five-tuple hash, IPv4").where, place::software);
}

TEST(port, random_keys_differ_from_start_to_start) {
    counted_pool pool;
    vdev device("net_null"), other("net_null");
    auto a = test::start(device.id, {.queues = 2}, pool), b = test::start(other.id, {.queues = 2}, pool);
    ASSERT_TRUE(a && b);
    EXPECT_FALSE(std::equal((*a)->rss_key().begin(), (*a)->rss_key().end(), (*b)->rss_key().begin()));
}

TEST(port, null_device_receives_and_sends) {
    counted_pool pool;
    vdev device("net_null");
    auto p = test::start(device.id, {}, pool);
    ASSERT_TRUE(p) << p.error();
    EXPECT_TRUE((*p)->up());
    rte_mbuf* packets[16];
    ASSERT_EQ((*p)->rx(0, packets), 16u);
    EXPECT_EQ((*p)->tx(0, packets), 16u);
    const auto stats = (*p)->stats();
    ASSERT_TRUE(stats);
    EXPECT_EQ(stats->rx_packets, 16u);
    EXPECT_EQ(stats->tx_packets, 16u);
    EXPECT_THAT((*p)->xstats(), Contains(testing::Pair("rx_good_packets", 16u)));
}

TEST(port, mac_is_the_devices_or_ours) {
    counted_pool pool;
    vdev device("net_null");
    const mac_address wanted{{0x52, 0x54, 0, 0, 0, 7}};
    {
        auto p = test::start(device.id, {.mac = wanted}, pool);
        ASSERT_TRUE(p) << p.error();
        EXPECT_EQ((*p)->mac(), wanted);
    }
    auto wire = ring_wire::make(test::unique_name("w"), 1);
    ASSERT_TRUE(wire);
    auto p = test::start((*wire)->id(), {}, pool);
    ASSERT_TRUE(p) << p.error();
    EXPECT_FALSE((*p)->mac().is_zero());
    EXPECT_FALSE((*p)->mac().is_multicast());
}

TEST(port, queues_beyond_the_device_are_left_out) {
    counted_pool pool;
    auto wire = ring_wire::make(test::unique_name("w"), 2);
    ASSERT_TRUE(wire);
    auto p = test::start((*wire)->id(), {.queues = 5}, pool);
    ASSERT_TRUE(p) << p.error();
    EXPECT_EQ((*p)->rx_queues(), 2);
    EXPECT_EQ((*p)->tx_queues(), 2);
    EXPECT_THAT((*p)->notes(), Contains(HasSubstr("RX queues: 5 asked for, the device has 2")));
    EXPECT_EQ((*p)->steer_to(std::vector<std::uint16_t>{0}), fail(ENOTSUP)) << "rings have no RETA";
    EXPECT_TRUE((*p)->reta().empty());
    EXPECT_EQ((*p)->queue_of(7), 1);
}

TEST(port, each_queue_may_have_its_own_pool) {
    counted_pool first, second;
    vdev device("net_null");
    rte_mempool* pools[] = {first.get(), second.get()};
    seeded_random random(1);
    auto p = port::start(device.id, {.queues = 2}, pools, random);
    ASSERT_TRUE(p) << p.error();
    for (std::uint16_t q = 0; q < 2; q++) {
        rte_mbuf* m[1];
        ASSERT_EQ((*p)->rx(q, m), 1u);
        EXPECT_EQ(m[0]->pool, pools[q]);
        rte_pktmbuf_free(m[0]);
    }
}

TEST(port, mtu_changes_while_running) {
    counted_pool pool;
    vdev device("net_null");
    auto p = test::start(device.id, {}, pool);
    ASSERT_TRUE(p) << p.error();
    EXPECT_EQ((*p)->mtu(), 1500);
    EXPECT_TRUE((*p)->set_mtu(1400));
    EXPECT_EQ((*p)->mtu(), 1400);
    EXPECT_EQ((*p)->set_mtu(67), fail(EINVAL));
    EXPECT_EQ((*p)->set_mtu(9000), fail(EINVAL)) << "no packet buffer holds the frame";
    EXPECT_EQ((*p)->mtu(), 1400);
}

TEST(port, a_driver_that_knows_no_mtu_takes_any) {
    counted_pool pool;
    auto wire = ring_wire::make(test::unique_name("w"), 1);
    ASSERT_TRUE(wire);
    auto p = test::start((*wire)->id(), {.mtu = 9000}, pool);
    ASSERT_TRUE(p) << p.error();
    EXPECT_EQ((*p)->mtu(), 9000);
    EXPECT_EQ(row_of(**p, "RX scattered").where, place::hardware);
    EXPECT_TRUE((*p)->set_mtu(4000));
    EXPECT_TRUE((*p)->set_mtu(5000));
    EXPECT_EQ((*p)->mtu(), 5000);
    EXPECT_EQ(
        std::count((*p)->notes().begin(), (*p)->notes().end(), "MTU: the driver cannot set it; it is kept in software"),
        1);
}

TEST(port, description_is_one_table) {
    counted_pool pool;
    vdev device("net_null");
    auto p = test::start(device.id, {.queues = 2, .mac = mac_address{{2, 0, 0, 0, 0, 1}}}, pool);
    ASSERT_TRUE(p) << p.error();
    const std::string text = (*p)->describe();
    EXPECT_THAT(text, HasSubstr("net_null"));
    EXPECT_THAT(text, HasSubstr("02:00:00:00:00:01"));
    EXPECT_THAT(text, HasSubstr("link up"));
    EXPECT_THAT(text, testing::ContainsRegex("queues +2 / 2"));
    EXPECT_THAT(text, testing::ContainsRegex("descriptors +1024 / 1024"));
    EXPECT_THAT(text, testing::ContainsRegex("RX UDP checksum +software +the device cannot"));
    for (const auto& note : (*p)->notes()) EXPECT_THAT(text, HasSubstr(note));
}

TEST(port, unplugged_port_is_gone_and_harmless) {
    counted_pool pool;
    vdev device("net_null");
    auto p = test::start(device.id, {.queues = 2}, pool);
    ASSERT_TRUE(p) << p.error();
    EXPECT_FALSE((*p)->gone());
    ASSERT_EQ(device.unplug(), 0);
    EXPECT_TRUE((*p)->gone());
    EXPECT_FALSE((*p)->up());
    rte_mbuf* m[1] = {rte_pktmbuf_alloc(pool.get())};
    EXPECT_EQ((*p)->tx(0, m), 0u);
    rte_pktmbuf_free(m[0]);
    EXPECT_EQ((*p)->rx(0, m), 0u);
    EXPECT_FALSE((*p)->link().up);
    EXPECT_EQ((*p)->set_mtu(1400), fail(ENODEV));
    EXPECT_EQ((*p)->steer_to(std::vector<std::uint16_t>{0}), fail(ENODEV));
    EXPECT_EQ((*p)->stats().error(), error{ENODEV});
    EXPECT_TRUE((*p)->xstats().empty());
    EXPECT_THAT((*p)->describe(), HasSubstr("gone"));
    // The id may be given to the next device, which the old port must leave alone.
    vdev next("net_null");
    ASSERT_EQ(next.id, device.id);
    auto q = test::start(next.id, {}, pool);
    ASSERT_TRUE(q) << q.error();
    p->reset();
    EXPECT_FALSE((*q)->gone());
    ASSERT_EQ((*q)->rx(0, m), 1u);
    EXPECT_EQ((*q)->tx(0, m), 1u);
}

TEST(port, stopping_takes_the_link_down) {
    counted_pool pool;
    vdev device("net_null");
    auto p = test::start(device.id, {}, pool);
    ASSERT_TRUE(p) << p.error();
    (*p)->stop();
    EXPECT_FALSE((*p)->up());
    EXPECT_FALSE((*p)->link().up);
    (*p)->stop();
}

std::string pcap_file_of_three(const temporary_folder& folder) {
    std::ofstream in(folder.file("in.pcap"), std::ios::binary);
    const std::uint32_t header[] = {0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1};
    const std::uint32_t record[] = {0, 0, 60, 60};
    const std::string frame(60, '\x11');
    in.write(reinterpret_cast<const char*>(header), sizeof header);
    for (int i = 0; i < 3; i++) {
        in.write(reinterpret_cast<const char*>(record), sizeof record);
        in.write(frame.data(), 60);
    }
    return folder.file("in.pcap");
}

TEST(port, pcap_device_with_one_queue_for_each_file) {
    counted_pool pool;
    temporary_folder folder;
    const auto in = pcap_file_of_three(folder);
    vdev device("net_pcap", "rx_pcap=" + in + ",tx_pcap=" + folder.file("out.pcap"));
    if (!device.made()) GTEST_SKIP() << "no pcap driver";
    {
        auto p = test::start(device.id, {.queues = 4}, pool);
        ASSERT_TRUE(p) << p.error();
        EXPECT_EQ((*p)->rx_queues(), 1);
        EXPECT_EQ((*p)->tx_queues(), 1);
        rte_mbuf* packets[8];
        ASSERT_EQ((*p)->rx(0, packets), 3u);
        EXPECT_EQ(packets[0]->pkt_len, 60u);
        EXPECT_EQ((*p)->tx(0, std::span(packets, 3)), 3u);
    }
    device.unplug();
    EXPECT_EQ(std::filesystem::file_size(folder.file("out.pcap")), std::filesystem::file_size(in));
}

TEST(port, a_driver_that_refuses_is_asked_for_less_and_reported_in_its_own_words) {
    packet::pool small = *packet::make_pool(test::unique_name("small"), 1, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY, 0);
    temporary_folder folder;
    vdev device("net_pcap",
                "rx_pcap=" + pcap_file_of_three(folder) + ",tx_pcap=" + folder.file("out.pcap") + ",infinite_rx=1");
    if (!device.made()) GTEST_SKIP() << "no pcap driver";
    rte_mempool* pools[] = {small.get()};
    seeded_random random(1);
    // Three packets do not fit into a pool of one. Having read its file in vain, this driver lets the next attempt
    // pass.
    const auto p = port::start(device.id, {}, pools, random);
    if (p) EXPECT_THAT((*p)->notes(), Contains(HasSubstr("refused (RX queue 0: ")));
    else EXPECT_THAT(p.error(), testing::StartsWith("port " + std::to_string(device.id) + ": RX queue 0: "));
}

/// A vhost device says that it can do checksums, and starts without a peer.
class vhost_port : public testing::Test {
protected:
    void SetUp() override {
        if (!device_.made()) GTEST_SKIP() << "no vhost driver";
        auto p = test::start(device_.id, {}, pool_);
        ASSERT_TRUE(p) << p.error();
        port_ = std::move(*p);
        if (!port_->offloads().udp_checksum) GTEST_SKIP() << "this vhost driver offers no checksum";
    }
    counted_pool pool_;
    temporary_folder folder_;
    vdev device_{"net_vhost", "iface=" + folder_.file("socket")};
    std::unique_ptr<port> port_;
};

TEST_F(vhost_port, offloads_are_told) {
    EXPECT_EQ(row_of(*port_, "TX UDP checksum").where, place::hardware);
    EXPECT_TRUE(port_->offloads().multi_segment);
    EXPECT_GT(port_->offloads().max_segments, 1);
    EXPECT_FALSE(port_->up()) << "nobody at the other end";
}

/// A driver's part, played by the test: refuses packets of 61 bytes, sends at most `room`.
struct picky_driver {
    static inline unsigned room = 0;
    static inline std::vector<std::uint32_t> sent;
    static std::uint16_t prepare(void*, rte_mbuf** m, std::uint16_t n) {
        for (std::uint16_t i = 0; i < n; i++)
            if (m[i]->pkt_len == 61) return i;
        return n;
    }
    static std::uint16_t send(void*, rte_mbuf** m, std::uint16_t n) {
        std::uint16_t i = 0;
        for (; i < n && sent.size() < room; i++) {
            sent.push_back(m[i]->pkt_len);
            rte_pktmbuf_free(m[i]);
        }
        return i;
    }
};

TEST_F(vhost_port, refused_packets_do_not_stop_those_behind_them) {
    auto& ops = rte_eth_fp_ops[port_->id()];
    const auto saved = ops;
    ops.tx_pkt_prepare = picky_driver::prepare;
    ops.tx_pkt_burst = picky_driver::send;
    const auto send = [&](std::vector<std::uint32_t> lengths, unsigned room) {
        picky_driver::room = room;
        picky_driver::sent.clear();
        std::vector<rte_mbuf*> packets;
        for (const auto n : lengths) packets.push_back(packet::allocate(pool_.get(), n).release());
        const unsigned taken = port_->tx(0, packets);
        for (std::size_t i = taken; i < packets.size(); i++) rte_pktmbuf_free(packets[i]);
        return taken;
    };
    const auto refused = [&] { return port_->stats()->tx_refused; };
    EXPECT_EQ(send({60, 60}, 9), 2u);
    EXPECT_EQ(refused(), 0u);
    EXPECT_EQ(send({61, 60, 61, 61, 62, 61}, 9), 6u);
    EXPECT_THAT(picky_driver::sent, testing::ElementsAre(60, 62));
    EXPECT_EQ(refused(), 4u);
    EXPECT_EQ(send({60, 60, 61, 62}, 1), 1u) << "a full ring ends the burst before the bad packet is reached";
    EXPECT_EQ(refused(), 4u);
    EXPECT_EQ(send({}, 9), 0u);
    ops = saved;
}

}  // namespace
}  // namespace skua::port
