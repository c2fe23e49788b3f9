/* Mycorrizal: clustering, cache, events and elections inside one C library.
 *
 * One opaque handle for a node. Calls may come from any thread unless they say otherwise; callbacks
 * run on the node's loop thread, exactly once, and never before the call that took them returns.
 * Results are 0 or a negative MYCO_E… code; where there is a `struct myco_err *` (it may be NULL)
 * it gets the code and a sentence for people.
 *
 * Ownership has four words: *borrows* (for the call), *takes* (ours from now on), *gives* (the
 * caller releases), *lends* (valid until X). Calls borrow their arguments unless they say
 * otherwise.
 */
#ifndef MYCORRIZAL_H
#define MYCORRIZAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MYCO_API __attribute__((visibility("default")))

#define MYCO_VERSION_MAJOR 0
#define MYCO_VERSION_MINOR 1
#define MYCO_VERSION_PATCH 0
MYCO_API const char *myco_version(void); /* "0.1.0"; static */

/* ── Errors ─────────────────────────────────────────────────────────────────────────────────── */

/* X(name, number, text) */
#define MYCO_ERRORS(X)                                                                             \
    X(EINVAL, 1, "invalid argument")                                                               \
    X(ENOMEM, 2, "out of memory")                                                                  \
    X(ETIMEDOUT, 3, "timed out")                                                                   \
    X(ENOTFOUND, 4, "not found")                                                                   \
    X(EEXISTS, 5, "exists already")                                                                \
    X(ECONFLICT, 6, "version does not match")                                                      \
    X(ETOOBIG, 7, "too large")                                                                     \
    X(EFULL, 8, "queue is full, try again")                                                        \
    X(EUNAVAILABLE, 9, "not available now")                                                        \
    X(EUNKNOWN, 10, "outcome unknown: it may have happened")                                       \
    X(ENOTLEADER, 11, "not the leader")                                                            \
    X(EFENCED, 12, "fenced: a newer epoch exists")                                                 \
    X(ECLOSED, 13, "closed")                                                                       \
    X(ECANCELED, 14, "cancelled")                                                                  \
    X(EIO, 15, "input or output failed")                                                           \
    X(ENOSPC, 16, "no space left")                                                                 \
    X(ECORRUPT, 17, "data is corrupt")                                                             \
    X(EPROTO, 18, "protocol violation")                                                            \
    X(EVERSION, 19, "version is not supported")                                                    \
    X(EADDRINUSE, 20, "address in use")                                                            \
    X(EDENIED, 21, "denied")                                                                       \
    X(EPOLICY, 22, "policy refused")                                                               \
    X(ELUA, 23, "Lua error")                                                                       \
    X(ENORESPONDERS, 24, "nobody answers this subject")                                            \
    X(EWRONGCLUSTER, 25, "belongs to another cluster")                                             \
    X(EBUSY, 26, "busy")                                                                           \
    X(ENOTSUP, 27, "not supported")                                                                \
    X(ENOTCONN, 28, "not connected")                                                               \
    X(ERANGE, 29, "out of range")                                                                  \
    X(ECOMPACTED, 30, "compacted: what was asked for is not kept any more")

enum myco_error {
    MYCO_OK = 0,
#define X(name, number, text) MYCO_##name = -(number),
    MYCO_ERRORS(X)
#undef X
};

MYCO_API const char *myco_strerror(int code); /* "version does not match"; static */
MYCO_API const char *myco_errname(int code);  /* "ECONFLICT"; static */

struct myco_err {
    int code;
    char message[252];
};

/* Prints "mycorrizal: message (CODE)" on stderr and returns 1, for `return myco_complain(&err);` in
 * main. */
MYCO_API int myco_complain(const struct myco_err *err);

/* ── Bytes ──────────────────────────────────────────────────────────────────────────────────── */

struct myco_slice {
    const void *data;
    size_t size;
};

static inline struct myco_slice myco_bytes(const void *data, size_t size)
{
    struct myco_slice slice = {data, size};
    return slice;
}
static inline struct myco_slice myco_str(const char *text)
{
    return myco_bytes(text, text ? strlen(text) : 0);
}

/* A value that was given to the caller; release it once. */
struct myco_value {
    const void *data;
    size_t size;
    uint64_t version;       /* rises with every change of any key of the same hypha */
    uint64_t expires_in_ms; /* 0: never */
    void *owner;            /* private */
};
MYCO_API void myco_value_release(struct myco_value *value);

