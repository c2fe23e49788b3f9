/* Sessions: what makes of messages that hubs pass on the promise of a connection, ordered while it
 * stands, and told when something may be lost.
 *
 *     lower id                                  the other
 *        │ ── OPEN (a, 0) ──────→ … hubs … ──────→ │   takes number b; up
 *     up │ ←── OPEN (b, a) ────── … hubs … ─────── │
 *        │ ←→  DATA (tag of a and b, sequence) ←→  │
 *
 * Each side numbers its own part anew whenever it lost something (numbers rise over all peers and
 * all lives of a node, so none comes twice), and a session is a pair of numbers that both know:
 * nothing is sent before. Messages bear a tag of that pair, and their sequence within their lane.
 * Hubs keep no state at all.
 *
 * How a loss is found out, each way sooner or later, the surest last:
 *   the neighbour that was handed messages is gone: what it did not acknowledge is lost;
 *   a hub that can't pass a message on says so (BREAK), or the far end does, which has no such
 *   session (any more);
 *   a sequence is missing: a message came, one before it did not;
 *   what was sent is not acknowledged in time (TIMEOUT).
 * Then the side that found out tells its core on_down, takes a new number and says OPEN; the other
 * hears a newer number than it knows, and does likewise. A side that knows an older one is told the
 * newer. So both cores hear on_down before they hear anything of what comes after the loss.
 *
 * A session that is idle owes nothing and costs nothing: when its hub dies, it goes on over
 * another. */
#include "base/hash.h"
#include "route/route_private.h"

#define WAIT_MS        500  /* the higher id leaves the first word to the lower one for so long */
#define BACKOFF_MS     100  /* between two OPENs, doubled … */
#define BACKOFF_MS_MAX 2000 /* … up to this */
#define ACK_MS         2000 /* without any progress, more for what is large: */
#define SLOWEST        1024 /* bytes in a millisecond, below which a path counts as broken */
#define OPENS_MAX      512  /* said in one tick */

static uint64_t next_number(struct myco_route *route)
{
    return route->options.generation << 32 | (++route->numbers & UINT32_MAX);
}

static uint32_t tag_of(uint64_t sender, uint64_t receiver)
{
    uint32_t tag = (uint32_t)myco_hash_mix(sender, receiver);
    return tag ? tag : 1; /* 0: of no session */
}

void myco__session_init(struct myco__session *session)
{
    myco_list_init(&session->opening);
    myco_list_init(&session->unacked);
    myco_list_init(&session->owing);
}

static void count_sessions(struct myco_route *route, int change)
{
    route->session_count += (uint32_t)change;
    MYCO_METRIC_SET(route->env->metrics, PEERS_OVER_HUBS, route->session_count);
}

/* ── Opening ────────────────────────────────────────────────────────────────────────────────── */

void myco__session_say_open(struct myco_route *route, struct myco__peer *peer)
{
    const struct myco__session *session = &peer->session;
    struct myco__open open = {
        session->mine, session->theirs, route->options.generation, route->options.features};
    struct myco__peer *hop = myco__flow_hop(route, peer);
    if (!hop) return;
    struct myco_buf payload = {0};
    myco__open_write(&payload, &open);
    myco__flow_say(route, hop, peer->id, MYCO__RELAY_OPEN, 0, &payload);
}

void myco__session_start(struct myco_route *route, struct myco__peer *peer, uint64_t delay_ms)
{
    struct myco__session *session = &peer->session;
    if (route->options.self > peer->id && delay_ms < WAIT_MS) delay_ms = WAIT_MS;
    session->state = MYCO__SESSION_OPENING;
    session->mine = next_number(route);
    session->theirs = 0;
    session->backoff_ms = BACKOFF_MS;
    session->open_at_ms = myco_now_ms(route->env) + delay_ms;
    myco_list_append(&route->opening, &session->opening);
    myco__tick_soon(route);
}

