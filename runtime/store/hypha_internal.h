/* What the files of a hypha share. Each file is one part of the step machine:
 *
 *     hypha.c           life, configure, roles, tick, peers
 *     hypha_log.c       the records in memory, the list of epochs, what is durable
 *     hypha_codec.c     records and messages as bytes
 *     hypha_fence.c     the highest epoch seen of each name
 *     hypha_write.c     a write: judged, appended, answered
 *     hypha_members.c   primary: who holds a copy, what they acknowledged, what is proposed
 *     hypha_primary.c   primary: conversation with one member, from HELLO to the last APPEND
 *     hypha_backup.c    the member's side of that conversation
 *     hypha_state.c     the whole state as bytes, and back, piece by piece
 *     hypha_records.c   committed records, for watches
 *     hypha_copy.c      a state on its way to a member
 *     hypha_recover.c   start from the journal, or from the object store
 */
#ifndef MYCO_STORE_HYPHA_INTERNAL_H
#define MYCO_STORE_HYPHA_INTERNAL_H

#include "base/list.h"
#include "store/hypha.h"

#define MYCO__MEMBERS_MAX         (2 * MYCO_COPIES_MAX)
#define MYCO__APPEND_SIZE_MAX     (256u * 1024) /* of one APPEND; a single larger record goes alone */
#define MYCO__WINDOW_SIZE         (1024u * 1024) /* sent to one member and not acknowledged */
#define MYCO__WINDOW_RECORDS      4096u
#define MYCO__WINDOW_MESSAGES     64u
#define MYCO__PIECE_SIZE_MAX      (256u * 1024) /* of one PIECE of a state */
#define MYCO__PIECES_MAX          4u            /* in flight to one member */
#define MYCO__EPOCHS_MAX          1024u /* entries kept of the list of epochs; older ones are forgotten */
#define MYCO__EPOCHS_SENT_MAX     64u /* of these, in one END */
#define MYCO__TAIL_SIZE_MAX       (256u * 1024)
#define MYCO__PENDING_SIZE_MAX    (16u * 1024 * 1024)
#define MYCO__LAG_MS              1500u
#define MYCO__PROPOSE_WAIT_MS_MAX 30000u
#define MYCO__TELL_MS             50u  /* after which an idle backup is told the newest commit */
#define MYCO__ASK_MS              200u /* between two requests for a resend */
/* Below level DISK a primary may lack acknowledged records: at MEMORY the unsent tail, at
 * REPLICATED what its journal had not yet when everybody crashed. Then it begins that far above its
 * own end, so that no version of the lost ones is given to another value. */
#define MYCO__SKIP (1ull << 24)

#define MYCO__OFFSET_MAX (1ull << 62) /* so that no sum of offsets overflows */

/* Journal kinds; numbers are for ever. */
enum { MYCO__KIND_RECORD = 1, MYCO__KIND_CUT = 2, MYCO__KIND_RESET = 3 };

/* An answer that waits: for the record it was judged by, or for the end of the call. */
struct myco__answer {
    struct myco__answer *next;
    uint64_t token, version;
    int status;
};

struct myco__record {
    struct myco_write write; /* key and value point into bytes; conditions are not kept */
    uint64_t epoch, offset, time_ms, commit;
    uint64_t token;
    bool wanted; /* somebody waits for `token` */
    bool indexed;
    uint64_t hash;
    struct myco__record *chain;   /* in the index of pending keys */
    struct myco__answer *answers; /* refused because of this record: said once it is committed */
    size_t size;
    uint8_t bytes[]; /* as in the journal and in messages */
};

/* Records of one epoch: all were made by its primary, so that two logs that both have the epoch
 * agree up to where the shorter one's part of it ends. */
struct myco__epoch {
    uint64_t epoch, first, last;
};

/* The highest epoch of a name: committed, and as this primary has logged it. */
struct myco__fence {
    char name[MYCO_FENCE_NAME_MAX + 1];
    uint64_t epoch, newest;
    struct myco__record *by; /* what raises it to `newest`, while that is not committed */
};

struct myco__fences {
    struct myco__fence *items; /* sorted by name */
    uint32_t count, capacity;
};

struct myco__mark { /* once `sequence` is durable, the log is, up to `offset` */
    uint64_t sequence, offset;
};