/* What an asynchronous call ends with. `value` is lent until the callback returns. status: 0,
 * ENOTFOUND (get, del), ECONFLICT, EFENCED (version: the newer epoch), ETIMEDOUT and EUNAVAILABLE
 * (did not happen), EUNKNOWN (may have). */
struct myco_result {
    int status;
    const char *message; /* a sentence, "" when status is 0 */
    struct myco_slice value;
    uint64_t version;
    uint64_t expires_in_ms;
    uint64_t count; /* count; see the changes for what it is there */
};
typedef void (*myco_result_cb)(const struct myco_result *result, void *data);

/* ── A node ─────────────────────────────────────────────────────────────────────────────────── */

struct myco;

/* `fields` is "" or space-separated key=value pairs. level: 0 trace … 4 error. Any thread. */
typedef void (*myco_log_cb)(
    int level, const char *subsystem, const char *message, const char *fields, void *data);

struct myco_options {
    size_t size;           /* sizeof(struct myco_options), set by the initialiser */
    const char *name;      /* of this node, unique; default: the host's name */
    const char *cluster;   /* default "default"; nodes of other clusters are refused */
    const char *listen;    /* peers, TCP and UDP; default "127.0.0.1:0" picks a free port */
    const char *advertise; /* what peers dial, when it differs from listen */
    const char *admin;     /* TCP address for pulse; NULL: only the socket in the data folder */
    const char *join;      /* where others are looked for, comma-separated: HOST:PORT, dns:NAME,
                              srv:NAME,      multicast:GROUP:PORT, consul:URL, store:, policy:FILE.lua;
                              may      find the node      itself */
    const char *data;      /* folder of this node's state; default "NAME.myco" */
    const char *store;     /* object store: "file:DIR", "s3://…"; NULL: none */
    const char *labels;    /* "zone=a,rack=7" */
    const char *tls;       /* folder with ca.pem, node.pem, node.key; NULL: no TLS between peers */
    const char *lua_path;  /* folder of the Lua layer; default: where it is installed */
    unsigned expect;       /* fresh nodes that must meet to form a cluster; 0: 1, never with join */
    unsigned timeout_ms;   /* default deadline of every call; 0: 5,000 */
    unsigned lease_ms; /* of all that a node leads; only counts at the cluster's birth; 0: 300 */
    unsigned value_size_max; /* 0: 8 MiB */
    int log_level;           /* 0 trace … 4 error, 5 off */
    myco_log_cb log;         /* NULL: silent */
    void *log_data;
    const char *config;  /* Lua source of declarations (septa, policies, modules); NULL: none */
    unsigned no_lua;     /* 1: neither Lua nor pulse; policies are the built-in defaults, in C */
    unsigned events_max; /* events kept for myco_follow(); 0: 4,096 */
    const char *key;     /* file of keys that seal gossip, the first one seals; NULL: not sealed */
    const char *store_key; /* file of keys that seal the store's objects, or "env:NAME" */
};
#define MYCO_OPTIONS_INIT                                                                          \
    {                                                                                              \
        sizeof(struct myco_options), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,   \
            NULL, 0, 0, 0, 0, 2, NULL, NULL, NULL, 0, 0, NULL, NULL                                \
    }

/* Starts a node on a loop thread of its own, and returns once its addresses are bound and its data
 * folder is loaded (see myco_wait_ready). *node is given: close it. Every string is copied. */
MYCO_API int myco_open(
    struct myco **node, const struct myco_options *options, struct myco_err *err);

/* Waits until the cluster exists, this node is a member of it and can serve; timeout_ms 0: for
 * ever. */
MYCO_API int myco_wait_ready(struct myco *node, unsigned timeout_ms, struct myco_err *err);
/* Whether that is so now. */
MYCO_API bool myco_ready(const struct myco *node);

/* Leaves: hands over what this node leads or holds, flushes what was acknowledged, frees
 * everything, handles of septa, subscriptions and elections too. Waits at most 10 s for the
 * hand-over. What is pending ends first, each with its callback. Not from a callback, and once: no
 * other call may begin after it. NULL is ignored. */
MYCO_API void myco_close(struct myco *node);

/* As bound: "127.0.0.1:41234"; lent until close. socket is the path of pulse's Unix socket (""
 * without Lua). */
