/* The overlay as both sides see it: the transport's calls from above, its events from below. */
#include "route/route_private.h"

#include "base/err.h"
#include "base/mem.h"
#include "wire/message.h"

static struct myco_route *route_of(struct myco_transport *transport)
{
    return MYCO_CONTAINER(transport, struct myco_route, transport);
}

struct myco__peer *myco__route_peer(const struct myco_route *route, uint64_t id)
{
    return myco_map_get(&route->peers, id);
}

void myco__tell_down(
    struct myco_route *route, struct myco__peer *peer, bool was_up, enum myco_down_reason reason)
{
    route->events.on_down(peer->id, was_up, reason, route->events.data);
}

/* ── Peers ──────────────────────────────────────────────────────────────────────────────────── */

void myco__count_links(struct myco_route *route, int change)
{
    route->link_count += (uint32_t)change;
    MYCO_METRIC_SET(route->env->metrics, PEERS_CONNECTED, route->link_count);
}

static struct myco__peer *peer_new(struct myco_route *route, uint64_t id)
{
    struct myco__peer *peer = myco_alloc(sizeof *peer);
    peer->id = id;
    myco_list_init(&peer->dropping);
    myco_list_init(&peer->grave);
    myco__session_init(&peer->session);
    myco_map_put(&route->peers, id, peer);
    return peer;
}

static void dig(struct myco_route *route)
{
    for (struct myco_list *link; (link = myco_list_pop(&route->graves));)
        myco_free(MYCO_CONTAINER(link, struct myco__peer, grave));
}

/* What is called back may unlink the very peer it is told of: so peers are freed a turn later. */
static void look(void *data)
{
    struct myco_route *route = data;
    route->looking = false;
    dig(route);
    if (!route->below) return;
    MYCO_MAP_EACH (struct myco__peer, peer, &route->peers) myco__consider(route, peer);
    myco__session_hops_changed(route);
    myco__tick_soon(route);
}

void myco__look_soon(struct myco_route *route)
{
    if (route->looking) return;
    route->looking = true;
    myco_defer(route->env, &route->look, look, route);
}

/* ── The clock ──────────────────────────────────────────────────────────────────────────────── */

static bool is_idle(const struct myco_route *route)
{
    return myco_list_empty(&route->opening) && myco_list_empty(&route->unacked) &&
           myco_list_empty(&route->owing) && myco_list_empty(&route->dropping);
}

static void tick(void *data)
{
    struct myco_route *route = data;
    uint64_t now_ms = myco_now_ms(route->env);
    myco__flow_tick(route, now_ms);
    myco__session_tick(route, now_ms);
    myco__drop_due(route, now_ms);
    if (is_idle(route)) myco_timer_stop(&route->tick);
}

void myco__tick_soon(struct myco_route *route)
{
    if (!myco_timer_active(&route->tick) && !is_idle(route))
        myco_timer_start(&route->tick, MYCO__TICK_MS, MYCO__TICK_MS);
}

/* ── The transport's calls ──────────────────────────────────────────────────────────────────── */

static void op_link(struct myco_transport *transport, uint64_t id, const struct myco_addr *addr)
{
    struct myco_route *route = route_of(transport);
    struct myco__peer *peer = myco__route_peer(route, id);
    if (id == route->options.self || !route->below) return;
    bool fresh = !peer, moved = peer && !myco_addr_equal(&peer->addr, addr);
    if (fresh) peer = peer_new(route, id);
    peer->addr = *addr;
    if (moved && peer->linked) route->below->ops->link(route->below, id, addr);
    if (fresh) myco__consider(route, peer);
}

static void op_unlink(struct myco_transport *transport, uint64_t id)
{
    struct myco_route *route = route_of(transport);
    struct myco__peer *peer = myco_map_del(&route->peers, id);
    if (!peer) return;
    if (peer->linked) route->below->ops->unlink(route->below, id);
    if (peer->up) {
        myco__count_links(route, -1);
        myco__look_soon(route); /* it may have been the way to others */
    }
    peer->linked = peer->up = false;
    peer->gone = true;
    myco__session_close(route, peer);
    myco_list_remove(&peer->dropping);
    myco_list_append(&route->graves, &peer->grave);
    myco__look_soon(route);
}

