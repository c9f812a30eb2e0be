// Control messages of Linux: put_cmsg() and its users on the way in, ip_cmsg_send() and its twin on the way out.
#include "socket/ancillary.hh"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace skua::socket {

namespace {

/// As put_cmsg: what does not fit whole is cut, or left out.
class control_writer {
public:
    explicit control_writer(msghdr& m) : message_(m), room_(m.msg_control == nullptr ? 0 : m.msg_controllen) {}
    ~control_writer() { message_.msg_controllen = used_; }
    control_writer(const control_writer&) = delete;
    control_writer& operator=(const control_writer&) = delete;

    template <class T>
    void put(int level, int type, const T& value) {
        const std::size_t left = room_ - used_;
        if (left < sizeof(cmsghdr)) {
            message_.msg_flags |= MSG_CTRUNC;
            return;
        }
        cmsghdr head{};
        head.cmsg_level = level;
        head.cmsg_type = type;
        head.cmsg_len = CMSG_LEN(sizeof value);
        if (head.cmsg_len > left) {
            message_.msg_flags |= MSG_CTRUNC;
            head.cmsg_len = left;
        }
        auto* const at = static_cast<std::byte*>(message_.msg_control) + used_;
        std::memcpy(at, &head, sizeof head);
        std::memcpy(at + CMSG_LEN(0), &value, head.cmsg_len - CMSG_LEN(0));
        used_ += std::min(CMSG_SPACE(sizeof value), left);
    }

private:
    msghdr& message_;
    const std::size_t room_;
    std::size_t used_ = 0;
};

/// ip_cmsg_recv_offset
void write_ipv4(control_writer& out, std::uint32_t wanted, const arrival& of) {
    if (wanted & tell::ipv4_packet_info) {
        in_pktinfo info{};
        info.ipi_ifindex = static_cast<int>(of.ifindex);
        info.ipi_spec_dst.s_addr = of.answer_from.value.raw();
        info.ipi_addr.s_addr = of.destination.v4().value.raw();
        out.put(IPPROTO_IP, IP_PKTINFO, info);
    }
    if (wanted & tell::ttl) out.put(IPPROTO_IP, IP_TTL, int(of.hop_limit));
    if (wanted & tell::tos) out.put(IPPROTO_IP, IP_TOS, of.traffic_class);
}

template <class T>
std::optional<T> value_of(const cmsghdr& head, const std::byte* data) {
    if (head.cmsg_len != CMSG_LEN(sizeof(T))) return {};
    T value;
    std::memcpy(&value, data, sizeof value);
    return value;
}

result<void> set_within(std::int16_t& to, const std::optional<int>& value, int lowest) {
    if (!value || *value < lowest || *value > 255) return fail(EINVAL);
    to = static_cast<std::int16_t>(*value);
    return {};
}

/// ip_cmsg_send
result<void> read_ipv4(const cmsghdr& head, const std::byte* data, send_choice& into) {
    switch (head.cmsg_type) {
        case IP_PKTINFO: {
            const auto info = value_of<in_pktinfo>(head, data);
            if (!info) return fail(EINVAL);
            if (info->ipi_ifindex != 0) into.ifindex = static_cast<std::uint32_t>(info->ipi_ifindex);
            into.source = ipv4_address(be32::from_raw(info->ipi_spec_dst.s_addr));
            return {};
        }
        case IP_TTL: return set_within(into.hop_limit, value_of<int>(head, data), 1);
        case IP_TOS:
            if (const auto byte = value_of<std::uint8_t>(head, data)) return set_within(into.traffic_class, *byte, 0);
            return set_within(into.traffic_class, value_of<int>(head, data), 0);
        default: return fail(EINVAL);
    }
}

result<void> read_packet_info6(const cmsghdr& head, const std::byte* data, send_choice& into) {
    const auto info = value_of<in6_pktinfo>(head, data);
    if (!info) return fail(EINVAL);
    if (info->ipi6_ifindex != 0) into.ifindex = info->ipi6_ifindex;
    ipv6_address source;
    std::memcpy(source.bytes.data(), &info->ipi6_addr, source.bytes.size());
    into.source = source;
    return {};
}

/// ip6_datagram_send_ctl
result<void> read_ipv6(const cmsghdr& head, const std::byte* data, send_choice& into) {
    switch (head.cmsg_type) {
        case IPV6_PKTINFO: return read_packet_info6(head, data, into);
        case IPV6_HOPLIMIT: return set_within(into.hop_limit, value_of<int>(head, data), -1);
        case IPV6_TCLASS: return set_within(into.traffic_class, value_of<int>(head, data), -1);
        default: return fail(EINVAL);
    }
}

result<void> read_one(const cmsghdr& head, const std::byte* data, bool to_v4, ip_family family, send_choice& into) {
    switch (head.cmsg_level) {
        // __sock_cmsg_send passes over what belongs to other families.
        case SOL_SOCKET: return head.cmsg_type == SCM_RIGHTS || head.cmsg_type == SCM_CREDENTIALS
                                    ? result<void>()
                                    : fail(EINVAL);
        case IPPROTO_UDP: return fail(EINVAL);
        case IPPROTO_IP: return to_v4 ? read_ipv4(head, data, into) : result<void>();
        case IPPROTO_IPV6:
            if (!to_v4) return read_ipv6(head, data, into);
            if (family == ip_family::v4 || head.cmsg_type != IPV6_PKTINFO) return {};
            if (auto done = read_packet_info6(head, data, into); !done) return done;
            return into.source.is_v4() ? result<void>() : fail(EINVAL);
        default: return {};
    }
}

}  // namespace

void write_control(msghdr& message, std::uint32_t wanted, const arrival& of) {
    control_writer out(message);
    if (wanted == 0) return;
    if (wanted & tell::ipv6_packet_info) {
        in6_pktinfo info{};
        info.ipi6_ifindex = of.ifindex;
        std::memcpy(&info.ipi6_addr, of.destination.bytes().data(), sizeof info.ipi6_addr);
        out.put(IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
    if (of.destination.is_v4()) return write_ipv4(out, wanted, of);
    if (wanted & tell::hop_limit) out.put(IPPROTO_IPV6, IPV6_HOPLIMIT, int(of.hop_limit));
    if (wanted & tell::traffic_class) out.put(IPPROTO_IPV6, IPV6_TCLASS, int(of.traffic_class));
}

result<send_choice> read_control(const msghdr& message, ip_family family, bool to_v4) {
    send_choice said;
    const auto* const control = static_cast<const std::byte*>(message.msg_control);
    const std::size_t length = control == nullptr ? 0 : message.msg_controllen;
    for (std::size_t at = 0; length - at >= sizeof(cmsghdr);) {
        cmsghdr head;
        std::memcpy(&head, control + at, sizeof head);
        if (head.cmsg_len < sizeof head || head.cmsg_len > length - at) return fail(EINVAL);  // CMSG_OK
        if (auto done = read_one(head, control + at + CMSG_LEN(0), to_v4, family, said); !done)
            return fail(done.error().code);
        at += std::min(CMSG_ALIGN(head.cmsg_len), length - at);
    }
    return said;
}

}  // namespace skua::socket
