// Sending: one message, many messages, and datagrams joined from several messages.
#include "socket/send_batch.hh"

#include <limits.h>
#include <sys/uio.h>

#include <algorithm>

#include "socket/truesize.hh"

namespace skua::socket {

namespace {

/// Errors: EMSGSIZE too many parts, or more than any datagram holds; EINVAL a length that is no length (import_iovec).
result<std::size_t> length_of(const msghdr& message) {
    constexpr std::size_t most = 0xffff;
    if (message.msg_iovlen > IOV_MAX) return fail(EMSGSIZE);
    std::size_t sum = 0;
    for (std::size_t i = 0; i < message.msg_iovlen; i++) {
        const std::size_t n = message.msg_iov[i].iov_len;
        if (n > SSIZE_MAX) return fail(EINVAL);
        sum = std::min(sum + n, most + 1);
    }
    if (sum > most) return fail(EMSGSIZE);
    return sum;
}

}  // namespace

send_batch::send_batch(udp_socket& s, int flags)
    : socket_(s), flags_(flags), deadline_(udp_socket::deadline_of(s.settings_.send_timeout, flags)) {}

result<std::size_t> send_batch::add(const msghdr& message) {
    if (auto bound = socket_.ensure_bound_to_send(message); !bound) return fail(bound.error().code);
    const auto length = length_of(message);
    if (!length) return length;
    // udp_sendmsg refuses it; udpv6_sendmsg passes it over, unless it hands on to the former.
    const bool out_of_band = (flags_ & MSG_OOB) != 0;
    if (out_of_band && socket_.family == ip_family::v4) return fail(EOPNOTSUPP);
    const std::span parts(message.msg_iov, message.msg_iovlen);
    const bool more = flags_ & MSG_MORE || socket_.settings_.cork.load(std::memory_order_relaxed);
    if (more || socket_.has_cork_.load(std::memory_order_acquire)) {
        if (auto added = add_corked(message, parts, *length, more); !added) return fail(added.error().code);
        return length;
    }
    if (auto planned = plan(message); !planned) return fail(planned.error().code);
    if (out_of_band && plan_->to.address.is_v4()) return fail(EOPNOTSUPP);
    if (auto added = add(*plan_, parts, *length); !added) return fail(added.error().code);
    return length;
}

result<void> send_batch::plan(const msghdr& message) {
    auto found = socket_.plan_for_message(message, plan_ ? &*plan_ : nullptr);
    if (!found) return fail(found.error().code);
    plan_ = *found;
    return {};
}

result<void> send_batch::add(const udp_socket::send_plan& plan, std::span<const iovec> parts, std::size_t length) {
    // The length is looked at before a pending error (__ip_append_data).
    if (length > plan.longest) return fail(EMSGSIZE);
    const std::uint32_t cost = truesize(static_cast<std::uint32_t>(length), plan.to.address.family());
    auto charged = socket_.charge(cost, udp_socket::at_once);
    if (!charged && charged.error().code == EAGAIN && deadline_ != udp_socket::at_once) {
        flush();
        if (refused_ != 0) return fail(ENOBUFS);
        charged = socket_.charge(cost, deadline_);
    }
    if (!charged) return charged;
    auto made = socket_.assemble(plan, parts, length);
    if (!made) {
        socket_.sent(cost);
        return fail(made.error().code);
    }
    made->info().owner = &socket_;
    datagrams_[count_++] = made->release();
    if (count_ == datagrams_.size()) flush();
    return {};
}

result<void> send_batch::add_corked(const msghdr& message, std::span<const iovec> parts, std::size_t length,
                                    bool more) {
    std::unique_ptr<udp_socket::corked> whole;
    {
        const std::lock_guard hold(socket_.cork_lock_);
        auto& cork = socket_.cork_;
        // The first message names the destination; later names are not looked at (udp_sendmsg: up->pending).
        if (!cork) {
            if (auto planned = plan(message); !planned) return planned;
            cork = std::make_unique<udp_socket::corked>(*plan_);
        }
        socket_.has_cork_.store(true, std::memory_order_release);
        const bool fits = cork->payload.size() + length <= cork->plan.longest;
        if (fits)
            for (const iovec& part : parts) {
                const auto* from = static_cast<const std::byte*>(part.iov_base);
                cork->payload.insert(cork->payload.end(), from, from + part.iov_len);
            }
        if (fits && more) return {};
        whole = std::move(cork);
        socket_.has_cork_.store(false, std::memory_order_release);
        if (!fits) return fail(EMSGSIZE);
    }
    const iovec all{whole->payload.data(), whole->payload.size()};
    return add(whole->plan, std::span(&all, 1), whole->payload.size());
}

result<void> send_batch::add_pending() {
    const msghdr nothing{};
    if (!socket_.has_cork_.load(std::memory_order_acquire)) return {};
    return add_corked(nothing, {}, 0, false);
}

void send_batch::flush() {
    if (count_ == 0) return;
    const std::span all(datagrams_.data(), count_);
    const unsigned taken = socket_.host_.submit(socket_.home_shard.load(std::memory_order_relaxed), all);
    const auto rest = all.subspan(taken);
    uncharge(rest);
    if (!rest.empty()) rte_pktmbuf_free_bulk(rest.data(), static_cast<unsigned>(rest.size()));
    refused_ += static_cast<unsigned>(rest.size());
    count_ = 0;
}

result<std::size_t> udp_socket::sendmsg(const msghdr& message, int flags) {
    send_batch batch(*this, flags);
    auto taken = batch.add(message);
    if (!taken) return taken;
    batch.flush();
    if (batch.refused() != 0) return fail(ENOBUFS);
    return taken;
}

result<std::size_t> udp_socket::sendto(const void* data, std::size_t length, int flags, const sockaddr* to,
                                       socklen_t to_length) {
    iovec part{const_cast<void*>(data), length};
    msghdr message{};
    message.msg_name = const_cast<sockaddr*>(to);
    message.msg_namelen = to_length;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    return sendmsg(message, flags);
}

result<unsigned> udp_socket::sendmmsg(std::span<mmsghdr> messages, int flags) {
    send_batch batch(*this, flags);
    unsigned done = 0;
    int error = ENOBUFS;
    for (; done < messages.size() && batch.refused() == 0; done++) {
        const auto taken = batch.add(messages[done].msg_hdr);
        if (!taken) {
            error = taken.error().code;
            break;
        }
        messages[done].msg_len = static_cast<unsigned>(*taken);
    }
    batch.flush();
    if (done == batch.refused() && !messages.empty()) return fail(error);
    return done - batch.refused();
}

result<void> udp_socket::push_corked() {
    send_batch batch(*this, 0);
    auto added = batch.add_pending();
    batch.flush();
    if (added && batch.refused() != 0) return fail(ENOBUFS);
    return added;
}

}  // namespace skua::socket
