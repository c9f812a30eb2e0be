// Which member a packet goes to, through upgrades, crashes and returns; and that each packet is counted once.
#include "udp/generations.hh"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <thread>

#include "packet/packet.hh"
#include "packet/pool.hh"
#include "support/sanitized.hh"
#include "udp/tables_fixture.hh"

namespace skua::udp {
namespace {

using namespace std::chrono_literals;
using outcome = flow_table::outcome;

class generations_test : public tables_fixture {
protected:
    ~generations_test() override { rcu.reclaim(SIZE_MAX); }

    test_socket& join(std::optional<std::uint32_t> generation = {}) {
        auto& s = bound("198.18.0.1", {.reuse_port = true});
        if (generation) {
            EXPECT_TRUE(assign(s, *generation));
        }
        return s;
    }
    /// Of the group that a first socket has begun.
    test_socket& begin(const udp_grm_dissector& d = {}, std::size_t room = 10000) {
        auto& s = join();
        const auto made = dissector::make(std::as_bytes(std::span(&d, 1)));
        {
            const auto lock = table.lock();
            s.member_of->set_generations(std::make_shared<generations>(rcu, *made, room, random));
        }
        table.refresh(s);
        return s;
    }
    generations& all() { return *sockets_group->by_generation(); }
    result<void> assign(test_socket& s, std::uint32_t generation) {
        sockets_group = s.member_of;
        const auto lock = table.lock();
        return all().set_generation(s, generation);
    }
    void work(test_socket& s, std::uint32_t generation) {
        sockets_group = s.member_of;
        const auto lock = table.lock();
        all().set_working(s, generation);
    }
    generation_counters counted() {
        const auto lock = table.lock();
        return all().counted();
    }
    lookup_key from(std::uint32_t flow) {
        lookup_key k = packet_to("198.18.0.1", test_port, flow * 2654435761u);
        k.flow.remote_port = static_cast<std::uint16_t>(flow);
        k.flow.remote = ip_address(ipv4_address(10, 0, 0, static_cast<std::uint8_t>(1 + (flow >> 16))));
        k.now = now;
        k.looks_on = 0;
        return k;
    }
    pcb* to(std::uint32_t flow) { return table.lookup(from(flow)); }
    outcome answer(pcb& by, std::uint32_t flow) {
        const auto k = from(flow);
        return all().answered(*by.registered.load(), {k.flow.remote, k.flow.remote_port, 0}, now);
    }
    /// As a socket layer answers whatever comes.
    pcb* serve(std::uint32_t flow) {
        pcb* const p = to(flow);
        answer(*p, flow);
        return p;
    }
    lookup_key carrying(std::string_view payload, std::uint32_t flow = 1) {
        datagram = packet::allocate(pool.get(), static_cast<std::uint32_t>(28 + payload.size()));
        packet::write(datagram, 28, std::as_bytes(std::span(payload)));
        lookup_key k = from(flow);
        k.packet = datagram.get();
        k.payload = 28;
        return k;
    }
    static udp_grm_dissector first_two_bytes(std::uint32_t apps = 0) {
        udp_grm_dissector d{};
        d.dissector_type = DISSECTOR_CBPF;
        d.max_apps = apps;
        d.filter_len = 2;
        d.filter[0] = BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0);
        d.filter[1] = BPF_STMT(BPF_RET | BPF_A, 0);
        return d;
    }
    std::string cookie_of(const pcb& p) {
        const std::uint16_t c = all().cookie_of(p);
        return {char(c >> 8), char(c)};
    }