MYCO_API const char *myco_name(const struct myco *node);
MYCO_API uint64_t myco_id(const struct myco *node);
MYCO_API const char *myco_listen(const struct myco *node);
MYCO_API const char *myco_admin(const struct myco *node);
MYCO_API const char *myco_socket(const struct myco *node);

/* A document about the node or the cluster, as MessagePack (an array of maps, or a map):
 *
 * - members: [{name, id, addr, state = alive|suspect|dead|left, generation, labels, role =
 *   voter|standby|…, self, since_ms, admin, version, features = {names}}]
 * - leaders: [{subsystem, leader, epoch, held_here, candidates, standing = {names}, since_ms,
 * reason}], elections and who holds them; since_ms is when this node heard, 0 from before it joined
 * - locks: [{kind = lock|barrier, name, permits, holders = [{node, epoch, fence}], waiters =
 * [node]}]
 * - septa: [{name, id, kind, hyphae, replicas, ttl_ms, level}]
 * - hyphae: [{septum, hypha, primary, epoch, in_sync = {names}, joining = {names}, keys, offset,
 *   persisted, serving}], the last four as this node knows them (absent when it holds no copy);
 *   persisted is the offset up to which the object store has it
 * - policies: [{kind, name, version, author, time_ms, source}], all applied versions, newest last
 * - status: {name, cluster, id, generation, ready, leader, term, commit_index, uptime_ms, version,
 *   …}
 * - topology: {name, mesh, role = hub|leaf, hub, standby, connections, over_hubs, relayed_messages,
 *   relayed_bytes, resets, dropped = {reason = n}, peers = [{name, id, role, hub, standby, path =
 *   direct|hubs|none, via, wanted, invited}]}: who is linked with this node, and who is reached
 * over which neighbour; invited: only the peer wants the connection
 * - features: [{feature, bit, doc, active, lacking = {names}}]: what this version has beyond the
 * one before; active once every member has it, lacking says who has not
 * - metrics: [{name, kind, help, value}]
 * - holdings: [{id, name, leads, primaries, copies}], how much each member holds
 * - voters: {leader, term, commit_index, applied_index, last_index, servers: [{name, id, role,
 * match, lag, contact_ms, self}]}; match, lag and contact_ms are known to the leader, and absent
 * elsewhere
 * - events: [{sequence, time_ms, kind, subject, text, fields}], oldest first
 * - discovery: {name_hash, cluster_id, alive, candidates = {addresses that are asked}, foreign =
 * [{cluster_id, name, addr, id}], clusters of the same name that were met, by the first node of
 * each}
 *
 * *value is given. Any thread, the loop's too; waits for the loop at most. ENOTFOUND: no such
 * topic. */
MYCO_API int myco_inspect(
    struct myco *node, const char *topic, struct myco_value *value, struct myco_err *err);
MYCO_API int myco_inspect_async(
    struct myco *node, const char *topic, myco_result_cb cb, void *data);

/* Where else to look for members: "ADDRESS:PORT,…", numeric, 64 with those of options.join at most
 * (what is beyond them is left out). They take the place of those of the call before. A node with
 * sources in options.join (such as dns:NAME) calls this itself, each time that it looked; a host
 * without any may find its peers by means of its own. Any thread; does not wait. EINVAL, ECLOSED.
 */
MYCO_API int myco_join(struct myco *node, const char *addresses, struct myco_err *err);

/* ── Mycel: septa ───────────────────────────────────────────────────────────────────────────── */

struct myco_septum; /* a handle; lives until the node closes */

#define MYCO_KEY_SIZE_MAX   (64 * 1024)
#define MYCO_VALUE_SIZE_MAX (8 * 1024 * 1024)

/* Opens a septum, creating it when `spec` is given and it is absent. spec: "kind=durable ttl=30d
 * replicas=1 hyphae=64 idle=10m size=1GiB"; all options, with defaults, are shown by
 * `pulse septum NAME`. NULL: it must exist (ENOTFOUND). EEXISTS: it exists with another kind or
 * number of hyphae. Opening it twice gives the same handle. */
MYCO_API int myco_septum(struct myco *node, const char *name, const char *spec,
    struct myco_septum **septum, struct myco_err *err);

/* Asynchronous; septum is NULL when it failed. */
typedef void (*myco_septum_cb)(
    struct myco_septum *septum, int status, const char *message, void *data);
