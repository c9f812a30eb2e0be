// A whole stack in a test's hands: frames in, frames out, and a clock that only the test turns.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/stack.hh"
#include "support/frames.hh"

namespace skua::test {

/// A datagram as a program receives it.
struct received {
    std::string payload;
    endpoint from;
};

/// One host in library mode: port 0 "p0" with 02:00:00:00:00:01, 198.18.0.1/24, 2001:db8::1/64, fe80::1/64, no
/// duplicate address detection, seeded randomness. Nothing happens unless a function of it is called. Sockets must be
/// closed before it.
class world {
public:
    /// `edit` changes the configuration beforehand. Throws std::runtime_error.
    explicit world(unsigned shards = 1, const std::function<void(control::config&)>& edit = {});
    world(const world&) = delete;
    world& operator=(const world&) = delete;

    control::stack& stack() { return *stack_; }
    shard::shard& shard(unsigned i = 0) { return stack_->shard_at(i); }
    unsigned shards() const { return stack_->shard_count(); }
    time_point now() const { return now_; }

    // ---- frames in ----
    /// In one segment whose buffer ends where the frame does, so that a sanitizer sees every step beyond.
    void inject(std::string_view frame, unsigned on = 0) { give({exact(frame)}, on); }
    /// A burst, each frame in an ordinary packet.
    void inject(const std::vector<std::string>& frames, unsigned on = 0);
    /// In segments that end at these offsets.
    void inject_split(std::string_view frame, const std::vector<std::size_t>& cuts, unsigned on = 0);
    /// With somebody who takes what is not for the stack: returns that.
    std::vector<std::string> offer(const std::vector<std::string>& frames, unsigned on = 0);
    /// Makes a frame with headroom in a packet of the shard's own pool, as a NIC does, changes it by `edit`, and
    /// injects it.
    void inject_as_nic(std::string_view frame, const std::function<void(rte_mbuf&)>& edit = {}, unsigned on = 0);

    // ---- time ----
    /// Polls every shard `rounds` times.
    void turn(unsigned rounds = 1);
    /// Polls until no shard has anything to do.
    void settle();
    /// Sets the clock forward, then settles.
    void advance(nanoseconds by);

    // ---- what came of it ----
    /// Frames that any shard wants sent, since the last call. Settles first.
    std::vector<std::string> sent();
    /// The only frame sent, as it reads; an unsound one if there were none or several.
    seen sent_one();
    std::uint64_t drops(drop_reason why) const;
    std::uint64_t all_drops() const;
    std::uint64_t count(mib which) const;

    // ---- sockets ----
    socket::udp_socket_ptr open(int domain);
    /// Bound, on the shard that is its home. Throws std::runtime_error.
    socket::udp_socket_ptr open(const endpoint& local, unsigned home = 0,
                                const std::function<void(socket::udp_socket&)>& before = {});
    /// None of these blocks. `to` without a port: the connected peer.
    static result<std::size_t> send(socket::udp_socket& from, std::string_view payload, const endpoint& to = {});
    static result<received> receive(socket::udp_socket& at);
    /// Payloads of everything that is queued.
    static std::vector<std::string> receive_all(socket::udp_socket& at);

    /// Lets everything that waits for its time run out, and says how many packets are then still out of their pools.
    unsigned missing();
    unsigned packets_in_use() const;

private:
    rte_mbuf* exact(std::string_view frame);
    void give(std::vector<rte_mbuf*> frames, unsigned on);

    time_point now_{std::chrono::hours(1)};
    packet::pool wire_;  // of what comes from outside, so that frames arrive even when the stack's pools are empty
    std::unique_ptr<control::stack> stack_;
};

}  // namespace skua::test
