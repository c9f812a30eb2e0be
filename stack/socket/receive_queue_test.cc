// Tests of the receive queue: order, cost, and many threads at once.
#include "socket/receive_queue.hh"

#include <thread>

#include "socket/test_support.hh"
#include "socket/truesize.hh"

namespace skua::socket::test {
namespace {

class receive_queue_test : public testing::Test {
protected:
    fake_host host;
    receive_queue queue;
    static constexpr std::int32_t limit = 212992;
    const std::int32_t cost = static_cast<std::int32_t>(truesize(8, ip_family::v4));

    rte_mbuf* make(std::uint64_t number) {
        const std::string_view bytes(reinterpret_cast<const char*>(&number), sizeof number);
        auto p = host.make(at("127.0.0.1", 1), at("127.0.0.1", 2), bytes);
        if (p) note_arrival(p.get(), fake_host::info_of(p), 0);
        return p.release();
    }
    static std::uint64_t number(const rte_mbuf* m) {
        std::uint64_t n;
        std::memcpy(&n, rte_pktmbuf_mtod_offset(m, const char*, 28), sizeof n);
        return n;
    }
    void push(std::initializer_list<std::uint64_t> numbers) {
        rte_mbuf *newest = nullptr, *oldest = nullptr;
        for (const auto n : numbers) {
            rte_mbuf* m = make(n);
            packet::meta_of(m).link = newest;
            newest = m;
            if (!oldest) oldest = m;
        }
        queue.push(newest, oldest, cost * static_cast<std::int32_t>(numbers.size()));
    }
    std::vector<std::uint64_t> pop(std::size_t most) {
        std::vector<rte_mbuf*> out(most);
        out.resize(queue.pop(out, limit));
        std::vector<std::uint64_t> numbers;
        for (auto* m : out) {
            numbers.push_back(number(m));
            rte_pktmbuf_free(m);
        }
        return numbers;
    }
    using numbers = std::vector<std::uint64_t>;
};

TEST_F(receive_queue_test, keeps_the_order_of_bursts_and_within) {
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(pop(5), numbers{});
    push({1, 2, 3});
    push({4});
    EXPECT_FALSE(queue.empty());
    EXPECT_EQ(pop(2), (numbers{1, 2}));
    push({5, 6});
    EXPECT_FALSE(queue.empty());
    EXPECT_EQ(pop(10), (numbers{3, 4, 5, 6}));
    EXPECT_TRUE(queue.empty());
}

TEST_F(receive_queue_test, peek_leaves_the_oldest) {
    EXPECT_FALSE(queue.peek([](rte_mbuf*) { FAIL(); }));
    push({1, 2});
    for (int i = 0; i < 2; i++) EXPECT_TRUE(queue.peek([](rte_mbuf* m) { EXPECT_EQ(number(m), 1u); }));
    EXPECT_EQ(pop(10), (numbers{1, 2}));
}

TEST_F(receive_queue_test, cost_comes_back_in_portions) {
    for (std::uint64_t i = 0; i < 100; i++) push({i});
    EXPECT_EQ(queue.bytes(), 100 * cost);
    pop(60);  // 49,920 < limit / 4
    EXPECT_EQ(queue.bytes(), 100 * cost);
    pop(5);
    EXPECT_EQ(queue.bytes(), 35 * cost);
    pop(35);
    EXPECT_EQ(queue.bytes(), 0);
}

TEST_F(receive_queue_test, clear_frees_both_lists) {
    push({1, 2, 3});
    pop(1);
    push({4});
    queue.clear();
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.bytes(), 0);
    push({5});  // freed with the queue
}

// Producers push while readers pop and others look: every packet comes out once, those of one producer in order. They
// are made before and freed after, so that a thread sanitizer sees them change hands by the queue alone.
TEST_F(receive_queue_test, many_threads) {
    constexpr std::size_t each = 2000, producers = 2, readers = 2, rounds = 10;
    for (std::size_t round = 0; round < rounds; round++) {
        std::vector<rte_mbuf*> made[producers], popped[readers];
        for (std::size_t p = 0; p < producers; p++)
            for (std::size_t i = 0; i < each; i++) made[p].push_back(make(p << 32 | i));
        std::atomic<std::size_t> count{0};
        std::vector<std::thread> threads;
        for (const auto& mine : made)
            threads.emplace_back([&] {
                for (std::size_t i = 0; i < each;) {
                    rte_mbuf *newest = nullptr, *oldest = mine[i];
                    std::int32_t n = 0;
                    for (; n < 3 && i < each; n++, i++) packet::meta_of(mine[i]).link = std::exchange(newest, mine[i]);
                    queue.push(newest, oldest, n * cost);
                }
            });
        for (auto& mine : popped)
            threads.emplace_back([&] {
                while (count < each * producers) {
                    rte_mbuf* burst[7];
                    const unsigned n = queue.pop(burst, limit);
                    mine.insert(mine.end(), burst, burst + n);
                    count += n;
                    if (n == 0) std::this_thread::yield();
                }
            });
        threads.emplace_back([&] {
            while (count < each * producers) queue.peek([&](rte_mbuf*) { EXPECT_FALSE(queue.empty()); });
        });
        for (auto& t : threads) t.join();
        EXPECT_EQ(count, each * producers);
        EXPECT_EQ(queue.bytes(), 0);
        EXPECT_TRUE(queue.empty());
        for (const auto& mine : popped) {
            std::uint64_t expected[producers] = {};
            for (const rte_mbuf* m : mine) {
                auto& least = expected[number(m) >> 32];
                EXPECT_GE(number(m) & 0xffffffff, least);
                least = (number(m) & 0xffffffff) + 1;
            }
        }
        for (auto& mine : made) rte_pktmbuf_free_bulk(mine.data(), each);
    }
}

// A packet stays while readers look at it: nobody may ever see the queue empty, also while a list changes hands.
TEST_F(receive_queue_test, never_looks_empty_while_a_packet_stays) {
    for (int round = 0; round < 2000; round++) {
        push({1});
        std::thread peeker;
        if (round % 100 == 0) peeker = std::thread([&] { queue.peek([](rte_mbuf*) {}); });
        else queue.peek([](rte_mbuf*) {});
        for (int i = 0; i < 100; i++) ASSERT_FALSE(queue.empty());
        if (peeker.joinable()) peeker.join();
        pop(1);
    }
}

}  // namespace
}  // namespace skua::socket::test
