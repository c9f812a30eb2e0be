// Text forms and classes of addresses.
#include "base/address.hh"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace skua {

namespace {

std::uint32_t host4(const ip_address& a) { return a.v4().host(); }

/// Prefix length counted in the 128-bit mapped form.
unsigned mapped_length(const ip_prefix& p) { return p.address.is_v4() ? 96u + p.length : p.length; }

}  // namespace

bool ip_address::is_loopback() const {
    if (is_v4()) return host4(*this) >> 24 == 127;
    ip_address one;
    one.bytes_[15] = 1;
    return *this == one;
}

bool ip_address::is_multicast() const { return is_v4() ? host4(*this) >> 28 == 0xe : bytes_[0] == 0xff; }

bool ip_address::is_link_local() const {
    if (is_v4()) return host4(*this) >> 16 == 0xa9fe;
    return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool ip_address::is_limited_broadcast() const { return is_v4() && host4(*this) == 0xffffffffu; }

std::optional<ip_address> ip_address::parse(std::string_view text) {
    char buffer[INET6_ADDRSTRLEN];
    if (text.size() >= sizeof buffer || text.find('\0') != text.npos) return {};
    *std::copy(text.begin(), text.end(), buffer) = 0;
    std::uint32_t v4;
    if (inet_pton(AF_INET, buffer, &v4) == 1) return ip_address(ipv4_address(be32::from_raw(v4)));
    ipv6_address v6;
    if (inet_pton(AF_INET6, buffer, v6.bytes.data()) == 1) return ip_address(v6);
    return {};
}

std::string ip_address::to_string() const {
    char buffer[INET6_ADDRSTRLEN];
    if (is_v4()) {
        const std::uint32_t raw = v4().value.raw();
        inet_ntop(AF_INET, &raw, buffer, sizeof buffer);
    } else {
        inet_ntop(AF_INET6, bytes_.data(), buffer, sizeof buffer);
    }
    return buffer;
}

ip_address ip_prefix::network() const {
    auto bytes = address.bytes();
    const unsigned bits = mapped_length(*this);
    for (unsigned i = 0; i < 16; i++) {
        const unsigned kept = bits <= 8 * i ? 0 : std::min(8u, bits - 8 * i);
        bytes[i] &= static_cast<std::uint8_t>(0xff00u >> kept);
    }
    return ip_address(ipv6_address{bytes});
}

bool ip_prefix::contains(const ip_address& a) const {
    if (a.is_v4() != address.is_v4()) return false;
    return ip_prefix{a, length}.network() == network();
}

std::optional<ip_address> ip_prefix::broadcast() const {
    if (!address.is_v4() || length >= 31) return {};
    const std::uint32_t host_bits = length == 0 ? 0xffffffffu : (1u << (32 - length)) - 1;
    return ip_address(ipv4_address(be32(host4(address) | host_bits)));
}

std::optional<ip_prefix> ip_prefix::parse(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return {};
    const auto address = ip_address::parse(text.substr(0, slash));
    const auto digits = text.substr(slash + 1);
    unsigned length = 0;
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (!address || problem != std::errc{} || end != digits.data() + digits.size()) return {};
    if (length > (address->is_v4() ? 32u : 128u)) return {};
    return ip_prefix{*address, static_cast<std::uint8_t>(length)};
}

std::string ip_prefix::to_string() const { return fmt::format("{}/{}", address.to_string(), length); }

std::string endpoint::to_string() const {
    return address.is_v4() ? fmt::format("{}:{}", address.to_string(), port)
                           : fmt::format("[{}]:{}", address.to_string(), port);
}

std::optional<mac_address> parse_mac(std::string_view text) {
    mac_address mac;
    if (text.size() != 17) return {};
    for (unsigned i = 0; i < 6; i++) {
        const char* at = text.data() + 3 * i;
        const auto [end, problem] = std::from_chars(at, at + 2, mac.bytes[i], 16);
        if (problem != std::errc{} || end != at + 2 || (i < 5 && at[2] != ':')) return {};
    }
    return mac;
}

std::string to_string(const mac_address& mac) {
    const auto& b = mac.bytes;
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2], b[3], b[4], b[5]);
}

}  // namespace skua
