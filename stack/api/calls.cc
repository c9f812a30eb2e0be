// The C API: descriptors to sockets, results to errno. The only place besides client that sets errno.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "api/running.hh"
#include "control/command_line.hh"
#include "skua/skua.h"
#include "sockfs/socket_file.hh"

namespace skua::api {

namespace {

int failed(int code) {
    errno = code;
    return -1;
}

template <class T>
auto answer(const result<T>& r) {
    using value = std::conditional_t<std::is_same_v<T, std::size_t>, ssize_t, int>;
    if (!r) return static_cast<value>(failed(r.error().code));
    if constexpr (std::is_void_v<T>) return value{0};
    else return static_cast<value>(*r);
}

/// Runs `use` with the open socket behind a descriptor; the file stays open as long as the call lasts.
template <class Use>
auto with(int fd, Use&& use) -> decltype(answer(use(std::declval<sockfs::socket_file&>()))) {
    running* const here = running::current();
    if (here == nullptr) return failed(EBADF);
    const auto f = std::dynamic_pointer_cast<sockfs::socket_file>(here->files().get(fd));
    if (f == nullptr) return failed(EBADF);
    return answer(use(*f));
}

int start_failed(const std::string& why, int code) {
    std::fprintf(stderr, "skua: %s\n", why.c_str());
    return failed(code);
}

}  // namespace

}  // namespace skua::api

using skua::api::answer;
using skua::api::failed;
using skua::api::running;
using skua::api::start_failed;
using skua::api::with;

int skua_start(int argc, char** argv) {
    if (running::current()) return failed(EALREADY);
    skua::control::command_line line("skua");
    const auto config = line.parse(argc, argv);
    if (!config) return failed(EINVAL);
    auto eal = skua::control::start_eal(argc > 0 ? argv[0] : "skua", *config);
    if (!eal) return start_failed(eal.error(), ENODEV);
    if (auto ok = running::start(*config, skua::control::driving::own, std::move(*eal)); !ok)
        return start_failed(ok.error(), ENODEV);
    return argc;
}

int skua_start_library(unsigned shards, const char* configuration) {
    if (running::current()) return failed(EALREADY);
    auto config = skua::control::parse_config(configuration ? configuration : "", "configuration");
    if (!config) return start_failed(skua::control::to_string(config.error()), EINVAL);
    config->stack.shards = shards;
    config->stack.lcores.clear();
    if (const auto problems = skua::control::check(*config); !problems.empty())
        return start_failed(skua::control::to_string(problems), EINVAL);
    try {
        skua::packet::register_meta();
    } catch (const std::exception& e) {
        return start_failed(e.what(), ENOMEM);
    }
    if (auto ok = running::start(*config, skua::control::driving::library); !ok)
        return start_failed(ok.error(), ENOMEM);
    return 0;
}

void skua_stop(void) { running::stop(); }

unsigned skua_shard_input(unsigned shard, rte_mbuf** frames, unsigned n, rte_mbuf** unclaimed) {
    running& r = *running::current();
    return r.stack().shard_at(shard).input(std::span(frames, n), unclaimed, r.stack().now());
}

unsigned skua_shard_output(unsigned shard, rte_mbuf** frames, unsigned max) {
    return running::current()->stack().shard_at(shard).output(std::span(frames, max));
}

unsigned skua_shard_poll(unsigned shard) {
    running& r = *running::current();
    return r.stack().shard_at(shard).poll_once(r.stack().now());
}

int skua_socket(int domain, int type, int protocol) {
    running* const here = running::current();
    if (here == nullptr) return failed(ENETDOWN);
    const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    auto made = skua::socket::udp_socket::create(here->stack(), domain, kind, protocol, {geteuid()});
    if (!made) return failed(made.error().code);
    return answer(here->files().install(
        std::make_shared<skua::sockfs::socket_file>(std::move(*made), (type & SOCK_NONBLOCK) != 0)));
}

int skua_bind(int fd, const sockaddr* address, socklen_t length) {
    return with(fd, [&](auto& f) { return f.socket().bind(address, length); });
}

int skua_connect(int fd, const sockaddr* address, socklen_t length) {
    return with(fd, [&](auto& f) { return f.socket().connect(address, length); });
}

int skua_getsockname(int fd, sockaddr* address, socklen_t* length) {
    return with(fd, [&](auto& f) { return f.socket().getsockname(address, length); });
}

int skua_getpeername(int fd, sockaddr* address, socklen_t* length) {
    return with(fd, [&](auto& f) { return f.socket().getpeername(address, length); });
}

int skua_setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
    return with(fd, [&](auto& f) { return f.socket().setsockopt(level, name, value, length); });
}

int skua_getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
    return with(fd, [&](auto& f) { return f.socket().getsockopt(level, name, value, length); });
}

int skua_shutdown(int fd, int how) {
    return with(fd, [&](auto& f) { return f.socket().shutdown(how); });
}

int skua_close(int fd) {
    running* const here = running::current();
    if (here == nullptr) return failed(EBADF);
    const auto f = here->files().remove(fd);
    return f ? 0 : failed(f.error().code);
}

ssize_t skua_send(int fd, const void* data, size_t length, int flags) {
    return skua_sendto(fd, data, length, flags, nullptr, 0);
}

ssize_t skua_sendto(int fd, const void* data, size_t length, int flags, const sockaddr* to, socklen_t to_length) {
    return with(fd, [&](auto& f) { return f.socket().sendto(data, length, f.call_flags(flags), to, to_length); });
}

ssize_t skua_sendmsg(int fd, const msghdr* message, int flags) {
    return with(fd, [&](auto& f) { return f.socket().sendmsg(*message, f.call_flags(flags)); });
}

ssize_t skua_recv(int fd, void* data, size_t length, int flags) {
    return skua_recvfrom(fd, data, length, flags, nullptr, nullptr);
}

ssize_t skua_recvfrom(int fd, void* data, size_t length, int flags, sockaddr* from, socklen_t* from_length) {
    return with(fd, [&](auto& f) { return f.socket().recvfrom(data, length, f.call_flags(flags), from, from_length); });
}

ssize_t skua_recvmsg(int fd, msghdr* message, int flags) {
    return with(fd, [&](auto& f) { return f.socket().recvmsg(*message, f.call_flags(flags)); });
}

int skua_sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
    return with(fd, [&](auto& f) { return f.socket().sendmmsg(std::span(messages, count), f.call_flags(flags)); });
}

int skua_recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
    return with(fd,
                [&](auto& f) { return f.socket().recvmmsg(std::span(messages, count), f.call_flags(flags), timeout); });
}

uint64_t skua_drops(const char* reason) {
    running* const here = running::current();
    if (here == nullptr) return UINT64_MAX;
    const auto counted = here->telemetry().counters();
    for (const auto& d : skua::drop_reasons)
        if (d.name == reason) return counted[d.reason];
    return UINT64_MAX;
}

uint64_t skua_mib(const char* group, const char* name) {
    running* const here = running::current();
    if (here == nullptr) return UINT64_MAX;
    const auto counted = here->telemetry().counters();
    for (const auto& m : skua::mibs)
        if (m.group == group && m.name == name) return counted[m.id];
    return UINT64_MAX;
}
