// Putting a stack together, in the order in which one part needs another.
#include "control/stack.hh"

#include <fmt/format.h>
#include <rte_ethdev.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "control/eal.hh"
#include "wire/ipv6.hh"

namespace skua::control {

namespace {

using failed = tl::unexpected<std::string>;

const char* reason(error e) { return strerrordesc_np(e.code); }

net::neighbour_options neighbour_options_of(const config& c) {
    net::neighbour_options o;
    o.max_entries = c.neighbours.max_entries;
    o.queue_packets = c.neighbours.queue;
    o.multicast_solicits = c.neighbours.multicast_probes;
    o.unicast_solicits = c.neighbours.unicast_probes;
    o.retransmit_time = c.neighbours.retrans_time;
    o.base_reachable_time = c.neighbours.reachable_time;
    o.delay_first_probe_time = c.neighbours.delay_first_probe;
    return o;
}

udp::table_options table_options_of(const config& c) {
    udp::table_options o;
    o.mixed = c.udp.mixed_rule;
    o.ephemeral_first = c.udp.ephemeral_ports.first;
    o.ephemeral_last = c.udp.ephemeral_ports.last;
    o.expected_sockets = c.udp.expected_sockets;
    o.shards = static_cast<std::uint16_t>(c.stack.shards);
    return o;
}

/// One key for all ports, so that a flow has one hash wherever it comes in.
std::vector<std::uint8_t> flow_key_bytes(const rss_key& asked, random_source& random) {
    constexpr std::size_t longest = 52;  // of the keys that DPDK's drivers want
    std::vector<std::uint8_t> key(longest);
    for (std::size_t i = 0; i < longest; i++) switch (asked.from) {
            case rss_key::source::random: key[i] = static_cast<std::uint8_t>(random.next()); break;
            case rss_key::source::symmetric: key[i] = i % 2 ? 0x5a : 0x6d; break;
            case rss_key::source::given: key[i] = asked.bytes[i % asked.bytes.size()]; break;
        }
    return key;
}

/// The DPDK port that a configuration names: its device name, or its number.
tl::expected<std::uint16_t, std::string> find_port(const std::string& device) {
    std::uint16_t id = 0;
    if (rte_eth_dev_get_port_by_name(device.c_str(), &id) == 0) return id;
    const auto [end, problem] = std::from_chars(device.data(), device.data() + device.size(), id);
    if (problem == std::errc{} && end == device.data() + device.size() && rte_eth_dev_is_valid_port(id)) return id;
    return failed(fmt::format("there is no DPDK port \"{}\": name it in the EAL's arguments (--vdev=…, -a …)", device));
}

}  // namespace

tl::expected<std::unique_ptr<stack>, std::string> stack::make(const config& c, driving how, surroundings around) {
    std::unique_ptr<stack> s(new stack(c, std::move(around)));
    if (auto ok = s->make_pools(); !ok) return failed(ok.error());
    if (auto ok = s->make_network(how); !ok) return failed(ok.error());
    s->offload_ = std::make_unique<flow_offload>(s->rcu_, s->ports_, c.ports, s->around_.spread.rules);
    if (s->offload_->takes_ports())
        s->tables_.watch_ports(
            [&o = *s->offload_](std::uint16_t port, ip_family f, udp::pcb* alone) { o.port_changed(port, f, alone); });
    s->make_shards(how);
    s->steering_ =
        std::make_unique<control::steering>(c.stack.steering, s->ports_, s->shards_, s->mailboxes_, s->tables_,
                                            [&o = *s->offload_](udp::pcb& p) { return o.rehomed(p); });
    s->steering_->align();
    return s;
}

stack::stack(const config& c, surroundings around)
    : config_(c),
      around_(std::move(around)),
      random_(new_random()),
      tables_random_(new_random()),
      identification_hash_(*random_),
      rss_key_(flow_key_bytes(c.stack.rss_key, *random_)),
      hash_(rss_key_),
      path_mtus_(*random_),
      network_(rcu_, *random_, neighbour_options_of(c)),
      tables_(rcu_, *tables_random_, table_options_of(c)),
      fragment_homes_(*random_, static_cast<std::uint16_t>(c.stack.shards)),
      mailboxes_(c.stack.shards, c.mailbox.size) {
    set_limits();
}

stack::~stack() {
    stop_threads();
    shards_.clear();
    // Sockets that were closed wait until what they sent has left; what nobody takes any more ends here, before the
    // pools do.
    for (unsigned i = 0; i < mailboxes_.shards(); i++) {
        rte_mbuf* left[shard::burst_size];
        while (const unsigned n = mailboxes_.inbox(i).pop(left)) {
            socket::uncharge(std::span(left, n));
            rte_pktmbuf_free_bulk(left, n);
        }
    }
    rcu_.reclaim(SIZE_MAX);
}

std::unique_ptr<random_source> stack::new_random() const {
    if (around_.make_random) return around_.make_random();
    return std::make_unique<system_random>();
}

tl::expected<void, std::string> stack::make_pools() {
    static std::atomic<unsigned> made{0};
    for (unsigned i = 0; i < config_.stack.shards; i++) {
        auto p =
            packet::make_pool(fmt::format("skua_{}_{}", getpid(), made++), config_.pool.packets,
                              static_cast<std::uint16_t>(config_.pool.data_room), SOCKET_ID_ANY, config_.pool.cache);
        if (!p)
            return failed(
                fmt::format("no memory for {} packets of {} bytes for shard {} ({}); see pool.packets and eal.memory",
                            config_.pool.packets, config_.pool.data_room, i, reason(p.error())));
        pools_.push_back(std::move(*p));
    }
    return {};
}

tl::expected<void, std::string> stack::make_network(driving how) {
    for (const port_config& p : config_.ports) {
        const auto id = find_port(p.device);
        if (!id) return failed(id.error());
        port_ids_.push_back(*id);
        if (how == driving::own)
            if (auto ok = start_port(p, *id); !ok) return ok;
        const port::port* device = how == driving::own ? ports_.back().get() : nullptr;
        if (auto ok = add_port_interfaces(p, *id, device); !ok) return ok;
    }
    if (auto ok = add_routes(); !ok) return ok;
    return add_static_neighbours();
}

tl::expected<void, std::string> stack::start_port(const port_config& p, std::uint16_t id) {
    port::port_options o;
    o.queues = static_cast<std::uint16_t>(config_.stack.shards);
    o.rx_descriptors = static_cast<std::uint16_t>(p.rx_descriptors);
    o.tx_descriptors = static_cast<std::uint16_t>(p.tx_descriptors);
    o.mtu = static_cast<std::uint16_t>(p.mtu);
    o.promiscuous = p.promiscuous;
    o.checksum_offloads = p.checksum_offloads;
    o.mac = p.mac;
    o.rss.key = port::rss_options::key_kind::given;
    o.rss.given_key = rss_key_;
    std::vector<rte_mempool*> pools;
    for (const auto& pool : pools_) pools.push_back(pool.get());
    auto started = port::port::start(id, o, pools, *random_);
    if (!started) return failed(fmt::format("port \"{}\": {}", p.device, started.error()));
    if (around_.spread.entries != 0)
        (*started)->spread_by(around_.spread.entries,
                              [this, id](auto table) { return around_.spread.move(id, table); });
    ports_.push_back(std::move(*started));
    return {};
}

void stack::make_shards(driving how) {
    const shard::common shared{rcu_,       network_, path_mtus_,      tables_,
                               mailboxes_, hash_,    fragment_homes_, offload_->marks()};
    for (unsigned i = 0; i < config_.stack.shards; i++) {
        shard::shard_options o;
        o.index = static_cast<std::uint16_t>(i);
        o.burst = config_.stack.burst;
        o.pool = pools_[i].get();
        o.reassembly.max_datagrams = config_.reassembly.max_datagrams;
        o.reassembly.max_bytes = config_.reassembly.max_bytes;
        o.reassembly.timeout_v4 = config_.reassembly.timeout_ipv4;
        o.reassembly.timeout_v6 = config_.reassembly.timeout_ipv6;
        o.icmp.per_second = config_.icmp.messages_per_second;
        o.icmp.burst = config_.icmp.burst;
        for (std::size_t p = 0; p < port_ids_.size(); p++) {
            port::port* device = how == driving::own ? ports_[p].get() : nullptr;
            // A port with fewer queues than there are shards serves the first ones; the others have no queue to poll
            // there.
            const auto shard = static_cast<std::uint16_t>(i);
            const auto transmitter = device ? static_cast<std::uint16_t>(i % device->tx_queues()) : shard;
            o.ports.add({port_ids_[p], device, shard, device == nullptr || i < device->rx_queues(), transmitter});
        }
        shards_.push_back(std::make_unique<shard::shard>(shared, std::move(o), new_random()));
    }
}

tl::expected<void, std::string> stack::start_threads() {
    const auto lcores = shard_lcores(config_.stack);
    if (!lcores) return failed(lcores.error());
    std::vector<shard::shard*> all;
    for (auto& s : shards_) {
        s->rest();  // this thread will not poll it
        all.push_back(s.get());
    }
    lcores_ = *lcores;
    if (auto started = workers::start(workers_, all, lcores_, config_.stack.idle, clock_); !started) return started;
    polling_ = true;
    if (config_.stack.steering == steering_rule::reta_follows_group && steering_->obstacle().empty())
        follower_ = std::jthread([this](std::stop_token stop) { follow_groups(stop); });
    return {};
}

void stack::stop_threads() {
    follower_ = {};
    polling_ = false;
    workers_.stop();
}

result<void> stack::set_active_shards(unsigned n) {
    if (n == 0 || n > shard_count()) return fail(EINVAL);
    std::vector<std::uint32_t> weights(shard_count(), 0);
    std::fill_n(weights.begin(), n, 1u);
    return share_flows(std::move(weights));
}

result<void> stack::share_flows(std::vector<std::uint32_t> weights) {
    if (!polling_) return fail(EAGAIN);
    if (std::ranges::find(lcores_, rte_lcore_id()) != lcores_.end()) return fail(EDEADLK);
    const std::lock_guard hold(steering_lock_);
    if (auto begun = steering_->begin(std::move(weights)); !begun) return begun;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!steering_->advance(now())) {
        if (std::chrono::steady_clock::now() > deadline) {
            steering_->abandon();
            return fail(ETIMEDOUT);
        }
        std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    return steering_->outcome();
}

/// As the members of the largest group are over the shards, so the flows.
void stack::follow_groups(std::stop_token stop) {
    constexpr std::chrono::milliseconds between{100};
    while (!stop.stop_requested()) {
        std::this_thread::sleep_for(between);
        auto weights = steering_->weights_of_groups();
        if (!weights.empty() && weights != steering_->weights()) (void)share_flows(std::move(weights));
    }
}

std::function<bool(std::uint16_t)> stack::fitting_port(const flow_key& reply, std::uint16_t port,
                                                       std::uint16_t shard) const {
    const auto at = std::ranges::find_if(ports_, [port](const auto& p) { return p->id() == port; });
    if (at == ports_.end() || !(*at)->spreads(reply.local.family())) return {};
    const port::port* const in = at->get();
    const auto table = in->reta();
    if (std::ranges::find(table, shard) == table.end()) return {};
    return [in, shard, flow = reply](std::uint16_t local_port) mutable {
        flow.local_port = local_port;
        return in->queue_of(in->hash()(flow)) == shard;
    };
}

std::uint32_t stack::path_mtu(const ip_address& to, const net::path& way) const {
    return path_mtus_.lookup(to, way.out->mtu, now());
}

std::uint16_t stack::ipv4_identification(const ip_address& source, const ip_address& destination) {
    const std::uint32_t h = identification_hash_({source, destination, 0, 0});
    const auto count = identifications_[h % identifications_.size()].fetch_add(1, std::memory_order_relaxed);
    return static_cast<std::uint16_t>(count + (h >> 16));
}

bool stack::drained() {
    for (unsigned i = 0; i < mailboxes_.shards(); i++)
        if (!mailboxes_.inbox(i).empty()) return false;
    return true;
}

unsigned stack::submit(std::uint16_t shard, std::span<rte_mbuf* const> datagrams) {
    return mailboxes_.inbox(shard).push(datagrams);
}

std::uint16_t stack::next_home_shard() {
    return steering_->nth_active(next_home_.fetch_add(1, std::memory_order_relaxed));
}

void stack::count(mib which) { call_counts_[static_cast<std::size_t>(which)].fetch_add(1, std::memory_order_relaxed); }

}  // namespace skua::control
