/* The transport as its users see it: open, link, send, close. */
#include "net/net.h"

#include <pthread.h>
#include <signal.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/net_private.h"

static struct myco_net *net_of(struct myco_transport *transport)
{
    return MYCO_CONTAINER(transport, struct myco_net, transport);
}

/* ── The transport's calls ──────────────────────────────────────────────────────────────────── */

static void link_peer(struct myco_transport *transport, uint64_t id, const struct myco_addr *addr)
{
    struct myco_net *net = net_of(transport);
    MYCO_ASSERT(id != 0 && id != net->options.id);
    struct myco__peer *peer = myco__peer_get(net, id);
    if (peer != NULL) {
        bool moved = !myco_addr_equal(&peer->addr, addr);
        peer->addr = *addr;
        if (!moved || peer->up != NULL) return;
        if (peer->dial != NULL) myco__conn_goodbye(peer->dial, MYCO_GOODBYE_UNLINKED);
        peer->dial = NULL;
        peer->backoff_ms = 0;
    } else {
        peer = myco_alloc(sizeof *peer);
        *peer = (struct myco__peer){.id = id, .addr = *addr, .refusal = MYCO__NO_REFUSAL};
        peer->session = ++net->sessions;
        myco_map_put(&net->peers, id, peer);
    }
    myco__dial_soon(net, peer);
}

/* The caller knows: on_down does not tell it of what it did itself. */
static void unlink_peer(struct myco_transport *transport, uint64_t id)
{
    struct myco_net *net = net_of(transport);
    struct myco__peer *peer = myco_map_del(&net->peers, id);
    if (peer == NULL) return;
    if (peer->up != NULL) MYCO_METRIC_SET(net->options.metrics, PEERS_CONNECTED, --net->up_count);
    MYCO_LIST_EACH (link, &net->conns) {
        struct myco__conn *conn = MYCO_CONTAINER(link, struct myco__conn, link);
        if (conn->id == id) myco__conn_goodbye(conn, MYCO_GOODBYE_UNLINKED);
    }
    myco_free(peer);
}

static bool is_up(struct myco_transport *transport, uint64_t id)
{
    const struct myco__peer *peer = myco__peer_get(net_of(transport), id);
    return peer != NULL && peer->up != NULL;
}

static int send_message(struct myco_transport *transport, uint64_t id, enum myco_lane lane,
    uint8_t type, struct myco_buf *payload)
{
    const struct myco__peer *peer = myco__peer_get(net_of(transport), id);
    int status = 0;
    if (payload->failed)
        status = MYCO_ENOMEM;
    else if (payload->size > MYCO_MESSAGE_SIZE_MAX)
        status = MYCO_ETOOBIG;
    else if (peer == NULL || peer->up == NULL)
        status = MYCO_ENOTCONN;
    else
        status = myco__lane_put(peer->up, lane, type, payload);
    if (status == 0) myco__conn_dirty(peer->up);
    myco_buf_free(payload); /* a large message was moved away */
    return status;
}

static const struct myco_transport_ops ops = {
    .link = link_peer, .unlink = unlink_peer, .is_up = is_up, .send = send_message};

/* ── The loop ───────────────────────────────────────────────────────────────────────────────── */

static void on_before_poll(uv_prepare_t *handle)
{
    myco__flush_all(handle->data);
}

static void on_after_poll(uv_check_t *handle)
{
    myco__flush_all(handle->data);
}

static void on_tick(uv_timer_t *timer)
{
    struct myco_net *net = timer->data;
    MYCO_LIST_EACH (link, &net->conns)
        myco__conn_tick(MYCO_CONTAINER(link, struct myco__conn, link));
}

/* ── Open ───────────────────────────────────────────────────────────────────────────────────── */

/* libuv writes without MSG_NOSIGNAL, and a peer's reset must not end the host. A host that handles
 * or ignores SIGPIPE has decided already; else this thread alone does not get it (and not again
 * after close: one may be pending). */
