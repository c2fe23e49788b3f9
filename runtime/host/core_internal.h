/* The inside of a core, for the files of host/core*.c, client.c, serve.c, duties.c, persist.c. */
#ifndef MYCO_HOST_CORE_INTERNAL_H
#define MYCO_HOST_CORE_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "host/core.h"
#include "host/core_chronicle.h"
#include "host/core_lag.h"
#include "object/chain.h"
#include "route/route.h"
#include "wire/message.h"

/* A copy of a hypha on this node. */
struct core_hypha {
    struct myco_core *core;
    uint64_t septum;
    uint32_t index;
    uint64_t stream; /* of the journal: septum, level and index in one number */
    struct myco_hypha *hypha;
    struct myco_list dirty;  /* waits for the journal */
    struct myco_list parked; /* questions of watches that wait for a commit */
    bool watch_due;
    uint64_t last_sequence; /* last record given to the journal */
    uint64_t loading_epoch; /* being loaded from the object store for this epoch; 0: no */
    uint64_t fresh_bytes, fresh_writes; /* committed since the last upload */
    uint64_t behind_bytes;              /* committed, and not in the manifest as far as we know */
    uint64_t behind_since_ms;           /* the oldest of it; 0: nothing */
    uint64_t sent_bytes, sent_ms;       /* of behind_bytes: in the upload under way, since when */
    uint64_t loaded_epoch;              /* was loaded from it in this epoch; 0: no */
    bool handing_over;
    bool full;             /* the last write that needed room got none */
    int64_t claimed_bytes; /* by writes under way */
    int64_t claimed_count;
    uint64_t used_since_ms; /* before that, nobody here knows what was used */
    uint64_t use_at;        /* bucket: idle entries are looked for from there */
    uint32_t dice;
    uint64_t shrunk;  /* the version of the set from which dead members were proposed to leave */
    uint64_t offered; /* the version of the set with which another was proposed as primary */
    uint32_t frozen; /* not a member as far as we know: hears nothing; the barrier that frees it, 0:
                        a member */
};

/* An operation of this node's own: tried until it is answered or its deadline passed. */
struct core_op;
struct core_parked; /* core_watch_serve.c */

/* What a write under way will add to its hypha, as long as its table does not show it. */
struct core_claim {
    uint64_t septum;
    uint32_t hypha;
    int entries; /* -1, 0, 1 */
    int64_t bytes;
};

/* How a septum is used on this node, since it started: of its primaries here. */
struct core_use {
    uint64_t hits, misses, evictions, expirations, refused;
};

/* A write that a hypha here works on: whom to answer. */
struct core_token {
    struct core_op *op;       /* local, or NULL */
    uint64_t node, request;   /* else: a remote node's request */
    bool sweep;               /* nobody waits */
    struct core_fence *fence; /* owned; NULL: none */
    struct core_batch *batch; /* one of many; NULL: alone */
    uint32_t index;           /* in the batch */
    struct core_claim claim;  /* core_limits.c */
    struct core_reply *reply; /* owned; NULL: status and version are the whole answer */
};

/* What a change answers besides its version, computed when it was written. */
struct core_reply {
    bool look; /* it wrote nothing: `status` is the answer once the hypha says ECONFLICT */
    int status;
    const char *message; /* static */
    struct myco_buf value;
    uint64_t count, expires_in_ms;
};

/* What a fenced operation showed, and what it reads once the fence stands. */
struct core_fence {
    char name[MYCO_FENCE_NAME_SIZE_MAX + 1];
    uint64_t epoch, septum;
    uint32_t index;
    bool read;
    struct myco_buf key;
};

struct core_peer {
    uint64_t generation, features; /* as it said in the handshake */
};

/* The cluster that this node is of, and those of the same name that it met: see core_cluster.c. */
#define CORE_FOREIGN_MAX 16
struct core_foreign {
    uint64_t id, node;
    struct myco_addr addr;
    char name[MYCO_NAME_SIZE_MAX + 1];
};
struct core_home {
    uint64_t id; /* 0: none yet */
    bool agreed; /* by the log */
    bool formed; /* by a list that this node pledged itself to: the log will say the id */
    bool sift_due;
    struct myco_map nodes; /* id → struct foreign_node */
    struct core_foreign clusters[CORE_FOREIGN_MAX];
    unsigned cluster_count;
};

