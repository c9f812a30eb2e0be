// Starting, operating and ending a server.
#include "upgrade/server_process.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "support/own_daemon.hh"

extern char** environ;

namespace skua::upgrade {

namespace {

constexpr int first_passed = 3;      // SD_LISTEN_FDS_START
constexpr int out_of_the_way = 512;  // of the numbers that a service gets
constexpr int patience_ms = 20'000;

/// Its environment, as systemd.exec(5) says.
std::vector<std::string> environment(const descriptor_store& store) {
    std::vector<std::string> all;
    for (char** e = environ; *e != nullptr; e++) all.emplace_back(*e);
    all.push_back("NOTIFY_SOCKET=" + store.name());
    if (store.stored().empty()) return all;
    std::string names;
    for (const auto& [name, fd] : store.stored()) names += (names.empty() ? "" : ":") + name;
    all.push_back("LISTEN_FDS=" + std::to_string(store.stored().size()));
    all.push_back("LISTEN_FDNAMES=" + names);
    return all;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
    std::vector<char*> all;
    for (auto& s : strings) all.push_back(s.data());
    all.push_back(nullptr);
    return all;
}

}  // namespace

server_process::server_process(descriptor_store& store) : store_(store) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        throw std::system_error(errno, std::generic_category(), "socketpair");
    orders_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], orders_fd);
    std::vector<int> high;
    for (const auto& [name, fd] : store.stored()) {
        high.push_back(fcntl(fd, F_DUPFD_CLOEXEC, out_of_the_way));
        posix_spawn_file_actions_adddup2(&actions, high.back(), first_passed + static_cast<int>(high.size()) - 1);
    }
    // Only the process itself knows its number, which LISTEN_PID must be.
    std::vector<std::string> words{"/bin/sh", "-c", "LISTEN_PID=$$ exec \"$0\"",
                                   support::program_beside("skua-upgrade-server")};
    std::vector<std::string> settings = environment(store);
    const int failed =
        posix_spawn(&id_, words[0].c_str(), &actions, nullptr, pointers(words).data(), pointers(settings).data());
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    for (const int fd : high) close(fd);
    if (failed != 0) {
        close(orders_);
        throw std::system_error(failed, std::generic_category(), words[0]);
    }
    store.clear();
}

server_process::~server_process() {
    if (id_ > 0) kill();
    close(orders_);
}

order_answer server_process::tell(const order& o) {
    if (send(orders_, &o, sizeof o, MSG_NOSIGNAL) != sizeof o) throw std::runtime_error("a server has ended");
    pollfd both[] = {{orders_, POLLIN, 0}, {store_.fd(), POLLIN, 0}};
    do {
        if (poll(both, 2, patience_ms) <= 0) throw std::runtime_error("a server does not answer");
        if (both[1].revents != 0) store_.receive();
    } while (both[0].revents == 0);
    order_answer a;
    if (recv(orders_, &a, sizeof a, 0) != sizeof a) throw std::runtime_error("a server has ended");
    return a;
}

void server_process::expect_end() {
    int status = 0;
    waitpid(id_, &status, 0);
    id_ = -1;
    store_.receive();
    if (status != 0) throw std::runtime_error(fmt::format("a server ended with status {:#x}", status));
}

void server_process::kill() {
    ::kill(id_, SIGKILL);
    waitpid(id_, nullptr, 0);
    id_ = -1;
}

}  // namespace skua::upgrade
