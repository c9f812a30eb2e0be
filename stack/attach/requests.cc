// What a process may ask for.
#include <fmt/format.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "attach/server.hh"
#include "base/own_descriptor.hh"

namespace skua::attach {

namespace {

constexpr int so_passrights = 83;  // of <asm/socket.h> from 6.16 on

/// The kernel's number of a socket, never given twice; nothing: not a socket. Unlike fstat(2), which a file system in
/// user space answers when it likes.
std::optional<std::uint64_t> cookie_of(int fd) {
    std::uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) != 0) return {};
    return cookie;
}

/// The name by which who receives the descriptor knows it for ours.
bool name_bell(int bell, std::uint64_t id) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::string text = fmt::format("{}{}/{}", descriptor_name, getpid(), id);
    std::memcpy(name.sun_path + 1, text.data(), text.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
    return bind(bell, reinterpret_cast<const sockaddr*>(&name), size) == 0;
}

/// `name`: bytes of a sockaddr at the front of the body.
result<socket::udp_socket::destination> prepare_to_send(attached_socket& s, std::uint32_t name,
                                                        std::span<const std::byte> body) {
    if (name > body.size()) return fail(EINVAL);
    chosen_source chosen;
    if (const auto rest = body.subspan(name); rest.size() == sizeof chosen)
        std::memcpy(static_cast<void*>(&chosen), rest.data(), sizeof chosen);
    const auto* const to = name == 0 ? nullptr : reinterpret_cast<const sockaddr*>(body.data());
    return s.socket().prepare_to_send(to, name, {.source = chosen.source, .ifindex = chosen.ifindex});
}

}  // namespace

void server::handle(session& s, message& m, const request_header& h, std::span<const std::byte> body, answer& out) {
    switch (h.what) {
        case request::hello:
            out.put(hello_reply{stack_.shard_count(), incarnation()});
            out.descriptors = {s.announcements_memory()};
            return;
        case request::socket: return make_socket(s, h, out);
        case request::open: return open_socket(s, m, out);
        case request::settle: return;  // answered when there is nothing left to wait for
        default: break;
    }
    holding* const of = s.find(h.socket);
    if (of == nullptr) {
        out.error = EBADF;
        return;
    }
    handle(*of, h, body, out);
    if (out.error == 0 || (h.what == request::shutdown && out.error == ENOTCONN)) note(*of, h, body);
    if (out.error == EACCES || out.error == EPERM) counts_.add(event::refused_privilege);
}

void server::handle(holding& of, const request_header& h, std::span<const std::byte> body, answer& out) {
    attached_socket& a = *of.socket;
    const auto* const address = reinterpret_cast<const sockaddr*>(body.data());
    const auto length = static_cast<socklen_t>(body.size());
    sockaddr_storage name{};
    socklen_t room = sizeof name;
    switch (h.what) {
        case request::bind: out.set(a.socket().bind(address, length)); break;
        case request::connect: out.set(a.socket().connect(address, length)); break;
        case request::local_name:
        case request::remote_name: {
            auto* const to = reinterpret_cast<sockaddr*>(&name);
            out.set(h.what == request::local_name ? a.socket().getsockname(to, &room)
                                                  : a.socket().getpeername(to, &room));
            const auto bytes = bytes_of(name);
            if (out.error == 0) out.body.assign(bytes.begin(), bytes.begin() + room);
            return;
        }
        case request::set_option: set_option(of, h, body, out); break;
        case request::get_option: {
            out.body.resize(std::min<std::size_t>(static_cast<std::uint32_t>(h.words[2]), 256));
            auto given = static_cast<socklen_t>(out.body.size());
            out.set(a.socket().getsockopt(h.words[0], h.words[1], out.body.data(), &given));
            out.body.resize(out.error == 0 ? given : 0);
            return;
        }
        case request::shutdown:
            out.set(a.socket().shutdown(h.words[0]));
            // It takes effect on sockets without a peer too, though it then says ENOTCONN.
            if (out.error == 0 || out.error == ENOTCONN) a.shut(static_cast<std::uint32_t>(h.words[0]) + 1);
            return;
        case request::destination: {
            const std::uint32_t changes = a.changes();
            const auto to = prepare_to_send(a, static_cast<std::uint32_t>(h.words[0]), body);
            a.note_bound();
            out.error = to ? 0 : to.error().code;
            if (to) out.put(destination_reply{to->longest, changes, to->alike, 0});
            return;
        }
        case request::remind: return a.remind();
        default: out.error = EOPNOTSUPP; return;
    }
    a.changed();
}

socket::credentials server::credentials_of(uid_t user) const {
    const auto allowed = limits_.allowed.find(user);
    return {user, allowed == limits_.allowed.end() ? nullptr : allowed->second};
}

