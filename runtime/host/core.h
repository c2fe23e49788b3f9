/* One node, wired: gossip, consensus, hyphae, events and the object store over env/, without Lua
 * and without threads. The same core runs under libuv (host/node.c) and in the simulator
 * (host/sim.c). Loop thread only.
 *
 *   transport ─ on_message ─→ dispatch ─→ the subsystem's step ─ effects ─→ transport, disk, the
 * caller's callback a put: route by the placement table → REQUEST to the primary (or here) → hypha
 * → journal and backups → answer */
#ifndef MYCO_HOST_CORE_H
#define MYCO_HOST_CORE_H

#include "consensus/bootstrap.h"
#include "consensus/commands.h"
#include "consensus/council.h"
#include "consensus/lease.h"
#include "consensus/log.h"
#include "consensus/policy.h"
#include "consensus/state.h"
#include "env/disk.h"
#include "env/env.h"
#include "env/transport.h"
#include "gossip/swim.h"
#include "object/object.h"
#include "store/hypha.h"
#include "store/journal.h"
#include "stream/bus.h"

#define MYCO_JOINS_MAX MYCO_SWIM_JOINS_MAX

struct myco_core;

/* What a node is, in its data folder (file `node`). */
struct myco_identity {
    uint64_t id;         /* random, for the life of the folder */
    uint64_t generation; /* rises with every start, synced before any networking */
    uint64_t cluster;    /* hash of the cluster's name */
};

struct myco_core_options {
    struct myco_env *env;
    struct myco_disk *disk;         /* the data folder */
    struct myco_object *store;      /* NULL: none; taken: the core closes it */
    struct myco_policy_port policy; /* ask NULL: the built-in rules */
    const char *name, *cluster, *labels;
    bool voters_apart; /* for tests: voters are linked like all others, as the topology says */
    uint32_t expect;
    uint32_t lease_ms, timeout_ms, value_size_max;
    const struct myco_seal_key *keys; /* of gossip, the first one seals; copied */
    unsigned key_count;               /* 0: not sealed; at most MYCO_KEYS_MAX */
    uint64_t features_masked;         /* bits: this node behaves as a build without them */
    uint32_t events_max;              /* kept in the chronicle; 0: 4,096 */
};

struct myco_core_events {
    void (*on_ready)(void *data); /* member of a cluster, and can serve */
    void (*on_failed)(int status, const char *message, void *data); /* takes no part any more */
    /* For checkers: every acknowledgement, grant and epoch as it happens; NULL: off. */
    void (*on_trace)(const char *what, uint64_t a, uint64_t b, uint64_t c, void *data);
    void *data;
};

/* As it is; id 0: none yet. ECORRUPT. Blocking. */
int myco_identity_read(
    struct myco_disk *disk, struct myco_identity *identity, struct myco_err *err);
/* Loads or makes the identity, with a new generation. EWRONGCLUSTER, ECORRUPT. Blocking. */
int myco_identity_load(struct myco_disk *disk, struct myco_env *env, const char *cluster,
    struct myco_identity *identity, struct myco_err *err);

/* Recovers what lies on disk (blocking). *core is given. */
int myco_core_open(const struct myco_core_options *options, const struct myco_identity *identity,
    const struct myco_core_events *events, struct myco_core **core, struct myco_err *err);
/* Joins the world. `addr` is what peers dial. */
void myco_core_start(
    struct myco_core *core, struct myco_transport *transport, const struct myco_addr *addr);
void myco_core_join(struct myco_core *core, const struct myco_addr *addr);
/* These in place of all before; MYCO_JOINS_MAX at most. */
void myco_core_joins(struct myco_core *core, const struct myco_addr *addrs, unsigned count);
struct myco_transport_events myco_core_transport_events(struct myco_core *core);
uint64_t myco_core_features(const struct myco_core *core); /* what this node announces */
/* Hands over, says goodbye, flushes; then calls back (at the latest after deadline_ms). */
void myco_core_leave(
    struct myco_core *core, unsigned deadline_ms, void (*left)(void *data), void *data);
/* Frees at once; what is pending ends with ECLOSED. After leave, or when the process shall look
 * killed. */
void myco_core_free(struct myco_core *core);
bool myco_core_ready(const struct myco_core *core);

/* ── Mycel ── */

enum myco_request {
    MYCO_REQUEST_GET = 1,
    MYCO_REQUEST_PUT,
    MYCO_REQUEST_DEL,
    MYCO_REQUEST_COUNT,
    MYCO_REQUEST_SCAN,
    MYCO_REQUEST_CHANGE, /* feature operations: from here on */
    MYCO_REQUEST_MANY,
    MYCO_REQUEST_COUNT_PREFIX,
    MYCO_REQUEST_WATCH
};
#define MYCO_REQUEST_LAST MYCO_REQUEST_WATCH

/* Creates or finds; answered with the septum's id in result->version. */
void myco_core_septum(struct myco_core *core, const char *name, const char *spec,
    unsigned timeout_ms, myco_result_cb cb, void *data);
/* Changes options of one that is there; result->version: how often they were changed. */
void myco_core_septum_alter(struct myco_core *core, const char *name, const char *spec,
    unsigned timeout_ms, myco_result_cb cb, void *data);
/* Key and value are copied. */
void myco_core_get(struct myco_core *core, uint64_t septum, struct myco_slice key,
    unsigned timeout_ms, myco_result_cb cb, void *data);
