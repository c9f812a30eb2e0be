// What outlives the daemon: what is kept of each socket while it is served, and how the next daemon puts it back.
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "attach/server.hh"

namespace skua::attach {

namespace {

constexpr std::string_view ledger_name = "ledger";
constexpr auto after_restore = std::chrono::milliseconds(100);

std::string name_of(std::uint64_t id) { return fmt::format("s{}", id); }

bool is_socket(int fd) {
    struct stat facts {};
    return fstat(fd, &facts) == 0 && S_ISSOCK(facts.st_mode);
}

/// The address that a socket has by a bind that nobody asked for is a port on every address.
void clear_address(sockaddr_storage& name) {
    if (name.ss_family == AF_INET) reinterpret_cast<sockaddr_in&>(name).sin_addr = {};
    else reinterpret_cast<sockaddr_in6&>(name).sin6_addr = {};
}

}  // namespace

/// What the store gave, by name: a socket's bell and its region, which are told apart by what they are.
struct server::left_behind {
    int ledger = -1;
    struct of_socket {
        int bell = -1, memory = -1;
    };
    std::map<std::string, of_socket> sockets;

    explicit left_behind(std::span<kept> all) {
        for (kept& k : all) {
            int& place = k.name == ledger_name ? ledger
                         : is_socket(k.fd)     ? sockets[k.name].bell
                                               : sockets[k.name].memory;
            std::swap(place, k.fd);
            if (k.fd >= 0) close(k.fd);
        }
    }
    ~left_behind() {
        if (ledger >= 0) close(ledger);
        for (auto& [name, s] : sockets)
            for (const int fd : {s.bell, s.memory})
                if (fd >= 0) close(fd);
    }
    left_behind(const left_behind&) = delete;
    left_behind& operator=(const left_behind&) = delete;
};

std::string server::restore(std::vector<kept> left) {
    left_behind found(left);
    if (options_.keeper == nullptr) return {};
    now_ = clock::now();
    if (found.ledger >= 0) {
        // Another version's: what it knew cannot be put back, and its sockets end with their bells.
        if (auto taken = ledger::take_over(std::exchange(found.ledger, -1))) ledger_.emplace(std::move(*taken));
        else options_.keeper->drop(ledger_name);
    }
    if (!ledger_) {
        auto made = ledger::make();
        if (!made) return fmt::format("ledger of sockets: {}", std::strerror(made.error().code));
        ledger_.emplace(std::move(*made));
        const int fd = ledger_->fd();
        options_.keeper->keep(ledger_name, std::span(&fd, 1));
    }
    last_id_ = ledger_->last_id();
    auto entries = ledger_->entries();
    for (const auto& e : entries) put_back(e.of, found);
    tell_again(entries);
    for (auto& [id, h] : sockets_) h->socket->begin_serving(ledger_->incarnation());
    for (const auto& [name, unused] : found.sockets) options_.keeper->drop(name);
    publish();
    return {};
}

/// The socket as it was made; what it was told comes when all are there.
void server::put_back(const ledger::facts& f, left_behind& found) {
    const auto with = found.sockets.find(name_of(f.id));
    const auto give_up = [&] {
        ledger_->remove(f.id);
        counts_.add(event::sockets_lost);
    };
    if (with == found.sockets.end() || with->second.bell < 0 || with->second.memory < 0) return give_up();
    auto memory = region::open(std::exchange(with->second.memory, -1), socket_page::rx_at);
    const attached_socket::layout rings{f.rx_bytes, f.tx_bytes};
    if (!memory || !rings.fits(*memory)) return give_up();
    auto made = socket::udp_socket::create(stack_, f.domain, f.type, f.protocol, credentials_of(f.user));
    if (!made) return give_up();
    const int bell = std::exchange(with->second.bell, -1);
    found.sockets.erase(with);
    auto of = std::make_unique<holding>();
    of->socket = std::make_unique<attached_socket>(f.id, f.domain, std::move(*made), std::move(*memory), rings, bell);
    of->user = f.user;
    of->cookie = f.cookie;
    take_memory(*of);
    accounts_[f.user].sockets++;
    by_cookie_[f.cookie] = f.id;
    watch(bell_bit | f.id, bell, EPOLLRDHUP | EPOLLET);
    // What its holders wrote meanwhile was announced to nobody.
    tended_[f.id] = now_ + after_restore;
    sockets_.emplace(f.id, std::move(of));
    counts_.add(event::sockets_restored);
}

/// In the order in which it was said, whoever it was said to: members of a group come back in the order in which they
/// joined it, and the last word on a group's working generation is the last again.
void server::tell_again(std::vector<ledger::entry>& entries) {
    struct word {
        const ledger::note* what;
        holding* to;
    };
    std::vector<word> words;
    for (const auto& e : entries) {
        const auto of = sockets_.find(e.of.id);
        if (of == sockets_.end()) continue;
        for (const auto& n : e.notes) words.push_back({&n, of->second.get()});
    }
    std::ranges::sort(words, {}, [](const word& w) { return w.what->order; });
    for (const word& w : words) {
        request_header h;
        h.what = w.what->what;
        h.words[0] = w.what->level;
        h.words[1] = w.what->name;
        answer out;
        handle(*w.to, h, w.what->value, out);
        if (out.error != 0 && out.error != ENOTCONN) counts_.add(event::restored_badly);
    }
    for (const word& w : words)
        if (w.what->what == request::bind) w.to->noted_port = w.to->socket->socket().local_endpoint().port;
}

/// From here on the next daemon finds it.
void server::keep(holding& of, const request_header& made_by, const attached_socket::layout& rings) {
    attached_socket& s = *of.socket;
    if (!ledger_) return;
    const int both[] = {s.bell(), s.memory()};
    const ledger::facts f{s.id(),           of.cookie,        of.user,  made_by.words[0],
                          made_by.words[1], made_by.words[2], rings.rx, rings.tx};
    if (!ledger_->add(f) || !options_.keeper->keep(name_of(s.id()), both)) counts_.add(event::not_kept);
}

void server::no_longer_keep(std::uint64_t id) {
    if (!ledger_) return;
    ledger_->remove(id);
    options_.keeper->drop(name_of(id));
}

/// With no socket to put back, the keeper need not wait for another daemon.
void server::forget_ledger() {
    if (ledger_) options_.keeper->drop(ledger_name);
}

/// After a request that was done.
void server::note(holding& of, const request_header& h, std::span<const std::byte> body) {
    if (!ledger_) return;
    const std::uint64_t id = of.socket->id();
    socket::udp_socket& s = of.socket->socket();
    result<void> noted;
    switch (h.what) {
        case request::set_option: noted = ledger_->tell(id, h.what, h.words[0], h.words[1], body); break;
        case request::shutdown: noted = ledger_->tell(id, h.what, h.words[0], 0, {}); break;
        case request::bind:
        case request::connect:
        case request::destination: {
            sockaddr_storage name{};
            socklen_t length = sizeof name;
            if (!s.getsockname(reinterpret_cast<sockaddr*>(&name), &length)) return;
            const std::uint16_t port = s.local_endpoint().port;
            if (port != of.noted_port || h.what == request::bind) {
                if (h.what != request::bind) clear_address(name);
                if (port == 0) ledger_->untell(id, request::bind);
                else noted = ledger_->tell(id, request::bind, 0, 0, bytes_of(name).first(length));
                of.noted_port = port;
            }
            if (h.what != request::connect) break;
            if (s.remote_endpoint()) noted = ledger_->tell(id, h.what, 0, 0, body);
            else ledger_->untell(id, h.what);
            break;
        }
        default: return;
    }
    if (!noted) counts_.add(event::not_kept);
}

}  // namespace skua::attach
