/* Which connection is the link to a peer. Both may have dialled, and both must choose alike:
 *
 *        dials                         is dialled
 *          │ ── HELLO (who, session) ──→  │    session 0: "I have not linked you (yet)"
 *          │ ←─ HELLO (who, session) ───  │
 *          │ ←→ READY (session)      ←→   │    later, from whom HELLO said 0
 *          │          ACCEPT              │    from the lower id, whichever side it is on: once
 * both │                              │    are ready, of all connections this one is the link
 *
 * The lower id takes the first connection that is ready, says goodbye to the others, and is up; the
 * other is up when ACCEPT comes. So there is one choice and one chooser, and on_up does not flap.
 *
 * A session number rises with every link (to this peer) that its sender lost. HELLO or READY with a
 * newer session, or a newer generation, than that of the link which stands here means that the
 * other side lost it, though no reset has come: it is dropped at once rather than by the time
 * limit. The same session means that it is one of two that were dialled at once.
 *
 * How it fails: refused (another cluster, version …): on_down FOREIGN, or DISPLACED when another
 * node lives there, dialled again after the back-off. Not linked by the other for `unlinked_ms`: it
 * says UNWANTED, on_down CLOSED. Silent: on_down TIMEOUT. Broken: on_down RESET, dialled at once.
 */
#include <inttypes.h>

#include "base/text.h"
#include "net/net_private.h"

struct myco__peer *myco__peer_get(struct myco_net *net, uint64_t id)
{
    return myco_map_get(&net->peers, id);
}

/* ── Down ───────────────────────────────────────────────────────────────────────────────────── */

static const char *reason_name(enum myco_down_reason reason)
{
    static const char *const names[] = {[MYCO_DOWN_CLOSED] = "closed",
        [MYCO_DOWN_RESET] = "reset",
        [MYCO_DOWN_REFUSED] = "refused",
        [MYCO_DOWN_TIMEOUT] = "timeout",
        [MYCO_DOWN_FOREIGN] = "foreign",
        [MYCO_DOWN_DISPLACED] = "displaced"};
    return names[reason];
}

static void tell_down(struct myco_net *net, uint64_t id, bool was_up, enum myco_down_reason reason)
{
    const struct myco_transport_events *events = &net->events;
    if (!net->closing) events->on_down(id, was_up, reason, events->data);
}

/* The link is gone; its connection is ended by the caller, before. */
static void link_lost(struct myco_net *net, struct myco__peer *peer, enum myco_down_reason reason)
{
    char text[MYCO_ADDR_TEXT_MAX];
    MYCO_INFO(net->options.log, "net", "peer lost", "peer=%016" PRIx64 " name=%s addr=%s reason=%s",
        peer->id, peer->up->name, myco_addr_text(&peer->up->addr, text), reason_name(reason));
    peer->up = NULL;
    peer->session = ++net->sessions;
    MYCO_METRIC_SET(net->options.metrics, PEERS_CONNECTED, --net->up_count);
    if (reason != MYCO_DOWN_RESET && peer->backoff_ms == 0)
        peer->backoff_ms = net->options.backoff_min_ms;
    myco__dial_again(net, peer);
    tell_down(net, peer->id, true, reason);
}

static bool has_other(struct myco_net *net, uint64_t id, const struct myco__conn *but)
{
    MYCO_LIST_EACH (link, &net->conns) {
        struct myco__conn *conn = MYCO_CONTAINER(link, struct myco__conn, link);
        if (conn != but && conn->id == id && conn->state == MYCO__CONN_WAITING) return true;
    }
    return false;
}

/* Our attempt ended. While another connection of the same peer is about to be the link, that says
 * nothing about the peer. */
