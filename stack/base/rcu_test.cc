// Tests of RCU: what may be freed when, and the places of readers.
#include "base/rcu.hh"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

namespace skua {
namespace {

/// Something to retire that tells when it was freed.
auto raises(int& freed) {
    return [&freed] { ++freed; };
}

TEST(rcu, frees_at_once_when_nobody_reads) {
    rcu_domain rcu;
    int freed = 0;
    rcu.retire(raises(freed));
    EXPECT_EQ(freed, 0);
    EXPECT_EQ(rcu.retired(), 1u);
    EXPECT_EQ(rcu.reclaim(), 1u);
    EXPECT_EQ(freed, 1);
    EXPECT_EQ(rcu.retired(), 0u);
    EXPECT_EQ(rcu.reclaim(), 0u);
}

TEST(rcu, a_poller_holds_back_until_it_is_quiescent) {
    rcu_domain rcu;
    rcu_domain::poller poller(rcu);
    int freed = 0;
    rcu.retire(raises(freed));
    EXPECT_EQ(rcu.reclaim(), 0u);
    poller.quiescent();
    rcu.retire(raises(freed));  // retired after the pass: must wait for the next
    EXPECT_EQ(rcu.reclaim(), 1u);
    EXPECT_EQ(rcu.reclaim(), 0u);
    poller.quiescent();
    EXPECT_EQ(rcu.reclaim(), 1u);
    EXPECT_EQ(freed, 2);
}

TEST(rcu, every_poller_must_be_quiescent) {
    rcu_domain rcu;
    rcu_domain::poller one(rcu), two(rcu);
    int freed = 0;
    rcu.retire(raises(freed));
    one.quiescent();
    one.quiescent();
    EXPECT_EQ(rcu.reclaim(), 0u);
    two.quiescent();
    EXPECT_EQ(rcu.reclaim(), 1u);
}

TEST(rcu, a_poller_offline_or_gone_holds_nothing_back) {
    rcu_domain rcu;
    int freed = 0;
    std::optional<rcu_domain::poller> poller(std::in_place, rcu);
    rcu.retire(raises(freed));
    poller->offline();
    EXPECT_EQ(rcu.reclaim(), 1u);
    poller->online();
    rcu.retire(raises(freed));
    EXPECT_EQ(rcu.reclaim(), 0u);
    poller.reset();
    EXPECT_EQ(rcu.reclaim(), 1u);
}

TEST(rcu, a_guard_holds_back_until_the_outermost_ends) {
    rcu_domain rcu;
    int freed = 0;
    {
        const rcu_domain::read_guard outer(rcu);
        {
            const rcu_domain::read_guard inner(rcu);
            rcu.retire(raises(freed));
        }
        EXPECT_EQ(rcu.reclaim(), 0u);
    }
    EXPECT_EQ(rcu.reclaim(), 1u);
    EXPECT_EQ(freed, 1);
}

TEST(rcu, a_guard_begun_later_does_not_hold_back) {
    rcu_domain rcu;
    int freed = 0;
    rcu.retire(raises(freed));
    const rcu_domain::read_guard later(rcu);
    EXPECT_EQ(rcu.reclaim(), 1u);
}

TEST(rcu, guards_of_two_domains_nest_in_any_order) {
    rcu_domain a, b;
    int freed = 0;
    {
        const rcu_domain::read_guard one(a);
        const rcu_domain::read_guard two(b);
        const rcu_domain::read_guard three(a);
        a.retire(raises(freed));
        b.retire(raises(freed));
        EXPECT_EQ(a.reclaim() + b.reclaim(), 0u);
    }
    EXPECT_EQ(a.reclaim() + b.reclaim(), 2u);
}

TEST(rcu, tokens_pass_as_readers_go) {
    rcu_domain rcu;
    EXPECT_TRUE(rcu.passed(0));
    rcu_domain::poller poller(rcu);
    const auto first = rcu.start();
    EXPECT_FALSE(rcu.passed(first));
    poller.quiescent();
    EXPECT_TRUE(rcu.passed(first));
    const auto second = rcu.start();
    EXPECT_GT(second, first);
    EXPECT_TRUE(rcu.passed(first));
    EXPECT_FALSE(rcu.passed(second));
}

TEST(rcu, retire_deletes_objects) {
    struct noisy {
        int& freed;
        explicit noisy(int& count) : freed(count) {}
        ~noisy() { ++freed; }
    };
    rcu_domain rcu;
    int freed = 0;
    rcu.retire(std::make_unique<noisy>(freed));
    EXPECT_EQ(freed, 0);
    rcu.reclaim();
    EXPECT_EQ(freed, 1);
}

TEST(rcu, what_is_not_ready_waits_and_lets_others_pass) {
    rcu_domain rcu;
    rcu_domain::poller poller(rcu);
    int held = 0, free = 0, late = 0, asked = 0;
    bool ready = false;
    rcu.retire(raises(held), [&] {
        ++asked;
        return ready;
    });
    rcu.retire(raises(free));
    EXPECT_EQ(rcu.reclaim(), 0u);
    EXPECT_EQ(asked, 0);  // not before the readers are gone
    poller.quiescent();
    rcu.retire(raises(late));
    EXPECT_EQ(rcu.reclaim(), 1u);
    EXPECT_EQ(free, 1);
    EXPECT_EQ(held + late, 0);
    poller.quiescent();
    EXPECT_EQ(rcu.reclaim(), 1u);
    EXPECT_EQ(late, 1);
    EXPECT_EQ(rcu.retired(), 1u);
    ready = true;
    EXPECT_EQ(rcu.reclaim(), 1u);
    EXPECT_EQ(held, 1);
    EXPECT_EQ(asked, 3);
}

TEST(rcu, reclaim_frees_oldest_first_and_no_more_than_asked) {
    rcu_domain rcu;
    std::vector<int> order;
    for (int i = 0; i < 100; i++) rcu.retire([&order, i] { order.push_back(i); });
    EXPECT_EQ(rcu.reclaim(0), 0u);
    EXPECT_EQ(rcu.reclaim(3), 3u);
    EXPECT_EQ(rcu.reclaim(), 64u);
    EXPECT_EQ(rcu.reclaim(), 33u);
    ASSERT_EQ(order.size(), 100u);
    for (int i = 0; i < 100; i++) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(rcu, what_is_freed_may_retire_more) {
    rcu_domain rcu;
    int freed = 0;
    rcu.retire([&] { rcu.retire(raises(freed)); });
    EXPECT_EQ(rcu.reclaim(), 1u);
    EXPECT_EQ(freed, 0);
    EXPECT_EQ(rcu.reclaim(), 1u);
    EXPECT_EQ(freed, 1);
}

TEST(rcu, the_end_of_a_domain_frees_all_ready_or_not) {
    int freed = 0;
    {
        rcu_domain rcu;
        rcu.retire(raises(freed), [] { return false; });
        rcu.retire([&] { rcu.retire(raises(freed)); });
    }
    EXPECT_EQ(freed, 2);
}

TEST(rcu, more_pollers_than_places_are_refused) {
    rcu_domain rcu(2);
    std::optional<rcu_domain::poller> one(std::in_place, rcu), two(std::in_place, rcu);
    EXPECT_THROW(rcu_domain::poller{rcu}, std::length_error);
    one.reset();
    EXPECT_NO_THROW(rcu_domain::poller{rcu});
}

TEST(rcu, a_thread_gives_its_place_back) {
    rcu_domain rcu(1);
    for (int i = 0; i < 3; i++) std::thread([&] { const rcu_domain::read_guard guard(rcu); }).join();
    EXPECT_NO_THROW(rcu_domain::poller{rcu});
}

TEST(rcu, a_thread_outlives_a_domain) {
    auto rcu = std::make_unique<rcu_domain>(1);
    std::latch read(1), destroyed(1);
    std::thread reader([&] {
        { const rcu_domain::read_guard guard(*rcu); }
        read.count_down();
        destroyed.wait();
        // Very likely at the same address: the old place must not be taken for one of the new domain.
        rcu = std::make_unique<rcu_domain>(1);
        int freed = 0;
        {
            const rcu_domain::read_guard guard(*rcu);
            rcu->retire(raises(freed));
            EXPECT_EQ(rcu->reclaim(), 0u);
        }
        EXPECT_EQ(rcu->reclaim(), 1u);
    });
    read.wait();
    rcu.reset();
    destroyed.count_down();
    reader.join();
    EXPECT_NO_THROW(rcu_domain::poller{*rcu});
}

TEST(rcu, threads_beyond_the_places_read_one_after_the_other) {
    rcu_domain rcu(1);
    const rcu_domain::poller poller(rcu);  // the only place of one's own
    std::atomic<int> inside{0}, entered{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&] {
            for (int round = 0; round < 200; round++) {
                const rcu_domain::read_guard outer(rcu);
                const rcu_domain::read_guard inner(rcu);
                EXPECT_EQ(inside.fetch_add(1), 0);
                entered.fetch_add(1);
                std::this_thread::yield();  // lets the others try
                inside.fetch_sub(1);
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(entered, 800);
}

TEST(rcu, a_thread_on_the_shared_place_holds_back_too) {
    rcu_domain rcu(1);
    rcu_domain::poller poller(rcu);
    poller.offline();
    std::latch reading(1), done(1);
    std::thread reader([&] {
        const rcu_domain::read_guard guard(rcu);
        reading.count_down();
        done.wait();
    });
    reading.wait();
    int freed = 0;
    rcu.retire(raises(freed));
    EXPECT_EQ(rcu.reclaim(), 0u);
    done.count_down();
    reader.join();
    EXPECT_EQ(rcu.reclaim(), 1u);
}

// Two readers with places, one on the shared place and a poller look at one object that a writer keeps replacing;
// nobody may ever see a freed one.
TEST(rcu, readers_never_see_what_was_freed) {
    struct object {
        explicit object(std::uint64_t v) : value(v), check(~v) {}
        ~object() {
            const_cast<volatile std::uint64_t&>(value) = check;
        }  // volatile: who looks at a freed one shall see it
        std::uint64_t value, check;
    };
    rcu_domain rcu(3);
    std::atomic<object*> current{new object(1)};
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> bad{0};
    const auto look = [&] {
        const object* o = current.load(std::memory_order_acquire);
        if (o->value != ~o->check) bad.fetch_add(1);
    };
    std::vector<std::thread> readers;
    // The guards share what places the poller leaves; it must be the first to take one.
    std::latch registered(1), ready(4);
    readers.emplace_back([&] {
        rcu_domain::poller poller(rcu);
        registered.count_down();
        ready.count_down();
        while (!stop.load()) {
            look();
            poller.quiescent();
        }
    });
    for (int i = 0; i < 3; i++)
        readers.emplace_back([&] {
            registered.wait();
            ready.count_down();
            while (!stop.load()) {
                const rcu_domain::read_guard guard(rcu);
                look();
            }
        });
    ready.wait();
    for (std::uint64_t v = 2; v < 5000; v++) {
        rcu.retire(std::unique_ptr<object>(current.exchange(new object(v), std::memory_order_acq_rel)));
        rcu.reclaim();
    }
    stop = true;
    for (auto& r : readers) r.join();
    while (rcu.reclaim() > 0) {
    }
    EXPECT_EQ(rcu.retired(), 0u);
    EXPECT_EQ(bad, 0u);
    delete current.load();
}

}  // namespace
}  // namespace skua
