// The C API: poll, select and epoll over both kinds of descriptor.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>

#include <algorithm>
#include <cstdint>
#include <system_error>
#include <vector>

#include "api/answer.hh"
#include "skua/skua.h"

namespace {

/// A thread that waits for the kernel as well needs a descriptor for its bell. Without any left the call fails; nothing
/// may be thrown into C.
template <class Wait>
int guarded(Wait&& wait) {
    try {
        return skua::api::answer(wait());
    } catch (const std::system_error& e) {
        return skua::api::failed(e.code().value());
    }
}

using namespace skua;
using api::answer;
using api::current_process;
using api::failed;
using api::is_kernels;

constexpr time_point at_once = time_point::min();
constexpr time_point never = time_point::max();

/// A time to wait, as a point in time. Negative: for ever.
time_point deadline_in(nanoseconds wait) {
    if (wait < nanoseconds(0)) return never;
    if (wait == nanoseconds(0)) return at_once;
    const auto now = monotonic_clock::now();
    return wait < never - now ? now + wait : never;
}

time_point deadline_in_ms(int milliseconds) { return deadline_in(std::chrono::milliseconds(milliseconds)); }

/// Errors: EINVAL.
result<time_point> deadline_of(const timespec* timeout) {
    if (timeout == nullptr) return never;
    if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1'000'000'000) return fail(EINVAL);
    constexpr auto most = std::chrono::duration_cast<std::chrono::seconds>(nanoseconds::max()).count() / 2;
    if (timeout->tv_sec > most) return never;
    return deadline_in(std::chrono::seconds(timeout->tv_sec) + nanoseconds(timeout->tv_nsec));
}

/// As do_sys_poll: no more than there may be descriptors.
bool too_many(nfds_t count) {
    constexpr nfds_t surely_allowed = 64;
    rlimit limit;
    return count > surely_allowed && getrlimit(RLIMIT_NOFILE, &limit) == 0 && count > limit.rlim_cur;
}

int poll_until(pollfd* fds, nfds_t count, time_point deadline, const sigset_t* mask) {
    if (too_many(count)) return failed(EINVAL);
    if (fds == nullptr && count > 0) return failed(EFAULT);
    return guarded([&] { return current_process()->poll(std::span(fds, count), deadline, mask); });
}

// What select(2) means by its three sets (fs/select.c: POLLIN_SET, POLLOUT_SET, POLLEX_SET).
constexpr int read_events = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR;
constexpr int write_events = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR;
constexpr int except_events = POLLPRI;

/// Sets of any size: FD_SETSIZE does not bound the kernel's.
bool has(const fd_set* set, int fd) {
    return set && (reinterpret_cast<const unsigned long*>(set)[fd / NFDBITS] >> (fd % NFDBITS) & 1);
}

int select_until(int count, fd_set* read, fd_set* write, fd_set* except, time_point deadline, const sigset_t* mask) {
    if (count < 0) return failed(EINVAL);
    std::vector<pollfd> fds;
    for (int fd = 0; fd < count; fd++) {
        const int events = (has(read, fd) ? read_events : 0) | (has(write, fd) ? write_events : 0) |
                           (has(except, fd) ? except_events : 0);
        if (events) fds.push_back({fd, static_cast<short>(events), 0});
    }
    if (poll_until(fds.data(), fds.size(), deadline, mask) < 0) return -1;
    for (const auto& f : fds)
        if (f.revents & POLLNVAL) return failed(EBADF);
    int bits = 0;
    const auto answer_in = [&](fd_set* set, int events) {
        if (set == nullptr) return;
        auto* const words = reinterpret_cast<unsigned long*>(set);
        std::vector<unsigned long> fresh((static_cast<std::size_t>(count) + NFDBITS - 1) / NFDBITS);
        for (const auto& f : fds)
            if (has(set, f.fd) && (f.revents & events)) {
                fresh[static_cast<std::size_t>(f.fd / NFDBITS)] |= 1ul << (f.fd % NFDBITS);
                bits++;
            }
        std::ranges::copy(fresh, words);
    };
    answer_in(read, read_events);
    answer_in(write, write_events);
    answer_in(except, except_events);
    return bits;
}

int epoll_wait_until(int epfd, epoll_event* events, int room, time_point deadline, const sigset_t* mask) {
    constexpr int most = INT32_MAX / static_cast<int>(sizeof(epoll_event));
    if (room <= 0 || room > most) return failed(EINVAL);
    if (events == nullptr) return failed(EFAULT);
    const std::span out(events, static_cast<std::size_t>(room));
    return guarded([&] { return current_process()->epoll_wait(epfd, out, deadline, mask); });
}

}  // namespace

