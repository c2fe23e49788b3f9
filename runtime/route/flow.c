/* What goes through a session: numbered and counted here, checked and acknowledged there.
 *
 *   send ─ window of the lane ─ next hop ─→ … ─→ tag, sequence ─ on_message
 *      ↑                                             │
 *      └──── ACK: units received of each lane ───────┘   after 256 KiB, or 200 ms
 *
 * A unit is a byte of payload; each message counts 64 more. What is not acknowledged is bounded for
 * each lane: beyond it a send is refused with EFULL, and on_drain follows when half of it is
 * acknowledged. So a slow receiver holds its senders back, and hubs queue little. Large messages
 * travel in their lane's pieces like all others. */
#include "base/err.h"
#include "base/mem.h"
#include "route/route_private.h"
#include "wire/message.h"

#define MESSAGE_UNITS 64
#define OWED_MAX      (256 * 1024)
#define OWED_MS       200
#define ANSWER_MS     50 /* between two words to one that sends what is over */

/* Not acknowledged: of each lane, but one message always. */
static const uint64_t window[MYCO_LANE_COUNT] = {1 << 20, 8 << 20, 32 << 20};

/* ── The way ────────────────────────────────────────────────────────────────────────────────── */

/* While something is under way the neighbour stays the same, so that nothing overtakes it. */
struct myco__peer *myco__flow_hop(const struct myco_route *route, const struct myco__peer *peer)
{
    const struct myco__session *session = &peer->session;
    struct myco__peer *via = myco__route_peer(route, session->via);
    if (via == peer || !myco__relays(route, via)) via = NULL;
    if (via && session->unacked.next != &session->unacked) return via;
    struct myco__peer *hop = myco__next_hop(route, peer->id, 0);
    return hop ? hop : via;
}

static int send_relay(struct myco_route *route, struct myco__peer *hop,
    const struct myco__relay *relay, uint16_t count, struct myco_buf *buf)
{
    myco__relay_put_end(buf, relay, count);
    return route->below->ops->send(route->below, hop->id, relay->lane, MYCO_MESSAGE_RELAY, buf);
}

bool myco__flow_say(struct myco_route *route, struct myco__peer *hop, uint64_t to, uint8_t kind,
    uint32_t tag, struct myco_buf *payload)
{
    struct myco__relay relay = {.from = route->options.self,
        .kind = kind,
        .lane = MYCO_LANE_CONTROL,
        .hops = MYCO__RELAY_HOPS};
    myco__relay_put_dest(payload, &(struct myco__relay_dest){to, tag, 0});
    return send_relay(route, hop, &relay, 1, payload) == 0;
}

/* ── Sending ────────────────────────────────────────────────────────────────────────────────── */

static bool has_room(const struct myco__session *session, enum myco_lane lane, size_t size)
{
    uint64_t under_way = session->given[lane] - session->acked[lane];
    return under_way == 0 || under_way + size + MESSAGE_UNITS <= window[lane];
}

/* 0: it can go to *hop. */
static int judge(struct myco_route *route, struct myco__peer *peer, enum myco_lane lane,
    size_t size, struct myco__peer **hop)
{
    struct myco__session *session = &peer->session;
    if (session->state != MYCO__SESSION_OPEN) return MYCO_ENOTCONN;
    if (size > MYCO_MESSAGE_SIZE_MAX - MYCO__RELAY_DEST_SIZE - MYCO__RELAY_END_SIZE)
        return MYCO_ETOOBIG;
    *hop = myco__flow_hop(route, peer);
    if (!*hop) return MYCO_ENOTCONN;
    if (has_room(session, lane, size)) return 0;
    session->refused[lane] = true;
    return MYCO_EFULL;
}

static void account(struct myco_route *route, struct myco__peer *peer, enum myco_lane lane,
    size_t size, const struct myco__peer *hop)
{
    struct myco__session *session = &peer->session;
    session->sent[lane]++;
    session->given[lane] += size + MESSAGE_UNITS;
    session->via = hop->id;
    if (session->unacked.next != &session->unacked) return;
    session->progress_ms = myco_now_ms(route->env);
    myco_list_append(&route->unacked, &session->unacked);
    myco__tick_soon(route);
}

static void put_dest(struct myco_buf *buf, const struct myco__peer *peer, enum myco_lane lane)
{
    struct myco__relay_dest dest = {peer->id, peer->session.tag_out, peer->session.sent[lane]};
    myco__relay_put_dest(buf, &dest);
}

static struct myco__relay data_relay(
    const struct myco_route *route, enum myco_lane lane, uint8_t type)
{
    return (struct myco__relay){.from = route->options.self,
        .kind = MYCO__RELAY_DATA,
        .type = type,
        .lane = (uint8_t)lane,
        .hops = MYCO__RELAY_HOPS};
}

