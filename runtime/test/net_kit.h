/* Nodes of the real transport on loopback, for tests: what they were told is counted, and a test
 * runs their loops until what it waits for has happened (or ten seconds passed: then it bails out).
 */
#ifndef MYCO_TEST_NET_KIT_H
#define MYCO_TEST_NET_KIT_H

#include <sys/socket.h>
#include <uv.h>

#include "base/mem.h"
#include "net/net.h"
#include "tap.h"

#define KIT_LINES_MAX 64

struct kit_node {
    uint64_t id;
    struct myco_addr addr;
    struct myco_net *net;
    struct myco_transport *transport;
    struct myco_metrics metrics;
    struct myco_log log;
    char lines[KIT_LINES_MAX][160]; /* warnings */
    unsigned line_count;
    unsigned up, down, failed; /* on_up; on_down of a link; on_down of an attempt */
    unsigned failed_by[MYCO_DOWN_DISPLACED + 1];
    enum myco_down_reason down_reason;
    uint64_t up_peer, up_generation, up_features;
    unsigned drains[MYCO_LANE_COUNT];
    uint64_t messages, bytes;
    void (*on_message)(
        struct kit_node *node, uint64_t peer, uint8_t type, struct myco_slice payload);
    void (*on_up)(struct kit_node *node, uint64_t peer);
    void (*on_drain)(struct kit_node *node, uint64_t peer, enum myco_lane lane);
    void *data;
    bool closed;
};

static inline void kit_up(uint64_t peer, uint64_t generation, uint64_t features, void *data)
{
    struct kit_node *node = data;
    node->up++;
    node->up_peer = peer;
    node->up_generation = generation;
    node->up_features = features;
    if (node->on_up != NULL) node->on_up(node, peer);
}

static inline void kit_down(uint64_t peer, bool was_up, enum myco_down_reason reason, void *data)
{
    struct kit_node *node = data;
    (void)peer;
    if (was_up) {
        node->down++;
        node->down_reason = reason;
    } else {
        node->failed++;
        node->failed_by[reason]++;
    }
}

static inline void kit_message(uint64_t peer, uint8_t type, struct myco_slice payload, void *data)
{
    struct kit_node *node = data;
    node->messages++;
    node->bytes += payload.size;
    if (node->on_message != NULL) node->on_message(node, peer, type, payload);
}

static inline void kit_drain(uint64_t peer, enum myco_lane lane, void *data)
{
    struct kit_node *node = data;
    node->drains[lane]++;
    if (node->on_drain != NULL) node->on_drain(node, peer, lane);
}

static inline void kit_log(
    int level, const char *subsystem, const char *message, const char *fields, void *data)
{
    struct kit_node *node = data;
    (void)subsystem;
    if (getenv("KIT_VERBOSE") != NULL)
        printf("# %d %d %s %s\n", (int)node->id, level, message, fields);
    if (level < MYCO_LOG_WARN || node->line_count == KIT_LINES_MAX) return;
    snprintf(
        node->lines[node->line_count++], sizeof node->lines[0], "%.60s %.90s", message, fields);
}

static inline bool kit_logged(const struct kit_node *node, const char *part)
{
    for (unsigned i = 0; i < node->line_count; i++) {
        if (strstr(node->lines[i], part) != NULL) return true;
    }
    return false;
}

/* Quick enough for a test, slow enough for a loaded machine. */
static inline struct myco_net_options kit_options(uv_loop_t *loop, uint64_t id)
{
    return (struct myco_net_options){
        .loop = loop,
        .id = id,
        .generation = 1,
        .name = "node",
        .cluster = 42,
        .listen = {.ip = {127, 0, 0, 1}, .family = 4},
        .backoff_max_ms = 100,
    };
}

