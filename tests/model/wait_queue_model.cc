// Wait queues against a naive list of the kernel's rules: normal waiters in front, exclusive ones behind, and a wake-up
// that ends with the last exclusive waiter it was meant for.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <list>
#include <vector>

#include "wait/wait_queue.hh"

namespace skua::wait {

namespace {

enum class action : std::uint8_t { add, add_exclusive, remove, wake };

struct step {
    action what = action::wake;
    unsigned queue = 0;
    unsigned waiter = 0;
    std::uint32_t events = 0;
    unsigned exclusive = 0;
};

std::ostream& operator<<(std::ostream& out, const step& s) {
    const char* const names[] = {"add", "add_exclusive", "remove", "wake"};
    out << "queue " << s.queue << " " << names[static_cast<int>(s.what)];
    if (s.what == action::wake) return out << "(" << s.events << ", " << s.exclusive << ")";
    return out << "(waiter " << s.waiter << ")";
}

constexpr unsigned waiters = 6, queues = 2;

/// Waiter n takes events that have one of its bits.
std::uint32_t interest(unsigned n) { return 1u << n % 3 | 8; }
bool takes(unsigned n, std::uint32_t events) { return events == 0 || (events & interest(n)); }

struct told_waiter final : waiter {
    bool notify(std::uint32_t events) override {
        log->push_back(name);
        return takes(name, events);
    }
    unsigned name = 0;
    std::vector<unsigned>* log = nullptr;
};

/// A queue as the rules say it.
struct reference {
    struct place {
        unsigned waiter;
        bool exclusive;
    };
    std::list<place> places;

    unsigned wake(std::uint32_t events, unsigned exclusive, std::vector<unsigned>& log) {
        unsigned took = 0, left = exclusive;
        for (const auto& p : places) {
            log.push_back(p.waiter);
            if (!takes(p.waiter, events)) continue;
            took++;
            if (p.exclusive && exclusive != 0 && --left == 0) break;
        }
        return took;
    }
};

void agree(const std::vector<step>& steps) {
    std::vector<unsigned> log, expected_log;
    std::array<wait_queue, queues> q;
    std::array<told_waiter, waiters> w;
    std::array<reference, queues> model;
    const auto waits_somewhere = [&](unsigned n) {
        return std::ranges::any_of(model, [n](const reference& r) {
            return std::ranges::any_of(r.places, [n](const auto& p) { return p.waiter == n; });
        });
    };
    for (unsigned n = 0; n < waiters; n++) {
        w[n].name = n;
        w[n].log = &log;
    }
    for (const auto& s : steps) {
        auto& places = model[s.queue].places;
        switch (s.what) {
            case action::add:
                if (!waits_somewhere(s.waiter)) {
                    q[s.queue].add(w[s.waiter]);
                    places.push_front({s.waiter, false});
                }
                break;
            case action::add_exclusive:
                if (!waits_somewhere(s.waiter)) {
                    q[s.queue].add_exclusive(w[s.waiter]);
                    places.push_back({s.waiter, true});
                }
                break;
            case action::remove:
                // Also from a queue on which it is not.
                q[s.queue].remove(w[s.waiter]);
                places.remove_if([&](const auto& p) { return p.waiter == s.waiter; });
                break;
            case action::wake: {
                const unsigned took = q[s.queue].wake(s.events, s.exclusive);
                RC_ASSERT(took == model[s.queue].wake(s.events, s.exclusive, expected_log));
                break;
            }
        }
        RC_ASSERT(log == expected_log);
        for (unsigned n = 0; n < queues; n++) RC_ASSERT(q[n].active() == !model[n].places.empty());
    }
    for (unsigned n = 0; n < queues; n++)
        for (const auto& p : model[n].places) q[n].remove(w[p.waiter]);
}

}  // namespace

TEST(wait_queue_model, agrees_with_a_list) {
    EXPECT_TRUE(rc::check("random waiters and wake-ups", [] {
        using rc::gen::element, rc::gen::set, rc::gen::inRange;
        const auto any = rc::gen::build<step>(
            set(&step::what, element(action::add, action::add_exclusive, action::remove, action::wake, action::wake)),
            set(&step::queue, inRange(0u, queues)), set(&step::waiter, inRange(0u, waiters)),
            set(&step::events, inRange(0u, 16u)), set(&step::exclusive, inRange(0u, 4u)));
        agree(*rc::gen::scale(4, rc::gen::container<std::vector<step>>(any)));
    }));
}

}  // namespace skua::wait
