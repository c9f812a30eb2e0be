// The kernel's own sockets over loopback.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <unordered_map>

#include "upgrade/network.hh"

namespace skua::upgrade {

namespace {

int checked(int result, const char* call) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), call);
    return result;
}

class kernel_network final : public network {
public:
    kernel_network() {
        // A port that is free now.
        const int fd = checked(::socket(AF_INET, SOCK_DGRAM, 0), "socket");
        server_.sin_family = AF_INET;
        server_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof server_;
        checked(::bind(fd, reinterpret_cast<const sockaddr*>(&server_), length), "bind");
        checked(::getsockname(fd, reinterpret_cast<sockaddr*>(&server_), &length), "getsockname");
        ::close(fd);
    }
    ~kernel_network() override {
        for (const auto& [n, fd] : clients_) ::close(fd);
    }

    std::unique_ptr<servers> make_servers(server_options o) override {
        static const calls all{::socket, ::bind, ::setsockopt, ::getsockopt, ::recvmmsg, ::sendmmsg, ::close};
        o.local = server_;
        return make_local_servers(all, o);
    }

    void open_client(std::uint64_t n) override {
        const int fd = checked(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), "socket");
        clients_[n] = fd;
        checked(::connect(fd, reinterpret_cast<const sockaddr*>(&server_), sizeof server_), "connect");
    }
    void close_client(std::uint64_t n) override {
        ::close(clients_.at(n));
        clients_.erase(n);
    }
    void send(std::uint64_t client, const message& question) override {
        const int fd = clients_.at(client);
        checked(static_cast<int>(::send(fd, &question, sizeof question, 0)), "send");
        waiting_.push_back(fd);
    }
    unsigned move(const std::function<unsigned()>& serve,
                  const std::function<void(const message&)>& answered) override {
        unsigned n = serve();
        for (const int fd : waiting_) {
            message m;
            while (::recv(fd, &m, sizeof m, 0) == sizeof m) {
                answered(m);
                n++;
            }
        }
        if (n == 0) waiting_.clear();
        return n;
    }

private:
    sockaddr_in server_{};
    std::unordered_map<std::uint64_t, int> clients_;
    std::vector<int> waiting_;  // for an answer
};

}  // namespace

std::unique_ptr<network> make_kernel_network() { return std::make_unique<kernel_network>(); }

}  // namespace skua::upgrade
