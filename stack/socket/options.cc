// Socket options: one table for set and get.
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/random.hh"
#include "net/ip_output.hh"
#include "skua/options.h"
#include "socket/generation_options.hh"
#include "socket/udp_socket.hh"
#include "udp/bpf_selector.hh"

namespace skua::socket {

namespace {

/// What getsockopt gives back: an int, or bytes of another shape.
struct option_value {
    option_value(int v) : is_int(true), number(v), length(sizeof v) { std::memcpy(bytes.data(), &v, sizeof v); }
    option_value(const void* data, std::size_t n) : length(n) { std::memcpy(bytes.data(), data, n); }
    bool is_int = false;
    int number = 0;
    std::size_t length;
    std::array<char, 64> bytes;
};

constexpr std::int32_t smallest_receive_buffer = 2304, smallest_send_buffer = 4608;  // SOCK_MIN_RCVBUF, SOCK_MIN_SNDBUF
constexpr std::size_t ints_of_meminfo = SK_MEMINFO_VARS;

/// The kernel keeps twice what was asked for, for the cost of its own structures (sock_setsockopt).
std::int32_t doubled(int asked, std::int32_t smallest) {
    return std::max(std::min(asked, INT32_MAX / 2) * 2, smallest);
}
/// A negative size counts as a huge one.
int capped(int asked, std::int32_t most) {
    return static_cast<int>(std::min(static_cast<std::uint32_t>(asked), static_cast<std::uint32_t>(most)));
}

/// The whole of an ordinary file. Errors: EBADF; EINVAL no such file, empty, or longer than any program; EIO.
result<std::vector<std::byte>> read_object(int fd) {
    constexpr off_t longest = 1 << 20;
    struct stat facts {};
    if (fstat(fd, &facts) != 0) return fail(errno);
    if (!S_ISREG(facts.st_mode) || facts.st_size == 0 || facts.st_size > longest) return fail(EINVAL);
    std::vector<std::byte> bytes(static_cast<std::size_t>(facts.st_size));
    if (pread(fd, bytes.data(), bytes.size(), 0) != facts.st_size) return fail(EIO);
    return bytes;
}

}  // namespace

/// What the table's functions may touch; the functions that more than one row uses.
struct option_access {
    using sock = udp_socket;
    using settings = udp_socket::settings;
    using getter = result<option_value> (*)(sock&);
    using setter = result<void> (*)(sock&, int);
    using bytes_setter = result<void> (*)(sock&, std::span<const std::byte>);
    struct row {
        int level;
        int name;
        getter get = nullptr;              // none: cannot be read
        setter set = nullptr;              // none: cannot be set, unless by
        bytes_setter set_bytes = nullptr;  // for values that are no int
    };

