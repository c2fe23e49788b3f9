/* A small world for hyphae: up to six nodes with one hypha each, virtual time, connections that are
 * ordered while they stand and lose what is in flight when they break, journals that become durable
 * later and lose the rest in a crash, and a consensus that is one struct and never wrong.
 *
 * The world also judges. What is committed anywhere becomes the truth of its offset; every copy
 * must agree with it, every acknowledged write must be in it, a refused one never, and whoever
 * begins to serve must have all of it. Each violation is counted and said. */
#ifndef MYCO_TEST_HYPHA_WORLD_H
#define MYCO_TEST_HYPHA_WORLD_H

#include "store/hypha_internal.h"

#define WORLD_NODES_MAX 6
#define WORLD_KEYS      8
#define MS              1000000ull

struct world;

struct journal_entry {
    uint64_t sequence, offset;
    uint8_t kind;
    struct myco_buf bytes;
};

struct node {
    struct myco_env env; /* first */
    struct world *world;
    struct myco_metrics metrics;
    struct myco_domain *domain;
    struct myco_hypha *hypha; /* NULL: down */
    uint64_t id, generation;
    bool cut_off;      /* from consensus */
    bool served;       /* when last looked at */
    bool frozen;       /* its journal does not become durable */
    int journal_error; /* what appends are answered with */
    int send_error;    /* what sends are answered with; lasts until it is reset */
    int64_t wall_skew_ms;
    uint64_t out_ms;  /* consensus gives it no copy until then */
    uint64_t seen;    /* offset of the last committed change */
    uint64_t lost_ms; /* as primary: unreachable since; 0: reachable */
    /* its disk, which survives */
    struct journal_entry *entries;
    size_t entry_count, entry_capacity;
    uint64_t sequence, durable;
    bool saved;
    struct myco_buf snapshot;
    uint64_t snapshot_sequence;
    /* counters */
    unsigned proposals[2], replaced, sent[16], sent_bulk;
    uint64_t proposed_node;
};

struct link {
    bool up, cut, connecting;
    uint64_t connection;
    uint64_t due_ns[2][2]; /* [direction][lane]: of the last message */
};

/* What became of a write. */
enum outcome { OUTCOME_NONE, OUTCOME_REFUSED, OUTCOME_DONE };
struct op {
    enum outcome outcome;
    int status; /* of write() when refused, else of complete() */
    uint64_t version;
    unsigned node, key;
    struct myco_write write;
    uint64_t acked_before; /* highest offset acknowledged when it began */
    uint64_t key_before;   /* the same, of its key */
    bool inside;           /* write() has not returned yet */
};

struct truth { /* of one offset */
    uint64_t epoch, hash, time_ms, expires_ms, token;
    unsigned key;
    enum myco_op op;
    bool known;
};

struct seen_record { /* of one (epoch, offset): in any log */
    uint64_t epoch, offset, hash, before_epoch, before_offset;
};

struct event;
typedef void (*event_cb)(struct world *world, struct event *event);
struct event {
    uint64_t due_ns, order;
    event_cb cb;
    unsigned node, other;
    uint64_t x, y, z;
    bool flag;
    struct myco_buf bytes;
    struct myco_set set;
};

struct world {
    struct myco_hypha_options
        options; /* of each hypha; self, generation, env, domain are filled in */
    unsigned node_count;
    struct node nodes[WORLD_NODES_MAX];
    struct link links[WORLD_NODES_MAX][WORLD_NODES_MAX]; /* [low][high] */
    struct myco_set set;                                 /* consensus */
    bool managed;     /* consensus replaces primaries, adds members */
    bool chaos;       /* sends and journals fail now and then */
    bool no_replaced; /* no snapshot is made when a copy was taken in */
    bool no_refusals; /* proposals wait: see world_answer */
    struct event *proposal;
    void (*on_taken)(struct world *world, unsigned proposer, unsigned node); /* an EXPAND was */
    uint64_t now_ns, random[2], order;
    struct event **heap;
    size_t heap_count, heap_capacity;
    unsigned drop_kind; /* the next message of that kind vanishes, though the connection stands */
    struct op *ops;     /* token - 1 */
    size_t op_count, op_capacity;
    struct truth *truths; /* offset - 1 */
    size_t truth_size;
    struct seen_record *seen; /* a hash table */
    size_t seen_size, seen_count;
    uint64_t acked_max, key_acked[WORLD_KEYS];
    struct {
        uint64_t epoch;
        unsigned node;
    } ackers[512];
    size_t acker_count;
    bool lossy; /* level MEMORY: acknowledged may be lost, and committed differ */
    unsigned violations;
    uint64_t messages, bytes, copies, events;
    const char *name; /* said with violations */
    uint64_t seed;
};

/* All nodes are up and connected; the set is {1} in sync, or all of them. */
struct world *world_new(unsigned node_count, enum myco_level level, uint64_t seed);
void world_start(struct world *world, bool all_in_sync);
void world_free(struct world *world);

uint64_t world_random(struct world *world, uint64_t below);
void world_run(struct world *world, uint64_t ms);
/* Until `done`, at most so long; whether it was. */
bool world_until(struct world *world, bool (*done)(struct world *world), uint64_t ms);
struct event *world_at(struct world *world, uint64_t delay_ns, event_cb cb, unsigned node);

/* Nodes are 0 …; their ids 1 …. */
void world_crash(struct world *world, unsigned node);
void world_boot(struct world *world, unsigned node);
void world_cut(struct world *world, unsigned a, unsigned b);
void world_mend(struct world *world, unsigned a, unsigned b);
void world_isolate(struct world *world, unsigned node); /* from all, and from consensus */
void world_heal(struct world *world);                   /* everything, and starts who is down */
void world_break(struct world *world, unsigned a, unsigned b); /* the connection; it comes again */
void world_snapshot(struct world *world, unsigned node);
/* Consensus takes its copy away for so long; the node throws it away once it knows. */
void world_remove(struct world *world, unsigned node, uint64_t ms);
void world_configure(struct world *world); /* tells everybody the set (after a change by hand) */
void world_primary(struct world *world, unsigned node); /* a new epoch */
void world_answer(struct world *world, bool take);      /* the proposal that waits */

/* Writes at a node; returns the token. A value holds the token, and is padded to value_size. */
uint64_t world_write(
    struct world *world, unsigned node, struct myco_write write, unsigned key, size_t value_size);
uint64_t world_put(struct world *world, unsigned node, unsigned key);
const struct op *world_op(const struct world *world, uint64_t token);
bool world_done(const struct world *world, uint64_t token, int status);

void world_check(struct world *world);   /* logs against each other, tables against the truth */
bool world_equal(struct world *world);   /* all copies have the same table and end */
bool world_settled(struct world *world); /* all nodes in sync, the primary serves, everybody idle */
struct node *world_serving(struct world *world); /* NULL: nobody, or consensus' primary does not */
void world_violation(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
