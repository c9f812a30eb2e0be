// What the POSIX tests share: descriptors that close themselves, names on the loopback, calls that block in a thread.
//
// Each test is one source, compiled against the kernel and, behind on_skua.hh, against the stack. On the stack a
// datagram arrives a little after the call that sent it; so a test waits until it is there before it looks.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace skua::test {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Descriptor numbers are the stack's own, not the kernel's: for the few places where the sides must differ.
bool numbers_are_the_stacks();
/// Before the first test and after the last. False: it has said why on stderr.
bool start_side(const char* program);
void stop_side();

/// Nothing that is bound to happen takes as long as this.
inline constexpr int patience_ms = 20000;
inline constexpr milliseconds patience{patience_ms};
/// How long to watch for what must not happen.
inline constexpr int quiet_ms = 60;

class descriptor {
public:
    explicit descriptor(int fd = -1) : fd_(fd) {}
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept;
    ~descriptor() { reset(); }
    operator int() const { return fd_; }
    void reset();
    int release() { return std::exchange(fd_, -1); }

private:
    int fd_;
};

/// The result of a call that a test takes for granted; throws, with errno in the text, if it has failed.
int granted(ssize_t returned, std::source_location at = std::source_location::current());
/// For a call that must have failed.
void expect_errno(ssize_t returned, int code, std::source_location at = std::source_location::current());

/// A socket address with its length.
struct name {
    sockaddr_storage storage{};
    socklen_t length = sizeof(sockaddr_storage);
    operator sockaddr*() { return reinterpret_cast<sockaddr*>(&storage); }
    operator const sockaddr*() const { return reinterpret_cast<const sockaddr*>(&storage); }
    int family() const { return storage.ss_family; }
    std::uint16_t port() const;
    /// "127.0.0.1" or "::1".
    std::string address() const;
    friend bool operator==(const name& a, const name& b) { return a.text() == b.text(); }
    std::string text() const { return address() + " port " + std::to_string(port()); }
};
std::ostream& operator<<(std::ostream& out, const name& n);
name make_name(const char* address, std::uint16_t port = 0);
name loopback(int family, std::uint16_t port = 0);
name any(int family, std::uint16_t port = 0);
name local_name(int fd);
name peer_name(int fd);

descriptor udp(int family, int flags = 0);
/// Bound to the loopback, the port chosen by the system.
descriptor bound(int family, int flags = 0);
/// Connected to the name of `peer`.
descriptor connected(int peer);
/// Connected to a port that nobody has.
descriptor connected_to_nobody(int family);
/// A bound socket and another that is connected to it.
struct two {
    explicit two(int family, int flags = 0) : to(bound(family, flags)), from(connected(to)) {}
    descriptor to;
    descriptor from;
};
/// The number that the next descriptor gets.
int lowest_free();
/// True if another socket can be bound to this name.
bool is_free(const name& n);

void send_text(int from, std::string_view text);
void send_text(int from, std::string_view text, const name& to);
/// Sends and returns when it has arrived.
void deliver(int from, std::string_view text);
/// Returns when all that this socket has sent has arrived: one that it sends after the others has.
void settle(int from);
/// The next datagram, waited for.
std::string receive(int fd);
/// Waits for `events` by poll; false if they do not come.
bool comes(int fd, short events);
/// The events that poll reports at once.
short events_now(int fd, short asked = POLLIN | POLLOUT | POLLPRI | POLLRDHUP);

void set_option(int fd, int level, int option, int value);
int get_option(int fd, int level, int option);
void set_receive_timeout(int fd, milliseconds t);

struct pipe_ends {
    pipe_ends();
    descriptor out, in;  // read from out what was written to in
};

descriptor make_epoll();
void add(int epfd, int fd, std::uint32_t events, std::uint64_t data = 0);
void modify(int epfd, int fd, std::uint32_t events, std::uint64_t data = 0);
std::vector<epoll_event> wait(int epfd, int timeout_ms = patience_ms, int room = 16);
/// The events of the one file of a set that reports; 0 if none does in time.
std::uint32_t one_event(int epfd, int timeout_ms = patience_ms);

/// Time since it was made.
class stopwatch {
public:
    milliseconds elapsed() const { return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start_); }

private:
    steady_clock::time_point start_ = steady_clock::now();
};

/// A thread that makes one call which may block.
class in_thread {
public:
    explicit in_thread(std::function<ssize_t()> call);
    ~in_thread();
    /// Returns when the thread sleeps in its call; throws if it does not, or has returned already.
    void until_asleep();
    bool returned() const { return returned_.load(); }
    /// False if it is still in its call after this time.
    bool returns_within(milliseconds t) const;
    void kill(int signal);
    /// Waits for its end.
    ssize_t result();
    int error();  // errno after the call

private:
    std::atomic<pid_t> tid_{0};
    std::atomic<bool> returned_{false};
    ssize_t result_ = 0;
    int error_ = 0;
    std::thread thread_;
};

/// A handler for SIGUSR1 that counts, while it lives.
class counted_signal {
public:
    explicit counted_signal(int flags = 0);
    ~counted_signal();
    static int count();

private:
    struct sigaction before_ {};
};
/// SIGUSR1 is blocked in this thread while it lives.
class blocked_signal {
public:
    blocked_signal();
    ~blocked_signal();
    /// The mask outside.
    const sigset_t& before() const { return before_; }

private:
    sigset_t before_{};
};
sigset_t only_usr1();
bool usr1_is_blocked();
bool usr1_is_pending();

/// A test that is run for IPv4 and for IPv6.
class for_each_family : public testing::TestWithParam<int> {
protected:
    int family() const { return GetParam(); }
};
std::string family_name(const testing::TestParamInfo<int>& info);

}  // namespace skua::test