static bool op_is_up(struct myco_transport *transport, uint64_t id)
{
    const struct myco__peer *peer = myco__route_peer(route_of(transport), id);
    return peer && (peer->up || peer->session.state == MYCO__SESSION_OPEN);
}

static int op_send(struct myco_transport *transport, uint64_t id, enum myco_lane lane, uint8_t type,
    struct myco_buf *payload)
{
    struct myco_route *route = route_of(transport);
    struct myco__peer *peer = myco__route_peer(route, id);
    int rc = MYCO_ENOTCONN;
    if (peer && peer->up) return route->below->ops->send(route->below, id, lane, type, payload);
    if (peer) rc = myco__flow_send(route, peer, lane, type, payload);
    myco_buf_free(payload); /* what was sent is moved out by now */
    return rc;
}

static const struct myco_transport_ops ops = {
    .link = op_link, .unlink = op_unlink, .is_up = op_is_up, .send = op_send};

/* ── What comes from below ──────────────────────────────────────────────────────────────────── */

static void on_up(uint64_t id, uint64_t generation, uint64_t features, void *data)
{
    struct myco_route *route = data;
    struct myco__peer *peer = myco__route_peer(route, id);
    if (!peer || peer->up) return;
    peer->up = true;
    peer->features = features;
    myco__count_links(route, 1);
    myco__session_down(route, peer, MYCO_DOWN_RESET); /* the session over hubs, if there was one */
    if (peer->gone || !peer->up) return;
    route->events.on_up(id, generation, features, route->events.data);
    if (myco__is_way(route, id)) myco__look_soon(route);
}

/* A connection that only the other side wanted ends with it; ours is dialled again by the transport
 * below. */
static void on_down(uint64_t id, bool was_up, enum myco_down_reason reason, void *data)
{
    struct myco_route *route = data;
    struct myco__peer *peer = myco__route_peer(route, id);
    if (!peer) return;
    bool stood = peer->up && was_up;
    if (stood) {
        peer->up = false;
        myco__count_links(route, -1);
    }
    if (peer->linked && !myco_route_wants(route, id)) {
        peer->linked = peer->invited = false;
        myco_list_remove(&peer->dropping);
        route->below->ops->unlink(route->below, id);
    }
    if (stood) myco__session_hops_changed(route);
    if (!peer->gone && (stood || peer->session.state != MYCO__SESSION_OPEN))
        myco__tell_down(route, peer, stood, reason);
    if (!peer->gone) myco__consider(route, peer);
}

static void on_message(uint64_t id, uint8_t type, struct myco_slice payload, void *data)
{
    struct myco_route *route = data;
    if (type == MYCO_MESSAGE_RELAY)
        myco__relay_receive(route, id, payload);
    else
        route->events.on_message(id, type, payload, route->events.data);
}

static void on_drain(uint64_t id, enum myco_lane lane, void *data)
{
    struct myco_route *route = data;
    route->events.on_drain(id, lane, route->events.data);
    myco__flow_drained(route, id, lane);
}

/* A node dialled us that we keep no connection to: as long as it wants one, we do. */
static void on_dialled(uint64_t id, void *data)
{
    struct myco_route *route = data;
    struct myco__peer *peer = myco__route_peer(route, id);
    if (!peer || peer->linked) return;
    peer->linked = peer->invited = true;
    route->below->ops->link(route->below, id, &peer->addr);
}

struct myco_transport_events myco_route_events(struct myco_route *route)
{
    return (struct myco_transport_events){.on_up = on_up,
        .on_down = on_down,
        .on_message = on_message,
        .on_drain = on_drain,
        .on_dialled = on_dialled,
        .data = route};
}

/* ── Birth and end ──────────────────────────────────────────────────────────────────────────── */

struct myco_route *myco_route_new(
    const struct myco_route_options *options, const struct myco_transport_events *events)
{
    struct myco_route *route = myco_alloc(sizeof *route);
    route->transport.ops = &ops;
    route->options = *options;
    route->env = options->env;
    route->events = *events;
    route->mesh = true;
    myco_list_init(&route->graves);
    myco_list_init(&route->opening);
    myco_list_init(&route->unacked);
    myco_list_init(&route->owing);
    myco_list_init(&route->dropping);
    myco_timer_init(&route->tick, route->env, tick, route);
    return route;
}