    template <auto Field>
    static result<option_value> get(sock& s) {
        return option_value(static_cast<int>((s.settings_.*Field).load(std::memory_order_relaxed)));
    }
    template <auto Field>
    static result<void> set_flag(sock& s, int v) {
        (s.settings_.*Field).store(v != 0, std::memory_order_relaxed);
        return {};
    }
    /// A value of [lowest, highest], stored as it is.
    template <auto Field, int Lowest, int Highest>
    static result<void> set_within(sock& s, int v) {
        if (v < Lowest || v > Highest) return fail(EINVAL);
        s.settings_.*Field = static_cast<typename std::remove_reference_t<decltype(s.settings_.*Field)>::value_type>(v);
        return {};
    }
    template <auto Field, int Default>
    static result<option_value> get_or(sock& s) {
        const int v = (s.settings_.*Field).load(std::memory_order_relaxed);
        return option_value(v < 0 ? Default : v);
    }
    template <auto Field>
    static result<option_value> get_control(sock& s) {
        const auto hold = s.host_.tables().lock();
        return option_value(static_cast<int>(s.*Field));
    }
    /// A field that the lookup tables have copied.
    template <auto Field>
    static result<void> set_control(sock& s, int v) {
        const std::lock_guard hold(s.names_lock_);
        {
            const auto lock = s.host_.tables().lock();
            s.*Field = static_cast<std::remove_reference_t<decltype(s.*Field)>>(v);  // a bool becomes v != 0
        }
        s.host_.tables().refresh(s);
        return {};
    }
    // ---- how a SO_REUSEPORT group chooses ----
    /// As reuseport_attach_filter.
    static result<void> attach_classic(sock& s, std::span<const std::byte> value) {
        if (s.settings_.filter_locked) return fail(EPERM);
        sock_fprog program;
        if (value.size() != sizeof program) return fail(EINVAL);
        std::memcpy(&program, value.data(), sizeof program);
        if (program.filter == nullptr) return fail(program.len == 0 ? EINVAL : EFAULT);
        auto made = udp::bpf_selector::from_classic({program.filter, program.len});
        if (!made) return fail(made.error().code);
        return s.host_.tables().attach(s, std::move(*made));
    }
    /// As reuseport_attach_bpf, but that the program itself is given, or a file with it.
    static result<void> attach_extended(sock& s, std::span<const std::byte> value) {
        if (s.settings_.filter_locked) return fail(EPERM);
        std::vector<std::byte> file;
        if (value.size() == sizeof(int)) {
            int fd = -1;
            std::memcpy(&fd, value.data(), sizeof fd);
            const auto read = read_object(fd);
            if (!read) return fail(read.error().code);
            file = *read;
            value = file;
        }
        auto made = udp::bpf_selector::from_extended(value);
        if (!made) return fail(made.error().code);
        return s.host_.tables().attach(s, std::move(*made));
    }
    /// Once set it stays (sk_setsockopt).
    static result<void> lock_filter(sock& s, int v) {
        if (v == 0 && s.settings_.filter_locked) return fail(EPERM);
        s.settings_.filter_locked = v != 0;
        return {};
    }
    static result<void> detach(sock& s, int) { return s.host_.tables().attach(s, nullptr); }
    static result<void> select_by(sock& s, int how) {
        std::shared_ptr<const udp::selector> made;
        system_random random;
        switch (how) {
            case SKUA_SELECT_BUCKETS: break;
            case SKUA_SELECT_MODULO: made = std::make_shared<udp::modulo_selector>(); break;
            case SKUA_SELECT_SOURCE: made = std::make_shared<udp::source_selector>(random); break;
            case SKUA_SELECT_LOCAL: made = std::make_shared<udp::local_selector>(); break;
            default: return fail(EINVAL);
        }
        const bool none = !made;
        const auto done = s.host_.tables().attach(s, std::move(made));
        return none && !done && done.error().code == ENOENT ? result<void>{} : done;
    }
    static result<void> select_by_cookie(sock& s, std::span<const std::byte> value) {
        skua_cookie where;
        if (value.size() != sizeof where) return fail(EINVAL);
        std::memcpy(&where, value.data(), sizeof where);
        if (where.length != 1 && where.length != 2 && where.length != 4) return fail(EINVAL);
        return s.host_.tables().attach(
            s, std::make_shared<udp::cookie_selector>(where.offset, static_cast<std::uint8_t>(where.length)));
    }

    static result<void> set_weight(sock& s, int v) {
        return v < 0 || v > sock::most_weight ? fail(EINVAL) : set_control<&sock::weight>(s, v);
    }

    static result<option_value> get_flow_room(sock& s) { return option_value(flow_room(s.host_, s)); }
    static result<void> set_flow_room(sock& s, int flows) { return socket::set_flow_room(s.host_, s, flows); }

    template <int Value>
    static result<option_value> constant(sock&) {
        return option_value(Value);
    }

    static result<void> force_receive_buffer(sock& s, int asked) {
        if (!s.who_.privileged()) return fail(EPERM);
        s.settings_.receive_buffer = doubled(std::max(asked, 0), smallest_receive_buffer);
        return {};
    }
    static result<void> set_receive_buffer(sock& s, int asked) {
        s.settings_.receive_buffer = doubled(capped(asked, s.host_.socket_limits().rmem_max), smallest_receive_buffer);
        return {};
    }
    static void change_send_buffer(sock& s, int asked) {
        s.settings_.send_buffer = doubled(asked, smallest_send_buffer);
        if (s.waiters_.active()) s.waiters_.wake(writeable_events, 0);
    }
    static result<void> force_send_buffer(sock& s, int asked) {
        if (!s.who_.privileged()) return fail(EPERM);
        change_send_buffer(s, std::max(asked, 0));
        return {};
    }
    static result<void> set_send_buffer(sock& s, int asked) {
        change_send_buffer(s, capped(asked, s.host_.socket_limits().wmem_max));
        return {};
    }

