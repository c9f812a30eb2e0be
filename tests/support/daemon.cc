// Starting it, looking into it, and ending it.
#include "support/daemon.hh"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace skua::test {

namespace {

constexpr int patience_ms = 40000;

/// Reads the daemon's output until it says "ready".
bool wait_until_ready(int output) {
    std::string said;
    char text[512];
    for (;;) {
        pollfd p{output, POLLIN, 0};
        if (::poll(&p, 1, patience_ms) != 1) return false;
        const ssize_t n = ::read(output, text, sizeof text);
        if (n <= 0) {
            std::fprintf(stderr, "%s", said.c_str());
            return false;
        }
        said.append(text, static_cast<std::size_t>(n));
        if (said.find("ready\n") != std::string::npos) return true;
    }
}

std::string ask_telemetry(const std::string& prefix, const std::string& command) {
    const int s = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::snprintf(at.sun_path, sizeof at.sun_path, "/var/run/dpdk/%s/dpdk_telemetry.v2", prefix.c_str());
    std::string got(1 << 16, '\0');
    ssize_t n = -1;
    // It greets first.
    if (::connect(s, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 &&
        ::recv(s, got.data(), got.size(), 0) > 0 && ::send(s, command.data(), command.size(), 0) > 0)
        n = ::recv(s, got.data(), got.size(), 0);
    ::close(s);
    if (n < 0) throw std::runtime_error("no telemetry");
    got.resize(static_cast<std::size_t>(n));
    return got;
}

}  // namespace

daemon::daemon(const std::vector<std::string>& more, bool telemetry)
    : prefix_("skua-test-" + std::to_string(getpid())) {
    char name[] = "/tmp/skua-attach-XXXXXX";
    if (::mkdtemp(name) == nullptr || std::getenv("SKUAD") == nullptr) throw std::runtime_error("no daemon to start");
    directory_ = name;
    ::chmod(name, 0755);  // other users may attach too
    arguments_ = {std::getenv("SKUAD"),      "--no-huge", "--no-shconf", "--no-pci", "-m", "512", "--log-level=error",
                  "--file-prefix=" + prefix_};
    if (!telemetry) arguments_.emplace_back("--no-telemetry");
    for (const std::string& a :
         {std::string("--"), std::string("--idle"), std::string("yield"), std::string("--attach-path"), path()})
        arguments_.push_back(a);
    arguments_.insert(arguments_.end(), more.begin(), more.end());
    ::setenv("SKUA_ATTACH", path().c_str(), 1);
    start();
}

void daemon::start() {
    std::vector<char*> pointers;
    for (auto& a : arguments_) pointers.push_back(a.data());
    pointers.push_back(nullptr);
    int output[2];
    if (::pipe(output) != 0) throw std::runtime_error("no pipe");
    const pid_t parent = ::getpid();
    id_ = ::fork();
    if (id_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(1);
        ::dup2(output[1], 1);
        ::close_range(3, ~0u, 0);
        ::execv(pointers[0], pointers.data());
        ::_exit(127);
    }
    ::close(output[1]);
    const bool ready = id_ > 0 && wait_until_ready(output[0]);
    ::close(output[0]);
    if (ready) return;
    if (id_ > 0) stop(SIGKILL);
    throw std::runtime_error("the daemon does not start");
}

int daemon::stop(int signal) {
    int status = -1;
    ::kill(id_, signal);
    ::waitpid(std::exchange(id_, -1), &status, 0);
    return status;
}

daemon::~daemon() {
    const int status = id_ > 0 ? stop(SIGTERM) : 0;
    if (status != 0) std::fprintf(stderr, "the daemon ended with status %#x\n", status);
    std::error_code left_alone;
    std::filesystem::remove_all(directory_, left_alone);
}

bool daemon::runs() const { return id_ > 0 && ::waitpid(id_, nullptr, WNOHANG) == 0; }

std::size_t daemon::descriptors() const {
    std::size_t n = 0;
    for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator("/proc/" + std::to_string(id_) + "/fd"))
        n++;
    return n;
}

std::map<std::string, std::uint64_t> daemon::look(const std::string& command) const {
    const std::string text = ask_telemetry(prefix_, command);
    std::map<std::string, std::uint64_t> all;
    std::vector<std::string> path;
    std::string last;
    for (std::size_t i = 0; i < text.size(); i++) {
        if (text[i] == '{') path.push_back(last);
        else if (text[i] == '}' && !path.empty()) path.pop_back();
        else if (text[i] == '"') {
            const auto end = text.find('"', i + 1);
            last = text.substr(i + 1, end - i - 1);
            i = end;
        } else if (std::isdigit(static_cast<unsigned char>(text[i]))) {
            // Below the command's own name.
            std::string name;
            for (std::size_t k = 2; k < path.size(); k++) name += path[k] + ".";
            char* after = nullptr;
            all[name + last] = std::strtoull(&text[i], &after, 10);
            i = static_cast<std::size_t>(after - text.data()) - 1;
        }
    }
    return all;
}

}  // namespace skua::test
