// What a packet says of the flow that it belongs to: the dissectors of a group with generations.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/clock.hh"
#include "base/result.hh"
#include "skua/udp_grm.h"
#include "udp/bpf_selector.hh"
#include "udp/grm_cookie.hh"

namespace skua::udp {

/// What a packet said.
struct dissection {
    enum class kind : std::uint8_t {
        cookie,      // it asks for a socket
        unseen,      // it is of a new flow
        bad_cookie,  // of a new flow: what stands where the cookie should be is none
        too_short,   // it ends before that
    };
    kind what = kind::unseen;
    grm_cookie cookie;
    std::uint8_t app = 0;
};

/// Immutable; shards ask it at once.
class dissector {
public:
    /// What a group begins with if nobody says otherwise: FLOW.
    dissector() = default;
    /// From the value of UDP_GRM_DISSECTOR; what is missing at the end is 0. Errors: EPERM no such dissector, or values
    /// out of range, as udpgrm; EINVAL, ENOMEM what bpf_selector says of the filter.
    static result<dissector> make(std::span<const std::byte> value);

    bool is_flow() const { return type() == DISSECTOR_FLOW; }
    bool has_cookies() const { return program_ || type() == DISSECTOR_QUIC; }
    /// For all but FLOW.
    dissection dissect(const lookup_key& key) const;

    std::uint32_t type() const { return asked_.dissector_type; }
    nanoseconds flow_timeout() const;
    std::uint32_t max_apps() const { return asked_.max_apps; }
    /// Flags left out.
    const udp_grm_dissector& asked() const { return asked_; }
    bool is_same(const dissector& o) const;

private:
    result<void> check_quic() const;
    result<void> load_filter();
    dissection by_filter(const lookup_key& key) const;
    dissection by_connection_id(const lookup_key& key) const;

    udp_grm_dissector asked_{};
    std::shared_ptr<const bpf_selector> program_;
};

}  // namespace skua::udp