/* fence NULL: none. */
void myco_core_get_with(struct myco_core *core, uint64_t septum, struct myco_slice key,
    unsigned timeout_ms, const struct myco_fence *fence, myco_result_cb cb, void *data);
void myco_core_put(struct myco_core *core, uint64_t septum, struct myco_slice key,
    struct myco_slice value, const struct myco_put_options *options, myco_result_cb cb, void *data);
void myco_core_del(struct myco_core *core, uint64_t septum, struct myco_slice key,
    const struct myco_put_options *options, myco_result_cb cb, void *data);
/* Copied, its fence too; ->key chooses the hypha. Checked by the caller (core_change_check). */
void myco_core_change(struct myco_core *core, uint64_t septum, const struct myco_change *change,
    unsigned timeout_ms, const struct myco_fence *fence, myco_result_cb cb, void *data);
/* `changes` as core_changes_write() has them, checked; copied. The callback may come before this
 * returns only without memory, with no results. */
void myco_core_many(struct myco_core *core, uint64_t septum, struct myco_slice changes,
    unsigned timeout_ms, const struct myco_fence *fence, myco_results_cb cb, void *data);
struct core_watch;
/* token: as core_watch_token() wrote it, empty: from now. NULL: EINVAL, with a message. The
 * callback does not run before this returned. */
struct core_watch *myco_core_watch(struct myco_core *core, uint64_t septum,
    struct myco_slice prefix, struct myco_slice token, myco_watch_cb cb, void *data,
    struct myco_err *err);
void myco_core_watch_resume(struct core_watch *watch);
void myco_core_watch_token(const struct core_watch *watch, struct myco_buf *out);
void myco_core_unwatch(struct core_watch *watch); /* no callback after it */
void myco_core_count(struct myco_core *core, uint64_t septum, struct myco_slice prefix,
    unsigned timeout_ms, myco_result_cb cb, void *data);
void myco_core_scan(struct myco_core *core, uint64_t septum, struct myco_slice prefix,
    struct myco_slice cursor, unsigned limit, bool keys_only, unsigned timeout_ms, myco_page_cb cb,
    void *data);

/* ── Cytoplasm ── */

struct myco_bus *myco_core_bus(struct myco_core *core);
/* fence (name NULL: none): EFENCED, EVERSION, EINVAL as myco_publish_with(). */
int myco_core_publish(struct myco_core *core, struct myco_slice subject, struct myco_slice data,
    struct myco_slice reply, const struct myco_fence *fence, struct myco_err *err);
void myco_core_request(struct myco_core *core, struct myco_slice subject, struct myco_slice data,
    unsigned timeout_ms, myco_result_cb cb, void *cb_data);

/* ── Nodosum ── */

struct myco_campaign;
struct myco_campaign *myco_core_campaign(
    struct myco_core *core, const char *name, myco_duty_cb cb, void *data);
/* options: NULL, or checked by myco_campaign_with(). */
struct myco_campaign *myco_core_campaign_with(struct myco_core *core, const char *name,
    const struct myco_campaign_options *options, myco_duty_cb cb, void *data);
void myco_core_resign(struct myco_campaign *campaign); /* no callback after it */
void myco_core_submit(struct myco_core *core, uint8_t kind, struct myco_buf *body,
    unsigned timeout_ms, myco_result_cb cb, void *data); /* value → version */

struct myco_core_observer;
struct myco_core_observer *myco_core_observe(
    struct myco_core *core, const char *pattern, myco_leadership_cb cb, void *data);
void myco_core_unobserve(struct myco_core_observer *observer); /* not from its callback */
void myco_core_transfer(struct myco_core *core, const char *name, const char *to,
    unsigned timeout_ms, myco_result_cb cb, void *data);

/* A lock, or coming to a barrier. The callback runs on a later turn: first when it is held (a
 * barrier: passed) or failed, then, of a lock that was held, when it is lost. The handle is given:
 * myco_core_unlock() in any case, after which no callback runs. wait_ms 0: the default. */
struct myco_core_lock;
struct myco_core_lock *myco_core_lock(struct myco_core *core, enum myco_lock_kind kind,
    const char *name, uint32_t permits, bool try, unsigned wait_ms, myco_lock_cb cb, void *data);
void myco_core_unlock(struct myco_core_lock *lock);
bool myco_core_lock_held(const struct myco_core_lock *lock);
/* Ends when all that was agreed on before the call is applied here. */
void myco_core_sync(struct myco_core *core, unsigned timeout_ms, myco_result_cb cb, void *data);
/* By name or id. ENOTFOUND; EBUSY: it runs, and `force` is not set. */
void myco_core_remove(struct myco_core *core, const char *member, bool force, unsigned timeout_ms,
    myco_result_cb cb, void *data);

/* See myco_accept_loss_async(): `hyphae` NULL: all whose last in-sync members are gone. The
 * result's value is the report, lent for the callback. */
void myco_core_accept_loss(struct myco_core *core, const char *septum, const uint32_t *hyphae,
    size_t count, unsigned flags, const char *reason, unsigned timeout_ms, myco_result_cb cb,
    void *data);

/* ── Looking in ── */

/* Where pulse reaches this node; told to all. "": nowhere. */
void myco_core_set_admin(struct myco_core *core, const char *admin);
/* See myco_follow(). NULL: too many. */
struct chronicle_follower *myco_core_follow(
    struct myco_core *core, uint64_t from, myco_event_cb cb, void *data);

/* ENOTFOUND. */
int myco_core_inspect(struct myco_core *core, const char *topic, struct myco_buf *out);

#endif
