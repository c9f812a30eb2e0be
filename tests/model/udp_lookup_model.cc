// The lookup against a naive reference: a list of sockets in the order of binding, scored one by one.
//
// Random sockets of both families come, connect, change and go, up to forty on two ports, so that the rule of ten is
// crossed again and again; then every kind of packet is looked up in both and must reach a socket that the reference
// allows.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <list>
#include <set>
#include <vector>

#include "udp/tables.hh"

namespace skua::udp {

namespace {

struct model_socket final : pcb {
    using pcb::pcb;
};

ip_address addr(std::string_view text) { return *ip_address::parse(text); }

const std::vector<ip_address> locals = {addr("10.0.0.1"), addr("10.0.0.2"), addr("fd00::1"), addr("fd00::2")};
const std::vector<ip_address> remotes = {addr("10.0.0.8"), addr("10.0.0.9"), addr("fd00::8"), addr("fd00::9")};
constexpr std::uint16_t first_port = 7000;
constexpr std::uint16_t first_remote_port = 900;

/// What the reference remembers of a socket: nothing but its fields and when it got its place.
struct record {
    model_socket* socket;
    unsigned long placed;     // for the order among equals in the slots
    unsigned long connected;  // for the order among sockets with one peer
};

/// design.md §5, row by row. 0: no candidate.
int score(const pcb& s, const lookup_key& k) {
    const bool v4_packet = k.flow.local.is_v4();
    if (s.local.port != k.flow.local_port) return 0;
    if (s.family == ip_family::v4 && !v4_packet) return 0;
    if (s.family == ip_family::v6 && v4_packet && s.v6_only) return 0;
    int points = (s.family == ip_family::v4) == v4_packet ? 2 : 1;
    const bool takes_all =
        s.local.address == ip_address::v6_any() || (s.local.address == ip_address::v4_any() && v4_packet);
    if (!takes_all) {
        if (s.local.address != k.flow.local) return 0;
        points += 4;
    }
    if (!s.remote.address.is_any()) {
        if (s.remote.address != k.flow.remote) return 0;
        points += 4;
    }
    if (s.remote.port != 0) {
        if (s.remote.port != k.flow.remote_port) return 0;
        points += 4;
    }
    if (s.device != 0) {
        if (s.device != k.ifindex) return 0;
        points += 4;
    }
    if (s.incoming_shard == k.shard) points++;
    return points;
}

bool has_peer(const pcb& s) { return s.remote.port != 0 || !s.remote.address.is_any(); }
bool shares(const pcb& s) { return s.reuse_port && !has_peer(s); }

bool one_group(const pcb& a, const pcb& b) {
    return shares(a) && shares(b) && a.family == b.family && a.v6_only == b.v6_only && a.owner == b.owner &&
           a.device == b.device && a.local.address == b.local.address;
}

/// Every socket that the rules let this packet reach; empty: none.
std::set<pcb*> allowed(const std::vector<record>& bound, const lookup_key& k, mixed_rule rule) {
    int best = 0;
    for (const auto& r : bound) best = std::max(best, score(*r.socket, k));
    if (best == 0) return {};
    std::vector<record> equal;
    for (const auto& r : bound)
        if (score(*r.socket, k) == best) equal.push_back(r);
    const auto order = [](const record& r) {
        return r.socket->remote.port != 0 && has_peer(*r.socket) ? r.connected : r.placed;
    };
    std::ranges::sort(equal, {}, order);

    const auto group_of = [&](const pcb& member) {
        std::set<pcb*> members;
        for (const auto& r : equal)
            if (one_group(*r.socket, member)) members.insert(r.socket);
        return members;
    };
    if (k.flow.local.is_v4()) {
        pcb* last = equal.back().socket;
        if (!shares(*last)) return {last};
        if (rule == mixed_rule::group) return group_of(*last);
        std::set<pcb*> all;
        for (const auto& r : equal) all.insert(r.socket);
        return all;
    }
    for (auto r = equal.rbegin(); r != equal.rend(); ++r)
        if (!shares(*r->socket)) return {r->socket};
    return group_of(*equal.front().socket);
}

std::set<pcb*> receivers(const std::vector<record>& bound, const lookup_key& k) {
    std::set<pcb*> all;
    for (const auto& r : bound)
        if (score(*r.socket, k) > 0) all.insert(r.socket);
    return all;
}

/// Tables and reference side by side.
class pair_of_worlds {
public:
    explicit pair_of_worlds(mixed_rule r) : rule(r), table(rcu, random, {.mixed = r}) {}
    ~pair_of_worlds() {
        for (auto& s : sockets) table.unbind(s);
    }

