// The same little stories told to sockets of the kernel and to ours: the answers must be the same.
#include <sys/time.h>

#include "socket/test_support.hh"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

namespace skua::socket::test {
namespace {

using socket_ptr = std::unique_ptr<any_socket>;
using maker = std::function<socket_ptr(int domain)>;

/// What happened, line by line.
class story {
public:
    template <class T>
    void say(const char* what, const T& value) {
        lines.push_back(std::string(what) + ": " + text(value));
    }
    std::vector<std::string> lines;

private:
    static std::string text(const std::string& s) { return "\"" + s + "\""; }
    static std::string text(long v) {
        return v < 0 ? std::string(strerrorname_np(static_cast<int>(-v))) : std::to_string(v);
    }
};

class parity : public testing::Test {
protected:
    void tell(const std::function<void(const maker&, story&)>& plot) {
        story theirs, ours;
        plot([](int domain) { return std::make_unique<kernel_socket>(domain); }, theirs);
        plot([&](int domain) { return std::make_unique<our_socket>(host, domain); }, ours);
        ASSERT_FALSE(theirs.lines.empty());
        ASSERT_EQ(ours.lines.size(), theirs.lines.size());
        std::string before;
        for (std::size_t i = 0; i < ours.lines.size(); i++) {
            EXPECT_EQ(ours.lines[i], theirs.lines[i]) << "after:" << before << " (the kernel's is the second)";
            before = (before.size() > 150 ? before.substr(before.size() - 150) : before) + "; " + theirs.lines[i];
        }
    }
    fake_host host;
};

const name lo4 = in4("127.0.0.1", 0), any4 = in4("0.0.0.0", 0), lo6 = in6("::1", 0), any6 = in6("::", 0);
const name discard4 = in4("127.0.0.1", 9), discard6 = in6("::1", 9);
name on_port(name n, std::uint16_t p) {
    reinterpret_cast<sockaddr_in*>(&n.storage)->sin_port = htons(p);
    return n;
}
const name unspec = any4.with_family(AF_UNSPEC);

TEST_F(parity, bind_addresses) {
    tell([](const maker& make, story& s) {
        for (const auto& [what, domain, where] : std::initializer_list<std::tuple<const char*, int, name>>{
                 {"any", AF_INET, any4},
                 {"loopback net", AF_INET, in4("127.5.5.5", 0)},
                 {"foreign", AF_INET, in4("8.8.8.8", 0)},
                 {"group", AF_INET, in4("224.0.0.1", 0)},
                 {"limited broadcast", AF_INET, in4("255.255.255.255", 0)},
                 {"loopback broadcast", AF_INET, in4("127.255.255.255", 0)},
                 {"unspec any", AF_INET, unspec},
                 {"unspec other", AF_INET, lo4.with_family(AF_UNSPEC)},
                 {"short", AF_INET, lo4.with_length(8)},
                 {"wrong family", AF_INET, in6("::1", 0)},
                 {"unix family", AF_INET, lo4.with_family(AF_UNIX)},
                 {"v6 any", AF_INET6, any6},
                 {"v6 loopback", AF_INET6, lo6},
                 {"v6 24 bytes", AF_INET6, lo6.with_length(24)},
                 {"v6 short", AF_INET6, lo6.with_length(23)},
                 {"v6 gets v4", AF_INET6, lo4},
                 {"v6 wrong family", AF_INET6, lo6.with_family(AF_UNIX)},
                 {"v6 mapped", AF_INET6, in6("::ffff:127.0.0.1", 0)},
                 {"v6 mapped foreign", AF_INET6, in6("::ffff:8.8.8.8", 0)},
                 {"v6 foreign", AF_INET6, in6("2001:db8:77::77", 0)},
                 {"v6 link-local without scope", AF_INET6, in6("fe80::7", 0)},
                 {"v6 link-local, no such link", AF_INET6, in6("fe80::7", 0, 7777)},
                 {"v6 group", AF_INET6, in6("ff02::1", 0)},
             }) {
            auto a = make(domain);
            s.say(what, a->bind(where));
            s.say("again", a->bind(where));
            name n;
            s.say("getsockname", a->getsockname(n));
            s.say("is", n.host());
            s.say("length", n.length);
        }
    });
}

TEST_F(parity, bind_conflicts) {
    tell([](const maker& make, story& s) {
        auto a = make(AF_INET), b = make(AF_INET), c = make(AF_INET), d = make(AF_INET6);
        s.say("first", a->bind(lo4));
        s.say("same", b->bind(on_port(lo4, a->port())));
        s.say("any", b->bind(on_port(any4, a->port())));
        s.say("other", c->bind(in4("127.0.0.2", a->port())));
        s.say("dual any", d->bind(on_port(any6, a->port())));
        s.say("v6only", d->set(IPPROTO_IPV6, IPV6_V6ONLY, 1));
        s.say("v6only any", d->bind(on_port(any6, a->port())));
        s.say("v6only after bind", d->set(IPPROTO_IPV6, IPV6_V6ONLY, 0));
        auto e = make(AF_INET6);
        s.say("v6only", e->set(IPPROTO_IPV6, IPV6_V6ONLY, 1));
        s.say("mapped on v6only", e->bind(in6("::ffff:127.0.0.1", 0)));
    });
}

TEST_F(parity, connect_and_dissolve) {
    tell([](const maker& make, story& s) {
        const auto tell_names = [&](any_socket& a) {
            name n;
            s.say("getsockname", a.getsockname(n));
            s.say("is", n.host());
            s.say("has port", n.port() != 0);
            s.say("getpeername", a.getpeername(n));
            s.say("poll", a.poll());
        };
        for (const auto& bound : {name{}, any4, lo4, in4("127.0.0.3", 0)}) {
            auto a = make(AF_INET);
            if (bound.length) s.say("bind", a->bind(bound));
            tell_names(*a);
            s.say("connect", a->connect(discard4));
            tell_names(*a);
            s.say("bind when connected", a->bind(lo4));
            s.say("reconnect", a->connect(in4("127.0.0.2", 9)));
            tell_names(*a);
            s.say("dissolve", a->connect(unspec));
            tell_names(*a);
            s.say("send without peer", a->send("x"));
            s.say("port 0", a->connect(lo4));
            tell_names(*a);
            s.say("send to port 0", a->send("x"));
        }
        auto x = make(AF_INET);
        s.say("any is this host", x->connect(in4("0.0.0.0", 9)));
        name n;
        x->getpeername(n);
        s.say("peer", n.host());
        for (const auto& [what, where] : std::initializer_list<std::pair<const char*, name>>{
                 {"family only", discard4.with_length(2)},
                 {"nothing", discard4.with_length(1)},
                 {"unix", discard4.with_family(AF_UNIX)},
                 {"v6", discard6},
                 {"limited broadcast", in4("255.255.255.255", 9)},
             }) {
            auto a = make(AF_INET);
            s.say(what, a->connect(where));
            a->getsockname(n);
            s.say("bound by it", n.port() != 0);
        }
    });
}

TEST_F(parity, connect_ipv6_and_dual) {
    tell([](const maker& make, story& s) {
        for (const auto& [what, v6only, bound, where] :
             std::initializer_list<std::tuple<const char*, bool, name, name>>{
                 {"v6", false, {}, discard6},
                 {"any", false, {}, in6("::", 9)},
                 {"v4", false, {}, discard4},
                 {"mapped", false, {}, in6("::ffff:127.0.0.1", 9)},
                 {"v4, v6only", true, {}, discard4},
                 {"mapped, v6only", true, {}, in6("::ffff:127.0.0.1", 9)},
                 {"mapped from ::1", false, lo6, in6("::ffff:127.0.0.1", 9)},
                 {"::1 from mapped", false, in6("::ffff:127.0.0.1", 0), discard6},
                 {":: from mapped", false, in6("::ffff:127.0.0.1", 0), in6("::", 9)},
                 {"short", false, {}, discard6.with_length(23)},
                 {"family only", false, {}, discard6.with_length(2)},
                 {"unix", false, {}, discard6.with_family(AF_UNIX)},
                 {"link-local without scope", false, {}, in6("fe80::9", 9)},
             }) {
            for (const bool send : {false, true}) {
                auto a = make(AF_INET6);
                if (v6only) a->set(IPPROTO_IPV6, IPV6_V6ONLY, 1);
                if (bound.length) s.say("bind", a->bind(bound));
                if (send && std::string_view(what).starts_with("link-local")) continue;  // depends on the host's routes
                s.say(what, send ? a->sendto("x", where) : a->connect(where));
                name n;
                s.say("getsockname", a->getsockname(n));
                s.say("is", n.host());
                s.say("getpeername", a->getpeername(n));
                s.say("peer", n.host());
            }
        }
    });
}

TEST_F(parity, send_errors) {
    tell([](const maker& make, story& s) {
        const std::string big(65508, 'x'), fits(65507, 'x'), huge(70000, 'x'), most6(65527, 'x'), big6(65528, 'x');
        auto a = make(AF_INET);
        s.say("no peer", a->send("x"));
        s.say("bound by trying", a->port() != 0);
        s.say("port 0", a->sendto("x", lo4));
        s.say("short", a->sendto("x", discard4.with_length(15)));
        s.say("unix", a->sendto("x", discard4.with_family(AF_UNIX)));
        s.say("unspec", a->sendto("x", discard4.with_family(AF_UNSPEC)));
        s.say("v6", a->sendto("x", discard6));
        s.say("65508", a->sendto(big, discard4));
        s.say("65507", a->sendto(fits, discard4));
        s.say("70000", a->sendto(huge, discard4));
        s.say("70000, no peer", a->send(huge));
        s.say("oob", a->sendto("x", discard4, MSG_OOB));
        s.say("broadcast", a->sendto("x", in4("255.255.255.255", 9)));
        s.say("any", a->sendto("x", in4("0.0.0.0", 9)));
        s.say("any while bound", a->poll());
        msghdr parts{};
        std::vector<iovec> many(1025, iovec{nullptr, 0});
        name to = discard4;
        parts.msg_name = to.get();
        parts.msg_namelen = to.length;
        parts.msg_iov = many.data();
        parts.msg_iovlen = many.size();
        s.say("1025 parts", a->sendmsg(parts, 0));
        parts.msg_iovlen = 1024;
        s.say("1024 empty parts", a->sendmsg(parts, 0));
        many[3].iov_len = ~std::size_t(0);
        s.say("negative length", a->sendmsg(parts, 0));

        auto b = make(AF_INET6);
        s.say("v6 no peer", b->send("x"));
        s.say("v6 unspec is no name", b->sendto("x", discard6.with_family(AF_UNSPEC)));
        s.say("v6 port 0", b->sendto("x", lo6));
        s.say("v6 short", b->sendto("x", discard6.with_length(20)));
        s.say("v6 tiny", b->sendto("x", discard6.with_length(1)));
        s.say("v6 unix", b->sendto("x", discard6.with_family(AF_UNIX)));
        s.say("v6 v4 short", b->sendto("x", discard4.with_length(12)));
        s.say("v6 v4 port 0", b->sendto("x", lo4));
        s.say("v6 65527", b->sendto(most6, discard6));
        s.say("v6 65528", b->sendto(big6, discard6));
        auto c = make(AF_INET6);
        c->set(IPPROTO_IPV6, IPV6_V6ONLY, 1);
        s.say("v6only v4", c->sendto("x", discard4));
        s.say("v6only mapped", c->sendto("x", in6("::ffff:127.0.0.1", 9)));
    });
}

TEST_F(parity, errors_of_a_dead_port) {
    tell([](const maker& make, story& s) {
        auto dead = make(AF_INET);
        dead->bind(lo4);
        const name gone = on_port(lo4, dead->port());
        dead.reset();
        std::string got;
        auto a = make(AF_INET);
        s.say("connect", a->connect(gone));
        s.say("send", a->send("x"));
        s.say("poll", a->poll());
        s.say("SO_ERROR", a->get(SOL_SOCKET, SO_ERROR));
        s.say("SO_ERROR", a->get(SOL_SOCKET, SO_ERROR));
        s.say("poll", a->poll());
        s.say("send", a->send("x"));
        s.say("send", a->send("x"));
        s.say("send", a->send("x"));
        s.say("recv", a->recv(got));
        s.say("recv", a->recv(got));
        s.say("send", a->send("x"));
        s.say("too long comes first", a->send(std::string(65508, 'x')));
        s.say("blocking recv", a->recv(got, 10, 0));
        mmsghdr two[2]{};
        s.say("send", a->send("x"));
        s.say("recvmmsg", a->recvmmsg(two, MSG_DONTWAIT, nullptr));
        s.say("recvmmsg", a->recvmmsg(two, MSG_DONTWAIT, nullptr));
        auto b = make(AF_INET);
        s.say("unconnected", b->sendto("x", gone));
        s.say("unconnected", b->sendto("x", gone));
        s.say("poll", b->poll());
        s.say("ERRQUEUE", a->recv(got, 10, MSG_ERRQUEUE));
    });
}

TEST_F(parity, receive) {
    tell([](const maker& make, story& s) {
        for (const int domain : {AF_INET, AF_INET6}) {
            auto a = make(domain), b = make(domain);
            s.say("bind", a->bind(domain == AF_INET ? lo4 : lo6));
            s.say("bind", b->bind(domain == AF_INET ? lo4 : lo6));
            name to = on_port(domain == AF_INET ? lo4 : lo6, a->port());
            std::string got;
            int flags;
            name from;
            s.say("empty", a->recv(got));
            s.say("poll", a->poll());
            s.say("send", b->sendto("0123456789", to));
            s.say("poll", a->poll());
            s.say("FIONREAD", a->next_size());
            s.say("peek", a->recv(got, 100, MSG_PEEK | MSG_DONTWAIT));
            s.say("peek|trunc 0", a->recv(got, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT));
            s.say("recv 4", a->recv(got, 4, MSG_DONTWAIT, &from, &flags));
            s.say("got", got);
            s.say("flags", flags);
            s.say("from", from.host());
            s.say("from length", from.length);
            s.say("from b", from.port() == b->port());
            s.say("rest is lost", a->recv(got));
            s.say("send", b->sendto("0123456789", to));
            s.say("recv 4 trunc", a->recv(got, 4, MSG_TRUNC | MSG_DONTWAIT, nullptr, &flags));
            s.say("flags", flags);
            s.say("zero", b->sendto("", to));
            s.say("FIONREAD", a->next_size());
            s.say("poll", a->poll());
            s.say("recv", a->recv(got, 10, MSG_DONTWAIT, &from, &flags));
            s.say("flags", flags);
            s.say("poll", a->poll());
            s.say("two", b->sendto("one", to));
            s.say("two", b->sendto("twotwo", to));
            s.say("FIONREAD", a->next_size());
            s.say("waitall", a->recv(got, 9, MSG_WAITALL));
            s.say("got", got);
            char x[3], y[4];
            iovec parts[3] = {{x, 2}, {nullptr, 0}, {y, 3}};
            msghdr m{};
            m.msg_iov = parts;
            m.msg_iovlen = 3;
            m.msg_controllen = 0;
            s.say("scatter", a->recvmsg(m, 0));
            s.say("scatter", std::string(x, 2) + std::string(y, 3));
            s.say("flags", m.msg_flags);
            // large, over several of our segments
            std::string large(9000, 'x');
            for (std::size_t i = 0; i < large.size(); i++) large[i] = static_cast<char>('a' + i % 26);
            s.say("large", b->sendto(large, to));
            s.say("large", a->recv(got, 10000));
            s.say("same", got == large);
        }
    });
}

TEST_F(parity, dual_stack_names) {
    tell([](const maker& make, story& s) {
        auto a = make(AF_INET6), b = make(AF_INET);
        s.say("bind", a->bind(any6));
        b->bind(lo4);
        s.say("send", b->sendto("x", on_port(lo4, a->port())));
        std::string got;
        name from;
        s.say("recv", a->recv(got, 10, 0, &from));
        s.say("from", from.host());
        s.say("reply", a->sendto("y", from));
        s.say("recv", b->recv(got, 10, 0, &from));
        s.say("from", from.host());
    });
}

TEST_F(parity, queued_before_connect) {
    tell([](const maker& make, story& s) {
        auto a = make(AF_INET), b = make(AF_INET), c = make(AF_INET);
        for (auto* x : {&a, &b, &c}) (*x)->bind(lo4);
        const name to = on_port(lo4, a->port());
        s.say("connect c", c->connect(to));
        s.say("early", c->send("early"));
        s.say("connect a to b", a->connect(on_port(lo4, b->port())));
        s.say("late", c->send("late"));
        s.say("late again", c->send("late"));
        std::string got;
        s.say("recv", a->recv(got));
        s.say("got", got);
        s.say("recv", a->recv(got));
        s.say("sendto elsewhere", a->sendto("x", on_port(lo4, c->port())));
        s.say("not from its peer", c->recv(got));
    });
}

TEST_F(parity, shutdown) {
    tell([](const maker& make, story& s) {
        std::string got;
        for (const bool connected : {false, true})
            for (const int how : {SHUT_RD, SHUT_WR, SHUT_RDWR}) {
                auto a = make(AF_INET), b = make(AF_INET);
                a->bind(lo4);
                b->bind(lo4);
                if (connected) s.say("connect", a->connect(on_port(lo4, b->port())));
                const name to = on_port(lo4, a->port());
                s.say("queued", b->sendto("queued", to));
                s.say("shutdown", a->shutdown(how));
                s.say("poll", a->poll());
                s.say("later", b->sendto("later", to));
                s.say("recv", a->recv(got));
                s.say("recv", a->recv(got));
                s.say("dontwait", a->recv(got));
                if (how != SHUT_WR) s.say("blocking", a->recv(got, 10, 0));
                s.say("sendto", a->sendto("x", on_port(lo4, b->port())));
                s.say("send", a->send("x"));
                s.say("reconnect", a->connect(on_port(lo4, b->port())));
                s.say("poll", a->poll());
                s.say("send", a->send("x"));
            }
        auto x = make(AF_INET);
        s.say("bad how", x->shutdown(3));
        s.say("bad how", x->shutdown(-1));
    });
}

TEST_F(parity, messages_in_batches) {
    tell([](const maker& make, story& s) {
        auto a = make(AF_INET), b = make(AF_INET);
        a->bind(lo4);
        b->connect(on_port(lo4, a->port()));
        std::string texts[3] = {"a", "bb", "ccc"};
        iovec parts[3];
        mmsghdr out[3]{};
        name wrong = lo4;
        for (int i = 0; i < 3; i++) {
            parts[i] = {texts[i].data(), texts[i].size()};
            out[i].msg_hdr.msg_iov = &parts[i];
            out[i].msg_hdr.msg_iovlen = 1;
        }
        s.say("sendmmsg", b->sendmmsg(out, 0));
        for (auto& m : out) s.say("length", m.msg_len);
        s.say("none", b->sendmmsg({}, 0));
        char room[4][8];
        iovec in_parts[4];
        mmsghdr in[4]{};
        const auto reset = [&] {
            for (int i = 0; i < 4; i++) {
                in_parts[i] = {room[i], sizeof room[i]};
                in[i] = {};
                in[i].msg_hdr.msg_iov = &in_parts[i];
                in[i].msg_hdr.msg_iovlen = 1;
            }
        };
        reset();
        s.say("waitforone", a->recvmmsg(in, MSG_WAITFORONE, nullptr));
        for (int i = 0; i < 3; i++) s.say("got", std::string(room[i], in[i].msg_len));
        s.say("empty", a->recvmmsg(in, MSG_DONTWAIT, nullptr));
        s.say("vlen 0", a->recvmmsg({}, 0, nullptr));
        timespec t{0, 1000000000};
        s.say("bad time", a->recvmmsg(in, 0, &t));
        t = {-1, 0};
        s.say("bad time", a->recvmmsg(in, 0, &t));
        s.say("sendmmsg", b->sendmmsg(out, 0));
        t = {0, 0};
        s.say("no time: one", a->recvmmsg(in, 0, &t));
        const timeval soon{0, 30000};
        s.say("RCVTIMEO", a->set(SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
        s.say("rest, then timeout", a->recvmmsg(in, 0, nullptr));
        s.say("timeout", a->recvmmsg(in, 0, nullptr));
        t = {5, 0};
        s.say("sendmmsg", b->sendmmsg(out, 0));
        s.say("in time", a->recvmmsg(std::span(in).first(3), 0, &t));
        s.say("left", t.tv_sec);
        // an error in the middle
        out[1].msg_hdr.msg_name = wrong.get();
        out[1].msg_hdr.msg_namelen = wrong.length;
        s.say("second is wrong", b->sendmmsg(out, 0));
        s.say("first is wrong", b->sendmmsg(std::span(out).subspan(1), 0));
    });
}

TEST_F(parity, cork) {
    tell([](const maker& make, story& s) {
        auto a = make(AF_INET), b = make(AF_INET), c = make(AF_INET);
        for (auto* x : {&a, &b, &c}) (*x)->bind(lo4);
        const name to = on_port(lo4, a->port());
        std::string got;
        s.say("more", b->sendto("ab", to, MSG_MORE));
        s.say("nothing yet", a->recv(got));
        s.say("more, elsewhere", b->sendto("cd", on_port(lo4, c->port()), MSG_MORE));
        s.say("end", b->sendto("ef", to));
        s.say("recv", a->recv(got));
        s.say("got", got);
        s.say("elsewhere", c->recv(got));
        s.say("cork", b->set(IPPROTO_UDP, 1, 1));
        s.say("is", b->get(IPPROTO_UDP, 1));
        s.say("send", b->sendto("12", to));
        s.say("send", b->sendto("34", to));
        s.say("nothing yet", a->recv(got));
        s.say("uncork", b->set(IPPROTO_UDP, 1, 0));
        s.say("recv", a->recv(got));
        s.say("got", got);
        s.say("uncork nothing", b->set(IPPROTO_UDP, 1, 0));
        s.say("more", b->sendto(std::string(65000, 'x'), to, MSG_MORE));
        s.say("too long", b->sendto(std::string(600, 'x'), to));
        s.say("was thrown away", b->sendto("new", to));
        s.say("recv", a->recv(got));
        s.say("got", got);
    });
}

TEST_F(parity, integer_options) {
    tell([](const maker& make, story& s) {
        struct option {
            const char* name;
            int level, option;
        };
        for (const int domain : {AF_INET, AF_INET6})
            for (const auto& o : std::initializer_list<option>{{"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR},
                                                               {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT},
                                                               {"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST},
                                                               {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF},
                                                               {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF},
                                                               {"SO_TYPE", SOL_SOCKET, SO_TYPE},
                                                               {"SO_DOMAIN", SOL_SOCKET, SO_DOMAIN},
                                                               {"SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL},
                                                               {"SO_ERROR", SOL_SOCKET, SO_ERROR},
                                                               {"SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN},
                                                               {"SO_INCOMING_CPU", SOL_SOCKET, SO_INCOMING_CPU},
                                                               {"SO_BINDTOIFINDEX", SOL_SOCKET, SO_BINDTOIFINDEX},
                                                               {"IP_TTL", IPPROTO_IP, IP_TTL},
                                                               {"IP_TOS", IPPROTO_IP, IP_TOS},
                                                               {"IP_MTU_DISCOVER", IPPROTO_IP, IP_MTU_DISCOVER},
                                                               {"IP_MTU", IPPROTO_IP, IP_MTU},
                                                               {"IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY},
                                                               {"IPV6_UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS},
                                                               {"IPV6_TCLASS", IPPROTO_IPV6, IPV6_TCLASS},
                                                               {"IPV6_MTU_DISCOVER", IPPROTO_IPV6, IPV6_MTU_DISCOVER},
                                                               {"UDP_CORK", IPPROTO_UDP, 1},
                                                               {"unknown SOL_SOCKET", SOL_SOCKET, 999},
                                                               {"unknown IP", IPPROTO_IP, 999},
                                                               {"unknown IPV6", IPPROTO_IPV6, 999},
                                                               {"unknown UDP", IPPROTO_UDP, 999},
                                                               {"unknown level", 999, 1}}) {
                auto a = make(domain);
                s.say(o.name, domain);
                s.say("get", a->get(o.level, o.option));
                for (const int v : {-2, -1, 0, 1, 5, 6, 7, 16, 255, 256, 2304, 4608, 5000, 100000}) {
                    if (o.option == SO_BINDTOIFINDEX && o.level == SOL_SOCKET && v > 1) continue;  // interfaces differ
                    if (o.option == SO_INCOMING_CPU && o.level == SOL_SOCKET && v > 1) continue;
                    s.say(std::to_string(v).c_str(), a->set(o.level, o.option, v));
                    s.say("get", a->get(o.level, o.option));
                }
                for (socklen_t n : {0u, 1u, 3u}) {
                    const int v = 3;
                    s.say("short set", a->set(o.level, o.option, &v, n));
                    unsigned char got[4] = {0xee, 0xee, 0xee, 0xee};
                    socklen_t room = n;
                    s.say("short get", a->get(o.level, o.option, got, &room));
                    s.say("room", room);
                    s.say("bytes", got[0] << 8 | got[1]);
                }
            }
    });
}

TEST_F(parity, buffers) {
    tell([](const maker& make, story& s) {
        auto a = make(AF_INET), b = make(AF_INET);
        a->bind(lo4);
        const name to = on_port(lo4, a->port());
        std::string got;
        for (const int asked : {0, 2000, 5000})
            for (const std::size_t length : {0u, 100u, 198u, 700u, 3000u, 20000u}) {
                a->set(SOL_SOCKET, SO_RCVBUF, asked);
                const std::string payload(length, 'x');
                for (int i = 0; i < 20; i++) b->sendto(payload, to);
                std::uint32_t memory[9] = {};
                socklen_t n = sizeof memory;
                s.say("meminfo", a->get(SOL_SOCKET, SO_MEMINFO, memory, &n));
                s.say("rmem", memory[0]);
                s.say("rcvbuf", memory[1]);
                s.say("drops", memory[8]);
                long count = 0;
                while (a->recv(got) >= 0) ++count;
                s.say("accepted", count);
            }
        for (const int v : {-1, 0, 1000, 3000000, 100000000, 0x7fffffff}) {
            s.say("RCVBUFFORCE", a->set(SOL_SOCKET, SO_RCVBUFFORCE, v));
            s.say("is", a->get(SOL_SOCKET, SO_RCVBUF));
            s.say("SNDBUFFORCE", a->set(SOL_SOCKET, SO_SNDBUFFORCE, v));
            s.say("is", a->get(SOL_SOCKET, SO_SNDBUF));
            s.say("RCVBUF", a->set(SOL_SOCKET, SO_RCVBUF, v));
            s.say("is", a->get(SOL_SOCKET, SO_RCVBUF));
        }
        s.say("get force", a->get(SOL_SOCKET, SO_RCVBUFFORCE));
    });
}

TEST_F(parity, timeouts_and_devices) {
    tell([](const maker& make, story& s) {
        auto a = make(AF_INET);
        for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO})
            for (const timeval& t : {timeval{0, 0}, timeval{1, 300000}, timeval{0, 1000000}, timeval{0, -1},
                                     timeval{-1, 0}, timeval{1L << 60, 0}}) {
                s.say("set", a->set(SOL_SOCKET, option, &t, sizeof t));
                timeval got{9, 9};
                socklen_t n = sizeof got;
                s.say("get", a->get(SOL_SOCKET, option, &got, &n));
                s.say("length", n);
                s.say("seconds", got.tv_sec);
                s.say("micro", got.tv_usec);
                s.say("short", a->set(SOL_SOCKET, option, &t, 8));
            }
        const timeval negative{-1, 0};
        std::string got;
        s.say("negative", a->set(SOL_SOCKET, SO_RCVTIMEO, &negative, sizeof negative));
        s.say("fails at once", a->recv(got, 10, 0));

        char name[16];
        socklen_t n = sizeof name;
        s.say("no device", a->get(SOL_SOCKET, SO_BINDTODEVICE, name, &n));
        s.say("length", n);
        s.say("unknown", a->set(SOL_SOCKET, SO_BINDTODEVICE, "nowhere", 7));
        s.say("lo", a->set(SOL_SOCKET, SO_BINDTODEVICE, "lo", 2));
        n = sizeof name;
        s.say("get", a->get(SOL_SOCKET, SO_BINDTODEVICE, name, &n));
        s.say("length", n);
        s.say("name", std::string(name));
        n = 15;
        s.say("no room", a->get(SOL_SOCKET, SO_BINDTODEVICE, name, &n));
        s.say("index", a->get(SOL_SOCKET, SO_BINDTOIFINDEX));
        s.say("connect", a->connect(discard4));
        s.say("dissolve", a->connect(unspec));
        s.say("index", a->get(SOL_SOCKET, SO_BINDTOIFINDEX));
        s.say("lo", a->set(SOL_SOCKET, SO_BINDTODEVICE, "lo\0rest", 7));
        s.say("none", a->set(SOL_SOCKET, SO_BINDTODEVICE, "", 0));
        s.say("index", a->get(SOL_SOCKET, SO_BINDTOIFINDEX));
        s.say("IP_MTU unconnected", a->get(IPPROTO_IP, IP_MTU));
        s.say("connect", a->connect(discard4));
        s.say("IP_MTU", a->get(IPPROTO_IP, IP_MTU));
    });
}

TEST_F(parity, create) {
    for (const auto& [domain, type, protocol] :
         std::initializer_list<std::tuple<int, int, int>>{{AF_INET, SOCK_DGRAM, 0},
                                                          {AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
                                                          {AF_INET, SOCK_DGRAM, IPPROTO_TCP},
                                                          {AF_INET, SOCK_DGRAM, -1},
                                                          {AF_INET, SOCK_DGRAM, 70000},
                                                          {AF_INET, SOCK_RDM, 0},
                                                          {AF_INET, 15, 0},
                                                          {AF_INET, -1, 0},
                                                          {AF_MAX, SOCK_DGRAM, 0},
                                                          {-1, SOCK_DGRAM, 0},
                                                          {AF_MAX, 15, 0},
                                                          {38 + 5, SOCK_DGRAM, 0}}) {
        const int fd = ::socket(domain, type, protocol);
        const int theirs = fd < 0 ? errno : 0;
        if (fd >= 0) ::close(fd);
        const auto ours = udp_socket::create(host, domain, type, protocol, {});
        if (domain == AF_INET || domain == AF_INET6 || domain < 0 || domain >= AF_MAX)
            EXPECT_EQ(ours ? 0 : ours.error().code, theirs) << domain << " " << type << " " << protocol;
        else EXPECT_EQ(ours.error().code, EAFNOSUPPORT);
    }
}

}  // namespace
}  // namespace skua::socket::test
