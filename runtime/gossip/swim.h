/* SWIM membership: who is there, and who is not, by random probes, indirect probes, suspicion and
 * refutation; changes travel on the probes. A step machine over env/: datagrams in and out, one
 * timer. Sources: Das, Gupta, Motivala, "SWIM" (2002); Dadgar et al., "Lifeguard" (2018). */
#ifndef MYCO_GOSSIP_SWIM_H
#define MYCO_GOSSIP_SWIM_H

#include "env/env.h"
#include "gossip/keyring.h"

#define MYCO_NAME_SIZE_MAX  63
#define MYCO_META_SIZE_MAX  256
#define MYCO_SWIM_JOINS_MAX 64

#define MYCO_SWIM_MESH_SIZE_MAX (32 * 1024)

/* X(symbol, text) — the order of precedence for one (generation, incarnation): a later one wins. */
#define MYCO_MEMBER_STATES(X)                                                                      \
    X(ALIVE, "alive") X(SUSPECT, "suspect") X(DEAD, "dead") X(LEFT, "left")
enum myco_member_state {
#define X(symbol, text) MYCO_MEMBER_##symbol,
    MYCO_MEMBER_STATES(X)
#undef X
};
const char *myco_member_state_name(enum myco_member_state state);

struct myco_member {
    uint64_t id;          /* random, for the life of the data folder */
    uint64_t generation;  /* rises with every start of the node; a newer one replaces the older,
                             whatever its state */
    uint32_t incarnation; /* rises when the node refutes a suspicion */
    enum myco_member_state state;
    struct myco_addr addr; /* peers' TCP and UDP */
    const char *name;      /* these two are lent as long as the member itself is */
    const uint8_t *meta;   /* the owner's, opaque here; travels with the member */
    uint16_t meta_size;
    uint64_t changed_ms; /* when the state last changed, on this node's clock */
};

struct myco_swim_events {
    /* A member appeared, or its state, generation, address or meta changed. `was` is NULL for a new
     * one. Never for this node itself. Dead and left members are forgotten after `forget_ms`: then
     * `now` is NULL. Runs inside the step that learned it; it may call the swim. */
    void (*on_member)(const struct myco_member *now, const struct myco_member *was, void *data);
    /* May be NULL. Another process runs under this node's id with a higher generation: somebody
     * copied the data folder, or started it twice. Once for each such generation. */
    void (*on_impostor)(uint64_t generation, void *data);
    /* May be NULL. Sends bytes to myco_swim_receive_mesh() of that peer, by the connection to it;
     * false: there is none, or the peer would not know what it is. At most MYCO_SWIM_MESH_SIZE_MAX.
     */
    bool (*mesh)(uint64_t peer, struct myco_slice bytes, void *data);
    /* May be NULL. Is this one of ours? Asked of every member that is told of in full, before it is
     * believed; `word` is lent. A member that is refused is not taken in, or dropped when it was
     * there. It must not call the swim. */
    bool (*admits)(const struct myco_member *word, void *data);
    void *data;
};

struct myco_swim_options {
    uint64_t cluster; /* hash of the cluster's name; others' datagrams are counted and dropped */
    uint64_t id, generation;
    const char *name;      /* borrowed for the call */
    struct myco_addr addr; /* what others reach this node at */
    unsigned probe_ms;     /* one probe each; 0: 200 */
    unsigned timeout_ms;   /* of a direct probe, then indirect ones start; 0: 100 */
    unsigned indirect;     /* members asked to probe for us; 0: 3 */
    unsigned suspicion_ms; /* until a suspect is dead; grows with log10(members); 0: 1000 */
    unsigned forget_ms;    /* 0: 24 h */
    /* Borrowed until free; may change at any time. NULL, or an empty one: nothing is sealed. */
    struct myco_keyring *keyring;
};

struct myco_swim;
struct myco_swim *myco_swim_new(struct myco_env *env, const struct myco_swim_options *options,
    const struct myco_swim_events *events);
void myco_swim_free(struct myco_swim *swim);
/* Feeds a datagram; garbage is counted (GOSSIP_REFUSED) and dropped. */
void myco_swim_receive(
    struct myco_swim *swim, const struct myco_addr *from, struct myco_slice bytes);
/* The same for what a peer's `mesh` sent. */
void myco_swim_receive_mesh(struct myco_swim *swim, uint64_t peer, struct myco_slice bytes);
/* Asks the node at `addr` for its whole list, again every second until it (or anyone) answered, and
 * every 30 s after that, so that two halves find each other again. May be this node's own. */
void myco_swim_join(struct myco_swim *swim, const struct myco_addr *addr);
/* The same for all of these, at most MYCO_SWIM_JOINS_MAX, in place of every address that was to be
 * joined before. What is new among them is asked at once. */
void myco_swim_set_joins(struct myco_swim *swim, const struct myco_addr *addrs, unsigned count);
/* The member is forgotten at once, and nobody is told (on_member is, here): it is of another
 * cluster. */
void myco_swim_drop(struct myco_swim *swim, uint64_t id);
void myco_swim_set_meta(struct myco_swim *swim, struct myco_slice meta); /* and tells everybody */
/* What the connections know: its port refuses — no process listens there (dead at once, told to
 * all); or its connection broke (probed at once). For a generation that is not the current one:
 * ignored. */
void myco_swim_refused(struct myco_swim *swim, uint64_t id, uint64_t generation);
void myco_swim_hint(struct myco_swim *swim, uint64_t id);
/* A connection to it stands: the process of that generation lives. A suspect is told at once, so
 * that it refutes; a newer process than the known one is asked who it is now. */
void myco_swim_connected(struct myco_swim *swim, uint64_t id, uint64_t generation);
/* Another node answered at the address of `id`: it is dead at once, told to all. */
void myco_swim_displaced(struct myco_swim *swim, uint64_t id);
/* Tells everybody that this node goes, a few times over. Afterwards only receive() is of use. */
void myco_swim_leave(struct myco_swim *swim);
/* NULL; lends until the next call. */
const struct myco_member *myco_swim_get(const struct myco_swim *swim, uint64_t id);
const struct myco_member *myco_swim_self(const struct myco_swim *swim);
/* Who suspects it, as far as was heard here: at most `max` ids; 0 when it is no suspect. */
size_t myco_swim_accusers(const struct myco_swim *swim, uint64_t id, uint64_t *ids, size_t max);
/* All but this node, in the order in which they were learned. *cursor starts at 0; NULL ends. */
const struct myco_member *myco_swim_next(const struct myco_swim *swim, uint32_t *cursor);
/* With this node, when alive. */
size_t myco_swim_count(const struct myco_swim *swim, enum myco_member_state state);

#endif
