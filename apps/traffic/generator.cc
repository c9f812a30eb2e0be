// Frames of the flows, the slots in flight, and the two loops (closed: a window; open: a rate).
#include "traffic/generator.hh"

#include <rte_ethdev.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "wire/checksum.hh"
#include "wire/ethernet.hh"
#include "wire/udp.hh"

namespace skua::traffic {

namespace {

constexpr unsigned burst = 32;
constexpr std::uint32_t slot_bytes = 2;
constexpr std::uint32_t open_loop_slots = 65536;
constexpr std::uint16_t first_client_port = 10000;
constexpr std::uint32_t ports_per_client = 50000;

/// The n-th client address of a prefix, the first being number 1.
ip_address client_address(const ip_prefix& clients, std::uint32_t n) {
    auto bytes = clients.network().bytes();
    std::uint32_t carry = n + 1;
    for (int i = 15; carry > 0 && i >= 0; i--) {
        carry += bytes[static_cast<std::size_t>(i)];
        bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(carry);
        carry >>= 8;
    }
    return ip_address(ipv6_address{bytes});
}

std::uint32_t ip_header_length(bool ipv6) { return ipv6 ? sizeof(wire::ipv6_header) : sizeof(wire::ipv4_header); }

bool is_udp(const std::byte* frame, std::size_t length) {
    constexpr std::size_t ip = sizeof(wire::ethernet_header);
    if (length < ip + sizeof(wire::ipv6_header))
        return length >= ip + sizeof(wire::ipv4_header) && frame[ip + 9] == std::byte{IPPROTO_UDP};
    const bool v6 = (frame[ip] >> 4) == std::byte{6};
    return frame[ip + (v6 ? 6 : 9)] == std::byte{IPPROTO_UDP};
}

void write_headers(std::byte* to, const generator_options& o, const endpoint& client) {
    const std::uint32_t ip_length = o.frame_size - static_cast<std::uint32_t>(sizeof(wire::ethernet_header));
    auto& ether = *new (to) wire::ethernet_header{};
    ether.destination = o.peer_mac;
    ether.source = o.own_mac;
    ether.type = be16(static_cast<std::uint16_t>(o.ipv6 ? wire::ether_type::ipv6 : wire::ether_type::ipv4));
    to += sizeof ether;
    if (o.ipv6) {
        auto& ip = *new (to) wire::ipv6_header{};
        ip.version_class_flow = be32(6u << 28);
        ip.payload_length = be16(static_cast<std::uint16_t>(ip_length - sizeof ip));
        ip.next_header = IPPROTO_UDP;
        ip.hop_limit = 64;
        ip.source = client.address.v6();
        ip.destination = o.server.address.v6();
    } else {
        auto& ip = *new (to) wire::ipv4_header{};
        ip.version_ihl = 0x45;
        ip.total_length = be16(static_cast<std::uint16_t>(ip_length));
        ip.flags_fragment = be16(wire::ipv4_dont_fragment);
        ip.ttl = 64;
        ip.protocol = IPPROTO_UDP;
        ip.source = client.address.v4();
        ip.destination = o.server.address.v4();
        wire::set_ipv4_checksum(ip);
    }
    to += ip_header_length(o.ipv6);
    auto& udp = *new (to) wire::udp_header{};
    udp.source_port = be16(client.port);
    udp.destination_port = be16(o.server.port);
    udp.length = be16(static_cast<std::uint16_t>(ip_length - ip_header_length(o.ipv6)));
}

}  // namespace

std::uint32_t generator::minimum_frame(bool ipv6) {
    return static_cast<std::uint32_t>(sizeof(wire::ethernet_header) + sizeof(wire::udp_header)) +
           ip_header_length(ipv6) + slot_bytes;
}

generator::generator(const generator_options& options, rte_mempool* pool, std::uint64_t tsc_hz)
    : options_(options), pool_(pool), hz_(tsc_hz), header_length_(minimum_frame(options.ipv6) - slot_bytes) {
    if (options.frame_size < minimum_frame(options.ipv6))
        throw std::invalid_argument("a frame of this size has no room for the headers and a slot number");
    pattern_.resize(options.frame_size - header_length_ - slot_bytes);
    for (std::size_t i = 0; i < pattern_.size(); i++) pattern_[i] = static_cast<std::byte>('a' + i % 26);

    headers_.resize(std::size_t(options.flows) * header_length_);
    for (std::uint32_t i = 0; i < options.flows; i++) {
        const endpoint client{client_address(options.clients, i / ports_per_client),
                              static_cast<std::uint16_t>(first_client_port + i % ports_per_client), 0};
        std::byte* header = headers_.data() + std::size_t(i) * header_length_;
        write_headers(header, options, client);
        const auto* udp = header + header_length_ - sizeof(wire::udp_header);
        const auto udp_length = static_cast<std::uint32_t>(sizeof(wire::udp_header) + slot_bytes + pattern_.size());
        wire::checksum_sum sum;
        sum.add_pseudo_header(client.address, options.server.address, IPPROTO_UDP, udp_length);
        sum.add(std::span(udp, sizeof(wire::udp_header)));
        sum.add(pattern_);
        const flow_key seen{options.server.address, client.address, options.server.port, client.port};
        flows_.push_back({i, options.queue_of ? options.queue_of(seen) : std::uint16_t(0), sum.folded().host()});
    }

    const std::uint32_t slots = options.open_loop ? open_loop_slots : options.window;
    slots_.resize(slots);
    for (std::uint32_t i = slots; i-- > 0;) free_slots_.push_back(static_cast<std::uint16_t>(i));
    batches_.resize(options.queues);
}

generator::~generator() {
    for (auto& batch : batches_) rte_pktmbuf_free_bulk(batch.data(), static_cast<unsigned>(batch.size()));
}

unsigned generator::poll(std::uint64_t tsc, bool may_send) {
    if (started_ == 0) started_ = tsc;
    const unsigned received = receive(tsc);
    expire(tsc);
    return received + (may_send ? send(tsc) : 0);
}

unsigned generator::receive(std::uint64_t tsc) {
    unsigned total = 0;
    rte_mbuf* frames[burst];
    for (std::uint16_t q = 0; q < options_.queues; q++) {
        const unsigned n = rte_eth_rx_burst(options_.port, q, frames, burst);
        for (unsigned i = 0; i < n; i++) receive_one(frames[i], tsc);
        if (n) rte_pktmbuf_free_bulk(frames, n);
        total += n;
    }
    return total;
}

void generator::receive_one(const rte_mbuf* m, std::uint64_t tsc) {
    const auto* frame = rte_pktmbuf_mtod(m, const std::byte*);
    if (!is_udp(frame, m->data_len)) return;  // the stack announces its addresses by ARP and NDP
    const bool whole = m->nb_segs == 1 && m->data_len >= header_length_ + slot_bytes;
    const std::uint16_t number = whole ? slot_of(m) : std::uint16_t(0);
    if (!whole || number >= slots_.size() || slots_[number].sent_at == 0) {
        totals_.strange++;
        return;
    }
    slot& s = slots_[number];
    if (!intact(frame, m->data_len, flows_[s.flow])) totals_.corrupt++;
    round_trips_.add(tsc - s.sent_at);
    s.sent_at = 0;
    free_slots_.push_back(number);
    in_flight_--;
    totals_.received++;
}

bool generator::intact(const std::byte* frame, std::uint32_t length, const flow& f) const {
    if (length < options_.frame_size) return false;
    const std::byte* sent = headers_.data() + std::size_t(f.header) * header_length_;
    const std::size_t ports = header_length_ - sizeof(wire::udp_header);
    // The answer's destination port is the port we sent from, and the other way round.
    return std::memcmp(frame + ports + 2, sent + ports, 2) == 0 &&
           std::memcmp(frame + ports, sent + ports + 2, 2) == 0 &&
           std::memcmp(frame + header_length_ + slot_bytes, pattern_.data(), pattern_.size()) == 0;
}

unsigned generator::allowance(std::uint64_t tsc) {
    const auto free = static_cast<unsigned>(free_slots_.size());
    if (!options_.open_loop || options_.rate == 0) return std::min(free, burst);
    const auto due =
        static_cast<std::uint64_t>(static_cast<double>(tsc - started_) / static_cast<double>(hz_) * options_.rate);
    // What could not be sent in a second is not caught up: the rate is a rate, not a debt.
    const auto debt_limit = static_cast<std::uint64_t>(options_.rate) + burst;
    if (due > scheduled_ + debt_limit) scheduled_ = due - debt_limit;
    return static_cast<unsigned>(std::min<std::uint64_t>({due - scheduled_, free, burst}));
}

unsigned generator::send(std::uint64_t tsc) {
    const unsigned wanted = allowance(tsc);
    rte_mbuf* fresh[burst];
    if (wanted == 0 || rte_pktmbuf_alloc_bulk(pool_, fresh, wanted) != 0) return 0;
    for (unsigned i = 0; i < wanted; i++) {
        const std::uint16_t number = free_slots_.back();
        free_slots_.pop_back();
        slots_[number] = {tsc, next_flow_};
        fill(fresh[i], number);
        batches_[flows_[next_flow_].queue].push_back(fresh[i]);
        if (++next_flow_ == flows_.size()) next_flow_ = 0;
    }
    in_flight_ += wanted;
    scheduled_ += wanted;
    totals_.sent += wanted;
    for (std::uint16_t q = 0; q < options_.queues; q++) {
        auto& batch = batches_[q];
        const unsigned n = rte_eth_tx_burst(options_.port, q, batch.data(), static_cast<std::uint16_t>(batch.size()));
        take_back(std::span(batch).subspan(n));
        batch.clear();
    }
    return wanted;
}

/// What the ring does not take was never on the wire.
void generator::take_back(std::span<rte_mbuf*> refused) {
    for (const rte_mbuf* m : refused) {
        const std::uint16_t number = slot_of(m);
        slots_[number].sent_at = 0;
        free_slots_.push_back(number);
    }
    const auto n = static_cast<unsigned>(refused.size());
    in_flight_ -= n;
    totals_.sent -= n;
    totals_.refused += n;
    if (n) rte_pktmbuf_free_bulk(refused.data(), n);
}

std::uint16_t generator::slot_of(const rte_mbuf* frame) const {
    be16 raw;
    std::memcpy(&raw, rte_pktmbuf_mtod_offset(frame, const std::byte*, header_length_), sizeof raw);
    return raw.host();
}

void generator::fill(rte_mbuf* m, std::uint32_t slot_number) {
    const flow& f = flows_[slots_[slot_number].flow];
    auto* frame = rte_pktmbuf_mtod(m, std::byte*);
    m->data_len = static_cast<std::uint16_t>(options_.frame_size);
    m->pkt_len = options_.frame_size;
    std::memcpy(frame, headers_.data() + std::size_t(f.header) * header_length_, header_length_);
    const be16 number(static_cast<std::uint16_t>(slot_number));
    std::memcpy(frame + header_length_, &number, sizeof number);
    std::memcpy(frame + header_length_ + slot_bytes, pattern_.data(), pattern_.size());
    wire::checksum_sum sum;
    sum.add_word(f.partial_sum);
    sum.add_word(number.host());
    be16 checksum = sum.finish();
    if (checksum == be16{}) checksum = be16(std::uint16_t(0xffff));  // RFC 768: zero means none
    std::memcpy(frame + header_length_ - sizeof checksum, &checksum, sizeof checksum);
}

void generator::expire(std::uint64_t tsc) {
    // A few slots per poll: every slot is seen many times a second.
    for (unsigned i = 0; i < 4; i++) {
        slot& s = slots_[expire_at_];
        if (s.sent_at != 0 && tsc - s.sent_at > hz_) {
            s.sent_at = 0;
            free_slots_.push_back(static_cast<std::uint16_t>(expire_at_));
            in_flight_--;
            totals_.lost++;
        }
        if (++expire_at_ == slots_.size()) expire_at_ = 0;
    }
}

void generator::give_up() {
    totals_.lost += in_flight_;
    in_flight_ = 0;
}

}  // namespace skua::traffic
