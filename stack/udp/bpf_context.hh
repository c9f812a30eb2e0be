// What an extended BPF program sees of a datagram: the payload, and Linux's struct __sk_buff.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <span>

#include "base/result.hh"

struct ebpf_insn;

namespace skua::udp {

struct lookup_key;

/// The memory behind a program's argument. librte_bpf wants the mbuf in front, for the loads from the packet; behind it
/// stand the fields of __sk_buff that there are, in its byte orders.
struct bpf_context {
    rte_mbuf payload;  // a copy, moved on to the payload
    std::uint32_t length;
    std::uint32_t packet_type;
    std::uint32_t mark;
    std::uint32_t queue;
    std::uint32_t protocol;
    std::uint32_t priority;
    std::uint32_t ifindex;
    std::uint32_t hash;
    std::uint32_t family;
    std::uint32_t remote_v4, local_v4;
    std::uint32_t remote_v6[4], local_v6[4];
    std::uint32_t remote_port, local_port;

    /// Of a key with a packet, whose first segment reaches to the payload.
    explicit bpf_context(const lookup_key& key);
};

/// Makes a program's loads from __sk_buff loads from a bpf_context, and makes sure that the pointer to it serves for
/// nothing else: librte_bpf would let the program write there. Errors, as of bpf(2): EACCES a field that is not there,
/// or another use of the pointer; EINVAL an instruction or jump that cannot be, a loop, a map, a call.
result<void> bind_context(std::span<ebpf_insn> program);

}  // namespace skua::udp
