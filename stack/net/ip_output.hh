// IPv4 and IPv6 headers on the way out: building them, their identifications, and the checksums of a datagram.
//
// Checksums travel as wishes: RTE_MBUF_F_TX_UDP_CKSUM and RTE_MBUF_F_TX_IP_CKSUM in ol_flags of a datagram mean
// "wanted, not yet computed". finish_checksums() grants them, once the interface is known.
#pragma once

#include <array>

#include "base/address.hh"
#include "base/hash.hh"
#include "net/topology.hh"
#include "packet/packet.hh"

namespace skua::net {

inline constexpr std::uint8_t default_hop_limit = 64;  // Linux: ip_default_ttl, hop_limit

/// What goes into an IP header. Both addresses are of one family.
struct ip_fields {
    ip_address source;
    ip_address destination;
    std::uint8_t protocol = 0;
    std::uint8_t hop_limit = default_hop_limit;
    std::uint8_t traffic_class = 0;    // TOS
    bool dont_fragment = false;        // IPv4 only
    std::uint16_t identification = 0;  // IPv4 only
    std::uint32_t flow_label = 0;      // IPv6 only, 20 bits
};

/// Puts an IP header in front of the payload that `p` holds. The checksum of an IPv4 header becomes a wish. Returns
/// false, and leaves `p` as it was, if there is no headroom or the datagram would be longer than 65,535 bytes (IPv6:
/// its payload).
bool prepend_ip(packet::packet& p, const ip_fields& f);

/// Grants the checksum wishes of a datagram (IP header first, no extension headers before UDP; headers in the first
/// segment). What the port can do is left to it: the flags stay, l3_len is set, and the UDP field gets the sum of the
/// pseudo header; whoever prepends Ethernet sets l2_len. The rest is computed here and its flags are cleared.
void finish_checksums(packet::packet& datagram, const transmit_offloads& offloads);

/// Identifications for fragments, one object per shard. Nobody outside can predict them (RFC 7739): an IPv4 value
/// counts up from a secret start per (source, destination), so that it comes back as late as it can (RFC 6864 §5.2); an
/// IPv6 value is random, as in Linux since 5.14.
class identifications {
public:
    explicit identifications(random_source& random);
    /// 0 if the datagram must not be fragmented: nobody looks at it then (RFC 6864 §4.1).
    std::uint16_t ipv4(const ip_address& source, const ip_address& destination, bool dont_fragment);
    std::uint32_t ipv6() { return static_cast<std::uint32_t>(random_.next()); }

private:
    random_source& random_;
    keyed_hash hash_;
    std::array<std::uint16_t, 4096> counters_;
};

}  // namespace skua::net