static inline int kit_try_open(
    struct kit_node *node, struct myco_net_options options, struct myco_err *err)
{
    static const struct myco_transport_events blank = {
        .on_up = kit_up, .on_down = kit_down, .on_message = kit_message, .on_drain = kit_drain};
    struct myco_transport_events events = blank;
    events.data = node;
    *node = (struct kit_node){.id = options.id};
    node->log = (struct myco_log){.level = MYCO_LOG_DEBUG, .sink = kit_log, .data = node};
    options.log = &node->log;
    options.metrics = &node->metrics;
    int status = myco_net_open(&options, &events, &node->net, &node->addr, err);
    if (status == 0) node->transport = myco_net_transport(node->net);
    return status;
}

static inline void kit_open(struct kit_node *node, struct myco_net_options options)
{
    struct myco_err err = {0};
    if (kit_try_open(node, options, &err) != 0) bail_out("open: %s", err.message);
}

static inline void kit_on_closed(void *data)
{
    ((struct kit_node *)data)->closed = true;
}

static inline void kit_close(struct kit_node *node)
{
    myco_net_close(node->net, kit_on_closed, node);
}

static inline void kit_link_at(struct kit_node *from, uint64_t id, const struct myco_addr *addr)
{
    from->transport->ops->link(from->transport, id, addr);
}

static inline void kit_link(struct kit_node *from, const struct kit_node *to)
{
    kit_link_at(from, to->id, &to->addr);
}

static inline bool kit_is_up(struct kit_node *from, const struct kit_node *to)
{
    return from->transport->ops->is_up(from->transport, to->id);
}

static inline int kit_send(struct kit_node *from, const struct kit_node *to, enum myco_lane lane,
    uint8_t type, const void *bytes, size_t size)
{
    struct myco_buf payload = {0};
    myco_buf_bytes(&payload, bytes, size);
    return from->transport->ops->send(from->transport, to->id, lane, type, &payload);
}

static inline void kit_too_late(uv_timer_t *timer)
{
    bail_out("ten seconds passed, waiting for: %s", (const char *)timer->data);
}

static inline uv_timer_t *kit_deadline(uv_loop_t *loop, const char *what)
{
    static uv_timer_t timer; /* one at a time */
    uv_timer_init(loop, &timer);
    timer.data = (void *)(uintptr_t)what;
    uv_timer_start(&timer, kit_too_late, 10000, 0);
    return &timer;
}

/* Runs `loop` until `condition`; as one thing that was checked. */
#define kit_until(loop, condition, ...)                                                            \
    do {                                                                                           \
        uv_timer_t *deadline = kit_deadline((loop), #condition);                                   \
        while (!(condition)) uv_run((loop), UV_RUN_ONCE);                                          \
        uv_close((uv_handle_t *)deadline, NULL);                                                   \
        uv_run((loop), UV_RUN_NOWAIT);                                                             \
        ok(true, __VA_ARGS__);                                                                     \
    } while (0)

/* Two nodes, 1 and 2, linked both ways and up. */
static inline void kit_pair(uv_loop_t *loop, struct kit_node *a, struct kit_node *b)
{
    kit_open(a, kit_options(loop, 1));
    kit_open(b, kit_options(loop, 2));
    kit_link(a, b);
    kit_link(b, a);
    kit_until(loop, a->up && b->up, "two nodes are connected");
}

static inline void kit_done(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    is_int(uv_loop_close(loop), 0, "the loop closes clean");
}

/* Breaks all connections of a loop's TCP handles from below, as a cable or a kernel would. */
static inline void kit_break_one(uv_handle_t *handle, void *data)
{
    int fd;
    struct sockaddr_storage peer;
    int size = sizeof peer;
    (void)data;
    if (handle->type != UV_TCP || uv_is_closing(handle)) return;
    if (uv_tcp_getpeername((uv_tcp_t *)handle, (struct sockaddr *)&peer, &size) != 0) return;
    if (uv_fileno(handle, &fd) == 0) shutdown(fd, SHUT_RDWR);
}

static inline void kit_break_all(uv_loop_t *loop)
{
    uv_walk(loop, kit_break_one, NULL);
}

#endif
