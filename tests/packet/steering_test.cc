// Queue, shard and socket of a flow: a NIC with a redirection table, played by the test at the other side of rings.
#include <rte_lcore.h>

#include <algorithm>
#include <map>
#include <random>
#include <thread>

#include "control/explain.hh"
#include "packet/packet_test.hh"
#include "port/ring_pair.hh"
#include "port/rules_test_support.hh"
#include "udp/group.hh"
#include "udp/selector.hh"

namespace skua::test {

namespace {

constexpr std::size_t table_entries = 128;

control::config wired_host(unsigned shards, std::uint16_t device) {
    static const auto text = control::parse_config(R"(
        [pool]
        packets = 8192
        cache = 0
        [mailbox]
        size = 4096
        [[port]]
        device = "0"
        name = "p0"
        mac = "02:00:00:00:00:01"
        addresses = ["198.18.0.1/24", "2001:db8::1/64"]
        dad = false
    )",
                                                   "wired host");
    if (!text) throw std::runtime_error(control::to_string(text.error()));
    control::config c = *text;
    c.stack.shards = shards;
    c.ports[0].device = std::to_string(device);
    know_peers(c);
    return c;
}

/// A host with a port of its own, whose queues the test fills as a NIC would: by its table, which the stack may change.
class wired_world {
public:
    explicit wired_world(unsigned shards, const std::function<void(control::config&)>& edit = {},
                         bool with_table = true, rule_table* rules = nullptr)
        : frames_(make_pool()), rules_(rules) {
        static unsigned made = 0;
        wire_ = std::move(*port::ring_wire::make("wired" + std::to_string(made++), static_cast<std::uint16_t>(shards)));
        control::config c = wired_host(shards, wire_->id());
        if (edit) edit(c);
        control::surroundings around;
        around.now = [this] { return time_point(nanoseconds(now_.load())); };
        around.make_random = [seed = std::uint64_t(1)]() mutable { return std::make_unique<seeded_random>(seed++); };
        if (with_table)
            around.spread = {table_entries,
                             [this](std::uint16_t, std::span<const std::uint16_t> table) -> result<void> {
                                 if (refuses) return fail(EBUSY);
                                 for (std::size_t i = 0; i < table.size(); i++) table_[i] = table[i];
                                 return {};
                             },
                             {}};
        if (rules) around.spread.rules = [rules](std::uint16_t) { return rules->taker(); };
        auto stack = control::stack::make(c, control::driving::own, around);
        if (!stack) throw std::runtime_error(stack.error());
        stack_ = std::move(*stack);
        settle();
        sent();
    }
    ~wired_world() {
        settle();
        sent();
        unsigned out = rte_mempool_in_use_count(frames_.get());
        for (unsigned i = 0; i < shards(); i++) out += rte_mempool_in_use_count(shard(i).pool());
        EXPECT_EQ(out, 0u) << "packets are missing";
    }

    control::stack& stack() { return *stack_; }
    shard::shard& shard(unsigned i) { return stack_->shard_at(i); }
    unsigned shards() const { return stack_->shard_count(); }
    const port::port& nic() const { return *stack_->ports()[0]; }
    std::uint16_t queue_of(const flow_key& f) const {
        const auto* const rule = rules_ ? rules_->find(f) : nullptr;
        return rule ? rule->queue : table_[nic().hash()(f) % table_entries].load();
    }

    /// False if the queue is full. `mark`: what the NIC says of it, 0: nothing.
    bool inject(std::string_view frame, const flow_key& flow, std::uint32_t mark = 0) {
        packet::packet p = packet::allocate(frames_.get(), static_cast<std::uint32_t>(frame.size()));
        if (!p) return false;
        packet::write(p, 0, as_bytes(frame));
        if (mark != 0) {
            p.get()->ol_flags |= RTE_MBUF_F_RX_FDIR | RTE_MBUF_F_RX_FDIR_ID;
            p.get()->hash.fdir.hi = mark;
        }
        if (!wire_->inject(queue_of(flow), p.get())) return false;
        (void)p.release();
        return true;
    }
    void poll(unsigned i) {
        now_ += 2000;
        shard(i).poll_once(stack_->now());
    }
    void settle() {
        for (unsigned idle = 0; idle < 3;) {
            unsigned moved = 0;
            now_ += 10000;
            for (unsigned i = 0; i < shards(); i++) moved += shard(i).poll_once(stack_->now());
            idle = moved ? 0 : idle + 1;
        }
    }
    /// Frames that came out, by queue.
    std::vector<std::string> sent() {
        std::vector<std::string> all;
        for (std::uint16_t q = 0; q < shards(); q++)
            while (rte_mbuf* m = wire_->collect(q)) {
                all.emplace_back(rte_pktmbuf_mtod(m, const char*), m->data_len);
                rte_pktmbuf_free(m);
            }
        return all;
    }
    void step_time() { now_ += 20000; }

