// Helpers of the POSIX tests, in plain POSIX calls like the tests.
#include "posix/posix.hh"

#include <arpa/inet.h>
#include <pthread.h>

#include <cstring>
#include <fstream>
#include <stdexcept>

namespace skua::test {

descriptor& descriptor::operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}

void descriptor::reset() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
}

int granted(ssize_t returned, std::source_location at) {
    if (returned >= 0) return static_cast<int>(returned);
    throw std::runtime_error("line " + std::to_string(at.line()) + " of " + at.file_name() + ": " +
                             std::strerror(errno));
}

void expect_errno(ssize_t returned, int code, std::source_location at) {
    const int found = errno;
    EXPECT_EQ(returned, -1) << at.file_name() << ":" << at.line();
    if (returned != -1) return;
    EXPECT_EQ(found, code) << at.file_name() << ":" << at.line() << ": " << std::strerror(found);
}

std::uint16_t name::port() const {
    return ntohs(family() == AF_INET ? reinterpret_cast<const sockaddr_in*>(&storage)->sin_port
                                     : reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
}

std::string name::address() const {
    char text[INET6_ADDRSTRLEN] = "no address";
    if (family() == AF_INET)
        inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr, text, sizeof text);
    if (family() == AF_INET6)
        inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr, text, sizeof text);
    return text;
}

std::ostream& operator<<(std::ostream& out, const name& n) { return out << n.text(); }

name make_name(const char* address, std::uint16_t port) {
    name n;
    if (std::strchr(address, ':') == nullptr) {
        auto& in = *reinterpret_cast<sockaddr_in*>(&n.storage);
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        inet_pton(AF_INET, address, &in.sin_addr);
        n.length = sizeof in;
    } else {
        auto& in6 = *reinterpret_cast<sockaddr_in6*>(&n.storage);
        in6.sin6_family = AF_INET6;
        in6.sin6_port = htons(port);
        inet_pton(AF_INET6, address, &in6.sin6_addr);
        n.length = sizeof in6;
    }
    return n;
}

name loopback(int family, std::uint16_t port) { return make_name(family == AF_INET ? "127.0.0.1" : "::1", port); }
name any(int family, std::uint16_t port) { return make_name(family == AF_INET ? "0.0.0.0" : "::", port); }

name local_name(int fd) {
    name n;
    granted(getsockname(fd, n, &n.length));
    return n;
}

name peer_name(int fd) {
    name n;
    granted(getpeername(fd, n, &n.length));
    return n;
}

descriptor udp(int family, int flags) { return descriptor(granted(socket(family, SOCK_DGRAM | flags, 0))); }

descriptor bound(int family, int flags) {
    descriptor fd = udp(family, flags);
    const name n = loopback(family);
    granted(bind(fd, n, n.length));
    return fd;
}

descriptor connected(int peer) {
    const name n = local_name(peer);
    descriptor fd = udp(n.family());
    granted(connect(fd, n, n.length));
    return fd;
}

descriptor connected_to_nobody(int family) {
    descriptor gone = bound(family);
    descriptor fd = connected(gone);
    gone.reset();
    return fd;
}

int lowest_free() {
    const descriptor fd(granted(open("/dev/null", O_RDONLY)));
    return fd;
}

bool is_free(const name& n) {
    const descriptor fd = udp(n.family());
    if (bind(fd, n, n.length) == 0) return true;
    EXPECT_EQ(errno, EADDRINUSE);
    return false;
}

void send_text(int from, std::string_view text) {
    if (granted(send(from, text.data(), text.size(), 0)) != static_cast<int>(text.size()))
        throw std::runtime_error("sent in part");
}

void send_text(int from, std::string_view text, const name& to) {
    if (granted(sendto(from, text.data(), text.size(), 0, to, to.length)) != static_cast<int>(text.size()))
        throw std::runtime_error("sent in part");
}

void deliver(int from, std::string_view text) {
    send_text(from, text);
    settle(from);
}

void settle(int from) {
    const descriptor last = bound(local_name(from).family());
    send_text(from, "settle", local_name(last));
    if (!comes(last, POLLIN)) throw std::runtime_error("a datagram is lost");
}

std::string receive(int fd) {
    if (!comes(fd, POLLIN)) throw std::runtime_error("nothing to receive");
    std::string text(65536, '\0');
    text.resize(static_cast<std::size_t>(granted(recv(fd, text.data(), text.size(), MSG_DONTWAIT))));
    return text;
}

