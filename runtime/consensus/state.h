/* The replicated state: what the cluster has agreed on. Commands from the log are applied to it in
 * order, on every node alike; nothing here knows time, network or Lua. Small by design: members,
 * elections and their epochs, septa and the sets of their hyphae, policies.
 *
 * A command says who asks (node, generation) and a sequence of that node's own, so that one that
 * was sent twice is applied once: the state keeps, for each member, which of its last
 * MYCO_SEEN_WINDOW sequences it has seen. A node keeps its pending commands within that window. */
#ifndef MYCO_CONSENSUS_STATE_H
#define MYCO_CONSENSUS_STATE_H

#include "base/addr.h"
#include "base/map.h"
#include "consensus/locks.h"
#include "consensus/policy.h"
#include "consensus/septum.h"
#include "store/hypha.h"
#include "wire/feature.h"

#define MYCO_STATE_NAME_MAX              63
#define MYCO_LABELS_MAX                  255
#define MYCO_REMOVED_MAX                 1024 /* ids; then the oldest is forgotten */
#define MYCO_LOSS_REASON_MAX             127
#define MYCO_LOSSES_MAX                  512 /* hyphae of one ACCEPT_LOSS */
#define MYCO_COMMAND_HEAD_SIZE           25
#define MYCO_VERSION_MAX                 23
#define MYCO_HYPHAE_MAX                  4096
#define MYCO_SEPTA_MAX                   1024
#define MYCO_ELECTIONS_MAX               65536
#define MYCO_SEEN_WINDOW                 1024 /* commands of one node that may be under way */
#define MYCO_POLICY_HISTORY              16   /* versions kept of each kind */
#define MYCO_POLICY_SIZE_MAX             (64 * 1024)
#define MYCO_EPOCH(incarnation, counter) ((uint64_t)(incarnation) << 48 | (counter))

/* X(symbol, number, feature) — numbers are for ever. An unknown one halts the node: it is of a
 * newer version. So one of a feature (wire/feature.h; NONE: all versions know it) is logged only
 * while the feature is active; submitting it before gives EVERSION. */
#define MYCO_COMMANDS(X)                                                                           \
    X(INIT, 1, NONE)      /* a cluster is born: anew, or from the definitions of a manifest */     \
    X(JOIN, 2, NONE)      /* a member, or its new generation */                                    \
    X(LEAVE, 3, NONE)     /* a member went on purpose */                                           \
    X(CAMPAIGN, 4, NONE)  /* stands for an election */                                             \
    X(RESIGN, 5, NONE)    /* withdraws, and gives it up when it holds it */                        \
    X(GRANT, 6, NONE)     /* the leader's word: who holds an election now */                       \
    X(SEPTUM, 7, NONE)    /* creates a septum */                                                   \
    X(PLACE, 8, NONE)     /* targets of hyphae */                                                  \
    X(SETS, 9, NONE)      /* changes of in-sync sets, each a compare-and-set */                    \
    X(POLICY, 10, NONE)   /* a new version of a policy */                                          \
    X(ROLLBACK, 11, NONE) /* back to the version before */                                         \
    X(WANT, 13, NONE)     /* the leader's wish: a live holder shall hand over to another */        \
    X(BARRIER, 15,                                                                                 \
        NONE) /* nothing: who sent it knows, when it is applied, what was agreed before */         \
    X(RELEASE, 14, NONE)      /* the holder gives up what it leads, and stays a candidate */       \
    X(FEATURES, 16, FEATURES) /* features are active from now on; and what each member has */      \
    X(SEPTUM_MAKE, 40, SEPTUM_OPTIONS)     /* creates a septum, all options with it */             \
    X(SEPTUM_ALTER, 41, SEPTUM_OPTIONS)    /* other options, a compare-and-set */                  \
    X(RING, 28, KEYRING)                   /* the ring of gossip's keys, a compare-and-set */      \
    X(CAMPAIGN_WITH, 29, CAMPAIGN_OPTIONS) /* stands, with a priority and labels */                \
    X(LOCK, 30, LOCKS)                     /* asks for a lock, or comes to a barrier */            \
    X(UNLOCK, 31, LOCKS)                   /* gives it back, or waits no more */                   \
    X(UNLOCK_NODE, 32, LOCKS)       /* the leader's word: a node that is gone holds no locks */    \
    X(REMOVE, 24, REMOVAL)          /* a member is removed for ever */                             \
    X(ACCEPT_LOSS, 25, ACCEPT_LOSS) /* an operator's word: go on without who has everything */