void myco_route_free(struct myco_route *route)
{
    if (!route) return;
    myco_timer_stop(&route->tick);
    myco_defer_cancel(&route->look);
    dig(route);
    MYCO_MAP_EACH (struct myco__peer, peer, &route->peers) myco_free(peer);
    myco_map_free(&route->peers);
    myco_map_free(&route->places);
    myco_map_free(&route->direct);
    myco_free(route->place_store);
    myco_free(route->direct_store);
    myco_free(route);
}

void myco_route_start(struct myco_route *route, struct myco_transport *below)
{
    route->below = below;
}

struct myco_transport *myco_route_transport(struct myco_route *route)
{
    return &route->transport;
}

/* ── The topology ───────────────────────────────────────────────────────────────────────────── */

static void copy_places(struct myco_route *route, const struct myco_route_topology *topology)
{
    size_t count = topology->place_count;
    route->place_store =
        count ? myco_memdup(topology->places, count * sizeof *topology->places) : NULL;
    for (size_t i = 0; i < count; i++)
        myco_map_put(&route->places, route->place_store[i].id, &route->place_store[i]);
}

static void copy_direct(struct myco_route *route, const struct myco_route_topology *topology)
{
    size_t count = topology->direct_count;
    route->direct_store =
        count ? myco_memdup(topology->direct, count * sizeof *topology->direct) : NULL;
    for (size_t i = 0; i < count; i++)
        myco_map_put(&route->direct, route->direct_store[i], &route->direct_store[i]);
}

void myco_route_set(struct myco_route *route, const struct myco_route_topology *topology)
{
    myco_map_free(&route->places);
    myco_map_free(&route->direct);
    myco_free(route->place_store);
    myco_free(route->direct_store);
    route->mesh = topology->place_count == 0 && !topology->sparse;
    copy_places(route, topology);
    copy_direct(route, topology);
    myco__look_soon(route);
}

void myco_route_send_many(struct myco_route *route, const uint64_t *peers, size_t count,
    enum myco_lane lane, uint8_t type, struct myco_buf *payload, int *results)
{
    for (size_t i = 0; i < count; i++) {
        const struct myco__peer *peer = myco__route_peer(route, peers[i]);
        results[i] = 1; /* over hubs */
        if (!peer || !peer->up) continue;
        struct myco_buf copy = {0};
        myco_buf_bytes(&copy, payload->data, payload->size);
        results[i] = route->below->ops->send(route->below, peers[i], lane, type, &copy);
    }
    myco__flow_send_many(route, peers, count, lane, type, payload, results);
    myco_buf_free(payload);
}

/* ── Looking in ─────────────────────────────────────────────────────────────────────────────── */

const char *myco_route_drop_text(enum myco_route_drop why)
{
    static const char *const texts[] = {
#define X(symbol, text) text,
        MYCO_ROUTE_DROPS(X)
#undef X
    };
    return texts[why];
}

void myco_route_stats(const struct myco_route *route, struct myco_route_stats *stats)
{
    const struct myco_route_place *place = myco__place(route, route->options.self);
    *stats = route->stats;
    stats->peers = route->peers.count;
    stats->links = route->link_count;
    stats->sessions = route->session_count;
    stats->mesh = route->mesh;
    stats->place = place ? *place : (struct myco_route_place){0};
}

bool myco_route_next(const struct myco_route *route, uint32_t *cursor, struct myco_route_view *view)
{
    const struct myco__peer *peer = myco_map_next(&route->peers, cursor, NULL);
    if (!peer) return false;
    const struct myco_route_place *place = myco__place(route, peer->id);
    const struct myco__peer *hop = peer->up ? NULL : myco__flow_hop(route, peer);
    *view = (struct myco_route_view){.id = peer->id,
        .via = hop ? hop->id : 0,
        .up = peer->up || peer->session.state == MYCO__SESSION_OPEN,
        .direct = peer->up,
        .linked = peer->linked,
        .invited = peer->invited,
        .place = place ? *place : (struct myco_route_place){0}};
    return true;
}
