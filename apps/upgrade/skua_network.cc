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
#include "port/ring_pair.hh"
#include "upgrade/dpdk.hh"
#include "upgrade/frames.hh"
#include "upgrade/network.hh"

namespace skua::upgrade {

namespace {

constexpr unsigned ring_size = 2048;

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
    r.to = ip_prefix::parse(clients_prefix);
    r.via = gateway_ip;
    c.routes.push_back(r);
    c.static_neighbours.push_back({"pair0", gateway_ip, client_mac});
    return c;
}

class skua_network final : public network {
public:
    explicit skua_network(unsigned shards) : shards_(static_cast<std::uint16_t>(shards)), waiting_(shards) {
        control::config c = configuration(shards, 0);
        start_eal(c);
        static unsigned made = 0;
        const std::string name = "up" + std::to_string(made++);
        pool_ = make_frame_pool(name);
        pair_ = must(port::ring_pair::make(name, shards_, ring_size));
        for (const std::uint16_t id : {pair_->a(), pair_->b()}) start_port(id, shards_, 512, pool_.get());
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

    std::unique_ptr<servers> make_servers(server_options o) override {
        static const calls all{skua_socket,   skua_bind,     skua_setsockopt, skua_getsockopt,
                               skua_recvmmsg, skua_sendmmsg, skua_close};
        o.local.sin_family = AF_INET;
        o.local.sin_port = htons(server_port);
        return make_local_servers(all, o);
    }
    void open_client(std::uint64_t) override {}
    void close_client(std::uint64_t) override {}
    void send(std::uint64_t client, const message& question) override;
    unsigned move(const std::function<unsigned()>& serve, const std::function<void(const message&)>& answered) override;
    void pass(std::chrono::nanoseconds by) override { now_ += by; }
    std::vector<std::pair<std::string, std::uint64_t>> group_counters() const override;

private:
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
    waiting_[client % shards_].push_back(question_frame(pool_.get(), client, question));
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
            read_answers(frames, n, answered);
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
