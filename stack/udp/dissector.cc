// Filters and connection IDs.
#include "udp/dissector.hh"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "udp/tables.hh"

namespace skua::udp {

namespace {

constexpr std::uint32_t default_timeout_seconds = 125;
constexpr std::uint32_t first_app = 0x80000000;
constexpr std::uint32_t longest_cid = 20;  // of QUIC version 1 (RFC 9000 §17.2)

dissection of_cookie(std::uint16_t value) {
    const auto cookie = grm_cookie::unpack(value);
    if (!cookie) return {.what = dissection::kind::bad_cookie};
    return {.what = dissection::kind::cookie, .cookie = *cookie};
}

const std::uint8_t* read(const lookup_key& key, std::uint32_t at, std::uint32_t length, std::uint8_t* copy) {
    return static_cast<const std::uint8_t*>(rte_pktmbuf_read(key.packet, key.payload + at, length, copy));
}

}  // namespace

result<dissector> dissector::make(std::span<const std::byte> value) {
    dissector d;
    std::memcpy(&d.asked_, value.data(), std::min(value.size(), sizeof d.asked_));
    auto& asked = d.asked_;
    asked.dissector_type &= ~std::uint32_t(DISSECTOR_FLAG_VERBOSE);
    const bool plain = asked.filter_len == 0 && asked.max_apps == 0 && asked.bespoke_digest == 0;
    result<void> valid;
    switch (asked.dissector_type) {
        case DISSECTOR_FLOW:
        case DISSECTOR_NOOP:
            if (!plain) valid = fail(EPERM);
            break;
        case DISSECTOR_CBPF:
        case DISSECTOR_BESPOKE: valid = d.load_filter(); break;
        case DISSECTOR_QUIC: valid = d.check_quic(); break;
        default: valid = fail(EPERM);
    }
    if (!valid) return fail(valid.error().code);
    return d;
}

result<void> dissector::load_filter() {
    if (asked_.filter_len < 1 || asked_.filter_len > UDP_GRM_MAX_INSTR || asked_.max_apps > UDP_GRM_MAX_APPS ||
        asked_.bespoke_digest != 0)
        return fail(EPERM);
    std::vector<sock_filter> filter(asked_.filter_len);
    std::memcpy(filter.data(), asked_.filter, filter.size() * sizeof filter[0]);
    auto made = bpf_selector::from_classic(filter);
    if (!made) return fail(made.error().code);
    program_ = std::static_pointer_cast<const bpf_selector>(std::move(*made));
    return {};
}

result<void> dissector::check_quic() const {
    const bool fits = asked_.quic_cid_length >= 2 && asked_.quic_cid_length <= longest_cid &&
                      asked_.quic_cookie_offset <= asked_.quic_cid_length - 2;
    if (!fits || asked_.max_apps != 0 || asked_.bespoke_digest != 0) return fail(EPERM);
    return {};
}

nanoseconds dissector::flow_timeout() const {
    const std::uint32_t s = asked_.flow_entry_timeout_sec;
    return std::chrono::seconds(s == 0 ? default_timeout_seconds : s);
}

bool dissector::is_same(const dissector& o) const { return std::memcmp(&asked_, &o.asked_, sizeof asked_) == 0; }

dissection dissector::dissect(const lookup_key& key) const {
    if (key.packet == nullptr) return {};
    if (program_) return by_filter(key);
    if (type() == DISSECTOR_QUIC) return by_connection_id(key);
    return {};
}

dissection dissector::by_filter(const lookup_key& key) const {
    const auto got = program_->index(key);
    if (!got) return {.what = dissection::kind::too_short};
    if (const std::uint32_t app = *got - first_app; app < asked_.max_apps)
        return {.app = static_cast<std::uint8_t>(app)};
    return *got > 0xffff ? dissection{} : of_cookie(static_cast<std::uint16_t>(*got));
}

// RFC 8999 §5: the destination's connection ID comes after one byte in a short header, whose reader knows its length,
// and after the version and its own length in a long one.
dissection dissector::by_connection_id(const lookup_key& key) const {
    constexpr std::uint8_t long_header = 0x80;
    constexpr std::uint32_t length_at = 5;
    std::uint8_t copy[2];
    const std::uint8_t* b = read(key, 0, 1, copy);
    if (b == nullptr) return {.what = dissection::kind::too_short};
    std::uint32_t cid_at = 1;
    if (*b & long_header) {
        b = read(key, length_at, 1, copy);
        if (b == nullptr) return {.what = dissection::kind::too_short};
        if (*b != asked_.quic_cid_length) return {};  // an ID that the client chose
        cid_at = length_at + 1;
    }
    b = read(key, cid_at + asked_.quic_cookie_offset, 2, copy);
    if (b == nullptr) return {.what = dissection::kind::too_short};
    return of_cookie(static_cast<std::uint16_t>(b[0] << 8 | b[1]));
}

}  // namespace skua::udp
