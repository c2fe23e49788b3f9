/* The bytes on a connection between two peers: frames, their reassembly into messages, and the
 * link's own frames (the handshake and what keeps it alive). Pure: bytes in, bytes out.
 *
 * Everything is a frame. Integers are little-endian.
 *
 *      0        4        5       6       7       8        12       16
 *     +--------+--------+-------+-------+-------+--------+--------+---------
 *     |  size  |version | type  | lane  | zero  |  rest  |  zero  | payload
 *     +--------+--------+-------+-------+-------+--------+--------+---------
 *       u32      u8       u8      u8      u8      u32      u32      size bytes
 *
 * size     of the payload of this frame, at most MYCO_FRAME_PIECE_MAX.
 * version  of the format: what the handshake agreed on; 0 for the link's own frames, whose layout
 *          only ever grows at the end.
 * type     of the message (wire/message.h), or of the link's frame (below).
 * lane     0 control, 1 data, 2 bulk, 3 the link itself.
 * rest     bytes of the same message that follow in later frames of this lane; 0: it is complete.
 *          So the first piece says how large the message is, and each piece can be checked.
 *
 * A message larger than one piece goes in several, so that frames of a more urgent lane get in
 * between; within a lane, messages are never mixed. */
#ifndef MYCO_WIRE_FRAME_H
#define MYCO_WIRE_FRAME_H

#include "base/addr.h"
#include "base/buf.h"

#define MYCO_FRAME_HEADER_SIZE 16
#define MYCO_FRAME_PIECE_MAX   (64 * 1024)        /* payload of one frame */
#define MYCO_FRAME_MESSAGE_MAX (16 * 1024 * 1024) /* payload of one message */
#define MYCO_FRAME_LINK_MAX    1024               /* payload of one of the link's own */
#define MYCO_FRAME_LANES       3                  /* lanes of messages */
#define MYCO_FRAME_LANE_LINK   3

#define MYCO_WIRE_VERSION_LOWEST  1 /* what this code speaks */
#define MYCO_WIRE_VERSION_HIGHEST 1

/* ── One frame ──────────────────────────────────────────────────────────────────────────────── */

struct myco_frame {
    uint32_t size, rest;
    uint8_t version, type, lane;
};

void myco_frame_encode(uint8_t header[MYCO_FRAME_HEADER_SIZE], const struct myco_frame *frame);
/* EPROTO (a field that no encoder writes), ETOOBIG (a limit); what is wrong is said in `err`. */
int myco_frame_decode(
    struct myco_frame *frame, const uint8_t header[MYCO_FRAME_HEADER_SIZE], struct myco_err *err);

/* ── Reassembly ─────────────────────────────────────────────────────────────────────────────── */

struct myco_frame_message {
    uint8_t lane, type;
    struct myco_slice payload; /* lent until the next call on the same frames */
};

/* The incoming side of one connection. Zero-initialised is ready for the link's own frames;
 * messages are refused until `version` is set. Holds at most one unfinished message for each lane.
 */
struct myco_frames {
    uint8_t version;      /* the agreed one; 0: before the handshake ended */
    uint64_t frame_count; /* headers read so far */
    /* private */
    uint8_t header[MYCO_FRAME_HEADER_SIZE];
    size_t header_size;      /* of a header that came in parts */
    struct myco_frame frame; /* whose payload is being read, when in_payload */
    uint32_t got;            /* of its payload */
    bool in_payload;
    struct myco_frame_lane {
        struct myco_buf bytes; /* of an unfinished message */
        uint32_t rest;         /* that is still to come in later frames; 0: no message has begun */
        uint8_t type;
    } lanes[MYCO_FRAME_LANES + 1];
    struct myco_frame_lane *delivered; /* whose bytes the last message lent */
};

/* Takes bytes from the front of *input until a message is complete: 1, and *message is lent. 0: all
 * of *input is used up (an unfinished part is kept), call again with what comes next. A message
 * that lies whole and in one frame in *input is not copied. Negative: EPROTO, EVERSION, ETOOBIG,
 * ENOMEM; the connection can't be read any further. */