    group* sockets_group = nullptr;
    time_point now{1000s};
    packet::pool pool = *packet::make_pool("generations", 63, 2048, SOCKET_ID_ANY, 0);
    packet::packet datagram;
};

TEST_F(generations_test, new_flows_go_to_the_working_generation) {
    auto& first = begin();
    assign(first, 0);
    auto& second = join(0);
    auto& third = join(1);
    std::set<pcb*> seen;
    for (std::uint32_t f = 1; f < 500; f++) seen.insert(to(f));
    EXPECT_EQ(seen, (std::set<pcb*>{&first, &second}));
    work(third, 1);
    for (std::uint32_t f = 1; f < 500; f++) ASSERT_EQ(to(f), &third);
}

TEST_F(generations_test, an_answered_flow_stays_an_unanswered_does_not) {
    auto& old = begin();
    assign(old, 0);
    EXPECT_EQ(serve(1), &old);
    EXPECT_EQ(to(2), &old);
    auto& fresh = join(1);
    work(fresh, 1);
    EXPECT_EQ(to(1), &old);
    EXPECT_EQ(to(2), &fresh);
    now += 126s;
    EXPECT_EQ(to(1), &fresh) << "its time has run out";
}

TEST_F(generations_test, answering_keeps_a_flow_alive) {
    auto& old = begin();
    assign(old, 0);
    serve(1);
    auto& fresh = join(1);
    work(fresh, 1);
    for (int i = 0; i < 10; i++) {
        now += 100s;
        ASSERT_EQ(serve(1), &old);
    }
}

TEST_F(generations_test, a_working_generation_without_members_leaves_it_to_the_group) {
    auto& only = begin();
    assign(only, 3);
    EXPECT_EQ(to(1), &only);
    const auto c = counted();
    EXPECT_EQ(c.rx_new_flow_total, 1u);
    EXPECT_EQ(c.rx_new_flow_working_gen_dispatch_error, 1u);
    EXPECT_EQ(c.rx_new_flow_working_gen_dispatch_ok, 0u);
}

TEST_F(generations_test, sockets_without_a_generation_get_no_new_flows_but_keep_theirs) {
    auto& working = begin();
    assign(working, 0);
    auto& plain = join();
    for (std::uint32_t f = 1; f < 500; f++) ASSERT_EQ(to(f), &working);
    EXPECT_EQ(answer(plain, 7), outcome::created);
    EXPECT_EQ(to(7), &plain);
}

TEST_F(generations_test, back_to_an_earlier_generation) {
    auto& old = begin();
    assign(old, 0);
    auto& fresh = join(1);
    work(fresh, 1);
    EXPECT_EQ(serve(1), &fresh);
    work(fresh, 0);
    EXPECT_EQ(to(1), &fresh);
    EXPECT_EQ(to(2), &old);
}

TEST_F(generations_test, a_socket_may_change_its_generation) {
    auto& s = begin();
    auto& other = join();
    assign(s, 0);
    assign(other, 0);
    serve(1);
    assign(other, 1);
    assign(s, 1);
    work(s, 1);
    std::set<pcb*> seen;
    for (std::uint32_t f = 2; f < 100; f++) seen.insert(to(f));
    EXPECT_EQ(seen.size(), 2u);
    assign(s, registration::none);
    for (std::uint32_t f = 2; f < 100; f++) ASSERT_EQ(to(f), &other);
    EXPECT_EQ(s.registered.load()->index, registration::none);
}

TEST_F(generations_test, flows_of_a_dead_member_are_orphaned_once) {
    auto& old = begin();
    assign(old, 0);
    auto& survivor = join(1);
    for (std::uint32_t f = 1; f <= 10; f++) answer(old, f);
    work(survivor, 1);
    table.unbind(old);
    for (std::uint32_t f = 1; f <= 10; f++) EXPECT_EQ(serve(f), &survivor);
    for (std::uint32_t f = 1; f <= 10; f++) EXPECT_EQ(serve(f), &survivor);
    const auto c = counted();
    EXPECT_EQ(c.orphaned, 10u);
    EXPECT_EQ(c.rx_flow_other_error, 10u);
    EXPECT_EQ(c.rx_flow_ok, 10u);
    EXPECT_EQ(c.tx_flow_update_conflict, 0u);
}

TEST_F(generations_test, a_newcomer_never_inherits_by_accident) {
    auto& working = begin();
    assign(working, 0);
    for (int i = 0; i < 300; i++) {
        auto& one = join(1);
        answer(one, 1);
        ASSERT_EQ(to(1), &one);
        table.unbind(one);
        auto& next = join(1);  // in its place, with its index
        ASSERT_EQ(to(1), &working);
        table.unbind(next);
        rcu.reclaim(SIZE_MAX);
    }
}

TEST_F(generations_test, who_leaves_the_group_by_connecting_has_left) {
    auto& stays = begin();
    assign(stays, 0);
    auto& one = join(0);
    answer(one, 1);
    connect(one, "198.18.0.1", 4242);
    EXPECT_EQ(one.registered.load(), nullptr);
    EXPECT_EQ(to(1), &stays);
}

TEST_F(generations_test, flows_of_a_generation_are_shared_evenly_and_stay_when_others_come) {
    auto& first = begin();
    assign(first, 0);
    for (int i = 1; i < 8; i++) join(0);
    std::map<pcb*, int> load;
    std::vector<pcb*> before;
    for (std::uint32_t f = 0; f < 40000; f++) load[before.emplace_back(to(f))]++;
    ASSERT_EQ(load.size(), 8u);
    for (const auto& [who, n] : load) EXPECT_NEAR(n, 5000, 350);
    join(0);
    int moved = 0;
    for (std::uint32_t f = 0; f < 40000; f++) moved += to(f) != before[f];
    EXPECT_LE(moved, 40000 / 9 * 1.1);
}

TEST_F(generations_test, weights_hold_within_a_generation) {
    auto& light = begin();
    assign(light, 0);
    auto& heavy = join(0);
    {
        const auto lock = table.lock();
        heavy.weight = 3;
    }
    table.refresh(heavy);
    int to_heavy = 0;
    for (std::uint32_t f = 0; f < 20000; f++) to_heavy += to(f) == &heavy;
    EXPECT_NEAR(to_heavy, 15000, 500);
}

TEST_F(generations_test, cookies_name_their_sockets) {
    auto& old = begin(first_two_bytes());
    assign(old, 0);
    auto& older = join(0);
    auto& fresh = join(1);
    work(fresh, 1);
    EXPECT_EQ(old.registered.load()->index, 0u);
    EXPECT_EQ(older.registered.load()->index, 1u);
    EXPECT_EQ(fresh.registered.load()->index, 0u);
    for (auto* s : {&old, &older, &fresh}) EXPECT_EQ(table.lookup(carrying(cookie_of(*s))), s);
    EXPECT_EQ(table.lookup(carrying("\xff\xff")), &fresh);
    const std::string of_old = cookie_of(old);
    table.unbind(old);
    EXPECT_EQ(table.lookup(carrying(of_old)), &fresh);
    const std::uint16_t nobody = grm_cookie{9, 9}.pack();
    EXPECT_EQ(table.lookup(carrying(std::string{char(nobody >> 8), char(nobody)})), &fresh);
    auto& next = join(0);
    EXPECT_EQ(table.lookup(carrying(of_old)), &next) << "the lowest free index";
    const auto c = counted();
    EXPECT_EQ(c.rx_processed_total, 7u);
    EXPECT_EQ(c.rx_flow_ok, 4u);
    EXPECT_EQ(c.rx_flow_new_bad_cookie, 1u);
    EXPECT_EQ(c.rx_flow_other_error, 1u);
    EXPECT_EQ(c.rx_flow_new_unseen, 2u);
}

TEST_F(generations_test, a_generation_has_256_cookies) {
    auto& first = begin(first_two_bytes());
    assign(first, 5);
    for (int i = 1; i < 256; i++) EXPECT_TRUE(assign(join(), 5));
    auto& one_more = join();
    EXPECT_EQ(assign(one_more, 5).error().code, ENOSPC);
    EXPECT_EQ(assign(one_more, 37).error().code, ENOSPC) << "37 is 5 in a cookie";
    EXPECT_TRUE(assign(one_more, 6));
}

TEST_F(generations_test, a_flow_table_needs_no_cookies) {
    auto& first = begin();
    assign(first, 5);
    for (int i = 1; i < 300; i++) join(5);
    EXPECT_EQ(sockets.back().registered.load()->index, 299u);
    EXPECT_NE(all().cookie_of(first), 0);
    EXPECT_EQ(all().cookie_of(sockets.back()), 0);
}

TEST_F(generations_test, applications_have_working_generations_of_their_own) {
    udp_grm_dissector d{};
    d.dissector_type = DISSECTOR_BESPOKE;
    d.max_apps = 4;
    d.filter_len = 3;
    d.filter[0] = BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0);
    d.filter[1] = BPF_STMT(BPF_ALU | BPF_OR | BPF_K, 0x80000000);
    d.filter[2] = BPF_STMT(BPF_RET | BPF_A, 0);
    auto& a = begin(d);
    sockets_group = a.member_of;
    auto& b = join();
    {
        const auto lock = table.lock();
        EXPECT_TRUE(all().set_app(b, 3));
        EXPECT_EQ(all().set_app(b, 4).error().code, EOVERFLOW);
    }
    assign(a, 2);
    assign(b, 2);
    {
        const auto lock = table.lock();
        EXPECT_EQ(all().set_app(b, 1).error().code, EEXIST);
        EXPECT_TRUE(all().set_app(b, 3));
    }
    work(a, 2);
    work(b, 2);
    EXPECT_EQ(table.lookup(carrying(std::string_view("\0", 1))), &a);
    EXPECT_EQ(table.lookup(carrying("\3")), &b);
    // Four applications share the 32 generations of a cookie.
    EXPECT_EQ(grm_cookie::unpack(all().cookie_of(a))->generation, 2);
    EXPECT_EQ(grm_cookie::unpack(all().cookie_of(b))->generation, 3 * 8 + 2);
    EXPECT_EQ(all().working(b), 2u);
}

