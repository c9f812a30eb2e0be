// A member's calls.
#include "upgrade/server.hh"

#include <skua/options.h>
#include <skua/udp_grm.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace skua::upgrade {

namespace {

constexpr unsigned burst = 64;
constexpr int buffer = 4 << 20;

void checked(int result, const char* call) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), call);
}

}  // namespace

member::member(const calls& c, const server_options& o, std::uint32_t number, std::uint32_t generation)
    : calls_(c), number_(number), generation_(generation) {
    const auto set = [&](int level, int name, const auto& value, const char* what) {
        checked(calls_.set_option(fd_, level, name, &value, sizeof value), what);
    };
    fd_ = calls_.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    checked(fd_, "socket");
    set(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
    set(SOL_SOCKET, SO_RCVBUF, buffer, "SO_RCVBUF");
    set(SOL_SOCKET, SO_SNDBUF, buffer, "SO_SNDBUF");
    checked(calls_.bind(fd_, reinterpret_cast<const sockaddr*>(&o.local), sizeof o.local), "bind");
    if (!o.generations) return;
    const std::uint32_t flow[] = {DISSECTOR_FLOW, o.flow_timeout};
    std::uint32_t there = 0;
    socklen_t length = sizeof there;
    checked(calls_.get_option(fd_, IPPROTO_UDP, UDP_GRM_WORKING_GEN, &there, &length), "UDP_GRM_WORKING_GEN");
    if (there == 0xffffffff) set(SOL_SKUA, SKUA_GROUP_FLOWS, static_cast<int>(o.flow_room), "SKUA_GROUP_FLOWS");
    set(IPPROTO_UDP, UDP_GRM_DISSECTOR, flow, "UDP_GRM_DISSECTOR");
    set(IPPROTO_UDP, UDP_GRM_SOCKET_GEN, generation, "UDP_GRM_SOCKET_GEN");
}

member::member(const calls& c, int fd, std::uint32_t number, std::uint32_t generation)
    : calls_(c), number_(number), generation_(generation), fd_(fd) {}

member::~member() { calls_.close(fd_); }

void member::work() {
    checked(calls_.set_option(fd_, IPPROTO_UDP, UDP_GRM_WORKING_GEN, &generation_, sizeof generation_),
            "UDP_GRM_WORKING_GEN");
}

std::uint32_t member::working_generation() const {
    std::uint32_t working = 0;
    socklen_t length = sizeof working;
    checked(calls_.get_option(fd_, IPPROTO_UDP, UDP_GRM_WORKING_GEN, &working, &length), "UDP_GRM_WORKING_GEN");
    return working;
}

void member::hand_on(std::vector<flow_record>& to) const {
    for (const auto& [flow, state] : flows_) to.push_back({flow, state.key, state.next, number_});
}

unsigned member::serve(std::uint32_t working, std::mt19937_64& random) {
    std::array<message, burst> data;
    std::array<sockaddr_in, burst> from;
    std::array<iovec, burst> parts;
    std::array<mmsghdr, burst> headers;
    for (unsigned done = 0;;) {
        for (unsigned i = 0; i < burst; i++) {
            parts[i] = {&data[i], sizeof data[i]};
            headers[i] = {};
            headers[i].msg_hdr = {&from[i], sizeof from[i], &parts[i], 1, nullptr, 0, 0};
        }
        const int n = calls_.receive(fd_, headers.data(), burst, MSG_DONTWAIT, nullptr);
        if (n < 0 && errno == EAGAIN) return done;
        checked(n, "recvmmsg");
        for (int i = 0; i < n; i++) answer(data[static_cast<unsigned>(i)], working, random);
        const int sent = calls_.send(fd_, headers.data(), static_cast<unsigned>(n), MSG_DONTWAIT);
        checked(sent, "sendmmsg");
        done += static_cast<unsigned>(n);
        if (n < static_cast<int>(burst)) return done;
    }
}

void member::answer(message& m, std::uint32_t working, std::mt19937_64& random) {
    const auto at = flows_.find(m.flow);
    m.known = m.sequence == 0 || (at != flows_.end() && at->second.key == m.key && at->second.next == m.sequence);
    if (m.sequence == 0 && generation_ != working) begun_when_old_++;
    if (m.sequence == 0 || !m.known) m.key = random();
    m.member = number_;
    if (m.last) flows_.erase(m.flow);
    else flows_[m.flow] = {m.key, m.sequence + 1};
}

}  // namespace skua::upgrade