struct myco_core {
    struct myco_core_options options;
    struct myco_core_events events;
    struct myco_identity identity;
    struct myco_env *env;
    struct myco_transport *transport; /* the route's */
    struct myco_route *route;
    struct core_topology *topology;
    struct myco_addr addr;
    char name[MYCO_NAME_SIZE_MAX + 1], cluster[MYCO_NAME_SIZE_MAX + 1], labels[MYCO_LABELS_MAX + 1];

    struct myco_swim *swim;
    struct myco_keyring *keyring;
    struct core_keys *keys;
    struct myco_rlog *log;
    struct myco_state *state;
    struct myco_lease *lease;
    struct myco_commands *commands;
    struct myco_council *council;
    struct myco_bootstrap *bootstrap;
    struct myco_bus *bus;
    struct myco_journal *journal;
    struct myco_domain *domain;
    struct core_persist *persist;
    struct myco_chronicle *chronicle;
    struct core_witness *witness;
    char admin[MYCO_ADMIN_MAX + 1];
    uint64_t refused; /* its port refuses, being told to gossip; 0: none */
    uint8_t applying; /* kind of the command that is being applied; 0: none */
    struct core_home home;
    struct myco_addr candidates[MYCO_JOINS_MAX];
    unsigned candidate_count;

    struct myco_map hyphae; /* stream → struct core_hypha */
    struct myco_list dirty;
    struct myco_map tokens;   /* token → struct core_token */
    struct myco_map uses;     /* septum → struct core_use */
    struct myco_map requests; /* request → struct core_op, sent to a node */
    struct myco_list waiting; /* ops that wait for a primary */
    struct myco_list watches; /* of this node */
    struct myco_deferred watch_due;
    uint32_t parked_count;
    bool retrying; /* `retry` runs for what waits, not only for deadlines */
    uint64_t next_token, next_request;
    struct myco_list campaigns;
    struct myco_list observers;
    struct myco_map campaigns_by_name; /* hash of a name → the newest campaign, and so on */
    uint32_t unsent_campaigns;
    uint64_t held_changes; /* of the state, when held_count was counted */
    uint32_t held_count;
    struct myco_map locks; /* ticket → struct myco_core_lock */
    uint64_t next_ticket;
    struct myco_list losses; /* that are about to be accepted */
    uint64_t next_loss;
    struct myco_list given_up; /* elections that this node gives up, until the log says so */
    struct myco_list inbox;    /* requests of Cytoplasm */
    uint64_t next_inbox;
    struct myco_bus_sub *inbox_sub;

    struct myco_map up; /* peer → struct core_peer: those that are up */
    struct core_lag lag;
    uint64_t transfer_at_ms;
    struct myco_timer tick, retry, joining, hand_over;
    enum {
        LEAVE_NOT,
        LEAVE_FLUSH,
        LEAVE_WAIT,
        LEAVE_DEPART,
        LEAVE_HAND_OVER,
        LEAVE_GOODBYE
    } leave_stage;
    uint64_t hinted; /* who leads, as gossip says; 0: nobody */
    uint64_t leader_seen_ms;
    struct myco_deferred refresh;
    bool refresh_due, joined, join_sent, clean, ready, born_asked, leaving, failed;
    bool disk_full; /* what was appended lately is not durable for want of space */
    uint64_t born_at_ms, leave_deadline_ms;
    struct core_birth *birth; /* of a cluster, under way */
    void (*left)(void *data);
    void *left_data;
    uint64_t meta_hash;
    uint64_t sweep_at_ms, started_ms;
    uint32_t barriers_sent, barriers_passed;
    bool barrier_under_way;
};

/* core.c */
void core_refresh_soon(struct myco_core *core);
void core_send(struct myco_core *core, uint64_t to, uint8_t type,
    struct myco_buf *payload); /* takes; what can't go is dropped */
bool core_is_up(struct myco_core *core, uint64_t node);
/* Is it up, and did it announce the feature? What needs it may be sent. */
bool core_peer_has(struct myco_core *core, uint64_t node, enum myco_feature feature);
/* As it said when it joined, or in its handshake. */
uint64_t core_member_features(struct myco_core *core, const struct myco_member_record *member);

