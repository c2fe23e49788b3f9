/* What the files of stream/ share: the state of one bus, and who does what.
 *
 *   bus.c        the public face: birth, subscriptions, what comes in
 *   interest.c   sets of (pattern, queue): our own, and those of each peer; queue groups
 *   peers.c      telling peers our interest, hearing theirs, flush
 *   publish.c    choosing who gets a message, and sending it
 *   delivery.c   handing messages to local subscribers
 *   fences.c     the newest epochs that were seen, and what is older
 *   codec.c      bytes
 *   subjects.c, trie.c   see subjects.h
 */
#ifndef MYCO_STREAM_STATE_H
#define MYCO_STREAM_STATE_H

#include "base/list.h"
#include "base/map.h"
#include "stream/bus.h"

#define MYCO__SUBS_MAX        262144 /* local subscriptions; then EFULL */
#define MYCO__WISHES_MAX      262144 /* distinct ones of one peer; more are ignored, with an error */
#define MYCO__FENCES_SEEN_MAX 4096   /* names of fences; the one seen longest ago is forgotten */
#define MYCO__QUEUE_BYTES_MAX                                                                      \
    (64 * 1024 * 1024)                   /* published here, not yet delivered here; then EFULL */
#define MYCO__PIECE_SIZE_MAX (32 * 1024) /* of interest in one message */

/* ── Interest ───────────────────────────────────────────────────────────────────────────────── */

/* All subscriptions of one queue name, here and elsewhere. Scratch fields belong to one publish (or
 * one message received): they count only while `stamp` is that one's. */
struct myco__group {
    struct myco__group *next; /* of the same hash */
    size_t refs;
    uint64_t turn; /* of the local members */
    uint64_t stamp, wanted_stamp;
    size_t count; /* local members that match */
    size_t seen, pick;
    size_t candidate_count, candidates; /* remote ones; index + 1 of the first in bus->candidates */
    size_t name_size;
    char name[];
};

/* A distinct (pattern, queue): ours (peer NULL) or a peer's. */
struct myco__interest {
    struct myco__interest *next; /* of the same hash */
    struct myco__peer *peer;
    struct myco__group *group;  /* NULL: plain */
    struct myco_list link;      /* ours: in bus->interests, by serial */
    struct myco_list gone_link; /* ours, without subscriptions: in bus->gone */
    uint64_t serial;            /* of its last change */
    size_t subs;                /* ours: subscriptions; 0: gone, kept until every peer was told */
    size_t pattern_size;
    char pattern[];
};

struct myco__peer {
    uint64_t id, up_order;
    struct myco_map wishes; /* hash → struct myco__interest */
    size_t wish_count;
    bool greeted;             /* was told to forget what it had, and got the first piece */
    uint64_t told, acked;     /* serials of ours */
    uint64_t heard, answered; /* serials of its own: received, acknowledged */
    /* scratch of a publish */
    bool queued, plain;
    uint64_t sent_stamp, failed_stamp;
    size_t assigned; /* index + 1 of the first in bus->assigned */
    uint16_t assigned_count;
};

struct myco_bus_sub {
    struct myco_list link; /* in bus->subs */
    struct myco__interest *interest;
    myco_msg_cb cb;
    void *data;
    size_t refs; /* itself while open, and each delivery under way */
    bool closed;
};

struct myco__flush {
    struct myco_list link;
    uint64_t serial, order;
    void (*done)(void *data);
    void *data;
};

/* A growing array of scratch. */
struct myco__candidate {
    struct myco__peer *peer;
    size_t next; /* index + 1; 0 ends */
};
struct myco__assigned {
    struct myco__group *group;
    size_t next;
};
#define MYCO__ARRAY(type)                                                                          \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t count, capacity;                                                                    \
    }
#define MYCO__ARRAY_ADD(array, item)                                                               \
    do {                                                                                           \
        if ((array)->count == (array)->capacity) {                                                 \
            (array)->capacity = (array)->capacity ? (array)->capacity * 2 : 16;                    \
            (array)->items =                                                                       \
                myco_realloc((array)->items, (array)->capacity * sizeof(*(array)->items));         \
        }                                                                                          \
        (array)->items[(array)->count++] = (item);                                                 \
    } while (0)

struct myco_bus {
    struct myco_env *env;
    struct myco_bus_events events;
    uint64_t self;
    bool sending; /* in events.send, which must not call back */

    struct myco_list subs;
    size_t sub_count;
    struct myco_trie *local;  /* struct myco_bus_sub */
    struct myco_trie *remote; /* struct myco__interest of peers */
    struct myco_map groups;   /* hash → struct myco__group */

    struct myco_map ours; /* hash → struct myco__interest */
    struct myco_list
        interests; /* the same, by serial: what a peer at serial n lacks is a tail of it */
    struct myco_list gone;
    uint64_t serial;
    struct myco_deferred tell;
    bool tell_pending;
    struct myco_timer retry;

    struct myco_map peers; /* id → struct myco__peer, those that are up */
    uint64_t orders;
    struct myco_list flushes;
    struct myco_deferred flush_check;

    struct myco_list queue; /* of struct delivery, delivery.c */
    size_t queue_bytes;
    struct myco_deferred deliver;

    struct myco_map fences; /* hash of a name → struct seen, fences.c */
    struct myco_list fences_used;
    size_t fences_count;

