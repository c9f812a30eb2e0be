/* Flows that outlive an upgrade of the program: generations of sockets in a SO_REUSEPORT group.
 *
 * Names, numbers and layouts are those of Cloudflare's udpgrm, so that a program written for it runs unchanged; the
 * options stand at level IPPROTO_UDP. One instance of the program is one generation. New flows go to the sockets of the
 * working generation; flows that have been answered stay with the socket that answered, until it leaves or they have
 * been idle for their timeout. What belongs to a group lives as long as the group: it ends with its last socket.
 *
 *     getsockopt(fd, IPPROTO_UDP, UDP_GRM_WORKING_GEN)       the working generation; -1: nothing is set up
 *     setsockopt(each fd, IPPROTO_UDP, UDP_GRM_SOCKET_GEN)   that + 1: our sockets
 *     ...                                                    when we are ready:
 *     setsockopt(fd, IPPROTO_UDP, UDP_GRM_WORKING_GEN)       that + 1: new flows come to us, the old instance drains
 *
 * Setting any of them needs a socket that is bound with SO_REUSEPORT and has no peer (EBADF), and a value of four bytes
 * at least (EFAULT). */
#ifndef SKUA_UDP_GRM_H
#define SKUA_UDP_GRM_H

#include <linux/filter.h>
#include <stdint.h>

/* uint32_t, get and set: the generation that gets new flows, at first 0. With UDP_GRM_SOCKET_APP: of the socket's
 * application. Reading it never fails: (uint32_t)-1 where nothing is set up. */
#define UDP_GRM_WORKING_GEN 200
/* Set: uint32_t, the generation of this socket; (uint32_t)-1: none. Get: struct udp_grm_socket_gen, or as much of it as
 * there is room for. Errors: ENOSPC a dissector with cookies has given out all 256 of the generation. */
#define UDP_GRM_SOCKET_GEN 201
/* struct udp_grm_dissector, or its beginning (the rest is 0): how a packet tells its flow. For the first socket of a
 * group and before its other options; EPERM if the group has another, or if it is not valid; EINVAL the filter is not
 * sound. Get: EBADFD nothing is set up. */
#define UDP_GRM_DISSECTOR 202
/* struct sockaddr_in or sockaddr_in6, set: the flow of this remote address is this socket's, as if answered now. For
 * answers that another socket sends. Errors: EEXIST it is another socket's; EPERM the dissector is not FLOW, or another
 * address family; EAGAIN the flow table is in use. */
#define UDP_GRM_FLOW_ASSURE 203
/* uint32_t, get and set before the generation: the application of this socket, below max_apps. Errors: EOVERFLOW;
 * EEXIST it has a generation already. */
#define UDP_GRM_SOCKET_APP 204

enum udp_grm_dissector_type {
    DISSECTOR_FLOW = 0,              /* a table of the flows that were answered */
    DISSECTOR_CBPF = 1,              /* the filter finds the cookie in the packet */
    DISSECTOR_BESPOKE = 3,           /* the filter finds a cookie or an application; EPERM with bespoke_digest: skua
                                        has no such program */
    DISSECTOR_NOOP = 4,              /* no flows: each packet goes to the working generation */
    DISSECTOR_QUIC = 0x100,          /* skua's own: the cookie stands in the connection ID (RFC 8999) */
    DISSECTOR_FLAG_VERBOSE = 0x8000, /* taken and without effect */
};

#define UDP_GRM_MAX_INSTR 64
#define UDP_GRM_LABEL_SZ 100
#define UDP_GRM_MAX_APPS 4

/* What a filter returns: 0 to 0xffff a cookie (also 0, which is never valid, when it reads beyond the end of the
 * packet); 0x80000000 + n a new flow of application n; anything else a new flow. */
struct udp_grm_dissector {
    uint32_t dissector_type;
    uint32_t flow_entry_timeout_sec; /* FLOW: after the last answer; 0: 125 seconds */
    uint32_t max_apps;
    uint32_t bespoke_digest;
    char label[UDP_GRM_LABEL_SZ];
    union {
        struct {
            uint32_t filter_len; /* instructions */
            struct sock_filter filter[UDP_GRM_MAX_INSTR];
        };
        struct { /* QUIC */
            uint32_t quic_cid_length;    /* of the IDs that the server gives, 2 to 20. Better not as long as those
                                            that clients begin with (8 is common): these are random, and one of eight
                                            passes for a cookie */
            uint32_t quic_cookie_offset; /* in them, of the cookie's two bytes, the high one first */
        };
    };
} __attribute__((packed));

struct udp_grm_socket_gen {
    uint32_t socket_gen; /* (uint32_t)-1: none */
    uint32_t socket_idx; /* in its generation; (uint32_t)-1 until it has one */
    uint16_t grm_cookie; /* what packets carry to reach it: 5 bits generation, 3 bits check, 8 bits index */
    uint16_t _reserved;
};

#endif