MYCO_API int myco_septum_async(struct myco *node, const char *name, const char *spec,
    unsigned timeout_ms, myco_septum_cb cb, void *data);

/* A fence: the epoch that the caller holds under `name`, of a leadership (myco_duty), of a lock
 * (myco_lock_state), or a token of its own making, which must rise with every new holder. Each
 * hypha keeps the highest epoch that it was shown of each name, by a write or by a read, as durably
 * as its data, and refuses lower ones with EFENCED; the name of an election or a lock is also
 * judged by what the cluster has agreed on. So a holder that was replaced, and does not know it
 * yet, can do no harm. A hypha keeps 1,024 names (ETOOBIG). A septum of kind cache may forget with
 * its primary: it takes no fences (ENOTSUP). Messages take them, too: see
 * myco_publish_with(). The object store needs none shown: the chain of manifests has one writer,
 * whose epoch as leader of `mycel` is in the name of every object that it writes; a newer one seals
 * the chain, and an older one that wakes up finds the seal where its next manifest should go
 * (EFENCED). While a member is of a version before fences: EVERSION. */
#define MYCO_FENCE_NAME_SIZE_MAX 79
struct myco_fence {
    const char *name; /* NULL: none */
    uint64_t epoch;   /* not 0 */
};

struct myco_put_options {
    uint64_t if_version; /* 0: no condition */
    uint64_t ttl_ms;     /* 0: the septum's default */
    bool if_absent;
    unsigned timeout_ms;     /* 0: the node's default */
    struct myco_fence fence; /* name NULL: none; copied */
};

struct myco_get_options {
    unsigned timeout_ms;     /* 0: the node's default */
    struct myco_fence fence; /* once this read was answered, older epochs are refused */
};

/* Changes options of a septum: spec as for myco_septum(), only what shall differ. What is not named
 * stays. A compare-and-set: no change of another is lost. EINVAL: an unknown option, one that can't
 * change (the message says why; `pulse septum NAME` shows which can), or a contradiction;
 * ENOTFOUND; EVERSION: a member is of a version before these options. `version` of the result: how
 * often they were changed. Limits hold from the moment that a node has applied the change. */
MYCO_API int myco_septum_alter(
    struct myco *node, const char *name, const char *spec, struct myco_err *err);
MYCO_API int myco_septum_alter_async(struct myco *node, const char *name, const char *spec,
    unsigned timeout_ms, myco_result_cb cb, void *data);

/* Acknowledged means: as the septum's level says (durable: on every in-sync replica and its disk;
 * object: and named by the manifest of the object store: EUNKNOWN when the store is away, with the
 * reason, and EUNAVAILABLE as soon as that is known). Errors returned at once: EINVAL, ETOOBIG,
 * ECLOSED; then the callback does not run. */
MYCO_API int myco_put_async(struct myco_septum *septum, struct myco_slice key,
    struct myco_slice value, const struct myco_put_options *options, myco_result_cb cb, void *data);
MYCO_API int myco_get_async(struct myco_septum *septum, struct myco_slice key, unsigned timeout_ms,
    myco_result_cb cb, void *data);
/* options NULL: as myco_get_async. */
MYCO_API int myco_get_with_async(struct myco_septum *septum, struct myco_slice key,
    const struct myco_get_options *options, myco_result_cb cb, void *data);
MYCO_API int myco_del_async(struct myco_septum *septum, struct myco_slice key,
    const struct myco_put_options *options, myco_result_cb cb, void *data);
MYCO_API int myco_count_async(
    struct myco_septum *septum, unsigned timeout_ms, myco_result_cb cb, void *data);

/* Waiting twins. Not from a callback: EBUSY. */
MYCO_API int myco_put(struct myco_septum *septum, struct myco_slice key, struct myco_slice value,
    const struct myco_put_options *options, uint64_t *version, struct myco_err *err);
MYCO_API int myco_get(struct myco_septum *septum, struct myco_slice key, struct myco_value *value,
    struct myco_err *err);
MYCO_API int myco_get_with(struct myco_septum *septum, struct myco_slice key,
    const struct myco_get_options *options, struct myco_value *value, struct myco_err *err);
MYCO_API int myco_del(struct myco_septum *septum, struct myco_slice key,
    const struct myco_put_options *options, struct myco_err *err);
