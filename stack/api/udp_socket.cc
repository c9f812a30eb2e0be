// The C++ API: sockets on their shard, with datagrams on loan.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <unistd.h>

#include "api/running.hh"
#include "control/explain.hh"
#include "skua/skua.hpp"
#include "socket/datagram.hh"
#include "udp/selector.hh"

namespace skua::api {

namespace {

constexpr unsigned burst_size = skua::shard::burst_size;

skua::endpoint to_internal(const endpoint& e) { return {ip_address(ipv6_address{e.address}), e.port, e.scope}; }
endpoint to_public(const skua::endpoint& e) { return {e.address.bytes(), e.port, e.scope}; }

[[noreturn]] void fail_with(error e, const char* what) {
    throw failure(e.code, fmt::format("{}: {}", what, std::strerror(e.code)));
}

template <class T>
T must(result<T> r, const char* what) {
    if (!r) fail_with(r.error(), what);
    if constexpr (!std::is_void_v<T>) return std::move(*r);
}

running& here() {
    running* const r = running::current();
    if (r == nullptr) throw failure(ENETDOWN, "no stack is running in this process");
    return *r;
}

}  // namespace

endpoint endpoint::parse(const std::string& text) {
    const auto colon = text.rfind(':');
    std::string host = text.substr(0, colon);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    const auto address = ip_address::parse(host);
    unsigned port = 0;
    const char* const digits = colon == std::string::npos ? "" : text.c_str() + colon + 1;
    const auto [end, problem] = std::from_chars(digits, text.c_str() + text.size(), port);
    if (!address || colon == std::string::npos || problem != std::errc{} || *end != 0 || port > 65535)
        throw failure(EINVAL, fmt::format("\"{}\" is not ADDRESS:PORT", text));
    return to_public({*address, static_cast<std::uint16_t>(port), 0});
}

std::string endpoint::to_string() const { return to_internal(*this).to_string(); }

bool datagram::copy(std::uint32_t from, std::span<std::byte> out) const {
    packet::packet p(packet_);
    const bool whole = p.read(offset_ + from, out);
    (void)p.release();
    return whole;
}

/// The shard's side hands bursts to the callback; ours hands datagrams back to the shard.
struct udp_socket::impl final : socket::receiver {
    impl(control::stack& s, skua::shard::shard& h, socket::udp_socket_ptr p)
        : stack(s), home(h), socket(std::move(p)), self(std::unique_ptr<impl>(this)) {}
    ~impl() { (void)self.impl_.release(); }

    void on_datagrams(socket::udp_socket&, std::span<socket::received> received) override {
        datagram loans[burst_size];
        for (std::size_t i = 0; i < received.size(); i++) {
            const auto& info = *received[i].info;
            loans[i] = datagram(received[i].datagram.release(),
                                static_cast<std::uint16_t>(info.l4_offset + sizeof(wire::udp_header)));
            loans[i].peer = to_public(
                {info.flow.remote, info.flow.remote_port, info.flow.remote.is_link_local() ? info.ifindex : 0});
        }
        callback(self, std::span(loans, received.size()));
    }