    uint64_t stamp;
    MYCO__ARRAY(struct myco_bus_sub *) matched;
    MYCO__ARRAY(struct myco_bus_sub *) chosen;
    MYCO__ARRAY(struct myco__group *) open_groups; /* with members elsewhere only */
    MYCO__ARRAY(struct myco__candidate) candidates;
    MYCO__ARRAY(struct myco__assigned) assigned;
    MYCO__ARRAY(struct myco__peer *) targets;
    MYCO__ARRAY(struct myco__peer *) alike; /* targets whose messages are the same */
    MYCO__ARRAY(uint64_t) alike_ids;
    MYCO__ARRAY(int) alike_results;
};

/* ── interest.c ─────────────────────────────────────────────────────────────────────────────── */

struct myco__group *myco__group_get(const struct myco_bus *bus, struct myco_slice name);
struct myco_slice myco__group_name(const struct myco__group *group);
/* The one with this pattern and queue (size 0: plain); NULL: not there. */
struct myco__interest *myco__interest_get(const struct myco_bus *bus, const struct myco_map *set,
    struct myco_slice pattern, struct myco_slice queue);
/* Adds one that is not there. */
struct myco__interest *myco__interest_add(
    struct myco_bus *bus, struct myco_map *set, struct myco_slice pattern, struct myco_slice queue);
/* Frees. */
void myco__interest_remove(
    struct myco_bus *bus, struct myco_map *set, struct myco__interest *interest);
void myco__interest_free_all(struct myco_bus *bus, struct myco_map *set);
struct myco_slice myco__interest_pattern(const struct myco__interest *interest);

/* ── peers.c ────────────────────────────────────────────────────────────────────────────────── */

/* Ours: a new serial, to be told. */
void myco__interest_changed(struct myco_bus *bus, struct myco__interest *interest);
void myco__interest_tell(struct myco_bus *bus); /* now, what is pending */
void myco__interest_receive(struct myco_bus *bus, uint64_t from, struct myco_slice payload);
void myco__peers_init(struct myco_bus *bus);
void myco__peers_free(struct myco_bus *bus);

/* ── delivery.c ─────────────────────────────────────────────────────────────────────────────── */

/* Fills bus->chosen: the plain subscriptions that match when `plain`, and one member of each group,
 * of all groups or only of those whose wanted_stamp is bus->stamp. Begin with a new stamp. */
void myco__choose(struct myco_bus *bus, struct myco_slice subject, bool plain, bool all_groups);
/* To bus->chosen; EFULL, ENOMEM. */
int myco__deliver_later(struct myco_bus *bus, const struct myco_msg *msg);
void myco__deliver_now(struct myco_bus *bus, const struct myco_msg *msg);
void myco__delivery_free(struct myco_bus *bus);
void myco__sub_unref(struct myco_bus_sub *sub);

/* ── fences.c ───────────────────────────────────────────────────────────────────────────────── */

/* Of a message that is published here: EFENCED, EINVAL. Afterwards older ones are. */
int myco__fence_publish(struct myco_bus *bus, const struct myco_fence *fence, struct myco_err *err);
/* Of one that came, or whose turn came: false, and counted, when it is over. */
bool myco__fence_passes(struct myco_bus *bus, const struct myco_fence *fence);
void myco__bus_fences_init(struct myco_bus *bus);
void myco__bus_fences_free(struct myco_bus *bus);

/* ── codec.c ────────────────────────────────────────────────────────────────────────────────── */

enum { MYCO__PUBLISH_PLAIN = 1 };
enum { MYCO__INTEREST_RESET = 1, MYCO__INTEREST_ACK = 2 };
enum { MYCO__ITEM_ADD = 1, MYCO__ITEM_REMOVE = 2 };

struct myco__publication {
    bool plain;
    uint16_t group_count;
    struct myco_reader groups; /* names, by myco__read_short() */
    struct myco_slice subject, reply, data;
};

struct myco__interest_item {
    uint8_t op;
    struct myco_slice pattern, queue;
};

void myco__write_short(struct myco_buf *buf, struct myco_slice text); /* u8 size, bytes */
struct myco_slice myco__read_short(struct myco_reader *reader);
bool myco__publication_decode(struct myco_slice payload, struct myco__publication *publication);
void myco__fence_write(struct myco_buf *buf, const struct myco_fence *fence);
/* What precedes a publication in a PUBLISH_FENCED: leaves that in *payload, the name in `name`
 * (MYCO_FENCE_NAME_SIZE_MAX + 1 bytes), to which the fence points. */
bool myco__fence_decode(struct myco_slice *payload, char *name, struct myco_fence *fence);
void myco__interest_begin(struct myco_buf *buf, uint8_t flags, uint64_t serial);
void myco__interest_item_write(
    struct myco_buf *buf, uint8_t op, struct myco_slice pattern, struct myco_slice queue);
/* Checks the whole message, and leaves the reader at the first item. */
bool myco__interest_decode(
    struct myco_slice payload, uint8_t *flags, uint64_t *serial, struct myco_reader *items);
bool myco__interest_item_read(struct myco_reader *reader, struct myco__interest_item *item);

/* ── publish.c ──────────────────────────────────────────────────────────────────────────────── */

void myco__publish_receive(
    struct myco_bus *bus, uint64_t from, uint8_t type, struct myco_slice payload);

#endif