MYCO_API int myco_count(struct myco_septum *septum, uint64_t *count, struct myco_err *err);

/* Counters, appends, lifetimes and exchanges; many keys at once; watches. */
#include <mycorrizal_changes.h>

/* One page of a scan by prefix. Order: by hypha, then by key. `cursor` is "" at first; the page's
 * cursor continues it (also after hyphae moved), and is "" at the end. */
struct myco_scan_item {
    struct myco_slice key, value;
    uint64_t version;
};
struct myco_page {
    int status;
    const char *message;
    const struct myco_scan_item *items; /* lent until the callback returns */
    size_t count;
    struct myco_slice cursor; /* empty: the end */
};
typedef void (*myco_page_cb)(const struct myco_page *page, void *data);
MYCO_API int myco_scan_async(struct myco_septum *septum, struct myco_slice prefix,
    struct myco_slice cursor, unsigned limit, bool keys_only, unsigned timeout_ms, myco_page_cb cb,
    void *data);

/* ── Cytoplasm: events ──────────────────────────────────────────────────────────────────────── */

struct myco_sub;

struct myco_msg {
    struct myco_slice subject, data;
    struct myco_slice reply; /* subject to answer to; empty: no answer wanted */
    uint64_t publisher;      /* node id */
    struct myco_fence fence; /* that the publisher showed; name NULL: none */
};
/* msg is lent until it returns. */
typedef void (*myco_msg_cb)(const struct myco_msg *msg, void *data);

struct myco_sub_options {
    const char *queue; /* members of one queue group share the messages; NULL: each gets all */
};

#define MYCO_SUBJECT_SIZE_MAX 255

/* Subjects are tokens separated by dots; in subscriptions `*` stands for one token and `>` for one
 * or more at the end. When the call returned, publishes of this node reach the subscription; those
 * of other nodes once they heard of it (see myco_flush). */
MYCO_API int myco_subscribe(struct myco *node, const char *subject,
    const struct myco_sub_options *options, myco_msg_cb cb, void *data, struct myco_sub **sub,
    struct myco_err *err);
/* No callback runs after `done` did (NULL: after this returned, when called on the loop thread).
 * Takes the sub. */
MYCO_API void myco_unsubscribe(struct myco_sub *sub, void (*done)(void *data), void *data);
/* At most once; EFULL when a subscriber's node can't take more now (nothing was sent to that
 * node). */
MYCO_API int myco_publish(struct myco *node, const char *subject, struct myco_slice data,
    const char *reply, struct myco_err *err);

struct myco_publish_options {
    size_t size;             /* sizeof(struct myco_publish_options) */
    const char *reply;       /* subject to answer to; NULL: no answer wanted */
    struct myco_fence fence; /* name NULL: none */
};
/* The same with options (NULL: none). With a fence: EFENCED when this node knows a newer epoch of
 * its name, agreed on by the cluster (an election, a lock) or seen with a message before; nothing
 * is sent then. A receiving node that knows a newer one drops the message
 * (mycorrizal_messages_fenced_total): so whoever heard a new leader hears nothing of the old one.
 * A node remembers the epochs of the 4,096 names that it saw last; of an older name that is neither
 * an election nor a lock it may let an older epoch pass. EVERSION: a member is of a version before
 * fences of messages. EINVAL: no name, one of more than 79 bytes, or epoch 0. */
MYCO_API int myco_publish_with(struct myco *node, const char *subject, struct myco_slice data,
    const struct myco_publish_options *options, struct myco_err *err);
/* The callback gets the first answer; ENORESPONDERS at once when nobody subscribes, else
 * ETIMEDOUT. */
MYCO_API int myco_request_async(struct myco *node, const char *subject, struct myco_slice request,
    unsigned timeout_ms, myco_result_cb cb, void *data);
/* Waits until all connected nodes know this node's subscriptions; ETIMEDOUT. */
MYCO_API int myco_flush_async(
    struct myco *node, unsigned timeout_ms, myco_result_cb cb, void *data);
MYCO_API int myco_flush(struct myco *node, struct myco_err *err);

/* ── Nodosum: elections ─────────────────────────────────────────────────────────────────────── */

struct myco_election;

struct myco_duty {
    const char *name;
    bool held;      /* this node leads now */
    uint64_t epoch; /* the fencing token: rises with every change of the holder, never repeats */
    const char *leader; /* name of the node that leads; "" when none is known */
};
/* When gained, lost, or the leader changed. duty is lent until it returns. */
typedef void (*myco_duty_cb)(const struct myco_duty *duty, void *data);

