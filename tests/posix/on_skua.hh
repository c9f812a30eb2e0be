// The POSIX calls of the tests, taken from the stack: included before everything else of each source.
//
// These are macros, as nothing else can give another function the name that a source spells `bind(...)`: the tests must
// be the same text on both sides. All headers that a test or a helper uses stand here, above the macros, so that these
// names inside them mean what they say.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <rte_eal.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <source_location>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "skua/skua.h"

#define socket skua_socket
#define bind skua_bind
#define connect skua_connect
#define getsockname skua_getsockname
#define getpeername skua_getpeername
#define setsockopt skua_setsockopt
#define getsockopt skua_getsockopt
#define shutdown skua_shutdown
#define close skua_close
#define send skua_send
#define sendto skua_sendto
#define sendmsg skua_sendmsg
#define recv skua_recv
#define recvfrom skua_recvfrom
#define recvmsg skua_recvmsg
#define sendmmsg skua_sendmmsg
#define recvmmsg skua_recvmmsg
#define dup skua_dup
#define dup2 skua_dup2
#define dup3 skua_dup3
#define fcntl skua_fcntl
#define ioctl skua_ioctl
#define fstat skua_fstat
#define poll skua_poll
#define ppoll skua_ppoll
#define select skua_select
#define pselect skua_pselect
#define epoll_create skua_epoll_create
#define epoll_create1 skua_epoll_create1
#define epoll_ctl skua_epoll_ctl
#define epoll_wait skua_epoll_wait
#define epoll_pwait skua_epoll_pwait
#define epoll_pwait2 skua_epoll_pwait2
