// MAC and IP addresses, prefixes, endpoints and flows.
//
// An IPv4 address is kept in its IPv4-mapped IPv6 form (RFC 4291 §2.5.5.2), so that tables and comparisons have one
// case instead of two.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/byte_order.hh"

namespace skua {

enum class ip_family : std::uint8_t { v4 = 4, v6 = 6 };

struct mac_address {
    std::array<std::uint8_t, 6> bytes{};

    constexpr bool is_multicast() const { return bytes[0] & 1; }
    constexpr bool is_zero() const { return *this == mac_address{}; }
    static constexpr mac_address broadcast() { return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
    friend constexpr auto operator<=>(const mac_address&, const mac_address&) = default;
};

/// 32 bits in network order, as in an IPv4 header.
struct ipv4_address {
    be32 value;

    constexpr ipv4_address() = default;
    constexpr explicit ipv4_address(be32 v) : value(v) {}
    constexpr ipv4_address(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d)
        : value(std::uint32_t(a) << 24 | std::uint32_t(b) << 16 | std::uint32_t(c) << 8 | d) {}
    constexpr std::uint32_t host() const { return value.host(); }
    friend constexpr bool operator==(const ipv4_address&, const ipv4_address&) = default;
};

/// 128 bits in network order, as in an IPv6 header. Alignment 1.
struct ipv6_address {
    std::array<std::uint8_t, 16> bytes{};
    friend constexpr bool operator==(const ipv6_address&, const ipv6_address&) = default;
};

/// An address of either family; IPv4 in mapped form. Trivially copyable, 16 bytes.
class alignas(8) ip_address {
public:
    constexpr ip_address() = default;  // ::
    constexpr ip_address(ipv4_address v4) { set_v4(v4.host()); }
    constexpr ip_address(const ipv6_address& v6) : bytes_(v6.bytes) {}
    static constexpr ip_address v4_any() { return ipv4_address{}; }
    static constexpr ip_address v6_any() { return {}; }
    static constexpr ip_address any(ip_family f) { return f == ip_family::v4 ? v4_any() : v6_any(); }

    constexpr bool is_v4() const { return high() == 0 && (low_raw() & mapped_mask) == mapped_bits; }
    constexpr ip_family family() const { return is_v4() ? ip_family::v4 : ip_family::v6; }
    /// 0.0.0.0 or ::
    constexpr bool is_any() const { return high() == 0 && (low_raw() == 0 || low_raw() == mapped_bits); }
    bool is_loopback() const;           // 127.0.0.0/8, ::1
    bool is_multicast() const;          // 224.0.0.0/4, ff00::/8
    bool is_link_local() const;         // 169.254.0.0/16, fe80::/10
    bool is_limited_broadcast() const;  // 255.255.255.255

    /// Meaningful only if is_v4().
    constexpr ipv4_address v4() const {
        return ipv4_address{be32::from_raw(static_cast<std::uint32_t>(low_raw() >> 32))};
    }
    constexpr ipv6_address v6() const { return ipv6_address{bytes_}; }
    constexpr const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }

    /// The two halves as the machine reads them: for hashing and comparing only.
    constexpr std::uint64_t high() const { return half(0); }
    constexpr std::uint64_t low_raw() const { return half(8); }

    friend constexpr bool operator==(const ip_address& a, const ip_address& b) {
        return ((a.high() ^ b.high()) | (a.low_raw() ^ b.low_raw())) == 0;
    }
    friend constexpr auto operator<=>(const ip_address& a, const ip_address& b) { return a.bytes_ <=> b.bytes_; }

    /// Dotted quad or RFC 5952 text; nothing for anything else.
    static std::optional<ip_address> parse(std::string_view text);
    std::string to_string() const;  // a mapped address prints as a dotted quad

private:
    static constexpr std::uint64_t mapped_bits =
        0x00000000ffff0000ull;  // bytes 8..15 = 00 00 ff ff .. read little-endian
    static constexpr std::uint64_t mapped_mask = 0x00000000ffffffffull;
    constexpr std::uint64_t half(std::size_t at) const {
        if (std::is_constant_evaluated()) {
            std::uint64_t v = 0;
            for (std::size_t i = 0; i < 8; i++) v |= std::uint64_t(bytes_[at + i]) << (8 * i);
            return v;
        }
        std::uint64_t v;
        std::memcpy(&v, bytes_.data() + at, 8);
        return v;
    }
    constexpr void set_v4(std::uint32_t host) {
        bytes_[10] = bytes_[11] = 0xff;
        for (int i = 0; i < 4; i++) bytes_[12 + i] = static_cast<std::uint8_t>(host >> (24 - 8 * i));
    }
    std::array<std::uint8_t, 16> bytes_{};
};

/// An address with its prefix length, in bits of the address's own family (0..32 or 0..128).
struct ip_prefix {
    ip_address address;
    std::uint8_t length = 0;

    bool contains(const ip_address& a) const;
    /// The address with the bits beyond the length cleared.
    ip_address network() const;
    /// The directed broadcast address of an IPv4 prefix shorter than /31, else nothing.
    std::optional<ip_address> broadcast() const;
    /// "198.18.0.1/24", "2001:db8::1/64"; nothing for anything else.
    static std::optional<ip_prefix> parse(std::string_view text);
    std::string to_string() const;
    friend bool operator==(const ip_prefix&, const ip_prefix&) = default;
};

/// Address and port (host order); scope is the interface index of a link-local address, else 0.
struct endpoint {
    ip_address address;
    std::uint16_t port = 0;
    std::uint32_t scope = 0;
    std::string to_string() const;  // "198.18.0.1:53", "[2001:db8::1]:53"
    friend bool operator==(const endpoint&, const endpoint&) = default;
};

/// The addresses and ports of a datagram as its receiver sees them. Ports in host order.
struct flow_key {
    ip_address local;
    ip_address remote;
    std::uint16_t local_port = 0;
    std::uint16_t remote_port = 0;
    friend bool operator==(const flow_key&, const flow_key&) = default;
};

std::optional<mac_address> parse_mac(std::string_view text);  // "52:54:00:00:00:01"
std::string to_string(const mac_address& mac);

}  // namespace skua
