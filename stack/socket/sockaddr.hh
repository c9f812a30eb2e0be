// struct sockaddr and endpoints: what each call accepts, with the errno of Linux for what it does not.
#pragma once

#include <sys/socket.h>

#include <optional>

#include "base/address.hh"
#include "base/result.hh"

namespace skua::socket {

/// Is the address known on one link only, so that a scope must say on which (__ipv6_addr_needs_scope_id)?
bool needs_scope(const ip_address& a);

/// An IPv4 socket takes AF_INET, and AF_UNSPEC with 0.0.0.0 (__inet_bind). Errors: EINVAL too short, or a family that
/// an IPv6 socket does not know; EAFNOSUPPORT.
result<endpoint> address_to_bind(ip_family socket, const sockaddr* address, socklen_t length);

/// Nothing for AF_UNSPEC: dissolve the association. Errors: EINVAL too short; EAFNOSUPPORT, also for AF_INET on a
/// v6-only socket.
result<std::optional<endpoint>> address_to_connect(ip_family socket, bool v6_only, const sockaddr* address,
                                                   socklen_t length);

/// Nothing where an IPv6 socket finds AF_UNSPEC: the connected peer is meant. Errors: EINVAL too short, or port 0;
/// EAFNOSUPPORT; ENETUNREACH AF_INET on a v6-only socket.
result<std::optional<endpoint>> address_to_send(ip_family socket, bool v6_only, const sockaddr* address,
                                                socklen_t length);

/// Writes as much of the address as fits into `room` bytes; returns its whole length. IPv4 addresses of an IPv6 socket
/// come out mapped.
socklen_t write_sockaddr(ip_family socket, const endpoint& e, sockaddr* out, socklen_t room);

}  // namespace skua::socket