/* core_topology.c: who is linked with whom */
void core_topology_open(struct myco_core *core, const struct myco_transport_events *events);
void core_topology_close(struct myco_core *core);
void core_topology_send_many(const uint64_t *nodes, size_t count, uint8_t type,
    struct myco_buf *payload, int *results, void *data);
void core_topology_changed(struct myco_core *core); /* members, voters, labels or the policy */
void core_topology_election(struct myco_core *core, const struct myco_election_record *election);

/* core_state.c: what the log says */
struct myco_state_events core_state_events(struct myco_core *core);
struct myco_rlog_events core_log_events(struct myco_core *core);
void core_birth_close(struct myco_core *core);
void core_birth(struct myco_core *core); /* as leader of a cluster that is not born yet */

/* core_cluster.c: the cluster that this node is of, and no other */
void core_home_open(struct myco_core *core); /* the log is open */
void core_home_close(struct myco_core *core);
void core_home_formed(struct myco_core *core);
void core_home_refresh(struct myco_core *core);
bool core_home_admits(const struct myco_member *word, void *core);
/* May a leader be followed that says this id (0: it says none)? */
bool core_home_follows(const struct myco_core *core, uint64_t cluster);
bool core_home_refuses(const struct myco_core *core, uint64_t node); /* known to be foreign */
struct msgpack_packer;
void core_pack_discovery(struct myco_core *core, struct msgpack_packer *pack);

/* core_hyphae.c */
int core_hyphae_open(struct myco_core *core, struct myco_err *err);
void core_hyphae_close(struct myco_core *core);
struct core_hypha *core_hypha_find(struct myco_core *core, uint64_t septum, uint32_t index);
void core_hypha_sync(struct myco_core *core, struct myco_septum_record *septum,
    uint32_t index); /* makes the copy here what the set says */
void core_hyphae_sync_all(struct myco_core *core);
void core_hyphae_tick(struct myco_core *core);
void core_hyphae_shrink(struct myco_core *core); /* dead members of sets whose primary is here */
void core_hyphae_peer_up(struct myco_core *core, uint64_t node, uint64_t generation);
void core_hyphae_peer_down(struct myco_core *core, uint64_t node);
void core_hyphae_drained(struct myco_core *core, uint64_t node);
void core_hyphae_receive(struct myco_core *core, uint64_t from, struct myco_slice payload);
void core_leave_tick(struct myco_core *core);
/* Of some hypha this node has the last whole copy that can be reached: leaving would take it along.
 */
bool core_hyphae_awaited(struct myco_core *core);
bool core_hyphae_hand_over(
    struct myco_core *core, bool all); /* returns whether anything is still to be handed over */
uint32_t core_hyphae_primary_count(struct myco_core *core);
void core_hypha_snapshot(struct core_hypha *copy); /* writes the journal's snapshot of it */

/* core_gossip.c: gossip by connections */
bool core_gossip_mesh(uint64_t peer, struct myco_slice bytes, void *core);
void core_gossip_down(struct myco_core *core, uint64_t peer, enum myco_down_reason reason);

/* core_keys.c: the ring of gossip's keys */
int core_keys_open(struct myco_core *core, struct myco_err *err);
void core_keys_close(struct myco_core *core);
void core_keys_agreed(struct myco_core *core);
/* verb: install (a key), use, remove (its fingerprint). Begun: the log says the rest. */
int core_keys_change(
    struct myco_core *core, const char *verb, const char *text, struct myco_err *err);

/* core_lag.c */
void core_lag_tick(struct myco_core *core);                   /* of core->tick, each time */
bool core_member_slow(struct myco_core *core, uint64_t node); /* as it says, or as we know */

/* core_client.c: operations asked here; core_serve.c: operations of primaries here */
void core_ops_close(struct myco_core *core);
void core_ops_retry(void *core);
void core_ops_peer_down(struct myco_core *core, uint64_t node);
void core_ops_response(struct myco_core *core, uint64_t from, struct myco_slice payload);
void core_op_answered(struct core_op *op, int status, const char *message, uint64_t version);
void core_op_replied(struct core_op *op, const struct myco_result *result); /* with a value */
void core_serve_request(struct myco_core *core, uint64_t from, struct myco_slice payload);
void core_serve_complete(struct myco_core *core, uint64_t token, int status, uint64_t version);
/* The same, with a sentence for the one who asked; NULL: as usual. */
void core_serve_complete_with(
    struct myco_core *core, uint64_t token, int status, uint64_t version, const char *why);
