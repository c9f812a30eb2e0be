// skua.h in a process that attaches: poll, select and epoll are the kernel's own, on the descriptors that it sees. What
// it says of a socket's descriptor becomes here what Linux says of a UDP socket.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <optional>
#include <vector>

#include "client/answer.hh"
#include "client/descriptors.hh"
#include "client/interests.hh"
#include "skua/skua.h"

namespace {

using skua::client::descriptors;
using skua::client::interests;
using clock = std::chrono::steady_clock;

/// How long a call may still wait. Two calls of the kernel's where the first found only what goes away in translation.
class remaining {
public:
    explicit remaining(const timespec* t) {
        if (t == nullptr) return;
        ends_ = true;
        given_ = *t;
        begun_ = clock::now();
    }
    static std::optional<timespec> of_milliseconds(int ms) {
        if (ms < 0) return {};
        return timespec{ms / 1000, ms % 1000 * 1'000'000L};
    }
    /// nullptr: for ever.
    const timespec* left() {
        if (!ends_) return nullptr;
        if (!first_) {
            const std::int64_t ns = given_.tv_sec * 1'000'000'000LL + given_.tv_nsec - (clock::now() - begun_).count();
            left_ = {std::max<std::int64_t>(ns, 0) / 1'000'000'000, std::max<std::int64_t>(ns, 0) % 1'000'000'000};
        } else {
            left_ = given_;
            first_ = false;
        }
        return &left_;
    }
    bool is_over() const {
        return ends_ &&
               clock::now() - begun_ >= std::chrono::seconds(given_.tv_sec) + std::chrono::nanoseconds(given_.tv_nsec);
    }

private:
    bool ends_ = false;
    timespec given_{};
    timespec left_{};
    clock::time_point begun_;
    bool first_ = true;
};

// ---- poll -----------------------------------------------------------------------------------------------------------

/// A set as the kernel is to see it, and which of it are the daemon's sockets. Mostly small.
class polled {
public:
    polled(const pollfd* fds, nfds_t count) {
        many_.assign(fds, fds + count);
        for (nfds_t i = 0; i < count; i++) {
            auto s = descriptors::instance().find(fds[i].fd);
            if (!s) continue;
            s->watch(fds[i].fd, false);
            many_[i].events |= POLLPRI;
            ours_.emplace_back(i, std::move(s));
        }
    }
    pollfd* data() { return many_.data(); }
    /// From what was found to what is told; how many have something to tell.
    int translate(pollfd* fds) {
        for (std::size_t i = 0; i < many_.size(); i++) fds[i].revents = many_[i].revents;
        for (auto& [i, s] : ours_) fds[i].revents = s->translate(fds[i].revents, fds[i].events);
        return static_cast<int>(std::count_if(fds, fds + many_.size(), [](const pollfd& p) { return p.revents != 0; }));
    }

private:
    std::vector<pollfd> many_;
    std::vector<std::pair<nfds_t, descriptors::use>> ours_;
};

bool any_of_ours(const pollfd* fds, nfds_t count) {
    return std::any_of(fds, fds + count, [](const pollfd& p) { return bool(descriptors::instance().find(p.fd)); });
}

int poll_any(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
    rlimit limit{};
    if (fds == nullptr || count == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 || count > limit.rlim_cur)
        return ppoll(fds, count, timeout, mask);
    if (!any_of_ours(fds, count)) return ppoll(fds, count, timeout, mask);
    polled all(fds, count);
    remaining time(timeout);
    for (;;) {
        const int found = ppoll(all.data(), count, time.left(), mask);
        if (found < 0) return found;
        const int told = all.translate(fds);
        if (told > 0 || found == 0 || time.is_over()) return told;
    }
}

// ---- select ---------------------------------------------------------------------------------------------------------

/// Sets may be larger than fd_set, which is only words.
constexpr int word_bits = sizeof(long) * CHAR_BIT;
using words = std::vector<unsigned long>;

words copy_of(const fd_set* set, int count) {
    const auto n = static_cast<std::size_t>((count + word_bits - 1) / word_bits);
    const auto* const from = reinterpret_cast<const unsigned long*>(set);
    return set == nullptr ? words() : words(from, from + n);
}
bool has(const words& set, int fd) {
    return !set.empty() && (set[static_cast<std::size_t>(fd / word_bits)] >> (fd % word_bits) & 1) != 0;
}
void put(words& set, int fd, bool in) {
    if (set.empty()) return;
    const unsigned long bit = 1ul << (fd % word_bits);
    auto& word = set[static_cast<std::size_t>(fd / word_bits)];
    word = in ? word | bit : word & ~bit;
}
fd_set* as_set(words& set) { return set.empty() ? nullptr : reinterpret_cast<fd_set*>(set.data()); }
void write_back(const words& set, fd_set* to) {
    if (to != nullptr) std::copy(set.begin(), set.end(), reinterpret_cast<unsigned long*>(to));
}

int select_any(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout, const sigset_t* mask) {
    if (count <= 0) return pselect(count, read, write, except, timeout, mask);
    const words reading = copy_of(read, count), writing = copy_of(write, count);
    words excepting = copy_of(except, count);
    std::vector<std::pair<int, descriptors::use>> ours;
    for (int fd = 0; fd < count; fd++) {
        if (!has(reading, fd) && !has(writing, fd) && !has(excepting, fd)) continue;
        auto s = descriptors::instance().find(fd);
        if (!s) continue;
        s->watch(fd, false);
        put(excepting, fd, false);  // UDP sockets have no exceptions, unless of an error queue
        ours.emplace_back(fd, std::move(s));
    }
    if (ours.empty()) return pselect(count, read, write, except, timeout, mask);
    remaining time(timeout);
    for (;;) {
        words r = reading, w = writing, e = excepting;
        int found = pselect(count, as_set(r), as_set(w), as_set(e), time.left(), mask);
        if (found < 0) return found;
        const int before = found;
        for (auto& [fd, s] : ours) {
            const bool in = has(r, fd), out = has(w, fd);
            const short said =
                s->translate(static_cast<short>((in ? POLLIN : 0) | (out ? POLLOUT : 0)), POLLIN | POLLOUT);
            // As fs/select.c: an error is readable and writable.
            const bool now_in = has(reading, fd) && (said & (POLLIN | POLLERR)) != 0;
            const bool now_out = has(writing, fd) && (said & (POLLOUT | POLLERR)) != 0;
            put(r, fd, now_in);
            put(w, fd, now_out);
            found += now_in - in + now_out - out;
        }
        if (found == 0 && before != 0 && !time.is_over()) continue;
        write_back(r, read);
        write_back(w, write);
        write_back(e, except);
        return found;
    }
}

// ---- epoll ----------------------------------------------------------------------------------------------------------

/// An error shows as EPOLLPRI, which nobody is told of a UDP socket. How many events are left.
int translate(int epfd, epoll_event* events, int count) {
    int told = 0;
    for (int i = 0; i < count; i++) {
        epoll_event e = events[i];
        if (e.events & EPOLLPRI) {
            if (const auto known = interests::instance().find(epfd, e.data.u64)) {
                const auto s = descriptors::instance().find(known->fd);
                const auto asked = static_cast<short>(known->events & 0x7fff);
                e.events = s ? static_cast<std::uint32_t>(s->translate(static_cast<short>(e.events), asked))
                             : (e.events & ~EPOLLPRI) | EPOLLERR;
            }
        }
        if (e.events != 0) events[told++] = e;
    }
    return told;
}

template <class Wait>
int wait_any(int epfd, epoll_event* events, const timespec* timeout, Wait&& wait) {
    remaining time(timeout);
    for (;;) {
        const int found = wait(time.left());
        if (found <= 0) return found;
        const int told = translate(epfd, events, found);
        if (told > 0 || time.is_over()) return told;
    }
}

int wait_milliseconds(int epfd, epoll_event* events, int room, int ms, const sigset_t* mask) {
    const auto given = remaining::of_milliseconds(ms);
    return wait_any(epfd, events, given ? &*given : nullptr, [&](const timespec* left) {
        const int whole =
            left == nullptr ? -1 : static_cast<int>(left->tv_sec * 1000 + (left->tv_nsec + 999'999) / 1'000'000);
        return epoll_pwait(epfd, events, room, whole, mask);
    });
}

}  // namespace

int skua_poll(pollfd* fds, nfds_t count, int milliseconds) {
    const auto given = remaining::of_milliseconds(milliseconds);
    return poll_any(fds, count, given ? &*given : nullptr, nullptr);
}

int skua_ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
    return poll_any(fds, count, timeout, mask);
}

int skua_select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
    if (timeout == nullptr) return select_any(count, read, write, except, nullptr, nullptr);
    if (timeout->tv_sec < 0 || timeout->tv_usec < 0) return skua::client::failed(EINVAL);
    // Linux counts on from a fraction that is more than a second, and writes back what is left.
    const std::int64_t us = timeout->tv_sec * 1'000'000LL + timeout->tv_usec;
    const timespec time{us / 1'000'000, us % 1'000'000 * 1000};
    const auto begun = clock::now();
    const int found = select_any(count, read, write, except, &time, nullptr);
    const auto passed = std::chrono::duration_cast<std::chrono::microseconds>(clock::now() - begun).count();
    const std::int64_t left = std::max<std::int64_t>(us - passed, 0);
    *timeout = {left / 1'000'000, left % 1'000'000};
    return found;
}

