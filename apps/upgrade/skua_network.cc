// The stack in library mode: clients are frames that come and go over a pair of ports in memory.
#include <arpa/inet.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <skua/skua.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

#include "api/running.hh"
#include "packet/pool.hh"
#include "port/ring_pair.hh"
#include "upgrade/network.hh"
#include "wire/checksum.hh"
#include "wire/ethernet.hh"
#include "wire/ipv4.hh"
#include "wire/udp.hh"

namespace skua::upgrade {

namespace {

constexpr unsigned ring_size = 2048, burst = 32;
constexpr std::uint16_t server_port = 4433, first_client_port = 10000;
constexpr std::uint32_t ports_a_client = 45000;
const ipv4_address server_ip(198, 18, 0, 1), gateway_ip(198, 18, 0, 2);
constexpr std::uint32_t first_client_ip = 198u << 24 | 19u << 16 | 1;
constexpr mac_address server_mac{{0x02, 0, 0, 0, 0, 0x01}}, client_mac{{0x02, 0, 0, 0, 0, 0x02}};

/// The message follows.
struct headers {
    wire::ethernet_header ether;
    wire::ipv4_header ip;
    wire::udp_header udp;
};
constexpr std::uint16_t frame_size = sizeof(headers) + sizeof(message);
static_assert(sizeof(headers) == 42);

control::config configuration(unsigned shards, std::uint16_t port) {
    control::config c;
    c.stack.shards = shards;
    c.stack.rss_key.from = control::rss_key::source::symmetric;  // each run the same
    c.eal.args = {"--no-pci"};
    c.eal.memory_mib = 512;
    c.pool.packets = 8192;
    c.mailbox.size = ring_size;
    control::port_config p;
    p.device = std::to_string(port);
    p.name = "pair0";
    p.mac = server_mac;
    p.dad = false;
    p.addresses = {{server_ip, 24}};
    c.ports.push_back(p);
    control::route_config r;
    r.to = ip_prefix::parse("198.19.0.0/16");
    r.via = gateway_ip;
    c.routes.push_back(r);
    c.static_neighbours.push_back({"pair0", gateway_ip, client_mac});
    return c;
}

template <class T>
T must(tl::expected<T, std::string> made) {
    if (!made) throw std::runtime_error(made.error());
    if constexpr (!std::is_void_v<T>) return std::move(*made);
}

void start_port(std::uint16_t id, std::uint16_t queues, rte_mempool* pool) {
    const rte_eth_conf conf{};
    bool ok = rte_eth_dev_configure(id, queues, queues, &conf) == 0;
    for (std::uint16_t q = 0; ok && q < queues; q++)
        ok = rte_eth_rx_queue_setup(id, q, 512, SOCKET_ID_ANY, nullptr, pool) == 0 &&
             rte_eth_tx_queue_setup(id, q, 512, SOCKET_ID_ANY, nullptr) == 0;
    if (!ok || rte_eth_dev_start(id) != 0) throw std::runtime_error("a port of the pair does not start");
}

class skua_network final : public network {
public:
    explicit skua_network(unsigned shards) : shards_(static_cast<std::uint16_t>(shards)), waiting_(shards) {
        control::config c = configuration(shards, 0);
        if (!eal()) eal().emplace(must(control::start_eal("skua-upgrade", c)));
        static unsigned made = 0;
        const std::string name = "up" + std::to_string(made++);
        auto pool = packet::make_pool(name, 8191, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
        if (!pool) throw std::runtime_error("no memory for packets");
        pool_ = std::move(*pool);
        pair_ = must(port::ring_pair::make(name, shards_, ring_size));
        for (const std::uint16_t id : {pair_->a(), pair_->b()}) start_port(id, shards_, pool_.get());
        c.ports[0].device = std::to_string(pair_->b());
        control::surroundings around;
        around.now = [this] { return now_; };
        must(api::running::start(c, control::driving::library, {}, around));
    }
    ~skua_network() override {
        api::running::stop();
        for (const std::uint16_t id : {pair_->a(), pair_->b()}) {
            rte_eth_dev_stop(id);
            rte_eth_dev_close(id);
        }
    }

    const calls& server_calls() const override {
        static const calls all{skua_socket,   skua_bind,     skua_setsockopt, skua_getsockopt,
                               skua_recvmmsg, skua_sendmmsg, skua_close};
        return all;
    }
    sockaddr_in server_address() const override {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_port = htons(server_port);
        return a;
    }
    void open_client(std::uint64_t) override {}
    void close_client(std::uint64_t) override {}
    void send(std::uint64_t client, const message& question) override;
    unsigned move(const std::function<unsigned()>& serve, const std::function<void(const message&)>& answered) override;
    void pass(std::chrono::nanoseconds by) override { now_ += by; }
    std::vector<std::pair<std::string, std::uint64_t>> group_counters() const override;

private:
    static std::optional<control::eal>& eal() {
        static std::optional<control::eal> one;
        return one;
    }
    static be32 ip_of(std::uint64_t n) {
        return be32(first_client_ip + static_cast<std::uint32_t>(n / ports_a_client));
    }
    static be16 port_of(std::uint64_t n) {
        return be16(static_cast<std::uint16_t>(first_client_port + n % ports_a_client));
    }
    unsigned questions_in();
    unsigned answers_out();
    unsigned answers_in(const std::function<void(const message&)>& answered);

    const std::uint16_t shards_;
    time_point now_{std::chrono::hours(1)};
    packet::pool pool_;
    std::unique_ptr<port::ring_pair> pair_;
    std::vector<std::vector<rte_mbuf*>> waiting_;  // for a place on the wire, by queue
};

void skua_network::send(std::uint64_t client, const message& question) {
    rte_mbuf* const m = rte_pktmbuf_alloc(pool_.get());
    if (m == nullptr) throw std::runtime_error("no packet left");
    auto* const bytes = reinterpret_cast<std::byte*>(rte_pktmbuf_append(m, frame_size));
    auto& h = *new (bytes) headers{};
    h.ether.destination = server_mac;
    h.ether.source = client_mac;
    h.ether.type = be16(static_cast<std::uint16_t>(wire::ether_type::ipv4));
    h.ip.version_ihl = 0x45;
    h.ip.total_length = be16(static_cast<std::uint16_t>(frame_size - sizeof h.ether));
    h.ip.flags_fragment = be16(wire::ipv4_dont_fragment);
    h.ip.ttl = 64;
    h.ip.protocol = IPPROTO_UDP;
    h.ip.source = ipv4_address(ip_of(client));
    h.ip.destination = server_ip;
    wire::set_ipv4_checksum(h.ip);
    h.udp.source_port = port_of(client);
    h.udp.destination_port = be16(server_port);
    h.udp.length = be16(static_cast<std::uint16_t>(sizeof h.udp + sizeof question));
    std::memcpy(bytes + sizeof h, &question, sizeof question);
    waiting_[client % shards_].push_back(m);
}

unsigned skua_network::questions_in() {
    unsigned moved = 0;
    for (std::uint16_t q = 0; q < shards_; q++) {
        auto& ready = waiting_[q];
        const unsigned n = rte_eth_tx_burst(pair_->a(), q, ready.data(), static_cast<std::uint16_t>(ready.size()));
        ready.erase(ready.begin(), ready.begin() + n);
        rte_mbuf* frames[burst];
        while (const unsigned got = rte_eth_rx_burst(pair_->b(), q, frames, burst)) {
            for (unsigned i = 0; i < got; i++) frames[i]->port = pair_->b();
            skua_shard_input(q, frames, got, nullptr);
            moved += got;
        }
    }
    return moved;
}

unsigned skua_network::answers_out() {
    unsigned moved = 0;
    for (std::uint16_t q = 0; q < shards_; q++) {
        moved += skua_shard_poll(q);
        rte_mbuf* frames[burst];
        while (const unsigned n = skua_shard_output(q, frames, burst)) {
            const unsigned sent = rte_eth_tx_burst(pair_->b(), q, frames, static_cast<std::uint16_t>(n));
            rte_pktmbuf_free_bulk(frames + sent, n - sent);
            moved += n;
        }
    }
    return moved;
}

unsigned skua_network::answers_in(const std::function<void(const message&)>& answered) {
    unsigned moved = 0;
    rte_mbuf* frames[burst];
    for (std::uint16_t q = 0; q < shards_; q++)
        while (const unsigned n = rte_eth_rx_burst(pair_->a(), q, frames, burst)) {
            for (unsigned i = 0; i < n; i++) {
                if (frames[i]->data_len < frame_size) continue;  // the stack announces its addresses
                const auto* const bytes = rte_pktmbuf_mtod(frames[i], const std::byte*);
                const auto& h = *reinterpret_cast<const headers*>(bytes);
                message m;
                std::memcpy(&m, bytes + sizeof h, sizeof m);
                const std::uint64_t client = m.flow >> 24;
                if (h.ip.protocol == IPPROTO_UDP && h.udp.destination_port == port_of(client) &&
                    h.ip.destination == ipv4_address(ip_of(client)))
                    answered(m);
            }
            rte_pktmbuf_free_bulk(frames, n);
            moved += n;
        }
    return moved;
}

unsigned skua_network::move(const std::function<unsigned()>& serve,
                            const std::function<void(const message&)>& answered) {
    unsigned moved = questions_in() + answers_out();
    moved += serve();
    moved += answers_out();
    return moved + answers_in(answered);
}

std::vector<std::pair<std::string, std::uint64_t>> skua_network::group_counters() const {
    for (const auto& group : api::running::current()->telemetry().groups())
        if (group.chooser == "generations") return group.counters;
    return {};
}

}  // namespace

std::unique_ptr<network> make_skua_network(unsigned shards) { return std::make_unique<skua_network>(shards); }

}  // namespace skua::upgrade
