/* Messages between the nodes of a cluster: one connection for each pair of peers that are linked,
 * ordered while it stands. A message is delivered whole or not at all; what was queued on a
 * connection that broke is lost, and on_down says so. Implementations: net/ (TCP, TLS) and the
 * simulator. Loop thread only. */
#ifndef MYCO_ENV_TRANSPORT_H
#define MYCO_ENV_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"

/* Lanes of a connection: a lower one goes first, in pieces of at most 64 KiB. Order holds within
 * one. */
enum myco_lane { MYCO_LANE_CONTROL, MYCO_LANE_DATA, MYCO_LANE_BULK, MYCO_LANE_COUNT };

#define MYCO_MESSAGE_SIZE_MAX (16 * 1024 * 1024) /* payload of one message */

enum myco_down_reason {
    MYCO_DOWN_CLOSED,    /* unlinked here, or the peer said goodbye */
    MYCO_DOWN_RESET,     /* broke; being dialled again */
    MYCO_DOWN_REFUSED,   /* the peer's port refuses: no process listens there */
    MYCO_DOWN_TIMEOUT,   /* silent for too long, or can't be reached */
    MYCO_DOWN_FOREIGN,   /* another cluster or version at that address */
    MYCO_DOWN_DISPLACED, /* another node of this cluster answers there */
};

struct myco_transport_events {
    /* The connection stands. generation and features as the peer said in its handshake. */
    void (*on_up)(uint64_t peer, uint64_t generation, uint64_t features, void *data);
    /* It does not stand any more (or an attempt to dial failed: `was_up` false; may repeat). */
    void (*on_down)(uint64_t peer, bool was_up, enum myco_down_reason reason, void *data);
    /* Lends the payload for the call. */
    void (*on_message)(uint64_t peer, uint8_t type, struct myco_slice payload, void *data);
    /* A lane that had refused with EFULL takes messages again. */
    void (*on_drain)(uint64_t peer, enum myco_lane lane, void *data);
    /* A node that is not linked here dialled, and would be our peer if we linked it (in here, or
     * later; it tries again). May be NULL. */
    void (*on_dialled)(uint64_t peer, void *data);
    void *data;
};

struct myco_transport;
struct myco_transport_ops {
    /* Keeps a connection to `peer` at `addr` from now on, dialling with back-off; again: a new
     * address. */
    void (*link)(struct myco_transport *transport, uint64_t peer, const struct myco_addr *addr);
    /* Says goodbye, drops what is queued. */
    void (*unlink)(struct myco_transport *transport, uint64_t peer);
    bool (*is_up)(struct myco_transport *transport, uint64_t peer);
    /* Takes the payload's memory in any case. ENOTCONN, EFULL (lane's limit; nothing sent),
     * ETOOBIG. */
    int (*send)(struct myco_transport *transport, uint64_t peer, enum myco_lane lane, uint8_t type,
        struct myco_buf *payload);
};
struct myco_transport {
    const struct myco_transport_ops *ops;
};

#endif
