// The clients, and who operates the servers.
#include "upgrade/scenario.hh"

#include <algorithm>
#include <chrono>
#include <list>
#include <memory>
#include <random>

namespace skua::upgrade {

namespace {

constexpr std::uint32_t ticks_a_period = 100, periods_an_upgrade = 3, longest_drain = 9 * ticks_a_period;
constexpr std::chrono::milliseconds tick_length{10};
constexpr std::uint32_t fewest_questions = 2, most_questions = 8;
constexpr std::uint32_t nobody = 0xffffffff;

class world {
public:
    world(const scenario_options& o, network& net)
        : options_(o), net_(net), servers_(net.make_servers(for_servers(o))), flows_(o.flows) {}
    results run();

private:
    /// A place in the load: one flow after another.
    struct flow {
        std::uint64_t number = 0;  // 0: none yet
        std::uint64_t key = 0;
        std::uint32_t sequence = 0;
        std::uint32_t questions = 0;
        std::uint32_t member = nobody;
        bool asked = false;     // no answer yet
        bool orphaned = false;  // its member crashed
    };
    struct instance {
        std::uint32_t generation;
        std::vector<std::uint32_t> members;
        std::uint32_t replaced_at = 0;  // tick
    };

    void tick(std::uint32_t now);
    void ask(std::uint32_t place);
    void take(const message& answer);
    void settle();

    void join(instance& i);
    void crash(instance& i);
    void kill(std::list<instance>::iterator who);
    void start_next();
    void switch_over(std::uint32_t now);
    void let_old_ones_leave(std::uint32_t now);
    void operate(std::uint32_t now);
    instance& newest() { return instances_.back(); }
    totals so_far();
    static server_options for_servers(const scenario_options& o);

