// Generations against a naive reference: a map of who answered which flow, and lists of who is in which generation.
//
// Members join, take a generation, change it, leave and crash; the working generation goes up and down; packets come,
// are answered or not, and time goes by, now and then enough for flows to end.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "udp/generations.hh"
#include "udp/tables.hh"

namespace skua::udp {

namespace {

using namespace std::chrono_literals;
using outcome = flow_table::outcome;

constexpr nanoseconds timeout = 125s, grace = 34ms;
constexpr std::uint32_t flows = 40, most_members = 12;

struct model_socket final : pcb {
    using pcb::pcb;
};

struct step {
    enum class kind : std::uint8_t { join, assign, leave, work, packet, answer_by_any, wait } what;
    std::uint32_t a, b;
};

rc::Gen<step> any_step() {
    using kind = step::kind;
    return rc::gen::map(
        rc::gen::tuple(rc::gen::weightedElement<kind>({{2, kind::join},
                                                       {3, kind::assign},
                                                       {2, kind::leave},
                                                       {2, kind::work},
                                                       {20, kind::packet},
                                                       {3, kind::answer_by_any},
                                                       {2, kind::wait}}),
                       rc::gen::inRange<std::uint32_t>(0, 1 << 16), rc::gen::inRange<std::uint32_t>(0, 1 << 16)),
        [](const auto& t) {
            return step{std::get<0>(t), std::get<1>(t), std::get<2>(t)};
        });
}

class both {
public:
    both() { join(); }
    ~both() {
        for (auto& m : members_) bound_.unbind(*m.socket);
        rcu_.reclaim(SIZE_MAX);
    }

