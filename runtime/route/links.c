/* Which connections this node keeps, and over which of them another node is reached.
 *
 *   leaf ── hub ── hub ── leaf      each leaf is linked with its hub and with the one that stands
 * by │      │               for it; hubs with all hubs and with all who stand by; voters standby  …
 * with each other besides
 *
 * Nodes may see different members for a moment, and so compute different places. Nothing rests on
 * their being equal: a connection that only the other side wants is kept as long as it wants it, a
 * message that has no way from here is said to be lost to who sent it, and hops are counted. */
#include "route/route_private.h"

#define DROP_MS 1000 /* a connection that is not wanted any more stays for so long */

const struct myco_route_place *myco__place(const struct myco_route *route, uint64_t id)
{
    return myco_map_get(&route->places, id);
}

static bool is_hub(const struct myco_route_place *place)
{
    return place->hub == place->id;
}

/* Of a hub and another node: do they belong together? */
static bool hub_wants(const struct myco_route *route, const struct myco_route_place *hub,
    const struct myco_route_place *other)
{
    (void)route;
    return other->hub == hub->id || other->standby == hub->id || is_hub(other);
}

/* Who stands by for somebody knows by its own place: its hub is the one of those it stands by for.
 */
static bool stands_by(const struct myco_route *route, const struct myco_route_place *place)
{
    const struct myco_route_place *hub = myco__place(route, place->hub);
    return hub && hub->standby == place->id;
}

bool myco__is_way(const struct myco_route *route, uint64_t id)
{
    const struct myco_route_place *place = myco__place(route, id);
    return place && (is_hub(place) || stands_by(route, place));
}

static bool placed_together(const struct myco_route *route, const struct myco_route_place *a,
    const struct myco_route_place *b)
{
    if (is_hub(a) && (hub_wants(route, a, b) || stands_by(route, b))) return true;
    if (is_hub(b) && (hub_wants(route, b, a) || stands_by(route, a))) return true;
    return a->standby == b->id || b->standby == a->id;
}

bool myco_route_wants(const struct myco_route *route, uint64_t peer)
{
    if (route->mesh) return true;
    uint64_t self = route->options.self;
    if (myco_map_get(&route->direct, self) && myco_map_get(&route->direct, peer)) return true;
    const struct myco_route_place *mine = myco__place(route, self),
                                  *theirs = myco__place(route, peer);
    return mine && theirs && placed_together(route, mine, theirs);
}

/* ── The next hop ───────────────────────────────────────────────────────────────────────────── */

bool myco__relays(const struct myco_route *route, const struct myco__peer *peer)
{
    uint64_t feature = route->options.relay_feature;
    return peer && peer->up && (peer->features & feature) == feature;
}

static struct myco__peer *usable(
    const struct myco_route *route, uint64_t id, uint64_t to, uint64_t but)
{
    if (id == 0 || id == but || id == to || id == route->options.self) return NULL;
    struct myco__peer *peer = myco__route_peer(route, id);
    return myco__relays(route, peer) ? peer : NULL;
}

/* Straight on; else to the hub of `to`, or who stands by for it; else to our own. */
struct myco__peer *myco__next_hop(const struct myco_route *route, uint64_t to, uint64_t but)
{
    struct myco__peer *hop = myco__route_peer(route, to);
    if (to != but && myco__relays(route, hop)) return hop;
    const struct myco_route_place *theirs = myco__place(route, to),
                                  *mine = myco__place(route, route->options.self);
    hop = NULL;
    if (theirs) hop = usable(route, theirs->hub, to, but);
    if (theirs && !hop) hop = usable(route, theirs->standby, to, but);
    if (mine && !hop) hop = usable(route, mine->hub, to, but);
    if (mine && !hop) hop = usable(route, mine->standby, to, but);
    return hop;
}

/* ── Keeping and dropping connections ───────────────────────────────────────────────────────── */

static void keep(struct myco_route *route, struct myco__peer *peer)
{
    peer->invited = false;
    myco_list_remove(&peer->dropping);
    if (peer->linked) return;
    peer->linked = true;
    route->below->ops->link(route->below, peer->id, &peer->addr);
}

void myco__consider(struct myco_route *route, struct myco__peer *peer)
{
    if (myco_route_wants(route, peer->id)) {
        keep(route, peer);
    } else if (peer->linked && !peer->invited && myco_list_empty(&peer->dropping)) {
        peer->drop_at_ms = myco_now_ms(route->env) + DROP_MS;
        myco_list_append(&route->dropping, &peer->dropping);
        myco__tick_soon(route);
    }
    if (!route->mesh && !peer->up && peer->session.state == MYCO__SESSION_CLOSED)
        myco__session_start(route, peer, 0);
}

static void drop(struct myco_route *route, struct myco__peer *peer)
{
    bool was_up = peer->up;
    peer->linked = peer->up = false;
    route->below->ops->unlink(route->below, peer->id);
    if (was_up) {
        myco__count_links(route, -1);
        myco__session_hops_changed(route);
        myco__tell_down(route, peer, true, MYCO_DOWN_CLOSED);
    }
    if (!peer->gone) myco__consider(route, peer);
}

/* Only with another way in sight: who has none keeps what it has. */
static bool has_other_way(const struct myco_route *route, const struct myco__peer *peer)
{
    const struct myco_route_place *mine = myco__place(route, route->options.self),
                                  *theirs = myco__place(route, peer->id);
    if (!mine || !theirs) return !peer->up;
    return usable(route, theirs->hub, peer->id, 0) || usable(route, mine->hub, peer->id, 0) ||
           usable(route, theirs->standby, peer->id, 0) || usable(route, mine->standby, peer->id, 0);
}

void myco__drop_due(struct myco_route *route, uint64_t now_ms)
{
    struct myco_list due;
    myco_list_init(&due);
    MYCO_LIST_EACH (link, &route->dropping) {
        struct myco__peer *peer = MYCO_CONTAINER(link, struct myco__peer, dropping);
        if (peer->drop_at_ms > now_ms) break; /* so are all that follow */
        peer->drop_at_ms = now_ms + DROP_MS;
        myco_list_remove(link);
        myco_list_append(has_other_way(route, peer) ? &due : &route->dropping, link);
    }
    for (struct myco_list *link; (link = myco_list_pop(&due));)
        drop(route, MYCO_CONTAINER(link, struct myco__peer, dropping));
}
