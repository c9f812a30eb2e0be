// The rounds of the server: one epoll set of the listener, the sessions and the bells of the sockets.
#include "attach/server.hh"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "base/own_descriptor.hh"

namespace skua::attach {

namespace {

using namespace std::chrono_literals;

constexpr int backlog = 128;
constexpr std::size_t events_at_once = 1024;
constexpr unsigned user_in_round = 16;  // requests of one user
constexpr auto between_rounds = 50us;   // while something is to happen soon
constexpr unsigned quick_rounds = 8;    // before it sleeps between them: shards turn in less
constexpr auto drain_time = 100ms;      // what was written before a close leaves within microseconds
constexpr auto settle_patience = 20ms;
constexpr auto without_descriptors = 100ms;
constexpr auto between_sweeps = 1s;
constexpr int reads_at_end = 16;

}  // namespace

limits limits_of(const control::attach_config& c) {
    limits l;
    l.per_user = {c.sessions_per_user, c.sockets_per_user, std::uint64_t{c.memory_per_user} << 20,
                  c.requests_per_second};
    std::map<uid_t, socket::port_list> lists;
    for (const auto& a : c.allow)
        for (const auto& p : a.ports) lists[*control::user_id(a.user)].emplace_back(p.first, p.last);
    for (auto& [user, ports] : lists)
        l.allowed.emplace(user, std::make_shared<const socket::port_list>(std::move(ports)));
    return l;
}

server_options options_of(const control::attach_config& c) {
    server_options o{c.path, c.mode, {}, {}, limits_of(c)};
    if (!c.owner.empty()) o.owner = control::user_id(c.owner);
    if (!c.group.empty()) o.group = control::group_id(c.group);
    return o;
}

tl::expected<std::unique_ptr<server>, std::string> server::make(control::stack& s, server_options o,
                                                                std::vector<kept> left) {
    std::unique_ptr<server> made(new server(s, std::move(o)));
    if (std::string why = made->listen(); !why.empty()) return tl::unexpected(why);
    if (std::string why = made->restore(std::move(left)); !why.empty()) return tl::unexpected(why);
    for (unsigned i = 0; i < s.shard_count(); i++) {
        made->agents_.push_back(std::make_unique<agent>(made->polled_));
        s.shard_at(i).set_guest(made->agents_.back().get());
    }
    return made;
}

tl::expected<std::unique_ptr<server>, std::string> server::start(control::stack& s, server_options o,
                                                                 std::vector<kept> left) {
    auto made = make(s, std::move(o), std::move(left));
    if (made)
        (*made)->thread_ = std::thread([p = made->get()] {
            while (!p->stopping_) p->turn(100ms);
        });
    return made;
}

server::server(control::stack& s, server_options o)
    : stack_(s), options_(std::move(o)), limits_(options_.limits), events_(events_at_once) {
    polled_ = new polled;
}

server::~server() {
    stopping_ = true;
    if (thread_.joinable()) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = write(stop_, &one, sizeof one);
        thread_.join();
    }
    if (bound_) unlink(options_.path.c_str());
    if (sockets_.empty()) forget_ledger();
    for (unsigned i = 0; i < agents_.size(); i++) stack_.shard_at(i).set_guest(nullptr);
    for (auto& [id, h] : sockets_) h->socket->close_socket();
    for (auto& h : leaving_) h->socket->close_socket();
    for (auto& [control, s] : sessions_) close(control);
    delete polled_.load();
    for (const int fd : {listener_, poll_, stop_})
        if (fd >= 0) close(fd);
}