    socket::udp_socket_ptr open(const std::function<void(socket::udp_socket&)>& before = {}) {
        auto s = std::move(*socket::udp_socket::create(*stack_, AF_INET, SOCK_DGRAM, 0, {0}));
        const int room = 4 << 20;
        EXPECT_TRUE(s->setsockopt(SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room));
        if (before) before(*s);
        return s;
    }
    socket::udp_socket_ptr bound(std::uint16_t at, const std::function<void(socket::udp_socket&)>& before = {}) {
        auto s = open(before);
        EXPECT_TRUE(s->bind(endpoint{us4, at, 0}));
        return s;
    }
    std::vector<socket::udp_socket_ptr> group(unsigned n) {
        std::vector<socket::udp_socket_ptr> all;
        for (unsigned i = 0; i < n; i++) all.push_back(bound(7, with(SOL_SOCKET, SO_REUSEPORT)));
        return all;
    }
    std::uint64_t crossed() {
        std::uint64_t n = 0;
        for (unsigned i = 0; i < shards(); i++) n += shard(i).counts().handed_over.get();
        return n;
    }
    std::uint64_t drops() {
        std::uint64_t n = 0;
        for (unsigned i = 0; i < shards(); i++)
            for (const auto& d : drop_reasons) n += shard(i).counts().drops.get(d.reason);
        return n;
    }

    bool refuses = false;

private:
    static packet::pool make_pool() {
        static unsigned made = 0;
        return std::move(*packet::make_pool("wired_frames" + std::to_string(made++), 8191, 2048 + RTE_PKTMBUF_HEADROOM,
                                            SOCKET_ID_ANY, 0));
    }
    std::atomic<std::int64_t> now_{nanoseconds(1h).count()};
    packet::pool frames_;
    rule_table* const rules_;
    std::unique_ptr<port::ring_wire> wire_;
    std::array<std::atomic<std::uint16_t>, table_entries> table_{};
    std::unique_ptr<control::stack> stack_;
};

flow_key flow_to(std::uint16_t local_port, std::uint16_t remote_port) { return {us4, peer4, local_port, remote_port}; }

std::string frame_of(const flow_key& f, std::string_view payload) {
    return udp_frame(spec4, f.remote_port, f.local_port, payload);
}

/// Flows that carry numbers, and what has come of them.
class numbered_flows {
public:
    numbered_flows(std::uint16_t local_port, std::uint16_t n) : local_port_(local_port), sent_(n), got_(n) {}
    bool send(wired_world& w, std::uint16_t flow) {
        const auto key = flow_to(local_port_, static_cast<std::uint16_t>(20000 + flow));
        if (!w.inject(frame_of(key, std::to_string(flow) + " " + std::to_string(sent_[flow] + 1)), key)) return false;
        sent_[flow]++;
        return true;
    }
    void read(socket::udp_socket& s) {
        while (const auto got = world::receive(s)) {
            const auto space = got->payload.find(' ');
            const auto flow = static_cast<std::size_t>(std::stoul(got->payload.substr(0, space)));
            const auto number = std::stoull(got->payload.substr(space + 1));
            disorder += number != got_[flow] + 1;
            got_[flow] = number;
            total++;
        }
    }
    void expect_all() const {
        EXPECT_EQ(sent_, got_);
        EXPECT_EQ(disorder, 0u);
    }
    std::uint16_t flows() const { return static_cast<std::uint16_t>(sent_.size()); }
    std::uint64_t total = 0;
    std::uint64_t disorder = 0;

private:
    const std::uint16_t local_port_;
    std::vector<std::uint64_t> sent_;
    std::vector<std::uint64_t> got_;
};

}  // namespace

// ---- groups ----

TEST(steering_groups, with_equal_members_no_datagram_crosses) {
    wired_world w(4);
    auto members = w.group(8);
    for (std::uint16_t port = 20000; port < 21000; port++) {
        const auto f = flow_to(7, port);
        ASSERT_TRUE(w.inject(frame_of(f, "x"), f));
    }
    w.settle();
    std::size_t got = 0;
    for (auto& m : members) {
        const auto n = world::receive_all(*m).size();
        EXPECT_GT(n, 1000 / 8 / 2);
        got += n;
    }
    EXPECT_EQ(got, 1000u);
    EXPECT_EQ(w.crossed(), 0u);
    EXPECT_EQ(w.stack().steering().not_aligned(), "");
}

TEST(steering_groups, turned_off_the_members_are_even_and_datagrams_cross) {
    wired_world w(4, [](control::config& c) { c.stack.steering = control::steering_rule::off; });
    auto members = w.group(3);
    for (std::uint16_t port = 20000; port < 20900; port++) {
        const auto f = flow_to(7, port);
        ASSERT_TRUE(w.inject(frame_of(f, "x"), f));
    }
    w.settle();
    for (auto& m : members) EXPECT_NEAR(static_cast<double>(world::receive_all(*m).size()), 300, 90);
    EXPECT_GT(w.crossed(), 400u);
    EXPECT_EQ(w.stack().steering().not_aligned(), "steering is off");
}

