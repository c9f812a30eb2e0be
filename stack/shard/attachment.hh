// Which NIC queues a shard polls.
#pragma once

#include <cstdint>
#include <vector>

#include "port/port.hh"

namespace skua::shard {

/// RX queue i and TX queue i of a port belong to shard i. A port that the application drives itself (library mode) has
/// no device here: frames for it wait until the application takes them.
struct attachment {
    std::uint16_t port_id = 0;
    port::port* device = nullptr;  // nullptr: library mode
    std::uint16_t queue = 0;
    bool receives = true;  // false: the port has fewer RX queues than there are shards
    // The shard whose TX queue takes our packets: ourselves, unless the port has too few.
    std::uint16_t transmitter = 0;
};

/// By port id, for the way out and for questions about a received packet's NIC.
class attachments {
public:
    void add(const attachment& a) {
        if (by_port_.size() <= a.port_id) by_port_.resize(a.port_id + 1u, none);
        by_port_[a.port_id] = static_cast<std::uint8_t>(all_.size());
        all_.push_back(a);
    }
    const attachment* find(std::uint16_t port_id) const {
        return port_id < by_port_.size() && by_port_[port_id] != none ? &all_[by_port_[port_id]] : nullptr;
    }
    std::size_t index(const attachment& a) const { return static_cast<std::size_t>(&a - all_.data()); }
    const std::vector<attachment>& all() const { return all_; }

private:
    static constexpr std::uint8_t none = 0xff;  // a stack has far fewer ports than this
    std::vector<attachment> all_;
    std::vector<std::uint8_t> by_port_;
};

}  // namespace skua::shard
