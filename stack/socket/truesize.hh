// What a datagram costs in a socket's buffers: the bytes that Linux would charge.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "base/address.hh"

struct rte_mbuf;

namespace skua::socket {

/// skb->truesize of a datagram with this much payload, as measured on Linux 6.18: 256 bytes of sk_buff and the kmalloc
/// bucket that holds headers, payload and skb_shared_info; from 16 KiB on, __ip_append_data puts the payload in pages.
/// SO_RCVBUF and SO_SNDBUF then hold as many datagrams as programs are used to.
constexpr std::uint32_t truesize(std::uint32_t payload, ip_family family) {
    constexpr std::uint32_t sk_buff = 256, smallest = 576;
    const std::uint32_t needed = payload + (family == ip_family::v4 ? 379 : 392);
    for (const std::uint32_t bucket : {smallest, 1024u, 2048u, 4096u, 8192u})
        if (needed <= bucket) return sk_buff + bucket;
    return needed < 16384 ? sk_buff + 16384 : sk_buff + smallest + payload;
}

/// Of a datagram on its way out: IP header first (IPv6: no extension headers), then UDP.
std::uint32_t truesize_of_outgoing(const rte_mbuf* datagram);

}  // namespace skua::socket
