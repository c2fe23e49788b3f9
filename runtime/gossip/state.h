/* What the files of gossip/ share: the state of one swim, and who does what.
 *
 *   swim.c       the public face: birth, datagrams in, the one timer, leaving
 *   members.c    who is known; what beats what; events
 *   suspicion.c  a suspect's clock, its accusers, its death
 *   probe.c      pings, pings through others, the local health that stretches both
 *   queue.c      news that rides along, fewest transmissions first
 *   sync.c       whole lists: joining, repairing, finding the dead again
 *   codec.c      bytes
 *
 * Nothing here allocates on behalf of a peer without a bound: see the constants. */
#ifndef MYCO_GOSSIP_STATE_H
#define MYCO_GOSSIP_STATE_H

#include "base/list.h"
#include "base/map.h"
#include "gossip/swim.h"

#define MYCO__DATAGRAM_SIZE_MAX 1400 /* below any sane network's MTU, tunnels and seal included */
#define MYCO__PLAIN_SIZE_MAX    (MYCO__DATAGRAM_SIZE_MAX - MYCO_SEALED_EXTRA)
#define MYCO__BY_MESH_MAX       3    /* probes in a row that only TCP answered: UDP is lost */
#define MYCO__MEMBERS_MAX       4096 /* more are refused, with an error in the log */
#define MYCO__ACCUSERS_MAX      4    /* the first one and three confirmations */
#define MYCO__TRANSMITS_MAX     32
#define MYCO__PROBES_MAX        8
#define MYCO__RELAYS_MAX        64
#define MYCO__JOINS_MAX         MYCO_SWIM_JOINS_MAX
#define MYCO__HEALTH_MAX        8
#define MYCO__TELL_ALL_MAX      128 /* an urgent word goes straight to so many, gossip does the rest */
#define MYCO__NEVER             UINT64_MAX

/* ── Members ────────────────────────────────────────────────────────────────────────────────── */

/* Only while it is suspected. */
struct myco__suspicion {
    struct myco_list link; /* in swim->suspects */
    struct myco__member *member;
    uint64_t since_ms;
    bool graced; /* got time to be heard after a pause of ours */
    uint64_t accusers[MYCO__ACCUSERS_MAX];
    unsigned accuser_count;
};

/* Small, as there may be thousands: about 130 bytes, its name and what it tells of itself. */
struct myco__member {
    struct myco_member pub;            /* first; name and meta lie in `details` */
    struct myco_list queued;           /* in swim->queue[transmits], or alone */
    char *details;                     /* one piece of memory: the name, its terminator, the meta */
    struct myco__suspicion *suspicion; /* NULL: not suspected */
    uint8_t transmits;
    uint8_t by_mesh; /* probes in a row that only the connection answered */
    bool warned;     /* that UDP does not reach it */
    bool displaced;  /* was held dead for that once, in this generation */
};

/* What a message says about a member. A short one (`full` false) has no address, name or meta. */
struct myco__record {
    uint64_t id, generation;
    uint32_t incarnation;
    enum myco_member_state state;
    uint64_t accusers[MYCO__ACCUSERS_MAX];
    unsigned accuser_count;
    bool full;
    uint32_t age_ms; /* since the state changed, as the sender saw it */
    struct myco_addr addr;
    char name[MYCO_NAME_SIZE_MAX + 1];
    struct myco_slice meta; /* lent by the datagram */
};

/* ── Probes ─────────────────────────────────────────────────────────────────────────────────── */

struct myco__probe {
    bool active, asked; /* asked: others were asked to probe for us */
    bool graced;        /* as a suspect's */
    uint64_t id, generation;
    uint32_t sequence;
    uint64_t ask_due_ms, end_due_ms;
    unsigned nacks_due, nacks;
};

/* Where something came from, and so where the answer goes. */
struct myco__path {
    struct myco_addr addr;
    uint64_t mesh; /* by the connection to this peer; 0: by UDP, from addr */
    uint64_t key;  /* of the ring, that sealed it: its sender may not have another one yet */
};

