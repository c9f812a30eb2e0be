// Deciding, and putting a kernel's socket in place of the daemon's.
#include "client/preload/placement.hh"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/own_descriptor.hh"
#include "client/descriptors.hh"
#include "client/own_numbers.hh"
#include "client/undisturbed.hh"
#include "skua/skua.h"
#include "socket/sockaddr.hh"

namespace skua::client {

namespace {

constexpr const char* default_path = "/run/skua/attach";

void write_line(int fd, const std::string& text) {
    const int before = errno;
    [[maybe_unused]] const auto written = write(fd, text.data(), text.size());
    errno = before;
}

[[noreturn]] void refuse(const std::string& why) {
    write_line(STDERR_FILENO, "skua: " + why + "\n");
    _exit(127);  // as a shell does for what it cannot run
}

std::string contents(const char* path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    std::string text;
    char part[4096];
    ssize_t n = -1;
    while (fd >= 0 && (n = read(fd, part, sizeof part)) > 0) text.append(part, static_cast<std::size_t>(n));
    if (n < 0) refuse(fmt::format("rules {}: {}", path, std::strerror(errno)));
    close(fd);
    return text;
}

std::string name_of_program() {
    char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    const std::string_view whole(path, n > 0 ? static_cast<std::size_t>(n) : 0);
    return n > 0 ? std::string(whole.substr(whole.rfind('/') + 1)) : std::string(program_invocation_short_name);
}

int open_log(const char* where) {
    if (std::strcmp(where, "stderr") == 0) return STDERR_FILENO;
    const int fd = out_of_the_way(open(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    if (fd < 0) refuse(fmt::format("log {}: {}", where, std::strerror(errno)));
    own_numbers::add(fd);
    return fd;
}

bool is_udp(int domain, int type, int protocol) {
    return (domain == AF_INET || domain == AF_INET6) && (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_DGRAM &&
           (protocol == 0 || protocol == IPPROTO_UDP);
}

/// No answer of the daemon's: there is none, or none that we may talk to.
bool means_no_daemon(int error) {
    for (const int e : {ENOENT, ECONNREFUSED, EACCES, ECONNRESET, EPROTO, ENOTDIR, EPROTOTYPE, EAGAIN, EPIPE, ENOTSOCK})
        if (error == e) return true;
    return false;
}

std::string family_name(int domain) { return domain == AF_INET ? "IPv4" : "IPv6"; }

}  // namespace

placement& placement::instance() {
    static placement* const one = new placement;  // of use to the last call of a process
    return *one;
}

placement::placement() : program_(name_of_program()) {
    if (const char* const path = std::getenv("SKUA_RULES"); path && *path) {
        auto read = rules::parse(contents(path));
        if (!read) refuse(fmt::format("rules {}: {}", path, read.error()));
        rules_ = std::move(*read);
    }
    if (const char* const where = std::getenv("SKUA_LOG"); where && *where) log_ = open_log(where);
    if (const char* const what = std::getenv("SKUA_FALLBACK"); what && *what) {
        fall_back_ = std::strcmp(what, "kernel") == 0;
        if (!fall_back_ && std::strcmp(what, "error") != 0)
            refuse(fmt::format("SKUA_FALLBACK: found \"{}\", expected \"kernel\" or \"error\"", what));
    }
    pthread_atfork([] { instance().lock_.lock(); }, [] { instance().lock_.unlock(); },
                   [] { instance().lock_.unlock(); });
}

void placement::say(int fd, const std::string& where) const {
    if (log_ >= 0) write_line(log_, fmt::format("skua: {}[{}] socket {}: {}\n", program_, getpid(), fd, where));
}

int placement::of_kernel(int domain, int type, int protocol, const std::string& why) {
    const int fd = ::socket(domain, type, protocol);
    if (fd < 0) return fd;
    descriptors::instance().remove(fd);
    say(fd, fmt::format("kernel ({})", why));
    return fd;
}

int placement::make(int domain, int type, int protocol) {
    if (!is_udp(domain, type, protocol))
        return of_kernel(domain, type, protocol,
                         log_ < 0 ? "" : fmt::format("no UDP: family {}, type {}, protocol {}", domain,
                                                     type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), protocol));
    const auto decided = rules_.decide(program_);
    if (decided && decided->to == rules::where::kernel) return of_kernel(domain, type, protocol, decided->why);
    const int fd = skua_socket(domain, type, protocol);
    if (fd < 0) return means_no_daemon(errno) ? without_daemon(domain, type, protocol, errno) : fd;
    if (decided) {
        say(fd, fmt::format("skua, {} ({})", family_name(domain), decided->why));
        return fd;
    }
    const undisturbed calm;
    const std::lock_guard hold(lock_);
    // What is left of one that was closed before it was decided goes with the memory that is used again.
    undecided_[&*descriptors::instance().find(fd)] = {domain, {}};
    waiting_ = undecided_.size();
    return fd;
}

int placement::without_daemon(int domain, int type, int protocol, int error) {
    const char* const path = std::getenv("SKUA_ATTACH");
    if (!complained_.exchange(true))
        write_line(STDERR_FILENO, fmt::format("skua: {}[{}]: no daemon at {}: {}; {}\n", program_, getpid(),
                                              path ? path : default_path, std::strerror(error),
                                              fall_back_ ? "UDP sockets are the kernel's"
                                                         : "no UDP socket can be had (SKUA_FALLBACK=error)"));
    if (fall_back_) return of_kernel(domain, type, protocol, "no daemon");
    errno = ENETDOWN;
    return -1;
}

bool placement::decide(int fd, rules::when when, const sockaddr* address, socklen_t length) {
    if (waiting_.load(std::memory_order_relaxed) == 0 || address == nullptr) return true;
    const undisturbed calm;
    undecided found;
    {
        const auto s = descriptors::instance().find(fd);
        if (!s) return true;
        const std::lock_guard hold(lock_);
        const auto at = undecided_.find(&*s);
        if (at == undecided_.end()) return true;
        const ip_family family = at->second.domain == AF_INET ? ip_family::v4 : ip_family::v6;
        std::optional<endpoint> e;
        if (when == rules::when::bound) {
            if (const auto bound = socket::address_to_bind(family, address, length)) e = *bound;
        } else if (const auto sent = socket::address_to_send(family, false, address, length)) {
            e = *sent;
        }
        if (!e) return true;  // the call is going to fail, or means no address
        const auto d = rules_.decide(program_, when, *e);
        const auto why = fmt::format("{}, {}; {} {}", d.to == rules::where::skua ? "skua" : "kernel",
                                     family_name(at->second.domain),
                                     when == rules::when::bound ? "bound to" : "to", e->to_string());
        say(fd, fmt::format("{} ({})", why, d.why));
        if (d.to == rules::where::kernel) found = std::move(at->second);
        undecided_.erase(at);
        waiting_ = undecided_.size();
        if (d.to == rules::where::skua) return true;
    }
    return replace(fd, found);
}

bool placement::replace(int fd, const undecided& by) {
    const int status = fcntl(fd, F_GETFL), kept = fcntl(fd, F_GETFD);
    const int fresh = ::socket(by.domain, SOCK_DGRAM | SOCK_CLOEXEC | (status & O_NONBLOCK), 0);
    if (fresh < 0) return false;
    for (const option& o : by.options) {
        sock_fprog program;
        const void* value = o.value.data();
        auto length = static_cast<socklen_t>(o.value.size());
        if (o.level == SOL_SOCKET && (o.name == SO_ATTACH_FILTER || o.name == SO_ATTACH_REUSEPORT_CBPF)) {
            program = {static_cast<unsigned short>(length / sizeof(sock_filter)),
                       const_cast<sock_filter*>(static_cast<const sock_filter*>(value))};
            value = &program;
            length = sizeof program;
        }
        setsockopt(fresh, o.level, o.name, value, length);
    }
    descriptors::instance().remove(fd);
    const int there = dup3(fresh, fd, kept & FD_CLOEXEC ? O_CLOEXEC : 0);
    const int error = errno;
    close(fresh);
    errno = error;
    return there >= 0;
}

void placement::option_set(int fd, int level, int name, const void* value, socklen_t length) {
    if (waiting_.load(std::memory_order_relaxed) == 0) return;
    const auto s = descriptors::instance().find(fd);
    if (!s) return;
    const undisturbed calm;
    const std::lock_guard hold(lock_);
    const auto at = undecided_.find(&*s);
    if (at == undecided_.end()) return;
    const void* from = value;
    std::size_t size = length;
    sock_fprog program;
    if (level == SOL_SOCKET && (name == SO_ATTACH_FILTER || name == SO_ATTACH_REUSEPORT_CBPF) &&
        length == sizeof program) {
        std::memcpy(&program, value, sizeof program);
        from = program.filter;
        size = program.len * sizeof(sock_filter);
    }
    const auto* const bytes = static_cast<const std::byte*>(from);
    at->second.options.push_back({level, name, {bytes, bytes + size}});
}

}  // namespace skua::client