static void established(
    struct myco_route *route, struct myco__peer *peer, const struct myco__open *open)
{
    struct myco__session *session = &peer->session;
    myco_list_remove(&session->opening);
    session->state = MYCO__SESSION_OPEN;
    session->theirs = peer->floor = open->mine;
    session->tag_out = tag_of(session->mine, session->theirs);
    session->tag_in = tag_of(session->theirs, session->mine);
    count_sessions(route, 1);
    if (open->theirs == 0) myco__session_say_open(route, peer);
    uint64_t features = open->features & route->options.features;
    route->events.on_up(peer->id, open->generation, features, route->events.data);
}

/* ── Ending ─────────────────────────────────────────────────────────────────────────────────── */

void myco__session_close(struct myco_route *route, struct myco__peer *peer)
{
    struct myco__session *session = &peer->session;
    if (session->state == MYCO__SESSION_OPEN) count_sessions(route, -1);
    myco_list_remove(&session->opening);
    myco_list_remove(&session->unacked);
    myco_list_remove(&session->owing);
    *session = (struct myco__session){.via = session->via, .answered_ms = session->answered_ms};
    myco__session_init(session);
}

void myco__session_down(
    struct myco_route *route, struct myco__peer *peer, enum myco_down_reason reason)
{
    bool was_open = peer->session.state == MYCO__SESSION_OPEN;
    myco__session_close(route, peer);
    if (!was_open) return;
    route->stats.resets++;
    MYCO_METRIC_ADD(route->env->metrics, ROUTE_RESETS, 1);
    myco__tell_down(route, peer, true, reason);
}

void myco__session_reset(struct myco_route *route, struct myco__peer *peer,
    enum myco_down_reason reason, uint64_t delay_ms)
{
    myco__session_down(route, peer, reason);
    if (peer->gone || peer->up || peer->session.state != MYCO__SESSION_CLOSED) return;
    myco__session_start(route, peer, delay_ms);
    /* the other side is to hear of it, whoever has the first word otherwise */
    if (delay_ms == 0) peer->session.open_at_ms = myco_now_ms(route->env);
}

/* ── Hearing of the other's ─────────────────────────────────────────────────────────────────── */

/* It knows a number of ours that is over, or none where we have one: it is told the present one. */
static void answer(struct myco_route *route, struct myco__peer *peer)
{
    myco__session_say_open(route, peer);
}

static void renew(struct myco_route *route, struct myco__peer *peer)
{
    myco__session_down(route, peer, MYCO_DOWN_RESET);
    if (!peer->gone && !peer->up && peer->session.state == MYCO__SESSION_CLOSED)
        myco__session_start(route, peer, 0);
}

void myco__session_on_open(
    struct myco_route *route, uint64_t from, uint64_t prev, struct myco_slice payload)
{
    struct myco__peer *peer = myco__route_peer(route, from);
    struct myco__open open;
    if (myco__open_read(&open, payload) != 0) {
        MYCO_METRIC_ADD(route->env->metrics, FRAMES_REFUSED, 1);
        return;
    }
    /* gossip has not told us of it; linked by now, and it will notice; an earlier word */
    if (!peer || peer->up || open.mine < peer->floor) return;
    struct myco__session *session = &peer->session;
    if (session->unacked.next == &session->unacked) session->via = prev;
    if (session->state == MYCO__SESSION_OPEN && open.mine == session->theirs) {
        if (open.theirs != session->mine) answer(route, peer);
        return;
    }
    if (session->state == MYCO__SESSION_OPEN) renew(route, peer);
    if (session->state == MYCO__SESSION_CLOSED) myco__session_start(route, peer, 0);
    if (peer->gone || session->state != MYCO__SESSION_OPENING) return;
    if (open.theirs == 0 || open.theirs == session->mine)
        established(route, peer, &open);
    else
        answer(route, peer);
}

/* ── The clock ──────────────────────────────────────────────────────────────────────────────── */

static void say_again(struct myco_route *route, struct myco__peer *peer, uint64_t now_ms)
{
    struct myco__session *session = &peer->session;
    session->open_at_ms = now_ms + session->backoff_ms / 2 +
                          myco_random_below(route->env, session->backoff_ms / 2 + 1);
    session->backoff_ms =
        session->backoff_ms * 2 < BACKOFF_MS_MAX ? session->backoff_ms * 2 : BACKOFF_MS_MAX;
    myco__session_say_open(route, peer);
}

