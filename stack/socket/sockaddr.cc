// Reading and writing sockaddr_in and sockaddr_in6.
#include "socket/sockaddr.hh"

#include <netinet/in.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace skua::socket {

namespace {

constexpr socklen_t family_length = sizeof(sa_family_t);
// sockaddr_in6 of RFC 2133 had no scope; Linux still takes it (SIN6_LEN_RFC2133).
constexpr socklen_t in6_shortest = offsetof(sockaddr_in6, sin6_scope_id);

sa_family_t family_of(const sockaddr* a) {
    sa_family_t f;
    std::memcpy(&f, a, sizeof f);
    return f;
}

endpoint read_in(const sockaddr* a) {
    sockaddr_in in;
    std::memcpy(&in, a, sizeof in);
    return {ipv4_address(be32::from_raw(in.sin_addr.s_addr)), be16::from_raw(in.sin_port).host(), 0};
}

endpoint read_in6(const sockaddr* a, socklen_t length) {
    sockaddr_in6 in{};
    std::memcpy(&in, a, std::min<std::size_t>(length, sizeof in));
    ipv6_address v6;
    std::memcpy(v6.bytes.data(), &in.sin6_addr, sizeof v6);
    const ip_address address(v6);
    return {address, be16::from_raw(in.sin6_port).host(), needs_scope(address) ? in.sin6_scope_id : 0};
}

}  // namespace

bool needs_scope(const ip_address& a) {
    if (a.is_v4()) return false;
    // Groups of interface-local and link-local scope (RFC 4291 §2.7).
    const unsigned group_scope = a.bytes()[1] & 0xf;
    return a.is_link_local() || (a.is_multicast() && (group_scope == 1 || group_scope == 2));
}

result<endpoint> address_to_bind(ip_family socket, const sockaddr* address, socklen_t length) {
    if (socket == ip_family::v6) {
        if (length < in6_shortest) return fail(EINVAL);
        if (family_of(address) != AF_INET6) return fail(EAFNOSUPPORT);
        return read_in6(address, length);
    }
    if (length < sizeof(sockaddr_in)) return fail(EINVAL);
    const endpoint e = read_in(address);
    if (family_of(address) != AF_INET && (family_of(address) != AF_UNSPEC || !e.address.is_any()))
        return fail(EAFNOSUPPORT);
    return e;
}

result<std::optional<endpoint>> address_to_connect(ip_family socket, bool v6_only, const sockaddr* address,
                                                   socklen_t length) {
    if (length < family_length) return fail(EINVAL);
    const auto family = family_of(address);
    if (family == AF_UNSPEC) return std::nullopt;
    if (socket == ip_family::v6 && family != AF_INET) {
        if (length < in6_shortest) return fail(EINVAL);
        if (family != AF_INET6) return fail(EAFNOSUPPORT);
        return read_in6(address, length);
    }
    if (socket == ip_family::v6 && v6_only) return fail(EAFNOSUPPORT);
    if (length < sizeof(sockaddr_in)) return fail(EINVAL);
    if (family != AF_INET) return fail(EAFNOSUPPORT);
    return read_in(address);
}

result<std::optional<endpoint>> address_to_send(ip_family socket, bool v6_only, const sockaddr* address,
                                                socklen_t length) {
    endpoint e;
    if (socket == ip_family::v6 && (length < family_length || family_of(address) != AF_INET)) {
        if (length < family_length) return fail(EINVAL);
        if (family_of(address) == AF_UNSPEC) return std::nullopt;
        if (family_of(address) != AF_INET6 || length < in6_shortest) return fail(EINVAL);
        e = read_in6(address, length);
    } else {
        if (socket == ip_family::v6 && v6_only) return fail(ENETUNREACH);
        if (length < sizeof(sockaddr_in)) return fail(EINVAL);
        if (family_of(address) != AF_INET && family_of(address) != AF_UNSPEC) return fail(EAFNOSUPPORT);
        e = read_in(address);
    }
    if (e.address.is_v4() && v6_only) return fail(ENETUNREACH);
    if (e.port == 0) return fail(EINVAL);
    return e;
}

socklen_t write_sockaddr(ip_family socket, const endpoint& e, sockaddr* out, socklen_t room) {
    if (socket == ip_family::v4) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_port = be16(e.port).raw();
        in.sin_addr.s_addr = e.address.v4().value.raw();
        std::memcpy(out, &in, std::min<std::size_t>(room, sizeof in));
        return sizeof in;
    }
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = be16(e.port).raw();
    std::memcpy(&in.sin6_addr, e.address.bytes().data(), sizeof in.sin6_addr);
    in.sin6_scope_id = e.scope;
    std::memcpy(out, &in, std::min<std::size_t>(room, sizeof in));
    return sizeof in;
}

}  // namespace skua::socket