    void take(const step& s) {
        switch (s.what) {
            case step::kind::join:
                if (members_.size() < most_members) join();
                break;
            case step::kind::assign: assign(member_at(s.a), s.b % 4 == 3 ? registration::none : s.b % 4); break;
            case step::kind::leave:
                if (members_.size() > 1) leave(s.a % members_.size());
                break;
            case step::kind::work: work(s.a % 4); break;
            case step::kind::packet: packet(s.a % flows, s.b % 3 != 0); break;
            case step::kind::answer_by_any: answer(member_at(s.a), s.b % flows); break;
            case step::kind::wait: now_ += nanoseconds(1ms) * (s.a % 8 == 0 ? 60'000 + s.b : s.b % 100); break;
        }
        check_counters();
    }

private:
    /// What the reference knows of a member. `name` is never used again.
    struct member {
        std::unique_ptr<model_socket> socket;
        std::uint32_t name;
        std::uint32_t generation;
    };
    struct answered {
        std::uint32_t by;
        time_point at;
    };

    member& member_at(std::uint32_t n) { return *std::next(members_.begin(), n % members_.size()); }
    member* named(std::uint32_t name) {
        const auto at = std::ranges::find(members_, name, &member::name);
        return at == members_.end() ? nullptr : &*at;
    }
    generations& group() { return *members_.front().socket->member_of->by_generation(); }

    void join() {
        auto s = std::make_unique<model_socket>(ip_family::v4);
        s->reuse_port = true;
        RC_ASSERT(bool(bound_.bind(*s, {*ip_address::parse("198.18.0.1"), 7, 0})));
        members_.push_back({std::move(s), next_name_++, registration::none});
        if (group_made_) return;
        group_made_ = true;
        auto& first = *members_.front().socket;
        {
            const auto lock = bound_.lock();
            first.member_of->set_generations(std::make_shared<generations>(rcu_, dissector(), 1000, random_));
        }
        bound_.refresh(first);
    }
    void assign(member& m, std::uint32_t generation) {
        const auto lock = bound_.lock();
        RC_ASSERT(bool(group().set_generation(*m.socket, generation)));
        m.generation = generation;
    }
    void leave(std::size_t n) {
        const auto gone = std::next(members_.begin(), static_cast<std::ptrdiff_t>(n));
        bound_.unbind(*gone->socket);
        rcu_.reclaim(SIZE_MAX);
        members_.erase(gone);
    }
    void work(std::uint32_t generation) {
        const auto lock = bound_.lock();
        group().set_working(*members_.front().socket, generation);
        working_ = generation;
    }

    lookup_key key(std::uint32_t flow) const {
        lookup_key k;
        k.flow = {*ip_address::parse("198.18.0.1"), *ip_address::parse(flow % 2 ? "10.0.0.1" : "10.0.0.2"), 7,
                  static_cast<std::uint16_t>(1000 + flow)};
        k.hash = flow * 2654435761u;
        k.looks_on = 0;
        k.now = now_;
        return k;
    }
    /// For a while neither answer is wrong.
    bool is_on_the_edge(std::uint32_t flow) const {
        const auto at = answered_.find(flow);
        return at != answered_.end() && now_ - at->second.at > timeout && now_ - at->second.at <= timeout + grace;
    }
    bool alive(std::uint32_t flow) const {
        const auto at = answered_.find(flow);
        return at != answered_.end() && now_ - at->second.at <= timeout;
    }

    void packet(std::uint32_t flow, bool answers) {
        if (is_on_the_edge(flow)) return;
        const pcb* const chosen = bound_.lookup(key(flow));
        packets_++;
        const auto to = std::ranges::find_if(members_, [&](const member& m) { return m.socket.get() == chosen; });
        RC_ASSERT(to != members_.end());
        member* const owner = alive(flow) ? named(answered_.at(flow).by) : nullptr;
        if (owner) {
            established_++;
            RC_ASSERT(&*to == owner);
        } else if (std::ranges::count(members_, working_, &member::generation) != 0) {
            RC_ASSERT(to->generation == working_);
        } else {
            nobody_works_++;
        }
        if (answers) answer(*to, flow);
    }

    void answer(member& by, std::uint32_t flow) {
        if (is_on_the_edge(flow)) return;
        const auto k = key(flow);
        const auto done = group().answered(*by.socket->registered.load(), {k.flow.remote, k.flow.remote_port, 0}, now_);
        answers_++;
        if (!alive(flow)) {
            // The entry may be there still, or gone.
            RC_ASSERT(done == outcome::created || done == outcome::renewed);
        } else if (answered_.at(flow).by == by.name) {
            RC_ASSERT(done == outcome::updated);
        } else if (named(answered_.at(flow).by) == nullptr) {
            RC_ASSERT(done == outcome::taken_over);
            orphaned_++;
        } else {
            RC_ASSERT(done == outcome::conflict);
            return;
        }
        answered_[flow] = {by.name, now_};
    }

    void check_counters() {
        const auto lock = bound_.lock();
        const auto c = group().counted();
        RC_ASSERT(c.rx_processed_total == packets_);
        RC_ASSERT(c.rx_flow_ok == established_);
        RC_ASSERT(c.rx_new_flow_working_gen_dispatch_error == nobody_works_);
        RC_ASSERT(c.rx_new_flow_working_gen_dispatch_ok == packets_ - established_ - nobody_works_);
        RC_ASSERT(c.tx_total == answers_);
        RC_ASSERT(c.orphaned == orphaned_);
        RC_ASSERT(c.evicted == 0u);
    }

    rcu_domain rcu_;
    seeded_random random_{1};
    tables bound_{rcu_, random_};
    bool group_made_ = false;
    std::list<member> members_;
    std::map<std::uint32_t, answered> answered_;
    std::uint32_t next_name_ = 0, working_ = 0;
    time_point now_{1000s};
    std::uint64_t packets_ = 0, established_ = 0, nobody_works_ = 0, answers_ = 0, orphaned_ = 0;
};

}  // namespace

TEST(generations_model, agrees_with_the_reference) {
    EXPECT_TRUE(rc::check([] {
        both b;
        const auto steps = *rc::gen::scale(4, rc::gen::container<std::vector<step>>(any_step()));
        for (const auto& s : steps) b.take(s);
    }));
}

}  // namespace skua::udp
