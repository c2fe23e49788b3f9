/* Sending what waits in the lanes: connections with something to send stand in a dirty list, which
 * is flushed once before and once after the loop polls, so that what one turn produced goes in one
 * write.
 *
 * uv_try_write takes as many bytes as the kernel wants (TCP_NOTSENT_LOWAT keeps that little); of
 * the rest only the piece that has begun is left to uv_write, and its callback makes the connection
 * dirty again. So whatever becomes urgent meanwhile waits for one piece at most.
 *
 * progress() is the one way in which queues shrink, from both write paths, and it alone tells
 * on_drain. */
#include "net/net_private.h"

#define PIECES_MAX  16
#define GATHER_SIZE (256 * 1024)
#define TURN_SIZE_MAX                                                                              \
    (1024 * 1024) /* for one connection in one turn; then the others, and reading */

static void on_written(uv_write_t *request, int status);

void myco__conn_dirty(struct myco__conn *conn)
{
    struct myco_net *net = conn->net;
    if (!myco_list_empty(&conn->dirty)) return;
    myco_list_append(&net->dirty, &conn->dirty);
}

/* Tells on_drain where it is owed; its receiver may send, unlink or close. */
static void tell_drained(struct myco__conn *conn)
{
    for (int i = 0; i < MYCO_LANE_COUNT && conn->state == MYCO__CONN_UP; i++) {
        struct myco__lane *lane = &conn->lanes[i];
        if (!lane->refused || lane->size > lane->size_max / 2) continue;
        lane->refused = false;
        const struct myco_transport_events *events = &conn->net->events;
        events->on_drain(conn->id, (enum myco_lane)i, events->data);
    }
}

static void count_written(struct myco__conn *conn, size_t size)
{
    conn->quiet = 0;
    MYCO_METRIC_ADD(conn->net->options.metrics, BYTES_OUT, size);
}

/* `written` bytes of these pieces are with the kernel. */
static void progress(
    struct myco__conn *conn, const struct myco__piece *pieces, size_t count, size_t written)
{
    count_written(conn, written);
    for (size_t i = 0; i < count; i++) {
        size_t left = myco__piece_size(&pieces[i]) - pieces[i].done;
        if (written < left) {
            if (pieces[i].done + written == 0) break; /* not begun: something else may go first */
            conn->piece = pieces[i];
            conn->piece.done += written;
            break;
        }
        written -= left;
        myco__piece_complete(conn, &pieces[i]);
    }
    tell_drained(conn);
}

/* >= 0: bytes written, fewer than asked when the kernel is full. */
static int try_write(struct myco__conn *conn, const uv_buf_t *bufs, unsigned count)
{
    int written = uv_try_write((uv_stream_t *)&conn->tcp, bufs, count);
    return written == UV_EAGAIN ? 0 : written;
}

static void write_later(struct myco__conn *conn, const uv_buf_t *bufs, unsigned count)
{
    conn->write.data = conn;
    int status = uv_write(&conn->write, (uv_stream_t *)&conn->tcp, bufs, count, on_written);
    if (status == 0)
        conn->writing = true;
    else
        myco__conn_lost(conn, MYCO_DOWN_RESET);
}

static bool can_write(const struct myco__conn *conn)
{
    return !conn->writing && conn->state != MYCO__CONN_DIALLING && conn->state != MYCO__CONN_CLOSED;
}

/* ── Plain ──────────────────────────────────────────────────────────────────────────────────── */

/* The kernel is full: the piece that has begun, or else the most urgent one, is for uv_write. */
static void wait_for_kernel(struct myco__conn *conn)
{
    struct myco__piece next;
    if (!can_write(conn) || myco__lanes_gather(conn, &next, 1, 1) == 0) return;
    conn->piece = next;
    uv_buf_t bufs[2];
    unsigned count = myco__piece_bufs(&conn->piece, bufs);
    write_later(conn, bufs, count);
}

static void flush_plain(struct myco__conn *conn)
{
    struct myco__piece pieces[PIECES_MAX];
    uv_buf_t bufs[PIECES_MAX * 2];
    size_t turn = 0;
    while (can_write(conn)) {
        size_t count = myco__lanes_gather(conn, pieces, PIECES_MAX, GATHER_SIZE);
        if (count == 0) return;
        if (turn >= TURN_SIZE_MAX) {
            myco__conn_dirty(conn);
            return;
        }
        unsigned buf_count = 0;
        size_t size = 0;
        for (size_t i = 0; i < count; i++) {
            buf_count += myco__piece_bufs(&pieces[i], bufs + buf_count);
            size += myco__piece_size(&pieces[i]) - pieces[i].done;
        }
        int written = try_write(conn, bufs, buf_count);
        if (written < 0) {
            myco__conn_lost(conn, MYCO_DOWN_RESET);
            return;
        }
        turn += (size_t)written;
        progress(conn, pieces, count, (size_t)written);
        if ((size_t)written < size) {
            wait_for_kernel(conn);
            return;
        }
    }
}