struct myco__relay { /* a probe that another node asked of us */
    bool active, nacked;
    struct myco__path from;
    uint32_t sequence, asked_sequence; /* ours, theirs */
    uint64_t id;
    uint64_t nack_due_ms, end_due_ms;
};

struct myco__join {
    struct myco_addr addr;
    bool own; /* this node itself answered there: not asked again */
};

struct myco_swim {
    struct myco_env *env;
    struct myco_swim_events events;
    uint64_t cluster;
    unsigned probe_ms, timeout_ms, indirect, suspicion_ms;
    uint64_t forget_ms;

    struct myco__member self;
    struct myco_map members;     /* id → struct myco__member, others only */
    struct myco__member **order; /* the round of probes, shuffled */
    uint32_t order_count, order_capacity, order_at;
    size_t counts[MYCO_MEMBER_LEFT + 1]; /* others only */
    struct myco_list queue[MYCO__TRANSMITS_MAX];
    struct myco_list suspects;

    struct myco__probe probes[MYCO__PROBES_MAX];
    struct myco__relay relays[MYCO__RELAYS_MAX];
    uint32_t sequence;
    uint64_t next_id; /* probed first, out of turn; 0: none */
    unsigned health;  /* 0: well; each point makes us more patient, see probe.c */

    struct myco__join joins[MYCO__JOINS_MAX];
    unsigned join_count, join_at;
    uint64_t fresh_until_ms; /* we were alone and got a list: what is in it is no news to others */
    uint32_t dead_at;        /* cursor over members: whom to ask next */
    uint64_t tells_ms; /* start of the current second, and how many members were listed in it */
    unsigned tells;
    uint64_t impostor;  /* highest generation reported */
    uint64_t warned_ms; /* of garbage, last */

    struct myco_timer timer;
    uint64_t timer_due_ms;
    uint64_t probe_due_ms, gossip_due_ms, sync_due_ms, join_due_ms, dead_due_ms, forget_due_ms;
    unsigned farewells; /* still to send */
    uint64_t farewell_due_ms;
    struct myco_buf out;
    size_t out_max; /* what may be in it */
    struct myco_buf sealed;
    struct myco_keyring *keyring; /* may be NULL */
};

/* ── codec.c ────────────────────────────────────────────────────────────────────────────────── */

#define MYCO__SWIM_MAGIC   0x4743594du /* "MYCG" */
#define MYCO__SWIM_VERSION 1

enum myco__message_type {
    MYCO__PING = 1,
    MYCO__PING_REQ,
    MYCO__ACK,
    MYCO__NACK,
    MYCO__SYNC,
    MYCO__MEMBER,
    MYCO__NEWS,
};

enum { MYCO__SYNC_ASK = 1, MYCO__SYNC_TELL = 2, MYCO__SYNC_WANT = 4 };

struct myco__message {
    uint8_t type;
    uint8_t flags;              /* SYNC */
    uint32_t sequence;          /* PING, PING_REQ, ACK, NACK */
    uint64_t id, generation;    /* PING, PING_REQ: the target; ACK: who answered */
    struct myco_addr addr;      /* PING_REQ */
    uint64_t digest;            /* SYNC */
    struct myco__record record; /* MEMBER, NEWS */
};

struct myco__header {
    uint64_t cluster, id, generation;
};

bool myco__decode_header(struct myco_reader *reader, struct myco__header *header);
bool myco__decode_message(struct myco_reader *reader, struct myco__message *message);
/* Starts a datagram in swim->out; the encoders append to it, and myco__send sends it. Nothing that
 * may call back runs in between. */
void myco__begin(struct myco_swim *swim);
void myco__send(struct myco_swim *swim, const struct myco_addr *to);
void myco__send_back(struct myco_swim *swim, const struct myco__path *path);
bool myco__send_mesh(struct myco_swim *swim, uint64_t peer); /* false: there is no connection */
/* By UDP; by the connection, when UDP was seen not to work. */
void myco__send_member(struct myco_swim *swim, const struct myco__member *to);
void myco__encode_message(struct myco_buf *buf, const struct myco__message *message);
/* false, and nothing appended, when it does not fit. A full one for a member that is alive, else
 * news. */
bool myco__encode_member(struct myco_swim *swim, const struct myco__member *member, bool full);

