/* The one replicated log: libraft driven by raft_step(), with our disk, our encoding of its
 * messages, and our timers. This is the only face of libraft: nobody else includes raft.h. Commands
 * are opaque here; the replicated state above (consensus/state.h) gives them meaning. */
#ifndef MYCO_CONSENSUS_LOG_H
#define MYCO_CONSENSUS_LOG_H

#include "env/disk.h"
#include "env/env.h"

enum myco_role { MYCO_ROLE_STANDBY, MYCO_ROLE_VOTER, MYCO_ROLE_SPARE, MYCO_ROLE_NONE };
const char *myco_role_name(enum myco_role role);

struct myco_log_server {
    uint64_t id;
    enum myco_role role;
};

struct myco_rlog;

struct myco_rlog_options {
    struct myco_env *env;
    struct myco_disk *disk;
    const char *folder; /* below the disk's root: "consensus" */
    uint64_t self;
    unsigned election_ms;        /* 0: 150 */
    unsigned heartbeat_ms;       /* 0: 50 */
    unsigned snapshot_threshold; /* entries between snapshots; 0: 1,024 */
    unsigned snapshot_trailing;  /* entries kept behind one; 0: 256 */
};

/* All but `send` and the first `restore` come on a turn of the loop of their own, never from inside
 * a call. None may close the log: defer that. */
struct myco_rlog_events {
    /* A message for another server; takes the payload; bulk for snapshots. What can't be sent is
     * dropped. Called from inside of other calls; must not call back. */
    void (*send)(uint64_t to, bool bulk, struct myco_buf *payload, void *data);
    /* A committed command, exactly once and in order. index and term are those of the entry. */
    void (*apply)(uint64_t index, uint64_t term, struct myco_slice command, void *data);
    /* The whole applied state into `out`, and back (also at the start, before any apply). */
    void (*snapshot)(struct myco_buf *out, void *data);
    int (*restore)(uint64_t index, struct myco_slice bytes, struct myco_err *err, void *data);
    /* Leadership, known leader, or the (committed) configuration changed. */
    void (*changed)(void *data);
    /* As leader: the barrier of this term is committed and applied; grants may be made from now
     * on. */
    void (*established)(uint64_t term, void *data);
    /* Disk or log failed for good: this node takes no part any more (the message says why). Close
     * it, and open it anew to load what is on disk. */
    void (*failed)(int status, const char *message, void *data);
    /* A message of the tail (below) for any node; as `send`. NULL: this node neither tails nor
     * feeds. */
    void (*send_tail)(uint64_t to, bool bulk, struct myco_buf *payload, void *data);
    /* The nodes that can be asked to feed us, direct neighbours; *cursor starts at 0. */
    bool (*next_peer)(uint32_t *cursor, uint64_t *peer, void *data);
    void *data;
};

/* Loads term, vote, snapshot and entries (blocking), restores and starts. *log is given. ECORRUPT:
 * names file and offset. */
int myco_rlog_open(const struct myco_rlog_options *options, const struct myco_rlog_events *events,
    struct myco_rlog **log, struct myco_err *err);
void myco_rlog_close(struct myco_rlog *log); /* waits for writes in flight; no callback after it */
bool myco_rlog_empty(const struct myco_rlog *log); /* nothing on disk: never part of a cluster */
/* Writes the first configuration as entry 1 of term 1, the same bytes on every server; only when
 * empty. */
int myco_rlog_bootstrap(struct myco_rlog *log, const struct myco_log_server *servers, size_t count,
    struct myco_err *err);
/* Garbage is dropped and counted. */
void myco_rlog_receive(struct myco_rlog *log, uint64_t from, struct myco_slice payload);
/* Leader. 0: it goes into the leader's log at the end of this turn, with all others submitted in
 * it, and may commit. If leadership is lost (`changed`), the outcome is unknown. ENOTLEADER (also
 * while handing over), ECLOSED (has failed), EFULL (too many uncommitted), ETOOBIG (1 MiB). */