void server::make_socket(session& s, const request_header& h, answer& out) {
    account& held = accounts_[s.user()];
    const auto refuse = [&](int error, event why) {
        held.refused++;
        counts_.add(why);
        out.error = error;
    };
    if (held.sockets >= limits_.per_user.sockets) return refuse(ENFILE, event::refused_sockets);
    auto made = socket::udp_socket::create(stack_, h.words[0], h.words[1], h.words[2], credentials_of(s.user()));
    if (!made) {
        out.error = made.error().code;
        return;
    }
    const auto& most = stack_.socket_limits();
    const auto receive = 2 * static_cast<std::uint32_t>(most.rmem_max);
    const auto send = 2 * static_cast<std::uint32_t>(most.wmem_max);
    auto memory = region::make("skua-socket", attached_socket::region_size(receive, send));
    int ends[2] = {-1, -1};
    if (!memory || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        out.error = memory ? errno : memory.error().code;
        return;
    }
    out.given = ends[1];
    attached_socket::lay_out(*memory, receive, send);
    const auto rings = attached_socket::layout_of(*memory);
    const int bell = out_of_the_way(ends[0]);
    const std::uint64_t id = ++last_id_;
    auto of = std::make_unique<holding>();
    of->socket = std::make_unique<attached_socket>(id, h.words[0], std::move(*made), std::move(*memory), rings, bell);
    of->user = s.user();
    // What fails from here on ends like a socket that is closed.
    of->until = now_;
    const auto cookie = cookie_of(ends[1]);
    if (!cookie || !name_bell(bell, id)) {
        out.error = errno;
        leaving_.push_back(std::move(of));
        return;
    }
    of->cookie = *cookie;
    if (!take_memory(*of)) {
        refuse(ENOBUFS, event::refused_memory);
        leaving_.push_back(std::move(of));
        return;
    }
    held.sockets++;
    by_cookie_[*cookie] = id;
    // Each change once: after shutdown(2) of both ways the bell hangs up for as long as it lives.
    watch(bell_bit | id, bell, EPOLLRDHUP | EPOLLET);
    const int least = 0;  // two bytes that nobody reads make the program's end unwritable
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    // A shard reads the bell: it shall not have to close what came with a byte (Linux from 6.16 on).
    setsockopt(bell, SOL_SOCKET, so_passrights, &least, sizeof least);
    counts_.add(event::sockets_opened);
    holding& added = *sockets_.emplace(id, std::move(of)).first->second;
    keep(added, h, rings);
    added.socket->begin_serving(incarnation());
    reply_socket(s, added, out);
    if (out.error == 0) return;
    close(std::exchange(out.given, -1));  // its bell ends the socket
}

void server::open_socket(session& s, message& m, answer& out) {
    // Who has the descriptor may use the socket; a name could be forged in another network namespace.
    const auto cookie = m.descriptors.size() == 1 ? cookie_of(m.descriptors[0]) : std::nullopt;
    const auto known = cookie ? by_cookie_.find(*cookie) : by_cookie_.end();
    if (known == by_cookie_.end()) {
        out.error = EBADF;
        return;
    }
    close(m.take(0));  // of our own making: nothing that could wait
    reply_socket(s, *sockets_.at(known->second), out);
}

void server::reply_socket(session& s, holding& of, answer& out) {
    const auto number = s.add(of);
    if (!number) {
        out.error = number.error().code;
        return;
    }
    out.put(socket_reply{of.socket->id(), *number, 0});
    out.descriptors = {of.socket->memory()};
}

/// Charges what the socket's buffers may hold now. False, and nothing is changed: the user has no more.
bool server::take_memory(holding& of) {
    account& a = accounts_[of.user];
    const std::uint64_t wanted = of.socket->memory_in_use();
    if (wanted > of.memory && a.memory - of.memory + wanted > limits_.per_user.memory) return false;
    a.memory = a.memory - of.memory + wanted;
    of.memory = wanted;
    return true;
}

void server::set_option(holding& of, const request_header& h, std::span<const std::byte> body, answer& out) {
    attached_socket& s = *of.socket;
    const int level = h.words[0], name = h.words[1];
    // Values with addresses or descriptors in them mean something in the other process only: programs come whole.
    if (level == SOL_SOCKET && name == SO_ATTACH_REUSEPORT_CBPF) {
        if (body.size() % sizeof(sock_filter) != 0 || body.size() / sizeof(sock_filter) > UINT16_MAX) {
            out.error = EINVAL;
            return;
        }
        std::vector<sock_filter> program(body.size() / sizeof(sock_filter));
        if (!program.empty()) std::memcpy(program.data(), body.data(), body.size());
        const sock_fprog whole{static_cast<unsigned short>(program.size()), program.data()};
        return out.set(s.socket().setsockopt(level, name, &whole, sizeof whole));
    }
    if (level == SOL_SOCKET && name == SO_ATTACH_REUSEPORT_EBPF && body.size() == sizeof(int)) {
        out.error = EINVAL;
        return;
    }
    const std::int32_t receive = s.socket().receive_buffer(), send = s.socket().send_buffer();
    out.set(s.socket().setsockopt(level, name, body.data(), static_cast<socklen_t>(body.size())));
    if (out.error != 0 || level != SOL_SOCKET || take_memory(of)) return;
    // The buffers are what they were: the option halves what it is told back.
    const int before[] = {receive / 2, send / 2};
    for (const auto& [option, value] : {std::pair(SO_RCVBUF, &before[0]), std::pair(SO_SNDBUF, &before[1]),
                                        std::pair(SO_RCVBUFFORCE, &before[0]), std::pair(SO_SNDBUFFORCE, &before[1])})
        (void)s.socket().setsockopt(SOL_SOCKET, option, value, sizeof *value);
    accounts_[of.user].refused++;
    counts_.add(event::refused_memory);
    out.error = ENOBUFS;
}

}  // namespace skua::attach
