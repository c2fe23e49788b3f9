/* How the core asks a policy: a document in, a document out, both MessagePack. The Lua sandbox
 * (bridge/policies.h) answers; without one, the built-in defaults do. Asked on change only, never
 * on the way of a get, put or publish. */
#ifndef MYCO_CONSENSUS_POLICY_H
#define MYCO_CONSENSUS_POLICY_H

#include "base/buf.h"

/* X(symbol, "kind", "function") — the function that is asked, with (world, options). */
#define MYCO_POLICY_KINDS(X)                                                                       \
    X(DISCOVERY, "discovery", "discover")                                                          \
    X(TOPOLOGY, "topology", "links")                                                               \
    X(VOTERS, "voters", "choose")                                                                  \
    X(ELECTION, "election", "elect")                                                               \
    X(PLACEMENT, "placement", "place")                                                             \
    X(BALANCE, "balance", "moves")                                                                 \
    X(PERSISTENCE, "persistence", "plan")                                                          \
    X(TOPICS, "topics", "topic")                                                                   \
    X(QUEUE, "queue", "weights")                                                                   \
    X(SLOW_SUBSCRIBER, "slow_subscriber", "react")                                                 \
    X(EVICTION, "eviction", "evict")                                                               \
    X(AUTHZ, "authz", "allow")

enum myco_policy_kind {
#define X(symbol, kind, function) MYCO_POLICY_##symbol,
    MYCO_POLICY_KINDS(X)
#undef X
        MYCO_POLICY_KIND_COUNT
};
const char *myco_policy_kind_name(int kind);
int myco_policy_kind_from_name(struct myco_slice name); /* -1 */
const char *myco_policy_function(int kind);

struct myco_policy_port {
    /* Makes `source` the current policy of its kind on this node (it was checked before it was
     * logged). */
    int (*set)(
        int kind, const char *name, struct myco_slice source, struct myco_err *err, void *data);
    /* Compiles, checks the contract and runs the examples, changes nothing. EPOLICY with the
     * reason. */
    int (*check)(
        int kind, const char *name, struct myco_slice source, struct myco_err *err, void *data);
    /* world: a MessagePack map. The answer is appended to `answer`. EPOLICY: it raised, overran or
     * there is none. */
    int (*ask)(int kind, struct myco_slice world, struct myco_buf *answer, struct myco_err *err,
        void *data);
    void *data;
};

/* The worlds and answers of those that the core asks today. Members and candidates of placement,
 * election and voters also say `slow`: their loop is late (host/core_lag.c). It changes often:
 * placement is not asked again for it.
 *
 *   placement    {septum = "carts", hyphae = 64, copies = 2, members = {{id = "…" (16 hex
 *                digits), name, labels = {…}, weight = 1.0}, …} sorted by id, current = {{"id",
 *                …}, …}} → {{"id" of the primary, "id" of a backup, …}, … one for each hypha}
 *   election     {name = "mycel", candidates = {{id, name, labels, leads = n, priority = 0,
 *                slow}, …} sorted by id, holder = "id" or nil, leaderships = {nodosum = "id",
 *                …}} → "id" (the present holder: stay)
 *                labels: those of the node, above them those of the campaign. leads counts all
 *                that it leads. slow: its loop is late; it is shown only if there is no other.
 *                leaderships is empty once there are more than 256 elections: thousands of
 *                them may be asked for in a second, and a world must not grow with them.
 *   voters       {members = {{id, name, labels}, …} sorted by id, current = {{id, role}, …},
 *                voters_max = 5, standbys_max = 27} → {voters = {"id", …}, standbys = {"id", …}}
 *   topology     {members = {{id, name, labels}, …} sorted by id} → {hubs = {1, 1, 3, …},
 *                standbys = {2, 2, 0, …}}: for each member, by its place in the list, the number
 *                of its hub (its own: it is one) and of the hub that stands by (0: none); or
 *                {mesh = true}. Each node asks for itself: nothing but the members goes in.
 *   persistence  {septum = "carts", kind = "durable", level = "disk", hyphae = 64}
 *                → {every_ms = 5000, snapshot_segments = 16, retain_ms = 600000}; also
 *                bytes, writes (so many new ones on a node: it uploads at once) and cron =
 *                "0 3 * * 1-5 Europe/Berlin" (base/cron.h). every_ms may be left out when
 *                another is there.
 */

#endif
