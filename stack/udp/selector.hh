// How a SO_REUSEPORT group chooses among its members when not by its buckets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.hh"
#include "udp/group.hh"

namespace skua::udp {

/// Immutable; shards call it at once and under RCU.
class selector {
public:
    virtual ~selector() = default;
    /// The member for a packet, or nullptr: the buckets decide, and the group counts it.
    virtual pcb* choose(const member_table& among, const lookup_key& key) const = 0;
    /// Brings what choose() will want for these packets; at most 32.
    virtual void prefetch(std::span<const lookup_key>) const {}
    /// It chooses among the members whose home is the shard that received the packet.
    virtual bool by_home() const { return false; }
    /// For listings.
    virtual std::string_view name() const = 0;
    /// What it counts, by name; for listings.
    virtual std::vector<std::pair<std::string_view, std::uint64_t>> counters() const { return {}; }
};

/// Linux's own (reuseport_select_sock): the hash scaled to the number of members. A join or leave moves most flows.
class modulo_selector final : public selector {
public:
    pcb* choose(const member_table& among, const lookup_key& key) const override;
    std::string_view name() const override { return "modulo"; }
};

/// All flows of one remote address to one member.
class source_selector final : public selector {
public:
    explicit source_selector(random_source& random) : hash_(random) {}
    pcb* choose(const member_table& among, const lookup_key& key) const override;
    std::string_view name() const override { return "source"; }

private:
    const keyed_hash hash_;
};

/// The members whose home is the shard that received the packet share its flows, so that none crosses a core. Without
/// any there: no answer.
class local_selector final : public selector {
public:
    pcb* choose(const member_table& among, const lookup_key& key) const override;
    bool by_home() const override { return true; }
    std::string_view name() const override { return "local"; }
};

/// One that gives the place of a member in the group (in the order of joining; the last takes the place of one that
/// leaves, as in Linux).
class index_selector : public selector {
public:
    pcb* choose(const member_table& among, const lookup_key& key) const final;

private:
    /// Nothing: no answer.
    virtual std::optional<std::uint32_t> index(const lookup_key& key) const = 0;
};

/// The big-endian number of 1, 2 or 4 bytes that stands at an offset in the payload.
class cookie_selector final : public index_selector {
public:
    cookie_selector(std::uint16_t offset, std::uint8_t length) : offset_(offset), length_(length) {}
    std::string_view name() const override { return "cookie"; }

private:
    std::optional<std::uint32_t> index(const lookup_key& key) const override;
    const std::uint16_t offset_;
    const std::uint8_t length_;
};

/// Whatever a program says; it runs on the shards, for each datagram.
class callable_selector final : public index_selector {
public:
    /// `payload`: its part in the first segment.
    using function =
        std::function<std::optional<std::uint32_t>(const lookup_key& key, std::span<const std::byte> payload)>;
    explicit callable_selector(function call) : call_(std::move(call)) {}
    std::string_view name() const override { return "callable"; }

private:
    std::optional<std::uint32_t> index(const lookup_key& key) const override;
    const function call_;
};

}  // namespace skua::udp
