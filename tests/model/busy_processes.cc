// Calls by chance.
#include "busy_processes.hh"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <set>

#include "sockfs/proc_net.hh"
#include "support/frames.hh"

namespace skua::test {

namespace {

using namespace std::chrono_literals;

constexpr const char* configuration = R"(
    [pool]
    packets = 4096
    [[port]]
    device = "0"
    name = "p0"
    mac = "02:00:00:00:00:01"
    addresses = ["198.18.0.1/24", "2001:db8::1/64"]
    dad = false
)";

/// Port 0, which the stack only names.
bool make_port() { return rte_eth_dev_is_valid_port(0) || rte_eal_hotplug_add("vdev", "net_null0", "") == 0; }

std::unique_ptr<control::stack> make_stack(unsigned shards) {
    auto c = control::parse_config(configuration, "busy processes");
    if (!c || !make_port()) return nullptr;
    c->stack.shards = shards;
    auto made = control::stack::make(*c, control::driving::library);
    return made ? std::move(*made) : nullptr;
}

endpoint somewhere(unsigned n, bool v4) { return {v4 ? us4 : us6, static_cast<std::uint16_t>(7000 + n), 0}; }

}  // namespace

busy_processes::busy_processes(unsigned shards) : stack_(make_stack(shards)) {
    for (int i = 0; i < 3; i++) processes_.push_back(table_.make());
}

busy_processes::~busy_processes() = default;

unsigned busy_processes::poll(unsigned shard) {
    auto& s = stack_->shard_at(shard);
    unsigned moved = s.poll_once(stack_->now());
    rte_mbuf* out[64];
    while (const unsigned n = s.output(out)) {
        rte_pktmbuf_free_bulk(out, n);
        moved += n;
    }
    return moved;
}

void busy_processes::end() {
    for (const auto& p : table_.all()) p->close_all();
    // What is freed waits for the tick of the first shard and may wait for packets of its own.
    const auto give_up = monotonic_clock::now() + 20s;
    for (unsigned quiet = 0; quiet < 3 && monotonic_clock::now() < give_up;) {
        unsigned moved = 0;
        for (unsigned s = 0; s < stack_->shard_count(); s++) moved += poll(s);
        moved += static_cast<unsigned>(stack_->rcu().reclaim());
        quiet = moved || stack_->rcu().retired() || packets_in_use() ? 0 : quiet + 1;
    }
}

unsigned busy_processes::packets_in_use() {
    std::set<const rte_mempool*> pools{stack_->pool()};
    for (unsigned s = 0; s < stack_->shard_count(); s++) pools.insert(stack_->shard_at(s).pool());
    unsigned n = 0;
    for (const auto* pool : pools) n += rte_mempool_in_use_count(pool);
    return n;
}

std::uint64_t busy_processes::delivered() const {
    std::uint64_t n = 0;
    for (unsigned s = 0; s < stack_->shard_count(); s++)
        for (const mib m : {mib::udp_in_datagrams, mib::udp6_in_datagrams})
            n += stack_->shard_at(s).counts().mibs.get(m);
    return n;
}

std::uint64_t busy_processes::dropped() const {
    std::uint64_t n = 0;
    for (unsigned s = 0; s < stack_->shard_count(); s++)
        for (const auto& d : drop_reasons)
            // Those are of the answers to datagrams for which there was no socket.
            if (!std::string_view(d.name).starts_with("icmp")) n += stack_->shard_at(s).counts().drops.get(d.reason);
    return n;
}

// ---- the calls ----

sockfs::process& caller::somebody() {
    if (in_child_) return *in_child_;
    return *where_.processes()[below(static_cast<unsigned>(where_.processes().size()))];
}

std::shared_ptr<sockfs::socket_file> caller::some_socket() {
    return std::dynamic_pointer_cast<sockfs::socket_file>(somebody().files().get(some_fd()));
}

time_point caller::deadline() const {
    return patience == nanoseconds(0) ? time_point::min() : monotonic_clock::now() + patience;
}

/// So that a random descriptor is mostly an open one.
void caller::keep_few(sockfs::process& p, const result<int>& fd) {
    if (!fd) return;
    done++;
    if (*fd >= static_cast<int>(most_descriptors)) (void)p.close(*fd);
}