static void dial_failed(struct myco_net *net, struct myco__peer *peer, enum myco_down_reason reason)
{
    struct myco__conn *conn = peer->dial;
    char text[MYCO_ADDR_TEXT_MAX];
    int level =
        peer->failed == reason ? MYCO_LOG_DEBUG : MYCO_LOG_INFO; /* once, until it changes */
    MYCO_LOG_AT(net->options.log, level, "net", "dial failed",
        "peer=%016" PRIx64 " addr=%s reason=%s", peer->id, myco_addr_text(&conn->addr, text),
        reason_name(reason));
    peer->failed = reason;
    peer->dial = NULL;
    if (peer->up != NULL) return;
    if (peer->backoff_ms == 0) peer->backoff_ms = net->options.backoff_min_ms;
    myco__dial_again(net, peer);
    if (!has_other(net, peer->id, conn)) tell_down(net, peer->id, false, reason);
}

/* What an ended connection means for its peer. */
void myco__conn_ended(struct myco__conn *conn, enum myco_down_reason reason)
{
    struct myco_net *net = conn->net;
    struct myco__peer *peer = myco__peer_get(net, conn->id);
    if (peer == NULL || net->closing) return;
    if (peer->up == conn)
        link_lost(net, peer, reason);
    else if (peer->dial == conn)
        dial_failed(net, peer, reason);
    else if (peer->up == NULL && peer->dial == NULL)
        myco__dial_soon(net, peer); /* it had waited for this one instead of dialling */
}

/* It broke, or was silent for too long. Had the other side taken it for the link by now, a newer
 * session tells it otherwise. */
void myco__conn_lost(struct myco__conn *conn, enum myco_down_reason reason)
{
    if (conn->state == MYCO__CONN_CLOSED) return;
    bool over = conn->state == MYCO__CONN_LINGERING;
    bool offered = conn->state == MYCO__CONN_WAITING && conn->ready;
    myco__conn_close(conn);
    if (over) return; /* what it meant was told when GOODBYE was said */
    struct myco__peer *peer = myco__peer_get(conn->net, conn->id);
    if (offered && peer != NULL && peer->up == NULL) peer->session = ++conn->net->sessions;
    myco__conn_ended(conn, reason);
}

/* ── Up ─────────────────────────────────────────────────────────────────────────────────────── */

static bool we_choose(const struct myco__conn *conn)
{
    return conn->net->options.id < conn->id;
}

static bool is_newer(const struct myco__conn *conn, const struct myco__conn *up)
{
    if (conn->generation != up->generation) return conn->generation > up->generation;
    return conn->session > up->session;
}

/* All other connections of this pair, our own attempt included, have lost. */
static void dismiss_others(struct myco__conn *up)
{
    MYCO_LIST_EACH (link, &up->net->conns) {
        struct myco__conn *conn = MYCO_CONTAINER(link, struct myco__conn, link);
        if (conn == up || conn->id != up->id || myco__conn_over(conn)) continue;
        if (we_choose(up))
            myco__conn_goodbye(conn, MYCO_GOODBYE_DUPLICATE);
        else
            myco__conn_close(conn);
    }
}

static void go_up(struct myco__conn *conn, struct myco__peer *peer)
{
    struct myco_net *net = conn->net;
    char text[MYCO_ADDR_TEXT_MAX];
    myco__conn_set_state(conn, MYCO__CONN_UP);
    conn->frames.version = conn->version;
    conn->silent = conn->quiet = 0;
    peer->up = conn;
    peer->dial = NULL;
    peer->dial_at_ms = MYCO__NEVER;
    peer->generation = conn->generation;
    peer->refusal = MYCO__NO_REFUSAL;
    peer->failed = MYCO_DOWN_CLOSED;
    dismiss_others(conn);
    MYCO_METRIC_SET(net->options.metrics, PEERS_CONNECTED, ++net->up_count);
    MYCO_INFO(net->options.log, "net", "peer connected",
        "peer=%016" PRIx64 " name=%s addr=%s generation=%" PRIu64, peer->id, conn->name,
        myco_addr_text(&conn->addr, text), conn->generation);
    const struct myco_transport_events *events = &net->events;
    events->on_up(peer->id, conn->generation, conn->features, events->data);
}

