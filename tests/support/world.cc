// The harness around a stack.
#include "support/world.hh"

#include <rte_dev.h>
#include <rte_ethdev.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace skua::test {

namespace {

using namespace std::chrono_literals;

/// Port 0, which the stack only names: its frames come and go through world.
void make_port() {
    static const int made = rte_eth_dev_is_valid_port(0) ? 0 : rte_eal_hotplug_add("vdev", "net_null0", "");
    if (made != 0) throw std::runtime_error("no port 0 could be made");
}

control::config usual_host(unsigned shards) {
    static const auto host = control::parse_config(R"(
        [pool]
        packets = 4096
        cache = 0
        [[port]]
        device = "0"
        name = "p0"
        mac = "02:00:00:00:00:01"
        addresses = ["198.18.0.1/24", "2001:db8::1/64", "fe80::1/64"]
        dad = false
        rx_descriptors = 64
        tx_descriptors = 64
    )",
                                                   "usual host");
    if (!host) throw std::runtime_error(control::to_string(host.error()));
    control::config c = *host;
    c.stack.shards = shards;
    return c;
}

packet::pool make_wire() {
    static unsigned made = 0;
    auto pool = packet::make_pool("wire" + std::to_string(made++), 4095, 2048 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY, 0);
    if (!pool) throw std::runtime_error("no memory for frames");
    return std::move(*pool);
}

/// A buffer on the heap that lives as long as the mbuf.
struct heap_buffer {
    rte_mbuf_ext_shared_info shared;
    char* bytes;
    static void free(void*, void* self) {
        auto* b = static_cast<heap_buffer*>(self);
        std::free(b->bytes);
        delete b;
    }
};

std::string bytes_of(const rte_mbuf* m) {
    std::string all;
    for (; m; m = m->next) all.append(rte_pktmbuf_mtod(m, const char*), m->data_len);
    return all;
}

/// Reads and frees.
std::vector<std::string> take(std::span<rte_mbuf*> frames) {
    std::vector<std::string> all;
    for (rte_mbuf* m : frames) {
        rte_mbuf_sanity_check(m, 1);
        all.push_back(bytes_of(m));
        rte_pktmbuf_free(m);
    }
    return all;
}

socklen_t to_sockaddr(ip_family family, const endpoint& e, sockaddr_storage& out) {
    if (family == ip_family::v4) {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_port = htons(e.port);
        a.sin_addr.s_addr = e.address.v4().value.raw();
        std::memcpy(&out, &a, sizeof a);
        return sizeof a;
    }
    sockaddr_in6 a{};
    a.sin6_family = AF_INET6;
    a.sin6_port = htons(e.port);
    a.sin6_scope_id = e.scope;
    std::memcpy(&a.sin6_addr, e.address.bytes().data(), 16);
    std::memcpy(&out, &a, sizeof a);
    return sizeof a;
}

endpoint from_sockaddr(const sockaddr_storage& s) {
    if (s.ss_family == AF_INET) {
        const auto& a = reinterpret_cast<const sockaddr_in&>(s);
        return {ipv4_address(be32::from_raw(a.sin_addr.s_addr)), ntohs(a.sin_port), 0};
    }
    const auto& a = reinterpret_cast<const sockaddr_in6&>(s);
    ipv6_address v6;
    std::memcpy(v6.bytes.data(), &a.sin6_addr, 16);
    return {v6, ntohs(a.sin6_port), a.sin6_scope_id};
}

}  // namespace

world::world(unsigned shards, const std::function<void(control::config&)>& edit) : wire_(make_wire()) {
    make_port();
    control::config c = usual_host(shards);
    if (edit) edit(c);
    if (const auto problems = control::check(c); !problems.empty())
        throw std::runtime_error(control::to_string(problems));
    control::surroundings around;
    around.now = [this] { return now_; };
    around.make_random = [seed = std::uint64_t(1)]() mutable { return std::make_unique<seeded_random>(seed++); };
    auto made = control::stack::make(c, control::driving::library, around);
    if (!made) throw std::runtime_error(made.error());
    stack_ = std::move(*made);
    // Addresses are announced at once; nobody who comes after wants to hear of it.
    advance(10s);
    sent();
}

// ---- frames in ----

rte_mbuf* world::exact(std::string_view frame) {
    auto* b = new heap_buffer{};
    const std::size_t room = RTE_PKTMBUF_HEADROOM + frame.size();
    b->bytes = static_cast<char*>(std::malloc(room));
    if (!frame.empty()) std::memcpy(b->bytes + RTE_PKTMBUF_HEADROOM, frame.data(), frame.size());
    b->shared.free_cb = heap_buffer::free;
    b->shared.fcb_opaque = b;
    rte_mbuf_ext_refcnt_set(&b->shared, 1);
    rte_mbuf* m = rte_pktmbuf_alloc(wire_.get());
    if (m == nullptr) throw std::runtime_error("too many frames at once");
    rte_pktmbuf_attach_extbuf(m, b->bytes, RTE_BAD_IOVA, static_cast<std::uint16_t>(room), &b->shared);
    m->data_off = RTE_PKTMBUF_HEADROOM;
    m->data_len = static_cast<std::uint16_t>(frame.size());
    m->pkt_len = m->data_len;
    m->port = 0;
    return m;
}

void world::give(std::vector<rte_mbuf*> frames, unsigned on) { shard(on).input(frames, nullptr, now_); }

