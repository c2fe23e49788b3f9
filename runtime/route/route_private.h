/* What the files of route/ share: the state of one overlay, and who does what.
 *
 *   route.c     the public face: birth, the transport's calls, what comes from below
 *   links.c     the topology: which connections are kept, and the next hop to a node
 *   session.c   sessions with those who are reached over hubs: opening, breaking, their clock
 *   flow.c      what goes through a session: sending, receiving, acknowledging
 *   forward.c   messages of others, passed on
 *   relay.c     bytes */
#ifndef MYCO_ROUTE_PRIVATE_H
#define MYCO_ROUTE_PRIVATE_H

#include "base/list.h"
#include "base/map.h"
#include "route/relay.h"
#include "route/route.h"

#define MYCO__TICK_MS 50

enum myco__session_state { MYCO__SESSION_CLOSED, MYCO__SESSION_OPENING, MYCO__SESSION_OPEN };

struct myco__session {
    enum myco__session_state state;
    uint64_t mine, theirs;              /* numbers; theirs 0: not known */
    uint32_t tag_out, tag_in;           /* OPEN */
    uint32_t sent[MYCO_LANE_COUNT];     /* messages; the next one's sequence */
    uint32_t received[MYCO_LANE_COUNT]; /* likewise */
    uint64_t given[MYCO_LANE_COUNT];    /* units sent, */
    uint64_t acked[MYCO_LANE_COUNT];    /* of which the peer has these */
    uint64_t taken[MYCO_LANE_COUNT];    /* units received, */
    uint64_t owed;                      /* of which these are not acknowledged yet */
    bool refused[MYCO_LANE_COUNT];      /* a send got EFULL: on_drain is owed */
    uint64_t via;                       /* the neighbour that the last message went to or came by */
    uint64_t open_at_ms, progress_ms, answered_ms, ack_at_ms;
    unsigned backoff_ms;
    struct myco_list opening, unacked, owing; /* in the lists of the route, or alone */
};

/* Whom the core wants to talk to. */
struct myco__peer {
    uint64_t id;
    struct myco_addr addr;
    bool linked, invited, up; /* below: a link is kept; because the peer dialled; it stands */
    bool gone;                /* the core unlinked it: freed on the next turn */
    uint64_t features;        /* of the link that stands */
    uint64_t floor;           /* the highest number of the peer's that was seen */
    uint64_t drop_at_ms;
    struct myco_list dropping; /* in route->dropping, or alone */
    struct myco_list grave;
    struct myco__session session;
};

struct myco_route {
    struct myco_transport transport; /* first: the handle is this */
    struct myco_route_options options;
    struct myco_env *env;
    struct myco_transport_events events;
    struct myco_transport *below;
    struct myco_map peers; /* id → struct myco__peer */
    struct myco_list graves;
    uint64_t numbers; /* of sessions, given so far */
    uint32_t link_count, session_count;

    bool mesh;
    struct myco_map places; /* id → struct myco_route_place, in `place_store` */
    struct myco_route_place *place_store;
    struct myco_map direct; /* id → itself, in `direct_store` */
    uint64_t *direct_store;

    struct myco_list opening, unacked, owing, dropping;
    struct myco_timer tick;
    struct myco_deferred look;
    bool looking;

    struct myco_route_stats stats;
    struct myco__peer *hops[MYCO__RELAY_DESTS_MAX]; /* scratch of one message that is passed on */
};

/* route.c */
struct myco__peer *myco__route_peer(const struct myco_route *route, uint64_t id);
void myco__tell_down(struct myco_route *route, struct myco__peer *peer, bool was_up,
    enum myco_down_reason reason); /* peer->gone may be true after it */
void myco__count_links(struct myco_route *route, int change);
void myco__look_soon(struct myco_route *route); /* considers all peers, on the next turn */
void myco__tick_soon(struct myco_route *route);

/* links.c */
const struct myco_route_place *myco__place(const struct myco_route *route, uint64_t id);
/* Keeps, makes or drops the connection, opens a session when there is none. */
void myco__consider(struct myco_route *route, struct myco__peer *peer);
/* The neighbour to hand a message for `to` to, which is not `but`; NULL: there is no path. */
struct myco__peer *myco__next_hop(const struct myco_route *route, uint64_t to, uint64_t but);
/* May others be reached over it? */
bool myco__is_way(const struct myco_route *route, uint64_t id);
bool myco__relays(const struct myco_route *route, const struct myco__peer *peer);
void myco__drop_due(struct myco_route *route, uint64_t now_ms);

/* session.c */
void myco__session_init(struct myco__session *session);
void myco__session_start(struct myco_route *route, struct myco__peer *peer, uint64_t delay_ms);
void myco__session_close(struct myco_route *route, struct myco__peer *peer); /* tells nobody */
/* Is over, and the core is told if it was open. */
void myco__session_down(
    struct myco_route *route, struct myco__peer *peer, enum myco_down_reason reason);
/* And opens anew after `delay_ms`. */
void myco__session_reset(struct myco_route *route, struct myco__peer *peer,
    enum myco_down_reason reason, uint64_t delay_ms);
void myco__session_say_open(struct myco_route *route, struct myco__peer *peer);
void myco__session_on_open(
    struct myco_route *route, uint64_t from, uint64_t prev, struct myco_slice payload);
void myco__session_on_break(struct myco_route *route, struct myco_slice payload);
void myco__session_tick(struct myco_route *route, uint64_t now_ms);
/* Neighbours may be gone: what was handed to them may be lost, and some may not be reached any
 * more. */
void myco__session_hops_changed(struct myco_route *route);

/* flow.c */
int myco__flow_send(struct myco_route *route, struct myco__peer *peer, enum myco_lane lane,
    uint8_t type, struct myco_buf *payload);
void myco__flow_send_many(struct myco_route *route, const uint64_t *peers, size_t count,
    enum myco_lane lane, uint8_t type, const struct myco_buf *payload, int *results);
void myco__flow_on_data(struct myco_route *route, const struct myco__relay *relay,
    const struct myco__relay_dest *dest, uint64_t prev);
void myco__flow_on_ack(
    struct myco_route *route, const struct myco__relay *relay, const struct myco__relay_dest *dest);
void myco__flow_drained(struct myco_route *route, uint64_t hop, enum myco_lane lane);
void myco__flow_tick(struct myco_route *route, uint64_t now_ms);
/* An overlay's own message, in the control lane; takes. false: it could not go. */
bool myco__flow_say(struct myco_route *route, struct myco__peer *hop, uint64_t to, uint8_t kind,
    uint32_t tag, struct myco_buf *payload);
struct myco__peer *myco__flow_hop(const struct myco_route *route, const struct myco__peer *peer);

/* forward.c */
void myco__relay_receive(struct myco_route *route, uint64_t prev, struct myco_slice bytes);

#endif
