// Addresses stand in these files as words of the machine's byte order, in hexadecimal.
#include "sockfs/proc_net.hh"

#include <fmt/format.h>

#include <cstring>

namespace skua::sockfs {

namespace {

constexpr unsigned established = 1, closed = 7;  // TCP_ESTABLISHED, TCP_CLOSE
constexpr int references = 2;                    // what a socket with one file shows

std::string words_of(const ip_address& a, ip_family family) {
    const auto bytes = a.bytes();
    std::string out;
    for (std::size_t i = family == ip_family::v4 ? 12 : 0; i < bytes.size(); i += 4) {
        std::uint32_t word;
        std::memcpy(&word, bytes.data() + i, sizeof word);
        out += fmt::format("{:08X}", word);
    }
    return out;
}

}  // namespace

std::string proc_net_udp_header(ip_family family) {
    if (family == ip_family::v6)
        return "  sl  local_address                         remote_address                        st tx_queue rx_queue tr "
               "tm->when retrnsmt   uid  timeout inode ref pointer drops";
    return fmt::format("{:<127}",
                       "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
                       "inode ref pointer drops");
}

std::string proc_net_udp_line(const socket::udp_socket& s, std::size_t slot) {
    const endpoint local = s.local_endpoint();
    const endpoint remote = s.remote_endpoint().value_or(endpoint{ip_address::any(s.family), 0, 0});
    const std::string line =
        fmt::format("{:5}: {}:{:04X} {}:{:04X} {:02X} {:08X}:{:08X} 00:00000000 00000000 {:5} {:8} {} {} {:016x} {}",
                    slot, words_of(local.address, s.family), local.port, words_of(remote.address, s.family),
                    remote.port, remote.port ? established : closed, s.send_queue_bytes(), s.receive_queue_bytes(),
                    s.owner, 0, s.inode_number(), references, 0, s.dropped_count());
    return s.family == ip_family::v4 ? fmt::format("{:<127}", line) : line;
}

}  // namespace skua::sockfs