    template <auto Field>
    static result<option_value> get_timeout(sock& s) {
        const auto t = std::max<nanoseconds::rep>((s.settings_.*Field).load(std::memory_order_relaxed), 0);
        const timeval v{t / 1000000000, t % 1000000000 / 1000};
        return option_value(&v, sizeof v);
    }
    template <auto Field>
    static result<void> set_timeout(sock& s, std::span<const std::byte> bytes) {
        timeval v;
        if (bytes.size() < sizeof v) return fail(EINVAL);
        std::memcpy(&v, bytes.data(), sizeof v);
        if (v.tv_usec < 0 || v.tv_usec >= 1000000) return fail(EDOM);
        constexpr std::int64_t longest = 4'000'000'000;  // seconds: beyond a century it is the same as none
        nanoseconds::rep t = -1;
        if (v.tv_sec < 0) t = 0;  // as Linux: calls fail at once
        else if ((v.tv_sec != 0 || v.tv_usec != 0) && v.tv_sec < longest) t = v.tv_sec * 1000000000 + v.tv_usec * 1000;
        s.settings_.*Field = t;
        return {};
    }

    static result<void> bind_to_link(sock& s, std::uint32_t ifindex) {
        const std::lock_guard hold(s.names_lock_);
        if (s.device != 0 && !s.who_.privileged()) return fail(EPERM);
        s.change_device(ifindex);
        s.publish_again();
        return {};
    }
    static result<void> set_device(sock& s, int ifindex) {
        if (ifindex < 0) return fail(EINVAL);
        return bind_to_link(s, static_cast<std::uint32_t>(ifindex));
    }
    static result<void> set_device_name(sock& s, std::span<const std::byte> bytes) {
        const auto* text = reinterpret_cast<const char*>(bytes.data());
        const std::string_view name(text, strnlen(text, std::min<std::size_t>(bytes.size(), IFNAMSIZ - 1)));
        std::uint32_t ifindex = 0;
        if (!name.empty()) {
            const rcu_domain::read_guard guard(s.host_.rcu());
            const auto* link = s.host_.topology().by_name(name);
            if (link == nullptr) return fail(ENODEV);
            ifindex = link->index;
        }
        return bind_to_link(s, ifindex);
    }
    static result<option_value> get_device_name(sock& s) {
        const rcu_domain::read_guard guard(s.host_.rcu());
        const auto* link = s.host_.topology().by_index(s.current_names().device);
        if (link == nullptr) return option_value("", 0);
        return option_value(link->name.c_str(), link->name.size() + 1);
    }
    static result<void> set_v6_only(sock& s, int v) {
        const std::lock_guard hold(s.names_lock_);
        if (s.local.port != 0) return fail(EINVAL);
        {
            const auto lock = s.host_.tables().lock();
            s.v6_only = v != 0;
        }
        s.publish_again();
        return {};
    }
    template <ip_family Family>
    static result<option_value> get_path_mtu(sock& s) {
        const rcu_domain::read_guard guard(s.host_.rcu());
        const auto& n = s.current_names();
        if (!n.connected || n.remote.address.family() != Family) return fail(ENOTCONN);
        const auto plan = s.plan_for(n, n.remote);
        if (!plan) return fail(ENOTCONN);
        return option_value(static_cast<int>(plan->mtu));
    }
    static result<void> set_cork(sock& s, int v) {
        s.settings_.cork = v != 0;
        return v != 0 ? result<void>{} : s.push_corked();
    }
    static result<void> set_ttl(sock& s, int v) {
        return v == 0 ? fail(EINVAL) : set_within<&settings::ttl, -1, 255>(s, v);
    }
    template <std::uint32_t What>
    static result<option_value> get_told(sock& s) {
        return option_value((s.settings_.tell.load(std::memory_order_relaxed) & What) != 0 ? 1 : 0);
    }
    template <std::uint32_t What>
    static result<void> set_told(sock& s, int v) {
        if (v != 0) s.settings_.tell.fetch_or(What, std::memory_order_relaxed);
        else s.settings_.tell.fetch_and(~What, std::memory_order_relaxed);
        return {};
    }
    static result<void> set_fragment_size(sock& s, int v) {
        constexpr int least = 1280, most = 65535;  // IPV6_MIN_MTU; what is larger limits nothing
        if (v != 0 && v < least) return fail(EINVAL);
        s.settings_.fragment_size = static_cast<std::uint16_t>(std::min(v, most));
        return {};
    }
    static result<void> set_traffic_class(sock& s, int v) {
        return set_within<&settings::traffic_class, 0, 255>(s, v == -1 ? 0 : v);  // RFC 3542 §6.5
    }
    static result<option_value> get_error(sock& s) { return option_value(s.take_error()); }
    static result<option_value> get_domain(sock& s) {
        return option_value(s.family == ip_family::v4 ? AF_INET : AF_INET6);
    }
    static result<option_value> get_memory(sock& s) {
        std::array<std::uint32_t, ints_of_meminfo> m{};
        m[SK_MEMINFO_RMEM_ALLOC] = static_cast<std::uint32_t>(s.queue_.bytes());
        m[SK_MEMINFO_RCVBUF] = static_cast<std::uint32_t>(s.settings_.receive_buffer.load());
        m[SK_MEMINFO_WMEM_ALLOC] = static_cast<std::uint32_t>(s.wmem_.load());
        m[SK_MEMINFO_SNDBUF] = static_cast<std::uint32_t>(s.settings_.send_buffer.load());
        m[SK_MEMINFO_DROPS] = static_cast<std::uint32_t>(s.dropped_count());
        return option_value(m.data(), sizeof m);
    }