/* Makes room for `conn`: the link that stood is dead. NULL: what was told of that changed our
 * mind. */
static struct myco__peer *replace_link(struct myco__conn *conn)
{
    struct myco__peer *peer = myco__peer_get(conn->net, conn->id);
    if (peer == NULL || peer->up == NULL) return peer;
    myco__conn_lost(peer->up, MYCO_DOWN_RESET);
    if (conn->state != MYCO__CONN_WAITING) return NULL;
    return myco__peer_get(conn->net, conn->id);
}

static void put_link(struct myco__conn *conn, struct myco_buf *frame)
{
    myco__lane_put_link(conn, frame);
    myco__conn_dirty(conn);
}

/* The connection, whose HELLO was good, or the peer's being linked changed: what follows from
 * it? */
void myco__conn_consider(struct myco__conn *conn)
{
    struct myco__peer *peer = myco__peer_get(conn->net, conn->id);
    if (peer == NULL || conn->state != MYCO__CONN_WAITING) return;
    struct myco_buf frame = {0};
    if (!conn->ready) {
        conn->ready = true;
        myco_link_put_ready(&frame, peer->session);
        put_link(conn, &frame);
    }
    if (conn->session == 0) return;
    if (peer->up != NULL && !is_newer(conn, peer->up)) {
        if (we_choose(conn)) myco__conn_dismiss(conn, MYCO_GOODBYE_DUPLICATE, MYCO_DOWN_CLOSED);
        return;
    }
    peer = replace_link(conn);
    if (peer == NULL || !we_choose(conn)) return;
    myco_link_put_empty(&frame, MYCO_LINK_ACCEPT);
    put_link(conn, &frame);
    go_up(conn, peer);
}

/* ── The link's frames ──────────────────────────────────────────────────────────────────────── */

void myco__conn_hello(struct myco__conn *conn)
{
    const struct myco_net *net = conn->net;
    const struct myco_net_options *options = &net->options;
    const struct myco__peer *peer = myco__peer_get(conn->net, conn->id);
    struct myco_hello hello = {
        .version_lowest = MYCO_WIRE_VERSION_LOWEST,
        .version_highest = MYCO_WIRE_VERSION_HIGHEST,
        .features = options->features,
        .cluster = options->cluster,
        .id = options->id,
        .generation = options->generation,
        .session = peer != NULL ? peer->session : 0,
        .listen = options->advertise,
    };
    myco_text_copy(hello.name, sizeof hello.name, net->name);
    conn->ready = peer != NULL;
    struct myco_buf frame = {0};
    myco_link_put_hello(&frame, &hello);
    put_link(conn, &frame);
}

static enum myco_net_refusal judge(struct myco__conn *conn, const struct myco_hello *theirs)
{
    const struct myco_net_options *options = &conn->net->options;
    const struct myco_hello ours = {
        .version_lowest = MYCO_WIRE_VERSION_LOWEST, .version_highest = MYCO_WIRE_VERSION_HIGHEST};
    conn->version = myco_hello_agree(&ours, theirs);
    if (conn->version == 0) return MYCO_NET_REFUSED_VERSION;
    if (theirs->cluster != options->cluster) return MYCO_NET_REFUSED_CLUSTER;
    if (theirs->id == options->id) return MYCO_NET_REFUSED_SELF;
    if (conn->dialled && theirs->id != conn->id) return MYCO_NET_REFUSED_IDENTITY;
    const struct myco__peer *peer = myco__peer_get(conn->net, theirs->id);
    if (peer == NULL) return MYCO__NO_REFUSAL;
    if (theirs->generation < peer->generation) return MYCO_NET_REFUSED_STALE;
    bool same_life = peer->up != NULL && theirs->generation == peer->generation;
    if (same_life && !myco_addr_equal(&theirs->listen, &peer->up->listen))
        return MYCO_NET_REFUSED_TWIN; /* a data folder was copied, generation and all */
    return MYCO__NO_REFUSAL;
}

