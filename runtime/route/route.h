/* The transport of env/transport.h over hubs: a pair of nodes talks over its own connection where
 * the topology keeps one, and else over one to three others that pass its messages on. What is
 * above sees no difference: link() says "I want to talk to this peer", on_up that it can be
 * reached, on_down that what was sent last may be lost. A step machine between two transports: the
 * one below (net/ or the simulator's), and the one that myco_route_transport() gives. Loop thread
 * only.
 *
 *      core ── send to D ──→ route ──┬─ linked with D ──────────────→ D        as ever
 *                                    └─ session with D, RELAY ──→ hub ──→ hub of D ──→ D
 *
 * Until myco_route_set() was called, and after it was called with no places, the topology is the
 * full mesh: everybody is linked with everybody, and nothing is relayed. */
#ifndef MYCO_ROUTE_ROUTE_H
#define MYCO_ROUTE_ROUTE_H

#include "env/env.h"
#include "env/transport.h"

struct myco_route;

struct myco_route_options {
    struct myco_env *env;
    uint64_t self, generation;
    uint64_t features;      /* of this node, told to those who are reached over hubs */
    uint64_t relay_feature; /* the bit of them that says: understands RELAY */
};

/* *events is copied. Nothing is called back inside of a call of the transport's. */
struct myco_route *myco_route_new(
    const struct myco_route_options *options, const struct myco_transport_events *events);
void myco_route_free(struct myco_route *route);
/* For the transport below; before start they do nothing. */
struct myco_transport_events myco_route_events(struct myco_route *route);
void myco_route_start(struct myco_route *route, struct myco_transport *below); /* borrows `below` */
struct myco_transport *myco_route_transport(struct myco_route *route); /* lives until free */

/* ── The topology, compiled ─────────────────────────────────────────────────────────────────── */

/* A node's place: its hub (its own id: it is one), and the hub that stands by for it (0: none). */
struct myco_route_place {
    uint64_t id, hub, standby;
};

/* The topology from now on; copied. Links that it wants are dialled at once, those that it does not
 * want any more go a second later, once there is another way. `direct`: ids that are all linked
 * with each other besides (voters). Not for calls of the transport's own callbacks. */
struct myco_route_topology {
    const struct myco_route_place *places; /* NULL: a full mesh, unless `sparse` */
    size_t place_count;
    const uint64_t *direct;
    size_t direct_count;
    bool sparse; /* no places, yet no mesh: only `direct` is linked (who does not know the cluster's
                    topology yet) */
};
void myco_route_set(struct myco_route *route, const struct myco_route_topology *topology);
/* Would the topology link this node with `peer`? */
bool myco_route_wants(const struct myco_route *route, uint64_t peer);

/* ── Sending to many ────────────────────────────────────────────────────────────────────────── */

/* The same message to each of `peers`: it crosses each connection once, however many are reached
 * over it. Takes the payload. results[i]: as send() for peers[i]. */
void myco_route_send_many(struct myco_route *route, const uint64_t *peers, size_t count,
    enum myco_lane lane, uint8_t type, struct myco_buf *payload, int *results);

/* ── Looking in ─────────────────────────────────────────────────────────────────────────────── */

/* Why a message that was to be passed on was not. X(symbol, "text") */
#define MYCO_ROUTE_DROPS(X)                                                                        \
    X(NO_PATH, "no path")                                                                          \
    X(FULL, "lane full")                                                                           \
    X(LOOP, "too many hops")                                                                       \
    X(STALE, "session over")
enum myco_route_drop {
#define X(symbol, text) MYCO_ROUTE_DROP_##symbol,
    MYCO_ROUTE_DROPS(X)
#undef X
        MYCO_ROUTE_DROP_COUNT
};
const char *myco_route_drop_text(enum myco_route_drop why);

struct myco_route_stats {
    uint32_t peers, links, sessions; /* wanted by the core; direct and up; over hubs and open */
    uint64_t relayed_messages, relayed_bytes, resets, dropped[MYCO_ROUTE_DROP_COUNT];
    bool mesh;
    struct myco_route_place place; /* this node's; zero in a mesh */
};
void myco_route_stats(const struct myco_route *route, struct myco_route_stats *stats);

struct myco_route_view {
    uint64_t id, via;     /* via: the neighbour that passes messages on; 0: direct, or no path */
    bool up, direct;      /* can be reached; over a connection of its own */
    bool linked, invited; /* a connection is kept; because the peer wants it, not we */
    struct myco_route_place place; /* zero: has none */
};
/* Peers in the order in which they were linked. *cursor starts at 0; false ends. */
bool myco_route_next(
    const struct myco_route *route, uint32_t *cursor, struct myco_route_view *view);

#endif
