// Tests of the timer queue.
#include "wait/timer_queue.hh"

#include <gtest/gtest.h>

#include <vector>

namespace skua::wait {
namespace {

using namespace std::chrono_literals;
constexpr time_point start{};

struct log_of_calls {
    timer_queue::callback operator()(int n) {
        return [this, n](time_point now) { calls.push_back({n, now}); };
    }
    std::vector<std::pair<int, time_point>> calls;
    std::vector<int> names() const {
        std::vector<int> all;
        for (const auto& c : calls) all.push_back(c.first);
        return all;
    }
};

TEST(timer_queue, runs_what_is_due_in_order) {
    timer_queue q;
    log_of_calls log;
    EXPECT_EQ(q.next_due(), std::nullopt);
    q.schedule(start + 3ms, log(3));
    q.schedule(start + 1ms, log(1));
    q.schedule(start + 3ms, log(4));
    q.schedule(start + 5ms, log(5));
    EXPECT_EQ(q.next_due(), start + 1ms);
    EXPECT_EQ(q.run(start + 1ms - 1ns), 0u);
    EXPECT_EQ(q.run(start + 1ms), 1u);
    EXPECT_EQ(q.run(start + 4ms), 2u);
    EXPECT_EQ(log.names(), (std::vector{1, 3, 4}));
    EXPECT_EQ(log.calls.back().second, start + 4ms);
    EXPECT_EQ(q.next_due(), start + 5ms);
    EXPECT_EQ(q.size(), 1u);
}

TEST(timer_queue, what_is_cancelled_does_not_run) {
    timer_queue q;
    log_of_calls log;
    const auto a = q.schedule(start + 1ms, log(1));
    const auto b = q.schedule(start + 1ms, log(2));
    EXPECT_TRUE(q.cancel(a));
    EXPECT_FALSE(q.cancel(a));
    EXPECT_FALSE(q.cancel({}));
    EXPECT_EQ(q.run(start + 1s), 1u);
    EXPECT_FALSE(q.cancel(b));
    EXPECT_EQ(log.names(), std::vector{2});
}

TEST(timer_queue, a_callback_may_schedule_and_cancel) {
    timer_queue q;
    log_of_calls log;
    timer_queue::id later;
    q.schedule(start + 1ms, [&](time_point now) {
        EXPECT_TRUE(q.cancel(later));
        q.schedule(now, log(10));
        q.schedule(start, log(9));
    });
    later = q.schedule(start + 2ms, log(2));
    q.schedule(start + 3ms, log(3));
    EXPECT_EQ(q.run(start + 3ms), 2u);
    EXPECT_EQ(log.names(), std::vector{3});
    EXPECT_EQ(q.run(start + 3ms), 2u);
    EXPECT_EQ(log.names(), (std::vector{3, 9, 10}));
}

}  // namespace
}  // namespace skua::wait
