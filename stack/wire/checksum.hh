// The Internet checksum (RFC 1071) over spans and over packets of several segments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "wire/ipv4.hh"
#include "wire/ipv6.hh"

struct rte_mbuf;

namespace skua::wire {

/// A one's complement sum on its way, in the order the machine reads memory.
class checksum_sum {
public:
    void add(std::span<const std::byte> bytes);  // must be of even length unless it is the last
    /// Bytes [offset, offset + length) of a packet, which must have that many; any segment lengths.
    void add(const rte_mbuf* m, std::uint32_t offset, std::uint32_t length);
    void add_word(std::uint16_t host) { sum_ += be16(host).raw(); }
    /// The pseudo header of UDP and ICMPv6 (RFC 768, RFC 8200 §8.1); mapped addresses give the IPv4 form.
    void add_pseudo_header(const ip_address& source, const ip_address& destination, std::uint8_t protocol,
                           std::uint32_t length);
    /// The complement, ready to be stored in a header.
    be16 finish() const;
    /// The sum itself, folded: what NICs that insert the checksum want in the field.
    be16 folded() const;

private:
    std::uint64_t sum_ = 0;
};

/// The checksum of a header with its field in place: true if right. header_length() bytes must be there.
bool ipv4_checksum_good(const ipv4_header& h);
/// Sets the header's checksum.
void set_ipv4_checksum(ipv4_header& h);
/// RFC 1624 eqn. 3: the checksum after a 16-bit word at an even offset changed.
be16 checksum_adjusted(be16 checksum, be16 was, be16 is);

}  // namespace skua::wire
