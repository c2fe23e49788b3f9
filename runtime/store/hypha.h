/* One copy of a hypha: a replicated log with a table. A step machine: events in by the functions
 * below, effects out by the callbacks given at the start (which never call back into the hypha).
 *
 * The set of a hypha — primary, in-sync members, joining members, epoch — is decided by consensus
 * and handed in with myco_hypha_configure(). The happy path: the primary gives a write the next
 * offset, appends it to its journal and sends it to every in-sync and joining member; each appends
 * it and answers with its durable offset; when every in-sync member has it (durably, at level
 * DISK), the write commits: it is applied to the table, and its caller is answered. Backups apply
 * what the primary says is committed, so that nothing that could be taken back is ever in a table.
 *
 * How it fails. A backup that stays away: the primary asks for a smaller set (on_propose SHRINK)
 * and goes on when configure() brings it. A primary that was replaced: its appends carry an older
 * epoch and are refused (the refusal names the newer one, and it stops acknowledging: those writes
 * end EUNKNOWN). A new primary keeps its whole log, appends a NOOP of its own epoch, and serves
 * once every in-sync member has all of it. A member that was away says where its log ends (epoch,
 * offset); the primary finds where the two logs last agree (its list of (epoch, first offset)), and
 * the member cuts its unapplied tail there, or, when the primary does not have the records any more
 * or the member had applied beyond that point, gets the whole table (a snapshot, in pieces of at
 * most 256 KiB). A joining member that holds everything is proposed for the set (EXPAND), and from
 * the moment of the proposal writes wait for it too.
 *
 * Source: the in-sync sets of Kafka's replication (KIP-101 for the cut), view changes as in
 * Vertical Paxos II (Lamport, Malkhi, Zhou 2009). */
#ifndef MYCO_STORE_HYPHA_H
#define MYCO_STORE_HYPHA_H

#include "env/env.h"
#include "store/table.h"

#define MYCO_COPIES_MAX     8
#define MYCO_FENCE_NAME_MAX 79
#define MYCO_FENCES_MAX     1024 /* names whose epochs one hypha keeps */

/* What an acknowledgement means. */
enum myco_level {
    MYCO_LEVEL_MEMORY, /* in the primary's memory; sent to the others in order, not waited for; no
                          journal */
    MYCO_LEVEL_REPLICATED, /* in the memory of every in-sync member; journaled lazily */
    MYCO_LEVEL_DISK,       /* on the disk of every in-sync member */
};

struct myco_holder {
    uint64_t node, generation;
};

/* As the consensus log says; a plain value. */
struct myco_set {
    uint64_t epoch;   /* changes with the primary (or its generation); never repeats */
    uint64_t version; /* changes with every change of the set; what proposals compare */
    uint64_t primary; /* node id; 0: none now */
    uint64_t floor;   /* its records have this offset or a higher one, from this epoch on; what came
                         before was lost with who had it; 0: none */
    uint8_t in_sync_count, joining_count;
    struct myco_holder in_sync[MYCO_COPIES_MAX]; /* with the primary */
    struct myco_holder joining[MYCO_COPIES_MAX]; /* shall hold a copy, and lack some of it */
};

enum myco_op { MYCO_OP_NOOP, MYCO_OP_PUT, MYCO_OP_DEL };

/* A write as asked of the primary. Borrowed. */
struct myco_write {
    enum myco_op op;
    struct myco_slice key, value;
    uint64_t expires_ms; /* wall clock; 0: never */
    uint64_t if_version; /* 0: no condition */
    bool if_absent;      /* PUT only */
    bool if_expired;     /* DEL by the sweep: only when the entry has expired by the log's time */
    bool look; /* logs nothing: ends ECONFLICT, once what is there of the key is committed */
    /* The epoch that the writer holds under that name; empty: none. The hypha keeps the highest
     * that it saw of each name, in its log and its states, and refuses lower ones. A NOOP with a
     * fence is how a fenced read begins. */
    struct myco_slice fence;
    uint64_t fence_epoch;
};