TEST(steering_groups, the_table_may_follow_the_members) {
    wired_world w(2, [](control::config& c) { c.stack.steering = control::steering_rule::reta_follows_group; });
    std::vector<socket::udp_socket_ptr> members;
    for (const std::uint16_t home : {0, 0, 0, 1})
        members.push_back(w.bound(7, [home](auto& s) {
            set(s, SOL_SOCKET, SO_REUSEPORT, 1);
            s.home_shard = home;
            s.home_fixed = true;
        }));
    const auto weights = w.stack().steering().weights_of_groups();
    EXPECT_EQ(weights, (std::vector<std::uint32_t>{3, 1}));
    ASSERT_TRUE(w.stack().steering().begin(weights));
    while (!w.stack().steering().advance(w.stack().now())) w.settle();
    EXPECT_TRUE(w.stack().steering().outcome());
    for (std::uint16_t port = 20000; port < 21000; port++) {
        const auto f = flow_to(7, port);
        ASSERT_TRUE(w.inject(frame_of(f, "x"), f));
        if (port % 100 == 0) w.settle();
    }
    w.settle();
    for (auto& m : members) EXPECT_NEAR(static_cast<double>(world::receive_all(*m).size()), 250, 80);
    EXPECT_EQ(w.crossed(), 0u);
    // Without a member on a shard there is nothing to follow: that shard would rest for good.
    members.pop_back();
    EXPECT_THAT(w.stack().steering().weights_of_groups(), IsEmpty());
}

// ---- local ports ----

TEST(steering_ports, replies_come_in_on_the_home_of_who_connects_or_sends) {
    wired_world w(4);
    std::map<std::uint16_t, unsigned> homes;
    std::vector<socket::udp_socket_ptr> all;
    for (int i = 0; i < 4000; i++) {
        auto s = w.open();
        if (i % 2) ASSERT_TRUE(s->connect(endpoint{peer4, static_cast<std::uint16_t>(1000 + i), 0}));
        else ASSERT_TRUE(world::send(*s, "x", {peer4, static_cast<std::uint16_t>(1000 + i), 0}));
        const auto reply = flow_to(s->local_endpoint().port, static_cast<std::uint16_t>(1000 + i));
        ASSERT_EQ(w.queue_of(reply), s->home_shard) << i;
        homes[s->home_shard]++;
        if (i % 100 == 0) {
            w.settle();
            w.sent();
        }
        all.push_back(std::move(s));
    }
    EXPECT_EQ(homes.size(), 4u);
    w.settle();
    w.sent();
}

TEST(steering_ports, are_random_still) {
    wired_world w(2);
    std::map<std::uint16_t, int> chosen;
    int after_the_last = 0;
    std::uint16_t last = 0;
    for (int i = 0; i < 1000; i++) {
        auto s = w.open();
        ASSERT_TRUE(s->connect(endpoint{peer4, 9, 0}));
        const auto port = s->local_endpoint().port;
        EXPECT_GE(port, 32768);
        EXPECT_LE(port, 60999);
        chosen[port]++;
        after_the_last += port == last + 1;
        last = port;
    }
    EXPECT_GT(chosen.size(), 930u);
    EXPECT_LT(after_the_last, 10);
}

TEST(steering_ports, when_none_fits_any_will_do) {
    wired_world w(4, [](control::config& c) { c.udp.ephemeral_ports = {40000, 40007}; });
    std::vector<socket::udp_socket_ptr> all;
    for (int i = 0; i < 8; i++) {
        all.push_back(w.open());
        ASSERT_TRUE(all.back()->connect(endpoint{peer4, 9, 0})) << i;
    }
    auto one_more = w.open();
    EXPECT_EQ(one_more->connect(endpoint{peer4, 9, 0}).error().code, EAGAIN);
}

TEST(steering_ports, one_shard_chooses_as_ever) {
    std::vector<std::uint16_t> with_table, without;
    for (auto* ports : {&with_table, &without}) {
        wired_world w(1, {}, ports == &with_table);
        for (int i = 0; i < 20; i++) {
            auto s = w.open();
            ASSERT_TRUE(s->connect(endpoint{peer4, 9, 0}));
            ports->push_back(s->local_endpoint().port);
        }
    }
    EXPECT_EQ(with_table, without);
}

// ---- the hash ----

TEST(steering_hash, is_random_for_each_start_or_symmetric) {
    const flow_key f = flow_to(7, 40000), back{f.remote, f.local, f.remote_port, f.local_port};
    const auto hash = [&](control::rss_key::source from, const flow_key& of) {
        control::config c;
        c.stack.rss_key.from = from;
        auto s = control::stack::make(c, control::driving::library);
        EXPECT_TRUE(s);
        return (*s)->flow_hash()(of);
    };
    using source = control::rss_key::source;
    EXPECT_NE(hash(source::random, f), hash(source::random, f));
    EXPECT_EQ(hash(source::symmetric, f), hash(source::symmetric, f));
    EXPECT_EQ(hash(source::symmetric, f), hash(source::symmetric, back));
}

