// Epoll sets against the kernel's own: the same random calls on both, over eventfds there and files that behave like
// eventfds here, must give the same results, errors and events in the same order.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "sockfs/process.hh"

namespace skua::sockfs {

namespace {

/// As fs/eventfd.c.
class event_file final : public file {
public:
    event_file() : file(O_RDWR | O_NONBLOCK) {}
    std::uint32_t poll_events() override {
        return (count_ > 0 ? EPOLLIN : 0u) | (count_ == UINT64_MAX ? EPOLLERR : 0u) |
               (count_ < UINT64_MAX - 1 ? EPOLLOUT : 0u);
    }
    wait::wait_queue& waiters() override { return waiters_; }
    struct stat status() const override {
        return {};
    }
    std::string link_text() const override { return "anon_inode:[eventfd]"; }

    int write(std::uint64_t n) {
        if (UINT64_MAX - count_ <= n) return EAGAIN;
        count_ += n;
        waiters_.wake(EPOLLIN);
        return 0;
    }
    int read() {
        if (count_ == 0) return EAGAIN;
        count_ = 0;
        waiters_.wake(EPOLLOUT);
        return 0;
    }

private:
    std::uint64_t count_ = 0;
    wait::wait_queue waiters_;
};

enum class action : std::uint8_t {
    make_event,
    make_set,
    dup,
    close,
    add,
    modify,
    remove,
    write,
    fill,
    read,
    wait,
    poll
};

/// One call. Descriptors are slots, which are fixed numbers on both sides.
struct step {
    action what = action::wait;
    int on = 0;
    int other = 0;             // the descriptor that is watched, or the number that a copy gets
    std::uint32_t events = 0;  // add, modify
    unsigned room = 1;         // wait
};

std::string text_of(std::uint32_t events) {
    const std::pair<std::uint32_t, const char*> names[] = {
        {EPOLLIN, "IN"},         {EPOLLOUT, "OUT"}, {EPOLLERR, "ERR"},         {EPOLLHUP, "HUP"},
        {EPOLLRDNORM, "RDNORM"}, {EPOLLET, "ET"},   {EPOLLONESHOT, "ONESHOT"}, {EPOLLEXCLUSIVE, "EXCLUSIVE"}};
    std::string text;
    for (const auto& [bit, name] : names)
        if (events & bit) text += (text.empty() ? "" : "|") + std::string(name);
    return text.empty() ? "0" : text;
}

std::ostream& operator<<(std::ostream& out, const step& s) {
    const auto control = [&](const char* how) -> std::ostream& {
        return out << "epoll_ctl(" << s.on << ", " << how << ", " << s.other;
    };
    switch (s.what) {
        case action::make_event: return out << s.on << " = eventfd()";
        case action::make_set: return out << s.on << " = epoll_create()";
        case action::dup: return out << "dup2(" << s.on << ", " << s.other << ")";
        case action::close: return out << "close(" << s.on << ")";
        case action::add: return control("ADD") << ", " << text_of(s.events) << ")";
        case action::modify: return control("MOD") << ", " << text_of(s.events) << ")";
        case action::remove: return control("DEL") << ")";
        case action::write: return out << "write(" << s.on << ", 1)";
        case action::fill: return out << "write(" << s.on << ", all)";
        case action::read: return out << "read(" << s.on << ")";
        case action::wait: return out << "epoll_wait(" << s.on << ", room " << s.room << ")";
        case action::poll: return out << "poll(" << s.on << ")";
    }
    return out;
}

constexpr int slots = 9;
constexpr std::uint64_t all_of_it = UINT64_MAX - 1;

/// What a call gave, as text that can be compared and read.
std::string answer(int error) { return error == 0 ? "0" : strerrorname_np(error); }

std::string answer(std::span<const epoll_event> events) {
    std::string text = "[";
    for (const auto& e : events) text += " " + std::to_string(e.data.u64) + ":" + text_of(e.events);
    return text + " ]";
}

class kernels {
public:
    ~kernels() {
        for (int slot = 0; slot < slots; slot++) ::close(first + slot);
    }
    std::string run(const step& s, std::uint64_t serial) {
        const int on = first + s.on, other = first + s.other;
        epoll_event event{.events = s.events, .data = {.u64 = serial}};
        switch (s.what) {
            case action::make_event: return put(::eventfd(0, EFD_NONBLOCK), on);
            case action::make_set: return put(::epoll_create1(0), on);
            case action::dup: return error_of(::dup2(on, other));
            case action::close: return error_of(::close(on));
            case action::add: return error_of(::epoll_ctl(on, EPOLL_CTL_ADD, other, &event));
            case action::modify: return error_of(::epoll_ctl(on, EPOLL_CTL_MOD, other, &event));
            case action::remove: return error_of(::epoll_ctl(on, EPOLL_CTL_DEL, other, nullptr));
            case action::write: return write(on, 1);
            case action::fill: return write(on, all_of_it);
            case action::read: {
                std::uint64_t n;
                return no_event(error_of(static_cast<int>(::read(on, &n, sizeof n))));
            }
            case action::wait: {
                epoll_event out[slots * slots];
                const int n = ::epoll_wait(on, out, static_cast<int>(s.room), 0);
                return n < 0 ? answer(errno) : answer(std::span(out).first(static_cast<std::size_t>(n)));
            }
            case action::poll: {
                pollfd p{on, POLLIN | POLLOUT | POLLRDNORM, 0};
                ::poll(&p, 1, 0);
                return p.revents & POLLNVAL ? "NVAL" : text_of(static_cast<std::uint16_t>(p.revents));
            }
        }
        return {};
    }

private:
    static constexpr int first = 300;
    static std::string error_of(int r) { return answer(r < 0 ? errno : 0); }
    static std::string no_event(std::string e) { return e == "EBADF" ? "EINVAL" : e; }
    static std::string put(int fd, int at) {
        ::dup2(fd, at);
        ::close(fd);
        return "0";
    }
    static std::string write(int fd, std::uint64_t n) {
        return no_event(error_of(static_cast<int>(::write(fd, &n, sizeof n))));
    }
};

class ours {
public:
    std::string run(const step& s, std::uint64_t serial) {
        epoll_event event{.events = s.events, .data = {.u64 = serial}};
        switch (s.what) {
            case action::make_event: return put(file::make<event_file>(), s.on);
            case action::make_set: return put(file::make<epoll_file>(nanoseconds(0)), s.on);
            case action::dup: return error_of(process_.dup2(s.on, s.other));
            case action::close: return error_of(process_.close(s.on));
            case action::add: return error_of(process_.epoll_control(s.on, EPOLL_CTL_ADD, s.other, &event));
            case action::modify: return error_of(process_.epoll_control(s.on, EPOLL_CTL_MOD, s.other, &event));
            case action::remove: return error_of(process_.epoll_control(s.on, EPOLL_CTL_DEL, s.other, nullptr));
            case action::write: return with_event(s.on, [](event_file& f) { return f.write(1); });
            case action::fill: return with_event(s.on, [](event_file& f) { return f.write(all_of_it); });
            case action::read: return with_event(s.on, [](event_file& f) { return f.read(); });
            case action::wait: {
                epoll_event out[slots * slots];
                const auto n = process_.epoll_wait(s.on, std::span(out).first(s.room), time_point::min(), nullptr);
                return n ? answer(std::span(out).first(*n)) : answer(n.error().code);
            }
            case action::poll: {
                pollfd p{s.on, POLLIN | POLLOUT | POLLRDNORM, 0};
                (void)process_.poll(std::span(&p, 1), time_point::min(), nullptr);
                return p.revents & POLLNVAL ? "NVAL" : text_of(static_cast<std::uint16_t>(p.revents));
            }
        }
        return {};
    }

private:
    template <class T>
    static std::string error_of(const result<T>& r) {
        return answer(r ? 0 : r.error().code);
    }
    std::string put(std::shared_ptr<file> f, int at) {
        return error_of(process_.files().install_at(at, std::move(f), false));
    }
    template <class Call>
    std::string with_event(int fd, Call&& call) {
        const auto f = std::dynamic_pointer_cast<event_file>(process_.files().get(fd));
        return answer(f ? call(*f) : EINVAL);
    }