/* Stands as a candidate for `name` until resigned or closed. The callback runs at least when it is
 * gained and when it is lost; lost is said no later than the lease ends. */
MYCO_API int myco_campaign(struct myco *node, const char *name, myco_duty_cb cb, void *data,
    struct myco_election **election, struct myco_err *err);

struct myco_campaign_options {
    size_t size;          /* sizeof(struct myco_campaign_options) */
    int priority;         /* higher is preferred, as the policy sees fit; default 0 */
    const char *labels;   /* "zone=a,warm": for the policy, above those of the node; 255 bytes */
    unsigned cooldown_ms; /* after it was lost: it stands again so much later; 0: it goes on */
};
/* The same with options (NULL: none; copied). The policy of kind `election` sees priority and
 * labels: the default, `spread`, fills what is free by priority and moves nothing; `preferred`
 * moves it to the highest priority. While a member is of a version before options, the candidate
 * stands without them; then with. EINVAL: labels or size. */
MYCO_API int myco_campaign_with(struct myco *node, const char *name,
    const struct myco_campaign_options *options, myco_duty_cb cb, void *data,
    struct myco_election **election, struct myco_err *err);
/* Gives it up and withdraws. Takes the handle; no callback runs after `done` did. */
MYCO_API void myco_resign(struct myco_election *election, void (*done)(void *data), void *data);

/* Hands the lead of the consensus group, which this node has, to the voter of that name (NULL: the
 * one with the longest log). Returns once it began; leader.changed of myco_follow() says that it is
 * done, after about one round trip. ENOTLEADER: the message names the leader; ENOTFOUND: no such
 * member, or no other voter; EINVAL: it is no voter; EBUSY: it is under way. */
MYCO_API int myco_lead_transfer(struct myco *node, const char *to, struct myco_err *err);

/* Changes the ring of keys that seal gossip, on all nodes: `install` a key (44 characters of
 * `mycorrizal keygen`), then `use` it, and `remove` the old one, both by their id (16 hex digits,
 * as topic `keys` of myco_inspect() shows). Returns once it began; the log brings it to all.
 * EINVAL, EEXISTS, ENOTFOUND, EFULL (8 keys), EBUSY (the one that seals is not removed),
 * EUNAVAILABLE (the cluster has no keys), EVERSION (a member is of a version that can't). */
MYCO_API int myco_keys_change(
    struct myco *node, const char *verb, const char *key, struct myco_err *err);

/* ── What happens to the cluster ────────────────────────────────────────────────────────────── */

/* One thing that this node saw. The last 4,096 are kept in memory (option events-max). */
struct myco_event {
    uint64_t sequence;   /* of this node: 1, 2, … since its start */
    uint64_t time_ms;    /* since 1970, by this node's clock */
    const char *kind;    /* "member.dead", "election.moved", "hyphae.moved", … (see pulse(1)) */
    const char *subject; /* of whom or what: a member, an election, a septum */
    const char *text;    /* a sentence for people */
    struct myco_slice fields; /* MessagePack: a map, from text to text or number */
};
/* Lent until it returns. */
typedef void (*myco_event_cb)(const struct myco_event *event, void *data);

struct myco_follower;
/* Calls back for each event from number `from` on, in order: 0 begins with the oldest that is kept,
 * UINT64_MAX with the next one. A jump in the numbers is what was dropped while the follower was
 * behind. EFULL: 256 follow already. Works without a cluster. */
MYCO_API int myco_follow(struct myco *node, uint64_t from, myco_event_cb cb, void *data,
    struct myco_follower **follower, struct myco_err *err);
/* Takes the follower; no callback runs after `done` did. */
MYCO_API void myco_unfollow(struct myco_follower *follower, void (*done)(void *data), void *data);

/* What became of a leadership. leader "": nobody has it. reason: "elected", "hands over" (to who is
 * wanted next), "given up" (resigned, or its holder is gone), "vacant". */
struct myco_leadership {
    const char *name, *leader;
    uint64_t epoch;
    const char *reason;
};
typedef void (*myco_leadership_cb)(const struct myco_leadership *leadership, void *data);