int myco__flow_send(struct myco_route *route, struct myco__peer *peer, enum myco_lane lane,
    uint8_t type, struct myco_buf *payload)
{
    size_t size = payload->size;
    struct myco__peer *hop;
    int rc = payload->failed ? MYCO_ENOMEM : judge(route, peer, lane, size, &hop);
    if (rc) return rc;
    struct myco__relay relay = data_relay(route, lane, type);
    put_dest(payload, peer, lane);
    rc = send_relay(route, hop, &relay, 1, payload);
    if (rc == 0) account(route, peer, lane, size, hop);
    if (rc == MYCO_EFULL) peer->session.refused[lane] = true;
    return rc;
}

/* All of `peers` from `first` on that go over the same neighbour and have no result yet: one
 * message. */
static void send_group(struct myco_route *route, const uint64_t *peers, size_t count, size_t first,
    const struct myco__relay *relay, const struct myco_buf *payload, int *results)
{
    struct myco__peer *hop = NULL, *way = NULL;
    struct myco_buf buf = {0};
    uint16_t dests = 0;
    size_t last = first;
    myco_buf_reserve(&buf, payload->size + MYCO__RELAY_DEST_SIZE + MYCO__RELAY_END_SIZE);
    myco_buf_bytes(&buf, payload->data, payload->size);
    for (size_t i = first; i < count && dests < MYCO__RELAY_DESTS_MAX; i++) {
        struct myco__peer *peer = results[i] == 1 ? myco__route_peer(route, peers[i]) : NULL;
        if (results[i] != 1) continue;
        int rc = peer ? judge(route, peer, relay->lane, payload->size, &way) : MYCO_ENOTCONN;
        if (rc) results[i] = rc;
        if (rc || (hop && way != hop)) continue;
        hop = way;
        put_dest(&buf, peer, relay->lane);
        results[i] = 2 + dests++; /* in this one */
        last = i;
    }
    int rc = buf.failed ? MYCO_ENOMEM : 0;
    if (dests && rc == 0) rc = send_relay(route, hop, relay, dests, &buf);
    for (size_t i = first; dests && i <= last; i++) {
        if (results[i] < 2) continue;
        struct myco__peer *peer = myco__route_peer(route, peers[i]);
        results[i] = rc;
        if (rc == 0) account(route, peer, relay->lane, payload->size, hop);
        if (rc == MYCO_EFULL) peer->session.refused[relay->lane] = true;
    }
    myco_buf_free(&buf);
}

/* results[i]: 1 where it is to go over hubs. The list of destinations is of the message, too. */
void myco__flow_send_many(struct myco_route *route, const uint64_t *peers, size_t count,
    enum myco_lane lane, uint8_t type, const struct myco_buf *payload, int *results)
{
    struct myco__relay relay = data_relay(route, lane, type);
    bool large = payload->size > MYCO_MESSAGE_SIZE_MAX -
                                     MYCO__RELAY_DESTS_MAX * MYCO__RELAY_DEST_SIZE -
                                     MYCO__RELAY_END_SIZE;
    for (size_t i = 0; i < count; i++) {
        if (results[i] != 1) continue;
        send_group(route, peers, large ? i + 1 : count, i, &relay, payload, results);
    }
}

/* ── Receiving ──────────────────────────────────────────────────────────────────────────────── */

static void acknowledge(struct myco_route *route, struct myco__peer *peer)
{
    struct myco__session *session = &peer->session;
    struct myco__peer *hop = myco__flow_hop(route, peer);
    struct myco_buf payload = {0};
    if (!hop) return; /* the sender's clock will say so */
    for (int lane = 0; lane < MYCO_LANE_COUNT; lane++) myco_buf_u64(&payload, session->taken[lane]);
    if (!myco__flow_say(route, hop, peer->id, MYCO__RELAY_ACK, session->tag_out, &payload)) return;
    session->owed = 0;
    myco_list_remove(&session->owing);
}

static void owe(struct myco_route *route, struct myco__peer *peer, size_t units)
{
    struct myco__session *session = &peer->session;
    session->owed += units;
    if (session->owing.next == &session->owing) {
        session->ack_at_ms = myco_now_ms(route->env) + OWED_MS;
        myco_list_append(&route->owing, &session->owing);
        myco__tick_soon(route);
    }
    if (session->owed >= OWED_MAX) acknowledge(route, peer);
}