int myco_frames_next(struct myco_frames *frames, struct myco_slice *input,
    struct myco_frame_message *message, struct myco_err *err);
void myco_frames_free(struct myco_frames *frames);

/* ── The link's own frames ──────────────────────────────────────────────────────────────────── */

/* X(symbol, number, what) — numbers are for ever. */
#define MYCO_LINK_FRAMES(X)                                                                        \
    X(HELLO, 1, "who speaks; the first frame in either direction")                                 \
    X(READY, 2, "u64 session: the sender wants this peer; in HELLO when it knew so then")          \
    X(ACCEPT, 3, "from the lower id: of all connections of this pair, this is the link")           \
    X(PING, 4, "nothing was sent for a while; both sides send it, so it needs no answer")          \
    X(GOODBYE, 5, "u8 reason: the last frame")

enum myco_link_frame {
#define X(symbol, number, what) MYCO_LINK_##symbol = number,
    MYCO_LINK_FRAMES(X)
#undef X
};

/* X(symbol, number, text) — numbers are for ever. */
#define MYCO_GOODBYES(X)                                                                           \
    X(UNLINKED, 1, "the peer does not want this link any more")                                    \
    X(LEAVING, 2, "the peer stops")                                                                \
    X(DUPLICATE, 3, "another connection is the link")                                              \
    X(UNWANTED, 4, "the peer does not know this node")                                             \
    X(VERSION, 5, "no version in common")                                                          \
    X(CLUSTER, 6, "another cluster")                                                               \
    X(IDENTITY, 7, "not the node that was expected")                                               \
    X(STALE, 8, "an earlier life of this node")                                                    \
    X(TWIN, 9, "another node has the same id")

enum myco_goodbye {
#define X(symbol, number, text) MYCO_GOODBYE_##symbol = number,
    MYCO_GOODBYES(X)
#undef X
};
const char *myco_goodbye_text(uint8_t reason); /* "unknown reason" for others; static */

/* HELLO, after the header:
 *
 *      0       4    5    6      14      22    30          38       46      …
 *     +-------+----+----+------+-------+-----+-----------+--------+-------+--------+
 *     | magic | lo | hi | feat.|cluster| id  | generation| session| name  | listen |
 *     +-------+----+----+------+-------+-----+-----------+--------+-------+--------+
 *       u32    u8   u8   u64    u64     u64   u64          u64      slice   addr
 *
 * Later versions may add fields at the end, which older ones skip. */
#define MYCO_HELLO_NAME_MAX 63

struct myco_hello {
    uint8_t version_lowest, version_highest; /* that the sender speaks */
    uint64_t features;                       /* bits; a feature is used when both have it */
    uint64_t cluster;                        /* hash of the cluster's name */
    uint64_t id, generation;
    /* 0: the sender has not linked the receiver (yet). Else it has, and the number rises with every
     * link to this receiver that the sender lost: a link of an older session is dead. */
    uint64_t session;
    char name[MYCO_HELLO_NAME_MAX + 1];
    struct myco_addr listen; /* where the sender can be dialled */
};

/* Whole frames, header and payload, at the end of `buf`. */
void myco_link_put_hello(struct myco_buf *buf, const struct myco_hello *hello);
void myco_link_put_ready(struct myco_buf *buf, uint64_t session);
void myco_link_put_goodbye(struct myco_buf *buf, uint8_t reason);
void myco_link_put_empty(struct myco_buf *buf, enum myco_link_frame type); /* ACCEPT, PING */

/* From payloads. EPROTO: not one. */
int myco_link_get_hello(struct myco_hello *hello, struct myco_slice payload, struct myco_err *err);
int myco_link_get_ready(uint64_t *session, struct myco_slice payload);
int myco_link_get_goodbye(uint8_t *reason, struct myco_slice payload);

/* The highest version that both speak; 0: none. */
uint8_t myco_hello_agree(const struct myco_hello *ours, const struct myco_hello *theirs);

#endif
