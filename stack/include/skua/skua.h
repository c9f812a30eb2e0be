/* The C API of skua: UDP sockets in POSIX's shape, over a stack in user space.
 *
 * Constants, structs and errno values are Linux's own (sys/socket.h, netinet/in.h). Every call may come from any thread
 * unless it says otherwise. Calls return -1 and set errno on failure, as their namesakes in the manual do.
 */
#ifndef SKUA_SKUA_H
#define SKUA_SKUA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rte_mbuf;

/* ---- The stack: one per process --------------------------------------------------------------------------------- */

/* Starts the stack with threads of its own: `[EAL arguments] -- [skua options]`, as DPDK applications take them;
 * without
 * `--` all are skua's options (`--config FILE`, see CONFIGURATION.md). Starts the EAL, the ports and a thread per
 * shard. Returns how many of argv were used. On failure -1 and errno: EINVAL arguments or configuration (said on
 * stderr), ENODEV a port, ENOMEM, EALREADY a stack is running. */
int skua_start(int argc, char** argv);

/* Library mode: the application has started the EAL, owns its ports and its RX loop. Makes `shards` shards and no
 * thread. Interfaces, addresses and routes come from the text of a configuration (TOML, see CONFIGURATION.md); its
 * ports are named by DPDK port id and are not touched. Errors: EINVAL, ENOMEM, EALREADY. */
int skua_start_library(unsigned shards, const char* configuration);

/* Stops the threads, closes every socket and port, frees everything. No other call may run meanwhile. */
void skua_stop(void);

/* ---- Library mode: a shard and the application's own loop. Each shard belongs to one thread at a time. -------------
 */

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

/* ---- Sockets ------------------------------------------------------------------------------------------------------
 */

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

/* ---- Looking in ---------------------------------------------------------------------------------------------------
 */

/* The counter of a drop reason by name ("udp_no_port"), summed over the shards; UINT64_MAX if there is no such name. */
uint64_t skua_drops(const char* reason);
/* A MIB counter as Linux names it ("Udp", "InDatagrams"); UINT64_MAX if there is no such name. */
uint64_t skua_mib(const char* group, const char* name);

#ifdef __cplusplus
}
#endif

#endif