    void step();
    void compare();
    /// Eleven more sockets on a port, on addresses of their own, send the search another way and change nothing.
    void compare_crowded();

    const mixed_rule rule;
    rcu_domain rcu;
    seeded_random random{11};
    tables table;
    std::list<model_socket> sockets;
    std::vector<record> bound;
    unsigned long clock = 0;

private:
    static unsigned below(unsigned n) { return *rc::gen::inRange(0u, n); }
    record& any() { return bound[below(static_cast<unsigned>(bound.size()))]; }
    void open();
    void connect(record& r);
    void disconnect(record& r);
    void change(record& r);
    void close(record& r);
    static std::vector<lookup_key> packets();
};

void pair_of_worlds::open() {
    auto& s = sockets.emplace_back(below(2) ? ip_family::v4 : ip_family::v6);
    s.reuse_address = true;  // conflicts are another test's matter
    s.reuse_port = below(2);
    s.v6_only = s.family == ip_family::v6 && below(4) == 0;
    s.owner = below(4) == 0;
    s.device = below(4) == 0 ? 2 + below(2) : 0;
    s.incoming_shard = below(4) == 0 ? static_cast<int>(below(2)) : -1;
    ip_address local = ip_address::any(s.family);
    if (below(2)) local = s.family == ip_family::v4 ? locals[below(2)] : locals[below(4)];
    if (s.family == ip_family::v6 && !s.v6_only && below(8) == 0) local = ip_address::v4_any();
    if (local.is_v4()) s.v6_only = false;
    const auto done = table.bind(s, {local, static_cast<std::uint16_t>(first_port + (below(8) == 0)), 0});
    RC_ASSERT(done.has_value());
    bound.push_back({&s, ++clock, 0});
}

void pair_of_worlds::connect(record& r) {
    pcb& s = *r.socket;
    const bool v4 =
        s.family == ip_family::v4 || s.local.address.is_v4() || (!s.v6_only && s.local.address.is_any() && below(2));
    const ip_address source = locals[(v4 ? 0 : 2) + below(2)];
    const bool fresh = s.local.address.is_any();
    const std::uint16_t port = below(3) ? static_cast<std::uint16_t>(first_remote_port + below(2)) : 0;
    RC_ASSERT(table.connect(s, source, {remotes[(v4 ? 0 : 2) + below(2)], port, 0}).has_value());
    r.connected = ++clock;
    if (fresh) {
        RC_ASSERT(s.local.address == source);
        r.placed = ++clock;
    }
}

void pair_of_worlds::disconnect(record& r) {
    const ip_address before = r.socket->local.address;
    table.disconnect(*r.socket);
    RC_ASSERT(r.socket->local.port != 0);
    if (r.socket->local.address != before) r.placed = ++clock;
}

void pair_of_worlds::change(record& r) {
    {
        const auto hold = table.lock();
        r.socket->reuse_port = below(2);
        r.socket->device = below(2) == 0 ? 2 + below(2) : 0;
        r.socket->incoming_shard = below(3) == 0 ? static_cast<int>(below(2)) : -1;
    }
    table.refresh(*r.socket);
}

void pair_of_worlds::close(record& r) {
    table.unbind(*r.socket);
    std::erase_if(bound, [s = r.socket](const record& each) { return each.socket == s; });
}

void pair_of_worlds::step() {
    const unsigned what = below(16);
    if (bound.empty() || (what < 8 && bound.size() < 40)) return open();
    if (what < 10) return close(any());
    if (what < 12) return connect(any());
    if (what < 14) return disconnect(any());
    change(any());
}

std::vector<lookup_key> pair_of_worlds::packets() {
    std::vector<lookup_key> all;
    std::uint32_t hash = 0;
    for (unsigned bits = 0; bits < 512; bits++) {
        const bool v4 = bits & 1;
        lookup_key k;
        k.flow.local = locals[(v4 ? 0 : 2) + (bits >> 1 & 1)];
        k.flow.remote = remotes[(v4 ? 0 : 2) + (bits >> 2 & 1)];
        k.flow.local_port = static_cast<std::uint16_t>(first_port + (bits >> 3 & 1));
        k.flow.remote_port = static_cast<std::uint16_t>(first_remote_port + (bits >> 4 & 1));
        k.ifindex = 2 + (bits >> 5 & 1);
        k.shard = bits >> 6 & 1;
        k.hash = hash += 2654435761u;
        all.push_back(k);
    }
    return all;
}

void pair_of_worlds::compare() {
    const auto keys = packets();
    std::vector<pcb*> burst(keys.size());
    table.lookup(keys, burst);
    for (std::size_t i = 0; i < keys.size(); i++) {
        const auto expected = allowed(bound, keys[i], rule);
        pcb* found = table.lookup(keys[i]);
        RC_ASSERT(found == burst[i]);
        RC_ASSERT((expected.empty() ? found == nullptr : expected.contains(found)));
        if (expected.size() > 1) RC_ASSERT(table.wants_hash(keys[i].flow.local_port));

        std::multiset<pcb*> visited;
        const std::size_t n = table.for_each_receiver(keys[i], [&](pcb& p) { visited.insert(&p); });
        const auto all = receivers(bound, keys[i]);
        RC_ASSERT(n == visited.size());
        RC_ASSERT(std::ranges::equal(visited, all));
    }
}

void pair_of_worlds::compare_crowded() {
    const auto keys = packets();
    std::vector<pcb*> before(keys.size()), crowded(keys.size());
    table.lookup(keys, before);
    for (std::uint8_t n = 0; n < 11; n++) {
        auto& s = sockets.emplace_back(ip_family::v4);
        s.reuse_address = true;
        RC_ASSERT(table.bind(s, {ipv4_address(10, 9, 0, n), first_port, 0}).has_value());
    }
    table.lookup(keys, crowded);
    RC_ASSERT(crowded == before);
    for (std::uint8_t n = 0; n < 11; n++) {
        table.unbind(sockets.back());
        sockets.pop_back();
    }
}

/// A packet's hash chooses among all that it may reach, and each gets its share.
void every_allowed_socket_is_reached(pair_of_worlds& w, const lookup_key& packet) {
    const auto expected = allowed(w.bound, packet, w.rule);
    std::set<pcb*> found;
    lookup_key k = packet;
    for (std::uint32_t h = 0; h < 4096 && found.size() < expected.size(); h++) {
        k.hash = h * 2654435761u;
        if (pcb* p = w.table.lookup(k)) found.insert(p);
    }
    RC_ASSERT(found == expected);
}

void run(mixed_rule rule) {
    pair_of_worlds w(rule);
    for (int round = 0; round < 4; round++) {
        const int steps = *rc::gen::inRange(1, 40);
        for (int i = 0; i < steps; i++) w.step();
        w.compare();
    }
    w.compare_crowded();
    const auto& all = w.bound;
    RC_CLASSIFY(std::ranges::count_if(all, [](const record& r) { return r.socket->local.port == first_port; }) > 10);
    for (const auto local : {locals[0], locals[2]}) {
        lookup_key k;
        k.flow = {local, remotes[local.is_v4() ? 0 : 2], first_port, first_remote_port};
        k.ifindex = 2;
        every_allowed_socket_is_reached(w, k);
    }
}

}  // namespace

TEST(udp_lookup_model, rule_every) {
    EXPECT_TRUE(rc::check("lookup agrees with the reference, rule every", [] { run(mixed_rule::every); }));
}

TEST(udp_lookup_model, rule_group) {
    EXPECT_TRUE(rc::check("lookup agrees with the reference, rule group", [] { run(mixed_rule::group); }));
}

}  // namespace skua::udp
