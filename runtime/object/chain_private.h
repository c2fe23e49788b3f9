/* What the files of the chain share: the chain, and one call on it as a task of steps. */
#ifndef MYCO_OBJECT_CHAIN_PRIVATE_H
#define MYCO_OBJECT_CHAIN_PRIVATE_H

#include "base/list.h"
#include "object/chain.h"

#define MYCO_CHAIN_GRACE_MS  (10 * 60 * 1000)
#define MYCO_CHAIN_DROPS_MAX 65536
#define MYCO_CHAIN_TRIES_MAX                                                                       \
    64 /* of numbers that others take before us; listings that change under us */

/* An object that a committed manifest of ours (or the one we took over from) lists as dropped. */
struct chain_drop {
    char *key;
    uint64_t sequence; /* of our manifest that dropped it; 0: dropped before we took over */
    uint64_t since_ms; /* by the store's clock; 0: not known yet */
};

struct myco_chain {
    struct myco_object *store;
    struct myco_list tasks;
    uint64_t grace_ms;
    uint64_t nonce_first, nonce_count; /* ours are [first, first + count) */
    uint64_t epoch;                    /* taken over with; 0: not yet */
    bool fenced;
    uint64_t next_sequence;
    char last_key[64]; /* of the newest committed manifest; "": none */
    bool writing, taking_over, collecting, pruning;
    struct chain_drop *drops;
    size_t drop_count, drop_capacity;
};

/* What a listing says of one manifest. */
struct chain_entry {
    uint64_t epoch, sequence, modified_ms;
};

struct chain_task;
typedef void (*chain_step)(struct chain_task *task);

/* One call, as steps: each asks the store for one thing and names what comes next. It ends in
 * myco__chain_finish(). When the chain is freed first, it only waits for the store's answer. */
struct chain_task {
    struct myco_list link;
    struct myco_chain *chain; /* NULL: freed */
    struct myco_deferred deferred;
    bool in_store;
    bool *flag; /* of the chain: this call is under way; reset when it ends */
    myco_chain_cb cb;
    myco_object_cb done;
    void *data;
    chain_step next, after_put;
    /* the last answer */
    int status;
    char message[252];
    struct myco_manifest found; /* read, or in the way of a put */
    /* put once */
    char key[64];
    struct myco_buf bytes;
    uint64_t nonce;
    int put_status;
    char put_message[252];
    /* a listing, and where a walk through it (newest first) stands */
    struct chain_entry *entries;
    size_t entry_count, at;
    uint64_t number_max; /* of cluster/<n> */
    unsigned tries;
    /* of one kind of call each */
    uint64_t epoch, walk_epoch, seal_sequence; /* take-over */
    struct myco_manifest newest;
    uint64_t newest_ms;
    struct myco_manifest own; /* write: as it shall be; claim: cluster, incarnation */
    uint64_t now_ms;          /* collect: the store's clock */
};

/* chain_task.c */
struct chain_task *myco__chain_task(
    struct myco_chain *chain, myco_chain_cb cb, myco_object_cb done, void *data);
void myco__chain_finish(
    struct chain_task *task, int status, const char *message, struct myco_manifest *manifest);
void myco__chain_fail(struct chain_task *task, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* From inside of the call. */
void myco__chain_fail_later(struct chain_task *task, int status, const char *message);
void myco__chain_task_cancel(struct chain_task *task);
uint64_t myco__chain_nonce(struct myco_chain *chain);
bool myco__chain_is_own(const struct myco_chain *chain, uint64_t nonce);
/* Steps. Afterwards task->status, task->message and: */
void myco__chain_read(struct chain_task *task, const char *key, chain_step next); /* found */
/* Entries, number_max. */
void myco__chain_list(struct chain_task *task, const char *prefix, chain_step next);
void myco__chain_del(struct chain_task *task, const char *key, chain_step next);
/* 0: it is there, and it is ours. EEXISTS: something else is, in `found`. Else unknown. Sets
 * manifest->nonce. */
void myco__chain_put(
    struct chain_task *task, const char *key, struct myco_manifest *manifest, chain_step next);

/* chain_gc.c */
void myco__chain_drops_free(struct myco_chain *chain);
void myco__chain_drops_add(struct myco_chain *chain, const struct myco_manifest *manifest,
    uint64_t sequence, uint64_t since_ms);
/* Adds to manifest->dropped what still waits. EINVAL: it names something that was dropped. */
int myco__chain_drops_carry(
    const struct myco_chain *chain, struct myco_manifest *manifest, struct myco_err *err);
void myco__chain_collect(struct myco_chain *chain); /* after a commit: deletes what may go */

#endif
