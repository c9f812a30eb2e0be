// Life and names of a UDP socket, its errors, its readiness.
#include "socket/udp_socket.hh"

#include <netinet/in.h>
#include <rte_mbuf.h>

#include "socket/sockaddr.hh"

namespace skua::socket {

udp_socket::settings::settings(const limits& l)
    : receive_buffer(l.rmem_default),
      send_buffer(l.wmem_default),
      pmtu_v4(IP_PMTUDISC_WANT),
      pmtu_v6(IPV6_PMTUDISC_WANT) {}

udp_socket::udp_socket(host& h, ip_family f, credentials who)
    : pcb(f), settings_(h.socket_limits()), host_(h), who_(who), names_(new names{local, remote, ip_address::any(f)}) {
    owner = who.effective_uid;
    home_shard = h.next_home_shard();
    home_fixed = false;
}

udp_socket::~udp_socket() { delete names_.load(std::memory_order_relaxed); }

result<udp_socket_ptr> udp_socket::create(host& h, int domain, int type, int protocol, credentials who) {
    // The order of the checks is that of __sock_create and inet_create.
    constexpr int types = SOCK_PACKET + 1;
    if (domain < 0 || domain >= AF_MAX) return fail(EAFNOSUPPORT);
    if (type < 0 || type >= types) return fail(EINVAL);
    if (domain != AF_INET && domain != AF_INET6) return fail(EAFNOSUPPORT);
    if (protocol < 0 || protocol >= IPPROTO_MAX) return fail(EINVAL);
    if (type != SOCK_DGRAM) return fail(ESOCKTNOSUPPORT);
    if (protocol != 0 && protocol != IPPROTO_UDP) return fail(EPROTONOSUPPORT);
    return udp_socket_ptr(new udp_socket(h, domain == AF_INET ? ip_family::v4 : ip_family::v6, who));
}

void closer::operator()(udp_socket* s) const { s->close(); }

void udp_socket::close() {
    closed_.store(true, std::memory_order_relaxed);
    {
        const std::lock_guard hold(names_lock_);
        if (remote.port != 0) host_.peer_changed(*this, false);
        if (local.port != 0) host_.tables().unbind(*this);
    }
    waiters_.wake(EPOLLHUP | EPOLLIN | EPOLLERR, 0);
    // A shard may deliver until its readers are through; what it delivers is freed with the queue.
    queue_.clear();
    host_.rcu().retire([this] { delete this; }, [this] { return wmem_.load(std::memory_order_acquire) == 0; });
}

void udp_socket::publish(const ip_address& source, bool connected) {
    auto* fresh = new names{local, remote, source, device, local.port != 0, connected, v6_only};
    host_.rcu().retire(std::unique_ptr<const names>(names_.exchange(fresh, std::memory_order_acq_rel)));
}

void udp_socket::publish_again() {
    const names now = *names_.load(std::memory_order_relaxed);
    publish(now.source, now.connected);
}

std::uint32_t udp_socket::current_device() const {
    const rcu_domain::read_guard guard(host_.rcu());
    return current_names().device;
}

namespace {

/// What bind(2) accepts as an address of ours.
bool is_bindable(const net::topology& map, const ip_address& a) {
    return a.is_any() || a.is_multicast() || map.is_broadcast(a) || map.is_local(a);
}

/// Sockets bound to a group or a broadcast address send from an address of the way out (__inet_bind).
ip_address source_when_bound(const net::topology& map, ip_family f, const ip_address& a) {
    return a.is_multicast() || map.is_broadcast(a) ? ip_address::any(f) : a;
}

}  // namespace

result<void> udp_socket::bind(const sockaddr* address, socklen_t length) {
    const auto wanted = address_to_bind(family, address, length);
    if (!wanted) return fail(wanted.error().code);
    return bind(*wanted);
}

result<void> udp_socket::bind(const endpoint& wanted) {
    const std::lock_guard hold(names_lock_);
    return bind_locked(wanted);
}

result<void> udp_socket::bind_locked(const endpoint& wanted) {
    const rcu_domain::read_guard guard(host_.rcu());
    const net::topology& map = host_.topology();
    const bool scoped = needs_scope(wanted.address);
    const bool forbidden =
        wanted.port != 0 && wanted.port < host_.socket_limits().unprivileged_port_start && !who_.may_bind(wanted.port);
    const bool ours = scoped || is_bindable(map, wanted.address);
    // IPv4 looks at the address first, IPv6 last (__inet_bind, __inet6_bind).
    if (family == ip_family::v4 && !ours) return fail(EADDRNOTAVAIL);
    if (forbidden) return fail(EACCES);
    if (local.port != 0) return fail(EINVAL);
    if (wanted.address.is_v4() && v6_only) return fail(EINVAL);
    if (!ours) return fail(EADDRNOTAVAIL);
    const std::uint32_t device_before = device;
    if (scoped) {
        const std::uint32_t link = wanted.scope ? wanted.scope : device;
        if (link == 0) return fail(EINVAL);
        if (map.by_index(link) == nullptr) return fail(ENODEV);
        const auto* held = map.find_address(wanted.address, link);
        if (!wanted.address.is_multicast() && (held == nullptr || !held->usable())) return fail(EADDRNOTAVAIL);
        change_device(link);
    }
    if (auto done = host_.tables().bind(*this, {wanted.address, wanted.port, scoped ? device : 0}); !done) {
        if (device != device_before) change_device(device_before);
        return done;
    }
    publish(source_when_bound(map, family, wanted.address), false);
    return {};
}

/// Under RCU. A destination that cannot be sent to is told of by whoever sends.
std::function<bool(std::uint16_t)> udp_socket::fitting_port(const endpoint& to) const {
    const auto plan = plan_for(current_names(), to);
    if (!plan) return {};
    const auto way = host_.topology().route_to(plan->to.address, plan->ifindex);
    if (!way || way->kind != net::destination_kind::unicast) return {};
    const flow_key reply{plan->from, plan->to.address, 0, plan->to.port};
    return host_.fitting_port(reply, way->out->port, home_shard.load(std::memory_order_relaxed));
}

result<void> udp_socket::ensure_bound(const endpoint* to) {
    {
        const rcu_domain::read_guard guard(host_.rcu());
        if (current_names().bound) return {};
    }
    const std::lock_guard hold(names_lock_);
    if (local.port != 0) return {};
    std::function<bool(std::uint16_t)> preferred;
    if (to != nullptr) {
        const rcu_domain::read_guard guard(host_.rcu());
        preferred = fitting_port(*to);
    }
    if (auto done = host_.tables().autobind(*this, preferred); !done) return done;
    publish(local.address, false);
    return {};
}

void udp_socket::change_device(std::uint32_t ifindex) {
    {
        const auto hold = host_.tables().lock();
        device = ifindex;
    }
    host_.tables().refresh(*this);
}

result<void> udp_socket::connect(const sockaddr* address, socklen_t length) {
    bool only_v6;
    {
        const rcu_domain::read_guard guard(host_.rcu());
        only_v6 = current_names().v6_only;
    }
    const auto wanted = address_to_connect(family, only_v6, address, length);
    // Linux binds before it looks at the rest of the address (inet_dgram_connect).
    if (wanted || length >= sizeof(sa_family_t)) {
        if (wanted && !*wanted) {
            disconnect();
            return {};
        }
        if (auto bound = ensure_bound(wanted ? &**wanted : nullptr); !bound) return bound;
    }
    if (!wanted) return fail(wanted.error().code);
    return connect(**wanted);
}

result<void> udp_socket::connect(const endpoint& wanted) {
    if (auto bound = ensure_bound(&wanted); !bound) return bound;
    const std::lock_guard hold(names_lock_);
    return connect_locked(wanted);
}

result<void> udp_socket::connect_locked(endpoint wanted) {
    const rcu_domain::read_guard guard(host_.rcu());
    names now = current_names();
    const std::uint32_t device_before = device;
    if (needs_scope(wanted.address)) {
        // The scope binds the socket to the link (__ip6_datagram_connect).
        if (wanted.scope != 0 && device != 0 && device != wanted.scope) return fail(EINVAL);
        if (wanted.scope == 0 && device == 0) return fail(EINVAL);
        if (wanted.scope != 0) now.device = wanted.scope;
        wanted.scope = now.device;
    }
    const auto plan = plan_for(now, wanted);
    if (!plan) return fail(plan.error().code);
    if (now.device != device_before) change_device(now.device);
    const ip_address from = local.address.is_any() ? plan->from : local.address;
    if (auto done = host_.tables().connect(*this, from, plan->to); !done) {
        if (device != device_before) change_device(device_before);
        return done;
    }
    publish(plan->from, true);
    host_.peer_changed(*this, remote.port != 0);
    return {};
}

void udp_socket::disconnect() {
    const std::lock_guard hold(names_lock_);
    const rcu_domain::read_guard guard(host_.rcu());
    if (remote.port != 0) host_.peer_changed(*this, false);
    host_.tables().disconnect(*this);
    publish(source_when_bound(host_.topology(), family, local.address), false);
}

endpoint udp_socket::local_endpoint() const {
    const rcu_domain::read_guard guard(host_.rcu());
    return current_names().local;
}

std::optional<endpoint> udp_socket::remote_endpoint() const {
    const rcu_domain::read_guard guard(host_.rcu());
    const names& n = current_names();
    if (!n.connected || n.remote.port == 0) return std::nullopt;
    return n.remote;
}

result<void> udp_socket::getsockname(sockaddr* address, socklen_t* length) const {
    if (static_cast<int>(*length) < 0) return fail(EINVAL);
    *length = write_sockaddr(family, local_endpoint(), address, *length);
    return {};
}

result<void> udp_socket::getpeername(sockaddr* address, socklen_t* length) const {
    const auto peer = remote_endpoint();
    if (!peer) return fail(ENOTCONN);
    if (static_cast<int>(*length) < 0) return fail(EINVAL);
    *length = write_sockaddr(family, *peer, address, *length);
    return {};
}

result<void> udp_socket::shutdown(int how) {
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return fail(EINVAL);
    shutdown_.fetch_or(how == SHUT_RD ? shut_receive : how == SHUT_WR ? shut_send : shut_receive | shut_send);
    if (waiters_.active()) waiters_.wake(0, 0);
    const rcu_domain::read_guard guard(host_.rcu());
    if (!current_names().connected) return fail(ENOTCONN);
    return {};
}

std::uint32_t udp_socket::poll_events() const {
    // As udp_poll and datagram_poll.
    const unsigned down = shutdown_.load();
    std::uint32_t events = 0;
    if (error_.load() != 0) events |= EPOLLERR;
    if (down & shut_receive) events |= EPOLLRDHUP | EPOLLIN | EPOLLRDNORM;
    if (down == (shut_receive | shut_send)) events |= EPOLLHUP;
    if (!queue_.empty()) events |= EPOLLIN | EPOLLRDNORM;
    if (writeable()) events |= EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
    return events;
}

void udp_socket::report(int error, bool fatal) {
    const names& n = current_names();
    if (!n.connected || !fatal) return;
    const auto& rule = n.remote.address.is_v4() ? settings_.pmtu_v4 : settings_.pmtu_v6;
    if (error == EMSGSIZE && rule.load(std::memory_order_relaxed) == IP_PMTUDISC_DONT) return;
    if (receiver_ != nullptr && receiver_->on_error(*this, error)) return;
    error_.store(error);
    if (waiters_.active()) waiters_.wake(EPOLLERR, 1);
}

time_point udp_socket::deadline_of(const std::atomic<nanoseconds::rep>& timeout, int flags) {
    const auto t = timeout.load(std::memory_order_relaxed);
    if (flags & MSG_DONTWAIT || t == 0) return at_once;
    if (t < 0) return time_point::max();
    return monotonic_clock::now() + nanoseconds(t);
}

}  // namespace skua::socket
