// The server's thread: one epoll set of the listener, the sessions and the bells of the sockets.
#include "attach/server.hh"

#include <fmt/format.h>
#include <linux/filter.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/own_descriptor.hh"

namespace skua::attach {

namespace {

constexpr int backlog = 128;
constexpr auto drain_time = std::chrono::milliseconds(5);  // a shard's turn takes microseconds
constexpr unsigned unannounced_at_once = 1024;            // datagrams of one socket in a turn
constexpr std::uint64_t bell_bit = 1ull << 63;             // in epoll's data: a socket's id, not a descriptor

bool watch(int set, int fd, std::uint32_t events, std::uint64_t data) {
    epoll_event e{};
    e.events = events;
    e.data.u64 = data;
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) == 0;
}

ino_t inode_of(int fd) {
    struct stat facts {};
    return fstat(fd, &facts) == 0 ? facts.st_ino : 0;
}

}  // namespace

struct server::answer {
    int error = 0;
    std::vector<std::byte> body;
    std::vector<int> descriptors;  // lent: the answer does not close them
    int given = -1;                // sent in a message of its own, and closed
    template <class T>
    void put(const T& value) {
        const auto bytes = bytes_of(value);
        body.insert(body.end(), bytes.begin(), bytes.end());
    }
    void set(const result<void>& done) { error = done ? 0 : done.error().code; }
};

tl::expected<std::unique_ptr<server>, std::string> server::start(control::stack& s, server_options o) {
    std::unique_ptr<server> made(new server(s, std::move(o)));
    if (std::string why = made->listen(); !why.empty()) return tl::unexpected(why);
    for (unsigned i = 0; i < s.shard_count(); i++) {
        made->agents_.push_back(std::make_unique<agent>(*made));
        s.shard_at(i).set_guest(made->agents_.back().get());
    }
    made->thread_ = std::thread([p = made.get()] { p->run(); });
    return made;
}

server::server(control::stack& s, server_options o) : stack_(s), options_(std::move(o)) { polled_ = new polled; }

server::~server() {
    if (thread_.joinable()) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = write(stop_, &one, sizeof one);
        thread_.join();
        unlink(options_.path.c_str());
    }
    for (unsigned i = 0; i < agents_.size(); i++) stack_.shard_at(i).set_guest(nullptr);
    for (auto& [id, h] : sockets_) h.socket->close_socket();
    for (auto& l : leaving_) l.socket->close_socket();
    sessions_.clear();
    delete polled_.load();
    for (const int fd : {listener_, poll_, stop_})
        if (fd >= 0) close(fd);
}

