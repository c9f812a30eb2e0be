// Clients that are frames only: each an address and port of its own behind the gateway of skua's side.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <functional>

#include "base/address.hh"
#include "upgrade/message.hh"

namespace skua::upgrade {

inline constexpr std::uint16_t server_port = 4433;
inline const ipv4_address server_ip(198, 18, 0, 1), gateway_ip(198, 18, 0, 2);
inline constexpr const char* clients_prefix = "198.19.0.0/16";
inline constexpr mac_address server_mac{{0x02, 0, 0, 0, 0, 0x01}}, client_mac{{0x02, 0, 0, 0, 0, 0x02}};
inline constexpr unsigned burst = 32;

/// The frame with a question of the n-th client. Throws std::runtime_error if the pool is empty.
rte_mbuf* question_frame(rte_mempool* pool, std::uint64_t client, const message& question);
/// Tells of each answer to the client that asked. Takes the frames, other ones too.
void read_answers(rte_mbuf** frames, unsigned n, const std::function<void(const message&)>& answered);

}  // namespace skua::upgrade
