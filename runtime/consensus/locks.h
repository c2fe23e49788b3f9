/* Locks and barriers in the replicated state (state_locks.c).
 *
 * A lock has a name and permits: one is a mutex, more a semaphore. Who asks gets an entry with a
 * ticket of its node's own choice; entries hold, or wait in the order in which they came. Each
 * holding has an epoch, and one of the lock's slots (0 … permits − 1), so that it can be fenced:
 * one holder of a slot at a time. A holding ends when it is given back, or when its node is gone
 * for certain: it left, came back in a newer generation, or the leader says so after the node's
 * lease is over. So there is no lease of a lock's own, and nothing to renew.
 *
 * A barrier is kept likewise: `permits` is how many are to meet, entries wait, and when so many do,
 * all pass at once and are forgotten.
 *
 * A name is kept only while it has entries. */
#ifndef MYCO_CONSENSUS_LOCKS_H
#define MYCO_CONSENSUS_LOCKS_H

#include "base/buf.h"

#define MYCO_LOCKS_MAX        65536
#define MYCO_LOCK_PERMITS_MAX 1024 /* and of those that meet at a barrier */
#define MYCO_LOCK_ENTRIES_MAX 4096 /* that hold one name or wait for it */

enum myco_lock_kind { MYCO_LOCK_LOCK, MYCO_LOCK_BARRIER };

struct myco_lock_entry {
    uint64_t node, generation, ticket;
    uint64_t epoch; /* 0: waits */
    uint32_t slot;
};

struct myco_lock_record {
    enum myco_lock_kind kind;
    char name[64];
    uint32_t permits, held, count;
    struct myco_lock_entry *entries; /* in the order in which they came */
};

struct myco_locks {
    struct myco_lock_record **list; /* sorted by kind, name */
    uint32_t count;
    uint64_t changes; /* not replicated: rises with every change */
};

struct myco_state;
struct myco__apply;

/* NULL: nobody holds it or waits. */
const struct myco_lock_record *myco_state_lock(
    const struct myco_state *state, enum myco_lock_kind kind, const char *name);
const struct myco_lock_entry *myco_lock_entry(
    const struct myco_lock_record *lock, uint64_t node, uint64_t generation, uint64_t ticket);

/* Commands. try: refused (EBUSY) unless it is free. */
void myco_command_lock(struct myco_buf *out, enum myco_lock_kind kind, const char *name,
    uint32_t permits, uint64_t ticket, bool try);
/* Gives back, or waits no more. */
void myco_command_unlock(
    struct myco_buf *out, enum myco_lock_kind kind, const char *name, uint64_t ticket);
/* The leader's word: that node is gone, and holds and waits for nothing. */
void myco_command_unlock_node(struct myco_buf *out, uint64_t node, uint64_t generation);

int myco__apply_lock(struct myco__apply *apply);
int myco__apply_unlock(struct myco__apply *apply);
int myco__apply_unlock_node(struct myco__apply *apply);
/* Of that node in generations up to this one; UINT64_MAX: in all. */
void myco__locks_vacate(struct myco_state *state, uint64_t node, uint64_t generation);
void myco__locks_clear(struct myco_locks *locks);
void myco__locks_save(const struct myco_state *state, struct myco_buf *out);
void myco__locks_load(struct myco_state *state, struct myco_reader *in);
void myco__locks_tell(const struct myco_state *state);

#endif