/* ── TLS ────────────────────────────────────────────────────────────────────────────────────── */

/* Writes encrypted bytes. False: the kernel is full, or the connection broke. */
static bool flush_cipher(struct myco__conn *conn)
{
    struct myco_slice cipher = myco__tls_pending(conn->tls);
    if (cipher.size == 0) return true;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)cipher.data, (unsigned)cipher.size);
    int written = try_write(conn, &buf, 1);
    if (written < 0) {
        myco__conn_lost(conn, MYCO_DOWN_RESET);
        return false;
    }
    count_written(conn, (size_t)written);
    myco__tls_written(conn->tls, (size_t)written);
    if ((size_t)written == cipher.size) return true;
    buf = uv_buf_init(buf.base + written, (unsigned)(cipher.size - (size_t)written));
    write_later(conn, &buf, 1);
    return false;
}

static int encrypt(struct myco__conn *conn, const struct myco__piece *piece)
{
    uv_buf_t bufs[2];
    unsigned count = myco__piece_bufs(piece, bufs);
    int status = 0;
    for (unsigned i = 0; i < count && status == 0; i++)
        status = myco__tls_write(conn->tls, myco_bytes(bufs[i].base, bufs[i].len));
    return status;
}

/* Encrypts the next piece only when the last one went to the kernel: order is decided late. */
static void flush_tls(struct myco__conn *conn)
{
    size_t turn = 0;
    while (can_write(conn) && flush_cipher(conn) && myco__tls_established(conn->tls)) {
        struct myco__piece piece;
        if (myco__lanes_gather(conn, &piece, 1, 1) == 0) return;
        if (turn >= TURN_SIZE_MAX) {
            myco__conn_dirty(conn);
            return;
        }
        if (encrypt(conn, &piece) != 0) {
            myco__conn_lost(conn, MYCO_DOWN_RESET);
            return;
        }
        turn += myco__piece_size(&piece);
        myco__piece_complete(conn, &piece);
        tell_drained(conn);
    }
}

/* ── Both ───────────────────────────────────────────────────────────────────────────────────── */

static void on_shut(uv_shutdown_t *request, int status)
{
    (void)request, (void)status; /* the other side closes, or the time limit does */
}

static void flush(struct myco__conn *conn)
{
    if (!can_write(conn)) return;
    if (conn->tls != NULL)
        flush_tls(conn);
    else
        flush_plain(conn);
    bool done = conn->state == MYCO__CONN_LINGERING && can_write(conn) && myco__lanes_empty(conn);
    if (!done || conn->shut) return;
    conn->shut = true;
    if (uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shut) != 0)
        myco__conn_close(conn);
}

static void on_written(uv_write_t *request, int status)
{
    struct myco__conn *conn = request->data;
    conn->writing = false;
    if (conn->state == MYCO__CONN_CLOSED) return;
    if (status != 0) {
        myco__conn_lost(conn, MYCO_DOWN_RESET);
        return;
    }
    if (conn->tls != NULL) {
        size_t size = myco__tls_pending(conn->tls).size;
        count_written(conn, size);
        myco__tls_written(conn->tls, size);
    } else {
        struct myco__piece piece = conn->piece;
        progress(conn, &piece, 1, myco__piece_size(&piece) - piece.done);
    }
    if (conn->state != MYCO__CONN_CLOSED) myco__conn_dirty(conn);
}

static void on_awake(uv_idle_t *idle)
{
    (void)idle; /* its being active is all that it is for */
}

/* Only those that are dirty now: a receiver of on_drain that always sends more must not hold the
 * loop. While any are left, poll does not block. */
void myco__flush_all(struct myco_net *net)
{
    struct myco_list now;
    myco_list_init(&now);
    for (struct myco_list *link; (link = myco_list_pop(&net->dirty)) != NULL;)
        myco_list_append(&now, link);
    for (struct myco_list *link; (link = myco_list_pop(&now)) != NULL;)
        flush(MYCO_CONTAINER(link, struct myco__conn, dirty));
    if (myco_list_empty(&net->dirty))
        uv_idle_stop(&net->awake);
    else
        uv_idle_start(&net->awake, on_awake);
}