void world::inject(const std::vector<std::string>& frames, unsigned on) {
    std::vector<rte_mbuf*> all;
    for (const auto& f : frames) {
        packet::packet p = packet::allocate(wire_.get(), static_cast<std::uint32_t>(f.size()));
        packet::write(p, 0, as_bytes(f));
        p.get()->port = 0;
        all.push_back(p.release());
    }
    give(std::move(all), on);
}

void world::inject_split(std::string_view frame, const std::vector<std::size_t>& cuts, unsigned on) {
    rte_mbuf* first = nullptr;
    std::size_t from = 0;
    for (std::size_t i = 0; i <= cuts.size(); i++) {
        const std::size_t to = i < cuts.size() ? cuts[i] : frame.size();
        packet::packet piece = packet::allocate(wire_.get(), static_cast<std::uint32_t>(to - from));
        packet::write(piece, 0, as_bytes(frame.substr(from, to - from)));
        if (first) rte_pktmbuf_chain(first, piece.release());
        else first = piece.release();
        from = to;
    }
    first->port = 0;
    give({first}, on);
}

std::vector<std::string> world::offer(const std::vector<std::string>& frames, unsigned on) {
    std::vector<rte_mbuf*> all;
    for (const auto& f : frames) all.push_back(exact(f));
    std::vector<rte_mbuf*> back(all.size());
    back.resize(shard(on).input(all, back.data(), now_));
    return take(back);
}

void world::inject_as_nic(std::string_view frame, const std::function<void(rte_mbuf&)>& edit, unsigned on) {
    packet::packet p = packet::allocate(shard(on).pool(), static_cast<std::uint32_t>(frame.size()));
    packet::write(p, 0, as_bytes(frame));
    p.get()->port = 0;
    if (edit) edit(*p.get());
    give({p.release()}, on);
}

// ---- time ----

void world::turn(unsigned rounds) {
    for (unsigned r = 0; r < rounds; r++)
        for (unsigned i = 0; i < shards(); i++) shard(i).poll_once(now_);
}

void world::settle() {
    for (unsigned idle = 0; idle < 2;) {
        unsigned moved = 0;
        for (unsigned i = 0; i < shards(); i++) moved += shard(i).poll_once(now_);
        idle = moved ? 0 : idle + 1;
    }
}

void world::advance(nanoseconds by) {
    now_ += by;
    settle();
}

// ---- what came of it ----

std::vector<std::string> world::sent() {
    settle();
    std::vector<std::string> all;
    for (unsigned i = 0; i < shards(); i++) {
        rte_mbuf* frames[64];
        while (const unsigned n = shard(i).output(frames))
            for (auto& f : take(std::span(frames, n))) all.push_back(std::move(f));
    }
    return all;
}

seen world::sent_one() {
    const auto all = sent();
    return all.size() == 1 ? look(all.front()) : seen{};
}

std::uint64_t world::drops(drop_reason why) const {
    std::uint64_t n = 0;
    for (unsigned i = 0; i < shards(); i++) n += stack_->shard_at(i).counts().drops.get(why);
    return n;
}

std::uint64_t world::all_drops() const {
    std::uint64_t n = 0;
    for (const auto& d : drop_reasons) n += drops(d.reason);
    return n;
}

std::uint64_t world::count(mib which) const {
    std::uint64_t n = stack_->call_count(which);
    for (unsigned i = 0; i < shards(); i++) n += stack_->shard_at(i).counts().mibs.get(which);
    return n;
}

// ---- sockets ----

socket::udp_socket_ptr world::open(int domain) {
    auto made = socket::udp_socket::create(*stack_, domain, SOCK_DGRAM, 0, {0});
    if (!made) throw std::runtime_error("no socket");
    return std::move(*made);
}

socket::udp_socket_ptr world::open(const endpoint& local, unsigned home,
                                   const std::function<void(socket::udp_socket&)>& before) {
    auto s = open(local.address.is_v4() ? AF_INET : AF_INET6);
    s->home_shard.store(static_cast<std::uint16_t>(home));
    s->home_fixed = true;
    if (before) before(*s);
    if (auto bound = s->bind(local); !bound)
        throw std::runtime_error(std::string("bind: ") + std::strerror(bound.error().code));
    return s;
}

result<std::size_t> world::send(socket::udp_socket& from, std::string_view payload, const endpoint& to) {
    sockaddr_storage address{};
    const socklen_t length = to.port ? to_sockaddr(from.family, to, address) : 0;
    return from.sendto(payload.data(), payload.size(), MSG_DONTWAIT,
                       length ? reinterpret_cast<sockaddr*>(&address) : nullptr, length);
}

result<received> world::receive(socket::udp_socket& at) {
    std::string payload(65536, '\0');
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const auto got =
        at.recvfrom(payload.data(), payload.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&address), &length);
    if (!got) return fail(got.error().code);
    payload.resize(*got);
    return received{std::move(payload), from_sockaddr(address)};
}

std::vector<std::string> world::receive_all(socket::udp_socket& at) {
    std::vector<std::string> all;
    while (auto one = receive(at)) all.push_back(std::move(one->payload));
    return all;
}

unsigned world::packets_in_use() const {
    unsigned n = rte_mempool_in_use_count(wire_.get());
    for (unsigned i = 0; i < shards(); i++) n += rte_mempool_in_use_count(stack_->shard_at(i).pool());
    return n;
}

unsigned world::missing() {
    // Datagrams that do not become whole, of which a tick gives up a limited number; then neighbours that do not
    // answer, to whom it may have told so.
    advance(61s);
    for (int i = 0; i < 200 && packets_in_use() != 0; i++) {
        advance(50ms);
        sent();
    }
    return packets_in_use();
}

}  // namespace skua::test
