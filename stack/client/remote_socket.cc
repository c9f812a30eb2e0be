// Reading and writing a socket's rings; sleeping where they are empty or full.
#include "client/remote_socket.hh"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/own_descriptor.hh"
#include "client/own_numbers.hh"
#include "socket/sockaddr.hh"
#include "socket/truesize.hh"

namespace skua::client {

namespace {

using attach::record;
using attach::request;
using attach::ring_reader;
using attach::ring_writer;
using attach::socket_page;

/// A lock that its holders share. Who died with it left a ring as it was before or after a record: nothing to mend.
class shared_lock {
public:
    explicit shared_lock(pthread_mutex_t& m) : m_(m) {
        const int how = pthread_mutex_lock(&m_);
        if (how == EOWNERDEAD) pthread_mutex_consistent(&m_);
        held_ = how == 0 || how == EOWNERDEAD;
    }
    ~shared_lock() {
        if (held_) pthread_mutex_unlock(&m_);
    }
    /// False in a signal's handler that came while its thread had the lock: who waited for it would wait for ever.
    explicit operator bool() const { return held_; }
    shared_lock(const shared_lock&) = delete;
    shared_lock& operator=(const shared_lock&) = delete;

private:
    pthread_mutex_t& m_;
    bool held_ = false;
};

std::size_t length_of(const msghdr& m) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < m.msg_iovlen; i++) n += m.msg_iov[i].iov_len;
    return n;
}

ino_t inode_of(int fd) {
    struct stat facts {};
    return fstat(fd, &facts) == 0 ? facts.st_ino : 0;
}

bool never_waits(int fd, int flags) { return flags & MSG_DONTWAIT || fcntl(fd, F_GETFL) & O_NONBLOCK; }

using clock = std::chrono::steady_clock;

/// Of a timeout that is counted from now; -1: never.
clock::time_point end_of(std::int64_t nanoseconds) {
    return nanoseconds < 0 ? clock::time_point::max() : clock::now() + std::chrono::nanoseconds(nanoseconds);
}

/// Counts a sleeper while it lives, also of a thread that is cancelled.
class counted_in {
public:
    explicit counted_in(std::atomic<std::uint32_t>& n) : n_(n) { n_.fetch_add(1, std::memory_order_seq_cst); }
    ~counted_in() { n_.fetch_sub(1, std::memory_order_seq_cst); }
    counted_in(const counted_in&) = delete;
    counted_in& operator=(const counted_in&) = delete;

private:
    std::atomic<std::uint32_t>& n_;
};

/// Here a thread can be cancelled, as in a blocking call of libc, and at any instruction: nothing in this function may
/// be to undo. Its callers' objects are. Returns what errno would be.
[[gnu::noinline]] int sleep_on(std::atomic<std::uint32_t>& word, std::uint32_t seen, const timespec* time) {
    int before = PTHREAD_CANCEL_DEFERRED;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
    const long slept = syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT, seen, time, nullptr, 0);
    const int why = slept == 0 ? 0 : errno;
    pthread_setcanceltype(before, nullptr);
    return why;
}

std::uint32_t scope_of(const ip_address& a, std::uint32_t ifindex) { return socket::needs_scope(a) ? ifindex : 0; }

}  // namespace

result<std::unique_ptr<remote_socket>> remote_socket::from(int fd, connection::socket_region given) {
    const auto& page = *given.memory.as<socket_page>();
    const std::uint64_t room = given.memory.bytes().size() - socket_page::rx_at;
    if (page.magic != attach::page_magic || page.version != attach::protocol_version ||
        !std::has_single_bit(page.rx_bytes) || !std::has_single_bit(page.tx_bytes) || page.rx_bytes > room ||
        page.tx_bytes > room - page.rx_bytes)
        return fail(EPROTO);
    std::unique_ptr<remote_socket> made(new remote_socket(inode_of(fd), std::move(given.memory)));
    made->number_ = given.reply.number;
    made->session_ = given.session;
    return made;
}

remote_socket::remote_socket(ino_t inode, attach::region memory)
    : inode_(inode), region_(std::move(memory)), page_(region_.as<socket_page>()), id_(page_->id) {}

remote_socket::~remote_socket() {
    if (const int fd = own_.load(); fd >= 0) {
        own_numbers::remove(fd);
        close(fd);
    }
}