/* Tells who leads: first what is, then every change, in the order in which the cluster agreed on
 * them. `name` is that of an election, or the beginning of some with a * behind it. The observer is
 * given; leadership is lent until the callback returns. */
struct myco_observer;
MYCO_API int myco_observe(struct myco *node, const char *name, myco_leadership_cb cb, void *data,
    struct myco_observer **observer, struct myco_err *err);
/* Takes it; no callback runs after `done` did. Not from its own callback. */
MYCO_API void myco_unobserve(struct myco_observer *observer, void (*done)(void *data), void *data);

/* Hands a leadership over to a candidate, by the name of its node: ends once that is agreed on; the
 * holder gives up at once, and the other has it some milliseconds later. ENOTFOUND: nobody leads
 * it, or `to` does not stand for it. A policy may move it again when something changes. */
MYCO_API int myco_transfer_async(struct myco *node, const char *name, const char *to,
    unsigned timeout_ms, myco_result_cb cb, void *data);

/* ── Nodosum: locks and barriers ────────────────────────────────────────────────────────────── */

struct myco_lock;

struct myco_lock_options {
    unsigned permits; /* how many hold it at once; 0: 1, a mutex; at most 1,024 */
    bool try;         /* EBUSY unless one is free now */
    unsigned wait_ms; /* for a free one; 0: the node's default deadline */
};

struct myco_lock_state {
    const char *name;
    bool held;
    uint64_t epoch;          /* the fencing token: rises with every holding, never repeats */
    struct myco_fence fence; /* to be shown to septa: "lock/NAME", of further permits
                                "lock/NAME/SLOT"; refused once this holding is over */
    int status; /* 0: held. EBUSY, ETIMEDOUT, ECONFLICT (in use with another number of permits),
                   EINVAL, EFULL, EVERSION: it was not got. ECLOSED: it was held, and is lost */
    const char *message;
};
/* Once when it is held or was not got, and once when one that was held is lost: the node's lease
 * ran out, or it leaves. state is lent until it returns. */
typedef void (*myco_lock_cb)(const struct myco_lock_state *state, void *data);

/* Asks for a lock. Who waits gets it in the order of asking. It is not re-entrant: who holds it and
 * asks again waits for himself. It rests on the lease of the node, as leaderships do: what a node
 * that died held is free once its lease is over for certain. A fence makes it safe against a holder
 * that was stopped for longer than that; without one, a lock only keeps honest clocks apart. The
 * handle is given, to be returned by myco_unlock() in any case. 65,536 names, and 4,096 that hold
 * one or wait for it. */
MYCO_API int myco_lock_async(struct myco *node, const char *name,
    const struct myco_lock_options *options, myco_lock_cb cb, void *data, struct myco_lock **lock,
    struct myco_err *err);
/* Waits until it is held: then *lock is given, else nothing. The callback (may be NULL) runs when
 * it is lost. Not from a callback: EBUSY. */
MYCO_API int myco_lock(struct myco *node, const char *name, const struct myco_lock_options *options,
    myco_lock_cb cb, void *data, struct myco_lock **lock, struct myco_err *err);
/* Whether it is held now, and the fence to show, its name lent until unlock. Any thread. */
MYCO_API bool myco_lock_held(struct myco_lock *lock, struct myco_fence *fence);
/* Gives it back, or waits no more. Takes the handle; no callback runs after `done` did. */
MYCO_API void myco_unlock(struct myco_lock *lock, void (*done)(void *data), void *data);

/* Waits until `parties` came to the barrier of that name; then all pass, and it is new. ETIMEDOUT,
 * ECONFLICT (others wait for another number), EUNKNOWN (a snapshot came meanwhile: perhaps it
 * passed). The result's version is an epoch, the same for all that passed together. */
MYCO_API int myco_barrier_async(struct myco *node, const char *name, unsigned parties,
    unsigned wait_ms, myco_result_cb cb, void *data);
MYCO_API int myco_barrier(
    struct myco *node, const char *name, unsigned parties, unsigned wait_ms, struct myco_err *err);

/* ── Policies ───────────────────────────────────────────────────────────────────────────────── */

/* Applies a policy of `kind` cluster-wide through consensus. It is compiled, and its examples are
 * run, first: EPOLICY with the reason. The result's version is the policy's. */
MYCO_API int myco_policy_apply_async(struct myco *node, const char *kind, const char *name,
    struct myco_slice source, const char *author, unsigned timeout_ms, myco_result_cb cb,
    void *data);