/*      forgotten │ kept for members that lag │ not applied yet
 *   ─────────────┼───────────────────────────┼──────────────────┐
 *              base                       applied             last      (offsets; each names a
 * record)
 *
 * `applied` trails `commit` only while there is no memory for the table. */
struct myco__log {
    struct myco__record **ring;
    size_t ring_size, head, count, applied_count;
    size_t applied_size, pending_size; /* bytes of the records in memory */
    uint64_t base, applied, commit, last;
    uint64_t time_ms; /* of the last record: time never goes back */
    struct myco__epoch *epochs;
    size_t epoch_count, epoch_capacity;
    struct myco__mark *marks; /* a ring */
    size_t mark_size, mark_head, mark_count;
    uint64_t durable; /* offset */
};

enum myco__stage {
    MYCO__STAGE_LOST,   /* not connected: waits for peer_up */
    MYCO__STAGE_GREET,  /* HELLO is owed */
    MYCO__STAGE_ASKED,  /* waits for END */
    MYCO__STAGE_STREAM, /* gets records */
    MYCO__STAGE_COPY,   /* gets the whole state */
};

struct myco__flight {
    uint64_t last;
    uint32_t size, records;
};

/* A member as its primary sees it. */
struct myco__member {
    uint64_t node, generation;
    bool in_sync, joining;
    bool counted;  /* joining, and commits wait for it already */
    bool proposed; /* for the set, and not answered yet */
    bool blocked;  /* send said EFULL */
    bool start_owed;
    enum myco__stage stage;
    uint64_t session;
    uint64_t sent;               /* offset of the last record sent in this session */
    uint64_t acked;              /* as the level counts; never goes back in an epoch */
    uint64_t told;               /* the newest commit it was sent */
    uint64_t waiting_ms;         /* since when it owes an acknowledgement; 0: owes none */
    uint64_t spoke_ms, heard_ms; /* last sent, last heard in this session */
    struct myco__flight flights[MYCO__WINDOW_MESSAGES];
    uint32_t flight_head, flight_count, flight_size, flight_records;
    uint64_t copy_sent, copy_acked; /* bytes of the state */
};

/* A state that is being read in, whole items at a time; swapped in at its end. */
struct myco__staging {
    struct myco_table *table;
    struct myco__log log;
    struct myco__fences fences;
    uint32_t fences_total;
    struct myco_buf rest; /* an item that is not whole yet */
    uint64_t taken;       /* bytes so far */
    uint64_t items, items_left;
    uint32_t tail_left;
    bool headed; /* the head was read */
};

enum myco__role { MYCO__ROLE_NONE, MYCO__ROLE_BACKUP, MYCO__ROLE_PRIMARY };

struct myco_hypha {
    struct myco_hypha_options options;
    struct myco_hypha_effects effects;
    struct myco_env *env;
    struct myco_table *table; /* stored and loaded atomically */
    struct myco__log log;
    struct myco__fences fences;
    struct myco_set set;
    uint64_t epoch;   /* the newest heard of: the set's, or a primary's message */
    uint64_t deposed; /* as primary of this epoch it was refused: somebody knows a newer one */
    enum myco__role role;
    bool recovered; /* from its journal, and nobody has shown it since what it may lack */
    struct myco_deferred deferred;
    bool settle_wanted;
    struct myco__answer *answers, **answers_end; /* said when settled */
    size_t answers_size;
    uint64_t dropped; /* wrong messages */

    /* as primary */
    struct myco__member *members[MYCO__MEMBERS_MAX];
    size_t member_count;
    uint64_t noop; /* offset of the record that began the epoch; 0: not yet written */
    bool serving, sealed;
    bool proposed;                           /* not answered yet */
    uint64_t propose_at_ms, propose_wait_ms; /* after a refusal */
    uint64_t session;                        /* the last one begun */
    struct myco__record **index;             /* the latest pending record of a key */
    size_t index_size, index_count;
    struct myco_buf copy; /* the state, while members are given it */
    uint64_t copy_offset;

    /* as backup */
    uint64_t leader, leader_generation; /* of `epoch`; 0: not known */
    uint64_t leader_session;
    bool matched; /* the cut was made: records may follow */
    bool end_owed, taken_owed, ack_owed, ask_owed;
    bool again_wanted, again; /* a piece was dropped: to be said at the next tick; being said */
    uint64_t asked_ms;
    uint64_t taken; /* bytes of the state in this session */
    struct myco__staging *staging;

