// Setting up the generations of a group, and asking for them.
#include "socket/generation_options.hh"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/random.hh"
#include "skua/udp_grm.h"
#include "udp/generations.hh"

namespace skua::socket {

namespace {

constexpr std::uint32_t nothing = 0xffffffff;

std::uint32_t number_in(std::span<const std::byte> value) {
    std::uint32_t n;
    std::memcpy(&n, value.data(), sizeof n);
    return n;
}

std::size_t room_of(host& h, const udp::pcb& p) {
    return p.flow_room != 0 ? p.flow_room : h.socket_limits().group_flows;
}

/// Under the tables' lock. `asked` nullptr: what the group begins with.
result<udp::generations*> set_up(host& h, udp::pcb& p, const udp::dissector* asked) {
    auto& g = *p.member_of;
    system_random random;
    try {
        g.set_generations(
            std::make_shared<udp::generations>(h.rcu(), asked ? *asked : udp::dissector(), room_of(h, p), random));
    } catch (const std::bad_alloc&) {
        return fail(ENOMEM);
    }
    return g.by_generation().get();
}

result<void> set_dissector(host& h, udp::pcb& p, std::span<const std::byte> value) {
    const auto asked = udp::dissector::make(value);
    if (const auto& there = p.member_of->by_generation()) {
        if (!asked || !there->dissects().is_same(*asked)) return fail(EPERM);
        return {};
    }
    if (!asked) return fail(asked.error().code);
    const auto made = set_up(h, p, &*asked);
    return made ? result<void>{} : fail(made.error().code);
}

result<void> set_locked(host& h, udp::pcb& p, int name, std::span<const std::byte> value) {
    if (name == UDP_GRM_DISSECTOR) return set_dissector(h, p, value);
    udp::generations* all = p.member_of->by_generation().get();
    if (all == nullptr) {
        const auto made = set_up(h, p, nullptr);
        if (!made) return fail(made.error().code);
        all = *made;
    }
    switch (name) {
        case UDP_GRM_WORKING_GEN: all->set_working(p, number_in(value)); return {};
        case UDP_GRM_SOCKET_GEN:
            // Whatever else was attached meanwhile: udpgrm's program comes back with a new socket.
            if (p.member_of->chosen_by() != p.member_of->by_generation())
                p.member_of->set_generations(p.member_of->by_generation());
            return all->set_generation(p, number_in(value));
        case UDP_GRM_SOCKET_APP: return all->set_app(p, number_in(value));
        default: return {};
    }
}

result<endpoint> remote_of(std::span<const std::byte> value) {
    sa_family_t family;
    std::memcpy(&family, value.data(), sizeof family);
    if (family == AF_INET && value.size() >= sizeof(sockaddr_in)) {
        sockaddr_in a;
        std::memcpy(&a, value.data(), sizeof a);
        return endpoint{ipv4_address(be32::from_raw(a.sin_addr.s_addr)), ntohs(a.sin_port), 0};
    }
    if (family == AF_INET6 && value.size() >= sizeof(sockaddr_in6)) {
        sockaddr_in6 a;
        std::memcpy(&a, value.data(), sizeof a);
        ipv6_address address;
        std::memcpy(address.bytes.data(), &a.sin6_addr, sizeof a.sin6_addr);
        return endpoint{address, ntohs(a.sin6_port), a.sin6_scope_id};
    }
    return fail(EPERM);
}

result<void> assure(host& h, udp::pcb& p, std::span<const std::byte> value) {
    const rcu_domain::read_guard guard(h.rcu());
    auto* const member = p.registered.load(std::memory_order_acquire);
    if (member == nullptr) return fail(EBADF);
    if (member->of.flows() == nullptr) return fail(EPERM);
    const auto remote = remote_of(value);
    if (!remote) return fail(remote.error().code);
    switch (member->of.answered(*member, *remote, h.now())) {
        case udp::flow_table::outcome::conflict: return fail(EEXIST);
        case udp::flow_table::outcome::busy: return fail(EAGAIN);
        default: return {};
    }
}

}  // namespace

bool is_generation_option(int level, int name) {
    return level == IPPROTO_UDP && name >= UDP_GRM_WORKING_GEN && name <= UDP_GRM_SOCKET_APP;
}

result<void> set_generation_option(host& h, udp::pcb& p, int name, std::span<const std::byte> value) {
    if (value.size() < sizeof(std::uint32_t)) return fail(EFAULT);
    // Once set up it may be said of every answer: without the lock.
    const bool assures = name == UDP_GRM_FLOW_ASSURE;
    if (assures && p.registered.load(std::memory_order_relaxed) != nullptr) return assure(h, p, value);
    bool first = false;
    result<void> done;
    {
        const auto lock = h.tables().lock();
        if (p.member_of == nullptr) return fail(EBADF);
        first = p.member_of->by_generation() == nullptr;
        done = set_locked(h, p, name, value);
    }
    if (first) h.tables().refresh(p);  // a group of one has an entry of another kind from now on
    return assures && done ? assure(h, p, value) : done;
}

result<std::size_t> get_generation_option(host& h, const udp::pcb& p, int name, std::span<std::byte> room) {
    if (room.size() < sizeof(std::uint32_t)) return fail(EFAULT);
    const auto give = [&](const auto& value) {
        const std::size_t n = std::min(room.size(), sizeof value);
        std::memcpy(room.data(), &value, n);
        return n;
    };
    const auto lock = h.tables().lock();
    const udp::generations* const all = p.member_of ? p.member_of->by_generation().get() : nullptr;
    if (name == UDP_GRM_WORKING_GEN) return give(all ? all->working(p) : nothing);
    if (name == UDP_GRM_FLOW_ASSURE) return fail(EPERM);
    if (p.member_of == nullptr || (name == UDP_GRM_DISSECTOR && all == nullptr)) return fail(EBADFD);
    if (name == UDP_GRM_DISSECTOR) return give(all->dissects().asked());
    if (name == UDP_GRM_SOCKET_APP) return give(all ? all->app_of(p) : 0u);
    udp_grm_socket_gen where{nothing, nothing, 0, 0};
    if (const auto* r = p.registered.load(std::memory_order_relaxed))
        where = {r->generation, r->index, all->cookie_of(p), 0};
    return give(where);
}

result<void> set_flow_room(host& h, udp::pcb& p, int flows) {
    if (flows < 1 || flows > static_cast<int>(udp::flow_table::most_flows)) return fail(EINVAL);
    const auto lock = h.tables().lock();
    if (p.member_of && p.member_of->by_generation()) return fail(EPERM);
    p.flow_room = static_cast<std::uint32_t>(flows);
    return {};
}

int flow_room(host& h, const udp::pcb& p) {
    const auto lock = h.tables().lock();
    const auto* const all = p.member_of ? p.member_of->by_generation().get() : nullptr;
    return static_cast<int>(all && all->flows() ? all->flows()->capacity() : room_of(h, p));
}

}  // namespace skua::socket