int myco_rlog_submit(struct myco_rlog *log, struct myco_slice command);
/* Leader; one at a time: EBUSY. Adding starts as spare or standby; promoting to voter catches up
 * first. MYCO_ROLE_NONE removes. The outcome shows in the configuration (changed). A leader can't
 * demote or remove itself (EINVAL): transfer first. EBUSY until it is established, too; ENOTFOUND:
 * it is not there; EINVAL: no voter would be left, or a voter that was not added first. */
int myco_rlog_assign(struct myco_rlog *log, uint64_t id, enum myco_role role);
/* Leader: hand over, to 0: to the voter with the longest log. Nothing is taken until that is done,
 * or an election time-out has passed. ENOTLEADER, EBUSY (already at it), EINVAL (no voter),
 * ENOTFOUND (there is no other voter). */
int myco_rlog_transfer(struct myco_rlog *log, uint64_t to);
/* A slow node: it stands for leader only when nobody else does for a second. */
void myco_rlog_set_patient(struct myco_rlog *log, bool patient);
/* A voter whose leader is known to be dead need not wait for its election timeout. */
void myco_rlog_leader_died(struct myco_rlog *log, uint64_t leader);
uint64_t myco_rlog_leader(const struct myco_rlog *log); /* 0: unknown */
bool myco_rlog_is_leader(const struct myco_rlog *log);
bool myco_rlog_is_established(const struct myco_rlog *log); /* leader, and its barrier is applied */
uint64_t myco_rlog_term(const struct myco_rlog *log);
uint64_t myco_rlog_commit_index(const struct myco_rlog *log);
uint64_t myco_rlog_applied_index(const struct myco_rlog *log);
uint64_t myco_rlog_last_index(const struct myco_rlog *log); /* appended here, committed or not */
/* Leader: up to where `id` has the log; false: not known. */
bool myco_rlog_match(const struct myco_rlog *log, uint64_t id, uint64_t *match);
/* ── Tailing: a node that is not in the group follows what is committed from a neighbour, so that
 * the leader has few to send to, however many nodes there are. What comes goes the same way as in
 * the group: restore, apply, changed; applied_index and leader mean the same. ── */

/* A cluster is there (its leader, as gossip says; 0: not any more): look for a feeder. */
void myco_rlog_tail_hint(struct myco_rlog *log, uint64_t leader);
/* Garbage is dropped and counted. */
void myco_rlog_tail_receive(struct myco_rlog *log, uint64_t from, struct myco_slice payload);
void myco_rlog_tail_peer_down(struct myco_rlog *log, uint64_t peer);
struct myco_rlog_tail {
    uint64_t feeder;   /* 0: none, or not needed */
    unsigned distance; /* hops to the leader; 255: not fed */
    unsigned followers;
};
void myco_rlog_tail(const struct myco_rlog *log, struct myco_rlog_tail *tail);

/* Committed configuration. */
size_t myco_rlog_servers(const struct myco_rlog *log, struct myco_log_server *servers, size_t max);
enum myco_role myco_rlog_role(const struct myco_rlog *log, uint64_t id);

/* ── Recovery: a group whose majority is lost for good (raft_recover.c). Offline, and blocking. ──
 */

#define MYCO_RLOG_SERVERS_MAX 64
struct myco_rlog_recovery {
    uint64_t last_index, last_term; /* of the log here: survivors are compared by (term, index) */
    uint64_t term;                  /* the highest heard of */
    struct myco_log_server servers[MYCO_RLOG_SERVERS_MAX]; /* the last configuration */
    size_t server_count;
};
/* Loads what is on disk; the owner hears all of it (`restore`, `apply`), committed or not. *log is
 * given; only myco_rlog_recover() and myco_rlog_close() may follow. */
int myco_rlog_recover_open(const struct myco_rlog_options *options,
    const struct myco_rlog_events *events, struct myco_rlog **log,
    struct myco_rlog_recovery *recovery, struct myco_err *err);
/* Writes what the owner's `snapshot` gives as a log in which this server is alone. */
int myco_rlog_recover(
    struct myco_rlog *log, const struct myco_rlog_recovery *recovery, struct myco_err *err);

#endif