// ---- marks ----

TEST(steering_marks, spare_the_lookup_and_are_never_believed_blindly) {
    wired_world w(2);
    auto s = w.open();
    ASSERT_TRUE(s->connect(endpoint{peer4, 9, 0}));
    auto other = w.bound(7);
    const auto f = flow_to(s->local_endpoint().port, 9), elsewhere = flow_to(7, 9);
    // As if the device had taken the rule.
    auto& marks = const_cast<udp::marked_flows&>(w.stack().offload().marks());
    const auto mark = marks.add(f, 0, *s);
    ASSERT_TRUE(mark);
    const auto marked = [&] { return w.shard(0).counts().marked.get() + w.shard(1).counts().marked.get(); };
    ASSERT_TRUE(w.inject(frame_of(f, "its own"), f, *mark));
    ASSERT_TRUE(w.inject(frame_of(elsewhere, "another's"), elsewhere, *mark));
    ASSERT_TRUE(w.inject(frame_of(f, "wrong mark"), f, *mark + 1));
    ASSERT_TRUE(w.inject(frame_of(f, "impossible mark"), f, 0xffffffff));
    w.settle();
    EXPECT_THAT(world::receive_all(*s), ElementsAre("its own", "wrong mark", "impossible mark"));
    EXPECT_THAT(world::receive_all(*other), ElementsAre("another's"));
    EXPECT_EQ(marked(), 1u);
    // Two sockets with one four-tuple: the tables decide.
    auto twin = w.open(with(SOL_SOCKET, SO_REUSEADDR));
    marks.remove(*mark);
    ASSERT_TRUE(w.inject(frame_of(f, "late"), f, *mark));
    w.settle();
    EXPECT_THAT(world::receive_all(*s), ElementsAre("late"));
    EXPECT_EQ(marked(), 1u);
}

TEST(steering_marks, a_socket_that_goes_takes_its_rules_along) {
    wired_world w(2);
    // The rings refuse every rule: nothing is kept of what was asked for.
    EXPECT_FALSE(w.stack().offload().rules(0)->takes_flows());
    EXPECT_THAT(w.nic().describe(), testing::HasSubstr("Connected flow to queue   software"));
    for (int i = 0; i < 10; i++) {
        auto s = w.open();
        ASSERT_TRUE(s->connect(endpoint{peer4, 9, 0}));
        EXPECT_EQ(w.stack().offload().rules_of(*s), 0u);
        s->disconnect();
    }
    EXPECT_FALSE(w.stack().offload().marks().any());
}

// ---- rules ----

TEST(steering_rules, a_connected_flow_comes_to_its_home_marked) {
    rule_table nic;
    wired_world w(4, {}, true, &nic);
    auto s = w.bound(5353, [](auto& one) { one.home_shard = 3; });
    ASSERT_TRUE(s->connect(endpoint{peer4, 9, 0}));
    const auto f = flow_to(5353, 9);
    ASSERT_EQ(nic.entries().size(), 1u) << "the port's own went with the peer";
    EXPECT_EQ(nic.find(f)->queue, 3);
    ASSERT_TRUE(w.inject(frame_of(f, "x"), f, nic.find(f)->mark));
    w.settle();
    EXPECT_EQ(world::receive_all(*s).size(), 1u);
    EXPECT_EQ(w.crossed(), 0u);
    EXPECT_EQ(w.shard(3).counts().marked.get(), 1u);
    const auto e = control::explain(w.stack(), f);
    EXPECT_THAT(e->text(), testing::HasSubstr("rte_flow: 1 of the flow's own, to queue 3"));
    s->disconnect();
    ASSERT_EQ(nic.entries().size(), 1u) << "and came back without";
    EXPECT_FALSE(nic.entries().front().flow);
    s.reset();
    EXPECT_TRUE(nic.entries().empty());
}

