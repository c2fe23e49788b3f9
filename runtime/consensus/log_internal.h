/* What the files of the replicated log share: one instance, and the parts that it is made of.
 *
 *   log.c            the public face: open, close, bootstrap, submit, questions
 *   raft_step.c      one event into libraft, its update carried out; timers   (what libraft owns:
 * there) raft_guard.c     a message from another server, made harmless, then stepped raft_pump.c
 * what the owner hears: apply, restore, changed, established, failed raft_member.c    adding,
 * promoting, removing; an election without waiting raft_snapshot.c  taking, sending and installing
 * snapshots raft_store.c     writing: segments, term and vote (asynchronous) raft_load.c reading
 * all of that back                                  (at the start) raft_format.c    the bytes on
 * disk           raft_message.c  the bytes on the wire raft_config.c    who is in the cluster
 * raft_cache.c    the entries in memory
 *
 *   raft_tail.c     nodes outside of the group: following what is committed
 *   raft_feed.c     being followed; raft_tail_message.c: the bytes of both
 */
#ifndef MYCO_CONSENSUS_LOG_INTERNAL_H
#define MYCO_CONSENSUS_LOG_INTERNAL_H

#include <raft.h>

#include "base/err.h"
#include "base/list.h"
#include "consensus/log.h"

/* Who owns which memory in events and updates differs in later versions: read raft_step.c anew
 * before this is raised. */
_Static_assert(RAFT_VERSION_MAJOR == 0 && RAFT_VERSION_MINOR == 22, "written for libraft 0.22");

#define MYCO__RLOG_COMMAND_SIZE_MAX  (1u << 20)  /* one command */
#define MYCO__RLOG_PENDING_COUNT_MAX 1024        /* uncommitted entries that a leader takes … */
#define MYCO__RLOG_PENDING_SIZE_MAX  (16u << 20) /* … and their bytes */
#define MYCO__RLOG_INFLIGHT_MAX      128 /* entries sent to one follower and not acknowledged */
#define MYCO__RLOG_APPEND_SIZE_MAX                                                                 \
    (1u << 20) /* bodies in one message, unless one alone is larger */
#define MYCO__RLOG_SEGMENT_SIZE_MAX  (4u << 20) /* then a new file is begun */
#define MYCO__RLOG_SERVERS_MAX       32
#define MYCO__RLOG_PATH_MAX          192
#define MYCO__RLOG_APPLY_MAX         1024        /* entries applied in one turn of the loop */
#define MYCO__RLOG_GROWN_SIZE_MAX    (32u << 20) /* bodies since the last snapshot: take one */
#define MYCO__RLOG_TRAILING_SIZE_MAX (8u << 20)  /* bodies kept behind one */

/* ── Who is in the cluster (raft_config.c) ──────────────────────────────────────────────────── */

struct myco__rlog_config {
    uint64_t index; /* of the entry that it came from */
    size_t count;
    struct myco_log_server servers[MYCO__RLOG_SERVERS_MAX]; /* in the order of joining */
};

void myco__rlog_config_write(struct myco_buf *buf, const struct myco__rlog_config *config);
/* EPROTO: not what config_write() writes, or no possible cluster. */
int myco__rlog_config_read(struct myco_slice bytes, struct myco__rlog_config *config);
bool myco__rlog_config_valid(const struct myco__rlog_config *config);
/* NULL. */
const struct myco_log_server *myco__rlog_config_find(
    const struct myco__rlog_config *config, uint64_t id);
size_t myco__rlog_config_voters(const struct myco__rlog_config *config);
/* libraft's own form, and back; gives: raft_configuration_close(). ENOMEM. */
int myco__rlog_config_to_raft(
    const struct myco__rlog_config *config, struct raft_configuration *raft);
void myco__rlog_config_from_raft(
    struct myco__rlog_config *config, const struct raft_configuration *raft, uint64_t index);
/* The body of a RAFT_CHANGE entry as libraft wants it, from ours, and back. `to` is given:
 * raft_free(). */
int myco__rlog_config_body_to_raft(struct myco_slice body, struct raft_buffer *to);
int myco__rlog_config_body_from_raft(const struct raft_buffer *body, struct myco_buf *to);

/* ── Entries in memory (raft_cache.c) ───────────────────────────────────────────────────────── */

struct myco__rlog_entry {
    uint64_t term;
    uint64_t end; /* bytes of all bodies up to and with this one, since the cache was made */
    uint32_t size;
    uint8_t type; /* enum raft_entry_type */
    uint8_t *body;
};

