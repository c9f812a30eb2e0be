// Sockets in the words of /proc/net/udp and /proc/net/udp6 (Linux: udp4_format_sock, udp6_sock_seq_show).
#pragma once

#include <string>
#include <vector>

#include "base/address.hh"
#include "socket/udp_socket.hh"

namespace skua::sockfs {

/// The line above the others.
std::string proc_net_udp_header(ip_family family);
/// A line of a bound socket, without line end. `slot`: the first column. The caller keeps the socket from ending.
std::string proc_net_udp_line(const socket::udp_socket& s, std::size_t slot);

}  // namespace skua::sockfs