static void shield_from_sigpipe(void)
{
    struct sigaction current;
    sigset_t set;
    if (sigaction(SIGPIPE, NULL, &current) != 0 || current.sa_handler != SIG_DFL) return;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void set_default(unsigned *value, unsigned by_default)
{
    if (*value == 0) *value = by_default;
}

static void set_options(struct myco_net *net, const struct myco_net_options *given)
{
    struct myco_net_options *options = &net->options;
    *options = *given;
    static const size_t lanes[] = {16 << 20, 64 << 20, 64 << 20};
    for (int i = 0; i < MYCO_LANE_COUNT; i++) {
        if (options->lane_size_max[i] == 0) options->lane_size_max[i] = lanes[i];
    }
    set_default(&options->ping_ms, 500);
    if (options->ping_ms < 2) options->ping_ms = 2;
    set_default(&options->timeout_ms, 3000);
    set_default(&options->handshake_ms, 2000);
    set_default(&options->unlinked_ms, 5000);
    set_default(&options->backoff_min_ms, 20);
    set_default(&options->backoff_max_ms, 1000);
    set_default(&options->incoming_max, 256);
    myco_text_copy(net->name, sizeof net->name, given->name != NULL ? given->name : "");
    options->name = options->tls = NULL;
    net->jitter = given->id ^ given->generation;
}

static void init_handles(struct myco_net *net)
{
    uv_loop_t *loop = net->loop = net->options.loop;
    uv_tcp_init(loop, &net->listener);
    uv_timer_init(loop, &net->ticker);
    uv_timer_init(loop, &net->dialler);
    uv_prepare_init(loop, &net->before_poll);
    uv_check_init(loop, &net->after_poll);
    uv_idle_init(loop, &net->awake);
    net->listener.data = net->ticker.data = net->dialler.data = net;
    net->before_poll.data = net->after_poll.data = net->awake.data = net;
    net->handle_count = 6;
}

static void start_handles(struct myco_net *net)
{
    unsigned tick_ms = net->options.ping_ms / 2;
    uv_timer_start(&net->ticker, on_tick, tick_ms, tick_ms);
    uv_prepare_start(&net->before_poll, on_before_poll);
    uv_check_start(&net->after_poll, on_after_poll);
}

int myco_net_open(const struct myco_net_options *options,
    const struct myco_transport_events *events, struct myco_net **opened, struct myco_addr *bound,
    struct myco_err *err)
{
    *opened = NULL;
    void *tls_context = NULL;
    if (options->id == 0) return myco_err(err, MYCO_EINVAL, "a node's id is not 0");
    if (options->tls != NULL) {
        struct myco_err why = {0};
        tls_context = myco__tls_context_new(options->tls, &why);
        if (tls_context == NULL) return myco_err(err, why.code, "%s", why.message);
    }
    struct myco_net *net = myco_alloc(sizeof *net);
    net->transport.ops = &ops;
    net->events = *events;
    net->tls_context = tls_context;
    set_options(net, options);
    myco_list_init(&net->conns);
    myco_list_init(&net->dirty);
    myco_list_init(&net->packs);
    init_handles(net);
    shield_from_sigpipe();
    struct myco_addr address = {0};
    int status = myco__listen(net, &address, err);
    if (status != 0) {
        myco_net_close(net, NULL, NULL);
        return status;
    }
    if (net->options.advertise.family == 0) net->options.advertise = address;
    start_handles(net);
    if (bound != NULL) *bound = address;
    *opened = net;
    return 0;
}

struct myco_transport *myco_net_transport(struct myco_net *net)
{
    return &net->transport;
}

/* ── Close ──────────────────────────────────────────────────────────────────────────────────── */

static void on_handle_closed(uv_handle_t *handle)
{
    struct myco_net *net = handle->data;
    if (--net->handle_count > 0) return;
    myco__packs_free(net);
    myco__tls_context_free(net->tls_context);
    void (*closed)(void *data) = net->closed;
    void *data = net->closed_data;
    myco_free(net);
    if (closed != NULL) closed(data);
}

static void close_handle(void *handle)
{
    if (!uv_is_closing(handle)) uv_close(handle, on_handle_closed);
}

/* The ticker and the flushing stay until the last connection has said goodbye. */
void myco__net_conn_freed(struct myco_net *net)
{
    if (!net->closing || !myco_list_empty(&net->conns)) return;
    close_handle(&net->ticker);
    close_handle(&net->before_poll);
    close_handle(&net->after_poll);
    close_handle(&net->awake);
}

void myco_net_close(struct myco_net *net, void (*cb)(void *data), void *data)
{
    MYCO_ASSERT(!net->closing);
    net->closing = true;
    net->closed = cb;
    net->closed_data = data;
    MYCO_MAP_EACH (struct myco__peer, peer, &net->peers) myco_free(peer);
    myco_map_free(&net->peers);
    MYCO_METRIC_SET(net->options.metrics, PEERS_CONNECTED, 0);
    MYCO_LIST_EACH (link, &net->conns)
        myco__conn_goodbye(MYCO_CONTAINER(link, struct myco__conn, link), MYCO_GOODBYE_LEAVING);
    close_handle(&net->listener);
    close_handle(&net->dialler);
    myco__net_conn_freed(net);
}