    /* being restored: what the journal has not taken yet */
    struct myco_buf restoring;
    bool restore_begun; /* its first part is in the journal */
};

/* ── hypha.c ── */
void myco__hypha_settle(
    struct myco_hypha *hypha); /* performs what is owed: messages, then answers */
void myco__hypha_settle_later(
    struct myco_hypha *hypha);                    /* the same, after the present call returned */
void myco__hypha_apply(struct myco_hypha *hypha); /* up to the commit */
void myco__hypha_follow(
    struct myco_hypha *hypha, uint64_t epoch, uint64_t leader, uint64_t generation);
void myco__hypha_depose(struct myco_hypha *hypha);
void myco__hypha_drop(struct myco_hypha *hypha); /* counts a wrong message */

/* ── hypha_log.c ── */
void myco__log_free(struct myco__log *log);
bool myco__log_reserve(struct myco__log *log); /* for one more record with its mark */
/* Takes; 0: no journal. */
void myco__log_push(struct myco__log *log, struct myco__record *record, uint64_t sequence);
struct myco__record *myco__log_at(const struct myco__log *log, size_t index);
/* Index of the first record above it. */
size_t myco__log_after(const struct myco__log *log, uint64_t offset);
struct myco__record *myco__log_unapplied(const struct myco__log *log); /* the first one, or NULL */
void myco__log_applied(struct myco__log *log);                         /* the first one is */
/* Forgets what is above; not below `applied`. */
void myco__log_cut(struct myco__log *log, uint64_t offset);
void myco__log_trim(struct myco__log *log, uint64_t keep_above, size_t tail_size, size_t keep_size);
uint64_t myco__log_last_epoch(const struct myco__log *log);
uint64_t myco__log_epoch_at(const struct myco__log *log, uint64_t offset); /* 0: not known */
bool myco__log_epoch_add(struct myco__log *log, const struct myco__epoch *epoch);
bool myco__log_durable(struct myco__log *log, uint64_t sequence); /* whether `durable` rose */
void myco__log_mark(struct myco__log *log, uint64_t sequence, uint64_t offset);
void myco__hypha_record_free(struct myco__record *record);

/* ── hypha_codec.c ── */
enum myco__message {
    MYCO__HELLO = 1,
    MYCO__END,
    MYCO__START,
    MYCO__APPEND,
    MYCO__ACK,
    MYCO__ASK,
    MYCO__REFUSE,
    MYCO__PIECE,
    MYCO__TAKEN
};
struct myco__head {
    uint8_t kind;
    uint64_t generation, epoch, session;
};
void myco__head_write(struct myco_buf *buf, const struct myco__head *head);
bool myco__head_read(struct myco_reader *reader, struct myco__head *head);
size_t myco__hypha_record_size(const struct myco_write *write);
struct myco__record *myco__hypha_record_new(const struct myco_write *write, uint64_t epoch,
    uint64_t offset, uint64_t time_ms, uint64_t commit);
/* A copy of checked bytes: EPROTO, ENOMEM. */
int myco__hypha_record_read(struct myco_slice bytes, struct myco__record **record);
/* Whether it may stand at the end of the log. The first of an epoch may be further ahead: of a copy
 * that may lack records, or after an accepted loss. */
bool myco__hypha_record_follows(const struct myco__log *log, const struct myco__record *record);

/* ── hypha_fence.c ── */
void myco__fences_free(struct myco__fences *fences);
/* Never lowers. ENOMEM. */
int myco__fences_raise(struct myco__fences *fences, struct myco_slice name, uint64_t epoch);
/* Primary: 0 (*raises: it is to be logged), EFENCED with the newer epoch and the record that says
 * so (NULL: it is committed), ETOOBIG, ENOMEM. */
int myco__fence_judge(struct myco_hypha *hypha, const struct myco_write *write, bool *raises,
    uint64_t *newest, struct myco__record **by);
/* It was logged; judged before, so that there is room. */
void myco__fence_logged(struct myco_hypha *hypha, struct myco__record *record);
int myco__fence_apply(struct myco_hypha *hypha, struct myco__record *record);
/* What was logged and not committed counts no more. */
void myco__fences_forget_pending(struct myco_hypha *hypha);

