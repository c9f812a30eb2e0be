// Opening the sockets, and sending back what came.
#include "echo/server.hh"

#include <fmt/format.h>

#include <algorithm>

#include "control/plain_table.hh"

namespace skua::echo {

namespace {

void add(std::atomic<std::uint64_t>& counter, std::uint64_t n = 1) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

api::socket_options options_for(const api::endpoint& local) {
    api::socket_options o;
    o.reuse_port = true;  // one group of all shards: a datagram is answered where it lands
    o.v6_only = local.to_string().starts_with('[');
    return o;
}

}  // namespace

service::service(kind what, unsigned shard, const api::endpoint& local)
    : what_(what),
      shard_(shard),
      port_(local.port),
      socket_(
          api::shard(shard).open(local, options_for(local), [this](api::udp_socket& s, std::span<api::datagram> burst) {
              if (what_ == kind::echo) send_back(s, burst);
          })) {}

void service::send_back(api::udp_socket& socket, std::span<api::datagram> burst) {
    // Two echo servers that a forged datagram makes talk to each other would never stop.
    for (auto& d : burst)
        if (d.peer.port == port_) {
            d = {};
            add(refused_);
        }
    while (!burst.empty()) {
        const auto is_gone = [](const api::datagram& d) { return !d; };
        const auto first_gone = static_cast<std::size_t>(std::ranges::find_if(burst, is_gone) - burst.begin());
        const unsigned sent = socket.send_burst(burst.first(first_gone));
        add(sent_, sent);
        // The one that could not be sent must not hold up those behind it.
        if (sent < first_gone) add(refused_);
        burst = burst.subspan(std::min<std::size_t>(sent + 1, burst.size()));
    }
}

server::server(std::uint16_t echo_port, std::uint16_t discard_port) {
    const struct {
        service::kind what;
        std::uint16_t port;
    } wanted[] = {{service::kind::echo, echo_port}, {service::kind::discard, discard_port}};
    for (const auto& w : wanted)
        for (const char* any : {"0.0.0.0", "[::]"})
            for (unsigned shard = 0; w.port != 0 && shard < api::shard_count(); shard++)
                services_.push_back(
                    std::make_unique<service>(w.what, shard, api::endpoint::parse(fmt::format("{}:{}", any, w.port))));
}

std::string server::table() const {
    control::plain_table t({"service", "socket", "shard", "received", "sent", "refused", "dropped"});
    for (const auto& s : services_)
        t.add({s->what() == service::kind::echo ? "echo" : "discard", s->local().to_string(),
               fmt::to_string(s->shard()), fmt::to_string(s->received()), fmt::to_string(s->sent()),
               fmt::to_string(s->refused()), fmt::to_string(s->dropped())});
    return t.text();
}

}  // namespace skua::echo
