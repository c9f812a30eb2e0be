// Types that are registered once and mounted once, and inodes that are numbered, counted and listed.
#include "sockfs/filesystem.hh"

#include <gtest/gtest.h>

#include "socket/test_support.hh"

namespace skua::sockfs {
namespace {

TEST(filesystems, a_type_is_registered_once) {
    filesystems all;
    EXPECT_TRUE(all.register_type("sockfs"));
    EXPECT_EQ(all.register_type("sockfs").error(), error{EBUSY});
    EXPECT_EQ(all.register_type("").error(), error{EINVAL});
    EXPECT_TRUE(all.register_type("other"));
    EXPECT_EQ(all.types(), (std::vector<std::string>{"other", "sockfs"}));
    EXPECT_TRUE(all.unregister_type("other"));
    EXPECT_EQ(all.unregister_type("other").error(), error{EINVAL});
    EXPECT_EQ(all.types(), std::vector<std::string>{"sockfs"});
}

TEST(filesystems, a_type_is_mounted_once) {
    filesystems all;
    EXPECT_EQ(all.mount("sockfs").error(), error{ENODEV});
    ASSERT_TRUE(all.register_type("sockfs"));
    EXPECT_EQ(all.unmount("sockfs").error(), error{EINVAL});
    const auto mounted = all.mount("sockfs").value();
    EXPECT_EQ(mounted->type(), "sockfs");
    EXPECT_EQ(all.mount("sockfs").error(), error{EBUSY});
    EXPECT_EQ(all.unregister_type("sockfs").error(), error{EBUSY});
    EXPECT_EQ(all.unmount("unknown").error(), error{EINVAL});
    EXPECT_TRUE(all.unmount("sockfs"));
    EXPECT_EQ(all.unmount("sockfs").error(), error{EINVAL});
    EXPECT_NE(all.mount("sockfs").value()->device(), mounted->device());
}

class superblock_test : public socket::test::socket_test {
protected:
    std::shared_ptr<inode> make_inode() {
        return block->make_inode(socket::udp_socket::create(host, AF_INET, SOCK_DGRAM, 0, {0}).value(), 7);
    }
    filesystems all;
    std::shared_ptr<superblock> block = all.register_type("sockfs") ? all.mount("sockfs").value() : nullptr;
};

TEST_F(superblock_test, inodes_are_numbered_counted_and_listed) {
    EXPECT_EQ(block->inode_count(), 0u);
    auto a = make_inode(), b = make_inode(), c = make_inode();
    EXPECT_LT(a->number(), b->number());
    EXPECT_LT(b->number(), c->number());
    EXPECT_EQ(a->owner(), 7u);
    EXPECT_EQ(a->socket().inode_number(), a->number());
    EXPECT_EQ(&a->of(), block.get());
    EXPECT_EQ(block->inode_count(), 3u);
    b.reset();
    EXPECT_EQ(block->inode_count(), 2u);
    EXPECT_EQ(block->inodes(), (std::vector<std::shared_ptr<const inode>>{a, c}));
    const auto last = c->number();
    c.reset();
    EXPECT_GT(make_inode()->number(), last);  // no number comes twice
}

TEST_F(superblock_test, is_not_unmounted_while_inodes_live) {
    auto i = make_inode();
    EXPECT_EQ(all.unmount("sockfs").error(), error{EBUSY});
    i.reset();
    EXPECT_TRUE(all.unmount("sockfs"));
}

TEST_F(superblock_test, the_end_of_an_inode_closes_its_socket) {
    auto i = make_inode();
    ASSERT_TRUE(i->socket().bind(socket::test::at("198.18.0.1", 7)));
    i.reset();
    i = make_inode();
    EXPECT_TRUE(i->socket().bind(socket::test::at("198.18.0.1", 7)));
}

}  // namespace
}  // namespace skua::sockfs
