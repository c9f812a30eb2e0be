// Work that may wait, in threads of its own.
#include "attach/undertaker.hh"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <future>

namespace skua::attach {
namespace {

using namespace std::chrono_literals;

TEST(undertaker, who_waits_keeps_no_other_user_waiting) {
    undertaker u;
    std::promise<void> stuck, other, last;
    std::shared_future<void> go_on = stuck.get_future().share();
    std::atomic<int> done{0};
    u.bury(1, [&, go_on] { go_on.wait(), done++; });
    u.bury(1, [&] { done++, last.set_value(); });
    u.bury(2, [&] { other.set_value(); });
    EXPECT_EQ(other.get_future().wait_for(10s), std::future_status::ready);
    EXPECT_EQ(done, 0);
    stuck.set_value();
    EXPECT_EQ(last.get_future().wait_for(10s), std::future_status::ready);
    EXPECT_EQ(done, 2);
}

TEST(undertaker, closes_descriptors) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    undertaker u;
    u.bury(0, ends[1]);
    char byte;
    EXPECT_EQ(read(ends[0], &byte, 1), 0);  // the end of the pipe, once the other one is closed
    close(ends[0]);
}

TEST(undertaker, work_goes_on_when_it_is_gone) {
    std::promise<void> stuck, done;
    std::shared_future<void> go_on = stuck.get_future().share();
    {
        undertaker u;
        u.bury(1, [go_on] { go_on.wait(); });
        u.bury(1, [&done] { done.set_value(); });
    }
    stuck.set_value();
    EXPECT_EQ(done.get_future().wait_for(10s), std::future_status::ready);
}

}  // namespace
}  // namespace skua::attach