struct myco__rlog_cache {
    struct myco__rlog_entry *items;
    size_t count, capacity;
    uint64_t first; /* index of items[0], or of the next one when there is none */
    uint64_t end;
};

void myco__rlog_cache_free(struct myco__rlog_cache *cache);
void myco__rlog_cache_reset(struct myco__rlog_cache *cache, uint64_t first); /* empty from now on */
uint64_t myco__rlog_cache_last(const struct myco__rlog_cache *cache);        /* first - 1: empty */
/* NULL. */
struct myco__rlog_entry *myco__rlog_cache_at(const struct myco__rlog_cache *cache, uint64_t index);
int myco__rlog_cache_append(struct myco__rlog_cache *cache, uint64_t term, uint8_t type,
    struct myco_slice body);                                                   /* copies; ENOMEM */
void myco__rlog_cache_cut(struct myco__rlog_cache *cache, uint64_t index);     /* it, all after */
void myco__rlog_cache_drop_to(struct myco__rlog_cache *cache, uint64_t index); /* it, all before */
/* Of the bodies behind `after`. */
uint64_t myco__rlog_cache_bytes(const struct myco__rlog_cache *cache, uint64_t after);

/* ── Bytes on disk (raft_format.c has the pictures) ─────────────────────────────────────────── */

#define MYCO__RLOG_META_SLOT_SIZE 512
#define MYCO__RLOG_META_SIZE      (2 * MYCO__RLOG_META_SLOT_SIZE)
#define MYCO__RLOG_SEGMENT_HEAD   48
#define MYCO__RLOG_RECORD_HEAD    40

struct myco__rlog_meta {
    uint64_t sequence, self, term, vote;
    uint64_t segment, synced; /* this much of this segment was durable when the slot was written */
};
struct myco__rlog_segment {
    uint64_t sequence;
    uint64_t base;          /* the last index before the first record */
    uint64_t previous_size; /* of the segment before: all of it was durable by then */
    bool reset; /* what older segments hold is void: a snapshot up to `base` replaced it */
};
struct myco__rlog_record {
    uint32_t size, crc;
    uint8_t type;
    uint64_t index, term, synced;
};
struct myco__rlog_snapshot {
    uint64_t index, term;
    struct myco__rlog_config config;
    struct myco_slice state; /* lent by the bytes it was read from */
};

void myco__rlog_meta_write(struct myco_buf *buf, const struct myco__rlog_meta *meta);
/* 0, 1: one of the two copies was bad, ECORRUPT. */
int myco__rlog_meta_read(struct myco_slice bytes, struct myco__rlog_meta *meta);
void myco__rlog_segment_write(struct myco_buf *buf, const struct myco__rlog_segment *segment);
int myco__rlog_segment_read(struct myco_slice bytes, struct myco__rlog_segment *segment);
void myco__rlog_record_write(
    struct myco_buf *buf, uint64_t index, const struct myco__rlog_entry *entry, uint64_t synced);
int myco__rlog_record_read(struct myco_slice head, struct myco__rlog_record *record);
void myco__rlog_snapshot_write(struct myco_buf *buf, const struct myco__rlog_snapshot *snapshot);
int myco__rlog_snapshot_read(struct myco_slice bytes, struct myco__rlog_snapshot *snapshot);

/* ── Bytes on the wire (raft_message.c) ─────────────────────────────────────────────────────── */

struct myco__rlog_entry_view {
    uint64_t term;
    uint8_t type;
    struct myco_slice body;
};
/* A message, decoded and checked as far as it can be without knowing our own state. */
struct myco__rlog_view {
    uint8_t type; /* enum raft_message_type */
    uint64_t term;
    uint64_t index,
        index_term;    /* append: what precedes; vote, timeout: the last entry; result: last */
    uint64_t commit;   /* append */
    uint64_t rejected; /* append's result */
    bool granted, pre_vote, disrupt;
    struct myco__rlog_entry_view *entries; /* append; bodies lent by the payload */
    size_t entry_count;
    struct myco_slice snapshot; /* install: a snapshot file as it is on disk */
};
/* EPROTO, ENOMEM. */
int myco__rlog_view_read(struct myco_slice payload, struct myco__rlog_view *view);
void myco__rlog_view_free(struct myco__rlog_view *view);
void myco__rlog_view_write(struct myco_buf *buf, const struct myco__rlog_view *view);

/* ── Tailing: the bytes (raft_tail_message.c) ──────────────────────────────────────────────── */

