// The options of generations (skua/udp_grm.h), with udpgrm's answers.
#pragma once

#include <cstddef>
#include <span>

#include "base/result.hh"
#include "socket/host.hh"

namespace skua::socket {

bool is_generation_option(int level, int name);
/// Errors: EFAULT fewer than four bytes; EBADF not bound with SO_REUSEPORT, or it has a peer; ENOMEM; and those of the
/// option (skua/udp_grm.h).
result<void> set_generation_option(host& h, udp::pcb& p, int name, std::span<const std::byte> value);
/// Writes as much of the value as there is room for and returns how much. Errors: EFAULT room for fewer than four
/// bytes; EBADFD it is not what set_generation_option takes, unless UDP_GRM_WORKING_GEN is asked; EPERM not to be read.
result<std::size_t> get_generation_option(host& h, const udp::pcb& p, int name, std::span<std::byte> room);
/// The room of the flow table that the socket's group has, or that it gets when this socket sets up its generations.
result<void> set_flow_room(host& h, udp::pcb& p, int flows);
int flow_room(host& h, const udp::pcb& p);

}  // namespace skua::socket
