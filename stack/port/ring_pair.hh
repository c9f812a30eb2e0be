// Ports in memory: a pair back to back, and one whose other side the caller holds. No hugepages, no root.
#pragma once

#include <rte_ring.h>

#include <cstdint>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

struct rte_mbuf;

namespace skua::port {

/// Frees the ring and the packets still in it.
struct ring_delete {
    void operator()(rte_ring* r) const;
};
using ring = std::unique_ptr<rte_ring, ring_delete>;
using rings = std::vector<ring>;

/// A net_ring device over single-producer, single-consumer rings. Does not own the rings; removes the device at its
/// end.
class ring_device {
public:
    ring_device(std::string name, std::uint16_t id) : name_(std::move(name)), id_(id) {}
    ring_device(ring_device&& other) noexcept : name_(std::move(other.name_)), id_(other.id_) { other.name_.clear(); }
    ~ring_device();
    std::uint16_t id() const { return id_; }

private:
    std::string name_;
    std::uint16_t id_;
};

/// Names are unique in the process and have at most this many characters.
inline constexpr std::size_t ring_name_max = 16;
/// The driver's limit.
inline constexpr std::uint16_t ring_queues_max = 16;

/// Two devices; TX queue i of each feeds RX queue i of the other. Start a port on either; ports end before the pair
/// does.
class ring_pair {
public:
    /// Each ring holds `size` - 1 packets at least; a power of two. The error says what is wrong.
    static tl::expected<std::unique_ptr<ring_pair>, std::string> make(const std::string& name, std::uint16_t queues,
                                                                      unsigned size = 1024);
    std::uint16_t a() const { return a_.id(); }
    std::uint16_t b() const { return b_.id(); }

private:
    ring_pair(rings a_to_b, rings b_to_a, ring_device a, ring_device b)
        : a_to_b_(std::move(a_to_b)), b_to_a_(std::move(b_to_a)), a_(std::move(a)), b_(std::move(b)) {}
    rings a_to_b_;
    rings b_to_a_;
    ring_device a_;
    ring_device b_;
};

/// One device and the wire at its other side: what is injected is received by the port, what the port sends is
/// collected.
class ring_wire {
public:
    static tl::expected<std::unique_ptr<ring_wire>, std::string> make(const std::string& name, std::uint16_t queues,
                                                                      unsigned size = 1024);
    std::uint16_t id() const { return device_.id(); }
    /// False if the queue is full; the caller then keeps the packet.
    bool inject(std::uint16_t queue, rte_mbuf* m);
    /// The next packet sent on the queue, which the caller owns now, or nullptr.
    rte_mbuf* collect(std::uint16_t queue);

private:
    ring_wire(rings to_port, rings from_port, ring_device device)
        : to_port_(std::move(to_port)), from_port_(std::move(from_port)), device_(std::move(device)) {}
    rings to_port_;
    rings from_port_;
    ring_device device_;
};

}  // namespace skua::port