int skua_poll(pollfd* fds, nfds_t count, int milliseconds) {
    if (current_process() == nullptr) return poll(fds, count, milliseconds);
    return poll_until(fds, count, deadline_in_ms(milliseconds), nullptr);
}

int skua_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
    if (current_process() == nullptr) return ppoll(fds, count, timeout, mask);
    const auto deadline = deadline_of(timeout);
    return deadline ? poll_until(fds, count, *deadline, mask) : failed(deadline.error().code);
}

int skua_select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
    if (current_process() == nullptr) return select(count, read, write, except, timeout);
    time_point deadline = never;
    if (timeout) {
        if (timeout->tv_sec < 0 || timeout->tv_usec < 0) return failed(EINVAL);
        // Microseconds beyond a second are taken as such (kern_select).
        const timespec t{timeout->tv_sec + timeout->tv_usec / 1'000'000, timeout->tv_usec % 1'000'000 * 1000};
        deadline = *deadline_of(&t);
    }
    const int bits = select_until(count, read, write, except, deadline, nullptr);
    if (timeout && deadline != never) {
        // Linux says what is left, whatever came of the call.
        const int why = errno;
        const auto left =
            deadline == at_once ? nanoseconds(0) : std::max(deadline - monotonic_clock::now(), nanoseconds(0));
        timeout->tv_sec = std::chrono::floor<std::chrono::seconds>(left).count();
        timeout->tv_usec = left.count() / 1000 % 1'000'000;
        errno = why;
    }
    return bits;
}

int skua_pselect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout,
                 const sigset_t* mask) {
    if (current_process() == nullptr) return pselect(count, read, write, except, timeout, mask);
    const auto deadline = deadline_of(timeout);
    return deadline ? select_until(count, read, write, except, *deadline, mask) : failed(deadline.error().code);
}

int skua_epoll_create(int size) { return size > 0 ? skua_epoll_create1(0) : failed(EINVAL); }

int skua_epoll_create1(int flags) {
    return current_process() ? answer(current_process()->epoll_create(flags)) : failed(ENETDOWN);
}

int skua_epoll_ctl(int epfd, int operation, int fd, epoll_event* event) {
    if (is_kernels(epfd) && is_kernels(fd)) return epoll_ctl(epfd, operation, fd, event);
    return answer(current_process()->epoll_control(epfd, operation, fd, event));
}

int skua_epoll_wait(int epfd, epoll_event* events, int room, int milliseconds) {
    return skua_epoll_pwait(epfd, events, room, milliseconds, nullptr);
}

int skua_epoll_pwait(int epfd, epoll_event* events, int room, int milliseconds, const sigset_t* mask) {
    if (is_kernels(epfd)) return epoll_pwait(epfd, events, room, milliseconds, mask);
    return epoll_wait_until(epfd, events, room, deadline_in_ms(milliseconds), mask);
}

int skua_epoll_pwait2(int epfd, epoll_event* events, int room, const timespec* timeout, const sigset_t* mask) {
    if (is_kernels(epfd)) return epoll_pwait2(epfd, events, room, timeout, mask);
    const auto deadline = deadline_of(timeout);
    return deadline ? epoll_wait_until(epfd, events, room, *deadline, mask) : failed(deadline.error().code);
}