    static const row* find(int level, int name);
    static const row table[];
};

using x = option_access;
using sets = option_access::settings;

/// A new option is a new row.
const option_access::row option_access::table[] = {
    {SOL_SOCKET, SO_REUSEADDR, x::get_control<&udp_socket::reuse_address>, x::set_control<&udp_socket::reuse_address>},
    {SOL_SOCKET, SO_REUSEPORT, x::get_control<&udp_socket::reuse_port>, x::set_control<&udp_socket::reuse_port>},
    {SOL_SOCKET, SO_INCOMING_CPU, x::get_control<&udp_socket::incoming_shard>,
     x::set_control<&udp_socket::incoming_shard>},
    {SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, nullptr, nullptr, x::attach_classic},
    {SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, nullptr, nullptr, x::attach_extended},
    {SOL_SOCKET, SO_LOCK_FILTER, x::get<&sets::filter_locked>, x::lock_filter},
    {SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, nullptr, x::detach},
    {SOL_SKUA, SKUA_REUSEPORT_SELECT, nullptr, x::select_by},
    {SOL_SKUA, SKUA_REUSEPORT_WEIGHT, x::get_control<&udp_socket::weight>, x::set_weight},
    {SOL_SKUA, SKUA_REUSEPORT_COOKIE, nullptr, nullptr, x::select_by_cookie},
    {SOL_SKUA, SKUA_GROUP_FLOWS, x::get_flow_room, x::set_flow_room},
    {SOL_SOCKET, SO_RCVBUF, x::get<&sets::receive_buffer>, x::set_receive_buffer},
    {SOL_SOCKET, SO_SNDBUF, x::get<&sets::send_buffer>, x::set_send_buffer},
    {SOL_SOCKET, SO_RCVBUFFORCE, nullptr, x::force_receive_buffer},
    {SOL_SOCKET, SO_SNDBUFFORCE, nullptr, x::force_send_buffer},
    {SOL_SOCKET, SO_RCVTIMEO, x::get_timeout<&sets::receive_timeout>, nullptr, x::set_timeout<&sets::receive_timeout>},
    {SOL_SOCKET, SO_SNDTIMEO, x::get_timeout<&sets::send_timeout>, nullptr, x::set_timeout<&sets::send_timeout>},
    {SOL_SOCKET, SO_BROADCAST, x::get<&sets::broadcast>, x::set_flag<&sets::broadcast>},
    {SOL_SOCKET, SO_BINDTODEVICE, x::get_device_name, nullptr, x::set_device_name},
    {SOL_SOCKET, SO_BINDTOIFINDEX, x::get_control<&udp_socket::device>, x::set_device},
    {SOL_SOCKET, SO_ERROR, x::get_error},
    {SOL_SOCKET, SO_TYPE, x::constant<SOCK_DGRAM>},
    {SOL_SOCKET, SO_DOMAIN, x::get_domain},
    {SOL_SOCKET, SO_PROTOCOL, x::constant<IPPROTO_UDP>},
    {SOL_SOCKET, SO_ACCEPTCONN, x::constant<0>},
    {SOL_SOCKET, SO_MEMINFO, x::get_memory},
    {IPPROTO_IP, IP_TTL, x::get_or<&sets::ttl, net::default_hop_limit>, x::set_ttl},
    {IPPROTO_IP, IP_TOS, x::get<&sets::tos>, x::set_within<&sets::tos, INT32_MIN, INT32_MAX>},
    {IPPROTO_IP, IP_MTU_DISCOVER, x::get<&sets::pmtu_v4>, x::set_within<&sets::pmtu_v4, 0, IP_PMTUDISC_OMIT>},
    {IPPROTO_IP, IP_MTU, x::get_path_mtu<ip_family::v4>},
    {IPPROTO_IP, IP_PKTINFO, x::get_told<tell::ipv4_packet_info>, x::set_told<tell::ipv4_packet_info>},
    {IPPROTO_IP, IP_RECVTTL, x::get_told<tell::ttl>, x::set_told<tell::ttl>},
    {IPPROTO_IP, IP_RECVTOS, x::get_told<tell::tos>, x::set_told<tell::tos>},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, x::get_told<tell::ipv6_packet_info>, x::set_told<tell::ipv6_packet_info>},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, x::get_told<tell::hop_limit>, x::set_told<tell::hop_limit>},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, x::get_told<tell::traffic_class>, x::set_told<tell::traffic_class>},
    {IPPROTO_IPV6, IPV6_V6ONLY, x::get_control<&udp_socket::v6_only>, x::set_v6_only},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, x::get_or<&sets::unicast_hops, net::default_hop_limit>,
     x::set_within<&sets::unicast_hops, -1, 255>},
    {IPPROTO_IPV6, IPV6_TCLASS, x::get<&sets::traffic_class>, x::set_traffic_class},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, x::get<&sets::pmtu_v6>, x::set_within<&sets::pmtu_v6, 0, IPV6_PMTUDISC_OMIT>},
    {IPPROTO_IPV6, IPV6_MTU, x::get_path_mtu<ip_family::v6>, x::set_fragment_size},
    {IPPROTO_IPV6, IPV6_DONTFRAG, x::get<&sets::whole_v6>, x::set_flag<&sets::whole_v6>},
    {IPPROTO_UDP, UDP_CORK, x::get<&sets::cork>, x::set_cork},
};

