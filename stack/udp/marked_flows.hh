// Connected sockets by the number that a NIC marks their packets with.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/rcu.hh"
#include "udp/tables.hh"

namespace skua::udp {

/// A mark is only a hint: whatever number comes with a packet, its socket is believed if the whole flow is its own. So
/// marks that are late, or another program's, do no harm.
class marked_flows {
public:
    /// Marks from 1 to `places`.
    marked_flows(rcu_domain& rcu, std::uint32_t places);
    ~marked_flows();
    marked_flows(const marked_flows&) = delete;
    marked_flows& operator=(const marked_flows&) = delete;

    // ---- writer, one at a time ----
    /// Nothing: all places are taken.
    std::optional<std::uint32_t> add(const flow_key& flow, std::uint32_t device, pcb& p);
    /// A reader may still find the socket until readers of this moment are gone.
    void remove(std::uint32_t mark);

    // ---- readers ----
    bool any() const { return count_.load(std::memory_order_relaxed) != 0; }
    pcb* find(std::uint32_t mark, const lookup_key& key) const {
        if (mark - 1 >= places_) return nullptr;
        const entry* e = entries_[mark - 1].load(std::memory_order_acquire);
        return e && e->flow == key.flow && (e->device == 0 || e->device == key.ifindex) ? e->socket : nullptr;
    }

private:
    struct entry {
        flow_key flow;
        std::uint32_t device;
        pcb* socket;
    };
    rcu_domain& rcu_;
    const std::uint32_t places_;
    const std::unique_ptr<std::atomic<const entry*>[]> entries_;
    std::atomic<std::uint32_t> count_{0};
    std::vector<std::uint32_t> free_;  // writer
};

}  // namespace skua::udp
