// The descriptor tables of some processes against naive maps: the lowest free number, what is shared and what is
// copied, and which files still live.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <optional>
#include <vector>

#include "sockfs/process.hh"
#include "sockfs/test_support.hh"

namespace skua::sockfs {

namespace {

enum class action : std::uint8_t {
    open,
    dup,
    dup2,
    dup3,
    dup_from,
    get_cloexec,
    set_cloexec,
    get_flags,
    set_flags,
    close,
    pass,
    fork,
    exec,
    exit
};

struct step {
    action what = action::open;
    int process = 0;
    int fd = 0;
    int to = 0;  // another descriptor, the least number, or another process
    bool on = false;
};

constexpr int processes = 3, limit = 7, beyond = 2;

std::ostream& operator<<(std::ostream& out, const step& s) {
    const char* const cloexec = s.on ? ", CLOEXEC)" : ")";
    out << "process " << s.process << ": ";
    switch (s.what) {
        case action::open: return out << "open(" << (s.on ? "CLOEXEC)" : ")");
        case action::dup: return out << "dup(" << s.fd << ")";
        case action::dup2: return out << "dup2(" << s.fd << ", " << s.to << ")";
        case action::dup3: return out << "dup3(" << s.fd << ", " << s.to << cloexec;
        case action::dup_from: return out << "F_DUPFD(" << s.fd << ", " << s.to << cloexec;
        case action::get_cloexec: return out << "F_GETFD(" << s.fd << ")";
        case action::set_cloexec: return out << "F_SETFD(" << s.fd << cloexec;
        case action::get_flags: return out << "F_GETFL(" << s.fd << ")";
        case action::set_flags: return out << "F_SETFL(" << s.fd << (s.on ? ", NONBLOCK)" : ")");
        case action::close: return out << "close(" << s.fd << ")";
        case action::pass: return out << "pass(" << s.fd << " to process " << s.to % processes << cloexec;
        case action::fork: return out << "fork, instead of process " << s.to % processes;
        case action::exec: return out << "exec";
        case action::exit: return out << "exit";
    }
    return out;
}

/// What a process has, as the rules say it.
struct reference {
    struct entry {
        int file;
        bool cloexec;
    };
    std::map<int, entry> open;

    int lowest(int from) const {
        while (open.contains(from)) from++;
        return from;
    }
    /// A number, or an errno below zero.
    int install(int file, bool cloexec, int from = 0) {
        if (from < 0 || from >= limit) return -EINVAL;
        const int fd = lowest(from);
        if (fd >= limit) return -EMFILE;
        open[fd] = {file, cloexec};
        return fd;
    }
    int install_at(int fd, int file, bool cloexec) {
        if (fd < 0 || fd >= limit) return -EBADF;
        open[fd] = {file, cloexec};
        return fd;
    }
};

template <class T>
int number(const result<T>& r) {
    if (!r) return -r.error().code;
    if constexpr (std::is_void_v<T>) return 0;
    else return static_cast<int>(*r);
}

class worlds {
public:
    worlds() {
        for (int n = 0; n < processes; n++) ours_.push_back(fresh());
        model_.resize(processes);
    }

    void run(const step& s) {
        const auto [expected, got] = both(s);
        if (expected != got) {
            RC_LOG() << s << ": expected " << expected << ", got " << got << "\n";
            RC_FAIL("another answer");
        }
        compare();
    }

private:
    static std::unique_ptr<process> fresh() {
        return std::make_unique<process>(1, std::make_unique<own_numbers>(limit), false, nanoseconds(0));
    }