/// Made when first needed: most descriptors are waited on by their own number, or not at all. The caller's where there
/// is no more room.
int remote_socket::own(int fd) {
    if (const int known = own_.load(std::memory_order_acquire); known >= 0) return known;
    const int made = out_of_the_way(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (made < 0) return fd;
    int none = -1;
    // Another thread may have closed the number, and something else may be there now.
    if (inode_of(made) == inode_ && own_.compare_exchange_strong(none, made)) {
        own_numbers::add(made);
        return made;
    }
    close(made);
    return none >= 0 ? none : fd;
}

/// Makes the socket known to the session of this process: after a fork it is another.
result<void> remote_socket::join(int fd) {
    auto& with = connection::instance();
    const std::uint32_t incarnation = page_->incarnation.load(std::memory_order_acquire);
    if (session_.load(std::memory_order_acquire) == with.session() && with.incarnation() == incarnation) return {};
    with.expect(incarnation);
    attach::request_header h;
    h.what = request::open;
    const auto got = connection::instance().ask_for_socket(h, std::span(&fd, 1));
    if (!got) return fail(got.error().code);
    if (got->reply.id != id_) return fail(EBADF);
    number_.store(got->reply.number);
    session_.store(got->session, std::memory_order_release);
    return {};
}

result<std::vector<std::byte>> remote_socket::call(int fd, request what, std::array<std::int32_t, 3> words,
                                                   std::span<const std::byte> body) {
    attach::request_header h;
    h.what = what;
    h.socket = id_;
    std::copy(words.begin(), words.end(), h.words);
    for (int tries = 1;; tries++) {
        if (auto known = join(fd); !known) return fail(known.error().code);
        auto got = connection::instance().ask(h, body);
        if (got) return std::move(got->bytes);
        const int why = got.error().code;
        // The daemon that went may have bound it before it could say so.
        if (what == request::bind && why == EINVAL && tries > 1) return std::vector<std::byte>();
        if (why != ECONNRESET || tries == connection::most_tries) return fail(why);
    }
}

result<std::uint32_t> remote_socket::longest_to(int fd, const std::optional<endpoint>& to, const msghdr& message,
                                                const socket::send_choice& said) {
    const attach::chosen_source from{said.source, said.ifindex, 0};
    const std::uint32_t changes = page_->changes.load(std::memory_order_acquire);
    {
        // Not waited for: a thread that is not in the child of a fork may have it.
        const std::unique_lock hold(tickets_lock_, std::try_to_lock);
        if (hold)
            if (const auto known = tickets_.find(to, from, changes)) return *known;
    }
    const std::size_t name = to ? message.msg_namelen : 0;
    std::array<std::byte, sizeof(sockaddr_storage) + sizeof from> body;
    if (name > sizeof(sockaddr_storage)) return fail(EINVAL);
    if (name != 0) std::memcpy(body.data(), message.msg_name, name);
    std::memcpy(body.data() + name, &from, sizeof from);
    const auto got = call(fd, request::destination, {static_cast<std::int32_t>(name), 0, 0},
                          std::span(body).first(name + sizeof from));
    if (!got) return fail(got.error().code);
    attach::destination_reply reply;
    if (got->size() != sizeof reply) return fail(EPROTO);
    std::memcpy(&reply, got->data(), sizeof reply);
    if (const std::unique_lock hold(tickets_lock_, std::try_to_lock); hold) tickets_.keep(to, from, reply);
    return reply.longest;
}

result<std::size_t> remote_socket::send(int fd, const msghdr& message, int flags) {
    const ip_family family = domain() == AF_INET ? ip_family::v4 : ip_family::v6;
    std::optional<endpoint> to;
    if (message.msg_name != nullptr && message.msg_namelen != 0) {
        const auto named =
            socket::address_to_send(family, false, static_cast<const sockaddr*>(message.msg_name), message.msg_namelen);
        if (!named) return fail(named.error().code);
        to = *named;
    }
    const std::uint32_t peer = page_->connected.load(std::memory_order_acquire);
    // Linux asks in udp_sendmsg, not in its IPv6 twin.
    if (flags & MSG_OOB && (to ? to->address.is_v4() : peer == 4)) return fail(EOPNOTSUPP);
    if (!to && peer == 0) return fail(EDESTADDRREQ);
    socket::send_choice said;
    if (message.msg_controllen != 0) {
        const auto read = socket::read_control(message, family, to ? to->address.is_v4() : peer == 4);
        if (!read) return fail(read.error().code);
        said = *read;
    }
    const bool more = flags & MSG_MORE || page_->cork.load(std::memory_order_relaxed) != 0;
    if (more || has_parts_.load(std::memory_order_acquire)) return join_parts(fd, message, flags, {to, said}, more);
    const std::size_t length = length_of(message);
    const auto longest = longest_to(fd, to, message, said);
    if (!longest) return fail(longest.error().code);
    if (length > *longest) return fail(EMSGSIZE);
    if (auto sent = send_whole(fd, message, flags, length, {to, said}); !sent) return fail(sent.error().code);
    return length;
}

result<void> remote_socket::send_whole(int fd, const msghdr& message, int flags, std::size_t length,
                                       const direction& way) {
    if (auto known = join(fd); !known) return fail(known.error().code);
    std::optional<clock::time_point> until;
    for (;;) {
        if (const int e = take_error()) return fail(e);
        if (page_->shutdown.load(std::memory_order_acquire) & socket_page::shut_send) return fail(EPIPE);
        const std::uint32_t seen = page_->tx_events.load(std::memory_order_seq_cst);
        const auto done = put(message, length, way.to, way.said);
        if (done) break;
        if (done.error().code == EAGAIN && never_waits(fd, flags)) tell_when_room(fd);
        if (done.error().code != EAGAIN || never_waits(fd, flags)) return fail(done.error().code);
        if (!until) until = end_of(page_->send_timeout.load());
        own(fd);
        const auto room = wait(page_->tx_events, seen, page_->tx_sleepers, *until);
        if (!room) return fail(room.error().code);
    }
    announce(fd);
    return {};
}

/// A datagram of several messages (MSG_MORE, UDP_CORK), of which the first says where it goes.
result<std::size_t> remote_socket::join_parts(int fd, const msghdr& message, int flags, const direction& way,
                                              bool more) {
    const std::size_t length = length_of(message);
    std::unique_ptr<parts> whole;
    {
        // A handler of a signal that came while its thread was here would wait for itself.
        const std::unique_lock hold(parts_lock_, std::try_to_lock);
        if (!hold) return fail(ENOBUFS);
        if (!parts_) {
            const auto longest = longest_to(fd, way.to, message, way.said);
            if (!longest) return fail(longest.error().code);
            parts_ = std::make_unique<parts>(parts{way, *longest, {}});
        }
        const bool fits = parts_->payload.size() + length <= parts_->longest;
        for (std::size_t i = 0; fits && i < message.msg_iovlen; i++) {
            const auto* const from = static_cast<const std::byte*>(message.msg_iov[i].iov_base);
            parts_->payload.insert(parts_->payload.end(), from, from + message.msg_iov[i].iov_len);
        }
        has_parts_.store(fits && more, std::memory_order_release);
        if (fits && more) return length;
        whole = std::move(parts_);
        if (!fits) return fail(EMSGSIZE);
    }
    iovec all{whole->payload.data(), whole->payload.size()};
    msghdr joined{};
    joined.msg_iov = &all;
    joined.msg_iovlen = 1;
    if (auto sent = send_whole(fd, joined, flags, all.iov_len, whole->way); !sent) return fail(sent.error().code);
    return length;
}

result<void> remote_socket::set_cork(int fd, bool on) {
    page_->cork.store(on, std::memory_order_relaxed);
    if (on || !has_parts_.load(std::memory_order_acquire)) return {};
    const msghdr nothing{};
    if (auto sent = join_parts(fd, nothing, 0, {}, false); !sent) return fail(sent.error().code);
    return {};
}

void remote_socket::announce(int fd) {
    auto& with = connection::instance();
    for (int tries = 1;
         page_->tx_announced.exchange(1, std::memory_order_seq_cst) == 0 && tries <= connection::most_tries; tries++) {
        const bool told =
            with.announce(page_->home.load(std::memory_order_relaxed), number_.load(), page_->incarnation);
        // What was told to a daemon that has gone, the next one does not know.
        if (told && page_->incarnation.load(std::memory_order_seq_cst) == with.incarnation()) return;
        page_->tx_announced.store(0, std::memory_order_seq_cst);
        if (!told || !join(fd)) return;
    }
}

result<void> remote_socket::put(const msghdr& message, std::size_t length, const std::optional<endpoint>& to,
                                const socket::send_choice& said) {
    const shared_lock hold(page_->tx_lock);
    if (!hold) return fail(ENOBUFS);
    const bool v4 = to ? to->address.is_v4() : domain() == AF_INET;
    const std::uint32_t cost = socket::truesize(static_cast<std::uint32_t>(length), v4 ? ip_family::v4 : ip_family::v6);
    // As sock_alloc_send_pskb: what exceeds the buffer is let through if anything is free.
    const std::uint64_t in_flight = page_->tx_charged - page_->tx_returned.load(std::memory_order_seq_cst);
    if (in_flight >= static_cast<std::uint64_t>(page_->send_buffer.load(std::memory_order_relaxed)))
        return fail(EAGAIN);
    ring_writer ring(page_->tx, region_.bytes().subspan(socket_page::rx_at + page_->rx_bytes, page_->tx_bytes),
                     std::bit_ceil(static_cast<std::size_t>(page_->send_buffer.load(std::memory_order_relaxed))));
    record* const r = ring.begin(length);
    if (r == nullptr) return fail(EAGAIN);
    r->cost = cost;
    if (to) {
        r->peer = to->address;
        r->peer_port = to->port;
        r->ifindex = to->scope;
    } else {
        r->flags = record::to_connected;
    }
    r->local = said.source;
    if (said.ifindex != 0) r->ifindex = said.ifindex;
    if (said.hop_limit >= 0) {
        r->flags |= record::chosen_hop_limit;
        r->hop_limit = static_cast<std::uint8_t>(said.hop_limit);
    }
    if (said.traffic_class >= 0) {
        r->flags |= record::chosen_traffic_class;
        r->traffic_class = static_cast<std::uint8_t>(said.traffic_class);
    }
    std::byte* at = ring_writer::payload(r);
    for (std::size_t i = 0; i < message.msg_iovlen; i++) {
        const iovec& part = message.msg_iov[i];
        if (part.iov_len != 0) std::memcpy(at, part.iov_base, part.iov_len);
        at += part.iov_len;
    }
    page_->tx_charged += cost;
    ring.end();
    return {};
}

bool remote_socket::readable() {
    return page_->rx.written.load(std::memory_order_seq_cst) != page_->rx.read.load(std::memory_order_seq_cst);
}

std::size_t remote_socket::next_size() {
    const shared_lock hold(page_->rx_lock);
    if (!hold) return 0;
    ring_reader ring(page_->rx, region_.bytes().subspan(socket_page::rx_at, page_->rx_bytes));
    record header;
    std::span<const std::byte> payload;
    return ring.front(header, payload) == ring_reader::found::datagram ? payload.size() : 0;
}

result<std::size_t> remote_socket::take(msghdr& message, int flags) {
    const shared_lock hold(page_->rx_lock);
    if (!hold) return fail(EINTR);
    ring_reader ring(page_->rx, region_.bytes().subspan(socket_page::rx_at, page_->rx_bytes));
    record header;
    std::span<const std::byte> payload;
    if (ring.front(header, payload) != ring_reader::found::datagram) return fail(EAGAIN);
    std::size_t copied = 0;
    for (std::size_t i = 0; i < message.msg_iovlen && copied < payload.size(); i++) {
        const std::size_t n = std::min(message.msg_iov[i].iov_len, payload.size() - copied);
        if (n != 0) std::memcpy(message.msg_iov[i].iov_base, &payload[copied], n);
        copied += n;
    }
    if (message.msg_name != nullptr) {
        const endpoint from{header.peer, header.peer_port, scope_of(header.peer, header.ifindex)};
        message.msg_namelen = socket::write_sockaddr(domain() == AF_INET ? ip_family::v4 : ip_family::v6, from,
                                                     static_cast<sockaddr*>(message.msg_name), message.msg_namelen);
    } else {
        message.msg_namelen = 0;
    }
    message.msg_flags = copied < payload.size() ? MSG_TRUNC : 0;
    socket::write_control(message, page_->told.load(std::memory_order_relaxed),
                          {header.local, header.answer_from, header.ifindex, header.hop_limit, header.traffic_class});
    const std::size_t answer = flags & MSG_TRUNC ? payload.size() : copied;
    if (!(flags & MSG_PEEK)) {
        ring.pop(header);
        page_->rx_returned.fetch_add(header.cost, std::memory_order_release);
    }
    return answer;
}

result<std::size_t> remote_socket::receive(int fd, msghdr& message, int flags) {
    std::optional<clock::time_point> until;
    for (;;) {
        if (const int e = take_error()) return fail(e);
        const std::uint32_t seen = page_->rx_events.load(std::memory_order_seq_cst);
        const auto got = take(message, flags);
        if (page_->watch.load(std::memory_order_relaxed) != 0 && !readable()) quieten();
        if (got || got.error().code != EAGAIN) return got;
        if (never_waits(fd, flags)) return fail(EAGAIN);
        if (page_->shutdown.load(std::memory_order_acquire) & socket_page::shut_receive) {
            message.msg_namelen = 0;
            message.msg_controllen = 0;
            message.msg_flags = 0;
            return std::size_t(0);
        }
        if (!until) until = end_of(page_->receive_timeout.load());
        own(fd);
        const auto came = wait(page_->rx_events, seen, page_->rx_sleepers, *until);
        if (!came) return fail(came.error().code);
    }
}

bool remote_socket::has_room() const {
    return unsent() < static_cast<std::size_t>(page_->send_buffer.load(std::memory_order_relaxed)) / 2;
}

std::size_t remote_socket::unsent() const {
    return page_->tx_charged - page_->tx_returned.load(std::memory_order_seq_cst);
}

/// Sleeps until the daemon counts an event on from `seen`. Errors: EAGAIN the time is over; EINTR.
result<void> remote_socket::wait(std::atomic<std::uint32_t>& event, std::uint32_t seen,
                                 std::atomic<std::uint32_t>& sleepers, clock::time_point until) {
    const counted_in here(sleepers);
    const bool receiving = &event == &page_->rx_events;
    // What came between the look and the count is not told by an event.
    const bool already = receiving ? readable() || page_->error.load() != 0 : has_room();
    if (already) return {};
    const auto left = std::max<clock::duration>(until - clock::now(), clock::duration(0)).count();
    const timespec time{left / 1'000'000'000, left % 1'000'000'000};
    const int why = sleep_on(event, seen, until == clock::time_point::max() ? nullptr : &time);
    if (why == ETIMEDOUT) return fail(EAGAIN);
    if (why == EINTR) return fail(EINTR);
    return {};
}

void remote_socket::set_timeout(bool receiving, std::int64_t nanoseconds) {
    (receiving ? page_->receive_timeout : page_->send_timeout) = nanoseconds;
}

// ---- What the descriptor shows --------------------------------------------------------------------------------------

void remote_socket::watch(int fd, bool edge) {
    own(fd);  // by which this process reads bytes that tell of nothing any more, whoever watched first
    const std::uint32_t wanted = socket_page::watch_level | (edge ? socket_page::watch_edge : 0);
    if ((page_->watch.fetch_or(wanted, std::memory_order_seq_cst) & wanted) == wanted) return;
    // What came before anybody watched shows on no descriptor; who polls next must find it.
    if (readable() || page_->error.load() != 0) (void)call(fd, request::remind);
}

/// Nothing is there any more: nor may a byte be. If something has come meanwhile, its byte may just be lost.
void remote_socket::quieten() {
    const int fd = own_.load(std::memory_order_acquire);
    // The byte beside an error would take the error's with it; the one at the end of a stream stays.
    if (fd < 0 || page_->error.load() != 0 || page_->shutdown.load() & socket_page::shut_receive) return;
    char tokens[256];
    while (::recv(fd, tokens, sizeof tokens, MSG_DONTWAIT) == sizeof tokens) {
    }
    if (readable() || page_->error.load() != 0) (void)call(fd, request::remind);
}

int remote_socket::take_error() {
    const int error = page_->error.load(std::memory_order_relaxed) == 0 ? 0 : page_->error.exchange(0);
    const int fd = own_.load(std::memory_order_acquire);
    if (error == 0 || fd < 0 || page_->watch.load() == 0) return error;
    char token;
    ::recv(fd, &token, 1, MSG_OOB | MSG_DONTWAIT);
    if (page_->error.load() != 0) (void)call(fd, request::remind);
    if (!readable()) quieten();
    return error;
}

/// A send found no room, and somebody may poll for some: two bytes that the daemon reads once there is.
void remote_socket::tell_when_room(int fd) {
    if (page_->watch.load(std::memory_order_seq_cst) == 0) return;
    if (page_->watch.load() & socket_page::watch_room) return;
    for (int i = 0; i < 2; i++) ::send(own(fd), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    page_->watch.fetch_or(socket_page::watch_room, std::memory_order_seq_cst);
    if (has_room()) (void)call(fd, request::remind);
}

short remote_socket::translate(short found, short asked) {
    constexpr short reading = POLLIN | POLLRDNORM;
    const bool error = page_->error.load(std::memory_order_seq_cst) != 0;
    const bool ended = (page_->shutdown.load() & socket_page::shut_receive) != 0;
    // As datagram_poll; the descriptor may show it a little later.
    if (ended) found |= static_cast<short>(reading | POLLRDHUP);
    if (found & POLLPRI && !error)
        if (const int fd = own_.load(); fd >= 0) {
            char token;
            ::recv(fd, &token, 1, MSG_OOB | MSG_DONTWAIT);
        }
    if (found & (reading | POLLPRI) && !readable() && !ended) {
        found &= static_cast<short>(~reading);
        if (!error) quieten();
    }
    found &= static_cast<short>(~POLLPRI);
    return static_cast<short>((found & (asked | POLLHUP | POLLNVAL)) | (error ? POLLERR : 0));
}

}  // namespace skua::client
