// A million calls by chance leave nothing behind, and every datagram was delivered or counted as dropped.
#include <gtest/gtest.h>

#include "busy_processes.hh"

namespace skua::test {

using namespace std::chrono_literals;

TEST(life, a_million_calls_leave_nothing) {
    constexpr unsigned calls = 1'000'000;
    const auto give_up = monotonic_clock::now() + 20s;  // with a sanitizer
    busy_processes all(2);
    caller one(all, 1);
    std::mt19937 random(2);
    unsigned made = 0;
    for (; made < calls; made++) {
        switch (random() % 20) {
            case 0: one.open_socket(); break;
            case 1: one.open_set(); break;
            case 2:
            case 3: one.duplicate(); break;
            case 4: one.pass(); break;
            case 5:
            case 6: one.close(); break;
            case 7:
                if (random() % 100 == 0) one.fork();
                break;
            case 8:
                if (random() % 400 == 0) one.exec();
                break;
            case 9:
            case 10:
            case 11: one.receive(); break;
            case 12: one.change_set(); break;
            case 13: one.wait_in_set(); break;
            case 14: one.poll(); break;
            default: one.send(); break;
        }
        // Datagrams are on their way while other calls are made.
        if (random() % 8 == 0) all.poll(static_cast<unsigned>(random() % 2));
        if (made % 1024 == 0 && monotonic_clock::now() > give_up) break;
    }
    all.end();
    RecordProperty("calls", static_cast<int>(made));
    EXPECT_EQ(all.table().sockfs().inode_count(), 0u);
    EXPECT_EQ(all.stack().rcu().retired(), 0u);
    EXPECT_EQ(all.packets_in_use(), 0u);
    EXPECT_EQ(all.delivered() + all.dropped(), one.sent);
    EXPECT_GT(all.delivered(), one.sent / 10);
    EXPECT_GT(one.sent, made / 100);
}

}  // namespace skua::test