/* ── hypha_write.c ── */
void myco__pending_remove(struct myco_hypha *hypha, struct myco__record *record);
void myco__pending_free(struct myco_hypha *hypha);
int myco__hypha_append(struct myco_hypha *hypha, const struct myco_write *write, uint64_t offset,
    struct myco__record **record);
/* Committed. */
void myco__hypha_answer_record(struct myco_hypha *hypha, struct myco__record *record);
/* All that is pending: EUNKNOWN, or did not happen. */
void myco__hypha_answer_lost(struct myco_hypha *hypha);
void myco__hypha_answer_ready(struct myco_hypha *hypha);

/* ── hypha_members.c ── */
void myco__hypha_members_configure(struct myco_hypha *hypha, bool fresh);
void myco__hypha_members_doubt(struct myco_hypha *hypha);
void myco__hypha_members_free(struct myco_hypha *hypha);
struct myco__member *myco__member_of(struct myco_hypha *hypha, uint64_t node);
void myco__hypha_members_commit(struct myco_hypha *hypha);
void myco__hypha_members_acked(
    struct myco_hypha *hypha, struct myco__member *member, uint64_t acked);
void myco__hypha_members_propose(struct myco_hypha *hypha, uint64_t now_ms);
/* Every in-sync one has the whole log. */
bool myco__hypha_members_have(const struct myco_hypha *hypha);
bool myco__hypha_members_idle(const struct myco_hypha *hypha);
void myco__hypha_members_tick(
    struct myco_hypha *hypha, struct myco__member *member, uint64_t now_ms);
/* Records above it are still to be sent. */
uint64_t myco__hypha_members_need(const struct myco_hypha *hypha);

/* ── hypha_primary.c ── */
void myco__member_greet(struct myco_hypha *hypha, struct myco__member *member);
void myco__member_lost(struct myco_hypha *hypha, struct myco__member *member);
void myco__member_pump(struct myco_hypha *hypha, struct myco__member *member);
void myco__member_tick(struct myco_hypha *hypha, struct myco__member *member, uint64_t now_ms);
void myco__member_receive(struct myco_hypha *hypha, struct myco__member *member,
    const struct myco__head *head, struct myco_reader *reader);
int myco__member_send(
    struct myco_hypha *hypha, struct myco__member *member, bool bulk, struct myco_buf *payload);
void myco__member_head(const struct myco_hypha *hypha, const struct myco__member *member,
    uint8_t kind, struct myco_buf *payload);

/* ── hypha_backup.c ── */
void myco__backup_receive(struct myco_hypha *hypha, uint64_t from, const struct myco__head *head,
    struct myco_reader *reader);
void myco__backup_refuse(struct myco_hypha *hypha, uint64_t from);
void myco__backup_settle(struct myco_hypha *hypha);
void myco__backup_tick(struct myco_hypha *hypha, uint64_t now_ms);
void myco__backup_forget(struct myco_hypha *hypha); /* the conversation with the leader is over */

/* ── hypha_state.c ── */
void myco__state_write(const struct myco_hypha *hypha, bool tail, struct myco_buf *out);
/* What it was fed so far. */
void myco__staging_write(const struct myco__staging *staging, struct myco_buf *out);
struct myco__staging *myco__staging_new(struct myco_hypha *hypha);
void myco__staging_free(struct myco__staging *staging);
/* EPROTO, ENOMEM: throw it away. *whole: nothing is missing. */
int myco__staging_feed(struct myco__staging *staging, struct myco_slice bytes, bool *whole);
/* Takes; nothing of it is durable. */
void myco__staging_install(struct myco_hypha *hypha, struct myco__staging *staging);

/* ── hypha_copy.c ── */
void myco__copy_begin(struct myco_hypha *hypha, struct myco__member *member);
void myco__copy_pump(struct myco_hypha *hypha, struct myco__member *member);
void myco__copy_taken(
    struct myco_hypha *hypha, struct myco__member *member, struct myco_reader *reader);
/* Frees the state when nobody is being given it. */
void myco__copy_release(struct myco_hypha *hypha);
void myco__copy_receive(struct myco_hypha *hypha, struct myco_reader *reader); /* backup: a PIECE */
/* A part of a state into the journal: EFULL, ENOSPC, EIO, ENOMEM. */
int myco__copy_journal(
    struct myco_hypha *hypha, bool first, struct myco_slice bytes, uint64_t *sequence);

#endif
