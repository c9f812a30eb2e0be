// The lowest free number, limits, sharing, and lookups beside changes.
#include "sockfs/descriptor_table.hh"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <random>
#include <set>
#include <thread>

#include "sockfs/test_support.hh"

namespace skua::sockfs {
namespace {

TEST(descriptor_table, gives_the_lowest_free_number) {
    descriptor_table t(std::make_unique<own_numbers>(4096));
    for (int i = 0; i < 2000; i++) EXPECT_EQ(t.install(file::make<some_file>()).value(), i);
    ASSERT_TRUE(t.remove(1500));
    ASSERT_TRUE(t.remove(7));
    EXPECT_EQ(t.install(file::make<some_file>()).value(), 7);
    EXPECT_EQ(t.install(file::make<some_file>()).value(), 1500);
    EXPECT_EQ(t.install(file::make<some_file>()).value(), 2000);
}

TEST(descriptor_table, refuses_what_is_not_open) {
    descriptor_table t(std::make_unique<own_numbers>(4096));
    EXPECT_EQ(t.get(-1), nullptr);
    EXPECT_EQ(t.get(0), nullptr);
    EXPECT_EQ(t.get(1 << 30), nullptr);
    EXPECT_EQ(t.remove(3).error(), error{EBADF});
    const int fd = t.install(file::make<some_file>()).value();
    ASSERT_TRUE(t.remove(fd));
    EXPECT_EQ(t.remove(fd).error(), error{EBADF});
}

TEST(descriptor_table, full_is_emfile_until_one_is_closed) {
    descriptor_table t(std::make_unique<own_numbers>(3));
    for (int i = 0; i < 3; i++) ASSERT_TRUE(t.install(file::make<some_file>()));
    EXPECT_EQ(t.install(file::make<some_file>()).error(), error{EMFILE});
    ASSERT_TRUE(t.remove(1));
    EXPECT_EQ(t.install(file::make<some_file>()).value(), 1);
}

TEST(descriptor_table, a_file_lives_as_long_as_anybody_uses_it) {
    descriptor_table t(std::make_unique<own_numbers>(4096));
    std::weak_ptr<file> watch;
    int fd;
    {
        auto f = file::make<some_file>();
        watch = f;
        fd = t.install(f).value();
    }
    auto used = t.get(fd);
    EXPECT_TRUE(t.remove(fd));
    EXPECT_FALSE(watch.expired());
    used.reset();
    EXPECT_TRUE(watch.expired());
}

TEST(descriptor_table, agrees_with_a_set_over_random_operations) {
    descriptor_table t(std::make_unique<own_numbers>(300));
    std::set<int> open;
    std::mt19937 random(1);
    for (int i = 0; i < 100000; i++) {
        if (random() % 2) {
            int lowest = 0;
            while (open.contains(lowest)) lowest++;
            const auto fd = t.install(file::make<some_file>());
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
    descriptor_table t(std::make_unique<own_numbers>(4096));
    std::atomic<bool> stop{false};
    std::thread reader([&] {
        while (!stop)
            for (int fd = 0; fd < 64; fd++) t.get(fd);
    });
    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < 32; i++) (void)t.install(file::make<some_file>());
        for (int i = 0; i < 32; i++) (void)t.remove(i);
    }
    stop = true;
    reader.join();
    EXPECT_TRUE(t.entries().empty());
}

TEST(descriptor_table, takes_a_number_from_a_minimum_on) {
    descriptor_table t(std::make_unique<own_numbers>(100));
    EXPECT_EQ(t.install(file::make<some_file>(), false, 10).value(), 10);
    EXPECT_EQ(t.install(file::make<some_file>(), false, 10).value(), 11);
    EXPECT_EQ(t.install(file::make<some_file>()).value(), 0);
    EXPECT_EQ(t.install(file::make<some_file>(), false, 100).error(), error{EINVAL});
    EXPECT_EQ(t.install(file::make<some_file>(), false, -1).error(), error{EINVAL});
    EXPECT_EQ(t.install(file::make<some_file>(), false, 99).value(), 99);
    EXPECT_EQ(t.install(file::make<some_file>(), false, 99).error(), error{EMFILE});
}

TEST(descriptor_table, a_number_gets_another_file) {
    descriptor_table t(std::make_unique<own_numbers>(100));
    const auto first = file::make<some_file>(), second = file::make<some_file>();
    EXPECT_EQ(t.install_at(50, first, true).value(), nullptr);
    EXPECT_EQ(t.close_on_exec(50).value(), true);
    EXPECT_EQ(t.install_at(50, second, false).value(), first);
    EXPECT_EQ(t.get(50), second);
    EXPECT_EQ(t.close_on_exec(50).value(), false);
    EXPECT_EQ(t.install_at(100, first, false).error(), error{EBADF});
    EXPECT_EQ(t.install_at(-1, first, false).error(), error{EBADF});
    EXPECT_EQ(t.close_on_exec(1).error(), error{EBADF});
    EXPECT_EQ(t.set_close_on_exec(1, true).error(), error{EBADF});
}

TEST(descriptor_table, a_number_is_the_kernels_or_ours) {
    descriptor_table t(std::make_unique<kernel_numbers>());
    const int ours = t.install(file::make<some_file>()).value();
    const int theirs = ::dup(0);
    EXPECT_NE(ours, theirs);
    EXPECT_EQ(t.install_at(theirs, file::make<some_file>(), false).value(), nullptr);
    char byte;
    EXPECT_EQ(::read(theirs, &byte, 1), -1);
    EXPECT_EQ(errno, EBADF);
    EXPECT_TRUE(t.remove(ours));
    const int lowest = ::dup(0);
    EXPECT_EQ(lowest, ours);
    EXPECT_EQ(::close(lowest), 0);
    EXPECT_TRUE(t.remove(theirs));
    EXPECT_EQ(::close(theirs), -1);
}

TEST(descriptor_table, the_kernels_limit_is_ours) {
    descriptor_table t(std::make_unique<kernel_numbers>());
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    const rlimit few{static_cast<rlim_t>(t.install(file::make<some_file>()).value()) + 1, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    EXPECT_EQ(t.install(file::make<some_file>()).error(), error{EMFILE});
    setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_TRUE(t.install(file::make<some_file>()));
}

}  // namespace
}  // namespace skua::sockfs