#define MYCO__TAIL_ENTRIES_MAX       512 /* in one message */
#define MYCO__TAIL_KEPT_MAX          256 /* entries kept by a node that tails, or twice as many … */
#define MYCO__TAIL_KEPT_SIZE_MAX     (1u << 20)   /* … and their bodies */
#define MYCO__TAIL_PIECE_SIZE        (256u << 10) /* of a snapshot */
#define MYCO__TAIL_SNAPSHOT_SIZE_MAX (1u << 30)
#define MYCO__TAIL_HINTS_MAX         16
#define MYCO__TAIL_FOLLOWERS_MAX     64 /* of a node that tails; of the group: raft_feed.c */
#define MYCO__TAIL_DISTANCE_MAX      32
#define MYCO__TAIL_NOWHERE           255 /* the distance of a node that is not fed */

enum myco__tail_kind {
    MYCO__TAIL_ASK = 1,
    MYCO__TAIL_FEED,
    MYCO__TAIL_SNAPSHOT,
    MYCO__TAIL_MORE,
    MYCO__TAIL_REFUSED,
    MYCO__TAIL_STOP,
};
struct myco__tail_view {
    uint8_t kind;
    uint64_t index, index_term;
    uint64_t term, leader, applied; /* head */
    uint8_t distance;               /* head */
    uint32_t age_ms;                /* head, ask: since a node of the group last heard the leader */
    struct myco__rlog_entry_view *entries; /* bodies lent by the payload */
    size_t entry_count;
    uint64_t size, offset;
    struct myco_slice piece; /* lent */
    uint64_t hints[MYCO__TAIL_HINTS_MAX];
    uint8_t hint_count;
};
/* EPROTO, ENOMEM. */
int myco__tail_view_read(struct myco_slice payload, struct myco__tail_view *view);
void myco__tail_view_free(struct myco__tail_view *view);
void myco__tail_view_write(struct myco_buf *buf, const struct myco__tail_view *view);

/* ── Tailing: the state (raft_tail.c, raft_feed.c) ─────────────────────────────────────────── */

struct myco__tail_follower {
    uint64_t id, next; /* the first entry that it was not sent */
};

struct myco__tail {
    struct myco_timer timer;
    uint64_t started_ms;
    /* following */
    uint64_t feeder;   /* 0: none */
    bool asked;        /* and has not answered yet */
    bool live;         /* it feeds us */
    uint64_t asked_ms; /* when we asked last */
    uint64_t root_ms;  /* when a node of the group last heard the leader, as far as we know */
    uint8_t distance;  /* the feeder's, and one more */
    unsigned tries;    /* since we were fed */
    uint64_t hints[MYCO__TAIL_HINTS_MAX];
    unsigned hint_count;
    uint64_t term, leader;           /* as the feeder says */
    uint64_t hint;                   /* the leader as gossip says; 0: no cluster was seen yet */
    struct myco__rlog_cache cache;   /* what came, applied or not */
    struct myco__rlog_config config; /* the newest committed one that came; index 0: none */
    struct {
        uint64_t index, size;
        struct myco_buf bytes;
        bool whole; /* to be restored */
    } snapshot;
    bool marked; /* the file `tail` says that this node is part of a cluster */
    /* feeding */
    struct myco__tail_follower followers[MYCO__TAIL_FOLLOWERS_MAX];
    unsigned follower_count;
    bool push_due;
    uint64_t pushed_ms;
    struct {
        uint64_t index, used_ms;
        struct myco_buf bytes; /* a snapshot file; empty: none */
    } made;
};

/* ── One instance ───────────────────────────────────────────────────────────────────────────── */

/* A call into the disk that is under way. It outlives the instance when that is closed first. */
struct myco__rlog_io {
    struct myco_list link;
    struct myco_rlog *log; /* NULL: closed meanwhile */
    void (*done)(struct myco_rlog *log, int status, struct myco__rlog_io *io);
    struct myco_buf bytes; /* lent to the disk; or what it read */
    uint64_t to, index;    /* for whoever started it */
};

struct myco__rlog_file {
    uint64_t sequence, index_max; /* the highest index ever written to this segment */
};

struct myco__rlog_store {
    struct myco_file *meta, *segment;
    struct myco__rlog_meta saved;
    struct myco__rlog_file *files; /* oldest first; the last is being written */
    size_t file_count, file_capacity;
    uint64_t offset;                     /* end of the current segment; all before it is durable */
    uint64_t next;                       /* the first index that still has to be written */
    uint64_t first, last;                /* being written; last < first: superseded since */
    bool busy;                           /* one write, or one new segment, at a time */
    char (*doomed)[MYCO__RLOG_PATH_MAX]; /* files to delete, in this order */
    size_t doomed_count, doomed_capacity;
    bool deleting;
};