TEST(steering_rules, who_is_alone_on_a_port_gets_all_of_it) {
    rule_table nic;
    wired_world w(4, {}, true, &nic);
    auto s = w.bound(8, [](auto& one) { one.home_shard = 2; });
    for (std::uint16_t port = 20000; port < 20100; port++) {
        const auto f = flow_to(8, port);
        ASSERT_EQ(w.queue_of(f), 2);
        ASSERT_TRUE(w.inject(frame_of(f, "x"), f));
    }
    w.settle();
    EXPECT_EQ(world::receive_all(*s).size(), 100u);
    EXPECT_EQ(w.crossed(), 0u);
    const auto e = control::explain(w.stack(), flow_to(8, 20001));
    EXPECT_EQ(e->queue, 2);
    EXPECT_EQ(e->shard, 2);
    EXPECT_FALSE(e->crosses);
    EXPECT_THAT(e->text(), testing::HasSubstr("rte_flow: all that comes to port 8, to queue 2"));
    // The other family's socket is another, of the same port.
    EXPECT_EQ(nic.entries().size(), 1u);
    auto six = std::move(*socket::udp_socket::create(w.stack(), AF_INET6, SOCK_DGRAM, 0, {0}));
    set(*six, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    ASSERT_TRUE(six->bind(endpoint{ip_address::v6_any(), 8, 0}));
    EXPECT_EQ(nic.entries().size(), 2u);
    s.reset();
    EXPECT_EQ(nic.entries().size(), 1u);
    EXPECT_EQ(nic.entries().front().family, ip_family::v6);
    six.reset();
    EXPECT_TRUE(nic.entries().empty());
}

TEST(steering_rules, a_dual_stack_socket_has_both_families) {
    rule_table nic;
    wired_world w(2, {}, true, &nic);
    auto s = std::move(*socket::udp_socket::create(w.stack(), AF_INET6, SOCK_DGRAM, 0, {0}));
    ASSERT_TRUE(s->bind(endpoint{ip_address::v6_any(), 8, 0}));
    EXPECT_EQ(nic.entries().size(), 2u);
    auto beside = w.open();
    EXPECT_EQ(beside->bind(endpoint{us4, 8, 0}).error().code, EADDRINUSE);
    EXPECT_EQ(nic.entries().size(), 2u);
}

TEST(steering_rules, a_second_socket_ends_it_and_the_last_gets_it_back) {
    rule_table nic;
    wired_world w(4, {}, true, &nic);
    auto first = w.bound(7, with(SOL_SOCKET, SO_REUSEPORT));
    EXPECT_EQ(nic.entries().size(), 1u);
    auto second = w.bound(7, with(SOL_SOCKET, SO_REUSEPORT));
    EXPECT_TRUE(nic.entries().empty()) << "a group is spread over the queues";
    first.reset();
    ASSERT_EQ(nic.entries().size(), 1u);
    EXPECT_EQ(nic.entries().front().queue, second->home_shard);
    second.reset();
    EXPECT_TRUE(nic.entries().empty());
}

TEST(steering_rules, are_for_ports_asked_for_by_number_and_not_for_multicast) {
    rule_table nic;
    wired_world w(4, {}, true, &nic);
    auto any = w.bound(0);
    auto sends = w.open();
    ASSERT_TRUE(world::send(*sends, "x", {peer4, 9, 0}));
    auto group = w.open();
    ASSERT_TRUE(group->bind(endpoint{*ip_address::parse("224.0.0.251"), 5353, 0}));
    EXPECT_TRUE(nic.entries().empty());
    w.settle();
    w.sent();
}

TEST(steering_rules, beyond_the_budget_it_is_done_in_software_and_counted) {
    rule_table nic;
    wired_world w(
        4, [](control::config& c) { c.ports[0].flow_rules = 3; }, true, &nic);
    std::vector<socket::udp_socket_ptr> all;
    for (std::uint16_t port = 100; port < 105; port++)
        all.push_back(w.bound(port, [](auto& one) { one.home_shard = 1; }));
    EXPECT_EQ(nic.entries().size(), 3u);
    EXPECT_EQ(w.stack().offload().counted(0).installed, 3u);
    EXPECT_EQ(w.stack().offload().counted(0).refused, 2u);
    for (std::uint16_t port = 100; port < 105; port++)
        for (std::uint16_t from = 20000; from < 20020; from++) {
            const auto f = flow_to(port, from);
            ASSERT_TRUE(w.inject(frame_of(f, "x"), f));
        }
    w.settle();
    for (auto& s : all) EXPECT_EQ(world::receive_all(*s).size(), 20u);
    EXPECT_GT(w.crossed(), 0u);
    EXPECT_THAT(control::explain(w.stack(), flow_to(104, 1))->text(),
                testing::HasSubstr("no rte_flow rule for port 104"));
    all.clear();
    EXPECT_TRUE(nic.entries().empty());
}

TEST(steering_rules, go_along_when_homes_move_and_reorder_nothing) {
    constexpr unsigned shards = 4;
    rule_table nic;
    wired_world w(shards, {}, true, &nic);
    std::vector<socket::udp_socket_ptr> all;
    std::vector<numbered_flows> flows;
    for (std::uint16_t i = 0; i < 8; i++) {
        const auto at = static_cast<std::uint16_t>(100 + i);
        all.push_back(w.bound(at));
        // Half of them are connected: one flow, by a rule of its own.
        if (i % 2) {
            ASSERT_TRUE(all.back()->connect(endpoint{peer4, 20000, 0}));
        }
        flows.emplace_back(at, i % 2 ? 1 : 8);
    }
    ASSERT_EQ(nic.entries().size(), 8u);
    std::mt19937 random(5);
    const auto any = [&](unsigned n) { return static_cast<std::uint16_t>(random() % n); };
    auto& steering = w.stack().steering();
    unsigned moves = 0;
    for (std::uint64_t step = 0; moves < 200 && step < 4'000'000; step++) {
        if (any(2) == 0) {
            auto& one = flows[any(8)];
            one.send(w, any(one.flows()));
        }
        w.poll(any(shards));
        if (any(4) == 0 && steering.advance(w.stack().now()) && any(50) == 0) {
            std::vector<std::uint32_t> weights(shards);
            std::fill_n(weights.begin(), 1 + any(shards), 1u);
            ASSERT_TRUE(steering.begin(weights));
            moves++;
        }
        for (std::size_t i = 0; i < all.size(); i++) flows[i].read(*all[i]);
    }
    while (!steering.advance(w.stack().now())) w.settle();
    w.settle();
    for (std::size_t i = 0; i < all.size(); i++) {
        flows[i].read(*all[i]);
        flows[i].expect_all();
        EXPECT_GT(flows[i].total, 1000u);
        const auto* const rule = nic.find(flow_to(static_cast<std::uint16_t>(100 + i), 20000));
        ASSERT_TRUE(rule);
        EXPECT_EQ(rule->queue, all[i]->home_shard);
        EXPECT_LT(rule->queue, w.stack().active_shards());
    }
    EXPECT_EQ(moves, 200u);
    EXPECT_EQ(nic.entries().size(), 8u);
    EXPECT_EQ(w.drops(), 0u);
}

// ---- moves ----

TEST(steering_moves, by_hand_lose_nothing_and_reorder_nothing) {
    constexpr unsigned shards = 4;
    wired_world w(shards);
    auto members = w.group(6);
    auto alone = w.bound(8);
    numbered_flows many(7, 64), few(8, 16);
    std::mt19937 random(7);
    const auto any = [&](unsigned n) { return static_cast<std::uint16_t>(random() % n); };
    const auto read = [&] {
        for (auto& m : members) many.read(*m);
        few.read(*alone);
    };
    auto& steering = w.stack().steering();
    unsigned moves = 0;
    std::vector<unsigned> seen(shards + 1);
    for (std::uint64_t step = 0; moves < 400 && step < 4'000'000; step++) {
        if (any(3) == 0) many.send(w, any(many.flows()));
        if (any(8) == 0) few.send(w, any(few.flows()));
        w.poll(any(shards));
        if (any(4) == 0 && steering.advance(w.stack().now()) && any(50) == 0) {
            std::vector<std::uint32_t> weights(shards);
            const unsigned n = 1 + any(shards);
            for (unsigned i = 0; i < n; i++) weights[i] = any(4) == 0 ? 2 : 1;
            ASSERT_TRUE(steering.begin(weights));
            EXPECT_EQ(steering.begin(weights).error().code, EBUSY);
            seen[n]++;
            moves++;
        }
        // What is read after each turn shows the order over all members.
        read();
    }
    while (!steering.advance(w.stack().now())) w.settle();
    w.settle();
    read();
    EXPECT_EQ(moves, 400u);
    many.expect_all();
    few.expect_all();
    EXPECT_GT(many.total, 10000u);
    EXPECT_EQ(w.drops(), 0u);
    for (unsigned n = 1; n <= shards; n++) EXPECT_GT(seen[n], 0u);
}

TEST(steering_moves, sockets_go_along_and_nothing_crosses_afterwards) {
    wired_world w(4);
    auto members = w.group(8);
    auto& steering = w.stack().steering();
    for (const unsigned n : {1u, 4u, 2u, 3u}) {
        std::vector<std::uint32_t> weights(4);
        std::fill_n(weights.begin(), n, 1u);
        ASSERT_TRUE(steering.begin(weights));
        while (!steering.advance(w.stack().now())) w.settle();
        ASSERT_TRUE(steering.outcome());
        EXPECT_EQ(w.stack().active_shards(), n);
        for (auto& m : members) EXPECT_LT(m->home_shard, n);
        for (unsigned i = 0; i < 4; i++) EXPECT_EQ(w.shard(i).resting(), i >= n);
        auto newcomer = w.open();
        EXPECT_LT(newcomer->home_shard, n);
        const auto before = w.crossed();
        for (std::uint16_t port = 20000; port < 20200; port++) {
            const auto f = flow_to(7, port);
            ASSERT_TRUE(w.inject(frame_of(f, "x"), f));
        }
        w.settle();
        std::size_t got = 0;
        for (auto& m : members) got += world::receive_all(*m).size();
        EXPECT_EQ(got, 200u);
        EXPECT_EQ(w.crossed(), before) << n;
    }
}

TEST(steering_moves, what_cannot_be_moved_is_said) {
    {
        wired_world w(2, {}, false);
        EXPECT_EQ(w.stack().steering().begin({1, 0}).error().code, ENOTSUP);
        EXPECT_THAT(w.stack().steering().obstacle(), testing::HasSubstr("no redirection table"));
        EXPECT_THAT(w.stack().steering().not_aligned(), testing::HasSubstr("is not known"));
    }
    wired_world w(2);
    auto& steering = w.stack().steering();
    EXPECT_EQ(steering.begin({0, 0}).error().code, EINVAL);
    EXPECT_EQ(steering.begin({1}).error().code, EINVAL);
    EXPECT_EQ(w.stack().set_active_shards(3).error().code, EINVAL);
    EXPECT_EQ(w.stack().set_active_shards(0).error().code, EINVAL);
    EXPECT_EQ(w.stack().set_active_shards(1).error().code, EAGAIN);  // nobody polls
    w.refuses = true;
    ASSERT_TRUE(steering.begin({1, 0}));
    while (!steering.advance(w.stack().now())) w.settle();
    EXPECT_EQ(steering.outcome().error().code, EBUSY);
    EXPECT_EQ(w.stack().active_shards(), 2u);
    w.refuses = false;
    ASSERT_TRUE(steering.begin({1, 0}));
    w.poll(0);
    steering.abandon();
    EXPECT_EQ(steering.outcome().error().code, ECANCELED);
    EXPECT_TRUE(steering.advance(w.stack().now()));
    auto s = w.bound(7);
    const auto f = flow_to(7, 40000);
    ASSERT_TRUE(w.inject(frame_of(f, "all go on"), f));
    w.settle();
    EXPECT_THAT(world::receive_all(*s), ElementsAre("all go on"));
}

/// Frames beyond what is kept stay in the queue.
TEST(steering_moves, held_frames_come_out_in_order_however_many) {
    wired_world w(2);
    auto s = w.bound(8);
    numbered_flows flows(8, 1);
    w.shard(0).set_intake(shard::intake::held);
    w.shard(1).set_intake(shard::intake::held);
    for (int i = 0; i < 6000; i++) {
        if (flows.send(w, 0)) continue;
        for (int turns = 0; turns < 40; turns++)
            for (unsigned each = 0; each < 2; each++) w.poll(each);
    }
    EXPECT_TRUE(w.shard(0).intake_reached());
    EXPECT_TRUE(world::receive_all(*s).empty());
    for (unsigned each = 0; each < 2; each++) w.shard(each).set_intake(shard::intake::open);
    for (int turns = 0; turns < 300; turns++) {
        for (unsigned each = 0; each < 2; each++) w.poll(each);
        flows.read(*s);
    }
    flows.expect_all();
    EXPECT_GT(flows.total, 5000u);
}

TEST(steering_moves, with_threads_lose_nothing_and_reorder_nothing) {
    constexpr unsigned shards = 3, moves = 200;
    wired_world w(shards);
    auto members = w.group(3);
    auto alone = w.bound(8);
    numbered_flows many(7, 32), few(8, 8);
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < shards; i++) w.shard(i).rest();
    for (unsigned i = 0; i < shards; i++)
        threads.emplace_back([&, i] {
            rte_thread_register();
            w.shard(i).resume();
            while (!stop) {
                if (w.shard(i).poll_once(w.stack().now()) == 0) std::this_thread::yield();
            }
            w.shard(i).rest();
            rte_thread_unregister();
        });
    auto& steering = w.stack().steering();
    std::mt19937 random(11);
    unsigned done = 0;
    const auto deadline = std::chrono::steady_clock::now() + 40s;
    const auto read = [&] {
        for (auto& m : members) many.read(*m);
        few.read(*alone);
    };
    while (done < moves && std::chrono::steady_clock::now() < deadline) {
        for (int i = 0; i < 20; i++) {
            many.send(w, static_cast<std::uint16_t>(random() % many.flows()));
            few.send(w, static_cast<std::uint16_t>(random() % few.flows()));
        }
        w.step_time();
        if (steering.advance(w.stack().now())) {
            std::vector<std::uint32_t> weights(shards);
            std::fill_n(weights.begin(), 1 + random() % shards, 1u);
            ASSERT_TRUE(steering.begin(weights));
            done++;
        }
        // Only the socket alone shows order at any time: between two members of a group this thread may look twice.
        few.read(*alone);
        std::this_thread::yield();
    }
    while (!steering.advance(w.stack().now()) && std::chrono::steady_clock::now() < deadline) w.step_time();
    stop = true;
    for (auto& t : threads) t.join();
    for (unsigned i = 0; i < shards; i++) w.shard(i).resume();
    w.settle();
    read();
    EXPECT_EQ(done, moves);
    few.expect_all();
    EXPECT_GT(few.total, 1000u);
    EXPECT_EQ(w.drops(), 0u);
}