static void on_hello(struct myco__conn *conn, struct myco_slice payload)
{
    struct myco_hello hello;
    struct myco_err err = {0};
    if (myco_link_get_hello(&hello, payload, &err) != 0) {
        myco__conn_refuse(conn, MYCO_NET_REFUSED_GARBAGE, err.message);
        return;
    }
    enum myco_net_refusal refusal = judge(conn, &hello);
    if (refusal == MYCO__NO_REFUSAL) conn->id = hello.id;
    if (!conn->dialled) myco__conn_hello(conn); /* also to whom we refuse: it can say why */
    if (refusal != MYCO__NO_REFUSAL) {
        myco__conn_refuse(conn, refusal, hello.name);
        return;
    }
    conn->generation = hello.generation;
    conn->listen = hello.listen;
    conn->features = hello.features & conn->net->options.features;
    conn->session = hello.session;
    myco_text_copy(conn->name, sizeof conn->name, hello.name);
    myco__conn_set_state(conn, MYCO__CONN_WAITING);
    const struct myco_transport_events *events = &conn->net->events;
    if (events->on_dialled != NULL && myco__peer_get(conn->net, conn->id) == NULL)
        events->on_dialled(conn->id, events->data);
    if (!myco__conn_over(conn)) myco__conn_consider(conn);
}

static bool on_ready(struct myco__conn *conn, struct myco_slice payload)
{
    if (conn->state != MYCO__CONN_WAITING) return conn->state == MYCO__CONN_UP;
    if (myco_link_get_ready(&conn->session, payload) != 0) return false;
    myco__conn_consider(conn);
    return true;
}

static bool on_accept(struct myco__conn *conn)
{
    if (conn->state != MYCO__CONN_WAITING || !conn->ready || we_choose(conn)) return false;
    struct myco__peer *peer = replace_link(conn);
    if (peer != NULL) go_up(conn, peer);
    return true;
}

static void on_goodbye(struct myco__conn *conn, struct myco_slice payload)
{
    char text[MYCO_ADDR_TEXT_MAX];
    uint8_t reason = 0;
    myco_link_get_goodbye(&reason, payload); /* one of a later version is as good */
    bool displaced = reason == MYCO_GOODBYE_IDENTITY;
    bool foreign = reason == MYCO_GOODBYE_VERSION || reason == MYCO_GOODBYE_CLUSTER ||
                   reason == MYCO_GOODBYE_STALE || reason == MYCO_GOODBYE_TWIN;
    MYCO_DEBUG(conn->net->options.log, "net", "goodbye", "addr=%s name=%s reason=\"%s\"",
        myco_addr_text(&conn->addr, text), conn->name, myco_goodbye_text(reason));
    myco__conn_close(conn);
    myco__conn_ended(conn, displaced ? MYCO_DOWN_DISPLACED
                           : foreign ? MYCO_DOWN_FOREIGN
                                     : MYCO_DOWN_CLOSED);
}

void myco__conn_on_link_frame(struct myco__conn *conn, const struct myco_frame_message *message)
{
    bool expected = true;
    switch (message->type) {
    case MYCO_LINK_HELLO:
        expected = conn->state == MYCO__CONN_GREETING;
        if (expected) on_hello(conn, message->payload);
        break;
    case MYCO_LINK_READY: expected = on_ready(conn, message->payload); break;
    case MYCO_LINK_ACCEPT: expected = on_accept(conn); break;
    case MYCO_LINK_GOODBYE: on_goodbye(conn, message->payload); break;
    default: break; /* PING; frames of later versions are skipped */
    }
    if (!expected) myco__conn_refuse(conn, MYCO_NET_REFUSED_GARBAGE, "link frame out of turn");
}