/* Back to the version before the current one. */
MYCO_API int myco_policy_rollback_async(struct myco *node, const char *kind, const char *author,
    unsigned timeout_ms, myco_result_cb cb, void *data);

/* What this node knows of the cluster (members, elections, septa, policies, locks) may be behind by
 * what it has not heard yet. After a sync it holds all that was agreed on before the call: what is
 * looked at then is linearizable. It is a barrier in the log: one round of the consensus group with
 * its disks, and no clock is trusted. ETIMEDOUT or EUNKNOWN (no quorum
 * confirmed it in timeout_ms; 0: the node's default), EFULL, ECLOSED, EBUSY (the waiting one, on
 * the loop's thread). Any thread. */
MYCO_API int myco_sync(struct myco *node, unsigned timeout_ms, struct myco_err *err);
MYCO_API int myco_sync_async(struct myco *node, unsigned timeout_ms, myco_result_cb cb, void *data);

/* Removes a member (borrowed: its name, or its id in 16 hexadecimal digits) for ever: its votes,
 * places and leaderships go to others, and it is refused when it comes back with its old data
 * folder. ENOTFOUND; EBUSY: it runs, and flags lack MYCO_REMOVE_FORCE: stop it first, so that it
 * hands over. While a member is of an older version only a dead one can be removed, on the
 * consensus leader (else ENOTLEADER, which names it), and only until it joins again. The last 1,024
 * removed ids are known. Any thread; calls back on the loop. */
#define MYCO_REMOVE_FORCE 1u
MYCO_API int myco_remove_async(struct myco *node, const char *member, unsigned flags,
    unsigned timeout_ms, myco_result_cb cb, void *data);

/* Accepts that data is lost: hyphae of `septum` (borrowed) whose last in-sync members never come
 * back are unavailable until this says to go on without them, each with the copy that goes furthest
 * among those that live, or empty. All copies are asked for first. `hyphae` (borrowed): which ones,
 * 512 at most; NULL: all of the septum that are lost (512 at a time). `reason` (borrowed, at most
 * 127 bytes; NULL: none) goes into the log, and into the events of all nodes.
 *
 * The result's value is MessagePack: for each hypha {septum, hypha, epoch, in_sync = {{node,
 * state}, …}, copies = {{node, epoch, offset, keys}, …} (those that live, the best first), goes_on
 * = name, empty, persisted (the offset up to which the object store has it), certain (all in-sync
 * members are known never to come back: removed, left, or replaced), accepted}; also with EBUSY: an
 * in-sync member is alive, or may come back and flags lack MYCO_LOSS_AWAY. What was written since
 * the copy that goes on is lost then. Epochs and versions go on above what was lost. ENOTFOUND;
 * ECONFLICT: somebody came back meanwhile; EUNAVAILABLE: no node to go on with; EVERSION: a member
 * is of an older version. Any thread; calls back on the loop. */
#define MYCO_LOSS_AWAY 1u /* also when they are only away: they may come back, with data */
#define MYCO_LOSS_LOOK 2u /* only looks */
MYCO_API int myco_accept_loss_async(struct myco *node, const char *septum, const uint32_t *hyphae,
    unsigned count, unsigned flags, const char *reason, unsigned timeout_ms, myco_result_cb cb,
    void *data);

/* ── The host's own functions, callable from Lua and pulse ──────────────────────────────────── */

/* Arguments and result are MessagePack: an array of arguments in, one value out (append to `result`
 * with myco_reply_set). Runs on the loop thread. Returns 0 or an error code. */
struct myco_reply;
typedef int (*myco_function_cb)(struct myco_slice arguments, struct myco_reply *reply, void *data);
MYCO_API int myco_expose(struct myco *node, const char *name, myco_function_cb cb, void *data);
MYCO_API int myco_reply_set(struct myco_reply *reply, struct myco_slice msgpack); /* copies */
/* Calls one. Loop thread only. *value is given. */
MYCO_API int myco_call(struct myco *node, const char *name, struct myco_slice arguments,
    struct myco_value *value, struct myco_err *err);

/* Names of all that are exposed, newest first. Loop thread only. */
MYCO_API void myco_functions(
    struct myco *node, void (*cb)(const char *name, void *data), void *data);

#ifdef __cplusplus
}
#endif
#endif