int skua_pselect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout,
                 const sigset_t* mask) {
    return select_any(count, read, write, except, timeout, mask);
}

int skua_epoll_create(int size) { return epoll_create(size); }
int skua_epoll_create1(int flags) { return epoll_create1(flags); }

int skua_epoll_ctl(int epfd, int operation, int fd, epoll_event* event) {
    const auto s = descriptors::instance().find(fd);
    if (!s || (operation != EPOLL_CTL_DEL && event == nullptr)) return epoll_ctl(epfd, operation, fd, event);
    if (operation == EPOLL_CTL_DEL) {
        interests::instance().drop(epfd, fd);
        return epoll_ctl(epfd, operation, fd, event);
    }
    epoll_event wanted = *event;
    if (!(wanted.events & EPOLLEXCLUSIVE)) wanted.events |= EPOLLPRI;
    const int done = epoll_ctl(epfd, operation, fd, &wanted);
    if (done != 0) return done;
    interests::instance().set(epfd, fd, *event);
    s->watch(fd, (event->events & EPOLLET) != 0);
    return done;
}

int skua_epoll_wait(int epfd, epoll_event* events, int room, int milliseconds) {
    return wait_milliseconds(epfd, events, room, milliseconds, nullptr);
}
int skua_epoll_pwait(int epfd, epoll_event* events, int room, int milliseconds, const sigset_t* mask) {
    return wait_milliseconds(epfd, events, room, milliseconds, mask);
}
int skua_epoll_pwait2(int epfd, epoll_event* events, int room, const timespec* timeout, const sigset_t* mask) {
    return wait_any(epfd, events, timeout,
                    [&](const timespec* left) { return epoll_pwait2(epfd, events, room, left, mask); });
}
