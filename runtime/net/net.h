/* The transport of env/transport.h over TCP, on a libuv loop: one connection for each pair of peers
 * that have linked each other, plain or TLS 1.3. Loop thread only. README of the handshake: peer.c.
 */
#ifndef MYCO_NET_NET_H
#define MYCO_NET_NET_H

#include "base/log.h"
#include "base/metric.h"
#include "env/transport.h"

struct uv_loop_s;
struct myco_net;

/* Zero-initialised but for loop, listen, id, name and metrics. All strings are borrowed for the
 * call. */
struct myco_net_options {
    struct uv_loop_s *loop;
    struct myco_addr listen;    /* port 0: any that is free */
    struct myco_addr advertise; /* where others dial us; family 0: as bound */
    uint64_t id;                /* never 0 */
    uint64_t generation;        /* of this start of the node */
    const char *name;           /* at most 63 bytes; longer is cut */
    uint64_t cluster;           /* hash of its name: others are refused */
    uint64_t features;          /* bits; on_up says what both have */
    const char *tls;            /* folder with ca.pem, node.pem, node.key; NULL: plain TCP */
    size_t lane_size_max[MYCO_LANE_COUNT]; /* queued for one peer; 0: 16 MiB, 64 MiB, 64 MiB */
    unsigned ping_ms;                      /* sent after such a silence; 0: 500 */
    unsigned timeout_ms;                   /* received nothing for so long; 0: 3,000 */
    unsigned handshake_ms;                 /* to connect, TLS and HELLO; 0: 2,000 */
    unsigned unlinked_ms;    /* an incoming connection waits so long to be linked; 0: 5,000 */
    unsigned backoff_min_ms; /* before dialling again, doubled each time; 0: 20 */
    unsigned backoff_max_ms; /* 0: 1,000 */
    unsigned incoming_max;   /* incoming connections that are no link yet; 0: 256 */
    struct myco_log *log;    /* may be NULL */
    struct myco_metrics *metrics;
};

/* Binds and listens; *net is given: close it. `bound` (may be NULL) is the address with its port.
 * `events` is copied; none of its functions may be NULL. Nothing is called back inside of a call of
 * the transport's, and SIGPIPE, unless the host ignores or handles it, is blocked on this thread
 * (the loop's) from now on. Unlinking tells no on_down, the caller knows. EADDRINUSE, EINVAL, EIO,
 * EDENIED; ECORRUPT or ENOTFOUND: a file in the TLS folder. */
int myco_net_open(const struct myco_net_options *options,
    const struct myco_transport_events *events, struct myco_net **net, struct myco_addr *bound,
    struct myco_err *err);

struct myco_transport *myco_net_transport(struct myco_net *net); /* lives until close */

/* Says goodbye to all peers (waiting half a second for them at most), frees everything, then calls
 * `cb` (may be NULL) from the loop. No event after this call. */
void myco_net_close(struct myco_net *net, void (*cb)(void *data), void *data);

/* Why a connection was refused: one log line and one count each; nothing else is touched by it.
 * X(symbol, text) */
#define MYCO_NET_REFUSALS(X)                                                                       \
    X(GARBAGE, "not our protocol")                                                                 \
    X(VERSION, "no protocol version in common")                                                    \
    X(CLUSTER, "belongs to another cluster")                                                       \
    X(IDENTITY, "the address belongs to another node")                                             \
    X(SELF, "connection to this node itself")                                                      \
    X(STALE, "an earlier life of a node")                                                          \
    X(TWIN, "two nodes with one id")                                                               \
    X(TLS, "TLS handshake failed")                                                                 \
    X(CROWDED, "too many incoming connections are not linked")
enum myco_net_refusal {
#define X(symbol, text) MYCO_NET_REFUSED_##symbol,
    MYCO_NET_REFUSALS(X)
#undef X
        MYCO_NET_REFUSED_COUNT
};
uint64_t myco_net_refused(const struct myco_net *net, enum myco_net_refusal why); /* since open */

#endif