std::string server::listen() {
    const auto failed = [&](std::string_view what) {
        return fmt::format("attach socket {}: {}: {}", options_.path, what, std::strerror(errno));
    };
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    if (options_.path.empty() || options_.path.size() >= sizeof at.sun_path) {
        errno = ENAMETOOLONG;
        return failed("path");
    }
    std::memcpy(at.sun_path, options_.path.c_str(), options_.path.size());
    listener_ = out_of_the_way(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    poll_ = out_of_the_way(epoll_create1(EPOLL_CLOEXEC));
    stop_ = out_of_the_way(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (listener_ < 0 || poll_ < 0 || stop_ < 0) return failed("descriptors");
    const auto* const name = reinterpret_cast<const sockaddr*>(&at);
    // A path that a dead daemon left is taken over; a living one's is not.
    const int probe = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const bool alive = connect(probe, name, sizeof at) == 0;
    close(probe);
    if (alive) {
        errno = EADDRINUSE;
        return failed("a daemon is there");
    }
    unlink(options_.path.c_str());
    if (bind(listener_, name, sizeof at) != 0) return failed("bind");
    if (chmod(options_.path.c_str(), options_.mode) != 0) return failed("mode");
    if (options_.group && chown(options_.path.c_str(), static_cast<uid_t>(-1), *options_.group) != 0)
        return failed("group");
    if (::listen(listener_, backlog) != 0) return failed("listen");
    watch(poll_, listener_, EPOLLIN, static_cast<std::uint64_t>(listener_));
    watch(poll_, stop_, EPOLLIN, static_cast<std::uint64_t>(stop_));
    return {};
}

void server::run() {
    for (;;) {
        epoll_event events[64];
        const int n = epoll_wait(poll_, events, 64, leaving_.empty() && forsaken_.empty() ? 100 : 1);
        // What was closed before something else was asked for is gone by then: a port may be wanted again.
        for (int i = 0; i < n; i++)
            if (events[i].data.u64 & bell_bit) close_socket(events[i].data.u64 & ~bell_bit);
        let_go();
        if (std::erase_if(forsaken_, [](auto& f) { return f.first->drained() || clock::now() >= f.second; }) != 0)
            publish();
        for (int i = 0; i < n; i++) {
            const std::uint64_t what = events[i].data.u64;
            if (what == static_cast<std::uint64_t>(stop_)) return;
            if (what == static_cast<std::uint64_t>(listener_)) accept_one();
            else if (!(what & bell_bit)) serve(static_cast<int>(what));
        }
        if (network_changed_.exchange(false))
            for (auto& [id, h] : sockets_) h.socket->changed();
    }
}

unsigned server::agent::poll(shard::shard& on) {
    unsigned moved = 0;
    const polled& all = *server_.polled_.load(std::memory_order_acquire);
    for (session* s : all.sessions) moved += s->poll(on);
    for (attached_socket* s : all.unannounced)
        if (s->home() == on.index()) moved += s->transmit(on, unannounced_at_once);
    return moved;
}

/// The shards' lists anew.
void server::publish() {
    auto fresh = std::make_unique<polled>();
    for (auto& [fd, s] : sessions_) fresh->sessions.push_back(s.get());
    for (auto& l : leaving_)
        if (!l.hidden) fresh->unannounced.push_back(l.socket.get());
    for (auto& [s, until] : forsaken_) fresh->unannounced.push_back(s);
    stack_.rcu().retire(std::unique_ptr<const polled>(polled_.exchange(fresh.release())));
    sessions_now_ = static_cast<unsigned>(sessions_.size());
}

void server::accept_one() {
    const int control = out_of_the_way(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (control < 0) return;
    ucred who{};
    socklen_t length = sizeof who;
    if (getsockopt(control, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0 ||
        sessions_of_[who.uid] >= options_.sessions_per_user) {
        close(control);
        return;
    }
    auto made = session::make(control, who.uid, stack_.shard_count());
    if (!made) return;
    sessions_of_[who.uid]++;
    sessions_.emplace(control, std::move(*made));
    watch(poll_, control, EPOLLIN, static_cast<std::uint64_t>(control));
    publish();
}

void server::end_session(int control) {
    const auto found = sessions_.find(control);
    if (found == sessions_.end()) return;
    epoll_ctl(poll_, EPOLL_CTL_DEL, control, nullptr);
    std::unique_ptr<session> gone = std::move(found->second);
    sessions_.erase(found);
    forsake(*gone);
    if (--sessions_of_[gone->user()] == 0) sessions_of_.erase(gone->user());
    publish();
    stack_.rcu().retire(std::move(gone));
}

/// What the process has sent, and nobody announces any more, leaves all the same, and the other holders of its sockets
/// do not take it for announced.
void server::forsake(session& ended) {
    for (attached_socket* s : ended.sockets()) {
        s->announced();
        if (!s->drained()) forsaken_.insert_or_assign(s, clock::now() + drain_time);
    }
}

void server::serve(int control) {
    const auto found = sessions_.find(control);
    if (found == sessions_.end()) return;
    auto got = receive_message(control, MSG_DONTWAIT);
    if (!got && got.error().code == EAGAIN) return;
    request_header h;
    // Who does not keep to the protocol is gone: half a message, another version, more or less than it says.
    if (!got || got->bytes.size() < sizeof h) return end_session(control);
    std::memcpy(&h, got->bytes.data(), sizeof h);
    const auto body = std::span<const std::byte>(got->bytes).subspan(sizeof h);
    if (h.version != protocol_version || h.length != body.size()) return end_session(control);
    answer out;
    handle(*found->second, *got, h, body, out);
    const reply_header head{out.error, static_cast<std::uint32_t>(out.body.size())};
    auto sent = send_message(control, bytes_of(head), out.body, out.descriptors, MSG_DONTWAIT);
    if (out.given >= 0) {
        if (sent) sent = send_message(control, bytes_of(reply_header{}), {}, std::span(&out.given, 1), MSG_DONTWAIT);
        close(out.given);
    }
    // One answer for each question: who lets them pile up does not read.
    if (!sent) end_session(control);
}

void server::handle(session& s, message& m, const request_header& h, std::span<const std::byte> body, answer& out) {
    switch (h.what) {
        case request::hello:
            out.put(hello_reply{stack_.shard_count(), 0});
            out.descriptors = {s.announcements_memory()};
            return;
        case request::socket: return make_socket(s, h, out);
        case request::open: return open_socket(s, m, out);
        case request::settle: return;  // run() hears of what was closed first
        default: break;
    }
    attached_socket* const a = s.find(h.socket);
    if (a == nullptr) {
        out.error = EBADF;
        return;
    }
    const auto* const address = reinterpret_cast<const sockaddr*>(body.data());
    const auto length = static_cast<socklen_t>(body.size());
    sockaddr_storage name{};
    socklen_t room = sizeof name;
    switch (h.what) {
        case request::bind: out.set(a->socket().bind(address, length)); break;
        case request::connect: out.set(a->socket().connect(address, length)); break;
        case request::local_name:
        case request::remote_name: {
            auto* const to = reinterpret_cast<sockaddr*>(&name);
            out.set(h.what == request::local_name ? a->socket().getsockname(to, &room)
                                                  : a->socket().getpeername(to, &room));
            const auto bytes = bytes_of(name);
            if (out.error == 0) out.body.assign(bytes.begin(), bytes.begin() + room);
            return;
        }
        case request::set_option: set_option(*a, h, body, out); break;
        case request::get_option: {
            out.body.resize(std::min<std::size_t>(static_cast<std::uint32_t>(h.words[2]), 256));
            auto given = static_cast<socklen_t>(out.body.size());
            out.set(a->socket().getsockopt(h.words[0], h.words[1], out.body.data(), &given));
            out.body.resize(out.error == 0 ? given : 0);
            return;
        }
        case request::shutdown:
            out.set(a->socket().shutdown(h.words[0]));
            // It takes effect on sockets without a peer too, though it then says ENOTCONN.
            if (out.error == 0 || out.error == ENOTCONN) a->shut(static_cast<std::uint32_t>(h.words[0]) + 1);
            return;
        case request::destination: {
            const std::uint32_t changes = a->changes();
            const auto to = a->socket().prepare_to_send(body.empty() ? nullptr : address, length);
            out.error = to ? 0 : to.error().code;
            if (to) out.put(destination_reply{to->longest, changes, to->alike, 0});
            return;
        }
        case request::remind: return a->remind();
        default: out.error = EOPNOTSUPP; return;
    }
    a->changed();
}

void server::make_socket(session& s, const request_header& h, answer& out) {
    unsigned& held = sockets_of_[s.user()];
    if (held >= options_.sockets_per_user) {
        out.error = ENFILE;
        return;
    }
    auto made = socket::udp_socket::create(stack_, h.words[0], h.words[1], h.words[2], {s.user()});
    if (!made) {
        out.error = made.error().code;
        return;
    }
    const auto& limits = stack_.socket_limits();
    const auto receive = 2 * static_cast<std::uint32_t>(limits.rmem_max);
    const auto send = 2 * static_cast<std::uint32_t>(limits.wmem_max);
    auto memory = region::make("skua-socket", attached_socket::region_size(receive, send));
    int ends[2] = {-1, -1};
    if (!memory || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        out.error = memory ? errno : memory.error().code;
        return;
    }
    attached_socket::lay_out(*memory, receive, send);
    const int bell = out_of_the_way(ends[0]);
    const std::uint64_t id = ++last_id_;
    // The name by which who receives the descriptor knows it for ours.
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::string text = fmt::format("{}{}/{}", descriptor_name, getpid(), id);
    std::memcpy(name.sun_path + 1, text.data(), text.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
    if (bind(bell, reinterpret_cast<const sockaddr*>(&name), size) != 0) {
        out.error = errno;
        close(bell);
        close(ends[1]);
        return;
    }
    auto a = std::make_unique<attached_socket>(id, h.words[0], std::move(*made), std::move(*memory), bell);
    attached_socket& socket = *a;
    const ino_t end = inode_of(ends[1]);
    sockets_.emplace(id, holding{std::move(a), s.user(), end});
    by_end_[end] = id;
    held++;
    sockets_now_ = static_cast<unsigned>(sockets_.size());
    // Each change once: after shutdown(2) of both ways the bell hangs up for as long as it lives.
    watch(poll_, bell, EPOLLRDHUP | EPOLLET, bell_bit | id);
    const int least = 0;  // two bytes that nobody reads make the program's end unwritable
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    reply_socket(s, socket, out);
    if (out.error != 0) {
        close(ends[1]);  // its bell ends the socket
        return;
    }
    out.given = ends[1];
}

void server::open_socket(session& s, message& m, answer& out) {
    // Who has the descriptor may use the socket. A name could be forged in another network namespace, an inode cannot.
    const auto known = m.descriptors.size() == 1 ? by_end_.find(inode_of(m.descriptors[0])) : by_end_.end();
    if (known == by_end_.end()) {
        out.error = EBADF;
        return;
    }
    reply_socket(s, *sockets_.at(known->second).socket, out);
}

void server::reply_socket(session& s, attached_socket& a, answer& out) {
    const auto number = s.add(a);
    if (!number) {
        out.error = number.error().code;
        return;
    }
    out.put(socket_reply{a.id(), *number, 0});
    out.descriptors = {a.memory()};
}

void server::set_option(attached_socket& s, const request_header& h, std::span<const std::byte> body, answer& out) {
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
    out.set(s.socket().setsockopt(level, name, body.data(), static_cast<socklen_t>(body.size())));
}

/// The last descriptor of a socket is closed, wherever it was. What was written before may still leave.
void server::close_socket(std::uint64_t id) {
    const auto found = sockets_.find(id);
    if (found == sockets_.end() || !found->second.socket->abandoned()) return;
    holding gone = std::move(found->second);
    epoll_ctl(poll_, EPOLL_CTL_DEL, gone.socket->bell(), nullptr);
    by_end_.erase(gone.end);
    forsaken_.erase(gone.socket.get());
    sockets_.erase(found);
    if (--sockets_of_[gone.user] == 0) sockets_of_.erase(gone.user);
    sockets_now_ = static_cast<unsigned>(sockets_.size());
    leaving_.push_back({std::move(gone.socket), clock::now() + drain_time});
}

/// Sockets without a descriptor: what was written leaves, no shard sees them any more, then they close. Mostly within a
/// few turns of the shards; where one does not turn, later.
void server::let_go() {
    if (leaving_.empty()) return;
    publish();
    const auto patience = clock::now() + drain_time;
    do {
        for (leaving& l : leaving_) {
            if (l.hidden || (!l.socket->drained() && clock::now() < l.until)) continue;
            for (auto& [fd, s] : sessions_) s->remove(*l.socket);
            l.hidden = true;
            publish();
            l.hidden_at = stack_.rcu().start();
        }
        std::erase_if(leaving_, [&](leaving& l) {
            if (!l.hidden || !stack_.rcu().passed(l.hidden_at)) return false;
            l.socket->close_socket();
            stack_.rcu().retire(std::move(l.socket));
            return true;
        });
    } while (!leaving_.empty() && clock::now() < patience);
}

}  // namespace skua::attach