/* ── members.c ──────────────────────────────────────────────────────────────────────────────── */

struct myco__member *myco__member_get(const struct myco_swim *swim, uint64_t id); /* others only */
bool myco__member_live(const struct myco__member *member); /* alive or suspect */
size_t myco__members_live(const struct myco_swim *swim);   /* with this node */
/* `sync`: from a whole list, where a death may be old news (see members.c). `sender`: who says
 * it. */
void myco__members_hear(
    struct myco_swim *swim, const struct myco__record *record, uint64_t sender, bool sync);
/* What this node itself found out, in the member's own generation and incarnation. */
void myco__members_set(
    struct myco_swim *swim, struct myco__member *member, enum myco_member_state state);
void myco__members_forget(struct myco_swim *swim, uint64_t now_ms);
void myco__members_drop(struct myco_swim *swim, struct myco__member *member);
/* Up to `count` different live members at random, without `except`; returns how many. */
unsigned myco__members_pick(
    struct myco_swim *swim, uint64_t except, unsigned count, struct myco__member **picked);
struct myco__member *myco__members_next_probe(struct myco_swim *swim); /* NULL: nobody is live */
uint64_t myco__members_digest(const struct myco_swim *swim);           /* of all that are live */
void myco__members_free(struct myco_swim *swim);
/* Everybody else who is believed to live at the address of `here` is dead. */
void myco__members_displace(struct myco_swim *swim, const struct myco_member *here);
/* Copies; name and meta may be those it has. Returns what it had, for myco_free(). */
char *myco__member_details(struct myco__member *member, const char *name, struct myco_slice meta);
/* A higher incarnation, told to all. */
void myco__self_raise(struct myco_swim *swim, uint32_t above);

/* ── suspicion.c ────────────────────────────────────────────────────────────────────────────── */

void myco__suspicion_start(
    struct myco_swim *swim, struct myco__member *member, const uint64_t *accusers, unsigned count);
void myco__suspicion_stop(struct myco__member *member); /* also when there is none */
/* true when `accuser` is a new voice. */
bool myco__suspicion_confirm(struct myco_swim *swim, struct myco__member *member, uint64_t accuser);
uint64_t myco__suspicion_due(const struct myco_swim *swim); /* of the next death */
void myco__suspicion_tick(struct myco_swim *swim, uint64_t now_ms);
void myco__suspicion_shift(struct myco_swim *swim, uint64_t by_ms);

/* ── probe.c ────────────────────────────────────────────────────────────────────────────────── */

void myco__probe_start(struct myco_swim *swim, struct myco__member *target);
void myco__probe_receive(struct myco_swim *swim, const struct myco__path *from,
    const struct myco__header *header, const struct myco__message *message);
uint64_t myco__probe_due(const struct myco_swim *swim);
void myco__probe_tick(struct myco_swim *swim, uint64_t now_ms);
void myco__probe_shift(struct myco_swim *swim, uint64_t by_ms);
void myco__health_add(struct myco_swim *swim, int points);

/* ── queue.c ────────────────────────────────────────────────────────────────────────────────── */

void myco__queue_add(struct myco_swim *swim, struct myco__member *member);
void myco__queue_remove(struct myco__member *member);
void myco__queue_fill(struct myco_swim *swim); /* appends to the datagram being built what fits */
void myco__queue_tick(struct myco_swim *swim, uint64_t now_ms);
void myco__tell_all(struct myco_swim *swim, const struct myco__member *member); /* at once */

/* ── sync.c ─────────────────────────────────────────────────────────────────────────────────── */

/* `whom`: the member there, or NULL. */
void myco__sync_ask(
    struct myco_swim *swim, const struct myco__path *to, const struct myco__member *whom);
void myco__sync_receive(struct myco_swim *swim, const struct myco__path *from,
    const struct myco__header *header, const struct myco__message *message);
uint64_t myco__sync_due(const struct myco_swim *swim);
void myco__sync_tick(struct myco_swim *swim, uint64_t now_ms);

/* swim.c: sets the timer anew after something became due earlier. */
void myco__swim_schedule(struct myco_swim *swim);

#endif
