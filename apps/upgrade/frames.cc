// Questions become frames, frames become answers.
#include "upgrade/frames.hh"

#include <netinet/in.h>

#include <cstring>
#include <stdexcept>

#include "wire/checksum.hh"
#include "wire/ethernet.hh"
#include "wire/ipv4.hh"
#include "wire/udp.hh"

namespace skua::upgrade {

namespace {

constexpr std::uint16_t first_client_port = 10000;
constexpr std::uint32_t ports_a_client = 45000;
constexpr std::uint32_t first_client_ip = 198u << 24 | 19u << 16 | 1;

/// The message follows.
struct headers {
    wire::ethernet_header ether;
    wire::ipv4_header ip;
    wire::udp_header udp;
};
constexpr std::uint16_t frame_size = sizeof(headers) + sizeof(message);
static_assert(sizeof(headers) == 42);

be32 ip_of(std::uint64_t n) { return be32(first_client_ip + static_cast<std::uint32_t>(n / ports_a_client)); }
be16 port_of(std::uint64_t n) { return be16(static_cast<std::uint16_t>(first_client_port + n % ports_a_client)); }

}  // namespace

rte_mbuf* question_frame(rte_mempool* pool, std::uint64_t client, const message& question) {
    rte_mbuf* const m = rte_pktmbuf_alloc(pool);
    if (m == nullptr) throw std::runtime_error("no packet left");
    auto* const bytes = reinterpret_cast<std::byte*>(rte_pktmbuf_append(m, frame_size));
    auto& h = *new (bytes) headers{};
    h.ether.destination = server_mac;
    h.ether.source = client_mac;
    h.ether.type = be16(static_cast<std::uint16_t>(wire::ether_type::ipv4));
    h.ip.version_ihl = 0x45;
    h.ip.total_length = be16(static_cast<std::uint16_t>(frame_size - sizeof h.ether));
    h.ip.flags_fragment = be16(wire::ipv4_dont_fragment);
    h.ip.ttl = 64;
    h.ip.protocol = IPPROTO_UDP;
    h.ip.source = ipv4_address(ip_of(client));
    h.ip.destination = server_ip;
    wire::set_ipv4_checksum(h.ip);
    h.udp.source_port = port_of(client);
    h.udp.destination_port = be16(server_port);
    h.udp.length = be16(static_cast<std::uint16_t>(sizeof h.udp + sizeof question));
    std::memcpy(bytes + sizeof h, &question, sizeof question);
    return m;
}

void read_answers(rte_mbuf** frames, unsigned n, const std::function<void(const message&)>& answered) {
    for (unsigned i = 0; i < n; i++) {
        if (frames[i]->data_len < frame_size) continue;  // the stack announces its addresses
        const auto* const bytes = rte_pktmbuf_mtod(frames[i], const std::byte*);
        const auto& h = *reinterpret_cast<const headers*>(bytes);
        message m;
        std::memcpy(&m, bytes + sizeof h, sizeof m);
        const std::uint64_t client = m.flow >> 24;
        if (h.ip.protocol == IPPROTO_UDP && h.udp.destination_port == port_of(client) &&
            h.ip.destination == ipv4_address(ip_of(client)))
            answered(m);
    }
    rte_pktmbuf_free_bulk(frames, n);
}

}  // namespace skua::upgrade