TEST_F(generations_test, noop_remembers_nothing) {
    udp_grm_dissector d{};
    d.dissector_type = DISSECTOR_NOOP;
    auto& old = begin(d);
    assign(old, 0);
    EXPECT_EQ(all().flows(), nullptr);
    EXPECT_EQ(to(1), &old);
    auto& fresh = join(1);
    work(fresh, 1);
    EXPECT_EQ(to(1), &fresh);
}

TEST_F(generations_test, each_packet_is_counted_once) {
    auto& old = begin();
    assign(old, 0);
    std::uint64_t packets = 0;
    for (std::uint32_t f = 1; f <= 100; f++, packets++) serve(f);
    now += 126s;
    for (std::uint32_t f = 51; f <= 150; f++, packets++) serve(f);
    for (std::uint32_t f = 51; f <= 150; f++, packets++) serve(f);
    auto c = counted();
    EXPECT_EQ(c.rx_processed_total, packets);
    EXPECT_EQ(c.rx_dissected_ok_total, packets);
    EXPECT_EQ(c.rx_flow_ok, 100u);
    EXPECT_EQ(c.rx_flow_new_unseen, 200u);
    EXPECT_EQ(c.rx_flow_new_had_expired, 50u);
    EXPECT_EQ(c.rx_new_flow_total, 200u);
    EXPECT_EQ(c.rx_new_flow_working_gen_dispatch_ok, 200u);
    EXPECT_EQ(c.tx_total, packets);
    EXPECT_EQ(c.tx_flow_create_ok, 200u);
    EXPECT_EQ(c.tx_flow_create_from_expired_ok, 50u);
    EXPECT_EQ(c.tx_flow_update_ok, 100u);
    // A look from another shard, or for no delivery, is none; and the counts of who left stay.
    auto elsewhere = from(1);
    elsewhere.looks_on = 1;
    table.lookup(elsewhere);
    elsewhere.looks_on = lookup_key::nobody;
    table.lookup(elsewhere);
    auto& fresh = join(0);
    EXPECT_EQ(answer(fresh, 51), outcome::conflict);
    table.unbind(old);
    c = counted();
    EXPECT_EQ(c.rx_processed_total, packets);
    EXPECT_EQ(c.tx_total, packets + 1);
    EXPECT_EQ(c.tx_flow_update_conflict, 1u);
    rcu.reclaim(SIZE_MAX);
    EXPECT_EQ(counted().tx_total, packets + 1);
}

