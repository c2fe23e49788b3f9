/* One connection's life: how it begins, is read, is timed, and ends.
 *
 *     DIALLING ──→ GREETING ──→ WAITING ──→ UP
 *        │            │            │         │      what peer.c decides
 *        └────────────┴─────┬──────┴─────────┘
 *                           ↓
 *               (LINGERING) → CLOSED → freed in uv_close's callback
 *
 * Time is counted in ticks of a running loop, not by the clock: a process that was stopped for a
 * minute wakes to one tick, reads what waits in its sockets, and declares nobody dead. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "net/net_private.h"

#define NOTSENT_LOWAT    (16 * 1024) /* bytes the kernel queues unsent before it is "full" */
#define LINGER_TICKS_MAX 2

/* ── Beginning ──────────────────────────────────────────────────────────────────────────────── */

static bool is_loose(const struct myco__conn *conn) /* counts against incoming_max */
{
    bool early = conn->state == MYCO__CONN_GREETING || conn->state == MYCO__CONN_WAITING;
    return early && !conn->dialled;
}

void myco__conn_set_state(struct myco__conn *conn, enum myco__conn_state state)
{
    conn->net->incoming_count -= is_loose(conn);
    conn->state = state;
    conn->age = 0;
    conn->net->incoming_count += is_loose(conn);
}

struct myco__conn *myco__conn_new(struct myco_net *net, bool dialled)
{
    struct myco__conn *conn = myco_alloc(sizeof *conn);
    conn->net = net;
    conn->dialled = dialled;
    conn->state = MYCO__CONN_DIALLING;
    int status = uv_tcp_init(net->loop, &conn->tcp);
    MYCO_ASSERT(status == 0); /* without a socket nothing is allocated that could fail */
    conn->tcp.data = conn;
    myco_list_append(&net->conns, &conn->link);
    myco_list_init(&conn->dirty);
    myco__lanes_init(conn);
    return conn;
}

static void set_socket_options(struct myco__conn *conn)
{
    int lowat = NOTSENT_LOWAT, fd;
    uv_tcp_nodelay(&conn->tcp, 1);
    if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat); /* for latency only */
}