bool comes(int fd, short events) {
    pollfd p{fd, events, 0};
    return granted(poll(&p, 1, patience_ms)) == 1 && (p.revents & events) != 0;
}

short events_now(int fd, short asked) {
    pollfd p{fd, asked, 0};
    granted(poll(&p, 1, 0));
    return p.revents;
}

void set_option(int fd, int level, int option, int value) {
    granted(setsockopt(fd, level, option, &value, sizeof value));
}

int get_option(int fd, int level, int option) {
    int value = 0;
    socklen_t length = sizeof value;
    granted(getsockopt(fd, level, option, &value, &length));
    return value;
}

void set_receive_timeout(int fd, milliseconds t) {
    const timeval v{t / 1s, t % 1s / 1us};
    granted(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &v, sizeof v));
}

pipe_ends::pipe_ends() {
    int ends[2];
    granted(pipe2(ends, O_NONBLOCK));
    out = descriptor(ends[0]);
    in = descriptor(ends[1]);
}

descriptor make_epoll() { return descriptor(granted(epoll_create1(0))); }

void add(int epfd, int fd, std::uint32_t events, std::uint64_t data) {
    epoll_event e{events, {}};
    e.data.u64 = data;
    granted(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e));
}

void modify(int epfd, int fd, std::uint32_t events, std::uint64_t data) {
    epoll_event e{events, {}};
    e.data.u64 = data;
    granted(epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &e));
}

std::vector<epoll_event> wait(int epfd, int timeout_ms, int room) {
    std::vector<epoll_event> events(static_cast<std::size_t>(room));
    events.resize(static_cast<std::size_t>(granted(epoll_wait(epfd, events.data(), room, timeout_ms))));
    return events;
}

std::uint32_t one_event(int epfd, int timeout_ms) {
    const auto events = wait(epfd, timeout_ms);
    EXPECT_LE(events.size(), 1u);
    return events.empty() ? 0 : events[0].events;
}

in_thread::in_thread(std::function<ssize_t()> call)
    : thread_([this, call = std::move(call)] {
          tid_ = gettid();
          result_ = call();
          error_ = errno;
          returned_ = true;
      }) {}

in_thread::~in_thread() {
    if (thread_.joinable()) thread_.join();
}

void in_thread::until_asleep() {
    for (const stopwatch limit; limit.elapsed() < patience; std::this_thread::sleep_for(1ms)) {
        if (returned_) break;
        if (tid_ == 0) continue;
        std::ifstream file("/proc/self/task/" + std::to_string(tid_) + "/stat");
        std::string line;
        std::getline(file, line);
        // The state stands behind the name of the program, which is in brackets.
        const auto bracket = line.rfind(") ");
        if (bracket != std::string::npos && line[bracket + 2] == 'S') return;
    }
    throw std::runtime_error(returned_ ? "the call has returned already" : "the call does not sleep");
}

bool in_thread::returns_within(milliseconds t) const {
    for (const stopwatch limit; !returned_ && limit.elapsed() < t;) std::this_thread::sleep_for(1ms);
    return returned_;
}

void in_thread::kill(int signal) { pthread_kill(thread_.native_handle(), signal); }

ssize_t in_thread::result() {
    if (thread_.joinable()) thread_.join();
    return result_;
}

int in_thread::error() {
    result();
    return error_;
}

namespace {

std::atomic<int> signals{0};

}  // namespace

counted_signal::counted_signal(int flags) {
    signals = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { signals++; };
    action.sa_flags = flags;
    granted(sigaction(SIGUSR1, &action, &before_));
}

counted_signal::~counted_signal() { sigaction(SIGUSR1, &before_, nullptr); }

int counted_signal::count() { return signals; }

blocked_signal::blocked_signal() {
    const sigset_t usr1 = only_usr1();
    pthread_sigmask(SIG_BLOCK, &usr1, &before_);
}

blocked_signal::~blocked_signal() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

sigset_t only_usr1() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return set;
}

bool usr1_is_blocked() {
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, nullptr, &set);
    return sigismember(&set, SIGUSR1) == 1;
}

bool usr1_is_pending() {
    sigset_t set;
    sigpending(&set);
    return sigismember(&set, SIGUSR1) == 1;
}

std::string family_name(const testing::TestParamInfo<int>& info) { return info.param == AF_INET ? "ipv4" : "ipv6"; }

}  // namespace skua::test
