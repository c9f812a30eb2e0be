// Memory that is shared with somebody who may not wish us well.
#include "attach/region.hh"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace skua::attach {
namespace {

TEST(region, is_zeros_and_nobody_can_resize_it) {
    const auto made = region::make("test", 8192);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->bytes().size(), 8192u);
    EXPECT_TRUE(std::ranges::all_of(made->bytes(), [](std::byte b) { return b == std::byte{0}; }));
    for (const off_t size : {0, 4096, 8191, 8193, 1 << 20}) {
        EXPECT_EQ(ftruncate(made->fd(), size), -1) << size;
        EXPECT_EQ(errno, EPERM) << size;
    }
    EXPECT_EQ(fcntl(made->fd(), F_ADD_SEALS, F_SEAL_WRITE), -1);  // nor take it from us to write
}

TEST(region, another_mapping_of_it_is_the_same_memory) {
    const auto made = region::make("test", 4096);
    ASSERT_TRUE(made);
    const auto other = region::open(dup(made->fd()), 4096);
    ASSERT_TRUE(other);
    made->bytes()[5] = std::byte{7};
    EXPECT_EQ(other->bytes()[5], std::byte{7});
}

TEST(region, what_could_shrink_or_is_too_small_is_refused) {
    const auto refused = [](int fd) {
        const auto opened = region::open(fd, 4096);
        return !opened && opened.error().code == EINVAL;
    };
    const int unsealed = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ASSERT_EQ(ftruncate(unsealed, 8192), 0);
    EXPECT_TRUE(refused(unsealed));
    const auto small = region::make("test", 4095);
    EXPECT_TRUE(refused(dup(small->fd())));
    EXPECT_TRUE(refused(::open("/dev/null", O_RDWR | O_CLOEXEC)));
    EXPECT_TRUE(refused(-1));
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    EXPECT_TRUE(refused(ends[0]));
    close(ends[1]);
    // Hugetlbfs has seals too, and a page that it has not got is a signal.
    const int huge = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
    if (huge < 0) GTEST_SKIP() << "no hugetlbfs";
    ASSERT_EQ(ftruncate(huge, 2 << 20), 0);
    ASSERT_EQ(fcntl(huge, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    EXPECT_TRUE(refused(huge));
}

}  // namespace
}  // namespace skua::attach
