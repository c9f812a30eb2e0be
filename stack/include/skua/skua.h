/* The C API of skua: UDP sockets in POSIX's shape, over a stack in user space.
 *
 * Constants, structs and errno values are Linux's own (sys/socket.h, netinet/in.h). Every call may come from any thread
 * unless it says otherwise. Calls return -1 and set errno on failure, as their namesakes in the manual do.
 */
#ifndef SKUA_SKUA_H
#define SKUA_SKUA_H

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rte_mbuf;

/* ---- The stack: one per process ------------------------------------------------------------------------------- */

/* Starts the stack with threads of its own: `[EAL arguments] -- [skua options]`, as DPDK applications take them;
 * without `--` all are skua's options (`--config FILE`, see CONFIGURATION.md). Starts the EAL, the ports and a thread
 * per shard. Returns how many of argv were used. On failure -1 and errno: EINVAL arguments or configuration (said on
 * stderr), ENODEV a port, ENOMEM, EALREADY a stack is running. */
int skua_start(int argc, char** argv);

/* Library mode: the application has started the EAL, owns its ports and its RX loop. Makes `shards` shards and no
 * thread. Interfaces, addresses and routes come from the text of a configuration (TOML, see CONFIGURATION.md); its
 * ports are named by DPDK port id and are not touched. Errors: EINVAL, ENOMEM, EALREADY. */
int skua_start_library(unsigned shards, const char* configuration);

/* Stops the threads, closes every socket and port, frees everything. No other call may run meanwhile. */
void skua_stop(void);

/* ---- Where flows go -------------------------------------------------------------------------------------------- */

/* Lets packets come in on the first n shards only, while they flow: none is lost, and none overtakes another of its
 * flow. Sockets of the other shards move, but for those with callbacks there. Not from a callback. Returns when it is
 * done. Errors: EINVAL, ENOTSUP a port has no redirection table that can be set, EAGAIN no threads poll (library mode),
 * EDEADLK, EBUSY, ETIMEDOUT, ENODEV no stack runs. */
int skua_set_active_shards(unsigned n);

/* Writes where the datagrams of a flow go, and why, a line for each fact: hash, entry of the redirection table, queue,
 * shard, table that matched, candidates with their scores, who won and by which rule, bucket, member, generation, home,
 * and what the NIC does of it. `flow`: "LOCAL,REMOTE[,PORT]", as in "198.18.0.1:7,198.18.0.2:40000,p0". Returns the
 * length of the text, of which as much is written as fits (with a 0 at its end). Errors: EINVAL, ENODEV no stack
 * runs. */
ssize_t skua_explain(const char* flow, char* text, size_t room);

/* ---- Library mode: a shard and the application's own loop. Each shard belongs to one thread at a time. -------- */

/* Gives a shard a burst of received frames (mbuf->port tells the port). The shard owns them, except those that are not
 * for it (other protocols, no such address, no socket on the port): these are put into `unclaimed` (room for n)
 * unchanged, and their number is returned. With unclaimed == NULL the stack answers as a host does (port unreachable)
 * and drops the rest. */
unsigned skua_shard_input(unsigned shard, struct rte_mbuf** frames, unsigned n, struct rte_mbuf** unclaimed);

/* Takes up to `max` frames that the shard wants sent; mbuf->port tells by which port. The caller owns them. */
unsigned skua_shard_output(unsigned shard, struct rte_mbuf** frames, unsigned max);

/* Does what is due (timers, sends of other threads, packets from other shards). Call it in every turn of the loop.
 * Returns the amount of work done, 0 = idle. */
unsigned skua_shard_poll(unsigned shard);

/* ---- Sockets -------------------------------------------------------------------------------------------------- */

int skua_socket(int domain, int type, int protocol);
int skua_bind(int fd, const struct sockaddr* address, socklen_t length);
int skua_connect(int fd, const struct sockaddr* address, socklen_t length);
int skua_getsockname(int fd, struct sockaddr* address, socklen_t* length);
int skua_getpeername(int fd, struct sockaddr* address, socklen_t* length);
int skua_setsockopt(int fd, int level, int name, const void* value, socklen_t length);
int skua_getsockopt(int fd, int level, int name, void* value, socklen_t* length);
int skua_shutdown(int fd, int how);
int skua_close(int fd);