    process process_{1, std::make_unique<own_numbers>(slots), false, nanoseconds(0)};
};

rc::Gen<step> any_step() {
    using rc::gen::element, rc::gen::set, rc::gen::inRange;
    const auto what = rc::gen::weightedElement<action>({{5, action::make_event},
                                                        {4, action::make_set},
                                                        {2, action::dup},
                                                        {2, action::close},
                                                        {18, action::add},
                                                        {5, action::modify},
                                                        {3, action::remove},
                                                        {12, action::write},
                                                        {2, action::fill},
                                                        {8, action::read},
                                                        {20, action::wait},
                                                        {3, action::poll}});
    const auto events = rc::gen::map(
        rc::gen::pair(
            element<std::uint32_t>(0, EPOLLIN, EPOLLIN, EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLRDNORM),
            element<std::uint32_t>(0, 0, 0, EPOLLET, EPOLLET, EPOLLONESHOT, EPOLLET | EPOLLONESHOT, EPOLLEXCLUSIVE,
                                   EPOLLEXCLUSIVE | EPOLLET)),
        [](const auto& p) { return p.first | p.second; });
    return rc::gen::build<step>(set(&step::what, what), set(&step::on, inRange(0, slots)),
                                set(&step::other, inRange(0, slots)), set(&step::events, events),
                                set(&step::room, element(1u, 1u, 2u, 3u, 20u)));
}

void behaves_as_the_kernels(const std::vector<step>& steps) {
    kernels theirs;
    ours mine;
    std::uint64_t serial = 0;
    for (const auto& s : steps) {
        const auto expected = theirs.run(s, serial), got = mine.run(s, serial);
        if (expected != got) {
            RC_LOG() << "step " << serial << ", " << s << ": kernel " << expected << ", ours " << got << "\n";
            RC_FAIL("not as the kernel");
        }
        serial++;
    }
}

}  // namespace

TEST(epoll_model, sets_behave_as_the_kernels) {
    EXPECT_TRUE(rc::check("random calls on sets and files, nested too", [] {
        behaves_as_the_kernels(*rc::gen::scale(4, rc::gen::container<std::vector<step>>(any_step())));
    }));
}

// With a set and files there already, that watch and are watched, sequences go deeper.
TEST(epoll_model, busy_sets_behave_as_the_kernels) {
    EXPECT_TRUE(rc::check("random calls on sets that watch files and each other", [] {
        std::vector<step> steps;
        for (int slot = 0; slot < 2; slot++) steps.push_back({action::make_set, slot});
        for (int slot = 2; slot < 6; slot++) steps.push_back({action::make_event, slot});
        for (int slot = 2; slot < 6; slot++) steps.push_back({action::add, 0, slot, EPOLLIN});
        for (int slot = 2; slot < 4; slot++) steps.push_back({action::add, 1, slot, EPOLLIN | EPOLLET});
        steps.push_back({action::add, 1, 0, EPOLLIN});
        const auto more = *rc::gen::scale(4, rc::gen::container<std::vector<step>>(any_step()));
        steps.insert(steps.end(), more.begin(), more.end());
        behaves_as_the_kernels(steps);
    }));
}

}  // namespace skua::sockfs