struct myco_rlog {
    struct myco_env *env;
    struct myco_disk *disk;
    char folder[128];
    uint64_t self;
    unsigned election_ms, heartbeat_ms, snapshot_threshold, snapshot_trailing;
    struct myco_rlog_events events;

    struct raft raft;
    bool raft_open;
    char address[20]; /* libraft wants one: our id in hexadecimal */
    struct myco_timer timer;
    uint64_t now_ms;      /* never goes back */
    uint64_t due_ms;      /* what `timer` is set to */
    bool patient, graced; /* patient: see myco_rlog_set_patient; graced: got time to hear others */
    uint64_t timeout_ms;  /* when libraft last saw a TIMEOUT */
    uint64_t leader_term; /* the term in which we heard from the leader that libraft names … */
    uint64_t heard_ms;    /* … and when */
    uint64_t own_vote_term; /* as the only voter: the term that we began by voting for ourselves */
    uint64_t barrier_index, barrier_term; /* as leader; index 0: not yet in the log */
    bool established;

    struct myco__rlog_cache cache;
    struct myco__rlog_store store;
    struct myco_list ios;
    struct myco__rlog_config config; /* the last committed one */
    uint64_t config_seen;            /* entries up to here were looked through for configurations */
    uint64_t applied, applied_term;
    struct myco__tail tail;

    struct {
        uint64_t index, term; /* the last one that libraft knows of; 0: none */
        size_t size;
        bool taking;
        unsigned failures;
        uint64_t retry_index; /* after a failure: not before this was applied */
        struct {
            uint64_t to, index, at_ms;
        } sent[MYCO__RLOG_SERVERS_MAX];
    } snapshot;
    struct {
        bool active;  /* between its arrival and PERSISTED_SNAPSHOT */
        bool restore; /* the owner has not been given it yet */
        enum {        /* what was begun last */
            MYCO__RLOG_INSTALL_WAIT,
            MYCO__RLOG_INSTALL_PUT,
            MYCO__RLOG_INSTALL_ROLL,
            MYCO__RLOG_INSTALL_DELETE,
        } stage;
        uint64_t replaces; /* the snapshot before it; 0: none */
        struct raft_snapshot_metadata metadata;
        struct raft_buffer bytes; /* the file */
    } install;

    struct myco__rlog_entry *batch; /* submitted in this turn of the loop */
    size_t batch_count, batch_capacity, batch_size;
    uint64_t promoting; /* the server that is catching up, to become a voter */
    struct {
        uint64_t to, since_ms; /* the successor that does not have everything yet; 0: none */
    } handover;
    struct {
        struct myco_timer timer;
        uint64_t leader, term, at_ms;
    } died;

    struct {
        struct myco_timer timer;
        struct myco__rlog_told {
            uint64_t id, index, at_ms;
        } told[MYCO__RLOG_SERVERS_MAX]; /* as leader: the commits that each was told of, and when
                                           anything was sent to it */
    } notice;

    struct myco_deferred pump;
    bool pump_queued;
    struct {
        uint64_t leader, config_index;
        bool is_leader;
    } told;
    int failed; /* 0, or why this instance takes no part any more */
    bool failed_told;
    char failure[256];
};

