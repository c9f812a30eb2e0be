// What the daemon has said about destinations: that datagrams may go there, and how long.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "attach/channel.hh"
#include "base/address.hh"

namespace skua::client {

/// Of one socket. Most destinations fall into few large prefixes, so that the daemon is asked seldom; those that stand
/// alone (our own addresses, broadcast, known path MTUs) have a table of some hundred places.
class tickets {
public:
    /// Bytes of payload; nothing: ask. `to` nothing: the connected peer. `changes`: of the socket's page.
    std::optional<std::uint32_t> find(const std::optional<endpoint>& to, const attach::chosen_source& from,
                                      std::uint32_t changes) {
        if (!to) return peer_.holds(endpoint{}, from, changes) ? std::optional(peer_.longest) : std::nullopt;
        for (ticket& t : wide_)
            if (t.holds(*to, from, changes)) return t.longest;
        if (single_.empty()) return {};
        const ticket& t = single_[place_of(to->address)];
        return t.holds(*to, from, changes) ? std::optional(t.longest) : std::nullopt;
    }
    void keep(const std::optional<endpoint>& to, const attach::chosen_source& from,
              const attach::destination_reply& said) {
        const endpoint key = to.value_or(endpoint{});
        const bool single = to && said.alike >= (key.address.is_v4() ? 32u : 128u);
        const auto bits = static_cast<std::uint8_t>(to ? said.alike : 0);
        const ticket fresh{{key.address, bits}, from.source, from.ifindex, key.scope, said.changes, said.longest, true};
        if (!to) {
            peer_ = fresh;
        } else if (single) {
            single_.resize(singles);
            single_[place_of(key.address)] = fresh;
        } else {
            wide_[next_wide_++ % wide_.size()] = fresh;
        }
    }

private:
    struct ticket {
        ip_prefix of;
        ip_address from;
        std::uint32_t by = 0;
        std::uint32_t scope = 0;
        std::uint32_t changes = 0;
        std::uint32_t longest = 0;
        bool valid = false;
        bool holds(const endpoint& to, const attach::chosen_source& chosen, std::uint32_t now) const {
            return valid && changes == now && scope == to.scope && from == chosen.source && by == chosen.ifindex &&
                   of.address.is_v4() == to.address.is_v4() && of.contains(to.address);
        }
    };
    static constexpr std::size_t singles = 256;
    static std::size_t place_of(const ip_address& a) { return (a.high() ^ a.low_raw()) * 0x9e3779b97f4a7c15 >> 56; }

    ticket peer_;
    std::array<ticket, 8> wide_;
    std::size_t next_wide_ = 0;
    std::vector<ticket> single_;
};

}  // namespace skua::client