void caller::open_socket() {
    auto& p = somebody();
    const bool v4 = below(2) == 0;
    const auto fd = p.socket(where_.stack(), where_.table().sockfs(), v4 ? AF_INET : AF_INET6,
                             SOCK_DGRAM | (below(2) ? SOCK_CLOEXEC : 0), 0, {0});
    if (!fd) return;
    // Another thread may have closed it already.
    if (const auto f = std::dynamic_pointer_cast<sockfs::socket_file>(p.files().get(*fd))) {
        auto& s = f->socket();
        const int one = 1;
        (void)s.setsockopt(SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        if (below(4)) (void)s.bind(somewhere(below(4), v4));
        if (below(4) == 0) (void)s.connect(somewhere(below(5), v4));
    }
    keep_few(p, fd);
}

void caller::open_set() {
    auto& p = somebody();
    keep_few(p, p.epoll_create(below(2) ? EPOLL_CLOEXEC : 0));
}

void caller::duplicate() {
    auto& p = somebody();
    const int fd = some_fd(), to = some_fd();
    switch (below(4)) {
        case 0: return keep_few(p, p.dup(fd));
        case 1: return keep_few(p, p.dup2(fd, to));
        case 2: return keep_few(p, p.dup3(fd, to, O_CLOEXEC));
        default: return keep_few(p, p.fcntl(fd, F_DUPFD, to));
    }
}

void caller::pass() {
    auto& to = *where_.processes()[below(3)];
    keep_few(to, somebody().pass(some_fd(), to, below(2) == 0));
}

void caller::close() { done += somebody().close(some_fd()).has_value(); }

void caller::exec() {
    somebody().exec();
    done++;
}

void caller::fork() {
    const auto child = where_.table().fork(somebody());
    sockfs::process* const before = std::exchange(in_child_, child.get());
    for (int i = 0; i < 4; i++) {
        send();
        close();
        receive();
        change_set();
    }
    in_child_ = before;
    done += where_.table().exit(*child);
}

void caller::send() {
    const auto f = some_socket();
    if (!f) return;
    sockaddr_storage to{};
    socklen_t length = 0;
    const std::uint16_t port = htons(static_cast<std::uint16_t>(7000 + below(5)));
    if (f->socket().family == ip_family::v4) {
        auto& in = reinterpret_cast<sockaddr_in&>(to);
        in = {AF_INET, port, {us4.v4().value.raw()}, {}};
        length = sizeof in;
    } else {
        auto& in = reinterpret_cast<sockaddr_in6&>(to);
        in = {AF_INET6, port, 0, {}, 0};
        std::memcpy(&in.sin6_addr, us6.bytes().data(), 16);
        length = sizeof in;
    }
    const char payload[200] = "chance";
    if (!f->socket().sendto(payload, below(sizeof payload), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&to), length))
        return;
    sent++;
    done++;
}

void caller::receive() {
    const auto f = some_socket();
    if (!f) return;
    const timeval t{0, static_cast<suseconds_t>(patience.count() / 1000)};
    (void)f->socket().setsockopt(SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    char room[256];
    for (int i = 0; i < 4; i++) {
        const auto got =
            f->socket().recvfrom(room, sizeof room, patience.count() && i == 0 ? 0 : MSG_DONTWAIT, nullptr, nullptr);
        if (!got) return;
        done++;
    }
}

void caller::change_set() {
    constexpr std::uint32_t kinds[] = {EPOLLIN, EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT, EPOLLIN | EPOLLEXCLUSIVE,
                                       EPOLLIN | EPOLLOUT | EPOLLET};
    constexpr int operations[] = {EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL};
    const epoll_event event{.events = kinds[below(std::size(kinds))], .data = {.u64 = 1}};
    auto& p = somebody();
    for (int tries = 0; tries < 4; tries++)
        if (p.epoll_control(some_fd(), operations[below(4)], some_fd(), &event)) done++;
}

void caller::wait_in_set() {
    epoll_event out[4];
    const auto n = somebody().epoll_wait(some_fd(), std::span(out).first(1 + below(4)), deadline(), nullptr);
    done += n && *n > 0;
}

void caller::poll() {
    pollfd fds[4];
    for (auto& f : fds) f = {some_fd(), static_cast<short>(below(2) ? POLLIN : POLLIN | POLLOUT), 0};
    const auto n = somebody().poll(fds, deadline(), nullptr);
    for (const auto& f : fds) done += n && f.revents > 0 && !(f.revents & POLLNVAL);
}

void caller::list() {
    for (const auto& i : where_.table().sockfs().inodes())
        done += !sockfs::proc_net_udp_line(i->socket(), i->number()).empty();
    for (const auto& p : where_.table().all())
        for (const auto& d : p->descriptors()) done += !d.link.empty();
}

void caller::mix_with_kernel() {
    auto& first = where_.table().first();
    const auto set = first.epoll_create(0), outer = first.epoll_create(0), ours = somebody().pass(some_fd(), first);
    const int theirs = ::eventfd(below(2), EFD_NONBLOCK);
    const epoll_event in{.events = EPOLLIN, .data = {}};
    if (set && outer) {
        if (ours) (void)first.epoll_control(*set, EPOLL_CTL_ADD, *ours, &in);
        (void)first.epoll_control(*outer, EPOLL_CTL_ADD, *set, &in);
        (void)first.epoll_control(*set, EPOLL_CTL_ADD, theirs, &in);
        epoll_event out[4];
        const auto n = first.epoll_wait(*outer, out, deadline(), nullptr);
        done += n && *n > 0;
        pollfd fds[2] = {{*set, POLLIN, 0}, {theirs, POLLIN, 0}};
        (void)first.poll(fds, deadline(), nullptr);
    }
    for (const auto& fd : {set, outer, ours})
        if (fd) (void)first.close(*fd);
    ::close(theirs);
}

}  // namespace skua::test
