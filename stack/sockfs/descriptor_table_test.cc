// The lowest free number, limits, sharing, and lookups beside changes.
#include "sockfs/descriptor_table.hh"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <thread>

namespace skua::sockfs {
namespace {

TEST(descriptor_table, gives_the_lowest_free_number) {
    descriptor_table t;
    for (int i = 0; i < 2000; i++) EXPECT_EQ(t.install(std::make_shared<file>()).value(), i);
    ASSERT_TRUE(t.remove(1500));
    ASSERT_TRUE(t.remove(7));
    EXPECT_EQ(t.install(std::make_shared<file>()).value(), 7);
    EXPECT_EQ(t.install(std::make_shared<file>()).value(), 1500);
    EXPECT_EQ(t.install(std::make_shared<file>()).value(), 2000);
}

TEST(descriptor_table, refuses_what_is_not_open) {
    descriptor_table t;
    EXPECT_EQ(t.get(-1), nullptr);
    EXPECT_EQ(t.get(0), nullptr);
    EXPECT_EQ(t.get(1 << 30), nullptr);
    EXPECT_EQ(t.remove(3).error(), error{EBADF});
    const int fd = t.install(std::make_shared<file>()).value();
    ASSERT_TRUE(t.remove(fd));
    EXPECT_EQ(t.remove(fd).error(), error{EBADF});
}

TEST(descriptor_table, full_is_emfile_until_one_is_closed) {
    descriptor_table t(3);
    for (int i = 0; i < 3; i++) ASSERT_TRUE(t.install(std::make_shared<file>()));
    EXPECT_EQ(t.install(std::make_shared<file>()).error(), error{EMFILE});
    ASSERT_TRUE(t.remove(1));
    EXPECT_EQ(t.install(std::make_shared<file>()).value(), 1);
}

TEST(descriptor_table, a_file_lives_as_long_as_anybody_uses_it) {
    descriptor_table t;
    std::weak_ptr<file> watch;
    int fd;
    {
        auto f = std::make_shared<file>();
        watch = f;
        fd = t.install(f).value();
    }
    auto used = t.get(fd);
    EXPECT_EQ(t.remove_all().size(), 1u);
    EXPECT_FALSE(watch.expired());
    used.reset();
    EXPECT_TRUE(watch.expired());
}

TEST(descriptor_table, agrees_with_a_set_over_random_operations) {
    descriptor_table t(300);
    std::set<int> open;
    std::mt19937 random(1);
    for (int i = 0; i < 100000; i++) {
        if (random() % 2) {
            int lowest = 0;
            while (open.contains(lowest)) lowest++;
            const auto fd = t.install(std::make_shared<file>());
            if (lowest == 300) {
                ASSERT_EQ(fd.error(), error{EMFILE});
            } else {
                ASSERT_EQ(fd.value(), lowest);
                open.insert(lowest);
            }
        } else {
            const int fd = static_cast<int>(random() % 310);
            ASSERT_EQ(t.get(fd) != nullptr, open.contains(fd));
            ASSERT_EQ(t.remove(fd).has_value(), open.erase(fd) == 1);
        }
    }
}

TEST(descriptor_table, lookups_run_beside_changes) {
    descriptor_table t;
    std::atomic<bool> stop{false};
    std::thread reader([&] {
        while (!stop)
            for (int fd = 0; fd < 64; fd++) t.get(fd);
    });
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < 32; i++) (void)t.install(std::make_shared<file>());
        for (int i = 0; i < 32; i++) (void)t.remove(i);
    }
    stop = true;
    reader.join();
    EXPECT_TRUE(t.remove_all().empty());
}

}  // namespace
}  // namespace skua::sockfs
