// Everybody at once on the same descriptors: receivers, senders, closers, and who duplicates, forks, passes, watches
// and polls them. What it shows is that nothing is left at the end, and a sanitizer's silence.
//
// SKUA_RACE_SECONDS says how long (2).
#include <gtest/gtest.h>
#include <rte_lcore.h>

#include <cstdlib>
#include <thread>

#include "busy_processes.hh"
#include "sockfs/test_support.hh"

namespace skua::test {

namespace {

using namespace std::chrono_literals;

std::chrono::seconds duration() {
    const char* const text = std::getenv("SKUA_RACE_SECONDS");
    return std::chrono::seconds(text ? std::atoi(text) : 2);
}

/// A thread per shard.
class pollers {
public:
    explicit pollers(busy_processes& all) {
        for (unsigned s = 0; s < all.stack().shard_count(); s++)
            threads_.emplace_back([this, &all, s] {
                rte_thread_register();
                while (!stop_.load(std::memory_order_relaxed))
                    if (all.poll(s) == 0) std::this_thread::yield();
                rte_thread_unregister();
            });
    }
    ~pollers() {
        stop_ = true;
        for (auto& t : threads_) t.join();
    }

private:
    std::atomic<bool> stop_{false};
    std::vector<std::thread> threads_;
};

struct role {
    const char* name;
    void (*call)(caller&);
    /// How often it is left alone, so that the others meet something.
    std::chrono::microseconds pause;
};

const role roles[] = {
    {"opener", [](caller& c) { c.open_socket(); }, 20us},
    {"set opener", [](caller& c) { c.open_set(); }, 50us},
    {"sender", [](caller& c) { c.send(); }, 0us},
    {"receiver", [](caller& c) { c.receive(); }, 0us},
    {"closer", [](caller& c) { c.close(); }, 30us},
    {"dup-er", [](caller& c) { c.duplicate(); }, 50us},
    {"passer", [](caller& c) { c.pass(); }, 50us},
    {"forker", [](caller& c) { c.fork(); }, 100us},
    {"executer", [](caller& c) { c.exec(); }, 5000us},
    {"epoll changer", [](caller& c) { c.change_set(); }, 0us},
    {"epoll waiter", [](caller& c) { c.wait_in_set(); }, 0us},
    {"poller", [](caller& c) { c.poll(); }, 0us},
    {"lister", [](caller& c) { c.list(); }, 2000us},
    {"mixer", [](caller& c) { c.mix_with_kernel(); }, 100us},
};

}  // namespace

TEST(races, everybody_at_once) {
    busy_processes all(2);
    std::uint64_t sent = 0;
    {
        const pollers polling(all);
        std::atomic<bool> stop{false};
        std::vector<caller> callers;
        std::vector<std::thread> threads;
        for (unsigned n = 0; n < std::size(roles); n++) callers.emplace_back(all, n + 1).patience = 200us;
        for (std::size_t n = 0; n < callers.size(); n++)
            threads.emplace_back([&, n] {
                const role& r = roles[n];
                while (!stop.load(std::memory_order_relaxed)) {
                    r.call(callers[n]);
                    if (r.pause.count()) std::this_thread::sleep_for(r.pause);
                }
            });
        std::this_thread::sleep_for(duration());
        stop = true;
        for (auto& t : threads) t.join();
        for (std::size_t n = 0; n < callers.size(); n++) {
            EXPECT_GT(callers[n].done, 0u) << roles[n].name;
            RecordProperty(roles[n].name, std::to_string(callers[n].done));
            sent += callers[n].sent;
        }
    }
    all.end();
    EXPECT_EQ(all.table().sockfs().inode_count(), 0u);
    EXPECT_EQ(all.stack().rcu().retired(), 0u);
    EXPECT_EQ(all.packets_in_use(), 0u);
    EXPECT_EQ(all.delivered() + all.dropped(), sent);
}

// An event that comes about when waiting ends is seen once: by one who waits, or by who looks afterwards.
TEST(races, wake_against_timeout) {
    using namespace sockfs;
    const auto end = monotonic_clock::now() + duration() / 2;
    unsigned in_time = 0, late = 0;
    for (unsigned round = 0; monotonic_clock::now() < end; round++) {
        const auto f = file::make<some_file>();
        const auto set = file::make<epoll_file>(nanoseconds(0));
        const epoll_event in{.events = EPOLLIN | EPOLLET, .data = {}};
        ASSERT_TRUE(set->control(EPOLL_CTL_ADD, 1, *f, &in));
        const auto deadline = monotonic_clock::now() + 150us;
        std::atomic<unsigned> seen{0};
        const auto wait = [&](time_point until) {
            epoll_event out[2];
            seen += set->wait(out, until, nullptr).value();
        };
        std::thread first(wait, deadline), second(wait, deadline);
        while (monotonic_clock::now() < deadline + std::chrono::microseconds(round % 100) - 20us) {
        }
        f->happen(EPOLLIN);
        first.join();
        second.join();
        ++(seen ? in_time : late);
        wait(time_point::min());
        ASSERT_EQ(seen, 1u);
    }
    EXPECT_GT(in_time, 0u);
    EXPECT_GT(late, 0u);
}

// Sets and what they watch are closed while threads wait in them: a call that is inside ends as if nothing were.
TEST(races, waiting_against_close) {
    using namespace sockfs;
    const auto end = monotonic_clock::now() + duration() / 2;
    process p(1, std::make_unique<own_numbers>(64), false, nanoseconds(0));
    while (monotonic_clock::now() < end) {
        const int fd = p.files().install(file::make<some_file>()).value();
        const int inner = p.epoll_create(0).value(), outer = p.epoll_create(0).value();
        const epoll_event in{.events = EPOLLIN, .data = {}};
        ASSERT_TRUE(p.epoll_control(inner, EPOLL_CTL_ADD, fd, &in));
        ASSERT_TRUE(p.epoll_control(outer, EPOLL_CTL_ADD, inner, &in));
        const auto wait = [&p](int set) {
            epoll_event out[2];
            const auto n = p.epoll_wait(set, out, monotonic_clock::now() + 300us, nullptr);
            EXPECT_TRUE(n || n.error().code == EBADF);
        };
        std::thread waits_inside(wait, inner), waits_outside(wait, outer), polls([&p, inner, outer] {
            pollfd both[] = {{inner, POLLIN, 0}, {outer, POLLIN, 0}};
            EXPECT_TRUE(p.poll(both, monotonic_clock::now() + 300us, nullptr));
        }),
            wakes([f = std::static_pointer_cast<some_file>(p.files().get(fd))] { f->happen(EPOLLIN); });
        for (const int closed : {inner, fd, outer}) EXPECT_TRUE(p.close(closed));
        for (auto* t : {&waits_inside, &waits_outside, &polls, &wakes}) t->join();
        ASSERT_TRUE(p.descriptors().empty());
    }
}

}  // namespace skua::test