enum myco_command_kind {
#define X(symbol, number, feature) MYCO_COMMAND_##symbol = number,
    MYCO_COMMANDS(X)
#undef X
};

struct myco_member_record {
    uint64_t id, generation;
    char name[MYCO_STATE_NAME_MAX + 1];
    char *labels; /* owned; NULL: none. See myco_member_labels() */
    struct myco_addr addr;
    bool left;
    /* Of this generation. Known for certain, and alike on all nodes, once FEATURES is active; until
     * then 0 may also mean that it came by a snapshot of the previous version. */
    uint64_t features;
    char version[MYCO_VERSION_MAX + 1]; /* of its program, to be shown; "" as long as not known */
    uint64_t seen_top;                  /* the highest sequence seen */
    /* Bit (sequence % window), for the window up to the highest. Of thousands of members most send
     * a few commands in their life, so the whole window is made only when the 64th comes. */
    uint64_t seen_low;   /* its first word, as long as it is all */
    uint64_t *seen_bits; /* owned; NULL: seen_low, and nothing else */
};

/* What a candidate asks for, shown to the policy. */
struct myco_candidate_wish {
    uint64_t node;
    int32_t priority;
    char labels[MYCO_LABELS_MAX + 1]; /* above those of the node */
};

struct myco_election_record {
    char name[MYCO_STATE_NAME_MAX + 1];
    uint64_t holder, holder_generation; /* 0: nobody */
    uint64_t epoch;                     /* of the present or last holder */
    uint64_t wanted;                    /* who shall hold it next; 0: no wish */
    uint64_t *candidates;               /* sorted */
    uint32_t candidate_count;
    struct myco_candidate_wish *wishes; /* of candidates that ask for something; sorted */
    uint32_t wish_count;
};

struct myco_hypha_record {
    struct myco_set set;
    uint8_t target_count;
    uint64_t
        targets[MYCO_COPIES_MAX]; /* where the placement policy wants it; [0] shall be primary */
    bool from_store; /* no copy yet: the primary loads it from the object store first */
};

struct myco_septum_record {
    uint64_t id;
    char name[MYCO_STATE_NAME_MAX + 1];
    uint64_t version; /* of the options: how often they were changed */
    struct myco_septum_options options;
    struct myco_hypha_record *hyphae;
};

struct myco_policy_version {
    uint64_t version, time_ms;
    char name[MYCO_STATE_NAME_MAX + 1];
    char author[MYCO_STATE_NAME_MAX + 1];
    char *source;
    size_t source_size;
};

struct myco_policy_record {
    struct myco_policy_version versions[MYCO_POLICY_HISTORY]; /* newest last */
    uint32_t count;
    uint64_t next_version;
};

/* What changed, told after each command was applied; everything after a snapshot was restored. */
struct myco_state_events {
    void (*on_cluster)(void *data); /* born: cluster id and lease are known */
    void (*on_member)(uint64_t id, void *data);
    void (*on_election)(const struct myco_election_record *election, void *data);
    void (*on_septum)(struct myco_septum_record *septum, void *data);
    void (*on_hypha)(struct myco_septum_record *septum, uint32_t hypha, void *data);
    void (*on_policy)(int kind, const struct myco_policy_version *version, void *data);
    void *data;
    void (*on_features)(uint64_t active, void *data);
    /* An entry was added, holds now (epoch), passed the barrier (epoch), or its node was declared
     * gone (slot UINT32_MAX). Both NULL: all may differ, a snapshot was loaded. */
    void (*on_lock)(
        const struct myco_lock_record *lock, const struct myco_lock_entry *entry, void *data);
    void (*on_ring)(void *data); /* the ring of keys is another one */
    /* So many hyphae go on without their last in-sync members, at the word of `node`. */
    void (*on_loss)(const struct myco_septum_record *septum, uint32_t count, const char *reason,
        uint64_t node, void *data);
};

#define MYCO_RING_SIZE_MAX 8192
/* The ring of gossip's keys: what it says only the host knows (core_keys.c). */
struct myco_ring_record {
    uint64_t version; /* 0: never changed, each node has what its file says */
    struct myco_buf document;
};

