// Starting skuad, and waiting for its word.
#include "support/own_daemon.hh"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

namespace skua::support {

namespace {

constexpr int patience_ms = 20'000;

/// With its words on `output`, and what DPDK keeps in files in `directory`. It does not outlive this thread. Returns
/// its id.
pid_t start_program(char** arguments, int output, const std::filesystem::path& directory) {
    const pid_t id = fork();
    if (id < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (id > 0) return id;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setenv("RUNTIME_DIRECTORY", directory.c_str(), 1);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execv(arguments[0], arguments);
    dprintf(output, "%s: no such program\n", arguments[0]);
    _exit(EXIT_FAILURE);
}

std::string the_skuad() {
    const char* const given = std::getenv("SKUAD");
    return given != nullptr ? given : program_beside("skuad").string();
}

}  // namespace

std::filesystem::path program_beside(const std::string& name) {
    const auto here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    const auto beside = here / name;
    return exists(beside) ? beside : here.parent_path() / "apps" / name;
}

own_daemon::own_daemon(const std::vector<std::string>& options) {
    std::string name = std::filesystem::temp_directory_path() / "skua-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), "mkdtemp");
    directory_ = name;
    const std::string path = directory_ / "attach";
    setenv("SKUA_ATTACH", path.c_str(), 1);
    // The shard gives way to the programs: on a machine with few CPUs it shares one with them.
    std::vector<std::string> args = {
        the_skuad(),       "--no-pci",      "--file-prefix=" + directory_.filename().string(),
        "--eal-hugepages", "never",         "--idle",
        "yield",           "--attach-path", path};
    args.insert(args.end(), options.begin(), options.end());
    std::vector<char*> pointers;
    for (auto& a : args) pointers.push_back(a.data());
    pointers.push_back(nullptr);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    output_ = ends[0];
    id_ = start_program(pointers.data(), ends[1], directory_);
    close(ends[1]);
    try {
        wait_until_ready();
    } catch (...) {
        end();
        throw;
    }
}

void own_daemon::wait_until_ready() {
    std::string said;
    char text[512];
    while (said.find("ready\n") == std::string::npos) {
        pollfd p{output_, POLLIN, 0};
        const ssize_t n = poll(&p, 1, patience_ms) == 1 ? read(output_, text, sizeof text) : 0;
        if (n <= 0) throw std::runtime_error("skuad does not start:\n" + said);
        said.append(text, static_cast<std::size_t>(n));
    }
}

std::string own_daemon::look(const std::string& command) const {
    const std::string path = directory_ / "dpdk" / directory_.filename() / "dpdk_telemetry.v2";
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    path.copy(at.sun_path, sizeof at.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    std::string got(1 << 16, '\0');
    ssize_t n = -1;
    // It greets first.
    if (connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 &&
        recv(fd, got.data(), got.size(), 0) > 0 && send(fd, command.data(), command.size(), MSG_NOSIGNAL) > 0)
        n = recv(fd, got.data(), got.size(), 0);
    close(fd);
    if (n < 0) throw std::runtime_error("skuad's telemetry does not answer");
    got.resize(static_cast<std::size_t>(n));
    return got;
}

own_daemon::~own_daemon() { end(); }

void own_daemon::end() {
    if (id_ > 0) {
        kill(id_, SIGTERM);
        waitpid(id_, nullptr, 0);
    }
    if (output_ >= 0) close(output_);
    std::error_code left_alone;
    remove_all(directory_, left_alone);
}

}  // namespace skua::support
