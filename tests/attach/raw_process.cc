// The protocol, spoken by hand.
#include "attach/raw_process.hh"

#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

namespace skua::test {

using namespace attach;

raw_process::raw_process(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::strncpy(at.sun_path, path.c_str(), sizeof at.sun_path - 1);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) throw std::runtime_error("no daemon");
    const timeval patience{20, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

raw_process::~raw_process() {
    if (fd_ >= 0) close(fd_);
}

bool raw_process::say(std::span<const std::byte> bytes, std::span<const int> descriptors) const {
    return send_message(fd_, bytes, {}, descriptors).has_value();
}

std::optional<message> raw_process::hear() const {
    auto got = receive_message(fd_);
    if (!got) return {};
    return std::move(*got);
}

int raw_process::ask(request what, std::uint64_t of, std::array<std::int32_t, 3> words, std::span<const std::byte> body,
                     std::span<const int> descriptors) {
    request_header h;
    h.what = what;
    h.socket = of;
    std::copy(words.begin(), words.end(), h.words);
    h.length = static_cast<std::uint32_t>(body.size());
    if (!send_message(fd_, bytes_of(h), body, descriptors)) return -1;
    auto got = hear();
    reply_header head;
    if (!got || got->bytes.size() < sizeof head) return -1;
    std::memcpy(&head, got->bytes.data(), sizeof head);
    got->bytes.erase(got->bytes.begin(), got->bytes.begin() + sizeof head);
    answer_ = std::move(*got);
    return head.error;
}

bool raw_process::hello() {
    if (ask(request::hello) != 0) return false;
    auto memory = region::open(answer_.take(0), sizeof(announcements));
    if (memory) shared_ = std::move(*memory);
    return memory.has_value();
}

raw_process::socket raw_process::open_socket(std::uint16_t port) {
    socket made;
    if (ask(request::socket, 0, {AF_INET, SOCK_DGRAM, 0}) != 0) throw std::runtime_error("no socket");
    socket_reply reply;
    std::memcpy(&reply, answer_.bytes.data(), sizeof reply);
    made.id = reply.id;
    made.number = reply.number;
    auto memory = region::open(answer_.take(0), socket_page::rx_at);
    auto second = hear();
    if (!memory || !second) throw std::runtime_error("half a socket");
    made.memory = std::move(*memory);
    made.fd = second->take(0);
    const sockaddr_in name = at_home(port);
    if (ask(request::bind, made.id, {}, bytes_of(name)) != 0) throw std::runtime_error("no port");
    return made;
}

sockaddr_in at_home(std::uint16_t port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons(port);
    return a;
}

}  // namespace skua::test