struct myco_state {
    uint64_t cluster; /* 0: not born */
    uint64_t incarnation;
    uint32_t lease_ms;
    char cluster_name[MYCO_STATE_NAME_MAX + 1];
    uint64_t epoch_counter;
    uint64_t next_septum;
    uint64_t removed[MYCO_REMOVED_MAX]; /* ids, in the order of their removal */
    uint32_t removed_count;
    uint64_t features_active;   /* for ever */
    uint64_t features_own;      /* not replicated: of this node */
    uint64_t features_proposed; /* not replicated: by this node, not applied yet */
    uint64_t restored_from_epoch, restored_from_sequence; /* the manifest that from_store means */
    struct myco_map members;                              /* id → struct myco_member_record */
    struct myco_election_record **elections;              /* sorted by name */
    uint32_t election_count;
    uint64_t election_changes; /* not replicated: rises with every change */
    struct myco_locks locks;
    struct myco_septum_record **septa; /* sorted by id */
    uint32_t septum_count;
    struct myco_policy_record policies[MYCO_POLICY_KIND_COUNT];
    struct myco_ring_record ring;
    struct myco_state_events events;
};

/* The result of a command, equal on every node. `value`: an id, version or epoch, as the command
 * says. */
struct myco_command_result {
    int status;
    uint64_t value;
    char message[128];
};

struct myco_state *myco_state_new(const struct myco_state_events *events);
void myco_state_free(struct myco_state *state);

/* Who sent a command; false: not a command of ours. */
struct myco_command_head {
    uint8_t kind;
    uint64_t node, generation, sequence;
};
bool myco_command_peek(struct myco_slice command, struct myco_command_head *head);

/* Is it active: may commands that need it be logged, and does the snapshot hold what it keeps?
 * NONE: yes. */
bool myco_state_feature(const struct myco_state *state, enum myco_feature feature);
/* That the command needs; NONE for unknown ones too. */
enum myco_feature myco_command_feature(uint8_t kind);
/* For ever, by an operator. */
bool myco_state_removed(const struct myco_state *state, uint64_t id);
/* May it be logged now? 0; EVERSION with the reason: its feature is not active yet, or it is the
 * JOIN of a node without an active one; EDENIED: the JOIN of one that was removed. */
int myco_state_admits(
    const struct myco_state *state, struct myco_slice command, struct myco_err *err);

/* Applies. Returns 0, or EVERSION for a command that this version does not know (then the node must
 * halt: nothing was changed). A command that was applied before gives status EEXISTS and changes
 * nothing. */
int myco_state_apply(
    struct myco_state *state, struct myco_slice command, struct myco_command_result *result);
void myco_state_save(const struct myco_state *state, struct myco_buf *out);
/* Then tells everything. */
int myco_state_load(struct myco_state *state, struct myco_slice bytes, struct myco_err *err);

/* Definitions (septa and policies) for manifests; read back by INIT. */
void myco_state_definitions(const struct myco_state *state, struct myco_buf *out);

/* For the files of the state itself. */
struct myco_election_record *myco__state_election_make(struct myco_state *state, const char *name);
struct myco_septum_record *myco__state_septum_add(
    struct myco_state *state, const char *name, const struct myco_septum_options *options);
uint64_t myco__state_next_epoch(struct myco_state *state);
/* Copies. */
void myco__state_policy_push(
    struct myco_state *state, int kind, const struct myco_policy_version *version);
void myco__state_clear(struct myco_state *state);
void myco__state_write_options(struct myco_buf *out, const struct myco_septum_options *options);
void myco__state_read_options(struct myco_reader *in, struct myco_septum_options *options);
bool myco__state_name_ok(const char *name);
void myco__sets_place(struct myco_state *state, struct myco_reader *in);
void myco__sets_change(
    struct myco_state *state, struct myco_reader *in, struct myco_command_result *result);
void myco__sets_new_generation(
    struct myco_state *state, uint64_t node, uint64_t generation, bool clean);
void myco__sets_left(struct myco_state *state, uint64_t node);

/* Look-ups; lent until the next apply. */
const char *myco_member_labels(const struct myco_member_record *member); /* "": none */
const struct myco_member_record *myco_state_member(
    const struct myco_state *state, uint64_t id); /* NULL; left ones too */
const struct myco_election_record *myco_state_election(
    const struct myco_state *state, const char *name);
struct myco_septum_record *myco_state_septum(const struct myco_state *state, uint64_t id);
struct myco_septum_record *myco_state_septum_named(
    const struct myco_state *state, const char *name);
/* NULL: the built-in one. */
const struct myco_policy_version *myco_state_policy(const struct myco_state *state, int kind);
uint32_t myco_hypha_of(const struct myco_septum_record *septum, struct myco_slice key);
/* In sync; generation 0: any. */
bool myco_set_has(const struct myco_set *set, uint64_t node, uint64_t generation);
bool myco_set_joining(const struct myco_set *set, uint64_t node);
/* Commands, written into an empty buffer. */
void myco_command_begin(
    struct myco_buf *out, uint8_t kind, uint64_t node, uint64_t generation, uint64_t sequence);
