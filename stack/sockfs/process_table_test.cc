// Birth and end of stack processes.
#include "sockfs/process_table.hh"

#include <gtest/gtest.h>
#include <unistd.h>

#include "socket/test_support.hh"

namespace skua::sockfs {
namespace {

class process_table_test : public socket::test::socket_test {
protected:
    int open(process& in, int type = SOCK_DGRAM) {
        return in.socket(host, table.sockfs(), AF_INET, type, 0, {0}).value();
    }
    process_table table;
};

TEST_F(process_table_test, begins_with_sockfs_and_a_process_whose_numbers_are_the_kernels) {
    EXPECT_EQ(table.types().types(), std::vector<std::string>{"sockfs"});
    EXPECT_EQ(table.types().mount("sockfs").error(), error{EBUSY});
    EXPECT_EQ(table.all().size(), 1u);
    EXPECT_EQ(table.find(table.first().id()).get(), &table.first());
    EXPECT_TRUE(table.first().shares_numbers());
    const int fd = open(table.first()), theirs = ::dup(0);
    EXPECT_NE(fd, theirs);
    ::close(theirs);
    EXPECT_FALSE(table.exit(table.first()));
}

TEST_F(process_table_test, a_fork_has_the_same_numbers_for_the_same_files) {
    auto& first = table.first();
    const int a = open(first), b = open(first, SOCK_DGRAM | SOCK_CLOEXEC);
    ASSERT_TRUE(first.close(a));
    const auto child = table.fork(first);
    EXPECT_NE(child->id(), first.id());
    EXPECT_FALSE(child->shares_numbers());
    EXPECT_EQ(child->files().get(a), nullptr);
    EXPECT_EQ(child->files().get(b), first.files().get(b));
    EXPECT_EQ(child->files().close_on_exec(b).value(), true);
    // From here on the tables are different ones.
    EXPECT_EQ(open(*child), 0);
    EXPECT_EQ(first.files().get(0), nullptr);
    ASSERT_TRUE(first.close(b));
    EXPECT_EQ(table.sockfs().inode_count(), 2u);
    child->exec();
    EXPECT_EQ(table.sockfs().inode_count(), 1u);
    EXPECT_TRUE(table.exit(*child));
    EXPECT_EQ(table.sockfs().inode_count(), 0u);
}

TEST_F(process_table_test, a_process_exits_once) {
    const auto p = table.make();
    EXPECT_EQ(table.find(p->id()), p);
    open(*p);
    EXPECT_TRUE(table.exit(*p));
    EXPECT_EQ(table.find(p->id()), nullptr);
    EXPECT_EQ(table.sockfs().inode_count(), 0u);
    EXPECT_FALSE(table.exit(*p));
    EXPECT_NE(table.make()->id(), p->id());
}

TEST_F(process_table_test, files_outlive_the_process_that_made_them) {
    const auto maker = table.make(), heir = table.make();
    const int fd = open(*maker);
    ASSERT_TRUE(maker->pass(fd, *heir));
    ASSERT_TRUE(table.exit(*maker));
    EXPECT_EQ(table.sockfs().inode_count(), 1u);
    ASSERT_TRUE(table.exit(*heir));
    EXPECT_EQ(table.sockfs().inode_count(), 0u);
}

TEST(process_table, its_end_closes_everything) {
    socket::test::fake_host host;
    {
        process_table table;
        const auto child = table.make();
        for (process* p : {&table.first(), child.get()})
            ASSERT_TRUE(p->socket(host, table.sockfs(), AF_INET, SOCK_DGRAM, 0, {0}));
    }
    while (host.rcu().reclaim() > 0) {
    }
    EXPECT_EQ(host.rcu().retired(), 0u);
}

}  // namespace
}  // namespace skua::sockfs