enum myco_propose { MYCO_PROPOSE_SHRINK, MYCO_PROPOSE_EXPAND };

struct myco_hypha_effects {
    /* Send to the same hypha on `node`. Takes the payload. bulk: on the bulk lane. The result may
     * be ENOTCONN or EFULL: the hypha goes on when peer_up / peer_drained says so. */
    int (*send)(uint64_t node, bool bulk, struct myco_buf *payload, void *data);
    /* Append to the journal at position `offset`. Answered by myco_hypha_durable(*sequence). */
    int (*journal)(
        uint64_t offset, uint8_t kind, struct myco_slice bytes, uint64_t *sequence, void *data);
    /* The write that was given `token` ended: 0 with its version, ECONFLICT (version of what is
     * there, 0 absent), EFENCED (version: the newer epoch), EUNAVAILABLE (did not happen),
     * EUNKNOWN, ENOTFOUND (del of an absent key; logged nothing). ECONFLICT, ENOTFOUND and EFENCED
     * are reads: the caller checks its lease first. May run inside any call but myco_hypha_write;
     * may call myco_hypha_write itself. */
    void (*complete)(uint64_t token, int status, uint64_t version, void *data);
    /* Ask consensus: compare-and-set on (set->epoch, set->version). Answered by configure() when it
     * was taken, or by myco_hypha_refused() when it never will be: until then writes wait for a
     * member that is proposed. */
    void (*propose)(enum myco_propose what, uint64_t node, uint64_t generation, void *data);
    /* Everything of a snapshot that replaced the table was taken in, and lies in the journal:
     * persist it (myco_hypha_save), so that the journal need not hold it. */
    void (*replaced)(void *data);
    /* A committed change, in order: for watches and uploads. */
    void (*committed)(uint64_t epoch, uint64_t offset, const struct myco_write *write,
        uint64_t time_ms, void *data);
    void *data;
};

struct myco_hypha_options {
    struct myco_env *env;
    struct myco_domain *domain;
    uint64_t self, generation;
    enum myco_level level;
    size_t tail_size_max;    /* committed records kept in memory for members that lag; 0: 256 KiB */
    size_t pending_size_max; /* bytes of uncommitted writes; more: EFULL; 0: 16 MiB */
    unsigned lag_ms; /* an in-sync member that has not answered for this long is proposed for
                        SHRINK; 0: 1,500 */
};

struct myco_hypha;
struct myco_hypha *myco_hypha_new(
    const struct myco_hypha_options *options, const struct myco_hypha_effects *effects);
void myco_hypha_free(struct myco_hypha *hypha); /* what is pending completes with EUNKNOWN first */

/* Recovery, before anything else: the snapshot (as myco_hypha_save wrote it), then journal records
 * in order. */
int myco_hypha_load_snapshot(
    struct myco_hypha *hypha, struct myco_slice bytes, struct myco_err *err);
int myco_hypha_load_record(struct myco_hypha *hypha, uint64_t offset, uint8_t kind,
    struct myco_slice bytes, struct myco_err *err);
/* The whole applied state with its position, epochs and the tail that is not applied. */
void myco_hypha_save(const struct myco_hypha *hypha, struct myco_buf *out);

/* From the object store, when no copy exists any more: imported parts first, then this. The
 * position becomes `offset`, which must be above any that the hypha ever had, and the whole state
 * goes into the journal. Before the first configure, or as the only member of a set; no writes
 * meanwhile. The epoch that it will lead in must be newer than those imported. EFULL and whatever
 * else the journal says: call it again to go on. EINVAL, ENOTLEADER (not alone), EBUSY (writes are
 * pending), ENOMEM. */
int myco_hypha_restore(struct myco_hypha *hypha, uint64_t offset, struct myco_err *err);
/* For uploads: records after `from` up to the commit into `out`; MYCO_ENOTFOUND when they are not
 * in memory any more: then take the table as a whole (from = 0, `snapshot`). Returns the offset it
 * goes up to in *to. */
