// How a call of a socket waits. Part of udp_socket.hh.
#pragma once

#include <sys/epoll.h>

#include "socket/udp_socket.hh"

namespace skua::socket {

inline constexpr std::uint32_t readable_events = EPOLLIN | EPOLLPRI | EPOLLRDNORM | EPOLLRDBAND;  // sock_def_readable
inline constexpr std::uint32_t writeable_events = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;  // sock_def_write_space

template <class Attempt>
auto udp_socket::wait_for(std::uint32_t events, time_point deadline, Attempt&& attempt) -> decltype(attempt()) {
    auto got = attempt();
    const auto again = [&] { return !got && got.error().code == EAGAIN; };
    if (!again() || deadline == at_once) return got;
    wait::sleeper me(host_.socket_limits().spin, events | EPOLLERR | EPOLLHUP);
    // Readers share datagrams and are woken one by one; all writers may try (__skb_wait_for_more_packets,
    // sock_wait_for_wmem).
    events& EPOLLIN ? waiters_.add_exclusive(me) : waiters_.add(me);
    auto why = wait::sleeper::woken::event;
    while (got = attempt(), again() && why == wait::sleeper::woken::event) {
        why = me.sleep_until(deadline);
        me.rearm();
    }
    waiters_.remove(me);
    // A wake-up that came too late for us belongs to the next reader.
    if (me.notified()) waiters_.wake(events, 1);
    if (again() && why == wait::sleeper::woken::signal) got = decltype(attempt())(fail(EINTR));
    return got;
}

}  // namespace skua::socket
