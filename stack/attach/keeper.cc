// The keeper's process and how the daemon talks to it.
#include "attach/keeper.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "attach/channel.hh"
#include "base/own_descriptor.hh"

namespace skua::attach {

namespace {

using clock = std::chrono::steady_clock;
constexpr int takeover_ms = 5000;  // the daemon before may be about to end

enum class order : std::uint32_t { keep = 1, drop, give };

struct keeper_message {
    order what{};
    char name[32] = {};
};

keeper_message message_of(order what, std::string_view name) {
    keeper_message m;
    m.what = what;
    std::memcpy(m.name, name.data(), std::min(name.size(), sizeof m.name - 1));
    return m;
}

bool address_of(const std::string& path, sockaddr_un& at) {
    at.sun_family = AF_UNIX;
    if (path.size() >= sizeof at.sun_path) return false;
    std::memcpy(at.sun_path, path.c_str(), path.size());
    return true;
}

int connect_to(const std::string& path) {
    sockaddr_un at{};
    const int fd = out_of_the_way(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (fd < 0 || !address_of(path, at)) return -1;
    if (connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) return fd;
    close(fd);
    return -1;
}

/// The keeper's own life. Descriptors of one name come and go together.
class holder {
public:
    holder(int listener, std::string path, std::chrono::seconds patience)
        : listener_(listener), path_(std::move(path)), patience_(patience) {}

    void live() {
        auto until = clock::now() + patience_;  // the first daemon comes at once
        for (;;) {
            const bool alone = daemon_ < 0;
            if (alone && (clock::now() >= until || (had_daemon_ && held_.empty()))) break;
            pollfd p[2] = {{alone ? listener_ : -1, POLLIN, 0}, {daemon_, POLLIN, 0}};
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - clock::now()).count();
            if (poll(p, 2, alone ? static_cast<int>(std::max<std::int64_t>(left, 0)) + 1 : -1) < 0 && errno != EINTR)
                break;
            if (p[0].revents != 0) daemon_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (p[1].revents != 0 && !serve()) {
                close(daemon_);
                daemon_ = -1;
                had_daemon_ = true;
                until = clock::now() + patience_;
            }
        }
        unlink(path_.c_str());
    }

private:
    bool serve() {
        auto got = receive_message(daemon_);
        keeper_message m;
        if (!got || got->bytes.size() != sizeof m) return false;
        std::memcpy(&m, got->bytes.data(), sizeof m);
        m.name[sizeof m.name - 1] = 0;
        if (m.what == order::keep) {
            auto& fds = held_[m.name];
            for (std::size_t i = 0; i < got->descriptors.size(); i++) fds.push_back(got->take(i));
        } else if (m.what == order::drop) {
            const auto found = held_.find(m.name);
            if (found == held_.end()) return true;
            for (const int fd : found->second) close(fd);
            held_.erase(found);
        } else {
            return give();
        }
        return true;
    }

    bool give() {
        for (const auto& [name, fds] : held_)
            for (const int fd : fds)
                if (!send_message(daemon_, bytes_of(message_of(order::keep, name)), {}, std::span(&fd, 1)))
                    return false;
        return send_message(daemon_, bytes_of(message_of(order::give, "")), {}, {}).has_value();
    }

    const int listener_;
    const std::string path_;
    const std::chrono::seconds patience_;
    int daemon_ = -1;
    bool had_daemon_ = false;
    std::map<std::string, std::vector<int>, std::less<>> held_;
};

/// Only what it was given stays open; nothing of the daemon's terminal or log, which others may wait to see closed.
[[noreturn]] void be_keeper(int listener, const std::string& path, std::chrono::seconds patience) {
    setsid();
    prctl(PR_SET_NAME, "skuad-keeper");
    for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) signal(s, SIG_IGN);
    const int mine = dup2(listener, 3);
    close_range(4, ~0u, 0);
    const int nowhere = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(nowhere, fd);
    if (nowhere > 3) close(nowhere);
    holder(mine, path, patience).live();
    _exit(0);
}

std::string start(const std::string& path, std::chrono::seconds patience) {
    const auto failed = [&](const char* what) {
        return fmt::format("keeper of descriptors {}: {}: {}", path, what, std::strerror(errno));
    };
    sockaddr_un at{};
    if (!address_of(path, at)) {
        errno = ENAMETOOLONG;
        return failed("path");
    }
    const int listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (listener < 0) return failed("socket");
    unlink(path.c_str());  // nobody answers there
    const mode_t before = umask(0177);
    const bool bound = bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
    umask(before);
    if (!bound || listen(listener, 4) != 0) {
        const std::string why = failed("listen");
        close(listener);
        return why;
    }
    // Twice, so that it is nobody's child: the daemon's end and its parent's waits have nothing to do with it.
    const pid_t child = fork();
    if (child == 0) {
        if (fork() == 0) be_keeper(listener, path, patience);
        _exit(0);
    }
    close(listener);
    if (child < 0) return failed("fork");
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return {};
}

}  // namespace

tl::expected<std::unique_ptr<keeper>, std::string> keeper::find(const std::string& path, std::chrono::seconds patience,
                                                                std::vector<kept>& left) {
    int fd = connect_to(path);
    if (fd < 0) {
        if (std::string why = start(path, patience); !why.empty()) return tl::unexpected(why);
        fd = connect_to(path);
    }
    std::unique_ptr<keeper> made(new keeper(fd));
    if (fd < 0 || !send_message(fd, bytes_of(message_of(order::give, "")), {}, {}))
        return tl::unexpected(fmt::format("keeper of descriptors {}: {}", path, std::strerror(errno)));
    for (;;) {
        pollfd p{fd, POLLIN, 0};
        if (poll(&p, 1, takeover_ms) != 1)
            return tl::unexpected(fmt::format("keeper of descriptors {}: another daemon is still there", path));
        auto got = receive_message(fd);
        keeper_message m;
        if (!got || got->bytes.size() != sizeof m)
            return tl::unexpected(fmt::format("keeper of descriptors {}: it went away", path));
        std::memcpy(&m, got->bytes.data(), sizeof m);
        m.name[sizeof m.name - 1] = 0;
        if (m.what == order::give) return made;
        if (const int one = got->take(0); one >= 0) left.push_back({m.name, out_of_the_way(one)});
    }
}

keeper::~keeper() {
    if (fd_ >= 0) close(fd_);
}

bool keeper::keep(std::string_view name, std::span<const int> fds) {
    for (const int fd : fds)
        if (!send_message(fd_, bytes_of(message_of(order::keep, name)), {}, std::span(&fd, 1))) return false;
    return true;
}

void keeper::drop(std::string_view name) { (void)send_message(fd_, bytes_of(message_of(order::drop, name)), {}, {}); }

}  // namespace skua::attach