    const scenario_options options_;
    network& net_;
    const std::unique_ptr<servers> servers_;
    std::mt19937_64 random_{1};
    std::vector<flow> flows_;
    std::list<instance> instances_;  // the newest is the last
    std::uint32_t working_ = 0;
    std::uint32_t next_member_ = 0;
    std::uint64_t next_flow_ = 1;
    results results_;
};

server_options world::for_servers(const scenario_options& o) {
    server_options out;
    out.generations = o.generations;
    out.flow_timeout = o.flow_timeout;
    // Those that live, and those that ended less than a timeout ago: one flow of a place a few periods.
    out.flow_room = std::min(o.flows * (1 + o.flow_timeout / fewest_questions) + 1024, 4'194'304u);
    return out;
}

void world::join(instance& i) {
    servers_->join(i.generation, next_member_);
    i.members.push_back(next_member_++);
}

void world::crash(instance& i) {
    if (i.members.size() < 2) return;
    for (flow& f : flows_) f.orphaned |= f.member == i.members.front();
    servers_->close(i.generation, i.members.front());
    i.members.erase(i.members.begin());
}

void world::kill(std::list<instance>::iterator who) {
    for (flow& f : flows_) f.orphaned |= std::ranges::find(who->members, f.member) != who->members.end();
    servers_->kill(who->generation);
    instances_.erase(who);
    results_.killed++;
}

void world::start_next() {
    instances_.push_back({instances_.empty() ? 0 : newest().generation + 1, {}, 0});
    servers_->start(newest().generation);
    for (std::uint32_t i = 0; i < options_.members; i++) join(newest());
}

void world::switch_over(std::uint32_t now) {
    for (instance& i : instances_)
        if (i.generation == working_) i.replaced_at = now;
    working_ = newest().generation;
    servers_->switch_to(working_);
}

void world::let_old_ones_leave(std::uint32_t now) {
    for (auto i = instances_.begin(); i != instances_.end();) {
        const bool old = i->generation < working_;
        const bool drained = old && servers_->drained(i->generation);
        if (!old || (!drained && now - i->replaced_at < longest_drain)) {
            ++i;
            continue;
        }
        (drained ? results_.left : results_.put_out)++;
        servers_->leave(i->generation);
        i = instances_.erase(i);
    }
}

/// What happens to the servers in the course of one upgrade.
void world::operate(std::uint32_t now) {
    const std::uint32_t of_upgrade = now % (periods_an_upgrade * ticks_a_period);
    const std::uint32_t upgrade = now / (periods_an_upgrade * ticks_a_period) + 1;
    const bool upgrading = upgrade <= options_.upgrades;
    if (upgrading) switch (of_upgrade) {
            case ticks_a_period: start_next(); break;
            case ticks_a_period + 20: switch_over(now); break;
            case ticks_a_period + 60:
                if (upgrade == options_.kill_in) kill(std::prev(instances_.end(), 2));
                break;
            case ticks_a_period + 100: crash(newest()); break;
            case ticks_a_period + 130: join(newest()); break;
            case ticks_a_period + 160: crash(instances_.front()); break;
        }
    let_old_ones_leave(now);
}

void world::ask(std::uint32_t place) {
    flow& f = flows_[place];
    if (f.asked) {
        results_.all.lost++;
        f.questions = 0;
    }
    if (f.number == 0 || f.sequence >= f.questions) {
        if (f.number != 0) net_.close_client(f.number);
        f = {.number = next_flow_++};
        f.questions =
            fewest_questions + static_cast<std::uint32_t>(random_() % (most_questions - fewest_questions + 1));
        net_.open_client(f.number);
        results_.all.begun++;
    }
    message m;
    m.flow = f.number << 24 | place;
    m.key = f.key;
    m.sequence = f.sequence;
    m.last = f.sequence + 1 == f.questions;
    f.asked = true;
    net_.send(f.number, m);
    results_.all.sent++;
}

void world::take(const message& answer) {
    const auto place = static_cast<std::uint32_t>(answer.flow & 0xffffff);
    if (place >= flows_.size()) return;
    flow& f = flows_[place];
    if (f.number != answer.flow >> 24 || !f.asked || f.sequence != answer.sequence) return;
    results_.all.answered++;
    if (!answer.known) (f.orphaned ? results_.all.orphaned : results_.all.misdirected)++;
    if (answer.member != f.member) f.orphaned = false;
    f.key = answer.key;
    f.member = answer.member;
    f.sequence++;
    f.asked = false;
}

/// With what only the servers know.
totals world::so_far() {
    totals all = results_.all;
    all.new_to_old = servers_->begun_when_old();
    return all;
}

void world::settle() {
    const auto ask_servers = [this] { return servers_->serve(); };
    const auto answered = [this](const message& m) { take(m); };
    while (net_.move(ask_servers, answered) != 0) {
    }
}

void world::tick(std::uint32_t now) {
    operate(now);
    unsigned sent = 0;
    for (std::uint32_t place = now % ticks_a_period; place < flows_.size(); place += ticks_a_period) {
        ask(place);
        if (++sent % in_flight == 0) settle();
    }
    settle();
    net_.pass(tick_length);
}

results world::run() {
    const auto began = std::chrono::steady_clock::now();
    start_next();
    switch_over(0);
    const std::uint32_t upgrade = periods_an_upgrade * ticks_a_period;
    const std::uint32_t end = options_.upgrades * upgrade + longest_drain;
    for (std::uint32_t now = 0; now < end; now++) {
        tick(now);
        if ((now + 1) % upgrade == 0 && now < options_.upgrades * upgrade) results_.after_upgrade.push_back(so_far());
    }
    for (const flow& f : flows_) results_.all.lost += f.asked;
    results_.group = net_.group_counters();
    for (const flow& f : flows_)
        if (f.number != 0) net_.close_client(f.number);
    results_.all = so_far();
    for (const instance& i : instances_) servers_->leave(i.generation);
    results_.options = options_;
    results_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    return results_;
}

}  // namespace

results run(const scenario_options& options, network& net) { return world(options, net).run(); }

}  // namespace skua::upgrade
