// Fuzz target: an attached process that says and writes what it likes. Requests in any order and shape go to the
// server, bytes to every place of its socket's region and of its announcements, and datagrams come meanwhile. Nothing
// may crash, no packet may be lost, and another process's socket goes on.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "attach/server.hh"
#include "support/world.hh"

namespace skua::test {

namespace {

using namespace attach;
using namespace std::chrono_literals;

/// The input, taken from its front; zeros when it has ended.
class source {
public:
    source(const std::uint8_t* data, std::size_t size) : left_(data, size) {}
    bool ended() const { return left_.empty(); }
    std::uint32_t number(unsigned bytes) {
        std::uint32_t v = 0;
        for (; bytes != 0; bytes--) v = v << 8 | byte();
        return v;
    }
    std::span<const std::uint8_t> bytes(std::size_t most) {
        const auto some = left_.first(std::min(most, left_.size()));
        left_ = left_.subspan(some.size());
        return some;
    }

private:
    std::uint8_t byte() {
        const auto one = bytes(1);
        return one.empty() ? 0 : one[0];
    }
    std::span<const std::uint8_t> left_;
};

/// A process by hand, on the thread that turns the server and the stack too.
class process {
public:
    explicit process(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0)) {
        sockaddr_un at{};
        at.sun_family = AF_UNIX;
        std::memcpy(at.sun_path, path.data(), path.size());
        if (connect(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) std::abort();
    }
    ~process() { close(fd_); }
    process(const process&) = delete;
    process& operator=(const process&) = delete;
    int fd() const { return fd_; }
    std::vector<message> hear() const {
        std::vector<message> all;
        while (auto got = receive_message(fd_, MSG_DONTWAIT)) all.push_back(std::move(*got));
        return all;
    }

private:
    const int fd_;
};

class target {
public:
    target()
        : path_("/tmp/skua-fuzz-" + std::to_string(getpid())), world_(1, [](control::config& c) {
              c.pool.packets = 2048;
              c.socket.rmem_max = c.socket.wmem_max = c.socket.rmem_default;
          }) {
        auto made =
            server::make(world_.stack(), {.path = path_, .limits = {.per_user = {.requests_per_second = 10'000'000}}});
        if (!made) std::abort();
        server_ = std::move(*made);
    }

    void run(const std::uint8_t* data, std::size_t size) {
        source in(data, size);
        {
            process other(path_);
            id_ = 0;
            socket_ = {};
            shared_ = {};
            for (const auto what : {request::hello, request::socket}) {
                request_header h{.what = what, .words = {in.number(1) % 2 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0}};
                (void)send_message(other.fd(), bytes_of(h), {}, {});
                turn();
                learn(other.hear());
            }
            while (!in.ended()) step(in, other);
            if (given_ >= 0) close(std::exchange(given_, -1));
        }
        // What its holders say is not sent yet is waited for a while.
        const auto until = std::chrono::steady_clock::now() + 5s;
        report left = server_->look();
        while (left.sockets + left.leaving + left.sessions.size() != 0) {
            require(std::chrono::steady_clock::now() < until, "a session or a socket is left");
            turn();
            left = server_->look();
        }
        if (++inputs_ % 64 == 0) require(world_.missing() == 0, "packets are missing");
    }

private:
    void turn() {
        server_->turn(0ms);
        world_.turn(3);
    }
    /// Takes the memory and the descriptor out of answers.
    void learn(std::vector<message> all) {
        for (message& m : all) {
            const std::size_t body = m.bytes.size() - std::min(m.bytes.size(), sizeof(reply_header));
            if (m.descriptors.empty()) continue;
            if (body == sizeof(hello_reply) && shared_.bytes().empty()) {
                if (auto r = region::open(m.take(0), sizeof(announcements))) shared_ = std::move(*r);
            } else if (body == sizeof(socket_reply) && socket_.bytes().empty()) {
                std::memcpy(&id_, &m.bytes[sizeof(reply_header)], sizeof id_);
                if (auto r = region::open(m.take(0), socket_page::rx_at)) socket_ = std::move(*r);
            } else if (body == 0 && given_ < 0) {
                given_ = m.take(0);
            }
        }
    }
    static void write(const region& r, std::size_t at, std::span<const std::uint8_t> bytes) {
        if (r.bytes().empty()) return;
        for (const std::uint8_t b : bytes) r.bytes()[at++ % r.bytes().size()] = std::byte(b);
    }
    void step(source& in, const process& other) {
        switch (in.number(1) % 8) {
            case 0: {  // a request in order
                const request_header h{
                    .what = request(in.number(1) % 20),
                    .socket = id_,
                    .words = {std::int32_t(in.number(2)), std::int32_t(in.number(1)), std::int32_t(in.number(1))}};
                ask(h, in, other);
                break;
            }
            case 1: {  // any bytes as a message
                const auto bytes = in.bytes(in.number(1));
                (void)send_message(other.fd(), std::as_bytes(bytes), {}, {}, MSG_DONTWAIT);
                break;
            }
            case 2: write(socket_, in.number(2) % socket_page::rx_at, in.bytes(in.number(1) % 32)); break;
            case 3: {  // a record, or what is like one
                if (socket_.bytes().empty()) break;
                auto& page = *socket_.as<socket_page>();
                const std::size_t rx = (socket_.bytes().size() - socket_page::rx_at) / 2;
                write(socket_, socket_page::rx_at + rx + page.tx.written.load(), in.bytes(sizeof(record)));
                page.tx.written += in.number(1) * line;
                break;
            }
            case 4: write(socket_, socket_page::rx_at + in.number(3), in.bytes(in.number(1))); break;
            case 5:
                if (shared_.bytes().empty()) break;
                shared_.as<announcements>()->sockets[in.number(2) % announcements::room] = in.number(1) % 4;
                shared_.as<announcements>()->written += in.number(2);
                break;
            case 6: {  // a datagram for it comes
                world_.inject(udp_frame(spec4, 9, std::uint16_t(7000 + in.number(1) % 4), "news"));
                break;
            }
            default: turn(); learn(other.hear());
        }
        if (world_.packets_in_use() > 1024) world_.sent();
    }
    void ask(request_header h, source& in, const process& other) {
        auto body = std::as_bytes(in.bytes(in.number(1) % 64));
        sockaddr_in name{};
        if (h.what == request::bind || h.what == request::connect || h.what == request::destination) {
            name.sin_family = static_cast<sa_family_t>(in.number(1) % 4 ? AF_INET : in.number(2));
            name.sin_port = htons(std::uint16_t(7000 + in.number(1) % 4));
            name.sin_addr.s_addr = in.number(1) % 2 ? htonl(0xc6120002) : 0;
            body = bytes_of(name);
        }
        h.length = static_cast<std::uint32_t>(body.size());
        const int with = in.number(1) % 2 ? given_ : STDERR_FILENO;
        const bool carries = h.what == request::open && with >= 0;
        (void)send_message(other.fd(), bytes_of(h), body, std::span(&with, carries ? 1 : 0), MSG_DONTWAIT);
    }
    static void require(bool fact, const char* what) {
        if (fact) return;
        std::fprintf(stderr, "%s\n", what);
        std::abort();
    }

    const std::string path_;
    world world_;
    std::unique_ptr<server> server_;
    region socket_, shared_;
    int given_ = -1;
    std::uint64_t id_ = 0;
    unsigned inputs_ = 0;
};

}  // namespace

}  // namespace skua::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // Lives as long as the process: the EAL under it is not taken down in order.
    static auto* const host = new skua::test::target;
    host->run(data, size);
    return 0;
}
