// Shards look up while a writer binds, connects and unbinds.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/sanitized.hh"
#include "udp/tables_fixture.hh"

namespace skua::udp {

namespace {

constexpr int rounds = test::sanitized ? 10000 : 100000;

/// A socket whose memory shows when it was freed too early.
struct marked_socket final : pcb {
    explicit marked_socket(ip_family f) : pcb(f) {}
    ~marked_socket() { mark = 0xdead; }
    std::atomic<unsigned> mark{0x600d};
};

class tables_race : public testing::Test {
protected:
    /// Looks up over and over until the writer is done; `look` is one poll.
    template <class Look>
    std::thread reader(Look look) {
        return std::thread([this, look] {
            rcu_domain::poller poller(rcu);
            ready++;
            for (std::uint32_t i = 0; !done; i++) {
                look(i);
                poller.quiescent();
            }
        });
    }
    void start_writing() {
        while (ready < 2) std::this_thread::yield();
    }

    rcu_domain rcu;
    seeded_random random{3};
    tables table{rcu, random};
    std::atomic<bool> done{false};
    std::atomic<int> ready{0};
};

}  // namespace

TEST_F(tables_race, found_sockets_are_alive_and_a_bound_one_is_always_found) {
    marked_socket steady(ip_family::v4);
    ASSERT_TRUE(table.bind(steady, {addr("10.0.0.1"), test_port, 0}));
    std::atomic<std::uint64_t> misses{0}, corpses{0}, found{0};
    const auto look = [&](std::uint32_t i) {
        std::array<lookup_key, 8> keys;
        for (std::uint32_t k = 0; k < keys.size(); k++) {
            keys[k] = packet_to(k % 2 ? "10.0.0.1" : "10.0.0.2", static_cast<std::uint16_t>(test_port + k / 2 % 2),
                                i * 8 + k);
        }
        std::array<pcb*, 8> out;
        table.lookup(keys, out);
        for (std::size_t k = 0; k < keys.size(); k++) {
            if (k % 2 && k / 2 % 2 == 0 && out[k] == nullptr) misses++;
            if (out[k] == nullptr) continue;
            found++;
            if (static_cast<marked_socket*>(out[k])->mark != 0x600d) corpses++;
        }
        table.for_each_receiver(keys[0], [&](pcb& p) {
            if (static_cast<marked_socket&>(p).mark != 0x600d) corpses++;
        });
    };
    auto one = reader(look), two = reader(look);
    start_writing();
    std::vector<std::unique_ptr<marked_socket>> live;
    std::mt19937 dice(5);
    for (int i = 0; i < rounds; i++) {
        if (live.size() < 30) {
            auto s = std::make_unique<marked_socket>(dice() % 4 ? ip_family::v4 : ip_family::v6);
            s->reuse_address = true;
            s->reuse_port = dice() % 2;
            s->incoming_shard = dice() % 4 ? -1 : 0;
            const auto address = dice() % 2 ? ip_address::any(s->family) : addr("10.0.0.2");
            const auto bound = table.bind(*s, {address, static_cast<std::uint16_t>(test_port + 1), 0});
            ASSERT_TRUE(bound);
            if (dice() % 4 == 0) {
                ASSERT_TRUE(table.connect(*s, addr("10.0.0.2"),
                                          {addr("10.0.0.9"), static_cast<std::uint16_t>(dice() % 2 ? 999 : 0), 0}));
            }
            live.push_back(std::move(s));
            continue;
        }
        const std::size_t which = dice() % live.size();
        switch (dice() % 4) {
            case 0: table.disconnect(*live[which]); break;
            case 1: table.refresh(*live[which]); break;
            default:
                table.unbind(*live[which]);
                rcu.retire(std::move(live[which]));
                live.erase(live.begin() + static_cast<long>(which));
        }
    }
    done = true;
    one.join();
    two.join();
    for (auto& s : live) table.unbind(*s);
    table.unbind(steady);
    EXPECT_GT(found, 0u);
    EXPECT_EQ(misses, 0u);
    EXPECT_EQ(corpses, 0u);
}

TEST_F(tables_race, a_socket_that_changes_is_never_out_of_reach) {
    marked_socket s(ip_family::v4);
    s.reuse_port = true;
    s.reuse_address = true;
    ASSERT_TRUE(table.bind(s, {ip_address::v4_any(), test_port, 0}));
    std::atomic<std::uint64_t> misses{0};
    const auto look = [&](std::uint32_t i) {
        const auto k = packet_to("10.0.0.1", test_port, i);
        if (table.lookup(k) == nullptr) misses++;
        pcb* out = nullptr;
        table.lookup({&k, 1}, {&out, 1});
        if (out == nullptr) misses++;
    };
    auto one = reader(look), two = reader(look);
    start_writing();
    marked_socket mate(ip_family::v4);
    mate.reuse_port = true;
    mate.reuse_address = true;
    for (int i = 0; i < rounds / 8; i++) {
        ASSERT_TRUE(table.connect(s, addr("10.0.0.1"), {addr("10.0.0.9"), 999, 0}));
        table.disconnect(s);
        {
            const auto hold = table.lock();
            s.device = i % 2 ? 2 : 0;
            s.incoming_shard = i % 3 ? 0 : -1;
            s.reuse_port = i % 5 != 0;
        }
        table.refresh(s);
        ASSERT_TRUE(table.bind(mate, {ip_address::v4_any(), test_port, 0}));
        table.unbind(mate);
        rcu.reclaim();
    }
    done = true;
    one.join();
    two.join();
    table.unbind(s);
    EXPECT_EQ(misses, 0u);
}

// A worse socket stands beside it all the while: who misses the better one for a moment would deliver to that.
TEST_F(tables_race, a_socket_that_changes_is_not_missed_for_a_worse_one) {
    marked_socket any(ip_family::v4), s(ip_family::v4);
    std::list<marked_socket> crowd;
    for (auto* each : {&any, &s}) each->reuse_address = true;
    ASSERT_TRUE(table.bind(any, {ip_address::v4_any(), test_port, 0}));
    ASSERT_TRUE(table.bind(s, {addr("10.0.0.1"), test_port, 0}));
    std::atomic<std::uint64_t> wrong{0};
    const auto look = [&](std::uint32_t i) {
        const auto k = packet_to("10.0.0.1", test_port, i);
        if (table.lookup(k) != &s) wrong++;
        pcb* out = nullptr;
        table.lookup({&k, 1}, {&out, 1});
        if (out != &s) wrong++;
    };
    auto one = reader(look), two = reader(look);
    start_writing();
    for (int i = 0; i < rounds / 4; i++) {
        if (i % 64 == 0) {
            // Few and many in turn.
            if (crowd.empty())
                for (int n = 1; n < 12; n++) {
                    crowd.emplace_back(ip_family::v4).reuse_address = true;
                    ASSERT_TRUE(table.bind(crowd.back(), {ipv4_address(10, 9, 0, std::uint8_t(n)), test_port, 0}));
                }
            else
                while (!crowd.empty()) {
                    table.unbind(crowd.back());
                    crowd.pop_back();
                }
        }
        ASSERT_TRUE(table.connect(s, addr("10.0.0.1"), {addr("10.0.0.9"), 999, 0}));
        table.refresh(s);
        table.disconnect(s);
        {
            const auto hold = table.lock();
            s.incoming_shard = i % 2 ? 0 : -1;
        }
        table.refresh(s);
    }
    done = true;
    one.join();
    two.join();
    for (auto& each : crowd) table.unbind(each);
    table.unbind(any);
    table.unbind(s);
    EXPECT_EQ(wrong, 0u);
}

}  // namespace skua::udp
