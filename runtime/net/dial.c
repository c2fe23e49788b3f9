/* How connections come to be: the listener, and dialling with back-off.
 *
 * A peer is dialled at once when it is linked and when its link broke; then after 20 ms, doubling
 * up to a second, each with jitter down to half, so that nodes which lost each other together do
 * not come back together. One timer serves all peers. */
#include <sys/socket.h>

#include "base/err.h"
#include "net/net_private.h"

#define BACKLOG 128

/* ── The listener ───────────────────────────────────────────────────────────────────────────── */

static int uv_failed(struct myco_err *err, int status, const char *what)
{
    return myco_err(err, myco_err_from_errno(-status), "%s: %s", what, uv_strerror(status));
}

static void on_incoming(uv_stream_t *listener, int status)
{
    struct myco_net *net = listener->data;
    if (status != 0 || net->closing) return; /* out of descriptors, say: libuv goes on listening */
    struct myco__conn *conn = myco__conn_new(net, false);
    if (uv_accept(listener, (uv_stream_t *)&conn->tcp) != 0) {
        myco__conn_close(conn);
        return;
    }
    struct sockaddr_storage from;
    int size = sizeof from;
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&from, &size) == 0)
        myco_addr_from_sockaddr(&conn->addr, &from);
    if (net->incoming_count >= net->options.incoming_max) {
        myco__conn_refuse(conn, MYCO_NET_REFUSED_CROWDED, "");
        return;
    }
    myco__conn_set_state(conn, MYCO__CONN_GREETING);
    myco__conn_start(conn);
}

int myco__listen(struct myco_net *net, struct myco_addr *bound, struct myco_err *err)
{
    struct sockaddr_storage address = {0};
    if (net->options.listen.family == 0)
        return myco_err(err, MYCO_EINVAL, "no address to listen on");
    myco_addr_to_sockaddr(&net->options.listen, &address);
    int status = uv_tcp_bind(&net->listener, (struct sockaddr *)&address, 0); /* SO_REUSEADDR too */
    if (status == 0) status = uv_listen((uv_stream_t *)&net->listener, BACKLOG, on_incoming);
    int size = sizeof address;
    if (status == 0)
        status = uv_tcp_getsockname(&net->listener, (struct sockaddr *)&address, &size);
    char text[MYCO_ADDR_TEXT_MAX];
    if (status != 0) {
        uv_failed(err, status, myco_addr_text(&net->options.listen, text));
        return myco_err_wrap(err, "listen for peers");
    }
    myco_addr_from_sockaddr(bound, &address);
    return 0;
}

/* ── Dialling ───────────────────────────────────────────────────────────────────────────────── */

/* splitmix64, seeded by who we are: all that is wanted is that two nodes differ. */
static uint64_t jitter_below(struct myco_net *net, uint64_t bound)
{
    uint64_t z = (net->jitter += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % bound;
}

/* The peer that is due first, or NULL. */
static struct myco__peer *first_due(struct myco_net *net)
{
    struct myco__peer *first = NULL;
    MYCO_MAP_EACH (struct myco__peer, peer, &net->peers) {
        if (peer->dial_at_ms != MYCO__NEVER && (!first || peer->dial_at_ms < first->dial_at_ms))
            first = peer;
    }
    return first;
}

static void arm(struct myco_net *net)
{
    struct myco__peer *first = first_due(net);
    if (first == NULL) {
        uv_timer_stop(&net->dialler);
        return;
    }
    uint64_t now = uv_now(net->loop);
    uint64_t delay = first->dial_at_ms > now ? first->dial_at_ms - now : 0;
    uv_timer_start(&net->dialler, myco__on_dial_timer, delay, 0);
}

void myco__dial_soon(struct myco_net *net, struct myco__peer *peer)
{
    peer->dial_at_ms = uv_now(net->loop);
    arm(net);
}

void myco__dial_again(struct myco_net *net, struct myco__peer *peer)
{
    const struct myco_net_options *options = &net->options;
    unsigned backoff = peer->backoff_ms;
    uint64_t delay = backoff == 0 ? 0 : backoff - jitter_below(net, backoff / 2 + 1);
    peer->backoff_ms = backoff == 0 ? options->backoff_min_ms : backoff * 2;
    if (peer->backoff_ms > options->backoff_max_ms) peer->backoff_ms = options->backoff_max_ms;
    peer->dial_at_ms = uv_now(net->loop) + delay;
    arm(net);
}

static enum myco_down_reason reason_of(int status)
{
    switch (status) {
    case UV_ECONNREFUSED: return MYCO_DOWN_REFUSED;
    case UV_ECONNRESET:
    case UV_ECONNABORTED: return MYCO_DOWN_RESET;
    default: return MYCO_DOWN_TIMEOUT; /* can't be reached */
    }
}

static void on_connected(uv_connect_t *request, int status)
{
    struct myco__conn *conn = request->data;
    if (conn->state == MYCO__CONN_CLOSED) return;
    if (status != 0) {
        myco__conn_lost(conn, reason_of(status));
        return;
    }
    myco__conn_set_state(conn, MYCO__CONN_GREETING);
    myco__conn_start(conn);
}

static void dial(struct myco_net *net, struct myco__peer *peer)
{
    struct myco__conn *conn = myco__conn_new(net, true);
    conn->id = peer->id;
    conn->addr = peer->addr;
    peer->dial = conn;
    struct sockaddr_storage address = {0};
    myco_addr_to_sockaddr(&peer->addr, &address);
    conn->connect.data = conn;
    int status =
        uv_tcp_connect(&conn->connect, &conn->tcp, (struct sockaddr *)&address, on_connected);
    if (status != 0) myco__conn_lost(conn, reason_of(status));
}

/* An incoming connection of this peer may wait for nothing but our link: then it need not be
 * dialled. */
static bool has_waiting(struct myco_net *net, struct myco__peer *peer)
{
    bool found = false;
    MYCO_LIST_EACH (link, &net->conns) {
        struct myco__conn *conn = MYCO_CONTAINER(link, struct myco__conn, link);
        if (conn->id != peer->id || conn->state != MYCO__CONN_WAITING) continue;
        found = true;
        myco__conn_consider(conn);
        if (myco__peer_get(net, conn->id) != peer) return true; /* unlinked by what it was told */
    }
    return found;
}

static void attempt(struct myco_net *net, struct myco__peer *peer)
{
    uint64_t id = peer->id;
    peer->dial_at_ms = MYCO__NEVER;
    bool waiting = has_waiting(net, peer);
    if (myco__peer_get(net, id) != peer || peer->up != NULL || peer->dial != NULL) return;
    if (waiting)
        peer->dial_at_ms = uv_now(net->loop) + net->options.backoff_max_ms; /* look again */
    else
        dial(net, peer);
}

void myco__on_dial_timer(uv_timer_t *timer)
{
    struct myco_net *net = timer->data;
    uint64_t now = uv_now(net->loop);
    struct myco__peer *peer;
    while (!net->closing && (peer = first_due(net)) != NULL && peer->dial_at_ms <= now)
        attempt(net, peer);
    if (!net->closing) arm(net);
}