static struct myco__peer *peer_of(struct myco__session *session)
{
    return MYCO_CONTAINER(session, struct myco__peer, session);
}

static void open_due(struct myco_route *route, uint64_t now_ms)
{
    unsigned said = 0;
    MYCO_LIST_EACH (link, &route->opening) {
        struct myco__session *session = MYCO_CONTAINER(link, struct myco__session, opening);
        if (session->open_at_ms > now_ms) continue;
        if (++said > OPENS_MAX) break;
        say_again(route, peer_of(session), now_ms);
    }
}

static uint64_t outstanding(const struct myco__session *session)
{
    uint64_t units = 0;
    for (int lane = 0; lane < MYCO_LANE_COUNT; lane++)
        units += session->given[lane] - session->acked[lane];
    return units;
}

static bool is_late(const struct myco__session *session, uint64_t now_ms)
{
    return now_ms > session->progress_ms + ACK_MS + outstanding(session) / SLOWEST;
}

/* What it was handed may be lost: the neighbour went, or nothing came back for too long. */
static bool is_lost(
    const struct myco_route *route, const struct myco__session *session, uint64_t now_ms)
{
    if (now_ms) return is_late(session, now_ms);
    const struct myco__peer *via = myco__route_peer(route, session->via);
    return !via || !via->up;
}

/* First all, then one by one: what is called back may change the list. */
static void reset_lost(struct myco_route *route, uint64_t now_ms)
{
    struct myco_list lost;
    myco_list_init(&lost);
    MYCO_LIST_EACH (link, &route->unacked) {
        struct myco__session *session = MYCO_CONTAINER(link, struct myco__session, unacked);
        if (!is_lost(route, session, now_ms)) continue;
        myco_list_remove(link);
        myco_list_append(&lost, link);
    }
    for (struct myco_list *link; (link = myco_list_pop(&lost));) {
        struct myco__session *session = MYCO_CONTAINER(link, struct myco__session, unacked);
        myco__session_reset(
            route, peer_of(session), now_ms ? MYCO_DOWN_TIMEOUT : MYCO_DOWN_RESET, 0);
    }
}

void myco__session_tick(struct myco_route *route, uint64_t now_ms)
{
    reset_lost(route, now_ms);
    open_due(route, now_ms);
}

/* ── Loss ───────────────────────────────────────────────────────────────────────────────────── */

/* Nobody is left who would pass anything on: all who were reached so are not reached any more. */
static void lose_all(struct myco_route *route)
{
    uint64_t lost[64];
    size_t count;
    do { /* in parts: what is called back may change the map */
        count = 0;
        MYCO_MAP_EACH (struct myco__peer, peer, &route->peers) {
            if (peer->session.state != MYCO__SESSION_OPEN || count == 64) continue;
            if (!myco__flow_hop(route, peer)) lost[count++] = peer->id;
        }
        for (size_t i = 0; i < count; i++) {
            struct myco__peer *peer = myco__route_peer(route, lost[i]);
            if (peer) myco__session_reset(route, peer, MYCO_DOWN_RESET, 0);
        }
    } while (count == 64);
}

void myco__session_hops_changed(struct myco_route *route)
{
    reset_lost(route, 0);
    if (route->session_count) lose_all(route);
}

void myco__session_on_break(struct myco_route *route, struct myco_slice payload)
{
    struct myco_reader in = myco_reader(payload.data, payload.size);
    struct myco__peer *peer = myco__route_peer(route, myco_read_u64(&in));
    uint32_t tag = myco_read_u32(&in);
    myco_read_u8(&in);
    if (!myco_read_done(&in)) {
        MYCO_METRIC_ADD(route->env->metrics, FRAMES_REFUSED, 1);
        return;
    }
    if (peer && peer->session.state == MYCO__SESSION_OPEN && peer->session.tag_out == tag)
        myco__session_reset(route, peer, MYCO_DOWN_RESET, BACKOFF_MS);
}
