// The choices that need no program.
#include "udp/selector.hh"

#include <rte_mbuf.h>

#include "udp/tables.hh"

namespace skua::udp {

namespace {

/// A hash scaled to 0 … n - 1 (Linux: reciprocal_scale).
std::uint32_t scaled(std::uint32_t hash, std::uint32_t n) {
    return static_cast<std::uint32_t>((std::uint64_t(hash) * n) >> 32);
}

}  // namespace

pcb* modulo_selector::choose(const member_table& among, const lookup_key& key) const {
    // A leave meanwhile may make the last place void: then the buckets decide for once.
    return among.at(scaled(key.hash, among.count()));
}

pcb* source_selector::choose(const member_table& among, const lookup_key& key) const {
    return among.pick(hash_(key.flow.remote, 0));
}

pcb* local_selector::choose(const member_table& among, const lookup_key& key) const { return among.pick(key.hash); }

pcb* index_selector::choose(const member_table& among, const lookup_key& key) const {
    const auto place = index(key);
    return place ? among.at(*place) : nullptr;
}

std::optional<std::uint32_t> cookie_selector::index(const lookup_key& key) const {
    if (key.packet == nullptr) return {};
    std::uint8_t copy[4];
    const auto* const bytes = static_cast<const std::uint8_t*>(
        rte_pktmbuf_read(key.packet, std::uint32_t(key.payload) + offset_, length_, copy));
    if (bytes == nullptr) return {};
    std::uint32_t value = 0;
    for (unsigned i = 0; i < length_; i++) value = value << 8 | bytes[i];
    return value;
}

std::optional<std::uint32_t> callable_selector::index(const lookup_key& key) const {
    if (key.packet == nullptr) return {};
    const std::size_t there = key.packet->data_len > key.payload ? key.packet->data_len - key.payload : 0u;
    return call_(key, {rte_pktmbuf_mtod_offset(key.packet, const std::byte*, key.payload), there});
}

}  // namespace skua::udp
