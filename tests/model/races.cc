// Everybody at once on the same descriptors: receivers, senders, closers, and who duplicates, forks, passes, watches
// and polls them. What it shows is that nothing is left at the end, and a sanitizer's silence.
//
// SKUA_RACE_SECONDS says how long (2).
#include <gtest/gtest.h>
#include <rte_lcore.h>

#include <cstdlib>
#include <thread>

#include "busy_processes.hh"

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

}  // namespace skua::test
