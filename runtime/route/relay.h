/* The bytes of a RELAY message. What is to be passed on comes first, as it is; who it is from and
 * for stands behind it, so that neither sender nor hub moves a large payload:
 *
 *      payload …
 *      for each destination:  u64 to   u32 tag   u32 sequence        16 bytes
 *      the end:  u64 from   u8 kind   u8 type   u8 lane   u8 hops   u16 count   u16 zero
 *
 * kind      what the payload is, below.
 * type      of the message that is passed on (DATA), else 0.
 * lane      that it travels in, on every connection of its way.
 * hops      how often it may still be passed on; so nothing goes round for ever.
 * tag       of the session it belongs to (session.c); sequence: its number there, within its lane.
 *
 * Payloads of the overlay's own:
 *      OPEN    u64 the sender's number of the session, u64 the receiver's (0: not known yet),
 *              u64 generation, u64 features
 *      ACK     u64 received so far, for each lane (units of flow.c)
 *      BREAK   u64 node that was not reached, u32 tag, u8 why (enum myco_route_drop) */
#ifndef MYCO_ROUTE_RELAY_H
#define MYCO_ROUTE_RELAY_H

#include "base/buf.h"

#define MYCO__RELAY_DESTS_MAX 1024 /* of one message */
#define MYCO__RELAY_DEST_SIZE 16
#define MYCO__RELAY_END_SIZE  16
#define MYCO__RELAY_HOPS      5 /* leaf, hub, hub, leaf are three; the rest is for views that differ */

enum myco__relay_kind {
    MYCO__RELAY_DATA = 1,
    MYCO__RELAY_OPEN,
    MYCO__RELAY_ACK,
    MYCO__RELAY_BREAK,
    MYCO__RELAY_KIND_COUNT
};

struct myco__relay_dest {
    uint64_t to;
    uint32_t tag, sequence;
};

struct myco__relay {
    uint64_t from;
    uint8_t kind, type, lane, hops;
    uint16_t count;
    struct myco_slice payload; /* lent by what was decoded */
    const uint8_t *dests;
};

/* EPROTO. */
int myco__relay_decode(struct myco__relay *relay, struct myco_slice bytes);
struct myco__relay_dest myco__relay_dest(const struct myco__relay *relay, uint16_t index);
/* Behind the payload in `buf`: first each destination, then the end, with their count. */
void myco__relay_put_dest(struct myco_buf *buf, const struct myco__relay_dest *dest);
void myco__relay_put_end(struct myco_buf *buf, const struct myco__relay *relay, uint16_t count);

struct myco__open {
    uint64_t mine, theirs, generation, features; /* mine: of who says it */
};
void myco__open_write(struct myco_buf *buf, const struct myco__open *open);
int myco__open_read(struct myco__open *open, struct myco_slice payload); /* EPROTO */

#endif
