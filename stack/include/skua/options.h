/* Socket options of skua's own, for setsockopt at level SOL_SKUA. */
#ifndef SKUA_OPTIONS_H
#define SKUA_OPTIONS_H

#include <stdint.h>

#define SOL_SKUA 0x534b

/* Where Linux takes the descriptor of a loaded program, SO_ATTACH_REUSEPORT_EBPF (level SOL_SOCKET) takes the program:
 * an ELF object in memory, an array of struct bpf_insn, or an int, the descriptor of a file that holds one of them. It
 * reads struct __sk_buff (len, queue_mapping: the shard, protocol, ifindex, ingress_ifindex, hash, family, addresses
 * and ports; pkt_type, mark and priority are 0) and, by loads from the packet, the payload; it returns the place of a
 * member. There are no maps, helpers or loops. Errors beside Linux's for the option: those of bpf(2), EACCES, EINVAL,
 * E2BIG. */

/* How the SO_REUSEPORT group of a socket chooses among its members (an int, one of the values below). Set before bind,
 * it holds for the group that the socket begins. Errors: EINVAL no SO_REUSEPORT, or no such value. */
#define SKUA_REUSEPORT_SELECT 1

#define SKUA_SELECT_BUCKETS \
    0                        /* 512 buckets of the five-tuple hash; 1/n of the flows move when a member comes or goes */
#define SKUA_SELECT_MODULO 1 /* Linux's: the hash scaled to the number of members */
#define SKUA_SELECT_SOURCE 2 /* all flows of one remote address to one member */
#define SKUA_SELECT_LOCAL 3  /* members whose home is the receiving shard; buckets if there are none */

/* The place of the member (in the order of joining) stands in the datagram (struct skua_cookie). */
#define SKUA_REUSEPORT_COOKIE 2

struct skua_cookie {
    uint16_t offset; /* in the payload, bytes */
    uint16_t length; /* of the number, big-endian: 1, 2 or 4 bytes */
};

/* This socket's share of its group's flows beside the others', where buckets choose: an int from 0 to 1000, at first 1.
 * With 0 it gets no flow while another member has more. Errors: EINVAL out of range. */
#define SKUA_REUSEPORT_WEIGHT 3

/* The room of the flow table that generations of a group need (skua/udp_grm.h, dissector FLOW): an int from 1 to
 * 4194304, at most 48 bytes each. Before the first UDP_GRM option of the group, on the socket that sets it. Errors:
 * EINVAL out of range; EPERM the group has its generations. */
#define SKUA_GROUP_FLOWS 4

#endif