/* 0: token's completion will follow; else the status now. */
int core_serve_write(struct myco_core *core, struct core_hypha *copy, enum myco_request what,
    struct myco_slice key, struct myco_slice value, const struct myco_put_options *options,
    const struct core_token *token);
/* core_change_serve.c: the same for a change (core_change.h), of which `change` is the bytes. */
int core_serve_change(struct myco_core *core, struct core_hypha *copy, struct myco_slice key,
    struct myco_slice change, const struct myco_fence *fence, const struct core_token *token);
int core_serve_changed(struct myco_core *core, struct core_hypha *copy,
    const struct myco_change *change, const struct myco_fence *fence,
    const struct core_token *token);
/* core_many_serve.c: `changes` as core_changes_write() has them; answered when all are: *given
 * (may be NULL) may be gone when this returns. */
int core_serve_many(struct myco_core *core, uint64_t septum, struct myco_slice changes,
    const struct myco_fence *fence, const struct core_token *token, struct core_batch **given);
void core_batch_answered(
    struct core_batch *batch, uint32_t index, const struct myco_result *result);
void core_batch_forget(struct core_batch *batch); /* its op waits no more */
void core_respond(
    struct myco_core *core, uint64_t to, uint64_t request, const struct myco_result *result);
int core_serve_table(struct myco_core *core, uint64_t septum, uint32_t index,
    struct core_hypha **copy); /* may it be read here now? */
/* One page: u32 count, u8 more, then items: slice key, slice value, u64 version. */
void core_serve_scan(const struct core_hypha *copy, struct myco_slice prefix,
    struct myco_slice after, uint32_t limit, bool keys_only, struct myco_buf *out);
/* core_watch_serve.c: key: the prefix; value: u64 epoch, u64 offset (0: now), u32 wait_ms. *given
 * (may be NULL): it was parked. */
int core_serve_watch(struct myco_core *core, struct core_hypha *copy, struct myco_slice prefix,
    struct myco_slice from, const struct core_token *token, struct core_parked **given);
void core_watch_forget(struct core_parked *parked);
void core_watch_committed(struct core_hypha *copy, const struct myco_write *write);
void core_watch_sweep(struct core_hypha *copy);
void core_watch_gone(struct core_hypha *copy);
/* core_client.c: what was parked here is answered, on a later turn. */
void core_op_unparked(struct core_op *op, const struct myco_result *result);
void core_watches_close(struct myco_core *core); /* core_watch.c */
uint64_t core_serve_count(const struct core_hypha *copy, struct myco_slice prefix);
void core_serve_sweep(struct myco_core *core);
uint64_t core_expiry_now(const struct core_hypha *copy);

void core_serve_get(struct myco_core *core, uint64_t from, uint64_t request,
    struct core_hypha *copy, struct myco_slice key);
void core_op_get(struct core_op *op); /* its fence stands: reads */

/* core_observe.c */
void core_observe_election(struct myco_core *core, const struct myco_election_record *election);
void core_observe_close(struct myco_core *core);

/* core_loss.c */
void core_loss_receive(struct myco_core *core, uint64_t from, struct myco_slice payload);
void core_loss_close(struct myco_core *core);

/* core_locks.c */
void core_locks_event(struct myco_core *core, const struct myco_lock_record *lock,
    const struct myco_lock_entry *entry);
void core_locks_lease(struct myco_core *core); /* gained or lost */
void core_locks_tick(struct myco_core *core);
void core_locks_close(struct myco_core *core);
bool core_locks_any(const struct myco_core *core); /* held or waited for */

/* core_fence.c */
void core_token_free(struct core_token *token);
void core_reply_free(struct core_reply *reply); /* core_change_serve.c */
/* EINVAL, ENOTSUP, EVERSION: with a message. */
int core_fence_check(const struct myco_core *core, const struct myco_fence *fence,
    const struct myco_septum_record *septum, char *message, size_t size);
/* An epoch of an election or a lock is over as the cluster agreed: the newer one; 0: not known to
 * be. */