/* epoch, sequence: of the manifest whose definitions are taken over; 0 and empty: a new cluster. */
void myco_command_init(struct myco_buf *out, uint64_t cluster, const char *name, uint32_t lease_ms,
    uint64_t incarnation, uint64_t epoch, uint64_t sequence, struct myco_slice definitions);
/* Outside of the log, of a cluster that is made anew around this state (raft_recover.c): these
 * members are lost and removed, and epochs go on in a new incarnation. */
void myco_state_recover(struct myco_state *state, const uint64_t *lost, size_t count);
void myco_command_remove(struct myco_buf *out, uint64_t id);
/* features: to be active, of all of these members; then each member by the other. */
void myco_command_features(struct myco_buf *out, uint64_t features);
void myco_command_features_member(
    struct myco_buf *out, const struct myco_member_record *member, uint64_t features);
/* clean: the node's disk holds everything that it had acknowledged in its former generation. */
void myco_command_join(struct myco_buf *out, const struct myco_member_record *member, bool clean);
/* CAMPAIGN_WITH: of the sender. */
void myco_command_campaign(
    struct myco_buf *out, const char *name, int32_t priority, const char *labels);
/* NULL: it asks for nothing. Lent until the next command. */
const struct myco_candidate_wish *myco_election_wish(
    const struct myco_election_record *election, uint64_t node);
/* CAMPAIGN, RESIGN: of the sender. */
void myco_command_name(struct myco_buf *out, const char *name);
void myco_command_want(struct myco_buf *out, const char *name, uint64_t node);
void myco_command_release(struct myco_buf *out, const char *name, uint64_t epoch);
void myco_command_grant(struct myco_buf *out, const char *name, uint64_t node, uint64_t generation,
    uint64_t epoch_before);
void myco_command_septum(
    struct myco_buf *out, const char *name, const struct myco_septum_options *options);
/* With all options: needs the feature septum_options. */
void myco_command_septum_make(
    struct myco_buf *out, const char *name, const struct myco_septum_options *options);
/* version_before: of the options that these replace. */
void myco_command_septum_alter(struct myco_buf *out, const char *name, uint64_t version_before,
    const struct myco_septum_options *options);
void myco_command_place(struct myco_buf *out, uint64_t septum, uint32_t hypha,
    const uint64_t *targets, uint8_t count); /* repeat */

/* SHRINK: `node` leaves the set. EXPAND: `node` (joining) enters it. PRIMARY: an in-sync `node`
 * takes over from a live primary, which stays in the set. REPLACE: it takes over from a dead one,
 * which leaves the set. LOADED: the primary has loaded the hypha from the object store. FORGET: of
 * a cache, whose holders are all lost for good: nobody holds it any more, and it begins anew,
 * empty, where it is placed next (feature cache_forget). */
enum myco_set_change {
    MYCO_SET_SHRINK,
    MYCO_SET_EXPAND,
    MYCO_SET_PRIMARY,
    MYCO_SET_REPLACE,
    MYCO_SET_LOADED,
    MYCO_SET_FORGET
};
void myco_command_set(struct myco_buf *out, enum myco_set_change change, uint64_t septum,
    uint32_t hypha, uint64_t epoch, uint64_t version, uint64_t node,
    uint64_t generation); /* repeat */
/* ACCEPT_LOSS of hyphae of one septum, each a compare-and-set: they go on with the copy of `node`,
 * the only member of the set then, empty or not, from the offset `floor`. */
struct myco_loss {
    uint32_t index;
    uint64_t epoch, version, node, generation, floor;
};
void myco_command_loss(struct myco_buf *out, uint64_t septum, const char *reason);
void myco_command_loss_of(struct myco_buf *out, const struct myco_loss *loss); /* repeat */
/* Of the body; false: malformed, or no more. reason: MYCO_LOSS_REASON_MAX + 1 bytes. */
bool myco_loss_head(struct myco_reader *in, uint64_t *septum, char *reason);
bool myco_loss_next(struct myco_reader *in, struct myco_loss *loss);
void myco_command_policy(struct myco_buf *out, int kind, const char *name, struct myco_slice source,
    const char *author, uint64_t time_ms);
/* At most MYCO_RING_SIZE_MAX; `version_before`: of the ring that it replaces. */
void myco_command_ring(struct myco_buf *out, uint64_t version_before, struct myco_slice document);
void myco_command_rollback(struct myco_buf *out, int kind, const char *author, uint64_t time_ms);

#endif
