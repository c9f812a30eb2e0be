// The three lookup tables (by port, by address + port, by four-tuple), binding rules and the lookup.
//
// Writers (bind, connect, unbind) take one lock and may be any thread. Shards read without locks under RCU.
//
// Behind this front, from below: bind_rules (who may stand beside whom), group (SO_REUSEPORT), candidate (a table's
// entry and its score), lookup (the tables), port_bindings (the writers' view of a port), ephemeral (choosing a port).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/clock.hh"
#include "base/random.hh"
#include "base/rcu.hh"
#include "base/result.hh"
#include "udp/pcb.hh"
#include "udp/spread.hh"

struct rte_mbuf;

namespace skua::udp {

struct explanation;

/// Which sockets share the pick when some sockets of equal best score have SO_REUSEPORT and some have not, and the one
/// bound last has it (IPv4): all of them (Linux 3.9 to 4.4) or the group only (Linux today).
enum class mixed_rule : std::uint8_t { every, group };

struct table_options {
    mixed_rule mixed = mixed_rule::every;
    std::uint16_t ephemeral_first = 32768;  // Linux: net.ipv4.ip_local_port_range
    std::uint16_t ephemeral_last = 60999;
    std::vector<std::uint16_t> reserved_ports;  // Linux: net.ipv4.ip_local_reserved_ports; never chosen as ephemeral
    std::size_t expected_sockets = 1024;
    std::uint16_t shards = 1;
};

/// A packet as the lookup sees it.
struct lookup_key {
    flow_key flow;
    std::uint32_t hash = 0;     // five-tuple (Toeplitz) hash; only used if a group must choose
    std::uint32_t ifindex = 0;  // came in on
    std::uint16_t shard = 0;    // is being looked up for packets received on this shard
    /// For groups that choose by content: the packet, and where in it the payload begins. nullptr: there is none.
    const rte_mbuf* packet = nullptr;
    std::uint16_t payload = 0;
    /// The shard that looks, if it will deliver what it finds: who counts packets counts on their member's own shard.
    std::uint16_t looks_on = nobody;
    time_point now{};

    static constexpr std::uint16_t nobody = 0xffff;
};

class tables {
public:
    /// `random` is used under the writer lock only; nobody else may use it meanwhile. Throws std::invalid_argument on
    /// an ephemeral range that is empty or begins at 0.
    tables(rcu_domain& rcu, random_source& random, table_options options = {});
    ~tables();  // every pcb must be unbound
    tables(const tables&) = delete;
    tables& operator=(const tables&) = delete;

    // ---- writers ----
    /// bind(2) after the socket layer has checked that the address is one of ours. port 0: an ephemeral port is chosen
    /// at random (RFC 6056 algorithm 1), one that nobody has or, if there is none, that no conflicting socket has. An
    /// IPv6 address proper makes the pcb v6_only, as in Linux. Errors, as Linux: EINVAL bound already, or an IPv4
    /// address on a v6-only socket; EADDRINUSE, also for the 65,536th member of a group.
    result<void> bind(pcb& p, const endpoint& local);
    /// Binds to an ephemeral port if the pcb has none, on the address it has. Error: EAGAIN (Linux) when none is left.
    /// Ports that `preferred` agrees to are tried first, at random and for a bounded time.
    result<void> autobind(pcb& p, const std::function<bool(std::uint16_t)>& preferred = {});
    /// connect(2): `local` is the source address chosen for `remote` (its port is ignored) and becomes the pcb's if it
    /// has none yet. Autobinds. A connected pcb may be connected anew and keeps its address. A remote port of 0 is a
    /// peer by half: its packets are scored for the address alone. Errors: EAGAIN no port left.
    result<void> connect(pcb& p, const ip_address& local, const endpoint& remote);
    /// connect(AF_UNSPEC): forgets the peer and, as Linux does, the device; address and port stay only if bind() named
    /// them (linux-udp facts 17, 18). Also for a pcb without a peer.
    void disconnect(pcb& p);
    /// Takes the pcb out of every table; its port is 0 then. The caller frees it only after readers of this moment are
    /// gone (rcu.retire).
    void unbind(pcb& p);
    /// After reuse_address, reuse_port, device, incoming_shard, owner or v6_only of a bound pcb was changed under
    /// `lock()`. Takes the lock itself: let it go first.
    void refresh(pcb& p);
    /// Lets the group of a pcb choose by `s`; a pcb that is not bound yet gives it to the group that it begins.
    /// nullptr: by buckets again. Errors, as Linux (reuseport_attach_prog, reuseport_detach_prog): EINVAL the pcb has
    /// no SO_REUSEPORT or was bound without; ENOENT nothing to detach.
    result<void> attach(pcb& p, std::shared_ptr<const selector> s);
    /// Where packets come in from now on, or that it is not known: the buckets of all groups follow.
    void set_spread(spread s);
    /// Of a port and a family: the only socket that takes its packets, if there is one alone and it has no peer; else
    /// nullptr.
    using port_watch = std::function<void(std::uint16_t port, ip_family f, pcb* alone)>;
    /// `watch` hears of a port whenever who is bound to it, or how, was changed. Under the lock: it must not call a
    /// writer.
    void watch_ports(port_watch watch);
    /// Every group, under the lock.
    void for_all_groups(const std::function<void(const group&)>& visit) const;
    /// The shards that a socket whose home is not fixed may get: those that anything comes in on, as far as is known;
    /// else those of the last rehome_all(), or all.
    std::vector<std::uint16_t> home_shards() const;
    /// Moves sockets whose home is not fixed and not among these to one of them, and members of a group until they are
    /// even over these. `moved` hears of each, under the lock.
    void rehome_all(std::span<const std::uint16_t> shards, const std::function<void(pcb&)>& moved = {});
    /// The writer lock, for changing (control) fields of a pcb.
    std::unique_lock<std::mutex> lock() const;
    /// Every bound pcb, by port, under the lock; for listings. `visit` must not call a writer.
    void for_all(const std::function<void(const pcb&)>& visit) const;

    // ---- readers (shards, under RCU) ----
    /// Brings nearer what lookup() and wants_hash() look at first.
    void prefetch(std::uint16_t local_port) const;
    /// The socket for a unicast packet, or nullptr. Design rules: exact four-tuple first, then the port slot, or with
    /// more than 10 entries in it (a group is one) the address slots (exact address, then wildcards); highest score;
    /// ties by order of binding. The way of searching never changes the result (udp/lookup.hh).
    pcb* lookup(const lookup_key& key) const;
    /// The same for a burst, with prefetching between the stages. out.size() >= keys.size().
    void lookup(std::span<const lookup_key> keys, std::span<pcb*> out) const;
    /// Every socket that a broadcast or multicast packet is for (Linux: __udp4_lib_mcast_deliver), each member of a
    /// group; returns how many were visited. Connected ones first, then in the order of placing. Source filters and
    /// IP_MULTICAST_ALL are the visitor's. A visitor that captures more than 16 bytes allocates: pass it by std::ref.
    std::size_t for_each_receiver(const lookup_key& key, const std::function<void(pcb&)>& visit) const;
    /// The same lookup, told step by step. For people: it allocates, and unless key.looks_on says otherwise nothing is
    /// counted.
    explanation explain(const lookup_key& key) const;
    /// A connected socket whose four-tuple matches needs no comparing with others on the port.
    bool four_tuple_decides(std::uint16_t local_port) const;
    /// True if a packet to the port may need key.hash: a group with two members, or SO_REUSEPORT beside other sockets.
    bool wants_hash(std::uint16_t local_port) const;

private:
    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace skua::udp