const option_access::row* option_access::find(int level, int name) {
    const auto at = std::ranges::find_if(table, [&](const row& r) { return r.level == level && r.name == name; });
    return at == std::end(table) ? nullptr : at;
}

result<void> udp_socket::setsockopt(int level, int name, const void* value, socklen_t length) {
    if (static_cast<int>(length) < 0) return fail(EINVAL);
    const auto* option = option_access::find(level, name);
    const std::span bytes(static_cast<const std::byte*>(value), length);
    if (is_generation_option(level, name)) return set_generation_option(host_, *this, name, bytes);
    if (level == IPPROTO_IPV6 && family == ip_family::v4) return fail(ENOPROTOOPT);
    if (option && option->set_bytes) return option->set_bytes(*this, bytes);
    // Here Linux looks at the length before the name.
    if ((level == SOL_SOCKET || level == IPPROTO_UDP) && length < sizeof(int)) return fail(EINVAL);
    if (option == nullptr || option->set == nullptr) return fail(ENOPROTOOPT);
    int number = 0;
    if (length >= sizeof number) std::memcpy(&number, value, sizeof number);
    else if (level != IPPROTO_IP) return fail(EINVAL);
    else if (length > 0) number = static_cast<unsigned char>(bytes[0]);  // do_ip_setsockopt takes a byte too
    return option->set(*this, number);
}

result<void> udp_socket::getsockopt(int level, int name, void* value, socklen_t* length) {
    if (static_cast<int>(*length) < 0) return fail(EINVAL);
    if (is_generation_option(level, name)) {
        const auto got = get_generation_option(host_, *this, name, {static_cast<std::byte*>(value), *length});
        if (!got) return fail(got.error().code);
        *length = static_cast<socklen_t>(*got);
        return {};
    }
    const auto* option = option_access::find(level, name);
    // ip_getsockopt says so of every level that is not its own.
    const bool known_level = level == SOL_SOCKET || level == SOL_SKUA || level == IPPROTO_IP || level == IPPROTO_UDP ||
                             family == ip_family::v6;
    if (!known_level) return fail(EOPNOTSUPP);
    if (option == nullptr || option->get == nullptr) return fail(ENOPROTOOPT);
    if (level == SOL_SOCKET && name == SO_BINDTODEVICE && *length < IFNAMSIZ && current_device() != 0)
        return fail(EINVAL);
    const auto got = option->get(*this);
    if (!got) return fail(got.error().code);
    if (level == IPPROTO_IP && got->is_int && *length > 0 && *length < sizeof(int) && got->number >= 0 &&
        got->number <= 255) {
        // do_ip_getsockopt gives a byte to who has no room for more.
        *static_cast<unsigned char*>(value) = static_cast<unsigned char>(got->number);
        *length = 1;
        return {};
    }
    *length = static_cast<socklen_t>(std::min<std::size_t>(*length, got->length));
    std::memcpy(value, got->bytes.data(), *length);
    return {};
}

}  // namespace skua::socket