    control::stack& stack;
    skua::shard::shard& home;
    socket::udp_socket_ptr socket;
    udp_socket::receiver callback;
    /// For the callback: the program's own object may be moved elsewhere meanwhile, by another thread.
    udp_socket self;
};

udp_socket::udp_socket(std::unique_ptr<impl> i) : impl_(std::move(i)) {}
udp_socket::udp_socket(udp_socket&& o) noexcept = default;

udp_socket& udp_socket::operator=(udp_socket&& o) noexcept {
    std::swap(impl_, o.impl_);
    return *this;
}

udp_socket::~udp_socket() {
    if (!impl_) return;
    // A burst may be on its way to the callback on the home shard: the callback goes when no shard can see the socket.
    auto& rcu = impl_->stack.rcu();
    impl_->socket.reset();
    rcu.retire(std::move(impl_));
}

void udp_socket::on_receive(receiver callback) {
    impl_->callback = std::move(callback);
    impl_->socket->set_receiver(impl_->callback ? impl_.get() : nullptr);
}

unsigned udp_socket::recv_burst(std::span<datagram> out) {
    packet::packet packets[burst_size];
    const unsigned n = impl_->socket->recv_burst(std::span(packets, std::min<std::size_t>(out.size(), burst_size)));
    for (unsigned i = 0; i < n; i++) {
        const socket::datagram_view view(packets[i].get());
        const auto source = to_public(view.source());
        out[i] = datagram(packets[i].release(), view.payload_offset());
        out[i].peer = source;
    }
    return n;
}

unsigned udp_socket::send_burst(std::span<datagram> datagrams, int* error) {
    unsigned sent = 0;
    if (error) *error = 0;
    while (sent < datagrams.size()) {
        const auto batch = datagrams.subspan(sent, std::min<std::size_t>(burst_size, datagrams.size() - sent));
        socket::outgoing out[burst_size];
        skua::endpoint to[burst_size];
        std::uint16_t offsets[burst_size];
        for (std::size_t i = 0; i < batch.size(); i++) {
            offsets[i] = batch[i].payload_offset();
            to[i] = to_internal(batch[i].peer);
            out[i].datagram.reset(batch[i].release());
            out[i].datagram.trim_front(offsets[i]);
            out[i].to = to[i].port || !to[i].address.is_any() ? &to[i] : nullptr;
        }
        const unsigned framed = impl_->socket->frame(std::span(out, batch.size()), error);
        for (unsigned i = 0; i < framed; i++) {
            const std::uint32_t by = out[i].datagram.info().ifindex;
            impl_->home.send(std::move(out[i].datagram), by);
        }
        for (std::size_t i = framed; i < batch.size(); i++) {
            out[i].datagram.prepend(offsets[i]);
            const auto peer = batch[i].peer;
            batch[i] = datagram(out[i].datagram.release(), offsets[i]);
            batch[i].peer = peer;
        }
        sent += framed;
        if (framed < batch.size()) break;
    }
    return sent;
}

datagram udp_socket::allocate(std::uint32_t length) {
    return datagram(packet::allocate(impl_->home.pool(), length).release(), 0);
}

void udp_socket::connect(const endpoint& to) { must(impl_->socket->connect(to_internal(to)), "connect"); }

void udp_socket::set_option(int level, int name, int value) {
    must(impl_->socket->setsockopt(level, name, &value, sizeof value), "setsockopt");
}

void udp_socket::choose_by(chooser choose) {
    auto select = std::make_shared<udp::callable_selector>(
        [choose = std::move(choose)](const udp::lookup_key& key, std::span<const std::byte> payload) {
            return choose(to_public({key.flow.remote, key.flow.remote_port, 0}), payload);
        });
    must(impl_->stack.tables().attach(*impl_->socket, std::move(select)), "choose_by");
}

endpoint udp_socket::local() const { return to_public(impl_->socket->local_endpoint()); }
std::uint64_t udp_socket::received() const { return impl_->socket->received_count(); }
std::uint64_t udp_socket::dropped() const { return impl_->socket->dropped_count(); }

udp_socket shard::open(const endpoint& local, const socket_options& options, udp_socket::receiver callback) const {
    auto& stack = here().stack();
    if (index_ >= stack.shard_count()) throw failure(EINVAL, fmt::format("there is no shard {}", index_));
    const skua::endpoint at = to_internal(local);
    const int family = at.address.is_v4() ? AF_INET : AF_INET6;
    auto made = must(socket::udp_socket::create(stack, family, SOCK_DGRAM, 0, {geteuid()}), "socket");
    made->home_shard.store(static_cast<std::uint16_t>(index_), std::memory_order_relaxed);
    made->home_fixed = true;
    const auto set = [&](bool wanted, int level, int name) {
        const int on = 1;
        if (wanted) must(made->setsockopt(level, name, &on, sizeof on), "setsockopt");
    };
    set(options.reuse_address, SOL_SOCKET, SO_REUSEADDR);
    set(options.reuse_port, SOL_SOCKET, SO_REUSEPORT);
    set(options.v6_only, IPPROTO_IPV6, IPV6_V6ONLY);
    auto impl = std::make_unique<udp_socket::impl>(stack, stack.shard_at(index_), std::move(made));
    auto* const inner = impl.get();
    udp_socket opened(std::move(impl));
    if (callback) opened.on_receive(std::move(callback));
    must(inner->socket->bind(at), "bind");
    return opened;
}

std::string explain(const std::string& flow) {
    const auto told = control::explain(here().stack(), flow);
    if (!told) throw failure(EINVAL, told.error());
    return told->text();
}

unsigned shard_count() { return here().stack().shard_count(); }

std::vector<std::string> proc_net_udp(int family) {
    return here().telemetry().proc_net_udp(family == AF_INET6 ? ip_family::v6 : ip_family::v4);
}

std::vector<std::uint64_t> processes() {
    std::vector<std::uint64_t> all;
    for (const auto& p : here().telemetry().processes()) all.push_back(p.id);
    return all;
}

std::vector<descriptor_info> descriptors(std::uint64_t process) {
    std::vector<descriptor_info> all;
    for (auto& d : here().telemetry().descriptors(process))
        all.push_back({d.fd, std::move(d.link), d.flags, d.close_on_exec});
    return all;
}

}  // namespace skua::api