TEST_F(generations_test, a_full_table_says_how_many_went) {
    auto& s = begin({}, 100);
    assign(s, 0);
    for (std::uint32_t f = 0; f < 150; f++) serve(f);
    EXPECT_EQ(counted().evicted, 50u);
    EXPECT_EQ(all().flows()->size(), 100u);
}

TEST_F(generations_test, another_selector_may_take_over_and_give_back) {
    auto& old = begin();
    assign(old, 0);
    serve(1);
    auto& fresh = join(1);
    work(fresh, 1);
    ASSERT_TRUE(table.attach(old, std::make_shared<cookie_selector>(0, 1)));
    EXPECT_EQ(table.lookup(carrying("\1", 1)), &fresh);
    {
        const auto lock = table.lock();
        old.member_of->set_generations(old.member_of->by_generation());
    }
    EXPECT_EQ(to(1), &old);
    EXPECT_EQ(counted().tx_flow_create_ok, 1u);
}

// Shards look up, other threads answer, members come and go: every packet has a member that is there.
TEST_F(generations_test, shards_and_answers_race_with_members) {
    constexpr std::uint32_t flows = 2000;
    auto& stays = begin({}, flows / 2);
    assign(stays, 0);
    std::atomic<bool> stop{false};
    std::atomic<nanoseconds::rep> clock{now.time_since_epoch().count()};
    std::atomic<std::uint64_t> looked{0}, strays{0};
    std::vector<std::thread> shards;
    // Flows of the socket that stays and is answered all the time.
    for (std::uint32_t f = flows; f < flows + 8; f++) answer(stays, f);
    for (std::uint16_t shard = 0; shard < 2; shard++)
        shards.emplace_back([&, shard] {
            rcu_domain::poller me(rcu);
            seeded_random mine(shard);
            while (!stop) {
                for (int i = 0; i < 32; i++) {
                    const auto f = static_cast<std::uint32_t>(i % 4 ? mine.below(flows) : flows + mine.below(8));
                    lookup_key k = from(f);
                    k.now = time_point(nanoseconds(clock += 1'000'000));
                    k.looks_on = shard;
                    pcb* const p = table.lookup(k);
                    if (f >= flows && p != &stays) strays++;
                    if (auto* r = p->registered.load(std::memory_order_acquire))
                        r->of.answered(*r, {k.flow.remote, k.flow.remote_port, 0}, k.now);
                    looked++;
                }
                me.quiescent();
            }
        });
    const auto until = std::chrono::steady_clock::now() + (test::sanitized ? 3s : 700ms);
    std::uint32_t generation = 0;
    while (std::chrono::steady_clock::now() < until) {
        generation++;
        std::vector<test_socket*> instance;
        for (int i = 0; i < 3; i++) instance.push_back(&join(generation));
        work(stays, generation);
        std::this_thread::sleep_for(1ms);
        table.unbind(*instance[0]);  // in the middle of its work
        std::this_thread::sleep_for(1ms);
        work(stays, 0);
        for (auto* s : instance) table.unbind(*s);
        const auto token = rcu.start();
        while (!rcu.passed(token)) std::this_thread::yield();
        rcu.reclaim(SIZE_MAX);
        while (&sockets.back() != &stays) sockets.pop_back();
    }
    stop = true;
    for (auto& one : shards) one.join();
    EXPECT_GT(looked, 0u);
    EXPECT_EQ(strays, 0u);
    const auto c = counted();
    EXPECT_EQ(c.rx_processed_total,
              c.rx_flow_ok + c.rx_new_flow_working_gen_dispatch_ok + c.rx_new_flow_working_gen_dispatch_error);
    EXPECT_GT(c.orphaned, 0u);
}

}  // namespace
}  // namespace skua::udp