int myco_hypha_export(const struct myco_hypha *hypha, uint64_t from, bool snapshot,
    struct myco_buf *out, uint64_t *to);
/* The opposite: applies an exported part to the table; only between new and the first configure. */
int myco_hypha_import(struct myco_hypha *hypha, struct myco_slice bytes, struct myco_err *err);

/* The last committed record: what it had as epoch, and its offset. */
void myco_hypha_position(const struct myco_hypha *hypha, uint64_t *epoch, uint64_t *offset);
/* Committed records above a position, in order, until the callback says false. ECOMPACTED: they are
 * not in memory any more, or this log never had the record at that position. */
typedef bool (*myco_record_cb)(
    uint64_t epoch, uint64_t offset, uint64_t time_ms, const struct myco_write *write, void *data);
int myco_hypha_records(
    const struct myco_hypha *hypha, uint64_t epoch, uint64_t offset, myco_record_cb cb, void *data);

void myco_hypha_configure(struct myco_hypha *hypha, const struct myco_set *set);
/* The proposal was not taken; the set is what it was. */
void myco_hypha_refused(struct myco_hypha *hypha);
void myco_hypha_receive(struct myco_hypha *hypha, uint64_t from, struct myco_slice payload);
/* The journal's; may be called for every hypha. */
void myco_hypha_durable(struct myco_hypha *hypha, uint64_t sequence);
void myco_hypha_peer_up(struct myco_hypha *hypha, uint64_t node, uint64_t generation);
void myco_hypha_peer_down(struct myco_hypha *hypha, uint64_t node);
void myco_hypha_peer_drained(struct myco_hypha *hypha, uint64_t node);
void myco_hypha_tick(struct myco_hypha *hypha); /* every 100 ms or so while it is not idle */
/* Nothing pending, everybody has everything. */
bool myco_hypha_idle(const struct myco_hypha *hypha);

/* Primary. Exactly one complete(token) follows, never before the call returned 0. Otherwise
 * ENOTLEADER, EUNAVAILABLE (not serving yet), EFULL, EINVAL, ETOOBIG (also: MYCO_FENCES_MAX names
 * are kept already), ENOMEM, or what the journal says, and complete does not run. Conditions are
 * judged against the latest write, committed or not; what is refused because of one that is not is
 * answered once that is committed. */
int myco_hypha_write(struct myco_hypha *hypha, const struct myco_write *write, uint64_t token);
/* Primary: the latest write of a key, committed or not, that lives by the log's time: what a change
 * is computed from, whose result is then written in the same turn. Lent until the hypha is called
 * again. An answer that shows it waits for the commit: by that write, or by one with `look`. */
bool myco_hypha_latest(
    const struct myco_hypha *hypha, struct myco_slice key, struct myco_table_item *item);
/* Stops taking writes (EUNAVAILABLE) until the next configure: before a hand-over. */
void myco_hypha_seal(struct myco_hypha *hypha);
/* As primary and serving: the table may be read (under the node's lease: the caller checks). */
bool myco_hypha_serving(const struct myco_hypha *hypha);
bool myco_hypha_sealed_clean(const struct myco_hypha *hypha); /* sealed, and nothing is pending */
struct myco_table *myco_hypha_table(const struct myco_hypha *hypha);
/* The highest epoch that was committed under `name`; 0: none. */
uint64_t myco_hypha_fence(const struct myco_hypha *hypha, struct myco_slice name);
uint64_t myco_hypha_epoch(const struct myco_hypha *hypha);  /* of the last record in the log */
uint64_t myco_hypha_offset(const struct myco_hypha *hypha); /* of the last record in the log */
uint64_t myco_hypha_committed(const struct myco_hypha *hypha);
/* The later of the wall clock and the time of the last record: expiry is judged by it. */
uint64_t myco_hypha_log_time_ms(const struct myco_hypha *hypha);
const struct myco_set *myco_hypha_set(const struct myco_hypha *hypha);

#endif