// ---- explain ----

TEST(steering_explain, tells_the_way_of_a_flow) {
    wired_world w(4);
    auto members = w.group(4);
    auto connected = w.open();
    ASSERT_TRUE(connected->connect(endpoint{peer4, 9, 0}));
    const auto f = flow_to(7, 40000);
    const auto e = control::explain(w.stack(), f);
    ASSERT_TRUE(e) << e.error();
    EXPECT_EQ(e->port, "p0");
    EXPECT_EQ(e->hash, w.nic().hash()(f));
    EXPECT_EQ(e->reta_size, table_entries);
    EXPECT_EQ(e->reta_entry, e->hash % table_entries);
    EXPECT_EQ(e->queue, w.queue_of(f));
    EXPECT_EQ(e->shard, e->queue);
    EXPECT_EQ(e->lookup.searched, udp::explanation::way::port);
    ASSERT_EQ(e->lookup.candidates.size(), 1u);
    EXPECT_EQ(e->lookup.candidates[0].members, 4u);
    EXPECT_EQ(e->lookup.candidates[0].score, 6);
    EXPECT_EQ(e->lookup.rule, "highest score");
    EXPECT_EQ(e->lookup.bucket, e->hash % 512);
    ASSERT_TRUE(e->lookup.member);
    EXPECT_EQ(members[*e->lookup.member]->home_shard, e->home);
    EXPECT_FALSE(e->crosses);
    // It is what happens.
    ASSERT_TRUE(w.inject(frame_of(f, "x"), f));
    w.settle();
    EXPECT_EQ(world::receive_all(*members[*e->lookup.member]).size(), 1u);
    EXPECT_EQ(w.crossed(), 0u);

    const auto local = connected->local_endpoint();
    const auto c = control::explain(w.stack(), local.to_string() + "," + endpoint{peer4, 9, 0}.to_string() + ",p0");
    ASSERT_TRUE(c) << c.error();
    EXPECT_EQ(c->lookup.searched, udp::explanation::way::four_tuple);
    EXPECT_EQ(c->lookup.candidates.at(0).score, 14);
    EXPECT_THAT(c->text(), testing::HasSubstr("no rte_flow rule"));
    EXPECT_THAT(c->text(), testing::HasSubstr("Connected flow to queue"));

    const auto nobody = control::explain(w.stack(), flow_to(99, 1));
    ASSERT_TRUE(nobody);
    EXPECT_EQ(nobody->socket, "");
    EXPECT_THAT(nobody->text(), testing::HasSubstr("socket        none"));
}