/* raft_step.c */
int myco__rlog_start(struct myco_rlog *log, struct myco_err *err); /* START, from what was loaded */
/* Libraft's code; see there. */
int myco__rlog_step(struct myco_rlog *log, struct raft_event *event);
void myco__rlog_settle(struct myco_rlog *log); /* after steps: what follows from them */
void myco__rlog_fail(struct myco_rlog *log, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void myco__rlog_send(
    struct myco_rlog *log, uint64_t to, bool bulk, const struct myco__rlog_view *view);
/* Takes. */
int myco__rlog_submit_entry(struct myco_rlog *log, uint8_t type, struct raft_buffer *body);
uint64_t myco__rlog_last_term(struct myco_rlog *log);
bool myco__rlog_only_voter(const struct myco_rlog *log);
int myco__rlog_code(int raft_code); /* ours, for one of libraft's */

/* raft_pump.c */
void myco__rlog_pump_later(struct myco_rlog *log);

/* raft_tail.c: following the log from a neighbour */
int myco__tail_init(struct myco_rlog *log, struct myco_err *err); /* reads the mark */
void myco__tail_close(struct myco_rlog *log);
bool myco__tail_enabled(const struct myco_rlog *log);
/* In the group, by the newest configuration known here. */
bool myco__tail_grouped(const struct myco_rlog *log);
/* Hears the leader itself: by libraft's messages, lately. */
bool myco__tail_heard(const struct myco_rlog *log);
bool myco__tail_fed(const struct myco_rlog *log);                               /* by a neighbour */
const struct myco__rlog_config *myco__tail_config(const struct myco_rlog *log); /* the newest */
void myco__tail_restore(struct myco_rlog *log);
const struct myco__rlog_entry *myco__tail_next(const struct myco_rlog *log); /* to apply; NULL */
void myco__tail_applied(struct myco_rlog *log, const struct myco__rlog_entry *entry);
void myco__tail_stop(struct myco_rlog *log); /* asks for nothing more from the feeder */
void myco__tail_send(struct myco_rlog *log, uint64_t to, const struct myco__tail_view *view);

/* raft_feed.c: being followed */
uint8_t myco__feed_distance(const struct myco_rlog *log);
void myco__feed_ask(struct myco_rlog *log, uint64_t from, const struct myco__tail_view *view);
void myco__feed_more(struct myco_rlog *log, uint64_t from, const struct myco__tail_view *view);
void myco__feed_forget(struct myco_rlog *log, uint64_t follower);
void myco__feed_push(struct myco_rlog *log); /* what is new, to all followers */
void myco__feed_tick(struct myco_rlog *log, uint64_t now_ms);

/* raft_member.c */
void myco__rlog_member_settle(struct myco_rlog *log);
bool myco__rlog_handing_over(const struct myco_rlog *log); /* takes nothing new */
void myco__rlog_died_init(struct myco_rlog *log);

/* raft_notice.c */
void myco__rlog_notice_init(struct myco_rlog *log);
void myco__rlog_notice_settle(struct myco_rlog *log);
void myco__rlog_notice_sent(struct myco_rlog *log, uint64_t to, uint64_t commit, uint64_t last);
/* A sign of life for a server that has no vote, and knows all: it needs few. */
bool myco__rlog_notice_idle(struct myco_rlog *log, uint64_t to);

/* log.c */
int myco__rlog_set_up(
    struct myco_rlog *log, const struct myco_rlog_options *options, struct myco_err *err);

/* raft_snapshot.c */
void myco__rlog_snapshot_maybe(struct myco_rlog *log);
void myco__rlog_snapshot_send(struct myco_rlog *log, uint64_t to, uint64_t index);
void myco__rlog_install_begin(struct myco_rlog *log, struct raft_update *update); /* takes */
void myco__rlog_install_continue(struct myco_rlog *log);
void myco__rlog_install_free(struct myco_rlog *log);

/* raft_store.c */
int myco__rlog_store_vote(
    struct myco_rlog *log, uint64_t term, uint64_t vote); /* durable on return */
/* The cache, from this index on. */
void myco__rlog_store_changed(struct myco_rlog *log, uint64_t from);
void myco__rlog_store_pump(struct myco_rlog *log);
void myco__rlog_store_roll(struct myco_rlog *log, uint64_t base, bool reset); /* a new segment */
/* The same, blocking, with the cache's entries. */
int myco__rlog_store_first(struct myco_rlog *log, uint64_t base, bool reset, struct myco_err *err);
void myco__rlog_store_add_file(struct myco_rlog *log, uint64_t sequence, uint64_t index_max);
/* Segments with nothing newer. */
void myco__rlog_store_forget(struct myco_rlog *log, uint64_t upto);
void myco__rlog_store_doom(struct myco_rlog *log, const char *path);
void myco__rlog_store_close(struct myco_rlog *log);
void myco__rlog_segment_path(
    const struct myco_rlog *log, uint64_t sequence, char path[MYCO__RLOG_PATH_MAX]);
void myco__rlog_snapshot_path(
    const struct myco_rlog *log, uint64_t index, char path[MYCO__RLOG_PATH_MAX]);
void myco__rlog_meta_path(const struct myco_rlog *log, char path[MYCO__RLOG_PATH_MAX]);
struct myco__rlog_io *myco__rlog_io_new(struct myco_rlog *log,
    void (*done)(struct myco_rlog *log, int status, struct myco__rlog_io *io));
void myco__rlog_io_done(int status, void *io);
void myco__rlog_io_read(int status, struct myco_buf *bytes, void *io);

/* raft_load.c */
/* Fills meta, cache, files and the snapshot's metadata. `state`: the snapshot file's bytes,
 * given. */
int myco__rlog_load(struct myco_rlog *log, struct myco__rlog_snapshot *snapshot,
    struct myco_buf *state, struct myco_err *err);

#endif
