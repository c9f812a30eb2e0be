// The calls of libc behind those that the preload puts before them.
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace skua::client::next {

/// Found at the first call, since other libraries' constructors make calls before ours runs: two threads that look at
/// once find the same.
template <class Function>
class call {
public:
    constexpr explicit call(const char* name) : name_(name) {}
    template <class... Arguments>
    auto operator()(Arguments... arguments) {
        return get()(arguments...);
    }
    Function get() {
        Function found = found_.load(std::memory_order_relaxed);
        if (found == nullptr) {
            found = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name_));
            found_.store(found, std::memory_order_relaxed);
        }
        return found;
    }

private:
    const char* const name_;
    std::atomic<Function> found_{nullptr};
};

// Cancellation passes through those that are not noexcept; decltype() says which libc's headers know to be.
inline constinit call<decltype(&::socket)> socket("socket");
inline constinit call<decltype(&::bind)> bind("bind");
inline constinit call<decltype(&::connect)> connect("connect");
inline constinit call<decltype(&::listen)> listen("listen");
inline constinit call<decltype(&::accept)> accept("accept");
inline constinit call<decltype(&::accept4)> accept4("accept4");
inline constinit call<decltype(&::getsockname)> getsockname("getsockname");
inline constinit call<decltype(&::getpeername)> getpeername("getpeername");
inline constinit call<decltype(&::getsockopt)> getsockopt("getsockopt");
inline constinit call<decltype(&::setsockopt)> setsockopt("setsockopt");
inline constinit call<decltype(&::shutdown)> shutdown("shutdown");
inline constinit call<decltype(&::read)> read("read");
inline constinit call<decltype(&::readv)> readv("readv");
inline constinit call<decltype(&::write)> write("write");
inline constinit call<decltype(&::writev)> writev("writev");
inline constinit call<decltype(&::preadv64v2)> preadv2("preadv64v2");
inline constinit call<decltype(&::pwritev64v2)> pwritev2("pwritev64v2");
inline constinit call<decltype(&::send)> send("send");
inline constinit call<decltype(&::sendto)> sendto("sendto");
inline constinit call<decltype(&::sendmsg)> sendmsg("sendmsg");
inline constinit call<decltype(&::sendmmsg)> sendmmsg("sendmmsg");
inline constinit call<decltype(&::recv)> recv("recv");
inline constinit call<decltype(&::recvfrom)> recvfrom("recvfrom");
inline constinit call<decltype(&::recvmsg)> recvmsg("recvmsg");
inline constinit call<decltype(&::recvmmsg)> recvmmsg("recvmmsg");
inline constinit call<decltype(&::sendfile64)> sendfile("sendfile64");
inline constinit call<decltype(&::splice)> splice("splice");
inline constinit call<decltype(&::close)> close("close");
inline constinit call<int (*)(unsigned, unsigned, int)> close_range("close_range");
inline constinit call<decltype(&::dup)> dup("dup");
inline constinit call<decltype(&::dup2)> dup2("dup2");
inline constinit call<decltype(&::dup3)> dup3("dup3");
inline constinit call<int (*)(int, int, ...)> fcntl("fcntl64");
inline constinit call<decltype(&::ioctl)> ioctl("ioctl");
inline constinit call<decltype(&::fclose)> fclose("fclose");
inline constinit call<decltype(&::poll)> poll("poll");
inline constinit call<decltype(&::ppoll)> ppoll("ppoll");
inline constinit call<decltype(&::select)> select("select");
inline constinit call<decltype(&::pselect)> pselect("pselect");
inline constinit call<decltype(&::epoll_ctl)> epoll_ctl("epoll_ctl");
inline constinit call<decltype(&::epoll_wait)> epoll_wait("epoll_wait");
inline constinit call<decltype(&::epoll_pwait)> epoll_pwait("epoll_pwait");
inline constinit call<decltype(&::epoll_pwait2)> epoll_pwait2("epoll_pwait2");
inline constinit call<decltype(&::daemon)> daemon("daemon");
inline constinit call<pid_t (*)()> _Fork("_Fork");
inline constinit call<decltype(&::clone)> clone("clone");
inline constinit call<long (*)(long, ...)> syscall("syscall");

}  // namespace skua::client::next