static void lend_buffer(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    (void)hint;
    struct myco__conn *conn = handle->data;
    *buf = uv_buf_init((char *)conn->net->read_bytes, MYCO__READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf);

static bool start_tls(struct myco__conn *conn)
{
    if (conn->net->tls_context == NULL) return true;
    conn->tls = myco__tls_new(conn->net->tls_context, conn->dialled);
    return conn->tls != NULL && myco__tls_start(conn->tls) == 0;
}

/* The one that dialled speaks first; the other answers once it knows who asks. */
void myco__conn_start(struct myco__conn *conn)
{
    set_socket_options(conn);
    if (!start_tls(conn) || uv_read_start((uv_stream_t *)&conn->tcp, lend_buffer, on_read) != 0) {
        myco__conn_lost(conn, MYCO_DOWN_RESET);
        return;
    }
    if (conn->dialled) myco__conn_hello(conn);
    myco__conn_dirty(conn);
}

/* ── Reading ────────────────────────────────────────────────────────────────────────────────── */

bool myco__conn_over(const struct myco__conn *conn)
{
    return conn->state == MYCO__CONN_LINGERING || conn->state == MYCO__CONN_CLOSED;
}

static void on_frame(struct myco__conn *conn, const struct myco_frame_message *message)
{
    if (message->lane == MYCO_FRAME_LANE_LINK) {
        myco__conn_on_link_frame(conn, message);
        return;
    }
    /* the reassembly refuses messages before the connection is up */
    const struct myco_transport_events *events = &conn->net->events;
    events->on_message(conn->id, message->type, message->payload, events->data);
}

void myco__conn_feed(struct myco__conn *conn, struct myco_slice bytes)
{
    struct myco_frame_message message;
    struct myco_err err = {0};
    int status = 1;
    while (status == 1 && !myco__conn_over(conn)) {
        status = myco_frames_next(&conn->frames, &bytes, &message, &err);
        if (status == 1) on_frame(conn, &message);
    }
    uint64_t frames = conn->frames.frame_count - conn->frames_counted;
    conn->frames_counted = conn->frames.frame_count;
    MYCO_METRIC_ADD(conn->net->options.metrics, FRAMES_IN, frames);
    if (status >= 0 || myco__conn_over(conn)) return;
    if (status == MYCO_ENOMEM) /* the peer is not to blame */
        myco__conn_lost(conn, MYCO_DOWN_RESET);
    else
        myco__conn_refuse(conn, MYCO_NET_REFUSED_GARBAGE, err.message);
}

static void refuse_tls(struct myco__conn *conn)
{
    if (conn->state == MYCO__CONN_UP)
        myco__conn_lost(conn, MYCO_DOWN_RESET);
    else
        myco__conn_refuse(conn, MYCO_NET_REFUSED_TLS, myco__tls_detail(conn->tls));
}

/* OpenSSL takes a copy, so the shared buffer is free for what comes out. */
static void feed_tls(struct myco__conn *conn, struct myco_slice cipher)
{
    int size = myco__tls_receive(conn->tls, cipher);
    uint8_t *plain = conn->net->read_bytes;
    while (size == 0 && (size = myco__tls_read(conn->tls, plain, MYCO__READ_SIZE)) > 0) {
        myco__conn_feed(conn, myco_bytes(plain, (size_t)size));
        if (myco__conn_over(conn)) return;
        size = 0;
    }
    if (size < 0) refuse_tls(conn);
    /* the handshake's answer, or an alert that says why not */
    if (conn->state != MYCO__CONN_CLOSED) myco__conn_dirty(conn);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct myco__conn *conn = stream->data;
    if (size == 0 || conn->state == MYCO__CONN_CLOSED) return;
    if (size > 0 && MYCO_FAULT("net.read")) size = UV_ECONNRESET;
    if (size < 0) {
        myco__conn_lost(conn, MYCO_DOWN_RESET);
        return;
    }
    conn->silent = 0;
    MYCO_METRIC_ADD(conn->net->options.metrics, BYTES_IN, (uint64_t)size);
    if (conn->state == MYCO__CONN_LINGERING) return;
    struct myco_slice bytes = myco_bytes(buf->base, (size_t)size);
    if (conn->tls != NULL)
        feed_tls(conn, bytes);
    else
        myco__conn_feed(conn, bytes);
}

/* ── Timing ─────────────────────────────────────────────────────────────────────────────────── */

static unsigned ticks_of(const struct myco_net *net, unsigned ms)
{
    unsigned tick_ms = net->options.ping_ms / 2;
    return ms / tick_ms + (ms % tick_ms != 0);
}

static void ping(struct myco__conn *conn)
{
    struct myco_buf frame = {0};
    myco_link_put_empty(&frame, MYCO_LINK_PING);
    myco__lane_put_link(conn, &frame);
    myco__conn_dirty(conn);
}

static void tick_up(struct myco__conn *conn)
{
    const struct myco_net_options *options = &conn->net->options;
    struct myco__peer *peer = myco__peer_get(conn->net, conn->id);
    if (conn->age >= 2) peer->backoff_ms = 0; /* it held: the next loss is dialled at once */
    if (++conn->silent >= ticks_of(conn->net, options->timeout_ms))
        myco__conn_lost(conn, MYCO_DOWN_TIMEOUT);
    else if (++conn->quiet >= 2 && !conn->writing)
        ping(conn);
}

void myco__conn_tick(struct myco__conn *conn)
{
    struct myco_net *net = conn->net;
    conn->age++;
    switch (conn->state) {
    case MYCO__CONN_DIALLING:
    case MYCO__CONN_GREETING:
        if (conn->age >= ticks_of(net, net->options.handshake_ms))
            myco__conn_lost(conn, MYCO_DOWN_TIMEOUT);
        break;
    case MYCO__CONN_WAITING:
        if (conn->age >= ticks_of(net, net->options.unlinked_ms))
            myco__conn_dismiss(conn, MYCO_GOODBYE_UNWANTED, MYCO_DOWN_CLOSED);
        break;
    case MYCO__CONN_UP: tick_up(conn); break;
    case MYCO__CONN_LINGERING:
        if (conn->age >= LINGER_TICKS_MAX) myco__conn_close(conn);
        break;
    case MYCO__CONN_CLOSED: break;
    }
}

/* ── Ending ─────────────────────────────────────────────────────────────────────────────────── */

static void on_closed(uv_handle_t *handle)
{
    struct myco__conn *conn = handle->data;
    struct myco_net *net = conn->net;
    myco_list_remove(&conn->link);
    myco__lanes_free(conn);
    myco_frames_free(&conn->frames);
    myco__tls_free(conn->tls);
    myco_free(conn);
    myco__net_conn_freed(net);
}

void myco__conn_close(struct myco__conn *conn)
{
    if (conn->state == MYCO__CONN_CLOSED) return;
    myco__conn_set_state(conn, MYCO__CONN_CLOSED);
    myco_list_remove(&conn->dirty);
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

/* What was queued is dropped; GOODBYE (0: none) is sent, and the other side's end awaited, since
 * closing while it still sends would make the kernel reset the connection and GOODBYE be lost. */
void myco__conn_goodbye(struct myco__conn *conn, uint8_t reason)
{
    if (myco__conn_over(conn)) return;
    if (conn->state == MYCO__CONN_DIALLING) {
        myco__conn_close(conn);
        return;
    }
    myco__lanes_drop(conn);
    struct myco_buf frame = {0};
    if (reason != 0) {
        myco_link_put_goodbye(&frame, reason);
        myco__lane_put_link(conn, &frame);
    }
    myco__conn_set_state(conn, MYCO__CONN_LINGERING);
    myco__conn_dirty(conn);
}

void myco__conn_dismiss(struct myco__conn *conn, uint8_t goodbye, enum myco_down_reason reason)
{
    myco__conn_goodbye(conn, goodbye);
    myco__conn_ended(conn, reason);
}