/* A message of a session that is not ours: its sender is told what is. */
static void correct(struct myco_route *route, const struct myco__relay *relay,
    const struct myco__relay_dest *dest, uint64_t prev)
{
    struct myco__peer *peer = myco__route_peer(route, relay->from);
    uint64_t now_ms = myco_now_ms(route->env);
    route->stats.dropped[MYCO_ROUTE_DROP_STALE]++;
    MYCO_METRIC_ADD(route->env->metrics, RELAY_DROPPED, 1);
    if (peer && now_ms < peer->session.answered_ms + ANSWER_MS) return;
    if (peer) peer->session.answered_ms = now_ms;
    struct myco__peer *hop = myco__route_peer(route, prev);
    if (peer && !peer->up && peer->session.state != MYCO__SESSION_CLOSED) {
        myco__session_say_open(route, peer);
    } else if (hop && hop->up) {
        struct myco_buf payload = {0};
        myco_buf_u64(&payload, route->options.self);
        myco_buf_u32(&payload, dest->tag);
        myco_buf_u8(&payload, MYCO_ROUTE_DROP_STALE);
        myco__flow_say(route, hop, relay->from, MYCO__RELAY_BREAK, 0, &payload);
    }
}

void myco__flow_on_data(struct myco_route *route, const struct myco__relay *relay,
    const struct myco__relay_dest *dest, uint64_t prev)
{
    struct myco__peer *peer = myco__route_peer(route, relay->from);
    struct myco__session *session = peer ? &peer->session : NULL;
    if (!session || session->state != MYCO__SESSION_OPEN || session->tag_in != dest->tag) {
        correct(route, relay, dest, prev);
        return;
    }
    if (dest->sequence != session->received[relay->lane]) { /* one before it was lost */
        MYCO_DEBUG(route->env->log, "route", "a message is missing", "peer=%016llx lane=%u",
            (unsigned long long)peer->id, relay->lane);
        myco__session_reset(route, peer, MYCO_DOWN_RESET, 0);
        return;
    }
    session->received[relay->lane]++;
    session->taken[relay->lane] += relay->payload.size + MESSAGE_UNITS;
    if (session->unacked.next == &session->unacked) session->via = prev;
    owe(route, peer, relay->payload.size + MESSAGE_UNITS);
    route->events.on_message(peer->id, relay->type, relay->payload, route->events.data);
}

/* ── Being acknowledged ─────────────────────────────────────────────────────────────────────── */

static bool all_acked(const struct myco__session *session)
{
    for (int lane = 0; lane < MYCO_LANE_COUNT; lane++)
        if (session->given[lane] != session->acked[lane]) return false;
    return true;
}

static void drain(struct myco_route *route, struct myco__peer *peer, enum myco_lane lane)
{
    struct myco__session *session = &peer->session;
    if (session->state != MYCO__SESSION_OPEN || !session->refused[lane]) return;
    if (session->given[lane] - session->acked[lane] > window[lane] / 2) return;
    session->refused[lane] = false;
    route->events.on_drain(peer->id, lane, route->events.data);
}

void myco__flow_on_ack(
    struct myco_route *route, const struct myco__relay *relay, const struct myco__relay_dest *dest)
{
    struct myco__peer *peer = myco__route_peer(route, relay->from);
    struct myco__session *session = peer ? &peer->session : NULL;
    if (!session || session->state != MYCO__SESSION_OPEN || session->tag_in != dest->tag) return;
    struct myco_reader in = myco_reader(relay->payload.data, relay->payload.size);
    for (int lane = 0; lane < MYCO_LANE_COUNT; lane++) {
        uint64_t units = myco_read_u64(&in);
        bool sane = units > session->acked[lane] && units <= session->given[lane];
        if (in.bad || !sane) continue;
        session->acked[lane] = units;
        session->progress_ms = myco_now_ms(route->env);
    }
    if (all_acked(session)) myco_list_remove(&session->unacked);
    for (int lane = 0; lane < MYCO_LANE_COUNT && !peer->gone; lane++)
        drain(route, peer, (enum myco_lane)lane);
}

/* The neighbour takes messages of this lane again. */
void myco__flow_drained(struct myco_route *route, uint64_t hop, enum myco_lane lane)
{
    uint32_t cursor = 0;
    uint64_t id;
    while (route->session_count && myco_map_next(&route->peers, &cursor, &id)) {
        struct myco__peer *peer = myco__route_peer(route, id);
        if (peer && peer->session.refused[lane] && myco__flow_hop(route, peer) &&
            myco__flow_hop(route, peer)->id == hop)
            drain(route, peer, lane);
    }
}

void myco__flow_tick(struct myco_route *route, uint64_t now_ms)
{
    MYCO_LIST_EACH (link, &route->owing) { /* in the order in which they are due */
        struct myco__session *session = MYCO_CONTAINER(link, struct myco__session, owing);
        if (session->ack_at_ms > now_ms) break;
        acknowledge(route, MYCO_CONTAINER(session, struct myco__peer, session));
    }
}
