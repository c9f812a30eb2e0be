// skua-upgrade-server: the server of skua-upgrade as a program of its own, whose sockets are those of a skuad. Started
// by skua-upgrade, which operates it over its standard input.
#include <fmt/format.h>
#include <poll.h>
#include <skua/skua.h>
#include <sys/mman.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <list>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "upgrade/order.hh"
#include "upgrade/server.hh"

namespace {

using namespace skua::upgrade;

constexpr calls of_skua{skua_socket,   skua_bind,     skua_setsockopt, skua_getsockopt,
                        skua_recvmmsg, skua_sendmmsg, skua_close};

/// As libsystemd's calls fail.
int checked(ssize_t result, const char* call) {
    if (result < 0) throw std::system_error(static_cast<int>(-result), std::generic_category(), call);
    return static_cast<int>(result);
}
/// As libc's do.
int checked_errno(ssize_t result, const char* call) { return checked(result < 0 ? -errno : result, call); }

class program {
public:
    void take_over();
    void run();

private:
    /// False: that was the last one.
    bool obey();
    bool carry_out(const order& o);
    void close_if(const std::function<bool(const member&)>& which);
    void hand_over() const;
    member& find(std::uint32_t number);

    std::list<member> members_;
    std::uint32_t working_ = 0;
    std::uint64_t begun_when_old_ = 0;  // by members that were closed
    std::mt19937_64 random_{static_cast<std::uint64_t>(getpid())};
};

/// What a service manager passes on, as to any service (sd_listen_fds(3)).
void program::take_over() {
    char** names = nullptr;
    const int n = checked(sd_listen_fds_with_names(1, &names), "sd_listen_fds_with_names");
    int flows = -1;
    for (int i = 0; i < n; i++) {
        const int fd = SD_LISTEN_FDS_START + i;
        unsigned number = 0, generation = 0;
        if (std::strcmp(names[i], flows_name) == 0) flows = fd;
        else if (std::sscanf(names[i] + std::strlen(socket_prefix), "%u-%u", &number, &generation) == 2)
            members_.emplace_back(of_skua, fd, number, generation);
        else throw std::runtime_error(fmt::format("a descriptor named {}", names[i]));
        free(names[i]);
    }
    free(names);
    if (flows < 0) return;
    flow_record f;
    for (off_t at = 0; pread(flows, &f, sizeof f, at) == sizeof f; at += sizeof f) find(f.member).take_on(f);
    close(flows);
}

void program::run() {
    for (;;) {
        std::vector<pollfd> all{{orders_fd, POLLIN, 0}};
        for (const member& m : members_) all.push_back({m.fd(), POLLIN, 0});
        if (skua_poll(all.data(), all.size(), -1) < 0 && errno != EINTR) checked_errno(-1, "poll");
        auto at = all.begin();
        const bool ordered = at->revents != 0;
        for (member& m : members_)
            if ((++at)->revents != 0) m.serve(working_, random_);
        if (ordered && !obey()) return;
    }
}

bool program::obey() {
    order o;
    const int n = checked_errno(read(orders_fd, &o, sizeof o), "read");
    if (n != sizeof o) return false;
    order_answer a;
    working_ = o.working;
    const bool more = carry_out(o);
    a.drained =
        std::ranges::all_of(members_, [&](const member& m) { return m.generation() != o.generation || m.drained(); });
    a.working = members_.empty() ? 0 : members_.front().working_generation();
    a.begun_when_old = begun_when_old_;
    for (const member& m : members_) a.begun_when_old += m.begun_when_old();
    checked_errno(write(orders_fd, &a, sizeof a), "write");
    return more;
}

bool program::carry_out(const order& o) {
    switch (o.what) {
        case order::what::join: members_.emplace_back(of_skua, o.options, o.member, o.generation); return true;
        case order::what::close: close_if([&](const member& m) { return m.number() == o.member; }); return true;
        case order::what::work: std::ranges::find(members_, o.generation, &member::generation)->work(); return true;
        case order::what::look: return true;
        case order::what::leave:
            close_if([&](const member& m) { return m.generation() == o.generation; });
            return !members_.empty();
        case order::what::hand_over: hand_over(); return false;
    }
    return false;
}

void program::close_if(const std::function<bool(const member&)>& which) {
    members_.remove_if([&](const member& m) {
        if (!which(m)) return false;
        begun_when_old_ += m.begun_when_old();
        return true;
    });
}

/// As a service that is to be restarted (sd_notify(3), FDSTORE=1): datagrams that come meanwhile wait in the sockets.
void program::hand_over() const {
    const auto store = [](const std::string& name, int fd) {
        const std::string what = "FDSTORE=1\nFDNAME=" + name;
        checked(sd_pid_notify_with_fds(0, 0, what.c_str(), &fd, 1), "sd_pid_notify_with_fds");
    };
    std::vector<flow_record> flows;
    for (const member& m : members_) {
        m.hand_on(flows);
        store(fmt::format("{}{}-{}", socket_prefix, m.number(), m.generation()), m.fd());
    }
    const int fd = checked_errno(memfd_create(flows_name, MFD_CLOEXEC), "memfd_create");
    const auto size = static_cast<ssize_t>(flows.size() * sizeof flows[0]);
    if (pwrite(fd, flows.data(), static_cast<std::size_t>(size), 0) != size) checked_errno(-1, "pwrite");
    store(flows_name, fd);
    close(fd);
}

member& program::find(std::uint32_t number) {
    const auto at = std::ranges::find(members_, number, &member::number);
    if (at == members_.end()) throw std::runtime_error(fmt::format("no member {}", number));
    return *at;
}

}  // namespace

int main(int argc, char**) {
    if (argc > 1 || isatty(orders_fd)) {
        fmt::print("skua-upgrade-server: the server of `skua-upgrade --processes`, which starts it.\n");
        return argc > 1 ? 0 : 2;
    }
    try {
        program p;
        p.take_over();
        p.run();
        return 0;
    } catch (const std::exception& e) {
        fmt::print(stderr, "skua-upgrade-server: {}\n", e.what());
        return 1;
    }
}