TEST(steering_explain, tells_the_rule_between_equals_and_every_candidate) {
    wired_world w(1);
    std::vector<socket::udp_socket_ptr> all;
    for (int i = 0; i < 12; i++) all.push_back(w.bound(7, with(SOL_SOCKET, SO_REUSEADDR)));
    const auto e = control::explain(w.stack(), flow_to(7, 1));
    ASSERT_TRUE(e);
    EXPECT_EQ(e->lookup.searched, udp::explanation::way::address);
    EXPECT_EQ(e->lookup.candidates.size(), 12u);
    EXPECT_EQ(e->lookup.rule, "equal scores: the one bound last");
    EXPECT_EQ(e->lookup.socket, all.back().get());
    EXPECT_EQ(e->lookup.candidates[*e->lookup.winner].placed, e->lookup.candidates.back().placed);
}

TEST(steering_explain, asking_counts_nothing_and_makes_no_flow) {
    wired_world w(2, [](control::config& c) { c.stack.steering = control::steering_rule::off; });
    auto members = w.group(3);
    ASSERT_TRUE(w.stack().tables().attach(*members[0], std::make_shared<udp::cookie_selector>(0, 4)));
    const auto f = flow_to(7, 40000);
    for (int i = 0; i < 5; i++) ASSERT_TRUE(control::explain(w.stack(), f));
    std::uint64_t fallbacks = 9;
    const auto look = [&] {
        w.stack().tables().for_all_groups([&](const udp::group& g) { fallbacks = g.fallbacks(); });
        return fallbacks;
    };
    EXPECT_EQ(look(), 0u);
    // Each packet without an answer counts once, also one that crosses.
    for (std::uint16_t port = 20000; port < 20050; port++) {
        const auto one = flow_to(7, port);
        ASSERT_TRUE(w.inject(frame_of(one, "x"), one));
    }
    w.settle();
    EXPECT_EQ(look(), 50u);
    EXPECT_GT(w.crossed(), 0u);
}

TEST(steering_explain, refuses_what_is_no_flow) {
    wired_world w(1);
    for (const char* wrong :
         {"", "198.18.0.1:7", "198.18.0.1:7,", "198.18.0.1:7,nobody:1", "198.18.0.1:7,[2001:db8::2]:1",
          "198.18.0.1:7,198.18.0.2:70000", "198.18.0.1:7,198.18.0.2:7,p9"})
        EXPECT_FALSE(control::explain(w.stack(), std::string_view(wrong))) << wrong;
    EXPECT_TRUE(control::explain(w.stack(), "[2001:db8::1]:7,[2001:db8::2]:9"));
}

}  // namespace skua::test
