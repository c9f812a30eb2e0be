// The flows that members of a SO_REUSEPORT group have answered, and who answered each.
//
// A flow is the remote address and port, as in Cloudflare's udpgrm: whoever answers need not say from which local
// address. Keys are kept whole, so no two flows share an entry. Shards and any other thread look up and refresh without
// a lock. A new flow, and one that changes hands, takes a spin lock: the table is made of parts, each with a lock of
// its own and about 65,536 flows at most, so it is held briefly and rarely wanted twice; who does not get it within
// some microseconds (its holder may have lost its CPU) goes without, and says so.
//
// Memory: 32 bytes of entry, 4 of age list and 4 to 8 of hash index a flow; 48 at most with the room that parts have to
// spare, plus 8 KiB a part.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/address.hh"
#include "base/clock.hh"
#include "base/hash.hh"

namespace skua::udp {

/// The far end of a flow.
struct flow_peer {
    ip_address address;
    std::uint16_t port = 0;

    /// The link of a link-local IPv6 address becomes part of the address, where RFC 4291 §2.5.6 has zeros.
    static flow_peer of(const ip_address& address, std::uint16_t port, std::uint32_t link) {
        if (link == 0 || address.is_v4() || !address.is_link_local()) return {address, port};
        return on_link(address, port, link);
    }
    friend bool operator==(const flow_peer&, const flow_peer&) = default;

private:
    static flow_peer on_link(const ip_address& address, std::uint16_t port, std::uint32_t link);
};

class flow_table {
public:
    /// Names a member; 0 is nobody's. Never given to another, so that an entry cannot pass to who comes after.
    using seat_id = std::uint32_t;
    static constexpr std::size_t most_flows = 4'194'304;

    /// Holds `capacity` flows (1 … most_flows). A flow lives for `timeout` after its last answer, and up to 34 ms
    /// longer.
    flow_table(std::size_t capacity, nanoseconds timeout, random_source& random);
    ~flow_table();
    flow_table(const flow_table&) = delete;
    flow_table& operator=(const flow_table&) = delete;

    struct known {
        seat_id seat;
        bool expired;
    };
    std::optional<known> find(const flow_peer& peer, time_point now) const;
    /// Brings what find() will want for each of up to `burst` flows, all at once.
    static constexpr std::size_t burst = 32;
    void prefetch(std::span<const flow_peer> peers) const;

    enum class outcome : std::uint8_t {
        created,
        renewed,     // it was there, but its time had run out
        updated,     // it was this member's already
        taken_over,  // from another
        conflict,    // it is another member's: nothing changed
        busy,        // no lock: nothing changed
        count_,
    };
    struct answer {
        outcome what;
        seat_id holder;  // whose the flow is now
    };
    /// The member has answered.
    answer note(const flow_peer& peer, seat_id by, time_point now);
    /// The same for a flow that is `from`'s, who is no more.
    answer take_over(const flow_peer& peer, seat_id from, seat_id by, time_point now);

    std::size_t capacity() const { return capacity_; }
    /// Flows it holds, those whose time has run out included until their entry is wanted.
    std::size_t size() const;
    /// Flows that went, the one idle for longest first, because others came and the table was full.
    std::uint64_t evicted() const;
    /// Bytes, all in.
    std::size_t memory() const;

private:
    class part;
    struct place {
        part& in;
        std::uint32_t hash;
    };
    place place_of(const flow_peer& peer) const;

    const std::size_t capacity_;
    const keyed_hash hash_;
    std::vector<std::unique_ptr<part>> parts_;
};

}  // namespace skua::udp