std::string server::make_sets() {
    listener_ = out_of_the_way(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    poll_ = out_of_the_way(epoll_create1(EPOLL_CLOEXEC));
    stop_ = out_of_the_way(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (listener_ < 0 || poll_ < 0 || stop_ < 0) return "descriptors";
    return {};
}

std::string server::set_access() {
    if (chmod(options_.path.c_str(), options_.mode) != 0) return "mode";
    const auto none = static_cast<uid_t>(-1);
    if (chown(options_.path.c_str(), options_.owner.value_or(none), options_.group.value_or(none)) != 0)
        return "owner and group";
    return {};
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
    if (const auto why = make_sets(); !why.empty()) return failed(why);
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
    // Nobody may attach before the owner and the mode are what they shall be.
    const mode_t before = umask(0777);
    const bool bound = bind(listener_, name, sizeof at) == 0;
    umask(before);
    if (!bound) return failed("bind");
    bound_ = true;
    if (const auto why = set_access(); !why.empty()) return failed(why);
    if (::listen(listener_, backlog) != 0) return failed("listen");
    watch(static_cast<std::uint64_t>(listener_), listener_, EPOLLIN);
    watch(static_cast<std::uint64_t>(stop_), stop_, EPOLLIN);
    return {};
}

bool server::watch(std::uint64_t what, int fd, std::uint32_t events) {
    epoll_event e{};
    e.events = events;
    e.data.u64 = what;
    return epoll_ctl(poll_, EPOLL_CTL_ADD, fd, &e) == 0;
}

void server::set_limits(limits l) {
    const std::lock_guard hold(lock_);
    limits_ = std::move(l);
}

report server::look() const {
    const std::lock_guard hold(lock_);
    report r;
    r.sockets = sockets_.size();
    r.leaving = leaving_.size() + dying_.size();
    for (const auto& [user, a] : accounts_) {
        r.users.push_back({user, a});
        r.memory += a.memory;
    }
    for (const auto& [control, s] : sessions_) r.sessions.push_back({s->process(), s->user(), s->size()});
    return r;
}

int server::wait(std::chrono::milliseconds longest) {
    const bool soon = !leaving_.empty() || !postponed_.empty() || !dying_.empty() || !tended_.empty();
    if (soon) longest = 0ms;
    else if (!waiting_.empty()) longest = std::min(longest, 1ms);
    const int n =
        epoll_wait(poll_, events_.data(), static_cast<int>(events_.size()), static_cast<int>(longest.count()));
    if (n > 0 || !soon) empty_rounds_ = 0;
    else if (++empty_rounds_ <= quick_rounds) std::this_thread::yield();
    else std::this_thread::sleep_for(between_rounds);
    return n;
}

void server::turn(std::chrono::milliseconds longest) {
    const int n = wait(longest);
    const std::lock_guard hold(lock_);
    now_ = clock::now();
    round_++;
    // What was closed before something else was asked for is gone soon: a port may be wanted again.
    for (int i = 0; i < n; i++)
        if (events_[i].data.u64 & bell_bit) close_socket(events_[i].data.u64 & ~bell_bit);
    for (int i = 0; i < n; i++) {
        const std::uint64_t what = events_[i].data.u64;
        if (what == static_cast<std::uint64_t>(listener_)) accept_one();
        else if (what != static_cast<std::uint64_t>(stop_) && !(what & bell_bit)) serve(static_cast<int>(what));
    }
    let_go();
    answer_postponed();
    resume_waiting();
    if (listen_again_ != clock::time_point{} && now_ >= listen_again_) {
        listen_again_ = {};
        watch(static_cast<std::uint64_t>(listener_), listener_, EPOLLIN);
    }
    if (now_ >= next_sweep_) forget_idle_users();
    if (network_changed_.exchange(false))
        for (auto& [id, h] : sockets_) h->socket->changed();
}

/// Whether a request of a user may be answered now. If not, it stays where it is, and is met again in a later round.
bool server::admit(uid_t user, int control) {
    account& a = accounts_[user];
    if (a.round != round_) a.round = round_, a.served = 0;
    if (a.served == user_in_round) return false;
    if (!a.ask(now_, limits_.per_user.requests_per_second)) {
        epoll_ctl(poll_, EPOLL_CTL_DEL, control, nullptr);
        waiting_[user].push_back(control);
        a.delayed++;
        counts_.add(event::requests_delayed);
        return false;
    }
    a.served++;
    counts_.add(event::requests);
    return true;
}

/// In the order in which they came to wait, a few at a time.
void server::resume_waiting() {
    for (auto u = waiting_.begin(); u != waiting_.end();) {
        auto& [user, all] = *u;
        unsigned allowed = accounts_[user].allowed(now_, limits_.per_user.requests_per_second);
        for (allowed = std::min(allowed, user_in_round); allowed != 0 && !all.empty(); allowed--) {
            watch(static_cast<std::uint64_t>(all.front()), all.front(), EPOLLIN);
            all.pop_front();
        }
        u = all.empty() ? waiting_.erase(u) : std::next(u);
    }
}

void server::forget_idle_users() {
    next_sweep_ = now_ + between_sweeps;
    std::erase_if(accounts_, [&](const auto& a) {
        return a.second.idle() && a.second.full(now_, limits_.per_user.requests_per_second) &&
               !waiting_.contains(a.first);
    });
}

/// The shards' lists anew.
void server::publish() {
    auto fresh = std::make_unique<polled>();
    fresh->number = ++pictures_;
    for (auto& [control, s] : sessions_) fresh->sessions.push_back(s.get());
    for (auto& h : leaving_)
        if (!h->hidden) fresh->tended.push_back(h->socket.get());
    for (auto& [id, until] : tended_) fresh->tended.push_back(sockets_.at(id)->socket.get());
    stack_.rcu().retire(std::unique_ptr<const polled>(polled_.exchange(fresh.release())));
}

void server::accept_one() {
    const int control = out_of_the_way(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (control < 0) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) return;
        epoll_ctl(poll_, EPOLL_CTL_DEL, listener_, nullptr);
        listen_again_ = now_ + without_descriptors;
        return;
    }
    // Room for a few answers: who does not read them has no more of them in flight.
    const int least = 1;
    setsockopt(control, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    ucred who{};
    socklen_t length = sizeof who;
    if (getsockopt(control, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0) return undertaker_.bury(who.uid, control);
    account& a = accounts_[who.uid];
    auto made = a.sessions < limits_.per_user.sessions ? session::make(control, who.pid, who.uid, stack_.shard_count())
                                                       : result<std::unique_ptr<session>>(fail(ENFILE));
    if (!made) {
        answer out;
        out.error = made.error().code;
        a.refused++;
        counts_.add(event::refused_sessions);
        reply(control, out);
        return undertaker_.bury(who.uid, control);
    }
    a.sessions++;
    sessions_.emplace(control, std::move(*made));
    watch(static_cast<std::uint64_t>(control), control, EPOLLIN);
    counts_.add(event::sessions_begun);
    publish();
}

void server::bury_descriptors(uid_t user, message& m) {
    for (std::size_t i = 0; i < m.descriptors.size(); i++)
        if (const int fd = m.take(i); fd >= 0) undertaker_.bury(user, fd);
}

void server::end_session(int control, bool for_garbage) {
    const auto found = sessions_.find(control);
    epoll_ctl(poll_, EPOLL_CTL_DEL, control, nullptr);
    std::unique_ptr<session> gone = std::move(found->second);
    sessions_.erase(found);
    accounts_[gone->user()].sessions--;
    gone->remove_all([this](holding& h) { tend_shared(h); });
    publish();
    counts_.add(event::sessions_ended);
    if (for_garbage) counts_.add(event::sessions_garbage);
    // What it had still asked is closed with it, descriptors and all.
    bool empty = false;
    for (int i = 0; i < reads_at_end && !empty; i++) {
        message left;
        const auto got = receive_message(control, left, MSG_DONTWAIT);
        empty = !got && got.error().code == ECONNRESET && i != 0;
        bury_descriptors(gone->user(), left);
    }
    if (empty) close(control);
    else undertaker_.bury(gone->user(), control);
    dying_.push_back({stack_.rcu().start(), std::move(gone), {}});
}

void server::serve(int control) {
    const auto found = sessions_.find(control);
    if (found == sessions_.end() || !admit(found->second->user(), control)) return;
    session& s = *found->second;
    message m;
    const auto got = receive_message(control, m, MSG_DONTWAIT);
    if (!got && got.error().code == EAGAIN) return;
    request_header h;
    // Who does not keep to the protocol is gone: half a message, another version, more or less than it says.
    bool sound = got && m.bytes.size() >= sizeof h;
    if (sound) {
        std::memcpy(&h, m.bytes.data(), sizeof h);
        sound = h.version == protocol_version && h.length == m.bytes.size() - sizeof h &&
                (m.descriptors.empty() || h.what == request::open);
    }
    if (!sound) {
        const bool left = !got && got.error().code == ECONNRESET;
        bury_descriptors(s.user(), m);
        return end_session(control, !left);
    }
    const auto body = std::span<const std::byte>(m.bytes).subspan(sizeof h);
    answer out;
    handle(s, m, h, body, out);
    bury_descriptors(s.user(), m);
    if (h.what == request::settle || (h.what == request::bind && out.error == EADDRINUSE)) {
        epoll_ctl(poll_, EPOLL_CTL_DEL, control, nullptr);
        postponed_.push_back({control, h, {body.begin(), body.end()}, round_, now_ + settle_patience});
        return;
    }
    reply(control, out);
}

void server::reply(int control, answer& out) {
    const reply_header head{out.error, static_cast<std::uint32_t>(out.body.size())};
    auto sent = send_message(control, bytes_of(head), out.body, out.descriptors, MSG_DONTWAIT);
    if (out.given >= 0) {
        if (sent && out.error == 0)
            sent = send_message(control, bytes_of(reply_header{}), {}, std::span(&out.given, 1), MSG_DONTWAIT);
        close(out.given);
    }
    // One answer for each question: who lets them pile up does not read.
    if (!sent && sessions_.contains(control)) end_session(control, sent.error().code == EAGAIN);
}

/// What was closed before is gone, and has left its port, when everything has that was closed at the time.
void server::answer_postponed() {
    for (std::size_t i = 0; i < postponed_.size();) {
        postponed& p = postponed_[i];
        const bool settled = round_ >= p.round + 2 && leaving_.empty();
        if (!settled && now_ < p.until) {
            i++;
            continue;
        }
        const postponed due = std::move(p);
        postponed_[i] = std::move(postponed_.back());
        postponed_.pop_back();
        message none;
        answer out;
        watch(static_cast<std::uint64_t>(due.control), due.control, EPOLLIN);
        handle(*sessions_.at(due.control), none, due.header, due.body, out);
        reply(due.control, out);
    }
}

/// The last descriptor of a socket is closed, wherever it was. What was written before may still leave.
void server::close_socket(std::uint64_t id) {
    const auto found = sockets_.find(id);
    if (found == sockets_.end() || !found->second->socket->abandoned()) return;
    std::unique_ptr<holding> gone = std::move(found->second);
    sockets_.erase(found);
    epoll_ctl(poll_, EPOLL_CTL_DEL, gone->socket->bell(), nullptr);
    by_cookie_.erase(gone->cookie);
    tended_.erase(id);
    no_longer_keep(id);
    account& a = accounts_[gone->user];
    a.sockets--;
    a.memory -= gone->memory;
    gone->until = now_ + drain_time;
    leaving_.push_back(std::move(gone));
}

/// What the process has written, and nobody announces any more, leaves all the same, and the other holders of its
/// sockets do not take it for announced.
void server::tend_shared(holding& h) {
    const std::uint64_t id = h.socket->id();
    h.socket->announced();
    if (sockets_.contains(id) && !h.socket->drained()) tended_[id] = now_ + drain_time;
}

/// Sockets without a descriptor: what was written leaves, no shard sees them any more, they close, and when no shard is
/// inside any more they end. Mostly within a few turns of the shards; where one does not turn, later.
void server::let_go() {
    bool changed = std::erase_if(tended_, [&](const auto& t) {
                       return now_ >= t.second || sockets_.at(t.first)->socket->drained();
                   }) != 0;
    std::vector<holding*> hidden;
    for (auto& h : leaving_) {
        changed |= !std::exchange(h->tended, true);
        if (h->hidden || (!h->socket->drained() && now_ < h->until)) continue;
        for (auto openers = h->openers; session * s : openers) s->remove(*h);
        h->hidden = true;
        hidden.push_back(h.get());
    }
    if (changed || !hidden.empty()) publish();
    for (holding* h : hidden) h->hidden_at = stack_.rcu().start();
    std::erase_if(leaving_, [&](auto& h) {
        if (!h->hidden || !stack_.rcu().passed(h->hidden_at)) return false;
        h->socket->close_socket();
        dying_.push_back({stack_.rcu().start(), {}, std::move(h)});
        return true;
    });
    while (!dying_.empty() && stack_.rcu().passed(dying_.front().token)) {
        // A region is given back page by page, which takes as long as its holders have written to it.
        if (holding* const h = dying_.front().socket.release()) undertaker_.bury(h->user, [h] { delete h; });
        dying_.pop_front();
    }
}

}  // namespace skua::attach