ssize_t skua_send(int fd, const void* data, size_t length, int flags);
ssize_t skua_sendto(int fd, const void* data, size_t length, int flags, const struct sockaddr* to, socklen_t to_length);
ssize_t skua_sendmsg(int fd, const struct msghdr* message, int flags);
ssize_t skua_recv(int fd, void* data, size_t length, int flags);
ssize_t skua_recvfrom(int fd, void* data, size_t length, int flags, struct sockaddr* from, socklen_t* from_length);
ssize_t skua_recvmsg(int fd, struct msghdr* message, int flags);
/* struct mmsghdr is visible with _GNU_SOURCE. */
struct mmsghdr;
int skua_sendmmsg(int fd, struct mmsghdr* messages, unsigned count, int flags);
int skua_recvmmsg(int fd, struct mmsghdr* messages, unsigned count, int flags, struct timespec* timeout);

/* ---- Descriptors --------------------------------------------------------------------------------------------------
 *
 * Stack descriptors come out of the same numbers as the kernel's, lowest first, under the same RLIMIT_NOFILE: a
 * number is one or the other. Every call here takes both kinds and hands the kernel's on to the kernel, so a program
 * may use these calls for all its descriptors. A stack descriptor must be closed by skua_close, not close(2). */

int skua_dup(int fd);
int skua_dup2(int fd, int to);
int skua_dup3(int fd, int to, int flags);
/* F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL (of the flags O_NONBLOCK alone can change). */
int skua_fcntl(int fd, int command, ...);
/* FIONREAD, SIOCOUTQ, FIONBIO. */
int skua_ioctl(int fd, unsigned long request, ...);
int skua_fstat(int fd, struct stat* status);

/* ---- Waiting: sets may hold both kinds of descriptor ------------------------------------------------------------ */

int skua_poll(struct pollfd* fds, nfds_t count, int milliseconds);
/* ppoll and pselect are seen with _GNU_SOURCE in C. */
int skua_ppoll(struct pollfd* fds, nfds_t count, const struct timespec* timeout, const sigset_t* mask);
int skua_select(int count, fd_set* read, fd_set* write, fd_set* except, struct timeval* timeout);
int skua_pselect(int count, fd_set* read, fd_set* write, fd_set* except, const struct timespec* timeout,
                 const sigset_t* mask);
int skua_epoll_create(int size);
int skua_epoll_create1(int flags);
int skua_epoll_ctl(int epfd, int operation, int fd, struct epoll_event* event);
int skua_epoll_wait(int epfd, struct epoll_event* events, int room, int milliseconds);
int skua_epoll_pwait(int epfd, struct epoll_event* events, int room, int milliseconds, const sigset_t* mask);
int skua_epoll_pwait2(int epfd, struct epoll_event* events, int room, const struct timespec* timeout,
                      const sigset_t* mask);

/* ---- Stack processes: descriptor tables of one program ------------------------------------------------------------
 *
 * A thread belongs to one stack process and its calls mean descriptors of that one; a new thread belongs to the first
 * process. The others count their descriptors from 0 by themselves and know no descriptors of the kernel. */

typedef struct skua_process skua_process;

/* A copy of the calling thread's process: the same numbers, the files shared, as after fork(2). NULL: ENOMEM. */
skua_process* skua_process_fork(void);
/* The calling thread belongs to it from now on; NULL: to the first process. Here and below ESRCH: it has ended. */
int skua_process_enter(skua_process* process);
/* As execve(2) does to descriptors: closes those with FD_CLOEXEC. */
int skua_process_exec(skua_process* process);
/* Closes all descriptors; no thread may belong to it any more. */
int skua_process_exit(skua_process* process);
/* Passes a descriptor of the caller's process to another (NULL: the first) as SCM_RIGHTS does. Returns its number
 * there. Errors: EBADF, EMFILE, ESRCH. */
int skua_process_pass(int fd, skua_process* to);

/* ---- Looking in ----------------------------------------------------------------------------------------------- */

/* The counter of a drop reason by name ("udp_no_port"), summed over the shards; UINT64_MAX if there is no such name. */
uint64_t skua_drops(const char* reason);
/* A MIB counter as Linux names it ("Udp", "InDatagrams"); UINT64_MAX if there is no such name. */
uint64_t skua_mib(const char* group, const char* name);

#ifdef __cplusplus
}
#endif

#endif
