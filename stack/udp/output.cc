// The UDP header of a datagram to be sent (Linux: udp_send_skb).
#include "udp/output.hh"

#include "wire/udp.hh"

namespace skua::udp {

bool prepend_udp(packet::packet& p, std::uint16_t source_port, std::uint16_t destination_port, bool checksum) {
    if (p.size() > most_payload) return false;
    auto* h = reinterpret_cast<wire::udp_header*>(p.prepend(sizeof(wire::udp_header)));
    if (h == nullptr) return false;
    *h = {be16(source_port), be16(destination_port), be16(static_cast<std::uint16_t>(p.size())), be16(0)};
    auto& flags = p.get()->ol_flags;
    flags &= ~std::uint64_t(RTE_MBUF_F_TX_L4_MASK);
    if (checksum) flags |= RTE_MBUF_F_TX_UDP_CKSUM;
    return true;
}

}  // namespace skua::udp