uint64_t core_fence_newer(const struct myco_core *core, const struct myco_fence *fence);
/* NULL: no fence. */
struct core_fence *core_fence_new(const struct core_hypha *copy, const struct myco_fence *fence);
/* What a refusal means, for people. */
const char *core_fence_why(
    const struct core_fence *fence, int status, uint64_t version, char *message, size_t size);
/* Begins a fenced read, as core_serve_write does a write. Takes nothing. */
int core_fence_read(struct myco_core *core, struct core_hypha *copy, struct myco_slice key,
    const struct myco_fence *fence, const struct core_token *token);
/* The same for what was refused before the hypha was asked. */
void core_fence_refusal(const struct myco_core *core, const struct myco_fence *fence, int status,
    char *message, size_t size);
/* The read goes on: its fence stands. */
void core_fence_stands(struct myco_core *core, struct core_token *token);
int core_give_token(struct myco_core *core, struct core_hypha *copy, const struct myco_write *write,
    const struct core_token *token);

/* core_limits.c */
struct core_use *core_use(struct myco_core *core, uint64_t septum);
/* A read at the primary: false: absent, expired or idle for too long. Counts as a use. */
bool core_limits_find(struct myco_core *core, struct core_hypha *copy, struct myco_slice key,
    struct myco_table_item *item);
/* Is the latest write of the key there, and not idle for too long? */
bool core_limits_latest(const struct myco_core *core, const struct core_hypha *copy,
    struct myco_slice key, struct myco_table_item *item);
/* Before a write: makes room, and claims it. ETOOBIG, ENOSPC (full), EFULL (room comes soon). */
int core_limits_claim(struct myco_core *core, struct core_hypha *copy,
    const struct myco_write *write, struct core_claim *claim);
void core_limits_release(struct myco_core *core, const struct core_claim *claim);
/* Now and then, for every copy: primaries drop what is idle and what is too much. */
void core_limits_tick(struct myco_core *core, struct core_hypha *copy);
/* Puts the reason of ETOOBIG or ENOSPC in the place of `message`, when a limit is it. */
void core_limits_why(const struct myco_core *core, uint64_t septum, uint32_t hypha, int status,
    char *message, size_t size);
/* Of the primaries of a septum here. */
void core_limits_sum(
    const struct myco_core *core, uint64_t septum, uint64_t *entries, uint64_t *bytes);

/* core_duties.c */
void core_duties_election(struct myco_core *core, const struct myco_election_record *election);
void core_duties_lease(struct myco_core *core); /* gained or lost */
void core_duties_tick(struct myco_core *core);
void core_duties_features(struct myco_core *core); /* some are active now */
void core_duties_close(struct myco_core *core);
uint32_t core_duties_held(struct myco_core *core);
bool core_duty_held(struct myco_core *core, const char *name,
    uint64_t *epoch); /* leads it now, under a valid lease */
void core_inbox_close(struct myco_list *link);

/* persist.c */
struct core_persist *core_persist_new(struct myco_core *core);
void core_persist_stop(
    struct core_persist *persist); /* closes the store: what is under way ends with ECANCELED */
void core_persist_free(struct core_persist *persist);
void core_persist_receive(struct myco_core *core, uint64_t from, struct myco_slice payload);
void core_persist_changed(struct myco_core *core); /* septa or the persistence policy */
uint64_t core_persist_offset(struct myco_core *core, uint64_t septum,
    uint32_t hypha); /* up to which the manifest holds it, as far as we know */
void core_persist_load(struct myco_core *core,
    struct core_hypha *copy); /* from the store, for a set that is to be loaded */
void core_persist_bury(struct myco_core *core,
    struct myco_chain *chain); /* frees it later, outside of its callbacks */
/* persist_held.c: a septum with level=object. 0: it takes writes (every other septum does); else
 * EUNAVAILABLE or EFULL, and `why` */
int core_object_ready(
    struct myco_core *core, const struct myco_septum_record *septum, char *why, size_t size);
/* A write was committed: true when its acknowledgement waits for the object store; it is completed
 * later. */
bool core_object_hold(struct core_hypha *copy, uint64_t token, uint64_t offset);
void core_persist_flush(struct myco_core *core, void (*done)(void *data), void *data);

#endif