    std::pair<int, int> both(const step& s) {
        process& p = *ours_[static_cast<std::size_t>(s.process)];
        reference& m = model_[static_cast<std::size_t>(s.process)];
        const auto other = static_cast<std::size_t>(s.to % processes);
        const auto at = m.open.find(s.fd);
        const bool is_open = at != m.open.end();
        const int file = is_open ? at->second.file : -1;
        switch (s.what) {
            case action::open: {
                auto f = file::make<some_file>();
                files_.push_back(f);
                nonblocking_.push_back(false);
                const int number_of_file = static_cast<int>(files_.size()) - 1;
                return {m.install(number_of_file, s.on), number(p.files().install(std::move(f), s.on))};
            }
            case action::dup: return {is_open ? m.install(file, false) : -EBADF, number(p.dup(s.fd))};
            case action::dup2:
                return {!is_open       ? -EBADF
                        : s.fd == s.to ? s.fd
                                       : m.install_at(s.to, file, false),
                        number(p.dup2(s.fd, s.to))};
            case action::dup3:
                return {s.fd == s.to ? -EINVAL
                        : is_open    ? m.install_at(s.to, file, s.on)
                                     : -EBADF,
                        number(p.dup3(s.fd, s.to, s.on ? O_CLOEXEC : 0))};
            case action::dup_from:
                return {is_open ? m.install(file, s.on, s.to) : -EBADF,
                        number(p.fcntl(s.fd, s.on ? F_DUPFD_CLOEXEC : F_DUPFD, s.to))};
            case action::get_cloexec: return {is_open ? at->second.cloexec : -EBADF, number(p.fcntl(s.fd, F_GETFD, 0))};
            case action::set_cloexec:
                if (is_open) at->second.cloexec = s.on;
                return {is_open ? 0 : -EBADF, number(p.fcntl(s.fd, F_SETFD, s.on ? FD_CLOEXEC : 0))};
            case action::get_flags:
                return {is_open ? O_RDWR | (nonblocking(file) ? O_NONBLOCK : 0) : -EBADF,
                        number(p.fcntl(s.fd, F_GETFL, 0))};
            case action::set_flags:
                if (is_open) nonblocking(file) = s.on;
                return {is_open ? 0 : -EBADF, number(p.fcntl(s.fd, F_SETFL, s.on ? O_NONBLOCK : 0))};
            case action::close:
                if (is_open) m.open.erase(at);
                return {is_open ? 0 : -EBADF, number(p.close(s.fd))};
            case action::pass:
                return {is_open ? model_[other].install(file, s.on) : -EBADF,
                        number(p.pass(s.fd, *ours_[other], s.on))};
            case action::fork: {
                auto child = fresh();
                child->files().copy(p.files().entries());
                ours_[other] = std::move(child);
                model_[other] = reference(m);
                return {};
            }
            case action::exec:
                p.exec();
                std::erase_if(m.open, [](const auto& e) { return e.second.cloexec; });
                return {};
            case action::exit:
                p.close_all();
                m.open.clear();
                return {};
        }
        return {};
    }

    void compare() const {
        std::vector<bool> lives(files_.size());
        for (std::size_t n = 0; n < processes; n++) {
            const auto entries = ours_[n]->files().entries();
            RC_ASSERT(entries.size() == model_[n].open.size());
            for (const auto& [fd, e] : model_[n].open) {
                const auto at = entries.find(fd);
                RC_ASSERT(at != entries.end());
                RC_ASSERT(at->second.what == files_[static_cast<std::size_t>(e.file)].lock());
                RC_ASSERT(at->second.close_on_exec == e.cloexec);
                RC_ASSERT(ours_[n]->files().get(fd) == at->second.what);
                lives[static_cast<std::size_t>(e.file)] = true;
            }
        }
        for (std::size_t f = 0; f < files_.size(); f++) RC_ASSERT(files_[f].expired() != lives[f]);
    }
    std::vector<bool>::reference nonblocking(int file) { return nonblocking_[static_cast<std::size_t>(file)]; }

    std::vector<std::unique_ptr<process>> ours_;
    std::vector<reference> model_;
    std::vector<std::weak_ptr<file>> files_;  // by the number that the reference knows
    std::vector<bool> nonblocking_;
};

}  // namespace

TEST(descriptors_model, agree_with_maps) {
    EXPECT_TRUE(rc::check("random calls in some processes", [] {
        using rc::gen::set, rc::gen::inRange;
        const auto what = rc::gen::weightedElement<action>({{8, action::open},
                                                            {3, action::dup},
                                                            {3, action::dup2},
                                                            {3, action::dup3},
                                                            {3, action::dup_from},
                                                            {1, action::get_cloexec},
                                                            {2, action::set_cloexec},
                                                            {1, action::get_flags},
                                                            {2, action::set_flags},
                                                            {8, action::close},
                                                            {3, action::pass},
                                                            {1, action::fork},
                                                            {1, action::exec},
                                                            {1, action::exit}});
        const auto fd = inRange(-1, limit + beyond);
        const auto any =
            rc::gen::build<step>(set(&step::what, what), set(&step::process, inRange(0, processes)), set(&step::fd, fd),
                                 set(&step::to, inRange(0, limit + beyond)), set(&step::on));
        worlds w;
        for (const auto& s : *rc::gen::scale(3, rc::gen::container<std::vector<step>>(any))) w.run(s);
    }));
}

}  // namespace skua::sockfs
